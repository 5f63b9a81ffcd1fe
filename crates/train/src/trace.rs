//! A graph executed on the tensor library, so that gradients flow.
//!
//! A value is a flat tensor with its extents beside it; each operator reshapes
//! on use, so there are no module structs and no rank parameters.

use crate::TrainError;
use crate::ops::{self, ConvGeometry, LinearGeometry, PoolGeometry};
use burn::tensor::activation;
use burn::tensor::module;
use burn::tensor::{Tensor, TensorData};
use secateur_model::{AutoPad, Constant, DType, Data, Graph, Node, Op, Window};
use std::collections::HashMap;
use std::sync::Arc;

/// A flat tensor and its extents.
#[derive(Clone)]
pub(crate) struct Value {
    pub flat: Tensor<1>,
    pub dims: Vec<usize>,
}

/// Batch statistics of one normalisation, to update its running ones.
pub(crate) struct BatchStatistics {
    pub mean_name: String,
    pub variance_name: String,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// What a run is for.
pub(crate) enum Mode<'a> {
    /// Running statistics are used.
    Evaluate,
    /// Batch statistics are used, and collected.
    Train(&'a mut Vec<BatchStatistics>),
}

impl Value {
    pub(crate) fn new(values: Vec<f32>, dims: &[usize]) -> Self {
        let device = burn::tensor::Device::flex();
        let data = TensorData::new(values, [dims.iter().product::<usize>()]);
        Self {
            flat: Tensor::from_data(data, &device),
            dims: dims.to_vec(),
        }
    }

    pub(crate) fn parameter(values: Vec<f32>, dims: &[usize]) -> Self {
        let value = Self::new(values, dims);
        Self {
            flat: value.flat.autodiff().require_grad(),
            ..value
        }
    }

    pub(crate) fn to_vec(&self) -> Vec<f32> {
        to_vec(self.flat.clone())
    }

    fn shaped<const D: usize>(&self, node: &Node) -> Result<Tensor<D>, TrainError> {
        let dims: [usize; D] = self.dims.as_slice().try_into().map_err(|_| {
            unsupported(
                node,
                format!("rank {D} is needed, found {}", self.dims.len()),
            )
        })?;
        Ok(self.flat.clone().reshape(dims))
    }

    fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let dims = tensor.dims().to_vec();
        let elements: usize = dims.iter().product();
        Self {
            flat: tensor.reshape([elements]),
            dims,
        }
    }

    fn map(&self, f: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Self {
        Self {
            flat: f(self.flat.clone()),
            dims: self.dims.clone(),
        }
    }

    fn reshaped(&self, dims: Vec<usize>, node: &Node) -> Result<Self, TrainError> {
        if dims.iter().product::<usize>() != self.dims.iter().product::<usize>() {
            return Err(unsupported(
                node,
                format!("{:?} does not reshape to {dims:?}", self.dims),
            ));
        }
        Ok(Self {
            flat: self.flat.clone(),
            dims,
        })
    }
}

pub(crate) fn to_vec(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap_or_default()
}

fn unsupported(node: &Node, reason: impl Into<String>) -> TrainError {
    TrainError::Unsupported {
        node: node.name.clone(),
        op: node.op.name().to_owned(),
        reason: reason.into(),
    }
}

/// Runs the graph on one batch; gives the values in `wanted`. Others are
/// dropped after their last reader.
///
/// `parameters` are the weights as they stand; what is not among them is read
/// from the graph's constants.
pub(crate) fn run(
    graph: &Graph,
    input: Value,
    parameters: &HashMap<String, Value>,
    mut mode: Mode<'_>,
    wanted: &[String],
) -> Result<HashMap<String, Value>, TrainError> {
    let name = graph
        .inputs
        .first()
        .map(|i| i.name.clone())
        .unwrap_or_default();
    let mut readers: HashMap<&str, usize> = HashMap::new();
    let reads = graph.nodes.iter().flat_map(Node::reads);
    reads
        .chain(wanted.iter().map(String::as_str))
        .for_each(|name| *readers.entry(name).or_default() += 1);
    let mut values = HashMap::from([(name, input)]);
    for node in &graph.nodes {
        let output = evaluate(graph, node, &values, parameters, &mut mode)?;
        if let Some(name) = node.output(0) {
            values.insert(name.to_owned(), output);
        }
        for name in node.reads() {
            let left = readers.entry(name).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                values.remove(name);
            }
        }
    }
    Ok(values)
}

struct Context<'a> {
    graph: &'a Graph,
    node: &'a Node,
    values: &'a HashMap<String, Value>,
    parameters: &'a HashMap<String, Value>,
}

impl Context<'_> {
    fn input(&self, index: usize) -> Result<Value, TrainError> {
        self.optional(index)
            .ok_or_else(|| unsupported(self.node, format!("input {index} is no float value")))
    }

    fn optional(&self, index: usize) -> Option<Value> {
        let name = self.node.input(index)?;
        if let Some(value) = self.values.get(name).or_else(|| self.parameters.get(name)) {
            return Some(value.clone());
        }
        let tensor = self.graph.constants.get(name)?.to_tensor();
        let values = tensor.as_f32().ok()?.to_vec();
        Some(Value::new(values, tensor.shape().dims()))
    }

    /// Integers of a constant input.
    fn integers(&self, index: usize) -> Option<Vec<i64>> {
        match self.graph.constants.get(self.node.input(index)?)? {
            Constant::Tensor(tensor) => match tensor.data() {
                Data::I64(v) => Some(v.clone()),
                Data::I32(v) => Some(v.iter().map(|&x| i64::from(x)).collect()),
                Data::U8(v) => Some(v.iter().map(|&x| i64::from(x)).collect()),
                Data::I8(v) => Some(v.iter().map(|&x| i64::from(x)).collect()),
                _ => None,
            },
            Constant::Weight(_) => None,
        }
    }

    fn scalar(&self, index: usize) -> Option<f32> {
        let tensor = self
            .graph
            .constants
            .get(self.node.input(index)?)?
            .to_tensor();
        tensor.as_f32().ok()?.first().copied()
    }
}

fn evaluate(
    graph: &Graph,
    node: &Node,
    values: &HashMap<String, Value>,
    parameters: &HashMap<String, Value>,
    mode: &mut Mode<'_>,
) -> Result<Value, TrainError> {
    let c = Context {
        graph,
        node,
        values,
        parameters,
    };
    let x = c.input(0)?;
    Ok(match &node.op {
        Op::Identity | Op::Dropout | Op::DequantizeLinear { .. } => x,
        Op::Relu => x.map(activation::relu),
        Op::LeakyRelu { alpha } => x.map(|t| activation::leaky_relu(t, f64::from(*alpha))),
        Op::Sigmoid => x.map(activation::sigmoid),
        Op::Tanh => x.map(activation::tanh),
        Op::Clip => {
            let low = c.scalar(1).unwrap_or(f32::NEG_INFINITY);
            let high = c.scalar(2).unwrap_or(f32::INFINITY);
            x.map(|t| t.clamp(low, high))
        }
        Op::Softmax {
            axis,
            flattened: false,
        } if *axis == -1 || *axis == x.dims.len() as i64 - 1 => {
            let columns = x.dims.last().copied().unwrap_or(1);
            let rows = x.dims.iter().product::<usize>() / columns.max(1);
            let flat = activation::softmax(x.flat.clone().reshape([rows, columns]), 1);
            Value {
                flat: flat.reshape([rows * columns]),
                dims: x.dims,
            }
        }
        Op::QuantizeLinear { .. } => fake_quantize(&c, &x)?,
        Op::Flatten { axis } => {
            let rank = x.dims.len() as i64;
            let split = (if *axis < 0 { axis + rank } else { *axis }).clamp(0, rank) as usize;
            let dims = vec![
                x.dims[..split].iter().product(),
                x.dims[split..].iter().product(),
            ];
            x.reshaped(dims, node)?
        }
        Op::Reshape { allow_zero: false } => {
            let wanted = c
                .integers(1)
                .ok_or_else(|| unsupported(node, "the shape must be constant"))?;
            let total: usize = x.dims.iter().product();
            let mut dims: Vec<usize> = wanted
                .iter()
                .enumerate()
                .map(|(i, &d)| match d {
                    0 => x.dims.get(i).copied().unwrap_or(0),
                    d if d > 0 => d as usize,
                    _ => 1,
                })
                .collect();
            if let Some(open) = wanted.iter().position(|&d| d < 0) {
                dims[open] = total / dims.iter().product::<usize>().max(1);
            }
            x.reshaped(dims, node)?
        }
        Op::Transpose { perm } => transpose(&x, perm.as_deref(), node)?,
        Op::Add => binary(&x, &c.input(1)?, node, |a, b| a + b)?,
        Op::Sub => binary(&x, &c.input(1)?, node, |a, b| a - b)?,
        Op::Mul => binary(&x, &c.input(1)?, node, |a, b| a * b)?,
        Op::Div => binary(&x, &c.input(1)?, node, |a, b| a / b)?,
        Op::Concat { axis } => {
            let rank = x.dims.len();
            let axis = (if *axis < 0 { axis + rank as i64 } else { *axis })
                .clamp(0, rank as i64 - 1) as usize;
            let parts: Vec<Value> = (0..node.inputs.len())
                .map(|i| c.input(i))
                .collect::<Result<_, _>>()?;
            match rank {
                2 => Value::of(Tensor::cat(shaped_all::<2>(&parts, node)?, axis)),
                4 => Value::of(Tensor::cat(shaped_all::<4>(&parts, node)?, axis)),
                _ => return Err(unsupported(node, format!("rank {rank}"))),
            }
        }
        Op::Gemm {
            alpha,
            beta,
            trans_a,
            trans_b,
        } => {
            let b = c.input(1)?;
            let geometry = matrices(&x, &b, [*trans_a, *trans_b], *alpha, node)?;
            let [rows, columns] = [geometry.rows, geometry.columns];
            let dims = vec![rows, columns];
            let scaled = c.optional(2).map(|bias| match *beta {
                1.0 => bias,
                beta => bias.map(|t| t * beta),
            });
            let row = |bias: &Value| {
                bias.dims.last() == Some(&columns) && bias.dims.iter().product::<usize>() == columns
            };
            let flat = |bias| ops::linear(x.flat.clone(), b.flat.clone(), bias, geometry);
            match scaled {
                Some(bias) if row(&bias) => Value {
                    flat: flat(bias.flat),
                    dims,
                },
                rest => {
                    let none = Value::new(vec![0.0; columns], &[columns]);
                    let y = Value {
                        flat: flat(none.flat),
                        dims,
                    };
                    match rest {
                        Some(bias) => binary(&y, &bias, node, |a, b| a + b)?,
                        None => y,
                    }
                }
            }
        }
        Op::MatMul => {
            let b = c.input(1)?;
            let geometry = matrices(&x, &b, [false, false], 1.0, node)?;
            let none = Value::new(vec![0.0; geometry.columns], &[geometry.columns]);
            Value {
                flat: ops::linear(x.flat, b.flat, none.flat, geometry),
                dims: vec![geometry.rows, geometry.columns],
            }
        }
        Op::Conv { window, groups } => {
            let weight = c.input(1)?;
            let placed = Placed::new(window, weight.dims.get(2..).unwrap_or(&[]), &x.dims, node)?;
            let geometry = placed.convolution(&x.dims, &weight.dims, *groups, node)?;
            let bias = match c.optional(2) {
                Some(bias) => bias,
                None => Value::new(vec![0.0; geometry.output[0]], &geometry.output[..1]),
            };
            Value::of(ops::conv2d(x.flat, weight.flat, bias.flat, geometry))
        }
        Op::MaxPool { window, .. } => {
            let placed = Placed::new(window, &window.kernel, &x.dims, node)?;
            let geometry = placed.pooling(&x.dims, node)?;
            Value {
                dims: placed.output_dims(&x.dims),
                flat: ops::max_pool(x.flat, geometry),
            }
        }
        Op::AveragePool {
            window,
            count_include_pad,
        } => {
            let placed = Placed::new(window, &window.kernel, &x.dims, node)?;
            let geometry = placed.pooling(&x.dims, node)?;
            Value {
                dims: placed.output_dims(&x.dims),
                flat: ops::average_pool(x.flat, geometry, *count_include_pad),
            }
        }
        Op::GlobalAveragePool => Value::of(x.shaped::<4>(node)?.mean_dims(&[2, 3])),
        Op::BatchNormalization { epsilon } => {
            let parts: Vec<Value> = (1..5).map(|i| c.input(i)).collect::<Result<_, _>>()?;
            let [scale, bias, mean, variance] = [0, 1, 2, 3].map(|i| parts[i].flat.clone());
            let epsilon = f64::from(*epsilon);
            match mode {
                Mode::Evaluate => Value::of(module::batch_norm(
                    x.shaped::<4>(node)?,
                    scale,
                    bias,
                    mean,
                    variance,
                    epsilon,
                )),
                Mode::Train(statistics) => {
                    let &[_, channels, ref spatial @ ..] = x.dims.as_slice() else {
                        return Err(unsupported(node, "[n, c, …] is needed"));
                    };
                    let pixels = spatial.iter().product();
                    let moments = Arc::new(ops::moments(x.flat.clone(), channels, pixels));
                    statistics.push(BatchStatistics {
                        mean_name: node.inputs[3].clone(),
                        variance_name: node.inputs[4].clone(),
                        mean: moments.mean.clone(),
                        variance: moments.variance.clone(),
                    });
                    x.map(|t| ops::batch_norm(t, scale, bias, moments, pixels, epsilon as f32))
                }
            }
        }
        _ => {
            return Err(unsupported(
                node,
                "no gradient for this operator or attribute",
            ));
        }
    })
}

/// Rounds to the byte grid; the gradient goes straight through inside the
/// range and is zero outside (Bengio et al. 2013).
fn fake_quantize(c: &Context<'_>, x: &Value) -> Result<Value, TrainError> {
    let constant = |index| {
        c.node
            .input(index)
            .and_then(|name| c.graph.constants.get(name))
    };
    let scale = constant(1)
        .map(Constant::to_tensor)
        .filter(|t| t.shape().elements() == 1)
        .and_then(|_| c.scalar(1))
        .ok_or_else(|| unsupported(c.node, "one constant scale is needed"))?;
    let zero = c.integers(2).and_then(|z| z.first().copied()).unwrap_or(0) as f32;
    let byte = constant(2).map_or(DType::U8, |zero| zero.to_tensor().dtype());
    let (lo, hi) = match byte {
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        other => {
            return Err(unsupported(
                c.node,
                format!("bytes are needed, found {other}"),
            ));
        }
    };
    let clipped = x
        .flat
        .clone()
        .clamp((lo - zero) * scale, (hi - zero) * scale);
    let grid = clipped
        .clone()
        .detach()
        .div_scalar(scale)
        .round()
        .mul_scalar(scale);
    let flat = clipped.clone() + (grid - clipped.detach());
    Ok(Value {
        flat,
        dims: x.dims.clone(),
    })
}

fn shaped_all<const D: usize>(parts: &[Value], node: &Node) -> Result<Vec<Tensor<D>>, TrainError> {
    parts.iter().map(|p| p.shaped(node)).collect()
}

fn transpose(x: &Value, perm: Option<&[usize]>, node: &Node) -> Result<Value, TrainError> {
    let reversed: Vec<usize> = (0..x.dims.len()).rev().collect();
    let perm = perm.unwrap_or(&reversed);
    fn turn<const D: usize>(x: &Value, perm: &[usize], node: &Node) -> Result<Value, TrainError> {
        let axes: [usize; D] = perm
            .try_into()
            .map_err(|_| unsupported(node, "the permutation has another rank"))?;
        Ok(Value::of(
            x.shaped::<D>(node)?.permute(axes.map(|a| a as isize)),
        ))
    }
    match x.dims.len() {
        2 => turn::<2>(x, perm, node),
        3 => turn::<3>(x, perm, node),
        4 => turn::<4>(x, perm, node),
        rank => Err(unsupported(node, format!("rank {rank}"))),
    }
}

/// An elementwise operator with NumPy's broadcasting, up to rank 4.
fn binary(
    a: &Value,
    b: &Value,
    node: &Node,
    f: impl FnOnce(Tensor<4>, Tensor<4>) -> Tensor<4>,
) -> Result<Value, TrainError> {
    let rank = a.dims.len().max(b.dims.len());
    let wide = |v: &Value| -> Result<[usize; 4], TrainError> {
        let mut dims = vec![1; 4usize.saturating_sub(v.dims.len())];
        dims.extend(&v.dims);
        dims.try_into()
            .map_err(|_| unsupported(node, format!("rank {rank}")))
    };
    let (da, db) = (wide(a)?, wide(b)?);
    if da
        .iter()
        .zip(&db)
        .any(|(&x, &y)| x != y && x != 1 && y != 1)
    {
        return Err(unsupported(
            node,
            format!("{:?} and {:?} do not broadcast", a.dims, b.dims),
        ));
    }
    let out = f(a.flat.clone().reshape(da), b.flat.clone().reshape(db));
    let mut value = Value::of(out);
    value.dims.drain(..4 - rank);
    Ok(value)
}

/// Extents of a product of two matrices.
fn matrices(
    a: &Value,
    b: &Value,
    exchanged: [bool; 2],
    alpha: f32,
    node: &Node,
) -> Result<LinearGeometry, TrainError> {
    let turned = |dims: &[usize], exchanged: bool| match dims {
        &[rows, columns] if exchanged => Some([columns, rows]),
        &[rows, columns] => Some([rows, columns]),
        _ => None,
    };
    match (turned(&a.dims, exchanged[0]), turned(&b.dims, exchanged[1])) {
        (Some([rows, inner]), Some([same, columns])) if inner == same => Ok(LinearGeometry {
            rows,
            inner,
            columns,
            exchanged,
            alpha,
        }),
        _ => Err(unsupported(
            node,
            format!("{:?} and {:?} do not multiply", a.dims, b.dims),
        )),
    }
}

/// A window on an image, all defaults filled in.
struct Placed {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [(usize, usize); 2],
    output: [usize; 2],
}

impl Placed {
    fn new(
        window: &Window,
        kernel: &[usize],
        dims: &[usize],
        node: &Node,
    ) -> Result<Self, TrainError> {
        let &[_, _, h, w] = dims else {
            return Err(unsupported(
                node,
                format!("[n, c, h, w] is needed, found {dims:?}"),
            ));
        };
        let pair = |list: &[usize]| match list {
            [] => Ok([1, 1]),
            &[a, b] if a > 0 && b > 0 => Ok([a, b]),
            _ => Err(unsupported(node, "the window must have two axes")),
        };
        let kernel = pair(kernel)?;
        let (stride, dilation) = (pair(&window.strides)?, pair(&window.dilations)?);
        let padding = match (window.auto_pad, window.pads.as_slice()) {
            (AutoPad::Valid, _) | (AutoPad::NotSet, []) => [(0, 0); 2],
            (AutoPad::NotSet, &[top, left, bottom, right]) => [(top, bottom), (left, right)],
            (AutoPad::NotSet, _) => return Err(unsupported(node, "four pads are needed")),
            (same, _) => [0, 1].map(|axis| {
                let extent = [h, w][axis];
                let span = extent.div_ceil(stride[axis]).saturating_sub(1) * stride[axis]
                    + (kernel[axis] - 1) * dilation[axis]
                    + 1;
                let total = span.saturating_sub(extent);
                match same {
                    AutoPad::SameLower => (total.div_ceil(2), total / 2),
                    _ => (total / 2, total.div_ceil(2)),
                }
            }),
        };
        let mut output = [0; 2];
        for (axis, extent) in [h, w].into_iter().enumerate() {
            let (before, after) = padding[axis];
            let room = (extent + before + after)
                .checked_sub((kernel[axis] - 1) * dilation[axis] + 1)
                .ok_or_else(|| {
                    unsupported(node, format!("a window of {kernel:?} does not fit {h}x{w}"))
                })?;
            output[axis] = room / stride[axis] + 1;
            // A last window may reach beyond the padding, not begin there.
            let more = window.ceil_mode && window.auto_pad == AutoPad::NotSet;
            if more && room % stride[axis] != 0 && output[axis] * stride[axis] < extent + before {
                output[axis] += 1;
            }
        }
        Ok(Self {
            kernel,
            stride,
            dilation,
            padding,
            output,
        })
    }

    fn output_dims(&self, dims: &[usize]) -> Vec<usize> {
        [&dims[..2], &self.output].concat()
    }

    fn convolution(
        &self,
        dims: &[usize],
        weight: &[usize],
        groups: usize,
        node: &Node,
    ) -> Result<ConvGeometry, TrainError> {
        match (dims, weight) {
            (&[images, c, h, w], &[m, part, _, _])
                if groups > 0 && c == part * groups && m % groups == 0 =>
            {
                Ok(ConvGeometry {
                    images,
                    input: [c, h, w],
                    output: [m, self.output[0], self.output[1]],
                    kernel: self.kernel,
                    stride: self.stride,
                    dilation: self.dilation,
                    before: self.padding.map(|(before, _)| before),
                    groups,
                })
            }
            _ => Err(unsupported(
                node,
                format!("weights {weight:?} in {groups} groups do not fit {dims:?}"),
            )),
        }
    }

    fn pooling(&self, dims: &[usize], node: &Node) -> Result<PoolGeometry, TrainError> {
        let &[n, c, h, w] = dims else {
            return Err(unsupported(node, "[n, c, h, w] is needed"));
        };
        let geometry = PoolGeometry {
            planes: n * c,
            input: [h, w],
            output: self.output,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            padding: self.padding,
        };
        if !geometry.covered() {
            return Err(unsupported(node, "a window lies wholly in the padding"));
        }
        Ok(geometry)
    }
}
