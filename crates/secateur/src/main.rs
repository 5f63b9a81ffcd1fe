//! The `secateur` command.

mod agreement;
mod args;
mod classifier;
mod clock;
mod commands;
mod detector;
mod file;
mod interrupt;
mod machine;
mod modelled;
mod network;
mod out;
mod parse;
mod picture;
mod progress;
mod report;
mod roofline;
mod run_folder;
mod samples;
mod score;
mod sweep;
mod units;

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    interrupt::listen();
    match commands::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", message(&error));
            ExitCode::FAILURE
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

    #[test]
    fn a_cause_is_told_once() {
        let io = || std::io::Error::other("no such file");
        let quoted = secateur_io::IoError::File {
            path: "a.onnx".into(),
            source: io(),
        };
        assert_eq!(message(&quoted.into()), "a.onnx: no such file");
        let chained = anyhow::Error::new(io()).context("a.onnx");
        assert_eq!(message(&chained), "a.onnx: no such file");
    }
}
