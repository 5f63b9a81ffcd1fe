//! IDX, the format of MNIST: a big-endian header (two zero bytes, a type, the number of
//! dimensions, the dimensions), then the values.

use crate::{Array, DataError, Values, array::size, source::Source};

/// Reads an IDX array, gzipped or not. `name` is what errors call it.
///
/// # Errors
/// A wrong magic number or type, dimensions whose product overflows, bytes that are missing or
/// left over, a damaged gzip stream.
///
/// ```
/// use secateur_data::{Values, read_idx};
/// let labels = read_idx(&[0, 0, 8, 1, 0, 0, 0, 2, 7, 9], "labels")?;
/// assert_eq!(labels.shape, [2]);
/// assert_eq!(labels.values, Values::U8(vec![7, 9]));
/// # Ok::<(), secateur_data::DataError>(())
/// ```
pub fn read_idx(bytes: &[u8], name: &str) -> Result<Array, DataError> {
    let mut source = Source::maybe_gzip(bytes, name);
    let [zero, zero_too, kind, rank] = source.array::<4>("magic number")?;
    let item = match kind {
        0x08 | 0x09 => 1,
        0x0b => 2,
        0x0c | 0x0d => 4,
        0x0e => 8,
        _ => 0,
    };
    if [zero, zero_too] != [0, 0] || item == 0 || !(1..=4).contains(&rank) {
        let needed = "00 00, a type of 08 09 0b 0c 0d 0e, 1 to 4 dimensions";
        let there = format!("{zero:02x} {zero_too:02x} {kind:02x} {rank:02x}");
        return Err(DataError::malformed(
            name,
            "IDX magic number",
            needed,
            there,
        ));
    }
    let mut shape = Vec::new();
    for _ in 0..rank {
        shape.push(u32::from_be_bytes(source.array("dimension")?) as usize);
    }
    let Some((_, len)) = size(&shape, item) else {
        let there = format!("{shape:?}");
        return Err(DataError::malformed(
            name,
            "shape",
            "a product that fits in memory",
            there,
        ));
    };
    let raw = source.bytes(len, "values")?;
    source.end()?;
    let values = match kind {
        0x08 => Values::U8(raw),
        0x09 => Values::I64(raw.iter().map(|&v| i64::from(v as i8)).collect()),
        0x0b => Values::I64(each(&raw, |v| i16::from_be_bytes(v).into())),
        0x0c => Values::I64(each(&raw, |v| i32::from_be_bytes(v).into())),
        0x0d => Values::F32(each(&raw, f32::from_be_bytes)),
        _ => Values::F32(each(&raw, |v| f64::from_be_bytes(v) as f32)),
    };
    Ok(Array { shape, values })
}

fn each<const N: usize, T>(raw: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks()
        .0
        .iter()
        .map(|&bytes| value(bytes))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn idx(kind: u8, shape: &[u32], payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, kind, shape.len() as u8];
        shape.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
        bytes.extend(payload);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn reads_every_type() {
        let values =
            |kind, payload: &[u8]| read_idx(&idx(kind, &[1], payload), "t").unwrap().values;
        assert_eq!(values(0x08, &[200]), Values::U8(vec![200]));
        assert_eq!(values(0x09, &[255]), Values::I64(vec![-1]));
        assert_eq!(values(0x0b, &[1, 2]), Values::I64(vec![258]));
        assert_eq!(values(0x0c, &[0, 0, 1, 2]), Values::I64(vec![258]));
        assert_eq!(values(0x0d, &1.5f32.to_be_bytes()), Values::F32(vec![1.5]));
        assert_eq!(
            values(0x0e, &(-2.5f64).to_be_bytes()),
            Values::F32(vec![-2.5])
        );
    }

    #[test]
    fn cut_anywhere_is_an_error_that_names_the_file() {
        let good = idx(8, &[2, 2, 3], &(0..12).collect::<Vec<_>>());
        let array = read_idx(&good, "good").unwrap();
        assert_eq!(array.shape, [2, 2, 3]);
        let zipped = gzip(&good);
        assert_eq!(read_idx(&zipped, "good.gz").unwrap(), array);
        for whole in [&good, &zipped] {
            for end in 0..whole.len() {
                let message = read_idx(&whole[..end], "cut").unwrap_err().to_string();
                assert!(message.starts_with("cut"), "{end}: {message}");
            }
        }
        let longer = [&good[..], &[0]].concat();
        assert!(
            read_idx(&longer, "long")
                .unwrap_err()
                .to_string()
                .contains("more bytes")
        );
    }

    #[test]
    fn declared_sizes_are_not_believed() {
        for bytes in [idx(8, &[u32::MAX; 4], &[]), idx(8, &[u32::MAX, 1], &[0; 9])] {
            assert!(read_idx(&bytes, "huge").is_err());
            assert!(read_idx(&gzip(&bytes), "huge.gz").is_err());
        }
        assert!(
            read_idx(&[1, 0, 8, 1], "magic")
                .unwrap_err()
                .to_string()
                .contains("01 00 08 01")
        );
    }

    proptest! {
        #[test]
        fn flipped_bits_never_panic(flip in 0usize..192, zipped: bool) {
            let good = idx(8, &[2, 1, 4], &[1, 2, 3, 4, 5, 6, 7, 8]);
            let mut bytes = if zipped { gzip(&good) } else { good };
            let bit = flip % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(array) = read_idx(&bytes, "flipped") {
                prop_assert_eq!(size(&array.shape, 1).unwrap().1, 8);
            }
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let _ = read_idx(&bytes, "any");
        }
    }
}
