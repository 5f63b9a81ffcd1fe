//! What a user may type.

mod options;

pub use options::*;

use crate::file::are_one;
use crate::parse;
use clap::{Args as ClapArgs, Parser, Subcommand};
use std::path::PathBuf;

/// Makes trained neural networks small and fast: prune, retrain, quantize,
/// share, encode, run.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "\
Examples:
  secateur demo                  everything at once, in a few minutes
  secateur help compress         options and examples of a command

Exit status: 0 done, 1 failed, 2 bad usage. All but completions and web take --json FILE.")]
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
  secateur demo --data digits --folder demo     without a download, in seconds")]
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
  a folder like VOC's     Annotations, JPEGImages, ImageSets/Main: pictures with boxes
  a folder of IDX files   as MNIST's, or one pair of images and labels
  arrays                  an .npz file, or a folder with x.npy and y.npy
A sixth of data that comes in one part is for testing.

compress takes samples without labels, too, for recipes that train nothing, or by the network's own answers:
  a folder of pictures    of any size: they are cut to the network's
  an .npy file            images
  an .npz file            an array for each input of the network, by its name")]
    Data(Data),
    /// Train a built-in network, or one from ONNX, in full precision
    #[command(after_help = "\
Examples:
  secateur train lenet-300-100 --data mnist --seed 1 -o dense.onnx
  secateur train mine.onnx --data pictures/ --epochs 5 -o tuned.onnx
  secateur train ssd-small --data voc/ --batch 8 --optimiser adamw --epochs 100 \\
    --shift 24 --mirror -o detector.onnx        finds objects: see docs/detection.md")]
    Train(Train),
    /// Make a trained network small: find out how far it can go, or follow a recipe
    #[command(after_help = "\
Examples:
  secateur compress dense.onnx --data mnist -o small.sct                    as small as it gets at no loss
  secateur compress dense.onnx --data mnist --max-bytes 20000 -o small.sct
  secateur compress mine.onnx --data pictures/ --minimise latency --max-drop 0.5 -o mine.sct
  secateur compress dense.onnx --data mnist --recipe deep-compression -o small.sct
  secateur compress dense.onnx --data mnist -o small.sct --resume            after an interruption
  secateur compress mine.onnx --data pictures/ --recipe int8 -o mine.sct
  secateur compress theirs.onnx --data photos/ --recipe one-shot -o theirs.sct     no labels needed
  secateur compress dense.onnx --data mnist --html report.html -o small.sct
  secateur compress dense.onnx --data mnist --recipe my.toml --json run.json -o small.sct")]
    Compress(Compress),
    /// Measure how far each layer of a network can go by itself
    #[command(after_help = "\
Examples:
  secateur sensitivity dense.onnx --data mnist --html sensitivity.html
  secateur sensitivity mine.onnx --data pictures/ --samples 200 --json table.json")]
    Sensitivity(Sensitivity),
    /// Show what is in a network's file
    #[command(after_help = "\
Examples:
  secateur inspect small.sct
  secateur inspect dense.onnx --json - | jq .nonzeros
  secateur inspect compressed_SqueezeNet.net          Deep Compression's own file")]
    Inspect(Inspect),
    /// Score a classifier or a detector on a test set
    #[command(after_help = "\
Examples:
  secateur eval small.sct --data mnist
  secateur eval mine.onnx --data mnist --mean 0.1307 --std 0.3081
  secateur eval detector.sct --data voc/        AP of each class, and mAP")]
    Eval(Eval),
    /// Run a network on one picture
    #[command(after_help = "\
Examples:
  secateur run small.sct --input digit.png
  secateur run small.sct --input scan.jpg --invert     dark ink on white paper
  secateur run detector.sct --input blood.jpg -o boxes.png
  secateur run mine.onnx --input cat.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225")]
    Run(Run),
    /// Measure how fast a network runs here
    #[command(after_help = "\
Examples:
  secateur bench small.sct --threads 1 --batch 1
  secateur bench mine.onnx --shape 1,3,224,224
  secateur bench small.sct --explain --html roofline.html
  SECATEUR_ISA=avx2 secateur bench small.sct --json bench.json")]
    Bench(Bench),
    /// Run a network on the model of a machine, cycle by cycle
    #[command(after_help = "\
Examples:
  secateur simulate small.sct --machine secateur-1tops --input digit.png
  secateur simulate small.sct --compare systolic-32x32          the same network on a dense array
  secateur simulate small.sct --machine mine.toml --json cost.json
  secateur simulate small.sct --compare systolic-32x32 --html machine.html
  secateur simulate small.sct --sweep array.groups=4..64 --html groups.html
  secateur simulate small.sct --sweep array.groups=8,16,32 --sweep memory.dram_bytes_a_cycle=6.4..51.2

Layers of integers run on the machine; what it lacks is a host's, whose time stands apart.
docs/machines.md says what a machine's file holds.")]
    Simulate(Simulate),
    /// List the machines that come along
    #[command(after_help = "\
Examples:
  secateur machines
  secateur machines --json -")]
    Machines(Machines),
    /// What a mapping of a layer costs on a hierarchy of memories
    #[command(after_help = "\
Examples:
  secateur nest eyeriss-like
  secateur nest simba-like --reorder     the same, loops in an order that takes less energy
  secateur nest mine.toml --json -

There are eyeriss-like, simba-like, output-stationary and weight-stationary; docs/machines.md says what a file holds.")]
    Nest(Nest),
    /// Write a network as ONNX or .sct
    #[command(after_help = "\
Examples:
  secateur export small.sct -o small-qdq.onnx     integer layers as QDQ, for any ONNX runtime
  secateur export dense.onnx -o dense.sct
  secateur export compressed_SqueezeNet.net --store smallest -o squeezenet.sct")]
    Export(Export),
    /// Serve the page that runs networks in a browser
    #[command(after_help = "\
Examples:
  secateur web                        then open http://127.0.0.1:8017/
  secateur web --port 0               any port that is free; the address is printed
  secateur web --dir site/            another folder than web/dist

The page is web/build.sh's, or a release's. Nothing that is opened in it leaves the browser. With another --host than
this machine's own, whoever reaches that address can load the page, and a browser there lets no camera be used over http.")]
    Web(Web),
    /// Show the processor, the kernels for it and what they cost
    #[command(after_help = "\
Examples:
  secateur cpu
  secateur cpu --measure                  where figures were taken while the machine was busy
  SECATEUR_ISA=avx2 secateur cpu")]
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

impl Command {
    /// Files that are read and shall stay as they are, and those that are written. Names of what is built in are among the
    /// first, and do no harm there.
    pub fn files(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        // A network may take the place of the one that it was made from.
        let kept = |network: &PathBuf, output: &PathBuf| match are_one(network, output) {
            true => None,
            false => Some(network.clone()),
        };
        let named = |name: &String| Some(PathBuf::from(name));
        let (reads, writes, json) = match self {
            Self::Data(a) => match &a.command {
                DataCommand::Sample { data, output, .. } => {
                    (vec![named(data)], vec![Some(output)], &a.json)
                }
                DataCommand::Fetch { .. } | DataCommand::List => return (vec![], vec![]),
            },
            Self::Train(a) => {
                let network = kept(&PathBuf::from(&a.network), &a.output);
                (
                    vec![network, named(&a.data)],
                    vec![Some(&a.output)],
                    &a.json,
                )
            }
            Self::Compress(a) => (
                vec![
                    kept(&a.network, &a.output),
                    named(&a.data),
                    a.recipe.as_ref().and_then(named),
                    a.machine.as_ref().and_then(named),
                ],
                vec![Some(&a.output), a.html.as_ref(), a.save_recipe.as_ref()],
                &a.json,
            ),
            Self::Sensitivity(a) => (
                vec![Some(a.network.clone()), named(&a.data)],
                vec![a.html.as_ref()],
                &a.json,
            ),
            Self::Inspect(a) => (vec![Some(a.network.clone())], vec![], &a.json),
            Self::Eval(a) => (
                vec![Some(a.network.clone()), named(&a.data)],
                vec![],
                &a.json,
            ),
            Self::Run(a) => (
                vec![Some(a.network.clone()), Some(a.input.clone())],
                vec![a.output.as_ref()],
                &a.json,
            ),
            Self::Bench(a) => (
                vec![Some(a.network.clone())],
                vec![a.html.as_ref()],
                &a.json,
            ),
            Self::Simulate(a) => {
                let machines = a.compare.iter().chain([&a.machine]).map(named);
                let inputs = [Some(a.network.clone()), a.input.clone()];
                (
                    machines.chain(inputs).collect(),
                    vec![a.html.as_ref()],
                    &a.json,
                )
            }
            Self::Export(a) => (
                vec![kept(&a.network, &a.output)],
                vec![Some(&a.output)],
                &a.json,
            ),
            Self::Nest(a) => (vec![named(&a.nest)], vec![], &a.json),
            _ => return (vec![], vec![]),
        };
        let writes = writes.into_iter().chain([json.json.as_ref()]);
        (
            reads.into_iter().flatten().collect(),
            writes.flatten().cloned().collect(),
        )
    }
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

/// Extents of an input that a network leaves open.
#[derive(ClapArgs, Default)]
pub struct ShapeArg {
    /// Shape of the input, as 1,3,224,224, for a network that leaves it open
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = parse::at_least_one)]
    pub shape: Vec<usize>,
}
