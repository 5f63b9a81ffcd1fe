use std::arch::wasm32::*;

/// `fma(w, x, acc)` of two lanes, exactly as one rounding would: WebAssembly has no such instruction.
///
/// The product of two f32 is exact in f64.  The sum is rounded to odd there (its last bit set where
/// anything was lost), so that rounding once more, to f32, gives what one rounding would have given.
///
/// All three are f32 values held as f64; so is the result.
#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn fused(w: v128, x: v128, acc: v128) -> v128 {
    let product = f64x2_mul(w, x);
    let sum = f64x2_add(product, acc);
    // What the sum lost, exactly (Knuth).
    let virtual_acc = f64x2_sub(sum, product);
    let lost = f64x2_add(
        f64x2_sub(product, f64x2_sub(sum, virtual_acc)),
        f64x2_sub(acc, virtual_acc),
    );
    // Zero or NaN (from an infinite sum): nothing to mend.
    let inexact = v128_or(
        f64x2_lt(lost, f64x2_splat(0.0)),
        f64x2_gt(lost, f64x2_splat(0.0)),
    );
    let even = i64x2_eq(v128_and(sum, i64x2_splat(1)), i64x2_splat(0));
    // Towards what was lost: one up in magnitude where it has the sum's sign, one down where not.
    let opposite = i64x2_shr(v128_xor(sum, lost), 63);
    let step = v128_or(opposite, i64x2_splat(1));
    let step = v128_and(step, v128_and(inexact, even));
    let odd = i64x2_add(sum, step);
    f64x2_promote_low_f32x4(f32x4_demote_f64x2_zero(odd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(w: f32, x: f32, acc: f32) {
        let wide = |v: f32| f64x2_splat(f64::from(v));
        // SAFETY: the module has the instructions.
        let found = f64x2_extract_lane::<1>(fused(wide(w), wide(x), wide(acc)));
        let expected = f64::from(w.mul_add(x, acc));
        assert!(
            found == expected || (found.is_nan() && expected.is_nan()),
            "fma({w}, {x}, {acc}): {found} for {expected}"
        );
    }

    #[test]
    fn halves_infinities_and_the_smallest_numbers() {
        let small = f32::from_bits(1);
        let values = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            1.0 + f32::EPSILON,
            0.5,
            small,
            -small,
            f32::MIN_POSITIVE,
            f32::MAX,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            16_777_217.0,
            1e-30,
        ];
        for w in values {
            for x in values {
                for acc in values {
                    check(w, x, acc);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn equals_the_fused_product(w: u32, x: u32, acc: u32) {
            check(f32::from_bits(w), f32::from_bits(x), f32::from_bits(acc));
        }

        #[test]
        fn equals_it_where_exponents_are_alike(w in -9e0f32..9e0, x in -9e0f32..9e0, acc in -9e0f32..9e0) {
            check(w, x, acc);
            check(w, x, acc * 1e-7);
        }
    }
}
