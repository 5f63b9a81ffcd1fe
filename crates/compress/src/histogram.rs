//! Streaming calibration: a histogram of fixed size, however many values pass.

use crate::Range;
use crate::ptq::bins_in_range;

const BINS: usize = 2048;

/// Counts of values in equal bins from 0, negative and positive apart; the
/// range doubles when a larger value arrives, so memory never grows.
#[derive(Debug, Clone)]
pub struct Histogram {
    positive: Vec<u64>,
    negative: Vec<u64>,
    top: f32,
    min: f32,
    max: f32,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            positive: vec![0; BINS],
            negative: vec![0; BINS],
            top: 0.0,
            min: 0.0,
            max: 0.0,
            count: 0,
        }
    }
}

/// How a float becomes an unsigned code: `q = round(x / scale) + zero_point`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActivationScale {
    /// What one step is worth.
    pub scale: f32,
    /// The code that stands for zero.
    pub zero_point: u16,
    /// Width of a code.
    pub width: Width,
}

/// Width of an activation's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Width {
    /// A byte.
    #[default]
    Eight,
    /// Two bytes.
    Sixteen,
}

impl Width {
    /// The largest code.
    pub fn largest(self) -> u16 {
        match self {
            Self::Eight => u8::MAX.into(),
            Self::Sixteen => u16::MAX,
        }
    }
}

impl Histogram {
    /// Counts values; those that are not finite are left out.
    pub fn add(&mut self, values: &[f32]) {
        for &v in values.iter().filter(|v| v.is_finite()) {
            self.min = self.min.min(v);
            self.max = self.max.max(v);
            self.count += 1;
            let magnitude = v.abs();
            if magnitude > self.top {
                self.widen(magnitude);
            }
            let bin = if self.top > 0.0 {
                ((magnitude / self.top * BINS as f32) as usize).min(BINS - 1)
            } else {
                0
            };
            let side = if v < 0.0 {
                &mut self.negative
            } else {
                &mut self.positive
            };
            side[bin] += 1;
        }
    }

    /// Number of values seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The unsigned scale for what was seen. Zero is always exact; where nothing
    /// was negative it is code 0, so that a zero can be skipped.
    pub fn scale(&self, range: Range, width: Width) -> ActivationScale {
        let (lo, hi) = match range {
            Range::MinMax => (self.min, self.max),
            Range::Percentile(share) => {
                let limit = self.percentile(share);
                (self.min.max(-limit), self.max.min(limit))
            }
            Range::Mse => self.least_error(width),
            Range::Entropy => {
                let both = self.positive.iter().zip(&self.negative);
                let counts: Vec<u64> = both.map(|(p, n)| p + n).collect();
                // Codes of one sign: half of them where there are both.
                let halves = if self.min < 0.0 { 2 } else { 1 };
                let levels = usize::from(width.largest()) / halves + 1;
                let limit = match bins_in_range(&counts, levels) {
                    0 => self.top,
                    bins => self.edge(bins - 1),
                };
                (self.min.max(-limit), self.max.min(limit))
            }
        };
        from_range(lo, hi, width)
    }

    fn widen(&mut self, magnitude: f32) {
        if self.top == 0.0 {
            self.top = magnitude;
            return;
        }
        while self.top < magnitude {
            for side in [&mut self.positive, &mut self.negative] {
                for i in 0..BINS / 2 {
                    side[i] = side[2 * i] + side[2 * i + 1];
                }
                side[BINS / 2..].fill(0);
            }
            self.top *= 2.0;
        }
    }

    fn edge(&self, bin: usize) -> f32 {
        self.top * (bin + 1) as f32 / BINS as f32
    }

    fn percentile(&self, share: f32) -> f32 {
        let wanted = (self.count as f64 * f64::from(share.clamp(0.0, 1.0))).ceil() as u64;
        let mut seen = 0;
        for bin in 0..BINS {
            seen += self.positive[bin] + self.negative[bin];
            if seen >= wanted {
                return self.edge(bin);
            }
        }
        self.top
    }

    /// The range, of a hundred shrunken ones, that loses least: rounding is
    /// taken as uniform, saturation as the distance to the end.
    fn least_error(&self, width: Width) -> (f32, f32) {
        let candidates = (20..=100).map(|percent| {
            let part = percent as f32 / 100.0;
            (self.min * part, self.max * part)
        });
        candidates
            .min_by(|a, b| self.error(*a, width).total_cmp(&self.error(*b, width)))
            .unwrap_or((self.min, self.max))
    }

    fn error(&self, (lo, hi): (f32, f32), width: Width) -> f64 {
        let step = f64::from(from_range(lo, hi, width).scale);
        let rounding = step * step / 12.0;
        let half = self.top / BINS as f32 / 2.0;
        let side = |counts: &[u64], end: f32| -> f64 {
            (0..BINS)
                .filter(|&bin| counts[bin] > 0)
                .map(|bin| {
                    let beyond = f64::from((self.edge(bin) - half - end).max(0.0));
                    counts[bin] as f64
                        * if beyond > 0.0 {
                            beyond * beyond
                        } else {
                            rounding
                        }
                })
                .sum()
        };
        side(&self.positive, hi) + side(&self.negative, -lo)
    }
}

fn from_range(lo: f32, hi: f32, width: Width) -> ActivationScale {
    let (lo, hi) = (lo.min(0.0), hi.max(0.0));
    let (span, largest) = (hi - lo, f32::from(width.largest()));
    let mut found = ActivationScale {
        scale: 1.0,
        zero_point: 0,
        width,
    };
    if span > 0.0 {
        found.scale = (span / largest).max(f32::MIN_POSITIVE);
        let zero_point = (-lo / found.scale).round_ties_even();
        found.zero_point = zero_point.clamp(0.0, largest) as u16;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_get_their_own_steps() {
        let mut h = Histogram::default();
        h.add(&[0.0, 1.0, 0.5]);
        let found = h.scale(Range::MinMax, Width::Eight);
        assert_eq!((found.scale, found.zero_point), (1.0 / 255.0, 0));
    }

    #[test]
    fn an_outlier_does_not_take_the_range() {
        let mut h = Histogram::default();
        let bulk: Vec<f32> = (0..100_000).map(|i| i as f32 / 100_000.0).collect();
        h.add(&bulk);
        h.add(&[50.0]);
        assert!((h.scale(Range::MinMax, Width::Eight).scale * 255.0 - 50.0).abs() < 1e-3);
        assert!(h.scale(Range::Percentile(0.999), Width::Eight).scale * 255.0 < 1.2);
    }

    #[test]
    fn entropy_leaves_an_outlier_out_and_sixteen_bits_are_finer() {
        let mut h = Histogram::default();
        let bulk: Vec<f32> = (0..100_000).map(|i| i as f32 / 100_000.0).collect();
        h.add(&bulk);
        h.add(&[8.0]);
        let entropy = h.scale(Range::Entropy, Width::Eight);
        assert!((0.9..1.6).contains(&(entropy.scale * 255.0)), "{entropy:?}");
        let wide = h.scale(Range::MinMax, Width::Sixteen);
        assert!((wide.scale * 65_535.0 - 8.0).abs() < 1e-3, "{wide:?}");
        h.add(&[-8.0]);
        assert_eq!(h.scale(Range::MinMax, Width::Sixteen).zero_point, 32_768);
    }

    #[test]
    fn negative_values_move_the_zero_point() {
        let mut h = Histogram::default();
        h.add(&[-1.0, 1.0]);
        assert!((126..=129).contains(&h.scale(Range::MinMax, Width::Eight).zero_point));
        assert_eq!(
            Histogram::default().scale(Range::Mse, Width::Eight).scale,
            1.0
        );
    }
}
