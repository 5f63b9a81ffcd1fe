//! One node: its operands, and what computes it.

use super::{
    Mode, Value, elementwise, function, layout, linear, norm, reduce, unsupported, window,
};
use crate::TrainError;
use crate::ops;
use burn::tensor::activation;
use secateur_model::{Constant, Data, Graph, Node, Op, PadMode, Tensor, Variadic};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

/// A node with what it may read.
pub(super) struct Operands<'a> {
    pub graph: &'a Graph,
    pub node: &'a Node,
    /// Place of the node in the graph.
    pub index: usize,
    pub values: &'a RefCell<HashMap<String, Value>>,
    /// How many still read each value, this node among them.
    pub readers: &'a HashMap<&'a str, usize>,
    pub parameters: &'a HashMap<String, Value>,
    /// Values that hang on constants and extents alone, and others that are no floats.
    pub fixed: &'a HashMap<&'a str, Tensor>,
    /// Extents of the first output, as inferred.
    pub dims: &'a [usize],
}

impl<'a> Operands<'a> {
    /// Whether an input hangs on the batch or on a parameter.
    pub fn any_computed(&self) -> bool {
        self.node.reads().any(|name| self.computed(name).is_some())
    }

    /// Whether the reference gives what is asked for: no gradient of an input, and nothing that is
    /// otherwise while training.
    pub fn may_be_by_reference(&self) -> bool {
        let traced = |name| {
            self.computed(name)
                .is_some_and(|value| value.flat.is_autodiff())
        };
        let of_mode = matches!(self.node.op, Op::Dropout | Op::BatchNormalization { .. });
        !of_mode && !self.node.reads().any(traced)
    }

    /// What was computed, or is a parameter.
    fn computed(&self, name: &str) -> Option<Value> {
        let values = self.values.borrow();
        values
            .get(name)
            .or_else(|| self.parameters.get(name))
            .cloned()
    }

    /// An input, given up where nothing else reads it, so that its memory can hold the result. The operator must
    /// not be refused after that: the reference would miss it.
    pub fn take(&self, index: usize) -> Result<Value, TrainError> {
        let name = self.node.input(index).unwrap_or_default();
        if self.readers.get(name) == Some(&1)
            && let Some(value) = self.values.borrow_mut().remove(name)
        {
            return Ok(value);
        }
        self.value(index)
    }

    pub fn value(&self, index: usize) -> Result<Value, TrainError> {
        self.optional(index)
            .ok_or_else(|| unsupported(self.node, format!("input {index} is no float value")))
    }

    pub fn optional(&self, index: usize) -> Option<Value> {
        let name = self.node.input(index)?;
        if let Some(value) = self.computed(name) {
            return Some(value);
        }
        let tensor = self.tensor(index)?;
        let values = tensor.as_f32().ok()?.to_vec();
        Some(Value::new(values, tensor.shape().dims()))
    }

    /// An input that hangs on constants and extents alone.
    pub fn tensor(&self, index: usize) -> Option<Cow<'a, Tensor>> {
        let name = self.node.input(index)?;
        match (self.fixed.get(name), self.graph.constants.get(name)) {
            (Some(tensor), _) | (None, Some(Constant::Tensor(tensor))) => {
                Some(Cow::Borrowed(tensor))
            }
            (None, Some(Constant::Weight(weight))) => Some(Cow::Owned(weight.to_tensor())),
            (None, None) => None,
        }
    }

    /// An input, whatever it hangs on.
    pub fn as_tensor(&self, index: usize) -> Result<Option<Cow<'a, Tensor>>, TrainError> {
        let Some(name) = self.node.input(index) else {
            return Ok(None);
        };
        match self.computed(name) {
            Some(value) => Ok(Some(Cow::Owned(Tensor::f32(&value.dims, value.to_vec())?))),
            None => Ok(self.tensor(index)),
        }
    }

    /// Integers of such an input.
    pub fn integers(&self, index: usize) -> Option<Vec<i64>> {
        match self.tensor(index)?.data() {
            Data::I64(v) => Some(v.clone()),
            Data::I32(v) => Some(v.iter().map(|&x| i64::from(x)).collect()),
            Data::U8(v) => Some(v.iter().map(|&x| i64::from(x)).collect()),
            Data::I8(v) => Some(v.iter().map(|&x| i64::from(x)).collect()),
            Data::U16(v) => Some(v.iter().map(|&x| i64::from(x)).collect()),
            Data::I16(v) => Some(v.iter().map(|&x| i64::from(x)).collect()),
            _ => None,
        }
    }

    /// The number in such an input; `default` where the node has none.
    pub fn scalar_or(&self, index: usize, default: f32) -> Result<f32, TrainError> {
        let Some(name) = self.node.input(index) else {
            return Ok(default);
        };
        self.tensor(index)
            .and_then(|tensor| tensor.as_f32().ok()?.first().copied())
            .ok_or_else(|| unsupported(self.node, format!("`{name}` must be a constant number")))
    }

    /// An axis of `rank` counted from either end.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, TrainError> {
        let from_start = if axis < 0 { axis + rank as i64 } else { axis };
        usize::try_from(from_start)
            .ok()
            .filter(|&axis| axis < rank.max(1))
            .ok_or_else(|| unsupported(self.node, format!("axis {axis} of rank {rank}")))
    }
}

/// The node's outputs: those that gradients can flow through.
pub(super) fn apply(o: &Operands<'_>, mode: &mut Mode<'_>) -> Result<Vec<Value>, TrainError> {
    match o.node.op {
        Op::Split { axis, .. } => layout::split(o, axis),
        _ => Ok(vec![first(o, mode)?]),
    }
}

fn first(o: &Operands<'_>, mode: &mut Mode<'_>) -> Result<Value, TrainError> {
    let node = o.node;
    let without = || unsupported(node, "no gradient for this operator or attribute");
    let of_one = |result: Option<burn::tensor::Tensor<1>>| -> Result<Value, TrainError> {
        Ok(Value::flat(result.ok_or_else(without)?, o.dims))
    };
    Ok(match &node.op {
        Op::Add if o.value(0)?.dims == o.value(1)?.dims => {
            Value::flat(ops::sum_of_two(o.take(0)?.flat, o.take(1)?.flat), o.dims)
        }
        Op::Add => elementwise::binary(&o.value(0)?, &o.value(1)?, o, |a, b| a + b)?,
        Op::Sub => elementwise::binary(&o.value(0)?, &o.value(1)?, o, |a, b| a - b)?,
        Op::Mul => elementwise::binary(&o.value(0)?, &o.value(1)?, o, |a, b| a * b)?,
        Op::Div => elementwise::binary(&o.value(0)?, &o.value(1)?, o, |a, b| a / b)?,
        Op::Variadic(Variadic::Max) => elementwise::fold(o, |a, b| a.max_pair(b))?,
        Op::Variadic(Variadic::Min) => elementwise::fold(o, |a, b| a.min_pair(b))?,
        Op::Variadic(Variadic::Sum) => elementwise::fold(o, |a, b| a + b)?,
        Op::PRelu => elementwise::binary(&o.value(0)?, &o.value(1)?, o, |x, slope| {
            activation::relu(x.clone()) + x.clamp_max(0.0) * slope
        })?,
        Op::Activation { kind, parameters } => {
            of_one(function::activation(*kind, *parameters, o.value(0)?.flat))?
        }
        Op::Math(kind) => of_one(function::math(*kind, o.value(0)?.flat))?,
        Op::Relu => Value::flat(ops::relu(o.take(0)?.flat), o.dims),
        Op::Sigmoid => o.value(0)?.map(activation::sigmoid),
        Op::Tanh => o.value(0)?.map(activation::tanh),
        Op::LeakyRelu { alpha } => {
            let alpha = f64::from(*alpha);
            o.value(0)?.map(|t| activation::leaky_relu(t, alpha))
        }
        Op::Clip => {
            let low = o.scalar_or(1, f32::NEG_INFINITY)?;
            let high = o.scalar_or(2, f32::INFINITY)?;
            // Bounds may cross; then the upper one holds.
            o.value(0)?.map(|t| t.clamp_min(low).clamp_max(high))
        }
        Op::Dropout => match mode {
            Mode::Train {
                dropout: Some(dropout),
                ..
            } => elementwise::dropout(o, dropout)?,
            _ => o.value(0)?,
        },
        Op::QuantizeLinear { .. } => elementwise::fake_quantize(o)?,
        Op::Identity | Op::DequantizeLinear { .. } => o.value(0)?,
        Op::Cast { to } if *to == secateur_model::DType::F32 => o.value(0)?,
        Op::Flatten { .. } | Op::Reshape { .. } | Op::Squeeze | Op::Unsqueeze => {
            o.value(0)?.reshaped(o.dims)
        }
        Op::Transpose { perm } => layout::transpose(o, perm.as_deref())?,
        Op::Slice => layout::slice(o)?,
        Op::Concat { axis } => layout::concat(o, *axis)?,
        Op::Pad {
            mode: PadMode::Constant,
        } => layout::pad(o)?,
        Op::Gemm {
            alpha,
            beta,
            trans_a,
            trans_b,
        } => linear::gemm(o, [*trans_a, *trans_b], *alpha, *beta)?,
        Op::MatMul => linear::matmul(o)?,
        Op::Conv { window, groups } => window::conv(o, window, *groups)?,
        Op::MaxPool { window, .. } => window::max_pool(o, window)?,
        Op::AveragePool {
            window,
            count_include_pad,
        } => window::average_pool(o, window, *count_include_pad)?,
        Op::GlobalAveragePool => {
            let (x, rows) = window::planes(o)?;
            Value::of(x.shaped(rows).mean_dim(1), o.dims)
        }
        Op::GlobalMaxPool => {
            let (x, rows) = window::planes(o)?;
            Value::of(x.shaped(rows).max_dim(1), o.dims)
        }
        Op::BatchNormalization { epsilon } => norm::batch_norm(o, *epsilon, mode)?,
        Op::LayerNormalization { axis, epsilon } => norm::layer_norm(o, *axis, *epsilon)?,
        Op::Reduce {
            kind,
            noop_with_empty_axes,
            ..
        } => reduce::reduce(o, *kind, *noop_with_empty_axes)?,
        Op::Softmax { axis, flattened } => norm::softmax(o, *axis, *flattened)?,
        _ => return Err(without()),
    })
}
