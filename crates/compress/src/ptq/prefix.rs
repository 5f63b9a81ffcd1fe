//! What of a graph computes some of its values.

use secateur_model::{DType, Graph, ValueInfo};
use std::collections::HashSet;

/// The graph without the nodes that the named values do not need; these are its
/// outputs.
pub fn prefix(graph: &Graph, names: &[String]) -> Graph {
    let producers = graph.producers();
    let mut needed = HashSet::new();
    let mut open: Vec<&str> = names.iter().map(String::as_str).collect();
    while let Some(value) = open.pop() {
        if let Some(&index) = producers.get(value)
            && needed.insert(index)
        {
            open.extend(graph.nodes[index].reads());
        }
    }
    let nodes = graph.nodes.iter().enumerate();
    let kept = nodes.filter(|(index, _)| needed.contains(index));
    let output = |name: &String| ValueInfo {
        name: name.clone(),
        dtype: DType::F32,
        dims: None,
    };
    let mut part = Graph {
        nodes: kept.map(|(_, node)| node.clone()).collect(),
        outputs: names.iter().map(output).collect(),
        ..graph.clone()
    };
    part.drop_unused_constants();
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::{Tensor, eval, zoo};

    #[test]
    fn a_prefix_computes_the_same() {
        let net = zoo::build("lenet-300-100", [1, 4, 4], 3, 1).unwrap();
        let hidden = net.nodes[2].outputs[0].clone();
        let part = prefix(&net, std::slice::from_ref(&hidden));
        assert_eq!(part.nodes.len(), 3);
        assert!(part.constants.len() < net.constants.len());
        let x = Tensor::f32(&[1, 1, 4, 4], (0..16).map(|v| v as f32).collect()).unwrap();
        let mut whole = net.clone();
        whole.outputs[0] = part.outputs[0].clone();
        let run = |g: &Graph| eval(g, &[("input", x.clone())]).unwrap();
        assert_eq!(run(&part), run(&whole));
    }
}
