//! A node whose inputs are all known is evaluated here and now.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Constant, Data, Node, Op, Weight, ops};

/// Results larger than this stay computed: a plan is no place for a broadcast.
const MAX_ELEMENTS: usize = 1 << 26;

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
    let results = ops::evaluate(node, &inputs).map_err(|e| Skip::Because(e.to_string()))?;
    let mut edit = Edit {
        removed: vec![node.name.clone()],
        ..Edit::default()
    };
    for (output, tensor) in node.outputs.iter().zip(results) {
        if tensor.shape().elements() > MAX_ELEMENTS {
            return Skip::because("its result is too large to keep");
        }
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
