//! Sessions as C has them.

use crate::failure::{Failure, guard};
use crate::interface::Interface;
use secateur_engine::SessionOptions;
use secateur_model::Graph;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;

/// A network ready to run. Any number of threads may use one at once; only `secateur_session_free` must come last.
/// Plans are kept for each set of extents that it ran with, and memory for as many runs as there were at once.
#[derive(Debug)]
pub struct Session {
    pub(crate) engine: secateur_engine::Session,
    pub(crate) interface: Arc<Interface>,
    metadata: BTreeMap<CString, CString>,
}

/// Threads share sessions.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Session>();
};

impl Session {
    pub(crate) fn new(graph: &Graph, options: &SessionOptions) -> Result<Self, Failure> {
        let interface = Arc::new(Interface::of(graph)?);
        // What has a zero in it cannot be told in C.
        let pair = |(key, text): (&String, &String)| {
            Some((
                CString::new(key.as_str()).ok()?,
                CString::new(text.as_str()).ok()?,
            ))
        };
        Ok(Self {
            interface,
            metadata: graph.metadata.iter().filter_map(pair).collect(),
            engine: secateur_engine::Session::new(graph, options).map_err(Failure::of_opening)?,
        })
    }

    /// Text that was kept with the network.
    pub(crate) fn metadata(&self, key: &CStr) -> Option<&CStr> {
        self.metadata.get(key).map(CString::as_c_str)
    }
}

/// Frees a session and all that was asked of it, but for outputs. No other call may use it, now or later. Null is left
/// alone.
#[unsafe(no_mangle)]
pub extern "C" fn secateur_session_free(session: Option<Box<Session>>) {
    guard(|| {
        drop(session);
        Ok(())
    });
}
