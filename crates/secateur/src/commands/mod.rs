//! One file a command.

pub mod bench;
mod completions;
mod compress;
mod cpu;
mod data;
mod demo;
mod eval;
mod export;
mod inspect;
mod machines;
mod nest;
mod run;
mod sensitivity;
pub mod simulate;
mod train;
mod web;

use crate::args::{Args, Command};
use crate::file;
use anyhow::Result;

/// Carries out a command.
pub fn run(args: Args) -> Result<()> {
    let (reads, writes) = args.command.files();
    file::check_apart(&reads, &writes)?;
    match args.command {
        Command::Demo(args) => demo::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Compress(args) => compress::run(&args),
        Command::Sensitivity(args) => sensitivity::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Machines(args) => machines::run(&args),
        Command::Nest(args) => nest::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Web(args) => web::run(&args),
        Command::Cpu(args) => cpu::run(&args),
        Command::Completions { shell } => completions::run(shell),
    }
}
