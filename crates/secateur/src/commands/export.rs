//! `secateur export`: a network in another file format.

use crate::args::Export;
use crate::out::Out;
use crate::{file, network, units};
use anyhow::Result;
use serde_json::json;

pub fn run(args: &Export) -> Result<()> {
    let out = Out::new(args.json.json.as_deref())?;
    file::check_output(&args.output)?;
    let graph = network::load(&args.network)?;
    network::save(&graph, &args.output, args.store.into())?;
    let bytes = network::size(&args.output)?;
    let path = args.output.display().to_string();
    out.line(format_args!("{path}: {}", units::bytes(bytes)));
    out.finish(&json!({ "file": path, "bytes": bytes }))
}
