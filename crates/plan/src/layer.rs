//! Layers that multiply by a constant weight: Conv, Gemm and MatMul, as
//! matrices of `[outputs, depth]`.

use crate::draft::Draft;
use secateur_kernels::{KernelError, Nonzeros};
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

/// Where the elements of a stored matrix go.
enum Order {
    /// Where they are.
    Stored,
    /// In every row, to the place of their column.
    Columns(Vec<usize>),
    /// To the column of their row.
    Transposed,
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
        self.placed(&self.rows_order(), self.weight.kept_f32())
    }

    /// The codes, `[outputs, depth]`; zeros where the weight has none.
    pub fn rows_i8(&self) -> Vec<i8> {
        self.placed(&self.rows_order(), self.kept_codes())
    }

    /// The codes in the graph's order; zeros where the weight has none.
    pub fn codes_as_stored(&self) -> Vec<i8> {
        self.placed(&Order::Stored, self.kept_codes())
    }

    /// The weights in f32 that are not zero, `[outputs, depth]`.
    pub fn nonzeros_f32(&self) -> Result<Nonzeros<f32>, KernelError> {
        self.gathered(self.weight.kept_f32())
    }

    /// The codes that are not zero, `[outputs, depth]`.
    pub fn nonzeros_i8(&self) -> Result<Nonzeros<i8>, KernelError> {
        self.gathered(self.kept_codes())
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

    /// The order of `[outputs, depth]`.
    fn rows_order(&self) -> Order {
        match (self.kind, self.weight.shape().dims()) {
            (Kind::Columns, _) => Order::Transposed,
            (Kind::Conv { .. }, &[_, channels, kh, kw]) if channels > 1 && kh * kw > 1 => {
                Order::Columns(channels_last(channels, kh * kw))
            }
            _ => Order::Stored,
        }
    }

    /// The codes of the kept positions; zeros where the weight has none.
    fn kept_codes(&self) -> Vec<i8> {
        match self.weight.values() {
            Values::Int { codes, .. } => codes.iter().map(|&c| c as i8).collect(),
            Values::Shared {
                codebook: Codebook::Int { codes: entries, .. },
                codes,
            } => codes.iter().map(|&c| entries[usize::from(c)]).collect(),
            _ => vec![0; self.weight.kept()],
        }
    }

    /// Kept values in an order, straight from the compressed form; zeros elsewhere.
    fn placed<T: Copy + Default>(&self, order: &Order, kept: Vec<T>) -> Vec<T> {
        let mask = self.weight.support().mask();
        if let (Order::Stored, None) = (order, mask) {
            return kept;
        }
        let (rows, columns) = self.weight.matrix();
        let mut all = vec![T::default(); rows * columns];
        // Positions ascend, so that their row needs no division.
        let (mut row, mut row_start) = (0, 0);
        let place = |(position, value): (usize, T)| {
            while position >= row_start + columns {
                (row, row_start) = (row + 1, row_start + columns);
            }
            let column = position - row_start;
            let at = match order {
                Order::Stored => position,
                Order::Columns(places) => row_start + places[column],
                Order::Transposed => column * rows + row,
            };
            all[at] = value;
        };
        match mask {
            None => (0..).zip(kept).for_each(place),
            Some(mask) => mask.ones().zip(kept).for_each(place),
        }
        all
    }

    /// Kept values that are not zero, `[outputs, depth]`, straight from the compressed form.
    fn gathered<T: Copy + Default + PartialEq>(
        &self,
        kept: Vec<T>,
    ) -> Result<Nonzeros<T>, KernelError> {
        let (rows, columns) = self.weight.matrix();
        let stored = match self.weight.support().mask() {
            None => Nonzeros::of(&kept, rows, columns),
            Some(mask) => Nonzeros::masked(mask.words(), kept, rows, columns),
        }?;
        match self.rows_order() {
            Order::Stored => Ok(stored),
            Order::Columns(places) => stored.reordered(&places),
            Order::Transposed => stored.transposed(),
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

/// The places of `[c, plane]` in `[plane, c]`.
pub fn channels_last(channels: usize, plane: usize) -> Vec<usize> {
    (0..channels)
        .flat_map(|c| (0..plane).map(move |at| at * channels + c))
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::{Bitmask, Shape};

    fn weight(dims: &[usize], mask: Option<&[bool]>) -> Weight {
        let shape = Shape::new(dims).unwrap();
        let kept = mask.map_or(shape.elements(), |m| m.iter().filter(|&&b| b).count());
        let values = Values::Int {
            bits: 8,
            codes: (1..=kept as i16).collect(),
            scale: Scale::PerTensor(0.5),
        };
        let support = mask.map_or(Support::All, |m| {
            Support::Unstructured(Bitmask::from_bools(m))
        });
        Weight::new(shape, support, values).unwrap()
    }

    fn linear<'a>(weight: &'a Weight, kind: Kind<'a>) -> Linear<'a> {
        Linear {
            weight,
            kind,
            bias: None,
            integer: None,
        }
    }

    #[test]
    fn codes_go_to_the_rows_that_kernels_read() {
        let dense = weight(&[2, 3], None);
        assert_eq!(linear(&dense, Kind::Rows).rows_i8(), [1, 2, 3, 4, 5, 6]);
        let columns = linear(&dense, Kind::Columns);
        assert_eq!(columns.rows_i8(), [1, 4, 2, 5, 3, 6]);
        assert_eq!(columns.rows_f32(), [0.5, 2.0, 1.0, 2.5, 1.5, 3.0]);
        assert_eq!(columns.codes_as_stored(), [1, 2, 3, 4, 5, 6]);

        let window = Window::new(&[1, 2]);
        let kind = Kind::Conv {
            window: &window,
            groups: 1,
        };
        // The first row is empty, the second lacks its first tap of channel 0.
        let mask = [
            false, false, false, false, //
            false, true, true, true, //
            true, false, false, true,
        ];
        let conv = weight(&[3, 2, 1, 2], Some(&mask));
        let rows = [0, 0, 0, 0, 0, 2, 1, 3, 4, 0, 0, 5];
        assert_eq!(linear(&conv, kind).rows_i8(), rows);
        let nonzeros = |rows: &[i8], outputs| Nonzeros::of(rows, outputs, rows.len() / outputs);
        assert_eq!(linear(&conv, kind).nonzeros_i8(), nonzeros(&rows, 3));
        assert_eq!(columns.nonzeros_i8(), nonzeros(&[1, 4, 2, 5, 3, 6], 3));
    }
}
