//! Coded weight planes.

use secateur_io::codec::{Alphabet, Coder, Layout, Plane, decode, encode};
use secateur_model::Bitmask;

/// Bytes of the header that stands for what a container would say of the plane: rows, columns,
/// flags (1: masked, 2: a codebook's indices), bits or levels less one.
pub(crate) const HEADER: usize = 4;

/// A coded plane: an error, or a plane that the coder writes and reads back the same.
pub fn codec(bytes: &[u8]) {
    let Some((&[rows, cols, flags, size], coded)) = bytes.split_first_chunk::<HEADER>() else {
        return;
    };
    let size = u32::from(size) + 1;
    let layout = Layout {
        rows: rows.into(),
        cols: cols.into(),
        masked: flags & 1 != 0,
        alphabet: match flags & 2 {
            0 => Alphabet::Signed { bits: size },
            _ => Alphabet::Indexed { levels: size },
        },
    };
    let Ok(decoded) = decode::<i32>(coded, &layout) else {
        return;
    };
    let Some(coder) = coded.first().and_then(|&tag| Coder::from_tag(tag)) else {
        unreachable!("what is decoded begins with a coder's tag");
    };
    let mask = decoded.mask.as_ref().map(Bitmask::to_bools);
    let plane = Plane {
        rows: layout.rows,
        cols: layout.cols,
        mask: mask.as_deref(),
        symbols: &decoded.symbols,
        alphabet: layout.alphabet,
    };
    let encoded = encode(&plane, coder);
    assert!(encoded.is_ok(), "cannot code it again: {encoded:?}");
    let again = encoded.and_then(|e| decode(&e.bytes, &layout));
    assert_eq!(again, Ok(decoded));
}
