//! Operators of this crate's own, where the tensor library's are slow:
//! each with its gradient, through the library's backend extension.
//!
//! Results do not depend on the number of threads: what is summed over a batch
//! is summed over fixed groups of images, then over the groups in order.

mod batch_norm;
mod buffer;
mod conv2d;
mod depthwise;
mod fake_quantize;
mod linear;
mod live;
mod live_conv;
mod matrix;
mod pool;
mod reach;
mod rectify;
mod sum;
mod unfold;
mod winograd;

pub(crate) use batch_norm::{batch_norm, moments};
pub(crate) use conv2d::{ConvGeometry, conv2d};
pub(crate) use fake_quantize::{Codes, fake_quantize};
pub(crate) use linear::{LinearGeometry, linear};
pub(crate) use live::Live;
pub use matrix::{Element, Matrix, add_product};
pub(crate) use pool::{PoolGeometry, average_pool, max_pool};
pub(crate) use rectify::relu;
pub(crate) use sum::sum_of_two;
pub(crate) use unfold::operands;

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

/// The elements in row-major order, without a copy where nobody else has them.
fn into_elements(tensor: FlexTensor) -> Vec<f32> {
    match tensor.is_unique() {
        true => tensor.into_data().try_into_vec().unwrap_or_default(),
        false => elements(&tensor).into_owned(),
    }
}

fn tensor_of(values: Vec<f32>, dims: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, dims.to_vec()))
}

/// Runs `f` compiled for the machine's 256-bit vectors where it has them. Only
/// code inlined into `f` gains.
#[inline(always)]
pub(crate) fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return pulp::Simd::vectorize(simd, f);
    }
    f()
}

const WIDTH: usize = 8;

/// A vector of partial sums.
type Lanes = [f32; WIDTH];

/// `Σ a·b`, in several vectors of lanes so that additions do not wait for one
/// another.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<WIDTH>(), b.as_chunks::<WIDTH>());
    let ((a_fours, a_ones), (b_fours, b_ones)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums: [Lanes; 4] = Default::default();
    for (a, b) in a_fours.iter().zip(b_fours) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            add(sum, |lane| a[lane] * b[lane]);
        }
    }
    for (a, b) in a_ones.iter().zip(b_ones) {
        add(&mut sums[0], |lane| a[lane] * b[lane]);
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    join(sums) + rest
}

/// `Σ f(a)`, likewise.
#[inline(always)]
fn sum_of(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (vectors, rest) = values.as_chunks::<WIDTH>();
    let (fours, ones) = vectors.as_chunks::<4>();
    let mut sums: [Lanes; 4] = Default::default();
    for four in fours {
        for (sum, vector) in sums.iter_mut().zip(four) {
            add(sum, |lane| f(vector[lane]));
        }
    }
    for vector in ones {
        add(&mut sums[0], |lane| f(vector[lane]));
    }
    join(sums) + rest.iter().map(|&v| f(v)).sum::<f32>()
}

#[inline(always)]
fn add(sum: &mut Lanes, term: impl Fn(usize) -> f32) {
    for (lane, sum) in sum.iter_mut().enumerate() {
        *sum += term(lane);
    }
}

#[inline(always)]
fn join([mut a, b, c, d]: [Lanes; 4]) -> f32 {
    add(&mut a, |lane| b[lane] + (c[lane] + d[lane]));
    a.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_in_lanes_are_sums() {
        let a: Vec<f32> = (0..101).map(|i| i as f32).collect();
        assert_eq!(dot(&a, &a), 338_350.0);
        assert_eq!(sum_of(&a, |v| v), 5050.0);
    }
}
