//! What codes cost the coder, so that rounding can weigh bits against errors: rate-distortion optimal
//! quantization (Sullivan & Wiegand 1998, for transform coding; Wiedemann et al. 2020, for weights).

use secateur_io::codec::Quotes;

/// The bits of each code at each position, and what a bit is worth.
#[derive(Debug, Clone, Copy)]
pub struct Prices<'a> {
    /// Bits, by where a value is stored.
    pub quotes: &'a Quotes,
    /// Where each value is stored.
    pub places: &'a [u32],
    /// Squared error of the layer's output that a bit is worth.
    pub bit: f64,
}

impl Prices<'_> {
    /// What a bit is worth where a finer step spends it, in parts `trade` of that: steps of `s` cost `s²/12` a value,
    /// here `of_step / 12`, and a bit more halves them (Bennett 1948).
    pub fn bit(trade: f64, of_step: f64) -> f64 {
        trade * std::f64::consts::LN_2 / 6.0 * of_step
    }

    /// Error that a code's bits are worth where the value at `place` is.
    pub(super) fn of(&self, place: u32, code: f64) -> f64 {
        self.bit * f64::from(self.quotes.bits(place as usize, code as i32))
    }
}
