//! Operators that slide a window over an image.

use super::operator::Operands;
use super::{Value, unsupported};
use crate::TrainError;
use crate::ops::{self, ConvGeometry, PoolGeometry};
use secateur_model::{AutoPad, Node, Window};

pub(super) fn conv(o: &Operands<'_>, window: &Window, groups: usize) -> Result<Value, TrainError> {
    let (x, weight) = (o.value(0)?, o.value(1)?);
    let geometry = geometry(o.node, window, groups, &x.dims, &weight.dims)?;
    let bias = match o.optional(2) {
        Some(bias) => bias,
        None => Value::new(vec![0.0; geometry.output[0]], &geometry.output[..1]),
    };
    let y = ops::conv2d(x.flat, weight.flat, bias.flat, geometry, weight.live);
    Ok(Value::of(y, o.dims))
}

/// How a convolution lies over images of extents `x`, with kernels of extents `weight`.
pub(crate) fn geometry(
    node: &Node,
    window: &Window,
    groups: usize,
    x: &[usize],
    weight: &[usize],
) -> Result<ConvGeometry, TrainError> {
    let kernel = weight.get(2..).unwrap_or_default();
    Placed::new(window, kernel, x, node)?.convolution(x, weight, groups, node)
}

pub(super) fn max_pool(o: &Operands<'_>, window: &Window) -> Result<Value, TrainError> {
    let x = o.value(0)?;
    let geometry = pooling(&x, window, o.node)?;
    Ok(Value::of(ops::max_pool(x.flat, geometry), o.dims))
}

pub(super) fn average_pool(
    o: &Operands<'_>,
    window: &Window,
    count_padding: bool,
) -> Result<Value, TrainError> {
    let x = o.value(0)?;
    let geometry = pooling(&x, window, o.node)?;
    let y = ops::average_pool(x.flat, geometry, count_padding);
    Ok(Value::of(y, o.dims))
}

/// Input 0 as planes: rows of pixels.
pub(super) fn planes(o: &Operands<'_>) -> Result<(Value, [usize; 2]), TrainError> {
    let x = o.value(0)?;
    match x.dims.as_slice() {
        &[n, c, ref spatial @ ..] => {
            let rows = [n * c, spatial.iter().product()];
            Ok((x, rows))
        }
        _ => Err(unsupported(o.node, "[n, c, …] is needed")),
    }
}

fn pooling(x: &Value, window: &Window, node: &Node) -> Result<PoolGeometry, TrainError> {
    Placed::new(window, &window.kernel, &x.dims, node)?.pooling(&x.dims, node)
}

/// A window on an image, all defaults filled in.
struct Placed {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [(usize, usize); 2],
    output: [usize; 2],
}

impl Placed {
    fn new(
        window: &Window,
        kernel: &[usize],
        dims: &[usize],
        node: &Node,
    ) -> Result<Self, TrainError> {
        let &[_, _, h, w] = dims else {
            return Err(unsupported(
                node,
                format!("[n, c, h, w] is needed, found {dims:?}"),
            ));
        };
        let pair = |list: &[usize]| match list {
            [] => Ok([1, 1]),
            &[a, b] if a > 0 && b > 0 => Ok([a, b]),
            _ => Err(unsupported(node, "the window must have two axes")),
        };
        let kernel = pair(kernel)?;
        let (stride, dilation) = (pair(&window.strides)?, pair(&window.dilations)?);
        let padding = match (window.auto_pad, window.pads.as_slice()) {
            (AutoPad::Valid, _) | (AutoPad::NotSet, []) => [(0, 0); 2],
            (AutoPad::NotSet, &[top, left, bottom, right]) => [(top, bottom), (left, right)],
            (AutoPad::NotSet, _) => return Err(unsupported(node, "four pads are needed")),
            (same, _) => [0, 1].map(|axis| {
                let extent = [h, w][axis];
                let span = extent.div_ceil(stride[axis]).saturating_sub(1) * stride[axis]
                    + (kernel[axis] - 1) * dilation[axis]
                    + 1;
                let total = span.saturating_sub(extent);
                match same {
                    AutoPad::SameLower => (total.div_ceil(2), total / 2),
                    _ => (total / 2, total.div_ceil(2)),
                }
            }),
        };
        let mut output = [0; 2];
        for (axis, extent) in [h, w].into_iter().enumerate() {
            let (before, after) = padding[axis];
            let room = (extent + before + after)
                .checked_sub((kernel[axis] - 1) * dilation[axis] + 1)
                .ok_or_else(|| {
                    unsupported(node, format!("a window of {kernel:?} does not fit {h}x{w}"))
                })?;
            output[axis] = room / stride[axis] + 1;
            // A last window may reach beyond the padding, not begin there.
            let more = window.ceil_mode && window.auto_pad == AutoPad::NotSet;
            if more && room % stride[axis] != 0 && output[axis] * stride[axis] < extent + before {
                output[axis] += 1;
            }
        }
        Ok(Self {
            kernel,
            stride,
            dilation,
            padding,
            output,
        })
    }

    fn convolution(
        &self,
        dims: &[usize],
        weight: &[usize],
        groups: usize,
        node: &Node,
    ) -> Result<ConvGeometry, TrainError> {
        match (dims, weight) {
            (&[images, c, h, w], &[m, part, _, _])
                if groups > 0 && c == part * groups && m % groups == 0 =>
            {
                Ok(ConvGeometry {
                    images,
                    input: [c, h, w],
                    output: [m, self.output[0], self.output[1]],
                    kernel: self.kernel,
                    stride: self.stride,
                    dilation: self.dilation,
                    before: self.padding.map(|(before, _)| before),
                    groups,
                })
            }
            _ => Err(unsupported(
                node,
                format!("weights {weight:?} in {groups} groups do not fit {dims:?}"),
            )),
        }
    }

    fn pooling(&self, dims: &[usize], node: &Node) -> Result<PoolGeometry, TrainError> {
        let &[n, c, h, w] = dims else {
            return Err(unsupported(node, "[n, c, h, w] is needed"));
        };
        let geometry = PoolGeometry {
            planes: n * c,
            input: [h, w],
            output: self.output,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            padding: self.padding,
        };
        if !geometry.covered() {
            return Err(unsupported(node, "a window lies wholly in the padding"));
        }
        Ok(geometry)
    }
}
