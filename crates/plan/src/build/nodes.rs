//! The steps of a node, other than the multiplying layers.

use super::{Build, Cost, following};
use crate::PlanError;
use crate::draft::{Arithmetic, Clamp, Fused, OnCodes};
use crate::geometry::{touches_image, window2d};
use crate::layer::Linear;
use crate::lower::{clamp_of, foldable};
use crate::packed::kernel_clamp;
use crate::plan::{Action, Choice, Layout, Operand};
use secateur_kernels::{Affine, Function, PadCount};
use secateur_model::ops::{self, ShapeInput, TypedShape};
use secateur_model::{Constant, DType, ModelError, Node, Op, Shape, Tensor, Window};
use std::sync::Arc;

impl<'p> Build<'p> {
    /// Plans a node.
    pub(super) fn node(&mut self, node: &'p Node) -> Result<(), PlanError> {
        let fused = self.planner.draft().fused(node);
        if fused == Fused::default() && self.evaluate_now(node)? {
            return Ok(());
        }
        let outputs = self.infer(node, fused)?;
        let planned = self.codes(node, fused, &outputs)?
            || self.kernel_for(node, fused, &outputs)?
            || self.movement(node, &outputs)?
            || self.resample(node, &outputs)?
            || self.borders(node, &outputs)?
            || self.elementwise(node, fused.clamp, &outputs)?
            || self.lanes(node, &outputs)?
            || self.product(node, &outputs)?
            || self.transposed(node, fused, &outputs)?
            || self.recurrent(node, &outputs)?
            || self.gather(node, &outputs)?;
        if !planned {
            self.reference(node, fused, &outputs)?;
        }
        Ok(())
    }

    /// Evaluates a node whose inputs are known, which includes the shape of
    /// anything.
    fn evaluate_now(&mut self, node: &Node) -> Result<bool, PlanError> {
        if let (Op::Shape { start, end }, Some(input), [output]) =
            (&node.op, node.input(0), node.outputs.as_slice())
            && let Some(value) = self.values.get(input)
        {
            let dims = slice_of(value.shape.dims(), *start, *end);
            let tensor = Tensor::i64(&[dims.len()], dims)?;
            self.define_known(output, Arc::new(tensor));
            return Ok(true);
        }
        let all_known = (0..node.inputs.len())
            .filter_map(|i| node.input(i))
            .all(|name| self.is_known(name));
        if node.inputs.is_empty() || !all_known {
            return Ok(false);
        }
        let known: Vec<Option<Arc<Tensor>>> = (0..node.inputs.len())
            .map(|i| node.input(i).and_then(|name| self.known(name)))
            .collect();
        let inputs: Vec<Option<&Tensor>> = known.iter().map(Option::as_deref).collect();
        let Some(elements) = foldable(node, &inputs, self.folded)? else {
            return Ok(false);
        };
        self.folded += elements;
        for (output, tensor) in node.outputs.iter().zip(ops::evaluate(node, &inputs)?) {
            self.define_known(output, Arc::new(tensor));
        }
        Ok(true)
    }

    /// Types and extents of a node's outputs; an integer layer has the extents
    /// of the float layer that it stands for.
    fn infer(&self, node: &Node, fused: Fused) -> Result<Vec<TypedShape>, PlanError> {
        let constants = &self.planner.draft().graph.constants;
        // Inputs that are codes where the operator has floats.
        let codes = match fused.arithmetic {
            Arithmetic::Float | Arithmetic::Codes(OnCodes::Table) => 0,
            Arithmetic::Integer { .. } | Arithmetic::Codes(OnCodes::Mean { .. }) => 1,
            Arithmetic::Codes(OnCodes::Sum { .. } | OnCodes::Product { .. }) => 2,
        };
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for index in 0..node.inputs.len() {
            let Some(name) = node.input(index) else {
                inputs.push(None);
                continue;
            };
            let mut input = match (self.values.get(name), constants.get(name)) {
                (Some(value), _) => match &value.known {
                    Some(tensor) => ShapeInput::of(tensor),
                    None => ShapeInput::new(value.dtype, value.shape.clone()),
                },
                (None, Some(Constant::Tensor(tensor))) => ShapeInput::of(tensor),
                (None, Some(Constant::Weight(w))) => ShapeInput::new(DType::F32, w.shape().clone()),
                (None, None) => return Err(missing(name).into()),
            };
            if index < codes {
                input.dtype = DType::F32;
            }
            inputs.push(Some(input));
        }
        if fused.arithmetic == Arithmetic::Codes(OnCodes::Table)
            && let [Some(codes), Some(table)] = &inputs[..]
        {
            return Ok(vec![(table.dtype, codes.shape.clone())]);
        }
        let mut outputs = ops::infer(node, &inputs)?;
        let y = match fused.arithmetic {
            Arithmetic::Integer { y, .. }
            | Arithmetic::Codes(OnCodes::Mean { y, .. } | OnCodes::Product { y, .. }) => y,
            Arithmetic::Codes(OnCodes::Sum { y, .. }) => Some(y),
            Arithmetic::Float | Arithmetic::Codes(OnCodes::Table) => None,
        };
        if let (Some(y), Some(first)) = (y, outputs.first_mut()) {
            first.0 = y.dtype;
        }
        Ok(outputs)
    }

    /// Adds the steps of the kernels for a node; `false` where there are none.
    fn kernel_for(
        &mut self,
        node: &'p Node,
        fused: Fused,
        outputs: &[TypedShape],
    ) -> Result<bool, PlanError> {
        let draft = self.planner.draft();
        let (Some(x), Some(y), [(dtype, shape)]) = (node.input(0), node.output(0), outputs) else {
            return Ok(false);
        };
        if !self.values.contains_key(x) {
            return Ok(false);
        }
        let x_type = self.value(x)?.dtype;
        match &node.op {
            Op::Conv { .. } | Op::Gemm { .. } | Op::MatMul => match Linear::of(draft, node) {
                Ok(linear) => return self.linear(node, linear, fused, (*dtype, shape)),
                Err(_) => return Ok(false),
            },
            Op::Flatten { .. } | Op::Reshape { .. } | Op::Squeeze | Op::Unsqueeze => {
                self.define_reshaped(y, x, shape)?;
            }
            Op::Cast { .. } if x_type == *dtype => self.define_reshaped(y, x, shape)?,
            Op::MaxPool { window, .. } => return self.pool(node, window, None, shape),
            Op::GlobalMaxPool if x_type != DType::F32 => {
                let plane = self.value(x)?.shape.dims().get(2..).unwrap_or(&[]);
                let plane = Window::new(plane);
                return self.pool(node, &plane, None, shape);
            }
            Op::AveragePool {
                window,
                count_include_pad,
            } => {
                let count = match count_include_pad {
                    true => PadCount::Include,
                    false => PadCount::Exclude,
                };
                return self.pool(node, window, Some(count), shape);
            }
            Op::GlobalAveragePool if x_type == DType::F32 && shape.rank() == 4 => {
                let (from, [batch, ..]) = self.channels_last(x)?;
                let to = self.define(y, *dtype, shape, Layout::ChannelsLast)?;
                let action = Action::GlobalAveragePool { batch };
                self.simple(&node.name, action, &[from], to, "global_average_pool");
            }
            Op::Relu | Op::Clip if x_type == DType::F32 => {
                let Ok(Some(clamp)) = clamp_of(draft, node) else {
                    return Ok(false);
                };
                let clamp = kernel_clamp(clamp).map_err(|e| Self::kernel_error(node, e))?;
                let action = Action::Map {
                    function: Function::Clamp(clamp),
                    codes: None,
                };
                self.unary(node, action, *dtype, shape, "clamp")?;
            }
            Op::QuantizeLinear { .. } | Op::DequantizeLinear { .. } => {
                let Some(q) = draft.quantization(node) else {
                    return Ok(false);
                };
                let affine =
                    Affine::new(q.scale, q.zero_point).map_err(|e| Self::kernel_error(node, e))?;
                let quantize = matches!(node.op, Op::QuantizeLinear { .. });
                let (action, kernel, codes) = match quantize {
                    true => (Action::Quantize(affine), "quantize", *dtype),
                    false => (Action::Dequantize(affine), "dequantize", x_type),
                };
                let real = if quantize { x_type } else { *dtype };
                if codes != q.dtype || real != DType::F32 {
                    return Ok(false);
                }
                // Bytes turn at a quarter of the cost of what is made of them.
                let layout = match quantize || !draft.is_output(y) {
                    true => self.present_layout(x),
                    false => Layout::Plain,
                };
                let from = self.in_layout(x, layout)?;
                let result = following::Result {
                    node,
                    name: y,
                    dtype: *dtype,
                    shape,
                    layout,
                };
                if !(quantize && self.quantize_behind(result, affine, from)) {
                    let to = self.define(y, *dtype, shape, layout)?;
                    self.simple(&node.name, action, &[from], to, kernel);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// One value to one value of the same shape, in the layout that is there.
    pub(super) fn unary(
        &mut self,
        node: &Node,
        action: Action,
        dtype: DType,
        shape: &Shape,
        kernel: &str,
    ) -> Result<(), PlanError> {
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
            return Err(missing(&node.name).into());
        };
        let layout = self.present_layout(x);
        let from = self.in_layout(x, layout)?;
        let to = self.define(y, dtype, shape, layout)?;
        self.simple(&node.name, action, &[from], to, kernel);
        Ok(())
    }

    /// A pool: of means where `count` is given, else of maxima.
    fn pool(
        &mut self,
        node: &Node,
        window: &Window,
        count: Option<PadCount>,
        shape: &Shape,
    ) -> Result<bool, PlanError> {
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
            return Ok(false);
        };
        let dtype = self.value(x)?.dtype;
        let has_kernel = match count {
            None => matches!(dtype, DType::F32 | DType::U8 | DType::I8),
            Some(_) => dtype == DType::F32,
        };
        let (&[batch, channels, h, w], &[_, _, oh, ow], &[kh, kw]) = (
            self.value(x)?.shape.dims(),
            shape.dims(),
            &window.kernel[..],
        ) else {
            return Ok(false);
        };
        let placed = window2d(window, [kh, kw], channels, [h, w], [oh, ow]);
        let Some(window) = placed.filter(|p| has_kernel && touches_image(p)) else {
            return Ok(false);
        };
        let (from, _) = self.channels_last(x)?;
        let to = self.define(y, dtype, shape, Layout::ChannelsLast)?;
        let (action, kernel) = match count {
            None => (Action::MaxPool { window, batch }, "max_pool"),
            Some(count) => (
                Action::AveragePool {
                    window,
                    batch,
                    count,
                },
                "average_pool",
            ),
        };
        self.simple(&node.name, action, &[from], to, kernel);
        Ok(true)
    }

    /// A step that the model's reference evaluates.
    fn reference(
        &mut self,
        node: &Node,
        fused: Fused,
        outputs: &[TypedShape],
    ) -> Result<(), PlanError> {
        if fused.arithmetic != Arithmetic::Float {
            let reason = "it has no integer kernel of these extents";
            return Err(ModelError::unsupported(node, reason).into());
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for index in 0..node.inputs.len() {
            inputs.push(self.operand(node.input(index))?);
        }
        let mut results = Vec::with_capacity(outputs.len());
        for (index, (dtype, shape)) in outputs.iter().enumerate() {
            let unnamed = format!("{} output {index}", node.name);
            let name = node.output(index).unwrap_or(&unnamed);
            results.push(self.define(name, *dtype, shape, Layout::Plain)?);
        }
        let choice = Choice {
            kernel: "reference".into(),
            reason: format!("{} of these inputs has no kernel", node.op.name()),
            refused: Vec::new(),
        };
        let shapes: Vec<Option<Shape>> = inputs.iter().map(|i| self.shape_of(i)).collect();
        let shapes: Vec<Option<&Shape>> = shapes.iter().map(Option::as_ref).collect();
        let macs = ops::macs(node, &shapes);
        let cost = Cost {
            macs,
            nonzero_macs: macs,
            ..Cost::default()
        };
        let action = Action::Reference(Box::new(node.clone()));
        self.step(&node.name, action, inputs, results.clone(), choice, cost);
        if fused.clamp != Clamp::NONE
            && let (Some(&from), Some((dtype, shape)), Some(y)) =
                (results.first(), outputs.first(), node.output(0))
        {
            let to = self.define(y, *dtype, shape, Layout::Plain)?;
            let name = format!("{}: bounds", node.name);
            let clamp = kernel_clamp(fused.clamp).map_err(|e| Self::kernel_error(node, e))?;
            let action = Action::Map {
                function: Function::Clamp(clamp),
                codes: None,
            };
            self.simple(&name, action, &[from], to, "clamp");
        }
        Ok(())
    }

    fn shape_of(&self, operand: &Operand) -> Option<Shape> {
        match operand {
            Operand::Absent => None,
            Operand::Buffer(b) => Some(self.buffers[*b].shape.clone()),
            Operand::Constant(tensor) => Some(tensor.shape().clone()),
        }
    }
}

/// The extents from `start` to `end`, counted from the end where negative.
fn slice_of(dims: &[usize], start: i64, end: Option<i64>) -> Vec<i64> {
    let rank = dims.len() as i64;
    let place = |at: i64| {
        let at = if at < 0 { at.saturating_add(rank) } else { at };
        at.clamp(0, rank) as usize
    };
    let (start, end) = (place(start), place(end.unwrap_or(rank)));
    dims[start.min(end)..end]
        .iter()
        .map(|&d| d as i64)
        .collect()
}

fn missing(name: &str) -> ModelError {
    ModelError::Graph(format!("nothing computes `{name}`"))
}
