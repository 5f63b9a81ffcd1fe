//! Quantized arithmetic: exact, and ONNX's.
//!
//! `y = saturate(round_half_even(acc · multiplier) + zero_point)` with `acc` an
//! exact i32 and the product one f32 multiply. Every kernel on every
//! instruction set, the simulator and the hardware give these bits.

/// The largest bias code of an integer layer: with a larger one the 32-bit sum
/// could overflow, and the layer computes in f32.
pub const MAX_BIAS: f32 = (1 << 30) as f32;

/// `round_half_even(x / scale) + zero_point`, saturated to `lo ..= hi`
/// (ONNX `QuantizeLinear`). NaN gives the zero point.
pub fn quantize(x: f32, scale: f32, zero_point: i32, lo: i32, hi: i32) -> i32 {
    saturate(x / scale, zero_point, lo, hi)
}

/// `(q − zero_point) · scale` (ONNX `DequantizeLinear`).
pub fn dequantize(q: i32, scale: f32, zero_point: i32) -> f32 {
    (q - zero_point) as f32 * scale
}

/// `round_half_even(acc · multiplier) + zero_point`, saturated to `lo ..= hi`
/// (the end of ONNX `QLinearConv` and `QLinearMatMul`); a fused ReLU is a
/// higher `lo`.
pub fn requantize(acc: i32, multiplier: f32, zero_point: i32, lo: i32, hi: i32) -> i32 {
    saturate(acc as f32 * multiplier, zero_point, lo, hi)
}

fn saturate(x: f32, zero_point: i32, lo: i32, hi: i32) -> i32 {
    // The cast saturates, so the sum is taken wider.
    let wide = i64::from(x.round_ties_even() as i32) + i64::from(zero_point);
    wide.clamp(i64::from(lo), i64::from(hi)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_even_and_ends_saturate() {
        assert_eq!(quantize(2.5, 1.0, 0, 0, 255), 2);
        assert_eq!(quantize(3.5, 1.0, 0, 0, 255), 4);
        assert_eq!(quantize(1e30, 1.0, 128, 0, 255), 255);
        assert_eq!(requantize(-7, 0.5, 3, -128, 127), -1);
        assert_eq!(requantize(i32::MIN, 1.0, -5, -128, 127), -128);
    }
}
