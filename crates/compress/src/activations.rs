//! Activations as unsigned codes of 8 or 16 bits: QuantizeLinear and DequantizeLinear pairs in
//! the graph, in the places where an integer engine fuses them.

use crate::CompressError;
use crate::histogram::{ActivationScale, Histogram, Width};
use crate::quantize::Range;
use secateur_model::{Constant, Data, Graph, Node, Op, Shape, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// Names of the activations to quantize, in network order: whatever a
/// convolution or fully connected layer reads, taken back before operators that
/// only move values, so that bytes flow from layer to layer.
pub fn quantizable(graph: &Graph) -> Vec<String> {
    let producers = graph.producers();
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for node in &graph.nodes {
        if graph.kernel_of(node).is_none() {
            continue;
        }
        let Some(mut value) = node.input(0) else {
            continue;
        };
        while let Some(&index) = producers.get(value) {
            let source = &graph.nodes[index];
            let passes = source.moves_values() || matches!(source.op, Op::Identity | Op::Dropout);
            match source.input(0) {
                Some(input) if passes => value = input,
                _ => break,
            }
        }
        if seen.insert(value.to_owned()) {
            names.push(value.to_owned());
        }
    }
    names
}

/// Puts a QuantizeLinear and DequantizeLinear pair behind each calibrated
/// value; everything that read the value reads the pair.
///
/// # Errors
/// A value without any calibration sample.
pub fn quantize_activations(
    graph: &mut Graph,
    calibration: &BTreeMap<String, Histogram>,
    range: Range,
    width: Width,
) -> Result<Vec<(String, ActivationScale)>, CompressError> {
    let names = quantizable(graph);
    let mut scales = Vec::with_capacity(names.len());
    for name in names {
        let histogram = calibration
            .get(&name)
            .filter(|h| h.count() > 0)
            .ok_or_else(|| CompressError::Refused {
                step: "quantize",
                reason: format!("no calibration sample reached `{name}`"),
            })?;
        let scale = histogram.scale(range, width);
        insert_pair(graph, &name, scale)?;
        scales.push((name, scale));
    }
    graph.sort()?;
    Ok(scales)
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
        quantize_activations(&mut graph, &calibration, Range::MinMax, Width::Eight).unwrap();
        let ops: Vec<&str> = graph.nodes.iter().map(|n| n.op.name()).collect();
        assert_eq!(
            ops,
            ["QuantizeLinear", "DequantizeLinear", "Flatten", "Gemm"]
        );
        assert!(
            quantize_activations(&mut graph, &BTreeMap::new(), Range::MinMax, Width::Eight)
                .is_err()
        );
    }
}
