//! Probability models for binary decisions: counters and their logistic mix.
//!
//! Every context keeps a [`Counter`]; a [`Mixer`] adds the contexts' evidence in
//! the logistic domain, with weights learned while coding (Mahoney's PAQ). All
//! arithmetic is on integers, so that every machine computes the same bits.

use super::range::BitCoder;
pub(super) use super::range::ONE;

/// Logits are in units of `1 / LOGIT_ONE`.
pub(super) const LOGIT_ONE: i32 = 128;
/// Largest logit: probabilities stay inside `[e^-11, 1 - e^-11]`.
const LOGIT_MAX: i32 = 11 * LOGIT_ONE;
const SQUASH_LEN: usize = 2 * LOGIT_MAX as usize + 1;

/// `ONE / (1 + e^-x)` for every logit.
static SQUASH: [u16; SQUASH_LEN] = {
    let mut table = [0; SQUASH_LEN];
    let mut k = 0;
    // e^(-k / LOGIT_ONE) in units of 2^-62.
    let mut power: u128 = 1 << 62;
    while k <= LOGIT_MAX as usize {
        let upper = (((ONE as u128) << 62) + power) / ((1 << 62) + power);
        let upper = if upper >= ONE as u128 {
            ONE - 1
        } else {
            upper as u32
        };
        table[LOGIT_MAX as usize + k] = upper as u16;
        table[LOGIT_MAX as usize - k] = (ONE - upper) as u16;
        power = (power * EXP_STEP) >> 62;
        k += 1;
    }
    table
};

/// `e^(-1 / LOGIT_ONE)` in units of 2^-62, by its alternating series.
const EXP_STEP: u128 = {
    let mut sum: i128 = 0;
    let mut term: i128 = 1 << 62;
    let mut k = 1;
    while term != 0 {
        sum += term;
        term = -term / (k * LOGIT_ONE as i128);
        k += 1;
    }
    sum as u128
};

/// `ln(p / (1 - p))` for `p = (i + ½) / 4096`: the inverse of [`SQUASH`].
static STRETCH: [i16; 4096] = {
    let mut table = [0; 4096];
    let mut x = 0;
    let mut i = 0;
    while i < table.len() {
        let p = (i as u32) * 16 + 8;
        while x + 1 < SQUASH_LEN && (SQUASH[x] as u32) < p {
            x += 1;
        }
        table[i] = (x as i32 - LOGIT_MAX) as i16;
        i += 1;
    }
    table
};

/// Probability of a logit, in `1 / ONE`.
#[inline]
pub(super) fn squash(logit: i32) -> u32 {
    let index = (logit.clamp(-LOGIT_MAX, LOGIT_MAX) + LOGIT_MAX) as usize;
    u32::from(SQUASH[index])
}

/// Logit of a probability in `1 / ONE`.
#[inline]
pub(super) fn stretch(p: u32) -> i32 {
    i32::from(STRETCH[(p >> 4) as usize & 0xFFF])
}

/// Adaptive probability of one context, with the number of decisions seen: the
/// first ones count fully, later ones at a rate that stops falling at a limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter {
    /// Probability in `2^-COUNTER_BITS`.
    p: u32,
    seen: u16,
}

/// More than the coder's 16 bits, so that slow rates still move small values.
const COUNTER_BITS: u32 = 24;

/// `2^17 / i`: the step for `i` half-decisions of experience.
static STEP: [u32; STEPS] = {
    let mut table = [1 << 16; STEPS];
    let mut i = 2;
    while i < table.len() {
        table[i] = (1 << 17) / i as u32;
        i += 1;
    }
    table
};

/// Most decisions that a counter remembers.
const SEEN_MAX: u16 = 1023;
/// Largest [`Pace::prior`].
const PRIOR_MAX: u16 = 32;
const STEPS: usize = 2 * SEEN_MAX as usize + PRIOR_MAX as usize + 1;

impl Counter {
    pub(crate) const NEW: Self = Self {
        p: 1 << (COUNTER_BITS - 1),
        seen: 0,
    };

    /// A counter that starts at `p` (in `1 / ONE`) instead of one half.
    pub(super) fn starting(p: u32) -> Self {
        Self {
            p: p.clamp(1, ONE - 1) << (COUNTER_BITS - 16),
            seen: 0,
        }
    }

    /// Whether nothing was seen yet.
    #[inline]
    pub(crate) fn is_new(self) -> bool {
        self.seen == 0
    }

    /// Probability of `true`, in `1 / ONE`, never 0 or `ONE`.
    #[inline]
    pub(super) fn p(self) -> u32 {
        (self.p >> (COUNTER_BITS - 16)).clamp(1, ONE - 1)
    }

    /// Codes a decision by this counter alone, and learns from it.
    pub(super) fn code<C: BitCoder>(&mut self, coder: &mut C, bit: bool) -> bool {
        let bit = coder.code(bit, self.p());
        self.update(bit, 4, 255);
        bit
    }

    /// Moves the estimate towards `bit` by `1 / (seen + prior / 2)`.
    #[inline]
    pub(super) fn update(&mut self, bit: bool, prior: u16, limit: u16) {
        let target = if bit { 1i64 << COUNTER_BITS } else { 0 };
        let rate = STEP[usize::from(2 * self.seen + prior).min(STEPS - 1)];
        let step = ((target - i64::from(self.p)) * i64::from(rate)) >> 16;
        self.p = (i64::from(self.p) + step) as u32;
        if self.seen < limit.min(SEEN_MAX) {
            self.seen += 1;
        }
    }
}

/// How fast models learn: chosen by the encoder, told to the decoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Half-decisions that a new counter's start value is worth, plus two; 32
    /// at most.
    prior: u16,
    /// Decisions after which a counter's rate stays.
    limit: u16,
    /// Learning rate of the mixing weights, in `2^-16`.
    rate: i32,
}

impl Pace {
    pub(crate) const fn new(prior: u16, limit: u16, rate: i32) -> Self {
        Self { prior, limit, rate }
    }
}

const WEIGHT_ONE: i32 = 1 << 16;

/// Predicts a decision from a base counter and `N` contexts. Evidence is what a
/// context's logit says beyond the base's, so that a context without
/// experience (which starts at the base) says nothing.
#[derive(Debug, Clone)]
pub(crate) struct Mixer<const N: usize> {
    weights: Vec<[i32; N]>,
    pace: Pace,
}

impl<const N: usize> Mixer<N> {
    /// `sets` weight vectors, all starting at `start` (in `1 / 256`).
    pub(crate) fn new(sets: usize, start: [i32; N], pace: Pace) -> Self {
        let start = start.map(|w| w * (WEIGHT_ONE / 256));
        Self {
            weights: vec![start; sets],
            pace,
        }
    }

    /// The probability of `true`, in `1 / ONE`, that [`code`](Self::code) would code with.
    pub(super) fn predict(&self, base: Counter, contexts: [Counter; N], set: usize) -> u32 {
        let contexts = contexts.map(|context| if context.is_new() { base } else { context });
        mix(
            &self.weights[set.min(self.weights.len() - 1)],
            base,
            contexts,
        )
        .0
    }

    /// Codes one decision and learns from it.
    #[inline]
    pub(crate) fn code<C: BitCoder>(
        &mut self,
        coder: &mut C,
        bit: bool,
        base: &mut Counter,
        mut contexts: [&mut Counter; N],
        set: usize,
    ) -> bool {
        for context in contexts.iter_mut().filter(|context| context.is_new()) {
            context.p = base.p;
        }
        let set = set.min(self.weights.len() - 1);
        let weights = &mut self.weights[set];
        let (p, evidence) = mix(weights, *base, contexts.each_ref().map(|context| **context));
        let bit = coder.code(bit, p);

        let target = if bit { ONE as i32 } else { 0 };
        let error = i64::from(target - p as i32) * i64::from(self.pace.rate);
        for (w, &e) in weights.iter_mut().zip(&evidence) {
            let step = (error * i64::from(e)) >> 23;
            *w = (*w + step as i32).clamp(-4 * WEIGHT_ONE, 4 * WEIGHT_ONE);
        }
        base.update(bit, self.pace.prior, SEEN_MAX);
        for context in contexts {
            context.update(bit, self.pace.prior, self.pace.limit);
        }
        bit
    }
}

/// The probability that contexts make of a base, and what each of them says beyond it.
#[inline]
fn mix<const N: usize>(
    weights: &[i32; N],
    base: Counter,
    contexts: [Counter; N],
) -> (u32, [i32; N]) {
    let base_logit = stretch(base.p());
    let evidence = contexts.map(|context| stretch(context.p()) - base_logit);
    let sum: i64 = weights
        .iter()
        .zip(&evidence)
        .map(|(&w, &e)| i64::from(w) * i64::from(e))
        .sum();
    (squash(base_logit + (sum >> 16) as i32), evidence)
}

#[cfg(test)]
mod tests {
    use super::super::range::CostMeter;
    use super::*;

    const PACE: Pace = Pace {
        prior: 4,
        limit: 255,
        rate: 1000,
    };

    #[test]
    fn squash_is_the_logistic_function() {
        for logit in -LOGIT_MAX..=LOGIT_MAX {
            let x = f64::from(logit) / f64::from(LOGIT_ONE);
            let want = f64::from(ONE) / (1.0 + (-x).exp());
            let found = f64::from(squash(logit));
            assert!((found - want).abs() <= 1.0, "{logit}: {found}, want {want}");
        }
    }

    #[test]
    fn stretch_undoes_squash_where_its_table_is_fine_enough() {
        for logit in -500..=500 {
            assert!((stretch(squash(logit)) - logit).abs() <= 3, "{logit}");
        }
    }

    #[test]
    fn counters_settle_at_the_frequency_and_keep_off_the_ends() {
        let mut counter = Counter::NEW;
        for i in 0..20_000 {
            counter.update(i % 100 == 0, 4, SEEN_MAX);
        }
        let p = f64::from(counter.p()) / f64::from(ONE);
        assert!((p - 0.01).abs() < 0.001, "{p}");
        for prior in [2, 3, PRIOR_MAX] {
            for bit in [false, true] {
                let mut counter = Counter::NEW;
                for _ in 0..5000 {
                    counter.update(bit, prior, u16::MAX);
                    assert!((1..ONE).contains(&counter.p()));
                }
            }
        }
    }

    #[test]
    fn the_mixer_learns_which_context_knows() {
        // The bit is the first context's; the second one is noise.
        let mut mixer = Mixer::new(1, [64, 64], PACE);
        let mut base = Counter::NEW;
        let (mut knows, mut noise) = ([Counter::NEW; 2], [Counter::NEW; 2]);
        let mut meter = CostMeter::default();
        for i in 0..4000u32 {
            let hash = i.wrapping_mul(2_654_435_761);
            let (bit, other) = (hash >> 31 == 1, (hash >> 13 & 1) as usize);
            let contexts = [&mut knows[usize::from(bit)], &mut noise[other]];
            mixer.code(&mut meter, bit, &mut base, contexts, 0);
        }
        assert!(meter.bits() < 400, "{} bits", meter.bits());
    }
}
