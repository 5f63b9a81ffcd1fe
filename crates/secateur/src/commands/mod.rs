//! One file a command.

mod compress;
mod data;
mod demo;
mod eval;
mod inspect;
mod measure;
mod train;

use crate::args::{Args, Command};
use anyhow::Result;
use clap::CommandFactory;

/// Carries out a command.
pub fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Demo(args) => demo::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Train(args) => train::run(&args).map(drop),
        Command::Compress(args) => compress::run(&args).map(drop),
        Command::Inspect(args) => inspect::run(&args),
        Command::Eval(args) => eval::eval(&args),
        Command::Run(args) => eval::run(&args),
        Command::Bench(args) => measure::bench(&args),
        Command::Export(args) => eval::export(&args),
        Command::Cpu(args) => measure::cpu(&args),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Args::command(),
                "secateur",
                &mut std::io::stdout(),
            );
            Ok(())
        }
    }
}
