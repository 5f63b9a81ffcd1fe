//! `Q(f(DQ(x)))` is a table with an entry for each code, whatever `f` does to
//! one element: activations, products with constants, x · sigmoid(x), pairs of
//! quantizers on the way, a change of scale.

use super::Skip;
use crate::draft::{Arithmetic, Clamp, Draft, Edit, Fused, OnCodes};
use secateur_model::{Constant, DType, Data, Math, Node, Op, Shape, Tensor, Variadic, ops};
use std::collections::HashMap;

/// Nodes that one table stands for at most.
const MAX_NODES: usize = 64;

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if !matches!(node.op, Op::QuantizeLinear { .. }) {
        return Err(Skip::NotMine);
    }
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    if draft.quantization(node).is_none() || draft.graph.constants.contains_key(input) {
        return Err(Skip::NotMine);
    }
    let Some(function) = Function::of(draft, node) else {
        return Err(Skip::NotMine);
    };
    let table = function.table(draft, node).map_err(Skip::Because)?;
    let name = draft.graph.fresh_name(&format!("{output}.table"));
    let lookup = Node::new(
        node.name.clone(),
        Op::Identity,
        &[function.codes, &name],
        &[output],
    );
    let fused = Fused {
        clamp: Clamp::NONE,
        arithmetic: Arithmetic::Codes(OnCodes::Table),
    };
    Ok(Edit {
        fused: vec![(node.name.clone(), fused)],
        nodes: vec![lookup],
        constants: vec![(name, Constant::Tensor(table))],
        ..Edit::default()
    })
}

/// What nodes compute of one tensor of codes, element by element.
struct Function<'a> {
    codes: &'a str,
    dtype: DType,
    /// Every node behind its sources.
    nodes: Vec<&'a Node>,
}

impl<'a> Function<'a> {
    /// The function that ends in a quantizer, if it is of one tensor of codes.
    fn of(draft: &'a Draft, end: &'a Node) -> Option<Self> {
        let mut function = Self {
            codes: "",
            dtype: DType::U8,
            nodes: Vec::new(),
        };
        let mut leaves: Vec<(&'a str, Option<DType>)> = Vec::new();
        function.visit(draft, end, &mut leaves)?;
        // Codes that are themselves a function of other codes: an activation
        // that was quantized before it is multiplied.
        while leaves.len() > 1 {
            let at = leaves.iter().position(|(codes, _)| {
                draft.producer(codes).is_some_and(|n| {
                    is_table(draft, n) || matches!(n.op, Op::QuantizeLinear { .. })
                }) && Self::reaches_codes(draft, codes)
            })?;
            let (codes, _) = leaves.swap_remove(at);
            function.visit(draft, draft.producer(codes)?, &mut leaves)?;
        }
        // A table that nothing else reads need not be looked up by itself.
        while let [(codes, _)] = leaves[..]
            && let Some(before) = draft.producer(codes).filter(|n| is_table(draft, n))
            && draft.only_reader(codes).is_some()
        {
            leaves.clear();
            function.visit(draft, before, &mut leaves)?;
        }
        let (codes, dtype) = leaves.pop()?;
        Some(Self {
            codes,
            dtype: dtype.unwrap_or(DType::U8),
            ..function
        })
    }

    /// Whether codes are a function of other codes.
    fn reaches_codes(draft: &Draft, codes: &str) -> bool {
        let mut trial = Self {
            codes: "",
            dtype: DType::U8,
            nodes: Vec::new(),
        };
        let node = draft.producer(codes);
        node.is_some_and(|node| trial.visit(draft, node, &mut Vec::new()).is_some())
    }

    /// Adds a node behind what it reads; `None` where that is no function of
    /// codes.
    fn visit(
        &mut self,
        draft: &'a Draft,
        node: &'a Node,
        leaves: &mut Vec<(&'a str, Option<DType>)>,
    ) -> Option<()> {
        if self.nodes.iter().any(|n| n.name == node.name) {
            return Some(());
        }
        if self.nodes.len() >= MAX_NODES || !is_elementwise(draft, node) {
            return None;
        }
        let data = match node.op {
            Op::QuantizeLinear { .. } | Op::DequantizeLinear { .. } => 1,
            _ if is_table(draft, node) => 1,
            _ => node.inputs.len(),
        };
        let codes_in = matches!(node.op, Op::DequantizeLinear { .. }) || is_table(draft, node);
        for input in node.inputs.iter().take(data).filter(|i| !i.is_empty()) {
            if codes_in {
                // A dequantizer says the type; a table looks bits up, of either.
                let dtype = draft.quantization(node).map(|q| q.dtype);
                let known = leaves.iter_mut().find(|leaf| leaf.0 == input);
                match known {
                    _ if self.nodes.iter().any(|n| n.outputs.contains(input)) => {}
                    Some(leaf) => leaf.1 = leaf.1.or(dtype),
                    None => leaves.push((input, dtype)),
                }
                continue;
            }
            if let Some(constant) = draft.graph.constants.get(input) {
                is_single(constant).then_some(())?;
                continue;
            }
            self.visit(draft, draft.producer(input)?, leaves)?;
        }
        self.nodes.push(node);
        Some(())
    }

    /// The codes that it gives for all 256.
    fn table(&self, draft: &Draft, end: &Node) -> Result<Tensor, String> {
        let shape = Shape::new(&[256]).map_err(|e| e.to_string())?;
        let codes = match self.dtype {
            DType::I8 => Data::I8((0..=255u8).map(|b| b as i8).collect()),
            _ => Data::U8((0..=255).collect()),
        };
        let codes = Tensor::new(shape, codes).map_err(|e| e.to_string())?;
        let mut values: HashMap<&str, Tensor> = HashMap::from([(self.codes, codes)]);
        // Where one tensor of codes is a function of another one, the nodes
        // behind it were visited first.
        let mut waiting: Vec<&Node> = self.nodes.clone();
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut later = Vec::new();
            for node in waiting {
                match evaluate(draft, node, &values) {
                    Some(result) => {
                        let output = node.output(0).unwrap_or_default();
                        values.insert(output, result.map_err(|e| e.to_string())?);
                    }
                    None => later.push(node),
                }
            }
            waiting = later;
            if waiting.len() == before {
                return Err("its nodes have no order".into());
            }
        }
        let result = end.output(0).and_then(|o| values.remove(o));
        result
            .filter(|t| t.shape().dims() == [256])
            .ok_or_else(|| "it gives another shape".into())
    }
}

/// A node of the function; `None` while an input is not computed yet.
fn evaluate(
    draft: &Draft,
    node: &Node,
    values: &HashMap<&str, Tensor>,
) -> Option<Result<Tensor, secateur_model::ModelError>> {
    let mut owned = Vec::with_capacity(node.inputs.len());
    for input in &node.inputs {
        let value = values.get(input.as_str()).cloned();
        let constant = || Some(draft.graph.constants.get(input)?.to_tensor());
        owned.push(match input.is_empty() {
            true => None,
            false => Some(value.or_else(constant)?),
        });
    }
    if is_table(draft, node) {
        let (Some(Some(codes)), Some(Some(table))) = (owned.first(), owned.get(1)) else {
            return None;
        };
        return Some(look_up(table, codes));
    }
    let inputs: Vec<Option<&Tensor>> = owned.iter().map(Option::as_ref).collect();
    let results = ops::evaluate(node, &inputs);
    Some(results.and_then(|mut r| {
        let first = r.drain(..).next();
        first.ok_or_else(|| secateur_model::ModelError::at(node, "it gave no output"))
    }))
}

/// `table[x]` for every code, signed ones by their bits.
pub fn look_up(table: &Tensor, codes: &Tensor) -> Result<Tensor, secateur_model::ModelError> {
    let places: Vec<usize> = match codes.data() {
        Data::I8(v) => v.iter().map(|&c| usize::from(c as u8)).collect(),
        Data::U8(v) => v.iter().map(|&c| usize::from(c)).collect(),
        other => {
            return Err(secateur_model::ModelError::Type {
                what: "codes that are looked up".into(),
                needed: DType::U8,
                found: other.dtype(),
            });
        }
    };
    let data = match table.data() {
        Data::I8(v) => Data::I8(places.iter().map(|&p| v[p]).collect()),
        Data::U8(v) => Data::U8(places.iter().map(|&p| v[p]).collect()),
        other => {
            return Err(secateur_model::ModelError::Type {
                what: "a table of codes".into(),
                needed: DType::U8,
                found: other.dtype(),
            });
        }
    };
    Tensor::new(codes.shape().clone(), data)
}

fn is_table(draft: &Draft, node: &Node) -> bool {
    draft.fused(node).arithmetic == Arithmetic::Codes(OnCodes::Table)
}

/// Whether a node computes each element of its output of the same elements of
/// its inputs, in f32 or between f32 and codes.
fn is_elementwise(draft: &Draft, node: &Node) -> bool {
    if is_table(draft, node) {
        return true;
    }
    if draft.fused(node) != Fused::default() || node.outputs.len() != 1 {
        return false;
    }
    match &node.op {
        Op::QuantizeLinear { .. } | Op::DequantizeLinear { .. } => {
            draft.quantization(node).is_some()
        }
        Op::Activation { .. }
        | Op::Add
        | Op::Clip
        | Op::Div
        | Op::Identity
        | Op::LeakyRelu { .. }
        | Op::Mul
        | Op::PRelu
        | Op::Relu
        | Op::Sigmoid
        | Op::Sub
        | Op::Tanh => true,
        Op::Binary(kind) => *kind == secateur_model::Binary::Pow,
        Op::Math(kind) => !matches!(kind, Math::BitwiseNot | Math::IsNaN | Math::Not),
        Op::Variadic(kind) => matches!(kind, Variadic::Max | Variadic::Min),
        _ => false,
    }
}

/// Whether a constant is one f32 that broadcasts to any shape.
fn is_single(constant: &Constant) -> bool {
    match constant {
        Constant::Weight(weight) => weight.shape().elements() == 1 && weight.shape().rank() <= 1,
        Constant::Tensor(tensor) => {
            tensor.dtype() == DType::F32
                && tensor.shape().elements() == 1
                && tensor.shape().rank() <= 1
        }
    }
}
