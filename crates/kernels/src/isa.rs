use std::{fmt, str::FromStr};

use crate::KernelError;

/// An instruction set that kernels are written for; of one architecture, from the least to the most
/// capable.
///
/// ```
/// use secateur_kernels::Isa;
/// let best = Isa::best();
/// assert!(best.is_available() && best >= Isa::Generic);
/// assert_eq!("avx2".parse::<Isa>()?, Isa::Avx2);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Portable Rust; runs everywhere.
    Generic,
    /// WebAssembly with 128-bit vectors; known when compiling, not when running.
    Simd128,
    /// 64-bit Arm; every one has it.
    Neon,
    /// 64-bit Arm with the dot product instructions (Cortex-A55/A76, Neoverse N1, Apple M1 and later).
    NeonDot,
    /// x86-64 with AVX2 and FMA (Haswell, Zen and later).
    Avx2,
    /// x86-64 with AVX2, FMA and AVX-VNNI (Alder Lake, Sierra Forest, Zen 5 and later).
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, VL and VNNI, but not VBMI (Cascade Lake, Cooper Lake).
    Avx512BwVnni,
    /// x86-64 with AVX-512 F, BW, VL, VBMI and VNNI (Ice Lake, Zen 4 and later).
    Avx512Vnni,
}

impl Isa {
    /// Every set, whether this processor has it or not.
    pub const ALL: [Isa; 8] = [
        Isa::Generic,
        Isa::Simd128,
        Isa::Neon,
        Isa::NeonDot,
        Isa::Avx2,
        Isa::AvxVnni,
        Isa::Avx512BwVnni,
        Isa::Avx512Vnni,
    ];

    /// The sets of this processor, from the least to the most capable.
    pub fn available() -> impl Iterator<Item = Isa> {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The most capable set of this processor.
    pub fn best() -> Isa {
        Self::available().last().unwrap_or(Isa::Generic)
    }

    /// Whether this processor can run the set's kernels.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Generic => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => {
                Isa::Avx2.is_available() && std::arch::is_x86_feature_detected!("avxvnni")
            }
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Isa::Avx512BwVnni => {
                Isa::Avx2.is_available()
                    && std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && std::arch::is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Isa::Avx512Vnni => {
                Isa::Avx512BwVnni.is_available()
                    && std::arch::is_x86_feature_detected!("avx512vbmi")
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => {
                Isa::Neon.is_available() && std::arch::is_aarch64_feature_detected!("dotprod")
            }
            #[cfg(target_arch = "wasm32")]
            Isa::Simd128 => cfg!(target_feature = "simd128"),
            _ => false,
        }
    }

    /// The set itself if this processor has it.
    ///
    /// # Errors
    /// [`KernelError::IsaUnavailable`] otherwise.
    pub fn require(self) -> Result<Isa, KernelError> {
        if self.is_available() {
            return Ok(self);
        }
        Err(KernelError::IsaUnavailable {
            isa: self,
            best: Isa::best(),
        })
    }

    /// What the set's int8 kernels leave to the bias of an output.  Arm's products are i8 × i8: kernels
    /// multiply `w·(x - 128)`, which lacks `128·w`.  AVX2 multiplies `|w|·(127 - x)` where `w` is negative,
    /// which lacks `127·w`, and else as Arm; but a layer of [small weights](crate::sums16) lacks nothing.
    pub(crate) fn constant(self, weights: &[i8]) -> i32 {
        let lacking = |w: i32| match self {
            Isa::Neon | Isa::NeonDot => 128 * w,
            Isa::Avx2 => (if w < 0 { 127 } else { 128 }) * w,
            _ => 0,
        };
        let lacking = weights.iter().map(|&w| lacking(i32::from(w)));
        lacking.fold(0, i32::wrapping_add)
    }

    /// The token that ends a kernel's name.
    pub const fn token(self) -> &'static str {
        match self {
            Isa::Generic => "generic",
            Isa::Simd128 => "simd128",
            Isa::Neon => "neon",
            Isa::NeonDot => "neondot",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avxvnni",
            Isa::Avx512BwVnni => "avx512bwvnni",
            Isa::Avx512Vnni => "avx512vnni",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.token())
    }
}

impl FromStr for Isa {
    type Err = KernelError;

    fn from_str(name: &str) -> Result<Self, KernelError> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.token() == name)
            .ok_or_else(|| KernelError::UnknownIsa { name: name.into() })
    }
}

/// The processor's own name for itself (CPUID leaves 8000_0002h to 8000_0004h), or the architecture's.
pub fn cpu_name() -> String {
    brand_string().unwrap_or_else(|| std::env::consts::ARCH.to_string())
}

#[cfg(target_arch = "x86_64")]
fn brand_string() -> Option<String> {
    use std::arch::x86_64::__cpuid;
    if __cpuid(0x8000_0000).eax < 0x8000_0004 {
        return None;
    }
    let bytes: Vec<u8> = (0x8000_0002..=0x8000_0004)
        .map(__cpuid)
        .flat_map(|r| [r.eax, r.ebx, r.ecx, r.edx])
        .flat_map(u32::to_le_bytes)
        .take_while(|&b| b != 0)
        .collect();
    let words: Vec<_> = std::str::from_utf8(&bytes)
        .ok()?
        .split_whitespace()
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(not(target_arch = "x86_64"))]
fn brand_string() -> Option<String> {
    None
}

/// The vector extensions of this processor that kernels use or could use, by their usual names.
pub fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        [
            ("sse4.1", has!("sse4.1")),
            ("avx", has!("avx")),
            ("avx2", has!("avx2")),
            ("fma", has!("fma")),
            ("avxvnni", has!("avxvnni")),
            ("avx512f", has!("avx512f")),
            ("avx512bw", has!("avx512bw")),
            ("avx512vl", has!("avx512vl")),
            ("avx512vbmi", has!("avx512vbmi")),
            ("avx512vnni", has!("avx512vnni")),
        ]
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
        .collect()
    }
    #[cfg(target_arch = "aarch64")]
    {
        use std::arch::is_aarch64_feature_detected as has;
        [
            ("neon", has!("neon")),
            ("dotprod", has!("dotprod")),
            ("i8mm", has!("i8mm")),
        ]
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
        .collect()
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    if cfg!(target_feature = "simd128") {
        vec!["simd128"]
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_order_is_by_capability() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse::<Isa>().unwrap(), isa);
        }
        assert!(Isa::ALL.is_sorted());
        assert!("sse9".parse::<Isa>().is_err());
    }

    #[test]
    fn generic_is_always_there_and_the_cpu_has_a_name() {
        assert!(Isa::available().any(|isa| isa == Isa::Generic));
        assert!(!cpu_name().is_empty());
    }
}
