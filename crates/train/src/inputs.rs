//! What layers multiply their weights by.

use crate::TrainError;
use crate::ops;
use crate::score::each_batch;
use crate::trace::{Value, geometry, unsupported};
use secateur_data::Dataset;
use secateur_model::{Graph, Node, Op};
use std::collections::BTreeMap;

/// Operands of one layer: a row of `depth` inputs for each output that one of its channels
/// computes. The inputs stand in the order of the weight's: `c · kh · kw` for a convolution.
#[derive(Debug, Clone, Copy)]
pub struct LayerInput<'a> {
    /// Name of the layer's weight.
    pub layer: &'a str,
    /// Which of the layer's groups of channels.
    pub group: usize,
    /// Groups of channels; 1 but for grouped convolutions.
    pub groups: usize,
    /// Inputs of an output.
    pub depth: usize,
    /// `[count, depth]`, row-major.
    pub rows: &'a [f32],
}

/// Runs the first `limit` images and hands the operands of the layers with these weights to the
/// observer, part by part; memory does not grow with the number of images.
///
/// # Errors
/// As [`evaluate`](crate::evaluate); a name that no convolution or fully connected layer has, a
/// layer that is neither `input · weight` nor a convolution of images.
pub fn layer_inputs(
    graph: &Graph,
    data: &Dataset,
    limit: usize,
    layers: &[String],
    observer: &mut dyn FnMut(&LayerInput<'_>),
) -> Result<(), TrainError> {
    let mut readers: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    for layer in layers {
        let of_layer = |n: &&Node| graph.kernel_of(n).is_some_and(|(name, _)| name == layer);
        let mut nodes = graph.nodes.iter().filter(of_layer).peekable();
        if nodes.peek().is_none() {
            return Err(TrainError::Setting(format!(
                "no layer has a weight `{layer}`"
            )));
        }
        for node in nodes {
            let input = node.input(0).unwrap_or_default();
            readers.entry(input).or_default().push(node);
        }
    }
    let names: Vec<String> = readers.keys().map(|&name| name.to_owned()).collect();
    each_batch(graph, data, limit, &names, &mut |name, value, _| {
        let nodes = readers.get(name).into_iter().flatten();
        nodes
            .into_iter()
            .try_for_each(|node| operands(graph, node, value, observer))
    })
}

fn operands(
    graph: &Graph,
    node: &Node,
    x: &Value,
    observer: &mut dyn FnMut(&LayerInput<'_>),
) -> Result<(), TrainError> {
    let Some((layer, weight)) = graph.kernel_of(node) else {
        return Ok(());
    };
    let dims = weight.shape().dims();
    let values = x.to_vec();
    match &node.op {
        Op::Conv { window, groups } => {
            let g = geometry(node, window, *groups, &x.dims, dims)?;
            let depth = dims.iter().skip(1).product();
            let image_len = x.dims.iter().skip(1).product::<usize>().max(1);
            for image in values.chunks_exact(image_len) {
                for group in 0..*groups {
                    observer(&LayerInput {
                        layer,
                        group,
                        groups: *groups,
                        depth,
                        rows: &ops::operands(image, group, &g),
                    });
                }
            }
        }
        op => {
            let depth = match (op, dims) {
                (
                    Op::Gemm {
                        trans_a: false,
                        trans_b: true,
                        ..
                    },
                    &[_, depth],
                )
                | (
                    Op::Gemm {
                        trans_a: false,
                        trans_b: false,
                        ..
                    }
                    | Op::MatMul,
                    &[depth, _],
                ) if x.dims.last() == Some(&depth) => depth,
                _ => {
                    let reason = format!("{:?} · {dims:?} is no product of rows", x.dims);
                    return Err(unsupported(node, reason));
                }
            };
            observer(&LayerInput {
                layer,
                group: 0,
                groups: 1,
                depth,
                rows: &values,
            });
        }
    }
    Ok(())
}
