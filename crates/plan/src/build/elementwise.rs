//! Operators on elements by themselves: functions of one and of two numbers,
//! Where, Cast.

use super::Build;
use super::place::Place;
use crate::PlanError;
use crate::draft::Clamp;
use crate::packed::kernel_clamp;
use crate::plan::{Action, Layout, Operand};
use secateur_kernels::{Binary, Function};
use secateur_model::ops::TypedShape;
use secateur_model::{self as model, Activation, DType, Math, Node, Op, Shape, Variadic};

impl Build<'_> {
    /// Adds the step of a node that computes each element by itself; `false`
    /// where it does something else, or on other types than kernels have.
    pub(super) fn elementwise(
        &mut self,
        node: &Node,
        clamp: Clamp,
        outputs: &[TypedShape],
    ) -> Result<bool, PlanError> {
        let (Some(x), [(dtype, shape)]) = (node.input(0), outputs) else {
            return Ok(false);
        };
        if let Some(function) = binary_of(&node.op) {
            return self.binary(node, function, clamp, shape);
        }
        if clamp != Clamp::NONE {
            return Ok(false);
        }
        if matches!(node.op, Op::Where) {
            return self.select(node, *dtype, shape);
        }
        let Some(from) = self.values.get(x).map(|value| value.dtype) else {
            return Ok(false);
        };
        match (&node.op, function_of(&node.op)) {
            (_, Some(function)) if from == DType::F32 => {
                self.unary(
                    node,
                    Action::Map {
                        function,
                        codes: None,
                    },
                    *dtype,
                    shape,
                    "map",
                )?;
            }
            (Op::Cast { .. }, _) if has_cast(from, *dtype) => {
                self.unary(node, Action::Cast, *dtype, shape, "cast")?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn binary(
        &mut self,
        node: &Node,
        function: Binary,
        clamp: Clamp,
        shape: &Shape,
    ) -> Result<bool, PlanError> {
        let (Some(a), Some(b), 2) = (node.input(0), node.input(1), node.inputs.len()) else {
            return Ok(false);
        };
        if !self.are([a, b], DType::F32)? {
            return Ok(false);
        }
        if clamp == Clamp::NONE && self.scale_behind_product(node, function, shape)? {
            return Ok(true);
        }
        let refused = |e| Self::kernel_error(node, e);
        let clamp = kernel_clamp(clamp).map_err(refused)?;
        let layout = self.layout_of([a, b], shape);
        let [(a, at_a), (b, at_b)] = [self.placed(a, layout)?, self.placed(b, layout)?];
        let to = Place::new(shape, layout);
        let Ok(nest) = to.nest([&at_a, &at_b]) else {
            return Ok(false);
        };
        let action = Action::Binary {
            function,
            nest,
            clamp,
        };
        self.broadcast(node, action, vec![a, b], (DType::F32, shape, layout))
    }

    fn select(&mut self, node: &Node, dtype: DType, shape: &Shape) -> Result<bool, PlanError> {
        let (Some(condition), Some(a), Some(b)) = (node.input(0), node.input(1), node.input(2))
        else {
            return Ok(false);
        };
        let bytes = matches!(dtype.size_bytes(), Some(1 | 2 | 4 | 8));
        let halves = matches!(dtype, DType::F16 | DType::BF16);
        if !bytes || halves || !self.are([condition], DType::Bool)? || !self.are([a, b], dtype)? {
            return Ok(false);
        }
        let layout = self.layout_of([condition, a, b], shape);
        let [(c, at_c), (a, at_a), (b, at_b)] = [
            self.placed(condition, layout)?,
            self.placed(a, layout)?,
            self.placed(b, layout)?,
        ];
        let to = Place::new(shape, layout);
        let Ok(nest) = to.nest([&at_c, &at_a, &at_b]) else {
            return Ok(false);
        };
        let action = Action::Select(nest);
        self.broadcast(node, action, vec![c, a, b], (dtype, shape, layout))
    }

    fn broadcast(
        &mut self,
        node: &Node,
        action: Action,
        inputs: Vec<Operand>,
        (dtype, shape, layout): (DType, &Shape, Layout),
    ) -> Result<bool, PlanError> {
        let Some(output) = node.output(0) else {
            return Ok(false);
        };
        let to = self.define(output, dtype, shape, layout)?;
        self.unweighted(&node.name, action, inputs, to, "broadcast");
        Ok(true)
    }

    fn are<const N: usize>(&self, names: [&str; N], dtype: DType) -> Result<bool, PlanError> {
        for name in names {
            if self.described(name)?.0 != dtype {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The layout in which an operator on several values writes: that of its
    /// images.
    fn layout_of<const N: usize>(&self, names: [&str; N], shape: &Shape) -> Layout {
        let last = |name: &&str| self.layout_of_images(name) == Layout::ChannelsLast;
        match shape.rank() == 4 && names.iter().any(last) {
            true => Layout::ChannelsLast,
            false => Layout::Plain,
        }
    }

    /// An operand, images in a layout, and where its elements lie.
    fn placed(&mut self, name: &str, layout: Layout) -> Result<(Operand, Place), PlanError> {
        if let Some(tensor) = self.known(name) {
            let place = Place::new(tensor.shape(), Layout::Plain);
            return Ok((Operand::Constant(tensor), place));
        }
        let shape = self.shape_of_value(name)?;
        let layout = match shape.rank() {
            4 => layout,
            _ => Layout::Plain,
        };
        let buffer = self.in_layout(name, layout)?;
        Ok((Operand::Buffer(buffer), Place::new(&shape, layout)))
    }
}

fn binary_of(op: &Op) -> Option<Binary> {
    Some(match op {
        Op::Add | Op::Variadic(Variadic::Sum) => Binary::Add,
        Op::Sub => Binary::Sub,
        Op::Mul => Binary::Mul,
        Op::Div => Binary::Div,
        Op::PRelu => Binary::PRelu,
        Op::Variadic(Variadic::Max) => Binary::Max,
        Op::Variadic(Variadic::Min) => Binary::Min,
        Op::Binary(model::Binary::Pow) => Binary::Pow,
        _ => return None,
    })
}

fn function_of(op: &Op) -> Option<Function> {
    Some(match *op {
        Op::LeakyRelu { alpha } => Function::LeakyRelu { alpha },
        Op::Sigmoid => Function::Sigmoid,
        Op::Tanh => Function::Tanh,
        Op::Activation {
            kind,
            parameters: [alpha, beta],
        } => match kind {
            Activation::Elu => Function::Elu { alpha },
            Activation::Gelu => Function::Gelu,
            Activation::GeluTanh => Function::GeluTanh,
            Activation::HardSigmoid => Function::HardSigmoid { alpha, beta },
            Activation::HardSwish => Function::HardSwish,
            Activation::Swish => Function::Swish { alpha },
            _ => return None,
        },
        Op::Math(kind) => match kind {
            Math::Abs => Function::Abs,
            Math::Ceil => Function::Ceil,
            Math::Erf => Function::Erf,
            Math::Exp => Function::Exp,
            Math::Floor => Function::Floor,
            Math::Neg => Function::Neg,
            Math::Reciprocal => Function::Reciprocal,
            Math::Round => Function::Round,
            Math::Sqrt => Function::Sqrt,
            _ => return None,
        },
        _ => return None,
    })
}

/// Casts that have a kernel.
fn has_cast(from: DType, to: DType) -> bool {
    use DType::{Bool, F32, I32, I64, U8};
    matches!(
        (from, to),
        (I64 | I32 | U8 | Bool, F32) | (F32, I64 | I32) | (I32 | Bool, I64) | (I64, I32)
    )
}
