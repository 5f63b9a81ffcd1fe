//! rANS in blocks of positions that share their tables, so that one large layer
//! is decoded by all threads: the blocks' non-zeros and lengths stand ahead.

use super::bits::{Cursor, put_count};
use super::frequencies::{Model, Tables};
use super::stream;
use super::token::Splits;
use super::{CodecError, Cost, Decoded, Layout, Plane, Symbol};
use rayon::prelude::*;
use secateur_model::Bitmask;

/// Positions of a block: about a millisecond's work, and whole words of a mask.
const BLOCK: usize = 1 << 18;

/// Appends `plane` with the token splits that make it smallest.
pub(super) fn encode(plane: &Plane<'_>, out: &mut Vec<u8>) -> Cost {
    let blocks: Vec<Plane<'_>> = plane.blocks(BLOCK).collect();
    let model = Model::of(&blocks, plane.mask.is_some());
    let streams: Vec<Vec<u8>> = blocks
        .par_iter()
        .map(|block| stream::encode(block, &model))
        .collect();
    out.push(model.splits.to_byte());
    for (block, stream) in blocks.iter().zip(&streams) {
        if block.mask.is_some() {
            put_count(out, block.symbols.len() as u64);
        }
        put_count(out, stream.len() as u64);
    }
    model.put(out);
    out.extend(streams.concat());
    model.cost
}

/// One block of a plane that is read: where it is coded and where it goes.
struct Part<'c, 'd, S> {
    stream: Cursor<'c>,
    positions: usize,
    words: &'d mut [u64],
    symbols: &'d mut [S],
}

/// Reads what [`encode`] wrote.
pub(super) fn decode<S: Symbol>(
    mut cursor: Cursor<'_>,
    layout: &Layout,
) -> Result<Decoded<S>, CodecError> {
    let positions = layout.positions()?;
    let splits = Splits::read(&mut cursor)?;
    let mut directory = Vec::new();
    let mut count = 0;
    for start in (0..positions).step_by(BLOCK) {
        let positions = BLOCK.min(positions - start);
        let kept = if layout.masked {
            cursor.count("non-zeros of a block", positions)?
        } else {
            positions
        };
        let length = cursor.count("length of a block", cursor.left())?;
        directory.push((positions, kept, length));
        count += kept;
    }
    let tables = Tables::read(&mut cursor, splits, layout, count)?;

    let mut words = layout.no_words(positions);
    let mut symbols = vec![S::default(); count];
    let mut parts = Vec::with_capacity(directory.len());
    let (mut words_left, mut symbols_left) = (words.as_mut_slice(), symbols.as_mut_slice());
    for (positions, kept, length) in directory {
        let whole = positions.div_ceil(64).min(words_left.len());
        parts.push(Part {
            stream: cursor.part(length, "a block")?,
            positions,
            words: words_left.split_off_mut(..whole).unwrap_or_default(),
            symbols: symbols_left.split_off_mut(..kept).unwrap_or_default(),
        });
    }
    cursor.end()?;
    let results: Vec<Result<(), CodecError>> = parts
        .into_par_iter()
        .with_max_len(1)
        .map(|part| {
            stream::decode(
                part.stream,
                &tables,
                part.positions,
                part.words,
                part.symbols,
            )
        })
        .collect();
    // The error of the first block, whichever thread was first.
    results.into_iter().collect::<Result<(), _>>()?;
    let mask = layout.masked.then(|| Bitmask::from_words(words, positions));
    Ok(Decoded { mask, symbols })
}
