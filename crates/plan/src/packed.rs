//! Weights in the form that kernels read.

use crate::draft::{Clamp, Quantization};
use crate::integer::Integers;
use crate::weights::{Weights, rows_of};
use secateur_kernels::{
    self as kernels, DenseF32, DenseI8, DepthwiseF32, DepthwiseI8, Dequantize, Isa, Kernel,
    KernelError, Requantize, SparseF32, SparseI8,
};
use secateur_model::DType;

/// A multiplying layer, packed: one matrix for each group of channels.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    /// The groups, in order of their output channels.
    pub groups: Vec<Group>,
    /// Output channels of all groups.
    pub outputs: usize,
    /// Products of one output.
    pub depth: usize,
    /// Weights that are not zero, of all groups.
    pub nonzeros: usize,
}

/// The matrix of a group and what follows its sums.
#[derive(Debug, Clone)]
pub struct Group {
    /// `[outputs, depth]`.
    pub matrix: Matrix,
    /// What follows.
    pub finish: Finish,
}

/// Packed weights of `[outputs, depth]`, bias included.
#[derive(Debug, Clone)]
pub enum Matrix {
    /// f32, zeros stored.
    DenseF32(DenseF32),
    /// f32, zeros skipped.
    SparseF32(SparseF32),
    /// Integers, zeros stored.
    DenseI8(DenseI8),
    /// Integers, zeros skipped.
    SparseI8(SparseI8),
}

/// What follows the sums of a layer.
#[derive(Debug, Clone)]
pub enum Finish {
    /// f32 sums, bounded.
    Float(kernels::Clamp),
    /// Integer sums to u8.
    Unsigned(Requantize),
    /// Integer sums to i8.
    Signed(Requantize),
    /// Integer sums to f32.
    Real(Dequantize),
}

/// A depthwise convolution, packed.
#[derive(Debug, Clone)]
pub struct Depthwise {
    /// The filters.
    pub filters: Filters,
    /// What follows the sums.
    pub finish: Finish,
}

/// One filter a channel.
#[derive(Debug, Clone)]
pub enum Filters {
    /// f32.
    F32(DepthwiseF32),
    /// Integers.
    I8(DepthwiseI8),
}

impl Matrix {
    /// The kernel that runs it.
    pub fn kernel(&self) -> &'static Kernel {
        match self {
            Self::DenseF32(m) => m.kernel(),
            Self::SparseF32(m) => m.kernel(),
            Self::DenseI8(m) => m.kernel(),
            Self::SparseI8(m) => m.kernel(),
        }
    }

    /// Bytes of the packed form.
    pub fn bytes(&self) -> usize {
        match self {
            Self::DenseF32(m) => m.bytes(),
            Self::SparseF32(m) => m.bytes(),
            Self::DenseI8(m) => m.bytes(),
            Self::SparseI8(m) => m.bytes(),
        }
    }

    /// Ranges of outputs begin and end on multiples of this.
    pub fn granule(&self) -> usize {
        match self {
            Self::DenseF32(m) => m.granule(),
            Self::SparseF32(m) => m.granule(),
            Self::DenseI8(m) => m.granule(),
            Self::SparseI8(m) => m.granule(),
        }
    }

    /// Multiplies a pixel, zeros and unused slots that the packed form holds included.
    pub fn multiplies(&self) -> usize {
        match self {
            Self::DenseF32(m) => m.macs(),
            Self::SparseF32(m) => m.slots(),
            Self::DenseI8(m) => m.macs(),
            Self::SparseI8(m) => m.slots(),
        }
    }

    /// Output channels.
    pub fn outputs(&self) -> usize {
        match self {
            Self::DenseF32(m) => m.outputs(),
            Self::SparseF32(m) => m.outputs(),
            Self::DenseI8(m) => m.outputs(),
            Self::SparseI8(m) => m.outputs(),
        }
    }
}

/// The two forms of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Zeros are multiplied.
    Dense,
    /// Zeros are skipped.
    Sparse,
}

impl Layer {
    /// Bytes of the packed form.
    pub fn bytes(&self) -> usize {
        self.groups.iter().map(|g| g.matrix.bytes()).sum()
    }

    /// Multiplies a pixel, zeros and unused slots that the packed form holds included.
    pub fn multiplies(&self) -> usize {
        self.groups.iter().map(|g| g.matrix.multiplies()).sum()
    }

    /// Whether its kernel reads operands where they lie in the image.
    pub fn reads_patches(&self) -> bool {
        let all = |g: &Group| g.matrix.kernel().reads_patches();
        self.groups.iter().all(all)
    }
}

/// Packs an f32 layer in the form of its weights.
pub fn pack_f32(
    isa: Isa,
    weights: &Weights<f32>,
    bias: Option<&[f32]>,
    (outputs, depth, groups): (usize, usize, usize),
    clamp: Clamp,
) -> Result<Layer, KernelError> {
    let finish = Finish::Float(kernel_clamp(clamp)?);
    let each = outputs / groups.max(1);
    let pack = |g: usize| {
        let range = g * each..(g + 1) * each;
        let bias = bias.map(|b| &b[range.clone()]);
        let matrix = match weights {
            Weights::Dense(rows) => {
                let rows = &rows[range.start * depth..range.end * depth];
                Matrix::DenseF32(DenseF32::pack(isa, rows, each, depth, bias)?)
            }
            Weights::Sparse(nonzeros) => {
                let nonzeros = rows_of(nonzeros, range)?;
                Matrix::SparseF32(SparseF32::pack_nonzeros(isa, &nonzeros, bias)?)
            }
        };
        Ok(Group {
            matrix,
            finish: finish.clone(),
        })
    };
    Ok(Layer {
        groups: (0..groups).map(pack).collect::<Result<_, KernelError>>()?,
        outputs,
        depth,
        nonzeros: weights.nonzeros(),
    })
}

/// Packs an integer layer in the form of its weights; `line` operands lie side by side in what it
/// reads.
pub fn pack_i8(
    isa: Isa,
    weights: &Weights<i8>,
    (outputs, depth, groups): (usize, usize, usize),
    line: usize,
    numbers: &IntegerLayer<'_>,
) -> Result<Layer, KernelError> {
    let each = outputs / groups.max(1);
    let sums = weights.sums(outputs);
    let shifted = numbers.integers.shifted_bias(&sums, numbers.x.zero_point);
    let pack = |g: usize| {
        let range = g * each..(g + 1) * each;
        let bias = Some(&shifted[range.clone()]);
        let matrix = match weights {
            Weights::Dense(rows) => {
                let rows = &rows[range.start * depth..range.end * depth];
                Matrix::DenseI8(DenseI8::pack_lines(isa, rows, each, depth, line, bias)?)
            }
            Weights::Sparse(nonzeros) => {
                let nonzeros = rows_of(nonzeros, range.clone())?;
                Matrix::SparseI8(SparseI8::pack_lines(isa, &nonzeros, line, bias)?)
            }
        };
        Ok(Group {
            matrix,
            finish: numbers.finish(range)?,
        })
    };
    Ok(Layer {
        groups: (0..groups).map(pack).collect::<Result<_, KernelError>>()?,
        outputs,
        depth,
        nonzeros: weights.nonzeros(),
    })
}

/// The numbers of an integer layer with the types on both sides.
pub struct IntegerLayer<'a> {
    /// Bias, factors and bounds.
    pub integers: &'a Integers,
    /// The input's codes.
    pub x: Quantization,
    /// The output's codes.
    pub y: Option<Quantization>,
    /// Bounds of an output in f32.
    pub clamp: Clamp,
}

impl IntegerLayer<'_> {
    /// What follows the sums of a range of outputs.
    pub fn finish(&self, outputs: std::ops::Range<usize>) -> Result<Finish, KernelError> {
        let factor = self.integers.factor[outputs].to_vec();
        let (lo, hi) = self.integers.bounds;
        Ok(match self.y {
            None => Finish::Real(Dequantize::new(factor, kernel_clamp(self.clamp)?)?),
            Some(y) => {
                let requantize = Requantize::new(factor, y.zero_point, lo, hi)?;
                match y.dtype {
                    DType::I8 => Finish::Signed(requantize),
                    _ => Finish::Unsigned(requantize),
                }
            }
        })
    }
}

/// The bounds as kernels take them.
pub fn kernel_clamp(clamp: Clamp) -> Result<kernels::Clamp, KernelError> {
    kernels::Clamp::new(clamp.lo, clamp.hi)
}
