//! The command inside another program, which takes its lines, its progress and its result in place
//! of a terminal.

use crate::args::Args;
use crate::commands;
use crate::interrupt;
use clap::Parser;
use secateur_data::DataError;
use secateur_io::IoError;
use std::cell::Cell;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::ops::ControlFlow;

/// What happens while a command is carried out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// A line for a person.
    Line(&'a str),
    /// Long work goes on; told about ten times a second.
    Progress(Progress<'a>),
}

/// How far long work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is done.
    pub what: &'a str,
    /// Parts that are done.
    pub done: usize,
    /// Parts in all.
    pub total: usize,
    /// How it goes, in a few words.
    pub note: &'a str,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Options that do not fit.
    #[error("{0}")]
    Usage(String),
    /// A file that cannot be opened, read or written.
    #[error("{text}")]
    File {
        /// What the system said.
        kind: ErrorKind,
        /// Which file, and why.
        text: String,
    },
    /// A network or data that cannot be read.
    #[error("{0}")]
    Input(String),
    /// Work that failed or was stopped.
    #[error("{0}")]
    Failed(String),
}

/// Carries out a command line, whose first word is the program's name, and gives what `--json`
/// writes. `watch` is told on this thread what goes on; where it breaks, the work stops.
///
/// ```
/// use std::ops::ControlFlow;
/// let machines = secateur::command(["secateur", "machines"], |_| ControlFlow::Continue(()))?;
/// assert!(machines.as_array().is_some_and(|list| list.len() > 10));
/// # Ok::<(), secateur::CommandError>(())
/// ```
///
/// # Errors
/// As the command's, by kind.
pub fn command<A: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = A>,
    watch: impl FnMut(Event<'_>) -> ControlFlow<()> + 'static,
) -> Result<serde_json::Value, CommandError> {
    let args = Args::try_parse_from(arguments).map_err(|e| CommandError::Usage(e.to_string()))?;
    let host = Host {
        watch: Box::new(watch),
        stopped: false,
        result: serde_json::Value::Null,
    };
    let place = Place(HOST.replace(Some(host)));
    let done = commands::run(args);
    let host = HOST.take();
    drop(place);
    match done {
        Ok(()) => Ok(host.map_or(serde_json::Value::Null, |host| host.result)),
        Err(error) => Err(CommandError::of(&error)),
    }
}

/// The command as a program: prints, listens for Ctrl-C, and gives the exit status.
pub fn main<A: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = A>) -> u8 {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are "errors" that go to standard output.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    interrupt::listen();
    match commands::run(args) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {}", message(&error));
            1
        }
    }
}

type Watch = Box<dyn FnMut(Event<'_>) -> ControlFlow<()>>;

struct Host {
    watch: Watch,
    stopped: bool,
    result: serde_json::Value,
}

thread_local! {
    /// Of the command that this thread carries out; away while it is told something.
    static HOST: Cell<Option<Host>> = const { Cell::new(None) };
}

/// The host of an outer command, which is back when this is dropped.
struct Place(Option<Host>);

impl Drop for Place {
    fn drop(&mut self) {
        HOST.set(self.0.take());
    }
}

/// Does something with the host, if there is one. What the host does may be a command of its own.
fn with<T>(act: impl FnOnce(&mut Host) -> T) -> Option<T> {
    let mut host = HOST.take()?;
    let done = act(&mut host);
    HOST.set(Some(host));
    Some(done)
}

/// Whether there is a host.
pub(crate) fn is_there() -> bool {
    with(|_| ()).is_some()
}

/// Tells the host a line; `false` where there is none.
pub(crate) fn line(text: &str) -> bool {
    with(|host| host.tell(Event::Line(text))).is_some()
}

/// Tells the host how far work is, where it is time to, and says whether the work goes on.
pub(crate) fn progress(progress: Option<Progress<'_>>) -> ControlFlow<()> {
    let stopped = with(|host| {
        if let Some(progress) = progress {
            host.tell(Event::Progress(progress));
        }
        host.stopped
    });
    match stopped {
        Some(true) => ControlFlow::Break(()),
        Some(false) | None => ControlFlow::Continue(()),
    }
}

/// Gives the host, if there is one, the result.
pub(crate) fn result(value: serde_json::Value) {
    with(|host| host.result = value);
}

impl Host {
    fn tell(&mut self, event: Event<'_>) {
        self.stopped |= (self.watch)(event).is_break();
    }
}

impl CommandError {
    fn of(error: &anyhow::Error) -> Self {
        if let Some(known) = error.downcast_ref::<Self>() {
            return known.clone();
        }
        let text = message(error);
        let system = error
            .chain()
            .find_map(|cause| cause.downcast_ref::<std::io::Error>());
        if let Some(system) = system {
            let kind = system.kind();
            return Self::File { kind, text };
        }
        let unreadable = |cause: &(dyn std::error::Error + 'static)| {
            cause.is::<IoError>() || cause.is::<DataError>()
        };
        match error.chain().any(unreadable) {
            true => Self::Input(text),
            false => Self::Failed(text),
        }
    }
}

/// The error and its causes, without those that an outer message quotes already.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let cause = cause.trim_end();
        match () {
            () if text.is_empty() => text = cause.to_owned(),
            () if text.contains(cause) => {}
            () => text = format!("{text}: {cause}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn a_cause_is_told_once() {
        let io = || std::io::Error::other("no such file");
        let quoted = IoError::File {
            path: "a.onnx".into(),
            source: io(),
        };
        assert_eq!(message(&quoted.into()), "a.onnx: no such file");
        let chained = anyhow::Error::new(io()).context("a.onnx");
        assert_eq!(message(&chained), "a.onnx: no such file");
    }

    #[test]
    fn a_host_is_told_and_can_stop_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("net.onnx");
        let train = [
            "secateur",
            "train",
            "lenet-300-100",
            "--data",
            "digits",
            "--epochs",
            "400",
            "--output",
            output.to_str().unwrap(),
        ];
        let lines = Rc::new(Cell::new(0));
        let told = lines.clone();
        let error = command(train, move |event| match event {
            Event::Line(_) => {
                told.set(told.get() + 1);
                // A command within a command has a host of its own.
                let inner = command(["secateur", "machines"], |_| ControlFlow::Continue(()));
                assert!(inner.is_ok());
                ControlFlow::Continue(())
            }
            Event::Progress(progress) => {
                assert!(progress.done <= progress.total);
                ControlFlow::Break(())
            }
        });
        assert!(matches!(error, Err(CommandError::Failed(_))), "{error:?}");
        assert!(lines.get() > 0 && !output.exists() && !is_there());
    }

    #[test]
    fn errors_come_by_kind() {
        let go_on = |_: Event<'_>| ControlFlow::Continue(());
        let kind = |arguments: &[&str]| command(arguments.to_vec(), go_on).unwrap_err();
        assert!(matches!(
            kind(&["secateur", "inspect"]),
            CommandError::Usage(_)
        ));
        let missing = kind(&["secateur", "inspect", "nowhere.sct"]);
        assert!(
            matches!(
                missing,
                CommandError::File {
                    kind: ErrorKind::NotFound,
                    ..
                }
            ),
            "{missing:?}"
        );
        let folder = tempfile::tempdir().unwrap();
        let damaged = folder.path().join("damaged.sct");
        std::fs::write(&damaged, b"not a network").unwrap();
        let damaged = kind(&["secateur", "inspect", damaged.to_str().unwrap()]);
        assert!(matches!(damaged, CommandError::Input(_)), "{damaged:?}");
    }
}
