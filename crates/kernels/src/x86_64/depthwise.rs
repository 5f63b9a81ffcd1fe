//! The portable depthwise bodies, compiled for each instruction set.

use std::ops::Range;

use crate::{
    Clamp, DepthwiseF32, DepthwiseI8, IntOut, RowsMut,
    generic::depthwise::{f32_body, i8_body},
};

#[target_feature(enable = "avx2,fma")]
pub(crate) fn f32_avx2(
    layer: &DepthwiseF32,
    image: &[f32],
    pixels: Range<usize>,
    clamp: Clamp,
    y: RowsMut<'_, f32>,
) {
    f32_body(layer, image, pixels, clamp, y);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) fn f32_avx512bwvnni(
    layer: &DepthwiseF32,
    image: &[f32],
    pixels: Range<usize>,
    clamp: Clamp,
    y: RowsMut<'_, f32>,
) {
    f32_body(layer, image, pixels, clamp, y);
}

#[target_feature(enable = "avx2,fma")]
pub(crate) fn i8_avx2(
    layer: &DepthwiseI8,
    image: &[u8],
    pad: u8,
    pixels: Range<usize>,
    out: IntOut<'_>,
) {
    i8_body(layer, image, pad, pixels, out);
}
