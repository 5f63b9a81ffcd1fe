//! Weights in the form that kernels read, and the choice of that form.

use crate::draft::{Clamp, Quantization};
use crate::integer::Integers;
use crate::plan::Choice;
use secateur_kernels::{
    self as kernels, DenseF32, DenseI8, DepthwiseF32, DepthwiseI8, Dequantize, Isa, Kernel,
    KernelError, Requantize, SparseF32, SparseI8,
};
use secateur_model::DType;

/// A multiplying layer, packed: one matrix for each group of channels.
#[derive(Debug, Clone)]
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

    /// Whether its kernel reads operands where they lie in the image.
    pub fn reads_patches(&self) -> bool {
        match self {
            Self::DenseF32(_) | Self::SparseF32(_) => false,
            Self::DenseI8(m) => m.reads_patches(),
            Self::SparseI8(m) => m.reads_patches(),
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

impl Layer {
    /// Bytes of the packed form.
    pub fn bytes(&self) -> usize {
        self.groups.iter().map(|g| g.matrix.bytes()).sum()
    }
}

/// Above this share of non-zeros a sparse form is not even tried.
const SPARSE_BELOW: f64 = 0.5;

/// What one slot of a sparse form costs against one product of the dense form:
/// a slot fetches an index beside the weight, and picks its activation.
fn slot_cost(isa: Isa, integer: bool) -> f64 {
    match (isa, integer) {
        (Isa::Avx512BwVnni | Isa::Avx512Vnni, false) => 2.0,
        (Isa::Avx512BwVnni | Isa::Avx512Vnni, true) => 3.5,
        (Isa::Avx2 | Isa::AvxVnni | Isa::Neon | Isa::NeonDot, _) => 3.0,
        (Isa::Generic | Isa::Simd128, _) => 2.0,
    }
}

/// The rows of a layer and what was found of their zeros.
struct Rows<'a, T> {
    values: &'a [T],
    outputs: usize,
    depth: usize,
}

impl<T: PartialEq + Default> Rows<'_, T> {
    fn nonzeros(&self) -> usize {
        let zero = T::default();
        self.values.iter().filter(|v| **v != zero).count()
    }

    /// Takes the sparse form where it is worth it.
    fn choose<M>(
        &self,
        isa: Isa,
        integer: bool,
        dense: impl FnOnce() -> Result<M, KernelError>,
        sparse: impl FnOnce() -> Result<(M, usize), KernelError>,
        kernel: impl Fn(&M) -> &'static str,
    ) -> Result<(M, Choice), KernelError> {
        let products = (self.outputs * self.depth).max(1);
        let density = self.nonzeros() as f64 / products as f64;
        let dense = dense()?;
        let name = kernel(&dense).to_owned();
        if density >= SPARSE_BELOW {
            let choice = Choice {
                kernel: name,
                reason: format!("{:.1} % of the weights are not zero", 100.0 * density),
                refused: vec![(
                    "sparse".into(),
                    format!("tried below {:.0} % only", 100.0 * SPARSE_BELOW),
                )],
            };
            return Ok((dense, choice));
        }
        let (sparse, slots) = sparse()?;
        let cost = slots as f64 * slot_cost(isa, integer);
        let sparse_name = kernel(&sparse).to_owned();
        let shares = format!(
            "{:.1} % of the weights are not zero, in {slots} slots that cost as {cost:.0} of \
             {products} dense products",
            100.0 * density
        );
        if cost < products as f64 {
            let choice = Choice {
                kernel: sparse_name,
                reason: shares,
                refused: vec![(name, "it multiplies by every zero".into())],
            };
            return Ok((sparse, choice));
        }
        let choice = Choice {
            kernel: name,
            reason: "its products cost less than the slots of the sparse form".into(),
            refused: vec![(sparse_name, shares)],
        };
        Ok((dense, choice))
    }
}

/// Packs an f32 layer. `rows`: `[outputs, depth]`, groups one behind the other.
pub fn pack_f32(
    isa: Isa,
    rows: &[f32],
    bias: Option<&[f32]>,
    (outputs, depth, groups): (usize, usize, usize),
    clamp: Clamp,
) -> Result<(Layer, Choice), KernelError> {
    let finish = Finish::Float(kernel_clamp(clamp)?);
    let each = outputs / groups.max(1);
    let mut packed = Vec::with_capacity(groups);
    let mut choice = Choice::only("none");
    for g in 0..groups {
        let values = &rows[g * each * depth..][..each * depth];
        let bias = bias.map(|b| &b[g * each..][..each]);
        let rows = Rows {
            values,
            outputs: each,
            depth,
        };
        let (matrix, taken) = rows.choose(
            isa,
            false,
            || DenseF32::pack(isa, values, each, depth, bias).map(Matrix::DenseF32),
            || {
                let sparse = SparseF32::pack(isa, values, each, depth, bias)?;
                let slots = sparse.slots();
                Ok((Matrix::SparseF32(sparse), slots))
            },
            |m| m.kernel().name,
        )?;
        choice = taken;
        packed.push(Group {
            matrix,
            finish: finish.clone(),
        });
    }
    let layer = Layer {
        groups: packed,
        outputs,
        depth,
        nonzeros: rows.iter().filter(|w| **w != 0.0).count(),
    };
    Ok((layer, choice))
}

/// Packs an integer layer. `rows`: `[outputs, depth]`, groups one behind the
/// other; `line` operands lie side by side in what it reads.
pub fn pack_i8(
    isa: Isa,
    rows: &[i8],
    (outputs, depth, groups): (usize, usize, usize),
    line: usize,
    numbers: &IntegerLayer<'_>,
) -> Result<(Layer, Choice), KernelError> {
    let each = outputs / groups.max(1);
    let shifted = numbers.integers.shifted_bias(rows, numbers.x.zero_point);
    let mut packed = Vec::with_capacity(groups);
    let mut choice = Choice::only("none");
    for g in 0..groups {
        let values = &rows[g * each * depth..][..each * depth];
        let range = g * each..(g + 1) * each;
        let bias = Some(&shifted[range.clone()]);
        let rows = Rows {
            values,
            outputs: each,
            depth,
        };
        let (matrix, taken) = rows.choose(
            isa,
            true,
            || DenseI8::pack_lines(isa, values, each, depth, line, bias).map(Matrix::DenseI8),
            || {
                let sparse = SparseI8::pack_lines(isa, values, each, depth, line, bias)?;
                let slots = sparse.slots();
                Ok((Matrix::SparseI8(sparse), slots))
            },
            |m| m.kernel().name,
        )?;
        choice = taken;
        packed.push(Group {
            matrix,
            finish: numbers.finish(range)?,
        });
    }
    let layer = Layer {
        groups: packed,
        outputs,
        depth,
        nonzeros: rows.iter().filter(|w| **w != 0).count(),
    };
    Ok((layer, choice))
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
