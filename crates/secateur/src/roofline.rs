//! How near steps come to what the machine could do (Williams, Waterman and Patterson, 2009).

pub mod page;

use secateur_engine::{Session, StepProfile};
use secateur_kernels::What;
use secateur_plan::{Plan, Refused};

/// What bounds a step: multiplies, at the rate of the best dense kernel of its arithmetic, and bytes,
/// at the rate at which memory is read over all that a run touches. Only multiplies with a weight that
/// is not zero count, so that no form comes nearer by doing more.
#[derive(Debug, Clone, Copy)]
pub struct Roof {
    /// Multiply-accumulates of codes, in 10⁹ a second.
    pub int8_gmacs: f64,
    /// Multiply-accumulates of f32, in 10⁹ a second.
    pub f32_gmacs: f64,
    /// Bytes, in 10⁹ a second.
    pub gb_per_s: f64,
    /// Bytes that a run touches: packed weights and the arena.
    pub working_set: usize,
    /// Whether the rates were measured on this machine.
    pub measured: bool,
}

/// The arithmetic of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// Codes.
    Int8,
    /// Floats.
    F32,
}

/// A step under the roof.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Multiplies of non-zeros a byte.
    pub intensity: f64,
    /// Multiplies of non-zeros, in 10⁹ a second.
    pub gmacs: f64,
    /// The least time that the roof allows, in microseconds.
    pub least_us: f64,
    /// That, as a share of the time it took.
    pub share: f64,
}

impl Roof {
    /// The roof over a plan.
    pub fn of(session: &Session, plan: &Plan) -> Self {
        let costs = session.planner().costs();
        let threads = session.threads() as f64;
        let working_set = plan.weight_bytes() + plan.arena_bytes;
        Self {
            int8_gmacs: threads * costs.peak_gmacs(What::DenseI8),
            f32_gmacs: threads * costs.peak_gmacs(What::DenseF32),
            gb_per_s: costs.gb_per_s(working_set),
            working_set,
            measured: costs.measured,
        }
    }

    /// The rate of multiplies that an arithmetic has here, in 10⁹ a second.
    pub fn peak(&self, arithmetic: Arithmetic) -> f64 {
        match arithmetic {
            Arithmetic::Int8 => self.int8_gmacs,
            Arithmetic::F32 => self.f32_gmacs,
        }
    }

    /// Where a step stands.
    pub fn place(&self, step: &StepProfile) -> Place {
        let (macs, bytes) = (step.nonzero_macs as f64, step.bytes.max(1) as f64);
        let multiplying_us = macs / self.peak(Arithmetic::of(step)) / 1e3;
        let moving_us = bytes / self.gb_per_s / 1e3;
        let least_us = multiplying_us.max(moving_us);
        Place {
            intensity: macs / bytes,
            gmacs: macs / step.median_us / 1e3,
            least_us,
            share: least_us / step.median_us,
        }
    }
}

impl Arithmetic {
    /// The arithmetic of a step, which the names of kernels begin with.
    pub fn of(step: &StepProfile) -> Self {
        match step.choice.kernel.starts_with("u8i8i32") {
            true => Self::Int8,
            false => Self::F32,
        }
    }
}

/// A kernel's name without its instruction set, which a network has but one of.
pub fn short_name(kernel: &str) -> &str {
    kernel.split("__").next().unwrap_or_default()
}

/// What was refused, its time and why.
pub fn instead(refused: &Refused) -> String {
    let Refused {
        kernel,
        predicted_us,
        at_least,
        reason,
    } = refused;
    let bound = if *at_least { "at least " } else { "" };
    format!(
        "{} ({bound}{predicted_us:.1} µs: {reason})",
        short_name(kernel)
    )
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use secateur_plan::Choice;

    /// Multiplies and bytes of each microsecond.
    pub const ROOF: Roof = Roof {
        int8_gmacs: 100.0,
        f32_gmacs: 10.0,
        gb_per_s: 5.0,
        working_set: 1000,
        measured: true,
    };

    pub fn step(kernel: &str, nonzero_macs: u64, bytes: u64) -> StepProfile {
        StepProfile {
            name: "conv <1>".into(),
            choice: Choice::only(kernel),
            median_us: 20.0,
            predicted_us: None,
            macs: 10 * nonzero_macs,
            nonzero_macs,
            bytes,
        }
    }

    #[test]
    fn the_slower_of_multiplies_and_bytes_is_the_roof() {
        let place = ROOF.place(&step("u8i8i32_spmm", 1_000_000, 10_000));
        assert_eq!(
            (place.least_us, place.share, place.gmacs),
            (10.0, 0.5, 50.0)
        );
        assert_eq!(place.intensity, 100.0);
        let place = ROOF.place(&step("f32f32f32_gemm", 100_000, 10_000));
        assert_eq!(place.least_us, 10.0);
        let place = ROOF.place(&step("max_pool", 0, 50_000));
        assert_eq!((place.least_us, place.gmacs), (10.0, 0.0));
    }
}
