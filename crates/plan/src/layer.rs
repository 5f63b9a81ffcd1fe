//! Layers that multiply by a constant weight: Conv, Gemm and MatMul, as
//! matrices of `[outputs, depth]`.

use crate::draft::Draft;
use secateur_model::{Codebook, Node, Op, Scale, Support, Values, Weight, Window};

/// What a multiplying layer does, whatever the extents of its input.
///
/// The depth of a convolution runs over `(ky, kx, c)` with the channels of a
/// group innermost, the order in which the reference adds.
pub struct Linear<'a> {
    /// The weight as the graph holds it.
    pub weight: &'a Weight,
    /// How the weight lies.
    pub kind: Kind<'a>,
    /// One for each output.
    pub bias: Option<Vec<f32>>,
    /// Scales of the integer codes, one for each output; `None` where the
    /// weight is not of at most 8 bits, or scaled otherwise.
    pub integer: Option<Vec<f32>>,
}

/// How a layer's weight lies.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// `[outputs, depth]`.
    Rows,
    /// `[depth, outputs]`.
    Columns,
    /// `[outputs, c / groups, kh, kw]`.
    Conv {
        /// Where the kernel is put.
        window: &'a Window,
        /// Groups of channels.
        groups: usize,
    },
}

impl<'a> Linear<'a> {
    /// A node as such a layer, or why it is none.
    pub fn of(draft: &'a Draft, node: &'a Node) -> Result<Self, String> {
        let kind = match &node.op {
            Op::Gemm {
                alpha,
                beta,
                trans_a,
                trans_b,
            } => {
                if *alpha != 1.0 || *beta != 1.0 || *trans_a {
                    return Err(format!(
                        "alpha {alpha}, beta {beta}, transA {trans_a}: only 1, 1, false have kernels"
                    ));
                }
                if *trans_b { Kind::Rows } else { Kind::Columns }
            }
            Op::MatMul => Kind::Columns,
            Op::Conv { window, groups } => Kind::Conv {
                window,
                groups: *groups,
            },
            other => return Err(format!("{} is no multiplying layer", other.name())),
        };
        let (_, weight) = draft
            .graph
            .kernel_of(node)
            .ok_or("its weight is not constant")?;
        let dims = weight.shape().dims();
        match (kind, dims) {
            (Kind::Conv { groups, .. }, [out, _, _, _]) if groups > 0 && out % groups == 0 => {}
            (Kind::Conv { .. }, _) => {
                return Err(format!(
                    "weight {}: only two-dimensional convolutions have kernels",
                    weight.shape()
                ));
            }
            (_, [_, _]) => {}
            _ => return Err(format!("weight {} is no matrix", weight.shape())),
        }
        let mut linear = Self {
            weight,
            kind,
            bias: None,
            integer: integer_scales(weight, kind),
        };
        if node.input(2).is_some() {
            linear.bias = Some(linear.read_bias(draft, node)?);
        }
        Ok(linear)
    }

    /// Output channels.
    pub fn outputs(&self) -> usize {
        match (self.kind, self.weight.shape().dims()) {
            (Kind::Columns, dims) => dims.get(1).copied().unwrap_or(0),
            (_, dims) => dims.first().copied().unwrap_or(0),
        }
    }

    /// Products of one output.
    pub fn depth(&self) -> usize {
        match (self.kind, self.weight.shape().dims()) {
            (Kind::Columns, dims) => dims.first().copied().unwrap_or(0),
            (_, dims) => dims.iter().skip(1).product(),
        }
    }

    /// The weights in f32, `[outputs, depth]`.
    pub fn rows_f32(&self) -> Vec<f32> {
        self.ordered(self.weight.to_f32())
    }

    /// The codes, `[outputs, depth]`; zeros where the weight has none.
    pub fn rows_i8(&self) -> Vec<i8> {
        self.ordered(self.codes_as_stored())
    }

    /// The codes in the graph's order; zeros where the weight has none.
    pub fn codes_as_stored(&self) -> Vec<i8> {
        let mut codes = vec![0; self.weight.shape().elements()];
        let mut place = |kept: &mut dyn Iterator<Item = i8>| {
            for (position, code) in self.weight.positions().zip(kept) {
                codes[position] = code;
            }
        };
        match self.weight.values() {
            Values::Int { codes, .. } => place(&mut codes.iter().map(|&c| c as i8)),
            Values::Shared {
                codebook: Codebook::Int { codes: entries, .. },
                codes,
            } => place(&mut codes.iter().map(|&c| entries[usize::from(c)])),
            _ => {}
        }
        codes
    }

    /// Non-zero weights.
    pub fn nonzeros(&self) -> usize {
        self.weight.nonzeros()
    }

    /// The weight's own words for its zeros.
    pub fn support(&self) -> &'static str {
        match self.weight.support() {
            Support::All => "dense",
            Support::Unstructured(_) => "unstructured",
            Support::NofM { .. } => "n of m",
            Support::Blocks { .. } => "blocks",
            Support::Channels(_) => "channels",
        }
    }

    /// From the graph's order to `[outputs, depth]`.
    fn ordered<T: Copy>(&self, values: Vec<T>) -> Vec<T> {
        match (self.kind, self.weight.shape().dims()) {
            (Kind::Columns, &[depth, outputs]) => (0..outputs)
                .flat_map(|o| (0..depth).map(move |k| k * outputs + o))
                .map(|at| values[at])
                .collect(),
            (Kind::Conv { .. }, &[outputs, channels, kh, kw]) => (0..outputs)
                .flat_map(|o| (0..kh * kw).map(move |tap| (o, tap)))
                .flat_map(|(o, tap)| (0..channels).map(move |c| (o * channels + c) * kh * kw + tap))
                .map(|at| values[at])
                .collect(),
            _ => values,
        }
    }

    fn read_bias(&self, draft: &Draft, node: &Node) -> Result<Vec<f32>, String> {
        let bias = draft.constant(node, 2).ok_or("its bias is not constant")?;
        let values = bias.as_f32().map_err(|e| e.to_string())?;
        let outputs = self.outputs();
        match bias.shape().dims() {
            [] | [1] | [1, 1] => Ok(vec![values[0]; outputs]),
            [n] | [1, n] if *n == outputs => Ok(values.to_vec()),
            _ => Err(format!("bias {} is not one for each output", bias.shape())),
        }
    }
}

/// One scale for each output, where integer kernels can apply it.
fn integer_scales(weight: &Weight, kind: Kind<'_>) -> Option<Vec<f32>> {
    let outputs = match (kind, weight.shape().dims()) {
        (Kind::Columns, dims) => *dims.get(1)?,
        (_, dims) => *dims.first()?,
    };
    match weight.values() {
        Values::Int { bits, scale, .. } if *bits <= 8 => match scale {
            Scale::PerTensor(s) => Some(vec![*s; outputs]),
            Scale::PerChannel(s) if !matches!(kind, Kind::Columns) => Some(s.clone()),
            Scale::PerColumn(s) if matches!(kind, Kind::Columns) => Some(s.clone()),
            _ => None,
        },
        Values::Shared {
            codebook: Codebook::Int { scale, .. },
            ..
        } => Some(vec![*scale; outputs]),
        _ => None,
    }
}
