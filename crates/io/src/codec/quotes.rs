//! What other symbols than those of a plane would cost: so a quantizer weighs the real coder's bits against errors.

use super::around::Surroundings;
use super::context::{choose, column_fill, walk_support};
use super::range::{EitherWay, Idle};
use super::{Alphabet, CodecError, Plane};
use half::f16;

/// Magnitudes that are asked for one by one; beyond them one costs two bits an octave more, as in an Exp-Golomb code.
const RUNGS: usize = 7;

/// Where a symbol that becomes zero goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeros {
    /// Out of the mask.
    Masked,
    /// Nowhere: the mask stays, and it is coded as a symbol.
    Coded,
}

/// The bits that every symbol would take at every position under [`Coder::Context`](super::Coder::Context), all other
/// positions being as they are.
#[derive(Debug, Clone)]
pub struct Quotes(Vec<Quote>);

/// Bits at one position.
#[derive(Debug, Clone, Copy)]
struct Quote {
    zero: f16,
    /// Of `+` and of `-`.
    signs: [f16; 2],
    /// Of magnitudes from 1 on, without their signs.
    magnitudes: [f16; RUNGS],
}

impl Quotes {
    /// For a plane of signed symbols, under the settings that make it smallest.
    ///
    /// ```
    /// use secateur_io::codec::{Alphabet, Plane, Quotes, Zeros};
    ///
    /// // The second column is empty, but for one row.
    /// let mut mask = [true, false].repeat(50);
    /// mask[81] = true;
    /// let symbols = [1; 51];
    /// let plane = Plane { rows: 50, cols: 2, mask: Some(&mask), symbols: &symbols, alphabet: Alphabet::Signed { bits: 4 } };
    /// let quotes = Quotes::of(&plane, Zeros::Masked)?;
    /// assert!(quotes.bits(90, 1) < 0.5 && quotes.bits(91, 1) > 3.0);
    /// # Ok::<(), secateur_io::codec::CodecError>(())
    /// ```
    ///
    /// # Errors
    /// When the plane contradicts itself, and when its symbols are indices.
    pub fn of(plane: &Plane<'_>, zeros: Zeros) -> Result<Self, CodecError> {
        plane.check()?;
        if let Alphabet::Indexed { levels } = plane.alphabet {
            return Err(CodecError::Indices { levels });
        }
        let layout = plane.layout();
        let mut settings = choose(plane);
        let mut support = EitherWay::default();
        if let Some(mask) = plane.mask.filter(|_| zeros == Zeros::Masked) {
            walk_support(&mut support, &layout, &mut mask.to_vec(), settings)?;
        } else {
            settings = settings.with_zeros();
        }
        let mut support = support.0.into_iter();

        let fill = plane.mask.map(|mask| column_fill(mask, plane.cols));
        let ones = fill.as_deref().unwrap_or_default();
        let mut around = Surroundings::new(
            &layout,
            plane.mask,
            ones,
            plane.symbols.len(),
            settings.period,
        );
        let mut model = settings.signed_model();
        let mut symbols = plane.symbols.iter();
        let mut quotes = Vec::with_capacity(layout.positions()?);
        let mut magnitudes = [0.0; RUNGS + 1];
        for row in 0..plane.rows {
            model.start_row();
            around.start_row(row);
            for c in 0..plane.cols {
                let here = around.at(c);
                model.quote_magnitudes(&here, &mut magnitudes);
                let [coded_zero, rungs @ ..] = magnitudes;
                let [zero, other] = support.next().unwrap_or([coded_zero, 0.0]);
                quotes.push(Quote {
                    zero: f16::from_f32(zero),
                    signs: model.quote_signs(&here).map(f16::from_f32),
                    magnitudes: rungs.map(|bits| f16::from_f32(bits + other)),
                });
                if let Some(&symbol) = around.supports(c).then(|| symbols.next()).flatten() {
                    model.code(&mut Idle, symbol, &here);
                    around.push(c, symbol);
                }
            }
        }
        Ok(Self(quotes))
    }

    /// Bits of a symbol at a position, counted row by row; without end outside the plane.
    pub fn bits(&self, position: usize, symbol: i32) -> f32 {
        let Some(quote) = self.0.get(position) else {
            return f32::INFINITY;
        };
        let magnitude = symbol.unsigned_abs() as usize;
        let Some(rung) = magnitude.checked_sub(1) else {
            return quote.zero.to_f32();
        };
        let sign = quote.signs[usize::from(symbol < 0)].to_f32();
        let beyond = (magnitude as f32 / RUNGS as f32).max(1.0);
        sign + quote.magnitudes[rung.min(RUNGS - 1)].to_f32() + 2.0 * beyond.log2()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Coder, encode};
    use super::*;

    /// 40 rows of 24: two thirds of the columns are thin, symbols are small, those of a row have one sign.
    fn plane_of(masked: bool) -> (Vec<bool>, Vec<i32>) {
        let hash = |i: u32| i.wrapping_mul(2_654_435_761) >> 16;
        let symbol = |i: u32| {
            let full = if i % 24 < 8 { 3 } else { 40 };
            match hash(i) % full {
                0 => {
                    (1 + (hash(i + 7) % 12).min(hash(i + 9) % 12) as i32)
                        * if (i / 24).is_multiple_of(2) { 1 } else { -1 }
                }
                _ => 0,
            }
        };
        let all: Vec<i32> = (0..40 * 24).map(symbol).collect();
        match masked {
            true => (
                all.iter().map(|&s| s != 0).collect(),
                all.into_iter().filter(|&s| s != 0).collect(),
            ),
            false => (Vec::new(), all),
        }
    }

    /// What the quotes of a plane's own symbols add up to is what coding it takes.
    #[test]
    fn quotes_add_up_to_what_is_written() {
        for (masked, zeros) in [(true, Zeros::Masked), (false, Zeros::Coded)] {
            let (mask, symbols) = plane_of(masked);
            let plane = Plane {
                rows: 40,
                cols: 24,
                mask: masked.then_some(&mask),
                symbols: &symbols,
                alphabet: Alphabet::Signed { bits: 6 },
            };
            let quotes = Quotes::of(&plane, zeros).unwrap();
            let mut rest = symbols.iter();
            let all = (0..40 * 24).map(|i| match masked && !mask[i] {
                true => quotes.bits(i, 0),
                false => quotes.bits(i, *rest.next().unwrap()),
            });
            let (sum, cost) = (
                all.sum::<f32>(),
                encode(&plane, Coder::Context).unwrap().cost,
            );
            let written = (cost.support_bits + cost.value_bits) as f32;
            // Magnitudes beyond the rungs are an estimate.
            assert!(
                (sum / written - 1.0).abs() < 0.02,
                "{masked}: {sum} {written}"
            );
        }
    }

    #[test]
    fn where_others_are_a_symbol_is_cheap() {
        let (mask, symbols) = plane_of(true);
        let plane = Plane {
            rows: 40,
            cols: 24,
            mask: Some(&mask),
            symbols: &symbols,
            alphabet: Alphabet::Signed { bits: 6 },
        };
        let quotes = Quotes::of(&plane, Zeros::Masked).unwrap();
        let row = 39 * 24;
        assert!(quotes.bits(row + 20, 1) > quotes.bits(row + 3, 1) + 1.0);
        assert!(quotes.bits(row + 20, 0) < quotes.bits(row + 3, 0));
        // Within a mask that stays, a zero is a symbol that never came.
        let stays = Quotes::of(&plane, Zeros::Coded).unwrap();
        assert!(stays.bits(row + 3, 0) > stays.bits(row + 3, 1));
        // A larger magnitude is never free.
        assert!(quotes.bits(row, 30) > quotes.bits(row, 14));
        assert!(
            Quotes::of(
                &Plane {
                    alphabet: Alphabet::Indexed { levels: 32 },
                    symbols: &vec![1; symbols.len()],
                    ..plane
                },
                Zeros::Coded
            )
            .is_err()
        );
    }
}
