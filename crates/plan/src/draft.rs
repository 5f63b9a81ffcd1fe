//! A graph on its way to a plan: nodes, and what they have absorbed.

use crate::lower::Skip;
use secateur_model::{Constant, DType, Graph, ModelError, Node, Op, Tensor};
use std::collections::BTreeMap;

/// A per-tensor quantization of an activation: `value = (q − zero_point) · scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantization {
    /// What one step is worth.
    pub scale: f32,
    /// The code of 0.
    pub zero_point: i32,
    /// `U8` or `I8`.
    pub dtype: DType,
}

impl Quantization {
    /// The smallest and the largest code.
    pub fn limits(&self) -> (i32, i32) {
        match self.dtype {
            DType::I8 => (-128, 127),
            _ => (0, 255),
        }
    }

    /// The code of a value.
    pub fn code(&self, value: f32) -> i32 {
        let (lo, hi) = self.limits();
        secateur_model::quant::quantize(value, self.scale, self.zero_point, lo, hi)
    }
}

/// Bounds on a layer's output: a fused Relu or Clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clamp {
    /// The smallest value that leaves the layer.
    pub lo: f32,
    /// The largest value that leaves the layer.
    pub hi: f32,
}

impl Clamp {
    /// No bounds.
    pub const NONE: Self = Self {
        lo: f32::NEG_INFINITY,
        hi: f32::INFINITY,
    };
    /// Relu.
    pub const RELU: Self = Self {
        lo: 0.0,
        hi: f32::INFINITY,
    };

    /// This, then `next`.
    pub fn then(self, next: Self) -> Self {
        let within = |x: f32| x.max(next.lo).min(next.hi);
        Self {
            lo: within(self.lo),
            hi: within(self.hi),
        }
    }

    /// A value within the bounds.
    pub fn apply(&self, x: f32) -> f32 {
        // As comparisons and not `max`, so that a NaN stays one.
        let x = if x < self.lo { self.lo } else { x };
        if x > self.hi { self.hi } else { x }
    }
}

/// How a layer computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arithmetic {
    /// In f32.
    Float,
    /// On codes: the input as `x` says, an exact i32 sum, and the output as
    /// `y` says, or dequantized to f32 where nothing quantizes it.
    Integer {
        /// The input's codes.
        x: Quantization,
        /// The output's codes.
        y: Option<Quantization>,
    },
    /// On codes, but without a weight.
    Codes(OnCodes),
}

/// What a node without a weight does to codes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OnCodes {
    /// The sum of two tensors of codes, as codes:
    /// `saturate(round(fma(a − za, sa/sy, (b − zb) · (sb/sy))) + zy)`.
    Sum {
        /// The first addend's codes.
        a: Quantization,
        /// The second addend's codes.
        b: Quantization,
        /// The sum's codes.
        y: Quantization,
    },
    /// The mean of codes, its quotient rounded to f32, times `sx/sy` to codes or
    /// times `sx` to f32 where nothing quantizes it.
    Mean {
        /// The input's codes.
        x: Quantization,
        /// The output's codes.
        y: Option<Quantization>,
    },
    /// Of each code what the table, the second input, has at its bits.
    Table,
    /// The product of two tensors of codes, neither a weight: an exact sum,
    /// times `sa·sb/sy` to codes or times `sa·sb` to f32.
    Product {
        /// The first factor's codes.
        a: Quantization,
        /// The second factor's codes.
        b: Quantization,
        /// The output's codes.
        y: Option<Quantization>,
    },
}

impl OnCodes {
    /// What the sums of a product are multiplied by.
    pub fn product_factor(a: Quantization, b: Quantization, y: Option<Quantization>) -> f32 {
        let factor = a.scale * b.scale;
        y.map_or(factor, |y| factor / y.scale)
    }
}

/// What a node computes beyond its operator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fused {
    /// Bounds on the output.
    pub clamp: Clamp,
    /// Float or integer.
    pub arithmetic: Arithmetic,
}

impl Default for Fused {
    fn default() -> Self {
        Self {
            clamp: Clamp::NONE,
            arithmetic: Arithmetic::Float,
        }
    }
}

/// A graph on its way to a plan. A node named in `fused` is a layer: its
/// inputs and outputs are those of all that it absorbed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Draft {
    /// Values and nodes.
    pub graph: Graph,
    /// What nodes have absorbed, by node name.
    pub fused: BTreeMap<String, Fused>,
    /// Elements of all constants that nodes were folded into.
    pub folded: usize,
}

/// A change of a draft.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edit {
    /// Names of the nodes that go.
    pub removed: Vec<String>,
    /// Nodes that take the place of the node of their name, or are new.
    pub nodes: Vec<Node>,
    /// New constants.
    pub constants: Vec<(String, Constant)>,
    /// What nodes have absorbed.
    pub fused: Vec<(String, Fused)>,
    /// Values whose readers read another value.
    pub redirected: Vec<(String, String)>,
    /// Elements of the new constants that a node is folded into.
    pub folded: usize,
}

impl Draft {
    /// What a node has absorbed.
    pub fn fused(&self, node: &Node) -> Fused {
        self.fused.get(&node.name).copied().unwrap_or_default()
    }

    /// The node that computes a value.
    pub fn producer(&self, value: &str) -> Option<&Node> {
        self.graph
            .nodes
            .iter()
            .find(|n| n.outputs.iter().any(|o| o == value))
    }

    /// The nodes that read a value.
    pub fn readers(&self, value: &str) -> Vec<&Node> {
        self.graph
            .nodes
            .iter()
            .filter(|n| n.reads().any(|i| i == value))
            .collect()
    }

    /// Whether the graph gives a value out.
    pub fn is_output(&self, value: &str) -> bool {
        self.graph.outputs.iter().any(|o| o.name == value)
    }

    /// The only reader of a value that is no graph output.
    pub fn only_reader(&self, value: &str) -> Option<&Node> {
        match self.readers(value)[..] {
            [reader] if !self.is_output(value) => Some(reader),
            _ => None,
        }
    }

    /// A constant input as the operators see it.
    pub fn constant(&self, node: &Node, index: usize) -> Option<Tensor> {
        let constant = self.graph.constants.get(node.input(index)?)?;
        Some(constant.to_tensor())
    }

    /// A constant input that is one f32.
    pub fn scalar(&self, node: &Node, index: usize) -> Option<f32> {
        match self.constant(node, index)?.as_f32().ok()? {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// What a Mul multiplies by one f32, and that.
    pub fn scaled<'d>(&self, node: &'d Node) -> Option<(&'d str, f32)> {
        if !matches!(node.op, Op::Mul) {
            return None;
        }
        let factor = usize::from(self.scalar(node, 1).is_some());
        Some((node.input(1 - factor)?, self.scalar(node, factor)?))
    }

    /// The extents of a constant.
    pub fn extents(&self, name: &str) -> Option<&[usize]> {
        match self.graph.constants.get(name)? {
            Constant::Tensor(tensor) => Some(tensor.shape().dims()),
            Constant::Weight(weight) => Some(weight.shape().dims()),
        }
    }

    /// The per-tensor quantization that a QuantizeLinear or DequantizeLinear
    /// applies, if it is one to or from bytes with constant parameters.
    pub fn quantization(&self, node: &Node) -> Option<Quantization> {
        let to = match node.op {
            Op::QuantizeLinear {
                to, block_size: 0, ..
            } => to,
            Op::DequantizeLinear { block_size: 0, .. } => None,
            _ => return None,
        };
        let scale = self.scalar(node, 1)?;
        let (dtype, zero_point) = match node.input(2) {
            None => (to.or_else(|| self.dequantized_type(node))?, 0),
            Some(_) => match self.constant(node, 2)?.data() {
                secateur_model::Data::U8(z) if z.len() == 1 => (DType::U8, i32::from(z[0])),
                secateur_model::Data::I8(z) if z.len() == 1 => (DType::I8, i32::from(z[0])),
                _ => return None,
            },
        };
        (matches!(dtype, DType::U8 | DType::I8) && scale.is_finite() && scale > 0.0).then_some(
            Quantization {
                scale,
                zero_point,
                dtype,
            },
        )
    }

    /// Without a zero point QuantizeLinear gives u8; DequantizeLinear takes
    /// what it is given, which the quantizer before it says.
    fn dequantized_type(&self, node: &Node) -> Option<DType> {
        if matches!(node.op, Op::QuantizeLinear { .. }) {
            return Some(DType::U8);
        }
        let source = self.producer(node.input(0)?)?;
        matches!(source.op, Op::QuantizeLinear { .. })
            .then(|| self.quantization(source).map(|q| q.dtype))?
    }

    /// The edit that takes a node out of the way: readers of its first output
    /// read its first input.
    ///
    /// # Errors
    /// Where a graph output would lose its name and nothing else can have it.
    pub fn bypass(&self, node: &Node) -> Result<Edit, Skip> {
        let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
            return Err(Skip::Because("it has no input or no output".into()));
        };
        let mut edit = Edit {
            removed: vec![node.name.clone()],
            ..Edit::default()
        };
        if !self.is_output(output) {
            edit.redirected.push((output.into(), input.into()));
            return Ok(edit);
        }
        // The producer gives the graph output its name instead.
        let producer = self
            .producer(input)
            .filter(|_| !self.is_output(input))
            .ok_or_else(|| {
                Skip::Because("it renames an input, a constant or an output to an output".into())
            })?;
        let mut producer = producer.clone();
        for o in producer.outputs.iter_mut().filter(|o| *o == input) {
            *o = output.into();
        }
        edit.nodes.push(producer);
        edit.redirected.push((input.into(), output.into()));
        Ok(edit)
    }

    /// Applies an edit, then drops nodes that nothing reads any more.
    pub fn apply(&mut self, edit: Edit) {
        for name in &edit.removed {
            self.fused.remove(name);
        }
        self.graph.nodes.retain(|n| !edit.removed.contains(&n.name));
        for (from, to) in &edit.redirected {
            for node in &mut self.graph.nodes {
                for input in node.inputs.iter_mut().filter(|i| *i == from) {
                    input.clone_from(to);
                }
            }
        }
        for node in edit.nodes {
            match self.graph.nodes.iter_mut().find(|n| n.name == node.name) {
                Some(old) => *old = node,
                None => self.graph.nodes.push(node),
            }
        }
        self.graph.constants.extend(edit.constants);
        self.fused.extend(edit.fused);
        self.folded += edit.folded;
        self.drop_dead_nodes();
    }

    /// Drops nodes whose outputs nothing reads.
    pub fn drop_dead_nodes(&mut self) {
        for name in self.graph.drop_dead_nodes() {
            self.fused.remove(&name);
        }
    }

    /// Whether the draft is well formed; puts the nodes in order.
    ///
    /// # Errors
    /// What [`Graph::sort`] finds.
    pub fn check(&mut self) -> Result<(), ModelError> {
        self.graph.sort()
    }
}
