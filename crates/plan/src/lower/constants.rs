//! A node whose inputs are all known is evaluated here and now.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::ops::{self, ShapeInput};
use secateur_model::{Constant, Data, ModelError, Node, Op, Tensor, Weight};

/// Elements that are kept of all results together; what is more stays computed: a plan is no
/// place for broadcasts.
const MAX_ELEMENTS: usize = 1 << 26;

/// The elements of a node's results, which are not computed for it, where they can be kept beside
/// the `kept` ones of other nodes.
pub fn foldable(
    node: &Node,
    inputs: &[Option<&Tensor>],
    kept: usize,
) -> Result<Option<usize>, ModelError> {
    let known: Vec<Option<ShapeInput<'_>>> = inputs
        .iter()
        .map(|input| input.map(ShapeInput::of))
        .collect();
    let results = ops::infer(node, &known)?;
    let elements = results.iter().fold(0usize, |sum, (_, shape)| {
        sum.saturating_add(shape.elements())
    });
    Ok((elements <= MAX_ELEMENTS.saturating_sub(kept)).then_some(elements))
}

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if node.inputs.is_empty() || matches!(node.op, Op::Unknown(_)) {
        return Err(Skip::NotMine);
    }
    let known = |name: &String| name.is_empty() || draft.graph.constants.contains_key(name);
    if !node.inputs.iter().all(known) {
        return Err(Skip::NotMine);
    }
    if node.outputs.iter().any(|o| draft.is_output(o)) {
        return Skip::because("it gives a graph output");
    }
    let tensors: Vec<_> = (0..node.inputs.len())
        .map(|i| draft.constant(node, i))
        .collect();
    let inputs: Vec<_> = tensors.iter().map(Option::as_ref).collect();
    let failed = |e: ModelError| Skip::Because(e.to_string());
    let Some(folded) = foldable(node, &inputs, draft.folded).map_err(failed)? else {
        return Skip::because("its result is too large to keep");
    };
    let results = ops::evaluate(node, &inputs).map_err(failed)?;
    let mut edit = Edit {
        removed: vec![node.name.clone()],
        folded,
        ..Edit::default()
    };
    for (output, tensor) in node.outputs.iter().zip(results) {
        // Values that may be a layer's parameters become weights.
        let name = draft.graph.fresh_name(&format!("{output}.folded"));
        let weight = match tensor.data() {
            Data::F32(values) => Weight::dense(tensor.shape().clone(), values.clone()).ok(),
            _ => None,
        };
        let constant = weight.map_or(Constant::Tensor(tensor), Constant::Weight);
        edit.redirected.push((output.clone(), name.clone()));
        edit.constants.push((name, constant));
    }
    Ok(edit)
}
