//! Conv in 1, 2 and 3 (and more) dimensions.
//!
//! The order of additions is part of the meaning: every output element is one
//! chain of fused multiply-adds, `acc = w.mul_add(x, acc)`, that starts at the
//! bias (or 0) and takes the taps row-major, the channels of a tap innermost;
//! taps on the padding are skipped. f16 and bf16 accumulate in f32 and round
//! once.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors};
use super::element::{Element, Number};
use super::window::{Placement, advance};
use crate::{DType, Data, ModelError, Node, Shape, Tensor, Window};

pub(super) fn infer(
    args: &Shapes<'_>,
    window: &Window,
    groups: usize,
) -> Result<Vec<TypedShape>, ModelError> {
    let (x, w) = (args.typed(0, FLOATS)?, args.need(1)?);
    args.same_type(1)?;
    let geometry = Geometry::new(args.node, window, groups, &x.shape, &w.shape)?;
    if let Some(bias) = args.get(2) {
        args.same_type(2)?;
        check_bias(args, 2, &bias.shape, geometry.out_channels)?;
    }
    Ok(vec![(x.dtype, geometry.output(args)?)])
}

/// `y[n, o, p] = b[o] + Σ w[o, c, t] · x[n, c, p·stride + t·dilation − pad]`.
/// x: `[n, c, spatial…]`, w: `[out, c / groups, k…]` -> `[n, out, spatial…]`.
pub(super) fn evaluate(
    args: &Tensors<'_>,
    window: &Window,
    groups: usize,
) -> Result<Vec<Tensor>, ModelError> {
    let (x, w) = (args.need(0)?, args.need(1)?);
    let geometry = Geometry::new(args.node, window, groups, x.shape(), w.shape())?;
    let dtype = x.dtype();
    let bias = args.get(2);
    let data = match (x.data(), w.data(), bias.map(Tensor::data)) {
        (Data::F32(x), Data::F32(w), None) => Data::F32(convolve(&geometry, x, w, None)),
        (Data::F32(x), Data::F32(w), Some(Data::F32(b))) => {
            Data::F32(convolve(&geometry, x, w, Some(b)))
        }
        _ if dtype == DType::F64 => {
            let b = bias.map(|_| args.doubles(2)).transpose()?;
            let (x, w) = (args.doubles(0)?, args.doubles(1)?);
            Data::F64(convolve(&geometry, &x, &w, b.as_deref()))
        }
        _ => {
            let b = bias.map(|_| args.floats(2)).transpose()?;
            let (x, w) = (args.floats(0)?, args.floats(1)?);
            args.round_floats(dtype, convolve(&geometry, &x, &w, b.as_deref()))?
        }
    };
    args.single(data)
}

fn convolve<T: Number>(g: &Geometry, x: &[T], w: &[T], bias: Option<&[T]>) -> Vec<T> {
    let mut y = Vec::new();
    let mut taps: Vec<(usize, usize)> = Vec::new();
    g.each_output(&mut taps, |o, channel, w_row, taps| {
        let mut acc = bias.map_or(<T as Element>::ZERO, |b| b[o]);
        for &(tap, position) in taps {
            for c in 0..g.depth {
                acc =
                    w[w_row + c * g.taps + tap].mul_add(x[(channel + c) * g.plane + position], acc);
            }
        }
        y.push(acc);
    });
    y
}

pub(super) fn check_bias(
    args: &Shapes<'_>,
    index: usize,
    bias: &Shape,
    channels: usize,
) -> Result<(), ModelError> {
    if bias.dims() == [channels] {
        return Ok(());
    }
    Err(args.wrong(format!(
        "bias (input {index}) must be [{channels}], found {bias}"
    )))
}

/// Extents of a convolution, checked against each other.
pub(super) struct Geometry {
    batch: usize,
    pub out_channels: usize,
    channels: usize,
    groups: usize,
    /// Channels of a group.
    pub depth: usize,
    /// Taps of the kernel.
    pub taps: usize,
    /// Elements of one channel of the input.
    pub plane: usize,
    placement: Placement,
}

impl Geometry {
    pub fn new(
        node: &Node,
        window: &Window,
        groups: usize,
        x: &Shape,
        w: &Shape,
    ) -> Result<Self, ModelError> {
        let wrong = |reason: String| Err(ModelError::at(node, reason));
        let ([batch, channels, spatial @ ..], [out_channels, depth, kernel @ ..]) =
            (x.dims(), w.dims())
        else {
            return wrong(format!(
                "needs [n, c, spatial…] and [out, c / groups, k…], found {x} and {w}"
            ));
        };
        if spatial.is_empty() || spatial.len() != kernel.len() {
            return wrong(format!(
                "input {x} and weight {w} must have as many spatial axes, at least one"
            ));
        }
        if groups == 0 || out_channels % groups != 0 || depth.checked_mul(groups) != Some(*channels)
        {
            return wrong(format!(
                "{groups} groups do not divide {channels} input channels by {depth} \
                 and {out_channels} output channels"
            ));
        }
        if !window.kernel.is_empty() && window.kernel != kernel {
            return wrong(format!(
                "`kernel_shape` is {:?}, the weight's is {kernel:?}",
                window.kernel
            ));
        }
        Ok(Self {
            batch: *batch,
            out_channels: *out_channels,
            channels: *channels,
            groups,
            depth: *depth,
            taps: kernel.iter().product(),
            plane: spatial.iter().product(),
            placement: Placement::new(node, window, kernel, spatial)?,
        })
    }

    /// `[n, out, spatial…]`.
    pub fn output(&self, args: &Shapes<'_>) -> Result<Shape, ModelError> {
        let mut dims = vec![self.batch, self.out_channels];
        dims.extend(&self.placement.output);
        args.shape(&dims)
    }

    /// Calls `output(o, channel, w_row, taps)` for every output element in
    /// row-major order: `o` is the output channel, `channel` the first input
    /// channel it reads counted over the whole batch, `w_row` where its weights
    /// start, `taps` the pairs of tap and position that fall on the input.
    pub fn each_output(
        &self,
        taps: &mut Vec<(usize, usize)>,
        mut output: impl FnMut(usize, usize, usize, &[(usize, usize)]),
    ) {
        let per_group = self.out_channels / self.groups;
        let places: usize = self.placement.output.iter().product();
        for n in 0..self.batch {
            for o in 0..self.out_channels {
                let channel = n * self.channels + o / per_group * self.depth;
                let mut at = vec![0; self.placement.output.len()];
                for _ in 0..places {
                    taps.clear();
                    self.placement
                        .visit(&at, |tap, position| taps.push((tap, position)));
                    output(o, channel, o * self.depth * self.taps, taps);
                    advance(&mut at, &self.placement.output);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Node, Op, Tensor, Window};

    fn conv(window: Window, groups: usize) -> Node {
        Node::new("c", Op::Conv { window, groups }, &["x", "w", "b"], &["y"])
    }

    fn run(node: &Node, x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Tensor {
        evaluate(node, &[Some(x), Some(w), b]).unwrap().remove(0)
    }

    #[test]
    fn padded_plane() {
        let x = Tensor::f32(&[1, 1, 2, 2], vec![1., 2., 3., 4.]).unwrap();
        let w = Tensor::f32(&[1, 1, 3, 3], (1..10).map(|i| i as f32).collect()).unwrap();
        let b = Tensor::f32(&[1], vec![0.5]).unwrap();
        let node = conv(Window::new(&[3, 3]).pad(&[1; 4]), 1);
        let y = run(&node, &x, &w, Some(&b));
        // 1·5 + 2·6 + 3·8 + 4·9 + ½ at the first corner, and so on round.
        assert_eq!(y.as_f32().unwrap(), [77.5, 67.5, 47.5, 37.5]);
    }

    #[test]
    fn groups_read_their_own_channels() {
        let x = Tensor::f32(&[1, 2, 2], vec![1., 2., 10., 20.]).unwrap();
        let w = Tensor::f32(&[2, 1, 1], vec![3., 5.]).unwrap();
        let y = run(&conv(Window::default(), 2), &x, &w, None);
        assert_eq!(y.as_f32().unwrap(), [3., 6., 50., 100.]);
    }

    #[test]
    fn three_dimensions_stride_and_dilate() {
        let x = Tensor::f32(&[1, 1, 1, 1, 5], vec![1., 2., 3., 4., 5.]).unwrap();
        let w = Tensor::f32(&[1, 1, 1, 1, 2], vec![1., 10.]).unwrap();
        let mut window = Window::default().stride(&[1, 1, 2]);
        window.dilations = vec![1, 1, 2];
        let y = run(&conv(window, 1), &x, &w, None);
        assert_eq!(y.shape().dims(), [1, 1, 1, 1, 2]);
        assert_eq!(y.as_f32().unwrap(), [31., 53.]);
    }

    #[test]
    fn additions_are_fused_in_order() {
        let x = Tensor::f32(&[1, 2, 1], vec![1.0 + f32::EPSILON, 1.0]).unwrap();
        let w = Tensor::f32(&[1, 2, 1], vec![1.0 + f32::EPSILON, -1.0]).unwrap();
        let b = Tensor::f32(&[1], vec![-1.0]).unwrap();
        let y = run(&conv(Window::default(), 1), &x, &w, Some(&b));
        let e = f32::EPSILON;
        let chain = (-1.0f32).mul_add(1.0, (1.0 + e).mul_add(1.0 + e, -1.0));
        assert_eq!(y.as_f32().unwrap()[0].to_bits(), chain.to_bits());
    }

    #[test]
    fn contradictions_are_named() {
        let x = Tensor::f32(&[1, 2, 2], vec![0.; 4]).unwrap();
        let w = Tensor::f32(&[2, 2, 1], vec![0.; 4]).unwrap();
        let error = |window, groups| {
            evaluate(&conv(window, groups), &[Some(&x), Some(&w)])
                .unwrap_err()
                .to_string()
        };
        assert!(error(Window::default(), 2).contains("groups"));
        assert!(error(Window::default(), 0).contains("groups"));
        assert!(error(Window::new(&[2]), 1).contains("kernel_shape"));
        assert!(error(Window::default().stride(&[0]), 1).contains("stride 0"));
    }
}
