//! ConvTranspose in any number of dimensions.
//!
//! Every output element is one chain of fused multiply-adds that starts at the
//! bias (or 0) and takes the input's elements that reach it row-major, their
//! channels innermost, as a convolution would. f16 and bf16 accumulate in f32 and round once.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors};
use super::conv::check_bias;
use super::element::{Element, Number};
use super::window::advance;
use crate::{AutoPad, DType, Data, ModelError, Node, Shape, Tensor, Window};

/// The attributes of ConvTranspose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConvTranspose {
    /// The window that every input element spreads over.
    pub window: Window,
    /// Groups of channels.
    pub groups: usize,
    /// Cells added at the end of each spatial axis; none when empty.
    pub output_padding: Vec<usize>,
    /// Spatial extents of the output, from which pads follow; given by the pads
    /// when empty.
    pub output_shape: Vec<usize>,
}

/// The pad at the beginning of each spatial axis, wherever it follows from.
///
/// # Errors
/// Those of the shape rule, as far as extents decide.
pub fn transposed_begin(
    node: &Node,
    conv: &ConvTranspose,
    x: &Shape,
    w: &Shape,
) -> Result<Vec<usize>, ModelError> {
    Ok(Geometry::new(node, conv, x, w)?.begin)
}

/// Extents, one entry for each spatial axis.
struct Geometry {
    batch: usize,
    channels: usize,
    /// Output channels of a group.
    depth: usize,
    groups: usize,
    input: Vec<usize>,
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    begin: Vec<usize>,
    output: Vec<usize>,
}

pub(super) fn infer(
    args: &Shapes<'_>,
    conv: &ConvTranspose,
) -> Result<Vec<TypedShape>, ModelError> {
    let (x, w) = (args.typed(0, FLOATS)?, args.need(1)?);
    args.same_type(1)?;
    let geometry = Geometry::new(args.node, conv, &x.shape, &w.shape)?;
    let channels = geometry.depth * geometry.groups;
    if let Some(bias) = args.get(2) {
        args.same_type(2)?;
        check_bias(args, 2, &bias.shape, channels)?;
    }
    let dims = [&[geometry.batch, channels], &geometry.output[..]].concat();
    Ok(vec![(x.dtype, args.shape(&dims)?)])
}

/// `y[n, o, p] = b[o] + Σ w[c, o, t] · x[n, c, q]` where `p + pad = q · stride +
/// t · dilation`.  x: `[n, c, spatial…]`, w: `[c, out / groups, k…]`.
pub(super) fn evaluate(
    args: &Tensors<'_>,
    conv: &ConvTranspose,
) -> Result<Vec<Tensor>, ModelError> {
    let (x, w) = (args.need(0)?, args.need(1)?);
    let geometry = Geometry::new(args.node, conv, x.shape(), w.shape())?;
    let bias = args.get(2);
    let data = if x.dtype() == DType::F64 {
        let b = bias.map(|_| args.doubles(2)).transpose()?;
        Data::F64(geometry.spread(&args.doubles(0)?, &args.doubles(1)?, b.as_deref()))
    } else {
        let b = bias.map(|_| args.floats(2)).transpose()?;
        let y = geometry.spread(&args.floats(0)?, &args.floats(1)?, b.as_deref());
        args.round_floats(x.dtype(), y)?
    };
    args.single(data)
}

impl Geometry {
    fn new(node: &Node, conv: &ConvTranspose, x: &Shape, w: &Shape) -> Result<Self, ModelError> {
        let wrong = |reason: String| ModelError::at(node, reason);
        let ([batch, channels, input @ ..], [rows, depth, kernel @ ..]) = (x.dims(), w.dims())
        else {
            return Err(wrong(format!(
                "needs [n, c, spatial…] and [c, out / groups, k…], found {x} and {w}"
            )));
        };
        let rank = input.len();
        if rank == 0 || kernel.len() != rank || rows != channels {
            return Err(wrong(format!("input {x} and weight {w} do not fit")));
        }
        let groups = conv.groups;
        if groups == 0 || channels % groups != 0 || depth.checked_mul(groups).is_none() {
            return Err(wrong(format!("{groups} groups of {channels} channels")));
        }
        let window = &conv.window;
        if !window.kernel.is_empty() && window.kernel != kernel {
            return Err(wrong(format!(
                "`kernel_shape` is {:?}, the weight's is {kernel:?}",
                window.kernel
            )));
        }
        if x.elements() == 0 || w.elements() == 0 {
            return Err(wrong(format!("input {x} or weight {w} is empty")));
        }
        let list = |name: &str, given: &[usize], default: usize, count: usize| match given.len() {
            0 => Ok(vec![default; count]),
            n if n == count => Ok(given.to_vec()),
            n => Err(wrong(format!("`{name}` needs {count} entries, found {n}"))),
        };
        let mut geometry = Self {
            batch: *batch,
            channels: *channels,
            depth: *depth,
            groups,
            input: input.to_vec(),
            kernel: kernel.to_vec(),
            strides: list("strides", &window.strides, 1, rank)?,
            dilations: list("dilations", &window.dilations, 1, rank)?,
            begin: Vec::new(),
            output: Vec::new(),
        };
        let pads = list("pads", &window.pads, 0, 2 * rank)?;
        let added = list("output_padding", &conv.output_padding, 0, rank)?;
        if !conv.output_shape.is_empty() && conv.output_shape.len() != rank {
            return Err(wrong(format!("`output_shape` needs {rank} entries")));
        }
        for axis in 0..rank {
            let asked = conv.output_shape.get(axis).copied();
            let (begin, output) = geometry
                .place(
                    axis,
                    added[axis],
                    (pads[axis], pads[axis + rank]),
                    window.auto_pad,
                    asked,
                )
                .ok_or_else(|| {
                    ModelError::unsupported(
                        node,
                        format!(
                            "pads and extents of spatial axis {axis}: extent {}, kernel {}, \
                             stride {}, dilation {}",
                            geometry.input[axis],
                            geometry.kernel[axis],
                            geometry.strides[axis],
                            geometry.dilations[axis]
                        ),
                    )
                })?;
            geometry.begin.push(begin);
            geometry.output.push(output);
        }
        Ok(geometry)
    }

    /// The pad at the beginning and the output's extent; `None` where no pads
    /// give it or the numbers overflow.
    fn place(
        &self,
        axis: usize,
        added: usize,
        pads: (usize, usize),
        auto_pad: AutoPad,
        asked: Option<usize>,
    ) -> Option<(usize, usize)> {
        let (stride, dilation) = (self.strides[axis], self.dilations[axis]);
        if stride == 0 || dilation == 0 {
            return None;
        }
        let reach = (self.kernel[axis] - 1).checked_mul(dilation)?;
        let full = (self.input[axis] - 1)
            .checked_mul(stride)?
            .checked_add(reach)?
            .checked_add(1)?
            .checked_add(added)?;
        if isize::try_from(full).is_err() {
            return None;
        }
        let same = matches!(auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
        let asked = match asked {
            Some(asked) => Some(asked),
            None if same => Some(self.input[axis].checked_mul(stride)?),
            None => None,
        };
        let Some(asked) = asked else {
            let (begin, end) = match auto_pad {
                AutoPad::Valid => (0, 0),
                _ => pads,
            };
            return Some((begin, full.checked_sub(begin)?.checked_sub(end)?));
        };
        // An output that the windows do not fill goes on at its end.
        let total = match full.checked_sub(asked) {
            Some(total) => total,
            None if same => return None,
            None => 0,
        };
        let begin = match auto_pad {
            AutoPad::SameUpper => total / 2,
            _ => total - total / 2,
        };
        Some((begin, asked))
    }

    fn spread<T: Number>(&self, x: &[T], w: &[T], bias: Option<&[T]>) -> Vec<T> {
        let plane: usize = self.input.iter().product();
        let taps: usize = self.kernel.iter().product();
        let places: usize = self.output.iter().product();
        let per_group = self.channels / self.groups;
        let mut reached = Vec::new();
        let mut y = Vec::new();
        for n in 0..self.batch {
            for o in 0..self.depth * self.groups {
                let first = o / self.depth * per_group;
                let mut at = vec![0; self.output.len()];
                for _ in 0..places {
                    self.taps(&at, &mut reached);
                    let mut acc = bias.map_or(<T as Element>::ZERO, |b| b[o]);
                    for &(tap, position) in &reached {
                        for c in first..first + per_group {
                            let w = w[(c * self.depth + o % self.depth) * taps + tap];
                            let x = x[(n * self.channels + c) * plane + position];
                            acc = w.mul_add(x, acc);
                        }
                    }
                    y.push(acc);
                    advance(&mut at, &self.output);
                }
            }
        }
        y
    }

    /// The taps that reach an output position, and the input's positions that
    /// they do so from.
    fn taps(&self, at: &[usize], found: &mut Vec<(usize, usize)>) {
        found.clear();
        let mut step = vec![0; at.len()];
        for tap in 0..self.kernel.iter().product() {
            let position = (0..at.len()).try_fold(0, |position, axis| {
                let place =
                    (at[axis] + self.begin[axis]).checked_sub(step[axis] * self.dilations[axis])?;
                let from = place / self.strides[axis];
                let meets = place % self.strides[axis] == 0 && from < self.input[axis];
                meets.then_some(position * self.input[axis] + from)
            });
            found.extend(position.map(|position| (tap, position)));
            advance(&mut step, &self.kernel);
        }
        // Positions ascend as taps descend.
        found.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::ConvTranspose;
    use crate::{AutoPad, ModelError, Node, Op, Tensor, Window};

    fn run(conv: ConvTranspose) -> Result<Vec<f32>, ModelError> {
        let x = Tensor::f32(&[1, 1, 3], vec![1., 2., 3.]).unwrap();
        let w = Tensor::f32(&[1, 1, 3], vec![1., 10., 100.]).unwrap();
        let b = Tensor::f32(&[1], vec![0.5]).unwrap();
        let op = Op::ConvTranspose(Box::new(conv));
        let node = Node::new("t", op, &["x", "w", "b"], &["y"]);
        let y = evaluate(&node, &[Some(&x), Some(&w), Some(&b)])?;
        Ok(y[0].as_f32()?.to_vec())
    }

    fn strided() -> ConvTranspose {
        ConvTranspose {
            window: Window::default().stride(&[2]),
            groups: 1,
            ..ConvTranspose::default()
        }
    }

    #[test]
    fn every_element_spreads_over_the_window() {
        let whole = [1.5, 10.5, 102.5, 20.5, 203.5, 30.5, 300.5];
        assert_eq!(run(strided()).unwrap(), whole);
        let mut padded = strided();
        padded.window = padded.window.pad(&[1, 0]);
        padded.output_padding = vec![1];
        assert_eq!(run(padded).unwrap()[..6], whole[1..]);
        let mut large = strided();
        large.output_shape = vec![8];
        assert_eq!(run(large).unwrap(), [&whole[..], &[0.5]].concat());
        let mut shaped = strided();
        shaped.output_shape = vec![6];
        assert_eq!(run(shaped.clone()).unwrap(), whole[1..]);
        shaped.window.auto_pad = AutoPad::SameUpper;
        assert_eq!(run(shaped).unwrap(), whole[..6]);
    }

    #[test]
    fn contradictions_are_refused() {
        let mut large = strided();
        large.window.auto_pad = AutoPad::SameUpper;
        large.output_shape = vec![8];
        assert!(run(large).is_err());
        let mut still = strided();
        still.window.strides = vec![0];
        assert!(run(still).is_err());
        let mut none = strided();
        none.groups = 0;
        assert!(run(none).is_err());
        let mut cut = strided();
        cut.window.pads = vec![usize::MAX, 1];
        assert!(run(cut).is_err());
    }

    #[test]
    fn groups_have_their_own_channels() {
        let x = Tensor::f32(&[1, 2, 1], vec![2., 3.]).unwrap();
        let w = Tensor::f32(&[2, 1, 1], vec![5., 7.]).unwrap();
        let conv = ConvTranspose {
            groups: 2,
            ..ConvTranspose::default()
        };
        let op = Op::ConvTranspose(Box::new(conv));
        let y = evaluate(
            &Node::new("t", op, &["x", "w"], &["y"]),
            &[Some(&x), Some(&w)],
        );
        assert_eq!(y.unwrap()[0].as_f32().unwrap(), [10., 21.]);
    }
}
