//! Operators of this crate's own, where the tensor library's are slow:
//! each with its gradient, through the library's backend extension.
//!
//! Results do not depend on the number of threads: what is summed over a batch
//! is summed over fixed groups of images, then over the groups in order.

mod batch_norm;
mod conv2d;
mod depthwise;
mod linear;
mod matrix;
mod pool;
mod unfold;

pub(crate) use batch_norm::{batch_norm, moments};
pub(crate) use conv2d::{ConvGeometry, conv2d};
pub(crate) use linear::{LinearGeometry, linear};
pub(crate) use pool::{PoolGeometry, average_pool, max_pool};

use burn::backend::flex::FlexTensor;
use burn::tensor::TensorData;
use std::borrow::Cow;

/// Groups that a batch is cut into, at most.
const GROUPS: usize = 16;

/// Images a group: depends on the batch alone, not on the machine.
fn group_of(images: usize) -> usize {
    images.div_ceil(GROUPS).max(1)
}

/// The elements in row-major order; copied only where a view has other strides.
fn elements(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    match tensor.as_slice::<f32>() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(
            tensor
                .to_contiguous()
                .as_slice::<f32>()
                .map(<[f32]>::to_vec)
                .unwrap_or_default(),
        ),
    }
}

fn tensor_of(values: Vec<f32>, dims: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, dims.to_vec()))
}

/// Runs `f` compiled for the machine's 256-bit vectors where it has them. Only
/// code inlined into `f` gains.
#[inline(always)]
fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return pulp::Simd::vectorize(simd, f);
    }
    f()
}

/// Partial sums kept side by side: enough for the additions not to wait for
/// one another.
const LANES: usize = 32;

/// `Σ a·b`, in lanes.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_parts, b_parts) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_parts.remainder().iter().zip(b_parts.remainder());
    let tail: f32 = rest.map(|(x, y)| x * y).sum();
    for (x, y) in a_parts.zip(b_parts) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    join(lanes) + tail
}

/// `Σ f(a)`, in lanes.
#[inline(always)]
fn sum_of(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let parts = values.chunks_exact(LANES);
    let tail: f32 = parts.remainder().iter().map(|&v| f(v)).sum();
    for part in parts {
        for lane in 0..LANES {
            lanes[lane] += f(part[lane]);
        }
    }
    join(lanes) + tail
}

#[inline(always)]
fn join(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Along one axis: for each tap of the window, the outputs that see the input
/// and where the first of them reads.
#[derive(Debug, Clone, Copy)]
struct Reach {
    /// Outputs `from..to` lie inside.
    from: usize,
    to: usize,
    /// Input position of output `from`.
    first: usize,
}

impl Reach {
    /// Of tap `offset` (tap index times dilation) with `before` elements of padding.
    fn new(input: usize, output: usize, stride: usize, before: usize, offset: usize) -> Self {
        let stride = stride.max(1);
        let from = before.saturating_sub(offset).div_ceil(stride).min(output);
        let to = (input + before)
            .saturating_sub(offset)
            .div_ceil(stride)
            .clamp(from, output);
        Self {
            from,
            to,
            first: (from * stride + offset).saturating_sub(before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_reaches_what_lies_inside() {
        for (input, output, stride, before, offset) in
            [(5, 5, 1, 1, 0), (7, 4, 2, 1, 2), (3, 6, 1, 2, 4)]
        {
            let reach = Reach::new(input, output, stride, before, offset);
            for o in 0..output {
                let at = (o * stride + offset) as isize - before as isize;
                let inside = at >= 0 && (at as usize) < input;
                assert_eq!(inside, (reach.from..reach.to).contains(&o), "{input} {o}");
                if o == reach.from && inside {
                    assert_eq!(reach.first as isize, at);
                }
            }
        }
    }

    #[test]
    fn sums_in_lanes_are_sums() {
        let a: Vec<f32> = (0..101).map(|i| i as f32).collect();
        assert_eq!(dot(&a, &a), 338_350.0);
        assert_eq!(sum_of(&a, |v| v), 5050.0);
    }
}
