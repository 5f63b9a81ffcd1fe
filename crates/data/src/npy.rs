//! NumPy's `.npy` (NEP 1): a magic string, a version, a header that is a Python dictionary
//! literal, then the values.

use std::io::{self, Read, Write};

use crate::{Array, DataError, Values, array::size, npy_header::Header, source::Source};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Reads a NumPy array of booleans, integers or floats, little-endian, C or Fortran order (which
/// is turned to C order). `name` is what errors call it.
///
/// # Errors
/// A wrong magic string, version or header, another data type, dimensions whose product
/// overflows, bytes that are missing or left over.
///
/// ```
/// use secateur_data::{Values, read_npy, write_npy};
/// let mut file = Vec::new();
/// write_npy(&mut file, &[2, 1], &[0.5f32, 1.5])?;
/// let array = read_npy(&file, "x.npy")?;
/// assert_eq!(array.shape, [2, 1]);
/// assert_eq!(array.values, Values::F32(vec![0.5, 1.5]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_npy(bytes: &[u8], name: &str) -> Result<Array, DataError> {
    read(Source::new(bytes, name, bytes.len() as u64))
}

/// Reads an array from `source`, to its end.
pub(crate) fn read(mut source: Source<impl Read>) -> Result<Array, DataError> {
    let place = source.place().to_owned();
    let magic = source.array::<6>("magic string")?;
    if &magic != MAGIC {
        let there = magic.escape_ascii();
        return Err(DataError::malformed(
            place,
            "npy magic string",
            MAGIC.escape_ascii(),
            there,
        ));
    }
    let [major, minor] = source.array("version")?;
    let header_len = match major {
        1 => u16::from_le_bytes(source.array("header length")?).into(),
        2 | 3 => u32::from_le_bytes(source.array("header length")?) as usize,
        _ => {
            let there = format!("{major}.{minor}");
            let supported = "1.0, 2.0, 3.0";
            return Err(DataError::Unsupported {
                place,
                what: "npy version",
                there,
                supported,
            });
        }
    };
    // NumPy itself refuses longer ones.
    if header_len > 10_000 {
        return Err(DataError::malformed(
            place,
            "header length",
            "at most 10000",
            header_len,
        ));
    }
    let Header {
        descr,
        fortran_order,
        shape,
    } = Header::parse(&source.bytes(header_len, "header")?, &place)?;
    let Some(kind) = Kind::parse(&descr) else {
        let supported = "|b1 |u1 |i1 <u2 <i2 <u4 <i4 <i8 <f4 <f8";
        return Err(DataError::Unsupported {
            place,
            what: "data type",
            there: descr,
            supported,
        });
    };
    let Some((_, len)) = size(&shape, kind.size()) else {
        let needed = "a product that fits in memory";
        return Err(DataError::malformed(
            place,
            "shape",
            needed,
            format!("{shape:?}"),
        ));
    };
    let raw = source.bytes(len, "values")?;
    source.end()?;
    let mut values = kind.values(raw);
    if fortran_order {
        values = match values {
            Values::U8(values) => Values::U8(c_order(&values, &shape)),
            Values::F32(values) => Values::F32(c_order(&values, &shape)),
            Values::I64(values) => Values::I64(c_order(&values, &shape)),
        };
    }
    Ok(Array { shape, values })
}

/// The data types that are read.
#[derive(Clone, Copy)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    I64,
    F32,
    F64,
}

impl Kind {
    fn parse(descr: &str) -> Option<Self> {
        Some(match descr {
            "|b1" | "|u1" | "<u1" => Self::U8,
            "|i1" | "<i1" => Self::I8,
            "<u2" => Self::U16,
            "<i2" => Self::I16,
            "<u4" => Self::U32,
            "<i4" => Self::I32,
            "<i8" => Self::I64,
            "<f4" => Self::F32,
            "<f8" => Self::F64,
            _ => return None,
        })
    }

    fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    fn values(self, raw: Vec<u8>) -> Values {
        match self {
            Self::U8 => Values::U8(raw),
            Self::I8 => Values::I64(each(&raw, |v| i8::from_le_bytes(v).into())),
            Self::U16 => Values::I64(each(&raw, |v| u16::from_le_bytes(v).into())),
            Self::I16 => Values::I64(each(&raw, |v| i16::from_le_bytes(v).into())),
            Self::U32 => Values::I64(each(&raw, |v| u32::from_le_bytes(v).into())),
            Self::I32 => Values::I64(each(&raw, |v| i32::from_le_bytes(v).into())),
            Self::I64 => Values::I64(each(&raw, i64::from_le_bytes)),
            Self::F32 => Values::F32(each(&raw, f32::from_le_bytes)),
            Self::F64 => Values::F32(each(&raw, |v| f64::from_le_bytes(v) as f32)),
        }
    }
}

fn each<const N: usize, T>(raw: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks()
        .0
        .iter()
        .map(|&bytes| value(bytes))
        .collect()
}

/// Values whose first index runs fastest -> the same with the last running fastest.
fn c_order<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1usize;
    for &dim in shape {
        strides.push(stride);
        stride = stride.saturating_mul(dim);
    }
    let mut out = Vec::with_capacity(values.len());
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    while let Some(&value) = values.get(at).filter(|_| out.len() < values.len()) {
        out.push(value);
        for ((i, &dim), &stride) in index.iter_mut().zip(shape).zip(&strides).rev() {
            *i += 1;
            at += stride;
            if *i < dim {
                break;
            }
            at -= dim * stride;
            *i = 0;
        }
    }
    out
}

/// A value that [`write_npy`] writes.
pub trait NpyElement: Copy + sealed::Sealed {
    /// NumPy's name of the type.
    const DESCR: &'static str;
}

mod sealed {
    pub trait Sealed {
        fn le(self) -> impl AsRef<[u8]>;
    }
}

macro_rules! element {
    ($type:ty, $descr:literal) => {
        impl NpyElement for $type {
            const DESCR: &'static str = $descr;
        }
        impl sealed::Sealed for $type {
            fn le(self) -> impl AsRef<[u8]> {
                self.to_le_bytes()
            }
        }
    };
}

element!(u8, "|u1");
element!(f32, "<f4");
element!(i64, "<i8");

/// Writes a NumPy array, version 1.0, C order.
///
/// # Errors
/// Those of `out`; `InvalidInput` where `values` are not as many as `shape` says.
pub fn write_npy<T: NpyElement>(
    out: &mut impl Write,
    shape: &[usize],
    values: &[T],
) -> io::Result<()> {
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidInput, reason);
    if size(shape, size_of::<T>()).map(|(count, _)| count) != Some(values.len()) {
        return Err(invalid(format!(
            "{} values for the shape {shape:?}",
            values.len()
        )));
    }
    let mut dims: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    if shape.len() > 1 {
        dims.truncate(dims.len() - 2);
    }
    let mut header = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
        T::DESCR,
        dims.trim_end()
    );
    // Magic, version and length take 10 bytes; the values begin at a multiple of 64.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.extend(std::iter::repeat_n(' ', padded - 1 - header.len()));
    header.push('\n');
    let len = u16::try_from(header.len()).map_err(|_| invalid("too many dimensions".into()))?;
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    values
        .iter()
        .try_for_each(|value| out.write_all(value.le().as_ref()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file as NumPy would write it.
    fn npy(descr: &str, fortran: &str, shape: &str, payload: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = [MAGIC, &[1, 0][..], &(header.len() as u16).to_le_bytes()].concat();
        bytes.extend(header.as_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn reads_every_type() {
        let values = |descr, payload: &[u8]| {
            read_npy(&npy(descr, "False", "(1,)", payload), "t")
                .unwrap()
                .values
        };
        assert_eq!(values("|u1", &[200]), Values::U8(vec![200]));
        assert_eq!(values("|b1", &[1]), Values::U8(vec![1]));
        assert_eq!(values("|i1", &[255]), Values::I64(vec![-1]));
        assert_eq!(values("<u2", &[1, 2]), Values::I64(vec![513]));
        assert_eq!(values("<i2", &[255, 255]), Values::I64(vec![-1]));
        assert_eq!(values("<u4", &[1, 0, 0, 0]), Values::I64(vec![1]));
        assert_eq!(values("<i4", &(-7i32).to_le_bytes()), Values::I64(vec![-7]));
        assert_eq!(values("<i8", &(-7i64).to_le_bytes()), Values::I64(vec![-7]));
        assert_eq!(values("<f4", &1.5f32.to_le_bytes()), Values::F32(vec![1.5]));
        assert_eq!(values("<f8", &1.5f64.to_le_bytes()), Values::F32(vec![1.5]));
        for descr in [">f4", "<f2", "|S3", "<c8"] {
            let message = read_npy(&npy(descr, "False", "(1,)", &[0; 8]), "t")
                .unwrap_err()
                .to_string();
            assert!(message.contains("unsupported data type"), "{message}");
        }
    }

    #[test]
    fn fortran_order_is_turned() {
        let file = npy("|u1", "True", "(2, 3, 2)", &(0..12).collect::<Vec<_>>());
        let array = read_npy(&file, "f").unwrap();
        assert_eq!(
            array.values,
            Values::U8(vec![0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11])
        );
        let empty = read_npy(&npy("|u1", "True", "(0, 3)", &[]), "e").unwrap();
        assert_eq!(empty.values, Values::U8(vec![]));
    }

    #[test]
    fn written_files_are_numpys_to_the_byte() {
        let mut file = Vec::new();
        write_npy(&mut file, &[3], &[1i64, 2, 3]).unwrap();
        let header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }";
        assert_eq!(&file[10..10 + header.len()], header);
        assert_eq!((file[127], file.len()), (b'\n', 128 + 24));
        file.clear();
        write_npy(&mut file, &[], &[2.5f32]).unwrap();
        assert_eq!(
            read_npy(&file, "scalar").unwrap(),
            Array {
                shape: vec![],
                values: Values::F32(vec![2.5])
            }
        );
        assert!(write_npy(&mut file, &[2], &[0u8]).is_err());
    }

    #[test]
    fn cut_anywhere_is_an_error_that_names_the_file() {
        let whole = npy("<f4", "False", "(2, 2)", &[0; 16]);
        assert!(read_npy(&whole, "whole").is_ok());
        for end in 0..whole.len() {
            let message = read_npy(&whole[..end], "cut.npy").unwrap_err().to_string();
            assert!(message.starts_with("cut.npy"), "{end}: {message}");
        }
        assert!(read_npy(&[&whole[..], &[0]].concat(), "long").is_err());
    }

    #[test]
    fn declared_sizes_are_not_believed() {
        for shape in [
            "(9000000000000000000, 9)",
            "(99999999999999999999,)",
            "(4294967296,)",
        ] {
            assert!(read_npy(&npy("<f8", "False", shape, &[]), "huge").is_err());
        }
        let mut header = npy("|u1", "False", "(1,)", &[0]);
        header[6] = 2;
        assert!(
            read_npy(&header, "v2")
                .unwrap_err()
                .to_string()
                .contains("header length")
        );
        header[6] = 9;
        assert!(
            read_npy(&header, "v9")
                .unwrap_err()
                .to_string()
                .contains("npy version 9.0")
        );
    }

    proptest! {
        #[test]
        fn round_trips(values: Vec<i64>) {
            let mut file = Vec::new();
            write_npy(&mut file, &[1, values.len()], &values).unwrap();
            let array = read_npy(&file, "x").unwrap();
            prop_assert_eq!(array.shape, [1, values.len()]);
            prop_assert_eq!(array.values, Values::I64(values));
        }

        #[test]
        fn flipped_bits_never_panic(flip: prop::sample::Index, fortran: bool) {
            let fortran = if fortran { "True" } else { "False" };
            let mut bytes = npy("<i4", fortran, "(2, 3)", &[7; 24]);
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = read_npy(&bytes, "flipped");
        }
    }
}
