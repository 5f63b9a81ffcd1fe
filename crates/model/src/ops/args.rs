//! What a shape rule and an evaluation are given, with the checks that every
//! operator needs.

use super::element::Element;
use super::window::advance;
use crate::{DType, Data, ModelError, Node, Shape, Tensor, match_data};
use half::{bf16, f16};

/// What a shape rule knows of an input.
#[derive(Debug, Clone)]
pub struct ShapeInput<'a> {
    /// The element type.
    pub dtype: DType,
    /// The extents.
    pub shape: Shape,
    /// The value, where it is known; Reshape, Pad and their like need it.
    pub value: Option<&'a Tensor>,
}

impl<'a> ShapeInput<'a> {
    /// An input of which only the type and the extents are known.
    pub fn new(dtype: DType, shape: Shape) -> Self {
        Self {
            dtype,
            shape,
            value: None,
        }
    }

    /// An input whose value is known.
    pub fn of(tensor: &'a Tensor) -> Self {
        Self {
            dtype: tensor.dtype(),
            shape: tensor.shape().clone(),
            value: Some(tensor),
        }
    }
}

/// The inputs of a shape rule.
pub(super) struct Shapes<'a> {
    pub node: &'a Node,
    pub inputs: &'a [Option<ShapeInput<'a>>],
}

impl<'a> Shapes<'a> {
    pub fn get(&self, index: usize) -> Option<&'a ShapeInput<'a>> {
        self.inputs.get(index).and_then(Option::as_ref)
    }

    pub fn need(&self, index: usize) -> Result<&'a ShapeInput<'a>, ModelError> {
        self.get(index)
            .ok_or_else(|| self.wrong(format!("input {index} is missing")))
    }

    /// An input of one of the given types.
    pub fn typed(&self, index: usize, types: &[DType]) -> Result<&'a ShapeInput<'a>, ModelError> {
        let input = self.need(index)?;
        self.check_type(index, input.dtype, types)?;
        Ok(input)
    }

    pub fn check_type(
        &self,
        index: usize,
        found: DType,
        types: &[DType],
    ) -> Result<(), ModelError> {
        if types.contains(&found) {
            return Ok(());
        }
        Err(self.unsupported(format!("input {index} of type {found}")))
    }

    /// Input `index` must have the type of input 0.
    pub fn same_type(&self, index: usize) -> Result<(), ModelError> {
        let (first, other) = (self.need(0)?.dtype, self.need(index)?.dtype);
        if first != other {
            return Err(self.wrong(format!(
                "input {index} must be {first} like input 0, found {other}"
            )));
        }
        Ok(())
    }

    /// The known integers of an optional list input.
    pub fn integers(&self, index: usize) -> Result<Option<Vec<i64>>, ModelError> {
        let Some(input) = self.get(index) else {
            return Ok(None);
        };
        if input.shape.rank() > 1 {
            return Err(self.wrong(format!(
                "input {index} must be a list, found shape {}",
                input.shape
            )));
        }
        let Some(value) = input.value else {
            return Err(self.value_needed(index));
        };
        match value.data() {
            Data::I64(v) => Ok(Some(v.clone())),
            Data::I32(v) => Ok(Some(v.iter().map(|&i| i64::from(i)).collect())),
            other => Err(self.wrong(format!(
                "input {index} must be i64, found {}",
                other.dtype()
            ))),
        }
    }

    /// The one known integer of an optional input.
    pub fn integer(&self, index: usize) -> Result<Option<i64>, ModelError> {
        match self.integers(index)?.as_deref() {
            None => Ok(None),
            Some(&[value]) => Ok(Some(value)),
            Some(list) => Err(self.wrong(format!(
                "input {index} must be one value, found {}",
                list.len()
            ))),
        }
    }

    /// The value of an input that decides the shape.
    pub fn value(&self, index: usize) -> Result<&'a Tensor, ModelError> {
        self.need(index)?
            .value
            .ok_or_else(|| self.value_needed(index))
    }

    fn value_needed(&self, input: usize) -> ModelError {
        ModelError::ValueNeeded {
            node: self.node.name.clone(),
            op: self.node.op.name().to_owned(),
            input,
        }
    }

    /// An axis counted from the end when negative; below `rank`.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, ModelError> {
        resolve_axis(axis, rank)
            .ok_or_else(|| self.wrong(format!("axis {axis} is outside a rank of {rank}")))
    }

    pub fn shape(&self, dims: &[usize]) -> Result<Shape, ModelError> {
        Shape::new(dims).map_err(|e| self.wrong(e.to_string()))
    }

    pub fn wrong(&self, reason: impl Into<String>) -> ModelError {
        ModelError::at(self.node, reason)
    }

    pub fn unsupported(&self, reason: impl Into<String>) -> ModelError {
        ModelError::unsupported(self.node, reason)
    }
}

/// An axis counted from the end when negative; `None` outside the rank.
pub(super) fn resolve_axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let positive = if axis < 0 {
        axis.checked_add(rank)?
    } else {
        axis
    };
    (0..rank)
        .contains(&positive)
        .then(|| usize::try_from(positive).ok())
        .flatten()
}

/// The inputs of an evaluation, and the outputs that the shape rule promised.
pub(super) struct Tensors<'a> {
    pub node: &'a Node,
    pub inputs: &'a [Option<&'a Tensor>],
    pub outputs: &'a [(DType, Shape)],
}

impl<'a> Tensors<'a> {
    pub fn get(&self, index: usize) -> Option<&'a Tensor> {
        self.inputs.get(index).copied().flatten()
    }

    pub fn need(&self, index: usize) -> Result<&'a Tensor, ModelError> {
        self.get(index)
            .ok_or_else(|| self.wrong(format!("input {index} is missing")))
    }

    /// Type and extents of output 0.
    pub fn output(&self) -> Result<&'a (DType, Shape), ModelError> {
        self.outputs
            .first()
            .ok_or_else(|| self.wrong("no output is computed"))
    }

    /// Output 0 from its elements, alone.
    pub fn single(&self, data: Data) -> Result<Vec<Tensor>, ModelError> {
        Ok(vec![Tensor::new(self.output()?.1.clone(), data)?])
    }

    /// The shape rule's view of the inputs, every value known.
    pub fn known(&self) -> Vec<Option<ShapeInput<'a>>> {
        let inputs = self.inputs.iter();
        inputs.map(|input| input.map(ShapeInput::of)).collect()
    }

    /// Elements of input `index` for an output of the given extents: `place`
    /// tells from a position of the output where its element stands in the
    /// input; `None` is zero.
    pub fn take(
        &self,
        index: usize,
        output: &Shape,
        mut place: impl FnMut(&[usize]) -> Option<usize>,
    ) -> Result<Data, ModelError> {
        fn take<T: Element>(
            x: &[T],
            output: &Shape,
            place: &mut dyn FnMut(&[usize]) -> Option<usize>,
        ) -> Data {
            let mut at = vec![0; output.rank()];
            let mut y = Vec::new();
            for _ in 0..output.elements() {
                y.push(place(&at).map_or(T::ZERO, |i| x[i]));
                advance(&mut at, output);
            }
            T::wrap(y)
        }
        let x = self.need(index)?;
        Ok(
            match_data!(x.data(), v => take(v, output, &mut place), other => {
                return Err(self.no_type(index, other.dtype()));
            }),
        )
    }

    /// The values of a floating-point input as f32 (f64 is rounded).
    pub fn floats(&self, index: usize) -> Result<Vec<f32>, ModelError> {
        match self.need(index)?.data() {
            Data::F32(v) => Ok(v.clone()),
            Data::F64(v) => Ok(v.iter().map(|&x| x as f32).collect()),
            Data::F16(v) => Ok(v.iter().map(|x| x.to_f32()).collect()),
            Data::BF16(v) => Ok(v.iter().map(|x| x.to_f32()).collect()),
            other => Err(self.no_type(index, other.dtype())),
        }
    }

    /// The values of a floating-point input as f64, exactly.
    pub fn doubles(&self, index: usize) -> Result<Vec<f64>, ModelError> {
        let data = self.need(index)?.data();
        super::cast::doubles(data).ok_or_else(|| self.no_type(index, data.dtype()))
    }

    /// The values of an integer input of at most 32 bits as i32.
    pub fn integers(&self, index: usize) -> Result<Vec<i32>, ModelError> {
        match self.need(index)?.data() {
            Data::I8(v) => Ok(v.iter().map(|&x| x.into()).collect()),
            Data::U8(v) => Ok(v.iter().map(|&x| x.into()).collect()),
            Data::I16(v) => Ok(v.iter().map(|&x| x.into()).collect()),
            Data::U16(v) => Ok(v.iter().map(|&x| x.into()).collect()),
            Data::I32(v) => Ok(v.clone()),
            other => Err(self.no_type(index, other.dtype())),
        }
    }

    /// Elements of a floating-point type from f64, rounded once.
    pub fn round_doubles(&self, to: DType, values: Vec<f64>) -> Result<Data, ModelError> {
        match to {
            DType::F32 => Ok(Data::F32(values.iter().map(|&x| x as f32).collect())),
            DType::F64 => Ok(Data::F64(values)),
            DType::F16 => Ok(Data::F16(
                values.iter().map(|&x| f16::from_f64(x)).collect(),
            )),
            DType::BF16 => Ok(Data::BF16(
                values.iter().map(|&x| bf16::from_f64(x)).collect(),
            )),
            other => Err(self.unsupported(format!("output of type {other}"))),
        }
    }

    /// Elements of a floating-point type from f32.
    pub fn round_floats(&self, to: DType, values: Vec<f32>) -> Result<Data, ModelError> {
        match to {
            DType::F32 => Ok(Data::F32(values)),
            DType::F64 => Ok(Data::F64(values.iter().map(|&x| f64::from(x)).collect())),
            DType::F16 => Ok(Data::F16(
                values.iter().map(|&x| f16::from_f32(x)).collect(),
            )),
            DType::BF16 => Ok(Data::BF16(
                values.iter().map(|&x| bf16::from_f32(x)).collect(),
            )),
            other => Err(self.unsupported(format!("output of type {other}"))),
        }
    }

    /// Elements of an integer type of at most 32 bits; out of range saturates.
    pub fn round_integers(&self, to: DType, values: Vec<i32>) -> Result<Data, ModelError> {
        fn narrow<T: TryFrom<i32> + Copy>(values: &[i32], least: T, most: T) -> Vec<T> {
            values
                .iter()
                .map(|&v| T::try_from(v).unwrap_or(if v < 0 { least } else { most }))
                .collect()
        }
        match to {
            DType::I8 => Ok(Data::I8(narrow(&values, i8::MIN, i8::MAX))),
            DType::U8 => Ok(Data::U8(narrow(&values, u8::MIN, u8::MAX))),
            DType::I16 => Ok(Data::I16(narrow(&values, i16::MIN, i16::MAX))),
            DType::U16 => Ok(Data::U16(narrow(&values, u16::MIN, u16::MAX))),
            DType::I32 => Ok(Data::I32(values)),
            other => Err(self.unsupported(format!("output of type {other}"))),
        }
    }

    pub fn no_type(&self, index: usize, found: DType) -> ModelError {
        self.unsupported(format!("input {index} of type {found}"))
    }

    pub fn wrong(&self, reason: impl Into<String>) -> ModelError {
        ModelError::at(self.node, reason)
    }

    pub fn unsupported(&self, reason: impl Into<String>) -> ModelError {
        ModelError::unsupported(self.node, reason)
    }
}

/// The floating-point types.
pub(super) const FLOATS: &[DType] = &[DType::F32, DType::F64, DType::F16, DType::BF16];

/// Every type with arithmetic.
pub(super) const NUMBERS: &[DType] = &[
    DType::F32,
    DType::F64,
    DType::F16,
    DType::BF16,
    DType::I8,
    DType::U8,
    DType::I16,
    DType::U16,
    DType::I32,
    DType::U32,
    DType::I64,
    DType::U64,
];
