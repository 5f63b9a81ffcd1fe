//! Loops in plain Rust, compiled once for each width of registers and chosen when they run.

use crate::Isa;

/// Runs a body as compiled for the widest registers that `isa` allows and this processor has.
///
/// The body, a closure marked `#[inline(always)]`, and everything that it calls and that shall be
/// vectorised, is inlined into each version: one source, so that all give the same bits.
#[inline]
pub(crate) fn run<R>(isa: Isa, body: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if isa >= Isa::Avx512BwVnni && Isa::Avx512BwVnni.is_available() {
            // SAFETY: the features are there; AVX-512 F implies AVX2 and FMA.
            return unsafe { avx512(body) };
        }
        if isa >= Isa::Avx2 && Isa::Avx2.is_available() {
            // SAFETY: the features are there.
            return unsafe { avx2(body) };
        }
    }
    let _ = isa;
    body()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
fn avx512<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_gives_the_same_bits() {
        let x: Vec<f32> = (0..99).map(|i| (i as f32).sin()).collect();
        let squares = |isa| {
            run(
                isa,
                #[inline(always)]
                || x.iter().fold(0.0f32, |sum, x| x.mul_add(*x, sum)),
            )
        };
        for isa in Isa::ALL {
            assert_eq!(squares(isa), squares(Isa::Generic));
        }
    }
}
