//! What codes cost a coder, so that rounding can weigh bits against errors: rate-distortion optimal
//! quantization (Sullivan & Wiegand 1998, for transform coding).

/// The bits of each code, and what a bit is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// Of each magnitude from 0 on, with the sign.
    bits: Vec<f64>,
    /// Squared error of the layer's output that a bit is worth.
    bit: f64,
}

impl Prices {
    /// What a bit is worth where a finer step spends it, in parts `trade` of that: steps of `s` cost `s²/12` a value,
    /// here `of_step / 12`, and a bit more halves them (Bennett 1948).
    pub fn bit(trade: f64, of_step: f64) -> f64 {
        trade * std::f64::consts::LN_2 / 6.0 * of_step
    }

    /// The prices of an adaptive coder that has seen these codes, of magnitudes up to `limit`.
    pub fn seen<'a>(codes: impl IntoIterator<Item = &'a i16>, limit: i32, bit: f64) -> Self {
        // Half a count for each (Krichevsky & Trofimov 1981).
        let mut counts = vec![0.5; limit.unsigned_abs() as usize + 1];
        for code in codes {
            if let Some(count) = counts.get_mut(usize::from(code.unsigned_abs())) {
                *count += 1.0;
            }
        }
        let all: f64 = counts.iter().sum();
        let price = |(magnitude, count): (usize, &f64)| {
            let sign = if magnitude == 0 { 0.0 } else { 1.0 };
            sign - (count / all).log2()
        };
        Self {
            bits: counts.iter().enumerate().map(price).collect(),
            bit,
        }
    }

    /// Error that a code's bits are worth.
    pub fn of(&self, code: f64) -> f64 {
        let magnitude = (code.abs() as usize).min(self.bits.len() - 1);
        self.bit * self.bits[magnitude]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_codes_are_cheap() {
        let codes = [0, 0, 0, 0, 1, -1, 2];
        let prices = Prices::seen(&codes, 7, 2.0);
        let of = |code: i16| prices.of(f64::from(code));
        assert!(of(0) < of(1) && of(1) < of(2) && of(2) < of(3));
        assert_eq!(of(-2), of(2));
        // 4.5 of 11 counts are zeros.
        assert!((of(0) - 2.0 * (11f64 / 4.5).log2()).abs() < 1e-12);
    }
}
