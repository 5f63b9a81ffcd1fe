//! Biases that belong to one layer.

use crate::CompressError;
use secateur_model::{Constant, Graph, Node, Op, Values, Weight};

/// Name and values of the bias that a layer has to itself, one for each of its outputs, in f32.
pub(crate) fn own_bias(graph: &Graph, node: &Node, outputs: usize) -> Option<(String, Vec<f32>)> {
    let scaled = matches!(node.op, Op::Gemm { alpha, beta, .. } if alpha != 1.0 || beta != 1.0);
    let layer = matches!(node.op, Op::Gemm { .. } | Op::Conv { .. });
    let name = node.input(2).filter(|_| layer && !scaled)?;
    let bias = graph.weight(name)?;
    let plain = matches!(bias.values(), Values::F32(_)) && bias.shape().elements() == outputs;
    (plain && graph.reads_of(name) == 1).then(|| (name.to_owned(), bias.to_f32()))
}

/// Gives a bias other values.
pub(crate) fn put_bias(
    graph: &mut Graph,
    name: &str,
    values: Vec<f32>,
) -> Result<(), CompressError> {
    if let Some(bias) = graph.weight(name) {
        let bias = Weight::dense(bias.shape().clone(), values)?;
        graph
            .constants
            .insert(name.to_owned(), Constant::Weight(bias));
    }
    Ok(())
}
