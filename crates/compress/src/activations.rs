//! Activations as unsigned codes of 8 or 16 bits: QuantizeLinear and DequantizeLinear pairs in
//! the graph, in the places where an integer engine fuses them.

use crate::CompressError;
use crate::histogram::{ActivationScale, Histogram, Width};
use crate::quantize::Range;
use secateur_model::{Constant, Data, Graph, Node, Op, Shape, Tensor};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Names of the activations to quantize: whatever a convolution or fully connected layer reads, in
/// network order, then what is added up to one of these, or to the plane that one is the mean of; taken
/// back before operators that only move values, so that bytes flow from layer to layer.
pub fn quantizable(graph: &Graph) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let read = read_by_layers(graph).into_iter().map(|(_, value)| value);
    let mut names: Vec<&str> = read.filter(|value| seen.insert(*value)).collect();
    let producers = graph.producers();
    // From the end, so that an addend which is a sum itself is known by then.
    for node in graph.nodes.iter().rev().filter(|n| n.op == Op::Add) {
        let Some(sum) = node.output(0).map(|sum| behind_bounds(graph, sum)) else {
            continue;
        };
        let computed = |value: &String| !graph.constants.contains_key(value);
        let read = seen.contains(sum) || mean_of(graph, sum).is_some_and(|m| seen.contains(m));
        if !read || !node.inputs.iter().all(computed) {
            continue;
        }
        let addends = node.inputs.iter();
        let addends = addends.map(|value| before_moves(graph, &producers, value));
        let values = std::iter::once(sum).chain(addends);
        names.extend(values.filter(|value| seen.insert(*value)));
    }
    names.into_iter().map(str::to_owned).collect()
}

/// What an activation that alone reads a value makes of it, if an integer sum takes it along.
fn behind_bounds<'g>(graph: &'g Graph, value: &'g str) -> &'g str {
    let reader = graph.only_reader(value).map(|index| &graph.nodes[index]);
    let bounds = reader.filter(|node| matches!(node.op, Op::Relu | Op::Clip));
    bounds.and_then(|node| node.output(0)).unwrap_or(value)
}

/// Weights of the layers that read reals, not codes.
pub fn on_reals(graph: &Graph) -> Vec<&str> {
    let producers = graph.producers();
    let codes = |value: &str| {
        let source = producers.get(value).map(|&index| &graph.nodes[index].op);
        matches!(source, Some(Op::DequantizeLinear { .. }))
    };
    let layers = read_by_layers(graph).into_iter();
    let reals = layers.filter(|(_, value)| !codes(value));
    reals.map(|(weight, _)| weight).collect()
}

/// Each layer's weight and the value that it reads.
fn read_by_layers(graph: &Graph) -> Vec<(&str, &str)> {
    let producers = graph.producers();
    let layers = graph.nodes.iter().filter_map(|node| {
        let (weight, _) = graph.kernel_of(node)?;
        Some((weight, node.input(0)?))
    });
    let source = |(weight, value)| (weight, before_moves(graph, &producers, value));
    layers.map(source).collect()
}

/// The mean over each plane that is all that is read of a value.
fn mean_of<'g>(graph: &'g Graph, value: &str) -> Option<&'g str> {
    let reader = &graph.nodes[graph.only_reader(value)?];
    let mean = matches!(reader.op, Op::GlobalAveragePool);
    mean.then(|| reader.output(0)).flatten()
}

/// The value that a value's elements are those of.
pub(crate) fn before_moves<'g>(
    graph: &'g Graph,
    producers: &HashMap<&str, usize>,
    mut value: &'g str,
) -> &'g str {
    while let Some(&index) = producers.get(value) {
        let node = &graph.nodes[index];
        let passes = node.moves_values() || matches!(node.op, Op::Identity | Op::Dropout);
        match node.input(0) {
            Some(input) if passes => value = input,
            _ => break,
        }
    }
    value
}

/// How each of these activations becomes codes, by what was seen of it.
///
/// # Errors
/// A value without any calibration sample.
pub fn activation_scales(
    names: &[String],
    calibration: &BTreeMap<String, Histogram>,
    range: Range,
    width: Width,
) -> Result<BTreeMap<String, ActivationScale>, CompressError> {
    let scale = |name: &String| {
        let seen = calibration.get(name).filter(|h| h.count() > 0);
        let histogram = seen.ok_or_else(|| CompressError::Refused {
            step: "quantize",
            reason: format!("no calibration sample reached `{name}`"),
        })?;
        Ok((name.clone(), histogram.scale(range, width)))
    };
    names.iter().map(scale).collect()
}

/// Puts a QuantizeLinear and DequantizeLinear pair behind each of these values; everything that
/// read the value reads the pair.
///
/// # Errors
/// A graph that cannot be put in order.
pub fn quantize_activations<'a>(
    graph: &mut Graph,
    scales: impl IntoIterator<Item = (&'a String, &'a ActivationScale)>,
) -> Result<(), CompressError> {
    for (name, &scale) in scales {
        insert_pair(graph, name, scale)?;
    }
    graph.sort()?;
    Ok(())
}

fn insert_pair(
    graph: &mut Graph,
    value: &str,
    scale: ActivationScale,
) -> Result<(), CompressError> {
    let scale_name = graph.fresh_name(&format!("{value}.scale"));
    let zero_name = graph.fresh_name(&format!("{value}.zero_point"));
    let codes = match scale.width {
        Width::Eight => "u8",
        Width::Sixteen => "u16",
    };
    let bytes_name = graph.fresh_name(&format!("{value}.{codes}"));
    let float_name = graph.fresh_name(&format!("{value}.dequantized"));
    let zero = match scale.width {
        Width::Eight => Data::U8(vec![scale.zero_point as u8]),
        Width::Sixteen => Data::U16(vec![scale.zero_point]),
    };
    let zero = Tensor::new(Shape::scalar(), zero)?;
    let tensors = [
        (&scale_name, Tensor::scalar_f32(scale.scale)),
        (&zero_name, zero),
    ];
    for (name, tensor) in tensors {
        graph
            .constants
            .insert(name.clone(), Constant::Tensor(tensor));
    }
    for node in &mut graph.nodes {
        for input in node.inputs.iter_mut().filter(|i| *i == value) {
            input.clone_from(&float_name);
        }
    }
    let quantize = Op::QuantizeLinear {
        axis: 1,
        block_size: 0,
        to: None,
    };
    let dequantize = Op::DequantizeLinear {
        axis: 1,
        block_size: 0,
    };
    let node =
        |op, from: &str, to: &str| Node::new(to, op, &[from, &scale_name, &zero_name], &[to]);
    let pair = [
        node(quantize, value, &bytes_name),
        node(dequantize, &bytes_name, &float_name),
    ];
    graph.nodes.extend(pair);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::{DType, ValueInfo};

    #[test]
    fn what_is_added_up_for_a_layer_becomes_codes() {
        // Each block of it reads the sum of the block before, and adds it to its own.
        let graph = secateur_model::zoo::build("resnet-20", [3, 8, 8], 4, 3).unwrap();
        let names = quantizable(&graph);
        let sums = graph.nodes.iter().filter(|n| n.op == Op::Add);
        for input in sums.clone().flat_map(|n| &n.inputs) {
            assert!(names.contains(input), "{input}");
        }
        let sums: Vec<&str> = sums.filter_map(|n| n.output(0)).collect();
        assert!(!names.iter().any(|n| sums.contains(&n.as_str())));
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn pairs_stand_before_what_only_moves_values() {
        let mut graph = crate::prune::doc_network();
        let value = |name: &str| ValueInfo {
            name: name.into(),
            dtype: DType::F32,
            dims: None,
        };
        graph.inputs = vec![value("input")];
        graph.outputs = vec![value("y")];
        let flatten = Node::new("flatten", Op::Flatten { axis: 1 }, &["input"], &["x"]);
        graph.nodes.insert(0, flatten);
        assert_eq!(quantizable(&graph), ["input"]);

        let mut histogram = Histogram::default();
        histogram.add(&[0.0, 1.0]);
        let calibration = BTreeMap::from([("input".to_owned(), histogram)]);
        let names = quantizable(&graph);
        let scales = |seen| activation_scales(&names, seen, Range::MinMax, Width::Eight);
        quantize_activations(&mut graph, &scales(&calibration).unwrap()).unwrap();
        let ops: Vec<&str> = graph.nodes.iter().map(|n| n.op.name()).collect();
        assert_eq!(
            ops,
            ["QuantizeLinear", "DequantizeLinear", "Flatten", "Gemm"]
        );
        assert!(on_reals(&graph).is_empty());
        assert!(scales(&BTreeMap::new()).is_err());
    }
}
