//! rANS (Duda 2013) on gaps and values: static order-0 tables of 12-bit
//! probabilities, four interleaved 32-bit states that renormalise by 16 bits,
//! decoded by table look-up.

use super::bits::{Cursor, put_count};
use super::frequencies::{Model, Tables};
use super::stream;
use super::token::Splits;
use super::{CodecError, Cost, Decoded, Layout, Plane, Symbol};
use secateur_model::Bitmask;

/// Appends `plane` with the token splits that make it smallest.
pub(super) fn encode(plane: &Plane<'_>, out: &mut Vec<u8>) -> Cost {
    let model = Model::of(&[*plane], plane.mask.is_some());
    out.push(model.splits.to_byte());
    if plane.mask.is_some() {
        put_count(out, plane.symbols.len() as u64);
    }
    model.put(out);
    out.extend(stream::encode(plane, &model));
    model.cost
}

/// Reads what [`encode`] wrote.
pub(super) fn decode<S: Symbol>(
    mut cursor: Cursor<'_>,
    layout: &Layout,
) -> Result<Decoded<S>, CodecError> {
    let positions = layout.positions()?;
    let splits = Splits::read(&mut cursor)?;
    let count = if layout.masked {
        cursor.count("non-zeros", positions)?
    } else {
        positions
    };
    let tables = Tables::read(&mut cursor, splits, layout, count)?;
    let mut words = layout.no_words(positions);
    let mut symbols = vec![S::default(); count];
    stream::decode(cursor, &tables, positions, &mut words, &mut symbols)?;
    let mask = layout.masked.then(|| Bitmask::from_words(words, positions));
    Ok(Decoded { mask, symbols })
}
