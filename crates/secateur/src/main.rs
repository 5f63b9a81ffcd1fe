//! The `secateur` command.

mod args;
mod commands;
mod network;
mod show;

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    if let Err(error) = ctrlc::set_handler(show::stop) {
        eprintln!("warning: Ctrl-C ends the program at once: {error}");
    }
    match commands::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
