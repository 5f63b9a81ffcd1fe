//! The operands of layers make their outputs.
#![allow(clippy::unwrap_used)]

use secateur_data::load;
use secateur_model::{Graph, Node, zoo};
use secateur_train::{layer_inputs, observe};
use std::collections::BTreeMap;

/// Every output of every layer, as a sum over its operands, against what the network computes.
#[test]
fn outputs_are_products_of_operands() {
    let data = load("digits").unwrap().train;
    for name in ["lenet-300-100", "resnet-20", "mobilenet-small"] {
        let graph = zoo::build(name, [1, 8, 8], 10, 3).unwrap();
        let layers: Vec<String> = graph
            .nodes
            .iter()
            .filter_map(|n| Some(graph.kernel_of(n)?.0.to_owned()))
            .collect();
        let outputs: Vec<String> = layers
            .iter()
            .map(|l| layer_of(&graph, l).outputs[0].clone())
            .collect();
        let mut computed: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        observe(&graph, &data, 3, &outputs, &mut |name, values| {
            computed.entry(name.to_owned()).or_default().extend(values);
        })
        .unwrap();

        let mut parts: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        layer_inputs(&graph, &data, 3, &layers, &mut |x| {
            let node = layer_of(&graph, x.layer);
            let weight = graph.weight(x.layer).unwrap();
            let bias = node.input(2).map(|b| graph.weight(b).unwrap().to_f32());
            let (rows, columns) = weight.matrix();
            assert_eq!(columns, x.depth);
            let (values, of_group) = (weight.to_f32(), rows / x.groups);
            // An image's channels come one after the other; rows of a matrix come row by row.
            let by_pixel = weight.shape().rank() == 2;
            let counts = x.rows.len() / x.depth;
            let at = |pixel: usize, output: usize| {
                let output = x.group * of_group + output;
                let operands = &x.rows[pixel * x.depth..][..x.depth];
                let sum: f32 = operands
                    .iter()
                    .zip(&values[output * columns..])
                    .map(|(a, b)| a * b)
                    .sum();
                sum + bias.as_ref().map_or(0.0, |b| b[output])
            };
            let part = parts.entry(node.outputs[0].clone()).or_default();
            match by_pixel {
                true => (0..counts).for_each(|p| part.extend((0..of_group).map(|o| at(p, o)))),
                false => (0..of_group).for_each(|o| part.extend((0..counts).map(|p| at(p, o)))),
            }
        })
        .unwrap();
        assert_eq!(parts.len(), outputs.len());
        for (name, values) in &parts {
            let largest = values.iter().fold(1.0f32, |m, v| m.max(v.abs()));
            assert_eq!(values.len(), computed[name].len(), "{name}");
            for (a, b) in values.iter().zip(&computed[name]) {
                assert!((a - b).abs() < 1e-4 * largest, "{name}: {a} {b}");
            }
        }
    }
}

fn layer_of<'a>(graph: &'a Graph, layer: &str) -> &'a Node {
    let of_layer = |n: &&Node| graph.kernel_of(n).is_some_and(|(name, _)| name == layer);
    graph.nodes.iter().find(of_layer).unwrap()
}

#[test]
fn a_layer_that_is_not_there_is_named() {
    let data = load("digits").unwrap().train;
    let graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 3).unwrap();
    let error = layer_inputs(&graph, &data, 3, &["nope".to_owned()], &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("`nope`"), "{error}");
}
