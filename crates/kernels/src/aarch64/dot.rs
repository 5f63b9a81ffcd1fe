use std::arch::{aarch64::*, asm};

/// What turns a u8 activation `x` into the i8 `x - 128`.
pub(super) const SIGN: u8 = 0x80;

/// `acc + w·x`, 4 products a lane: one `sdot` where the processor has it, widening products elsewhere.
/// What the shift of the activations leaves is [`Isa::constant`](crate::Isa)'s.
///
/// # Safety
/// With `DOT` the processor has the dot product instructions.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn dot<const DOT: bool>(acc: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    if DOT {
        let mut acc = acc;
        // SAFETY: one instruction that reads and writes the named registers; the caller has it.  Its
        // intrinsic is not stable.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {acc:v}.4s, {w:v}.16b, {x:v}.16b",
                acc = inout(vreg) acc,
                w = in(vreg) w,
                x = in(vreg) x,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        return acc;
    }
    // Two products of 2¹⁴ would not fit 16 bits: pairs are added in 32.
    let low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)));
    let high = vpaddlq_s16(vmull_high_s8(w, x));
    vaddq_s32(acc, vpaddq_s32(low, high))
}
