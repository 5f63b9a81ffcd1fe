//! `TensorProto.DataType` numbers.

use secateur_model::DType;

/// Number of ONNX's string type.
pub(super) const STRING: i32 = 8;

/// The element type of a number; `None` for numbers that ONNX does not define.
pub(super) fn from_code(code: i32) -> Option<DType> {
    Some(match code {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        16 => DType::BF16,
        STRING | 14 | 15 | 17..=24 => DType::Opaque(code),
        _ => return None,
    })
}

/// The number of an element type.
pub(super) fn to_code(dtype: DType) -> i32 {
    match dtype {
        DType::F32 => 1,
        DType::U8 => 2,
        DType::I8 => 3,
        DType::U16 => 4,
        DType::I16 => 5,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::Bool => 9,
        DType::F16 => 10,
        DType::F64 => 11,
        DType::U32 => 12,
        DType::U64 => 13,
        DType::BF16 => 16,
        DType::Opaque(code) => code,
    }
}

/// Bits of one element in `raw_data`; `None` for strings and undefined types.
pub(super) fn bits(code: i32) -> Option<usize> {
    match code {
        2 | 3 | 9 | 17..=20 | 24 => Some(8),
        4 | 5 | 10 | 16 => Some(16),
        1 | 6 | 12 => Some(32),
        7 | 11 | 13 | 14 => Some(64),
        15 => Some(128),
        21..=23 => Some(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for code in -1..40 {
            if let Some(dtype) = from_code(code) {
                assert_eq!(to_code(dtype), code);
                assert_eq!(dtype.size_bytes().map(|n| 8 * n).is_none(), {
                    matches!(dtype, DType::Opaque(_))
                });
            }
        }
    }
}
