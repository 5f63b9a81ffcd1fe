//! Families of operators that differ only in what is computed, each one variant
//! of [`Op`](crate::Op), and what attributes choose from.

/// The members of a family, by ONNX's name and by number.
pub trait Family: Copy + PartialEq + 'static {
    /// Every member with its name. The place in the list is the member's number
    /// in `.sct` files: new members go to the end.
    const MEMBERS: &'static [(Self, &'static str)];

    /// ONNX's name of the operator.
    fn name(self) -> &'static str {
        Self::MEMBERS
            .iter()
            .find(|(member, _)| *member == self)
            .map_or("", |(_, name)| name)
    }

    /// The (first) member of a name.
    fn named(name: &str) -> Option<Self> {
        Self::MEMBERS
            .iter()
            .find(|(_, found)| *found == name)
            .map(|(member, _)| *member)
    }

    /// The member's place in the list.
    fn number(self) -> u8 {
        Self::MEMBERS
            .iter()
            .position(|(member, _)| *member == self)
            .and_then(|place| u8::try_from(place).ok())
            .unwrap_or(u8::MAX)
    }

    /// The member at a place.
    fn numbered(number: u8) -> Option<Self> {
        Self::MEMBERS
            .get(usize::from(number))
            .map(|(member, _)| *member)
    }
}

/// Functions of one number without attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // ONNX's own operators
pub enum Math {
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    BitwiseNot,
    Ceil,
    Cos,
    Cosh,
    Erf,
    Exp,
    Floor,
    IsNaN,
    Log,
    Neg,
    Not,
    Reciprocal,
    Round,
    Sign,
    Sin,
    Sinh,
    Sqrt,
    Tan,
}

impl Family for Math {
    const MEMBERS: &'static [(Self, &'static str)] = &[
        (Self::Abs, "Abs"),
        (Self::Acos, "Acos"),
        (Self::Acosh, "Acosh"),
        (Self::Asin, "Asin"),
        (Self::Asinh, "Asinh"),
        (Self::Atan, "Atan"),
        (Self::Atanh, "Atanh"),
        (Self::BitwiseNot, "BitwiseNot"),
        (Self::Ceil, "Ceil"),
        (Self::Cos, "Cos"),
        (Self::Cosh, "Cosh"),
        (Self::Erf, "Erf"),
        (Self::Exp, "Exp"),
        (Self::Floor, "Floor"),
        (Self::IsNaN, "IsNaN"),
        (Self::Log, "Log"),
        (Self::Neg, "Neg"),
        (Self::Not, "Not"),
        (Self::Reciprocal, "Reciprocal"),
        (Self::Round, "Round"),
        (Self::Sign, "Sign"),
        (Self::Sin, "Sin"),
        (Self::Sinh, "Sinh"),
        (Self::Sqrt, "Sqrt"),
        (Self::Tan, "Tan"),
    ];
}

/// Activations beside Relu, LeakyRelu, Sigmoid and Tanh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // ONNX's own operators
pub enum Activation {
    Celu,
    Elu,
    /// By the error function.
    Gelu,
    /// By the hyperbolic tangent (`approximate` is `tanh`).
    GeluTanh,
    HardSigmoid,
    HardSwish,
    Mish,
    Selu,
    Shrink,
    Softplus,
    Softsign,
    Swish,
    ThresholdedRelu,
}

impl Activation {
    /// Names and defaults of the parameters, at most two.
    pub fn parameters(self) -> &'static [(&'static str, f32)] {
        match self {
            Self::Celu | Self::Elu | Self::Swish | Self::ThresholdedRelu => &[("alpha", 1.0)],
            Self::HardSigmoid => &[("alpha", 0.2), ("beta", 0.5)],
            Self::Selu => &[("alpha", 1.673_263_2), ("gamma", 1.050_701)],
            Self::Shrink => &[("bias", 0.0), ("lambd", 0.5)],
            Self::Gelu
            | Self::GeluTanh
            | Self::HardSwish
            | Self::Mish
            | Self::Softplus
            | Self::Softsign => &[],
        }
    }
}

impl Family for Activation {
    const MEMBERS: &'static [(Self, &'static str)] = &[
        (Self::Celu, "Celu"),
        (Self::Elu, "Elu"),
        (Self::Gelu, "Gelu"),
        (Self::GeluTanh, "Gelu"),
        (Self::HardSigmoid, "HardSigmoid"),
        (Self::HardSwish, "HardSwish"),
        (Self::Mish, "Mish"),
        (Self::Selu, "Selu"),
        (Self::Shrink, "Shrink"),
        (Self::Softplus, "Softplus"),
        (Self::Softsign, "Softsign"),
        (Self::Swish, "Swish"),
        (Self::ThresholdedRelu, "ThresholdedRelu"),
    ];
}

/// Functions of two numbers that broadcast, beside Add, Sub, Mul and Div.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // ONNX's own operators
pub enum Binary {
    And,
    /// BitShift with the direction LEFT.
    BitShiftLeft,
    /// BitShift with the direction RIGHT.
    BitShiftRight,
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
    Equal,
    /// Mod with `fmod`: the remainder has the dividend's sign.
    Fmod,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    /// Of integers; the remainder has the divisor's sign.
    Mod,
    Or,
    Pow,
    Xor,
}

impl Family for Binary {
    const MEMBERS: &'static [(Self, &'static str)] = &[
        (Self::And, "And"),
        (Self::BitShiftLeft, "BitShift"),
        (Self::BitShiftRight, "BitShift"),
        (Self::BitwiseAnd, "BitwiseAnd"),
        (Self::BitwiseOr, "BitwiseOr"),
        (Self::BitwiseXor, "BitwiseXor"),
        (Self::Equal, "Equal"),
        (Self::Fmod, "Mod"),
        (Self::Greater, "Greater"),
        (Self::GreaterOrEqual, "GreaterOrEqual"),
        (Self::Less, "Less"),
        (Self::LessOrEqual, "LessOrEqual"),
        (Self::Mod, "Mod"),
        (Self::Or, "Or"),
        (Self::Pow, "Pow"),
        (Self::Xor, "Xor"),
    ];
}

/// Functions of any number of inputs that broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // ONNX's own operators
pub enum Variadic {
    Max,
    Mean,
    Min,
    Sum,
}

impl Family for Variadic {
    const MEMBERS: &'static [(Self, &'static str)] = &[
        (Self::Max, "Max"),
        (Self::Mean, "Mean"),
        (Self::Min, "Min"),
        (Self::Sum, "Sum"),
    ];
}

/// Reductions of the elements along some axes to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // ONNX's own operators
pub enum Reduction {
    L1,
    L2,
    LogSum,
    LogSumExp,
    Max,
    Mean,
    Min,
    Prod,
    Sum,
    SumSquare,
}

impl Family for Reduction {
    const MEMBERS: &'static [(Self, &'static str)] = &[
        (Self::L1, "ReduceL1"),
        (Self::L2, "ReduceL2"),
        (Self::LogSum, "ReduceLogSum"),
        (Self::LogSumExp, "ReduceLogSumExp"),
        (Self::Max, "ReduceMax"),
        (Self::Mean, "ReduceMean"),
        (Self::Min, "ReduceMin"),
        (Self::Prod, "ReduceProd"),
        (Self::Sum, "ReduceSum"),
        (Self::SumSquare, "ReduceSumSquare"),
    ];
}

/// The end of an order that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // ONNX's own operators
pub enum Extreme {
    ArgMax,
    ArgMin,
}

impl Family for Extreme {
    const MEMBERS: &'static [(Self, &'static str)] =
        &[(Self::ArgMax, "ArgMax"), (Self::ArgMin, "ArgMin")];
}

/// What becomes of the losses of the single targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossReduction {
    /// Added and divided by the sum of their weights.
    Mean,
    /// Each by itself.
    None,
    /// Added.
    Sum,
}

impl Family for LossReduction {
    const MEMBERS: &'static [(Self, &'static str)] = &[
        (Self::Mean, "mean"),
        (Self::None, "none"),
        (Self::Sum, "sum"),
    ];
}
