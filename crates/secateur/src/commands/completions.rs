//! `secateur completions`: what a shell has to know.

use crate::args::Args;
use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::{Shell, generate};
use std::io::{Write, stdout};

pub fn run(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut Args::command(), "secateur", &mut script);
    stdout().write_all(&script).context("standard output")
}
