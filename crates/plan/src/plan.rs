//! The plan: steps over buffers in one arena, everything decided.

use crate::packed::{Depthwise, Layer};
use secateur_kernels::{
    AddCodes, Affine, After, Axis, Binary, Clamp, Function, Im2col, Isa, MatmulCodes, MeanCodes,
    Moments, Nest, PadCount, ProductF32, Rearrange, Recurrence, Reduction, Resample, Slab, Way,
    Window2d,
};
use secateur_model::{DType, Node, Shape, Tensor};
use std::sync::Arc;

/// A network for one set of input shapes: steps in order, buffers in one
/// arena, weights packed for one instruction set. Made by
/// [`Planner::plan`](crate::Planner::plan).
#[derive(Debug, Clone)]
pub struct Plan {
    /// The instruction set that the weights are packed for.
    pub isa: Isa,
    /// What must be given, in the graph's order.
    pub inputs: Vec<Port>,
    /// What is given back, in the graph's order; without what the tail computes.
    pub outputs: Vec<Port>,
    /// The computation.
    pub steps: Vec<Step>,
    /// Pieces of the arena.
    pub buffers: Vec<Buffer>,
    /// Bytes of the arena; activations and scratch together.
    pub arena_bytes: usize,
    /// What it takes to share work with another thread, in microseconds.
    pub fork_us: f64,
    /// What no plan can hold.
    pub tail: Option<Tail>,
}

/// What follows the steps: nodes whose extents hang on values that are computed, as those of
/// suppression, choices and loops do. The slow reference evaluates them
/// ([`Draft::evaluate_nodes`](crate::draft::Draft::evaluate_nodes)).
#[derive(Debug, Clone, PartialEq)]
pub struct Tail {
    /// The nodes, in order.
    pub nodes: Vec<Node>,
    /// What they read of what the steps compute.
    pub reads: Vec<Port>,
}

impl Plan {
    /// Bytes of all packed weights; a layer used twice counts once a step.
    pub fn weight_bytes(&self) -> usize {
        self.steps.iter().map(|s| s.weight_bytes).sum()
    }

    /// Whether a run gives the bits of the reference, and not only numbers near them.
    pub fn is_exact(&self) -> bool {
        self.steps.iter().all(|s| s.action.is_exact())
    }
}

/// A graph input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// The value's name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its extents.
    pub shape: Shape,
    /// Index of its buffer, in the graph's own layout.
    pub buffer: usize,
}

/// How the elements of a buffer lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Row-major as the shape says.
    Plain,
    /// `[n, c, h, w]` held as `[n, h, w, c]`.
    ChannelsLast,
}

/// A piece of the arena. Buffers may share bytes when one is the other under
/// another shape, or when they are never alive together.
#[derive(Debug, Clone, PartialEq)]
pub struct Buffer {
    /// The value that it holds.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The extents as the graph sees them.
    pub shape: Shape,
    /// How the elements lie.
    pub layout: Layout,
    /// Where it begins, in bytes.
    pub offset: usize,
    /// How long it is, in bytes.
    pub bytes: usize,
}

/// What a step reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// An optional input that is absent.
    Absent,
    /// A buffer, by index.
    Buffer(usize),
    /// A value known beforehand.
    Constant(Arc<Tensor>),
}

/// One kernel call over whole buffers.
#[derive(Debug, Clone)]
pub struct Step {
    /// The node that it computes, or what it prepares for one.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// What it reads.
    pub inputs: Vec<Operand>,
    /// Indices of the buffers that it writes.
    pub outputs: Vec<usize>,
    /// Working memory of all threads together: offset and bytes.
    pub scratch: Option<(usize, usize)>,
    /// The kernel, and why this one.
    pub choice: Choice,
    /// Multiply-accumulates of the dense layer.
    pub macs: u64,
    /// Multiply-accumulates with a weight that is not zero.
    pub nonzero_macs: u64,
    /// Bytes of packed weights.
    pub weight_bytes: usize,
    /// Bytes read and written: weights, inputs and outputs.
    pub bytes: u64,
    /// What it will take on one thread, in microseconds; `None` where nothing says.
    pub predicted_us: Option<f64>,
}

/// Why a step runs as it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The kernel's name.
    pub kernel: String,
    /// Why it was taken.
    pub reason: String,
    /// What else there was.
    pub refused: Vec<Refused>,
}

/// A kernel that a step does not run.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// The kernel's name.
    pub kernel: String,
    /// How long it would take on one thread, in microseconds; the least that it could, where
    /// `at_least` says so.
    pub predicted_us: f64,
    /// Whether the prediction is a bound that made packing needless.
    pub at_least: bool,
    /// Why it was not taken.
    pub reason: String,
}

impl Choice {
    /// The only kernel there is for it.
    pub fn only(kernel: &str) -> Self {
        Self {
            kernel: kernel.into(),
            reason: "the only kernel for it".into(),
            refused: Vec::new(),
        }
    }
}

/// How a convolution finds the operands of an output pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operands {
    /// As rows, which are gathered unless the image's pixels are rows.
    Rows {
        /// How they are gathered.
        im2col: Im2col,
        /// Pixels at a time.
        tile: usize,
    },
    /// As lines of the image, which is copied once, with its padding, unless it has none.
    Lines {
        /// The lines.
        slab: Slab,
        /// Rows of the output at a time.
        rows: usize,
    },
}

impl Operands {
    /// The geometry.
    pub fn window(&self) -> &Window2d {
        match self {
            Self::Rows { im2col, .. } => im2col.window(),
            Self::Lines { slab, .. } => slab.window(),
        }
    }

    /// Elements of working memory that a thread needs.
    pub fn scratch(&self) -> usize {
        match self {
            Self::Rows { im2col, .. } if im2col.is_identity() => 0,
            Self::Rows { im2col, tile } => tile * im2col.cols(),
            Self::Lines { slab, .. } if slab.is_image() => 0,
            Self::Lines { slab, rows } => slab.len(*rows),
        }
    }
}

/// Products of matrices that are both computed, f32.
#[derive(Debug, Clone)]
pub struct Product {
    /// The form of the right matrix, which is packed each time.
    pub kernel: ProductF32,
    /// Where the two matrices of each product begin, in elements.
    pub factors: Vec<[usize; 2]>,
    /// Rows of a left matrix.
    pub rows: usize,
}

/// Sequences through a recurrent layer. Its output is `[directions, batch, steps + states, hidden]`: what
/// is given out after each step, then the last states.
#[derive(Debug, Clone)]
pub struct Recurrent {
    /// The weights of each direction, and which way it goes.
    pub directions: Vec<(Arc<Recurrence>, Way)>,
    /// Steps of a sequence.
    pub steps: usize,
    /// Rows of the batch.
    pub batch: usize,
    /// Whether the batch is the first axis of what is read.
    pub batch_first: bool,
}

impl Action {
    /// Whether it gives the bits of the reference: all do but those whose results are no single rounding.
    pub fn is_exact(&self) -> bool {
        !matches!(
            self,
            Self::Map { .. }
                | Self::Binary { .. }
                | Self::Softmax { .. }
                | Self::Normalize { .. }
                | Self::Reduce { .. }
                | Self::Product(_)
                | Self::Recurrent(_)
                | Self::Resample(_)
        )
    }
}

/// Most elements that lie between two operators which one step computes, block by block: they stay in the
/// first cache.
pub const BLOCK: usize = 2048;

/// What is added to rows before they are normalized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Addend {
    /// Nothing.
    None,
    /// f32.
    Real,
    /// Codes.
    Codes(Affine),
}

/// What a step does. Images are `[n, h, w, c]`.
#[derive(Debug, Clone)]
pub enum Action {
    /// Matrix product of so many rows with the layer.
    MatMul {
        /// Weights and what follows the sums.
        layer: Arc<Layer>,
        /// Rows of the input.
        rows: usize,
        /// What becomes of its codes; a sum is with those of the second input, in whose memory it
        /// lies.
        after: After,
    },
    /// Convolution as rows of operands times the layer.
    Conv {
        /// Weights and what follows the sums.
        layer: Arc<Layer>,
        /// How the kernel finds the operands of a pixel.
        operands: Operands,
        /// Images.
        batch: usize,
        /// What stands beyond the edge, of an integer layer.
        pad: u8,
        /// As for a matrix product.
        after: After,
    },
    /// Convolution of every channel by itself.
    Depthwise {
        /// Weights and what follows the sums.
        layer: Arc<Depthwise>,
        /// Images.
        batch: usize,
        /// What stands beyond the edge, of an integer layer.
        pad: u8,
    },
    /// Largest value of each window.
    MaxPool {
        /// The windows.
        window: Window2d,
        /// Images.
        batch: usize,
    },
    /// Mean of each window.
    AveragePool {
        /// The windows.
        window: Window2d,
        /// Images.
        batch: usize,
        /// What a window at the border divides by.
        count: PadCount,
    },
    /// Mean of each channel.
    GlobalAveragePool {
        /// Images.
        batch: usize,
    },
    /// A function of each element.
    Map {
        /// The function.
        function: Function,
        /// How its results become codes, if they do.
        codes: Option<Affine>,
    },
    /// A function of the elements of two f32 that broadcast.
    Binary {
        /// The function.
        function: Binary,
        /// Places of both operands, in the order in which the output lies.
        nest: Nest<2>,
        /// Bounds on the result.
        clamp: Clamp,
    },
    /// Where the first input is true the second, else the third.
    Select(Nest<3>),
    /// The same numbers of another type.
    Cast,
    /// Shares that add up to 1 along an axis.
    Softmax {
        /// The axis.
        axis: Axis,
        /// How the shares become codes, if they do; only of rows of at most [`BLOCK`].
        codes: Option<Affine>,
    },
    /// Rows made free of their moments, then scaled and shifted by the other
    /// inputs.
    Normalize {
        /// What is added to the rows before: the fourth input.
        addend: Addend,
        /// How the results become codes, if they do; only of rows of at most [`BLOCK`].
        codes: Option<Affine>,
        /// Which moments.
        moments: Moments,
        /// Added to the variance.
        epsilon: f32,
        /// Elements of a row.
        width: usize,
    },
    /// One element for every lane along an axis.
    Reduce {
        /// What to.
        kind: Reduction,
        /// The lanes.
        axis: Axis,
    },
    /// Slices of the first input by the indices of the second.
    Gather {
        /// Slices that an index chooses from.
        extent: usize,
        /// Bytes of a slice.
        bytes: usize,
    },
    /// Products of matrices of f32 that are both computed.
    Product(Box<Product>),
    /// Sum of two tensors of codes, of equal shapes.
    AddCodes(AddCodes),
    /// Of each code what the table has at its bits.
    Lookup(Arc<[u8; 256]>),
    /// Products of matrices of codes.
    MatMulCodes {
        /// Zero points and what follows the sums.
        matmul: MatmulCodes,
        /// Products.
        batch: usize,
        /// Rows of the first factor.
        rows: usize,
        /// Columns of the second factor.
        columns: usize,
        /// Products of one sum.
        depth: usize,
    },
    /// Mean of codes over the middle axis of `[outer, count, inner]`.
    MeanCodes {
        /// What follows the sums.
        mean: MeanCodes,
        /// Codes of one mean.
        count: usize,
        /// Means side by side.
        inner: usize,
    },
    /// Mean of the codes of each window.
    AverageCodes {
        /// What follows the sums.
        mean: MeanCodes,
        /// The windows.
        window: Window2d,
        /// Images.
        batch: usize,
        /// What a window at the border divides by.
        count: PadCount,
    },
    /// Elements of each input to places of the output.
    Rearrange {
        /// One walk for each input.
        walks: Arc<[Rearrange]>,
        /// The bytes of an element that stands where no walk comes.
        fill: Option<Arc<[u8]>>,
    },
    /// The states of sequences: lengths, first states and products of inputs to states.
    Recurrent(Box<Recurrent>),
    /// Weighted sums along one axis or two.
    Resample(Box<Resample>),
    /// f32 to codes.
    Quantize(Affine),
    /// Codes to f32.
    Dequantize(Affine),
    /// `[n, c, h, w]` to `[n, h, w, c]`.
    ToChannelsLast {
        /// Images.
        batch: usize,
        /// Channels.
        channels: usize,
    },
    /// `[n, h, w, c]` to `[n, c, h, w]`.
    ToChannelsFirst {
        /// Images.
        batch: usize,
        /// Channels.
        channels: usize,
    },
    /// A value known beforehand.
    Load(Arc<Tensor>),
    /// The model's slow reference evaluation: the one kind of step that
    /// allocates.
    Reference(Box<Node>),
}
