//! Lowering: rewriting rules that bring a graph nearer to what kernels do.

mod cancel_pairs;
mod code_product;
mod code_table;
mod compose_gelu;
mod compose_layer_norm;
mod compose_swish;
mod constants;
mod drop_identity;
mod fold_norm;
mod fuse_activation;
mod integer_layer;
mod integer_mean;
mod integer_operator;
mod integer_product;
mod integer_sum;
mod integer_weight;
mod join_codes;
mod lift_quantize;
mod lift_through_concat;
mod lift_through_pool;
mod lines_as_images;
mod moves_codes;
mod quantized_constant;
mod share_quantizers;
mod sink_dequantize;
mod sink_through_pad;
mod unsigned;

pub(crate) use code_table::look_up;
pub(crate) use constants::foldable;
pub(crate) use fuse_activation::clamp_of;

use crate::PlanError;
use crate::draft::{Draft, Edit};
use secateur_model::{Graph, Node};
use std::collections::HashSet;

/// Why a rule leaves a node as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// The rule is about other operators.
    NotMine,
    /// The rule is about this operator, but something stands in the way.
    Because(String),
}

impl Skip {
    /// A reason.
    pub fn because<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self::Because(reason.into()))
    }
}

/// One rewriting rule.
pub struct Rule {
    /// What it does.
    pub name: &'static str,
    /// Why it stands where it stands in the order.
    pub reason: &'static str,
    apply: fn(&Draft, &Node) -> Result<Edit, Skip>,
}

/// The rules in their order.
pub const RULES: [Rule; 23] = [
    Rule {
        name: "drop identities",
        reason: "first, so that patterns stand side by side",
        apply: drop_identity::apply,
    },
    Rule {
        name: "quantized constants",
        reason: "before integer weights, which are of codes",
        apply: quantized_constant::apply,
    },
    Rule {
        name: "integer weights",
        reason: "before constants fold, which would make floats of a quantized weight",
        apply: integer_weight::apply,
    },
    Rule {
        name: "integer operators",
        reason: "before constants fold, as for integer weights",
        apply: integer_operator::apply,
    },
    Rule {
        name: "fold constants",
        reason: "weights and biases that are computed become known",
        apply: constants::apply,
    },
    Rule {
        name: "integer products",
        reason: "behind constants, which are its factors",
        apply: integer_product::apply,
    },
    Rule {
        name: "lines as images",
        reason: "before every rule about layers and pools, which are those over images",
        apply: lines_as_images::apply,
    },
    Rule {
        name: "lift through pools",
        reason: "before normalizations fold and activations fuse, which needs a layer beside them",
        apply: lift_through_pool::apply,
    },
    Rule {
        name: "fold normalization",
        reason: "before fusion, which ends a layer at its activation",
        apply: fold_norm::apply,
    },
    Rule {
        name: "unsigned codes",
        reason: "before pairs part, while each quantizer stands beside its dequantizers",
        apply: unsigned::apply,
    },
    Rule {
        name: "share quantizers",
        reason: "before quantizers lift, which asks for one reader",
        apply: share_quantizers::apply,
    },
    Rule {
        name: "sink dequantize",
        reason: "bytes move and pool at a quarter of the cost, and reach the layer",
        apply: sink_dequantize::apply,
    },
    Rule {
        name: "lift quantize",
        reason: "the quantizer comes next to the layer whose output it quantizes",
        apply: lift_quantize::apply,
    },
    Rule {
        name: "cancel pairs",
        reason: "what sinking and lifting brought together",
        apply: cancel_pairs::apply,
    },
    Rule {
        name: "tables of codes",
        reason: "behind cancelling, which leaves pairs that change something",
        apply: code_table::apply,
    },
    Rule {
        name: "integer means",
        reason: "behind tables, which take the quantizers between scales",
        apply: integer_mean::apply,
    },
    Rule {
        name: "compose GELU",
        reason: "behind tables, whose bits are those of the parts",
        apply: compose_gelu::apply,
    },
    Rule {
        name: "compose Swish",
        reason: "behind tables, as GELU",
        apply: compose_swish::apply,
    },
    Rule {
        name: "compose layer normalization",
        reason: "behind quantizers on the way, which would keep its parts apart",
        apply: compose_layer_norm::apply,
    },
    Rule {
        name: "fuse activation",
        reason: "before integer layers, so that their clamp is known",
        apply: fuse_activation::apply,
    },
    Rule {
        name: "integer layers",
        reason: "late: it takes the activation and the quantizers on both sides",
        apply: integer_layer::apply,
    },
    Rule {
        name: "products of codes",
        reason: "behind integer layers, whose weight is known",
        apply: code_product::apply,
    },
    Rule {
        name: "integer sums",
        reason: "behind the bounds, which it takes with it",
        apply: integer_sum::apply,
    },
];

/// What a rule did, or why it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The rule.
    pub rule: &'static str,
    /// The node.
    pub node: String,
    /// `None` where the rule was applied, otherwise why it was not.
    pub skipped: Option<String>,
}

/// Applies every rule wherever it fits, checking the graph after each.
///
/// # Errors
/// A graph that is not well formed.
pub fn lower(graph: &Graph) -> Result<(Draft, Vec<Note>), PlanError> {
    let mut draft = Draft {
        graph: graph.clone(),
        ..Draft::default()
    };
    draft.check()?;
    name_apart(&mut draft.graph);
    draft.drop_dead_nodes();
    draft.graph.drop_unused_constants();
    let mut notes = Vec::new();
    for rule in &RULES {
        run(rule, &mut draft, &mut notes);
        draft.graph.drop_unused_constants();
        draft.check().map_err(|source| PlanError::Rule {
            rule: rule.name,
            source,
        })?;
    }
    Ok((draft, notes))
}

/// Gives nodes that share a name, or have none, names of their own: edits and
/// plans find nodes by name.
fn name_apart(graph: &mut Graph) {
    let mut seen = HashSet::new();
    for index in 0..graph.nodes.len() {
        if graph.nodes[index].name.is_empty() || seen.contains(&graph.nodes[index].name) {
            let stem = format!("{}_{index}", graph.nodes[index].op.name());
            graph.nodes[index].name = graph.fresh_name(&stem);
        }
        seen.insert(graph.nodes[index].name.clone());
    }
}

/// One rule over all nodes, again until it finds nothing more to do.
fn run(rule: &Rule, draft: &mut Draft, notes: &mut Vec<Note>) {
    // Rules shrink the graph or move a node past another one; the bound only
    // keeps a rule that undoes itself from running for ever.
    for _ in 0..=draft.graph.nodes.len() {
        let mut changed = false;
        let mut skipped = Vec::new();
        let names: Vec<String> = draft.graph.nodes.iter().map(|n| n.name.clone()).collect();
        for name in names {
            let Some(node) = draft.graph.nodes.iter().find(|n| n.name == name) else {
                continue;
            };
            let note = |skipped| Note {
                rule: rule.name,
                node: name.clone(),
                skipped,
            };
            match (rule.apply)(draft, node) {
                Ok(edit) => {
                    draft.apply(edit);
                    notes.push(note(None));
                    changed = true;
                }
                Err(Skip::NotMine) => {}
                Err(Skip::Because(reason)) => skipped.push(note(Some(reason))),
            }
        }
        if !changed {
            notes.extend(skipped);
            return;
        }
    }
}

#[cfg(test)]
mod tests;
