//! Element types, by ONNX's numbers.

use secateur_model::DType as Model;

/// Types of elements; the numbers are those of ONNX's `TensorProto.DataType`.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    /// `float`.
    F32 = 1,
    /// `uint8_t`.
    U8 = 2,
    /// `int8_t`.
    I8 = 3,
    /// `uint16_t`.
    U16 = 4,
    /// `int16_t`.
    I16 = 5,
    /// `int32_t`.
    I32 = 6,
    /// `int64_t`.
    I64 = 7,
    /// One byte: 0 is false, all else true.
    Bool = 9,
    /// IEEE 754 binary16.
    F16 = 10,
    /// `double`.
    F64 = 11,
    /// `uint32_t`.
    U32 = 12,
    /// `uint64_t`.
    U64 = 13,
    /// The upper half of a `float`.
    BF16 = 16,
}

/// The number of a type.
pub fn to_code(dtype: Model) -> i32 {
    match PAIRS.iter().find(|(_, model)| *model == dtype) {
        Some((code, _)) => *code as i32,
        None => match dtype {
            Model::Opaque(code) => code,
            _ => 0,
        },
    }
}

/// The type of a number, if there are tensors of it. C may pass any number, so it is never taken for a [`DType`].
pub fn from_code(code: i32) -> Option<Model> {
    let found = PAIRS.iter().find(|(pair, _)| *pair as i32 == code);
    found.map(|(_, model)| *model)
}

const PAIRS: [(DType, Model); 13] = [
    (DType::F32, Model::F32),
    (DType::U8, Model::U8),
    (DType::I8, Model::I8),
    (DType::U16, Model::U16),
    (DType::I16, Model::I16),
    (DType::I32, Model::I32),
    (DType::I64, Model::I64),
    (DType::Bool, Model::Bool),
    (DType::F16, Model::F16),
    (DType::F64, Model::F64),
    (DType::U32, Model::U32),
    (DType::U64, Model::U64),
    (DType::BF16, Model::BF16),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for (code, model) in PAIRS {
            assert_eq!(to_code(model), code as i32);
            assert_eq!(from_code(code as i32), Some(model));
        }
        assert_eq!(to_code(Model::Opaque(8)), 8);
        assert_eq!([0, 8, -1, 99].map(from_code), [None; 4]);
    }
}
