//! Channels whose value is known beforehand: the same at every place, for every input.

use super::shapes::Shapes;
use secateur_model::{Constant, Graph, Node, Op, Shape, Tensor, Weight, ops};
use std::collections::{BTreeMap, HashMap};

/// What is known of a value's channels.
#[derive(Debug, Clone)]
pub(super) struct Level {
    /// The axis of the channels.
    pub(super) axis: usize,
    /// One element a channel, the other extents 1; 0 where it is not known.
    tensor: Tensor,
    /// Which channels are known.
    known: Vec<bool>,
}

impl Level {
    /// The value of a channel, if it is known and a number.
    pub(super) fn value(&self, channel: usize) -> Option<f32> {
        let known = self.known.get(channel).copied().unwrap_or_default();
        self.tensor
            .as_f32()
            .ok()?
            .get(channel)
            .copied()
            .filter(|_| known)
    }

    fn of(axis: usize, rank: usize, values: &[Option<f32>]) -> Option<Self> {
        let mut dims = vec![1; rank];
        *dims.get_mut(axis)? = values.len();
        let tensor = Tensor::f32(&dims, values.iter().map(|v| v.unwrap_or(0.0)).collect());
        Some(Self {
            axis,
            tensor: tensor.ok()?,
            known: values.iter().map(Option::is_some).collect(),
        })
    }

    fn values(&self) -> Vec<Option<f32>> {
        (0..self.known.len()).map(|c| self.value(c)).collect()
    }

    /// The same with only those channels known that are zero.
    fn zeros(&self) -> Option<Self> {
        let values: Vec<Option<f32>> = self
            .values()
            .iter()
            .map(|v| v.filter(|v| *v == 0.0))
            .collect();
        Self::of(self.axis, self.tensor.shape().rank(), &values)
    }
}

/// What is known of every value.
pub(super) fn levels(graph: &Graph, inputs: &[(&str, Shape)]) -> BTreeMap<String, Level> {
    let mut shapes = Shapes::new(graph, inputs);
    let mut levels = BTreeMap::new();
    for node in &graph.nodes {
        if shapes.walk(node).is_err() {
            continue;
        }
        if let Some(output) = node.output(0)
            && let Some(level) = level(graph, &shapes, &levels, node)
            && level.known.contains(&true)
        {
            levels.insert(output.to_owned(), level);
        }
    }
    levels
}

fn level(
    graph: &Graph,
    shapes: &Shapes<'_>,
    levels: &BTreeMap<String, Level>,
    node: &Node,
) -> Option<Level> {
    let input = node.input(0)?;
    let rank = shapes.shape(node.output(0)?)?.rank();
    let first = levels.get(input);
    match &node.op {
        Op::Conv { .. } | Op::Gemm { .. } | Op::MatMul => {
            let reader = Reader::of(graph, node)?;
            let axis = if reader.is_image {
                1
            } else {
                rank.checked_sub(1)?
            };
            let first = first.filter(|level| level.axis == axis);
            Level::of(axis, rank, &reader.outputs(graph, node, first))
        }
        Op::MaxPool { .. } | Op::GlobalAveragePool | Op::GlobalMaxPool => first.cloned(),
        Op::AveragePool {
            window,
            count_include_pad,
        } => match !count_include_pad || unpadded(&node.op) && !window.ceil_mode {
            true => first.cloned(),
            false => first?.zeros(),
        },
        Op::Resize(resize) => first?.zeros().filter(|_| resize.extrapolation == 0.0),
        Op::Pad { .. } => {
            let fill = match node.input(2) {
                None => 0.0,
                Some(_) => *shapes.constant(node.input(2)?)?.as_f32().ok()?.first()?,
            };
            let same = shapes.shape(input)?.get(first?.axis)
                == shapes.shape(node.output(0)?)?.get(first?.axis);
            first?.zeros().filter(|_| fill == 0.0 && same)
        }
        Op::Flatten { .. } | Op::Reshape { .. } | Op::Squeeze | Op::Unsqueeze => {
            flattened(first?, shapes.shape(input)?, shapes.shape(node.output(0)?)?)
        }
        Op::Transpose { perm } => {
            let level = first?;
            let axis = match perm {
                Some(perm) => perm.iter().position(|&at| at == level.axis)?,
                None => rank - 1 - level.axis,
            };
            Level::of(axis, rank, &level.values())
        }
        Op::Concat { axis } => {
            let axis = usize::try_from(if *axis < 0 { axis + rank as i64 } else { *axis }).ok()?;
            let mut values = Vec::new();
            for name in &node.inputs {
                let extent = *shapes.shape(name)?.get(axis)?;
                match levels.get(name) {
                    Some(level) if level.axis == axis => values.extend(level.values()),
                    _ => values.resize(values.len() + extent, None),
                }
            }
            Level::of(axis, rank, &values)
        }
        Op::Relu
        | Op::LeakyRelu { .. }
        | Op::Sigmoid
        | Op::Tanh
        | Op::Clip
        | Op::Activation { .. }
        | Op::Math(_)
        | Op::Cast { .. }
        | Op::Identity
        | Op::Dropout
        | Op::BatchNormalization { .. }
        | Op::QuantizeLinear { .. }
        | Op::DequantizeLinear { .. }
        | Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Div
        | Op::PRelu => elementwise(graph, levels, node, rank),
        _ => None,
    }
}

/// Computes one element a channel with the operator itself.
fn elementwise(
    graph: &Graph,
    levels: &BTreeMap<String, Level>,
    node: &Node,
    rank: usize,
) -> Option<Level> {
    let from_end = |level: &Level| level.tensor.shape().rank() - level.axis;
    let read = node.inputs.iter().filter_map(|name| levels.get(name));
    let channels = read.map(|l| (from_end(l), l.known.len())).next()?;
    let mut known = vec![true; channels.1];
    let mut tensors: HashMap<&str, Tensor> = HashMap::new();
    for name in node.inputs.iter().filter(|n| !n.is_empty()) {
        if let Some(level) = levels.get(name) {
            if (from_end(level), level.known.len()) != channels {
                return None;
            }
            known
                .iter_mut()
                .zip(&level.known)
                .for_each(|(k, l)| *k &= l);
            tensors.insert(name, level.tensor.clone());
        } else {
            // Of constants, what is no vector of channels would make other extents.
            tensors.insert(name, graph.constants.get(name)?.to_tensor());
        }
    }
    let read: Vec<Option<&Tensor>> = node
        .inputs
        .iter()
        .map(|n| tensors.get(n.as_str()))
        .collect();
    let mut first_only = node.clone();
    first_only.outputs.truncate(1);
    let tensor = ops::evaluate(&first_only, &read).ok()?.pop()?;
    let axis = rank.checked_sub(channels.0)?;
    let mut dims = vec![1; rank];
    *dims.get_mut(axis)? = channels.1;
    let finite = tensor
        .as_f32()
        .map_or(true, |v| v.iter().all(|x| x.is_finite()));
    (tensor.shape().dims() == dims && finite).then_some(Level {
        axis,
        tensor,
        known,
    })
}

/// Channels of `[n, c, …]` as `[n, c · …]`, or beside extents of 1.
fn flattened(level: &Level, from: &Shape, to: &Shape) -> Option<Level> {
    let channels = level.known.len();
    let before: usize = from[..level.axis].iter().product();
    let run: usize = from[level.axis + 1..].iter().product();
    let mut rows = 1;
    let axis = to.iter().position(|&extent| {
        let here = rows == before && extent == channels * run;
        rows *= extent;
        here
    })?;
    let values: Vec<Option<f32>> = level
        .values()
        .into_iter()
        .flat_map(|value| std::iter::repeat_n(value, run))
        .collect();
    Level::of(axis, to.rank(), &values)
}

/// Whether every window lies within the input.
fn unpadded(op: &Op) -> bool {
    use secateur_model::AutoPad;
    match op {
        Op::Conv { window, .. } | Op::AveragePool { window, .. } => {
            matches!(window.auto_pad, AutoPad::NotSet | AutoPad::Valid)
                && window.pads.iter().all(|&p| p == 0)
        }
        _ => true,
    }
}

/// A layer with a constant weight, as a matrix of what it reads.
pub(super) struct Reader {
    /// Whether what it reads is `[n, c, spatial…]`, else features are the last axis.
    is_image: bool,
    groups: usize,
    /// Whether an input that is known has the same share in every output.
    exact: bool,
    /// Sums over the taps, `[outputs, inputs of a group]`.
    sums: Vec<f64>,
    /// Whether any tap is not zero.
    reads: Vec<bool>,
    columns: usize,
}

impl Reader {
    /// `None` where the node is no such layer, or is scaled.
    pub(super) fn of(graph: &Graph, node: &Node) -> Option<Self> {
        let (name, weight) = graph.kernel_of(node)?;
        if graph.inputs.iter().any(|input| input.name == name) {
            return None;
        }
        let dims = weight.shape().dims();
        if dims.len() < 2 {
            return None;
        }
        match &node.op {
            Op::Conv { groups, .. } => Some(Self::rows(weight, true, *groups, unpadded(&node.op))),
            Op::Gemm {
                alpha: 1.0,
                beta: 1.0,
                trans_a: false,
                trans_b,
            } if dims.len() == 2 => match trans_b {
                true => Some(Self::rows(weight, false, 1, true)),
                false => Some(Self::transposed(weight)),
            },
            Op::MatMul if dims.len() == 2 => Some(Self::transposed(weight)),
            _ => None,
        }
    }

    fn rows(weight: &Weight, is_image: bool, groups: usize, exact: bool) -> Self {
        let dims = weight.shape().dims();
        let taps: usize = dims[2..].iter().product();
        let values = weight.to_f32();
        let chunks = values.chunks(taps.max(1));
        Self {
            is_image,
            groups,
            exact,
            sums: chunks
                .clone()
                .map(|c| c.iter().map(|&v| f64::from(v)).sum())
                .collect(),
            reads: chunks.map(|c| c.iter().any(|&v| v != 0.0)).collect(),
            columns: dims[1],
        }
    }

    fn transposed(weight: &Weight) -> Self {
        let (depth, outputs) = weight.matrix();
        let values = weight.to_f32();
        let at = |o: usize, i: usize| values[i * outputs + o];
        let each = || (0..outputs).flat_map(|o| (0..depth).map(move |i| (o, i)));
        Self {
            is_image: false,
            groups: 1,
            exact: true,
            sums: each().map(|(o, i)| f64::from(at(o, i))).collect(),
            reads: each().map(|(o, i)| at(o, i) != 0.0).collect(),
            columns: depth,
        }
    }

    fn outputs_len(&self) -> usize {
        self.sums.len() / self.columns.max(1)
    }

    /// Channels that it reads (ungrouped).
    pub(super) fn inputs(&self) -> usize {
        self.columns
    }

    /// Whether any output reads an input channel (ungrouped).
    pub(super) fn reads(&self, input: usize) -> bool {
        (0..self.outputs_len()).any(|o| self.reads[o * self.columns + input])
    }

    /// Whether a value that is known can be put into the layer's bias.
    pub(super) fn folds(&self, graph: &Graph, node: &Node) -> bool {
        self.exact && bias(graph, node, self.outputs_len()).is_some()
    }

    /// What each output gains from an input channel of this value (ungrouped).
    pub(super) fn share(&self, input: usize, value: f32) -> Vec<f64> {
        (0..self.outputs_len())
            .map(|o| self.sums[o * self.columns + input] * f64::from(value))
            .collect()
    }

    /// The outputs that hang on nothing that is not known.
    fn outputs(&self, graph: &Graph, node: &Node, input: Option<&Level>) -> Vec<Option<f32>> {
        let outputs = self.outputs_len();
        let bias = match bias(graph, node, outputs) {
            Some(bias) => bias,
            None => return vec![None; outputs],
        };
        let per_group = (outputs / self.groups.max(1)).max(1);
        let one = |o: usize| {
            let mut sum = f64::from(bias[o]);
            for i in (0..self.columns).filter(|i| self.reads[o * self.columns + i]) {
                let value = input?.value(o / per_group * self.columns + i)?;
                if value != 0.0 && !self.exact {
                    return None;
                }
                sum += self.sums[o * self.columns + i] * f64::from(value);
            }
            Some(sum as f32).filter(|sum| sum.is_finite())
        };
        (0..outputs).map(one).collect()
    }
}

/// A layer's bias, zeros where it has none; `None` where it is not known.
pub(super) fn bias(graph: &Graph, node: &Node, outputs: usize) -> Option<Vec<f32>> {
    let Some(name) = node.input(2) else {
        return Some(vec![0.0; outputs]);
    };
    if graph.inputs.iter().any(|input| input.name == name) {
        return None;
    }
    let bias = match graph.constants.get(name)? {
        Constant::Weight(weight) if weight.shape().rank() == 1 => weight.to_f32(),
        Constant::Tensor(tensor) if tensor.shape().rank() == 1 => tensor.as_f32().ok()?.to_vec(),
        _ => return None,
    };
    (bias.len() == outputs).then_some(bias)
}
