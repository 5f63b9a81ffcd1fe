//! Element types as Rust types, for code that is the same for all of them.

use crate::Data;
use half::{bf16, f16};

/// A type whose vectors [`Data`] holds.
pub(super) trait Element: Copy + PartialOrd {
    fn wrap(values: Vec<Self>) -> Data;
    fn unwrap(data: &Data) -> Option<&[Self]>;
    /// Zero; `false`.
    const ZERO: Self;
}

macro_rules! element {
    ($($type:ty, $variant:ident, $zero:expr;)*) => {$(
        impl Element for $type {
            const ZERO: Self = $zero;
            fn wrap(values: Vec<Self>) -> Data {
                Data::$variant(values)
            }
            fn unwrap(data: &Data) -> Option<&[Self]> {
                match data {
                    Data::$variant(v) => Some(v),
                    _ => None,
                }
            }
        }
    )*};
}

element! {
    f32, F32, 0.0;
    f64, F64, 0.0;
    f16, F16, f16::ZERO;
    bf16, BF16, bf16::ZERO;
    i8, I8, 0;
    u8, U8, 0;
    i16, I16, 0;
    u16, U16, 0;
    i32, I32, 0;
    u32, U32, 0;
    i64, I64, 0;
    u64, U64, 0;
    bool, Bool, false;
}

/// Arithmetic as ONNX means it: IEEE 754 for floating-point types, wrapping for
/// integers; `None` for an integer divided by zero.
pub(super) trait Number: Element {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Option<Self>;
    /// `self · other + sum`: fused for f32 and f64; 16-bit types accumulate
    /// wider and do not use it.
    fn mul_add(self, other: Self, sum: Self) -> Self;
}

macro_rules! integer {
    ($($type:ty)*) => {$(
        impl Number for $type {
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            fn div(self, other: Self) -> Option<Self> {
                (other != 0).then(|| self.wrapping_div(other))
            }
            fn mul_add(self, other: Self, sum: Self) -> Self {
                self.wrapping_mul(other).wrapping_add(sum)
            }
        }
    )*};
}

macro_rules! float {
    ($($type:ty)*) => {$(
        impl Number for $type {
            fn add(self, other: Self) -> Self {
                self + other
            }
            fn sub(self, other: Self) -> Self {
                self - other
            }
            fn mul(self, other: Self) -> Self {
                self * other
            }
            fn div(self, other: Self) -> Option<Self> {
                Some(self / other)
            }
            fn mul_add(self, other: Self, sum: Self) -> Self {
                <$type>::mul_add(self, other, sum)
            }
        }
    )*};
}

/// Sums, products and quotients of two 16-bit floats, rounded through f32, are
/// correctly rounded.
macro_rules! half_float {
    ($($type:ty)*) => {$(
        impl Number for $type {
            fn add(self, other: Self) -> Self {
                Self::from_f32(self.to_f32() + other.to_f32())
            }
            fn sub(self, other: Self) -> Self {
                Self::from_f32(self.to_f32() - other.to_f32())
            }
            fn mul(self, other: Self) -> Self {
                Self::from_f32(self.to_f32() * other.to_f32())
            }
            fn div(self, other: Self) -> Option<Self> {
                Some(Self::from_f32(self.to_f32() / other.to_f32()))
            }
            fn mul_add(self, other: Self, sum: Self) -> Self {
                Self::from_f32(self.to_f32().mul_add(other.to_f32(), sum.to_f32()))
            }
        }
    )*};
}

integer! { i8 u8 i16 u16 i32 u32 i64 u64 }
float! { f32 f64 }
half_float! { f16 bf16 }

/// Calls `$body` with `$v` bound to the vector of a type with arithmetic;
/// `$other` serves booleans and carried data.
macro_rules! match_numbers {
    ($data:expr, $v:ident => $body:expr, $other:pat => $fallback:expr) => {
        match $data {
            $crate::Data::F32($v) => $body,
            $crate::Data::F64($v) => $body,
            $crate::Data::F16($v) => $body,
            $crate::Data::BF16($v) => $body,
            $crate::Data::I8($v) => $body,
            $crate::Data::U8($v) => $body,
            $crate::Data::I16($v) => $body,
            $crate::Data::U16($v) => $body,
            $crate::Data::I32($v) => $body,
            $crate::Data::U32($v) => $body,
            $crate::Data::I64($v) => $body,
            $crate::Data::U64($v) => $body,
            $other => $fallback,
        }
    };
}
pub(super) use match_numbers;
