//! What training needs of a network that others made: pictures in, logits out.

use anyhow::{Context, Result};
use secateur_data::Dataset;
use secateur_model::{Dim, Graph, Node, Op, ValueInfo};

/// The Softmax that a network ended in.
pub struct Ending(Option<(Node, ValueInfo)>);

/// Makes a network whose input is a row of pixels take the set's pictures.
/// Whether that was needed.
pub fn take_pictures(graph: &mut Graph, data: &Dataset) -> bool {
    let [input] = graph.inputs.as_slice() else {
        return false;
    };
    let Some([batch, Dim::Known(n)]) = input.dims.as_deref() else {
        return false;
    };
    if *n != data.image_len() {
        return false;
    }
    let extents = [data.channels, data.height, data.width].map(Dim::Known);
    let dims = [std::slice::from_ref(batch), &extents].concat();
    let (row, dtype) = (input.name.clone(), input.dtype);
    let name = graph.fresh_name("picture");
    let flatten = Node::new(
        graph.fresh_name("flatten"),
        Op::Flatten { axis: 1 },
        &[&name],
        &[&row],
    );
    graph.nodes.insert(0, flatten);
    graph.inputs = vec![ValueInfo {
        name,
        dtype,
        dims: Some(dims),
    }];
    true
}

impl Ending {
    /// Takes a Softmax off the network's end, so that its output is logits, as
    /// a loss needs them.
    pub fn take(graph: &mut Graph) -> Self {
        let ending = softmax(graph).and_then(|index| {
            let logits = graph.nodes[index].input(0)?.to_owned();
            let node = graph.nodes.remove(index);
            let output = graph.outputs.first_mut()?;
            let info = output.clone();
            output.name = logits;
            Some((node, info))
        });
        Self(ending)
    }

    /// Puts it back.
    ///
    /// # Errors
    /// A network that has lost its output.
    pub fn restore(self, graph: &mut Graph) -> Result<()> {
        let Some((mut node, info)) = self.0 else {
            return Ok(());
        };
        let output = graph
            .outputs
            .first_mut()
            .context("the network has no output")?;
        node.inputs = vec![output.name.clone()];
        *output = info;
        graph.nodes.push(node);
        Ok(())
    }
}

/// Probabilities of the classes from a network's output: what it gives, where
/// it ends in Softmax, else the softmax of that.
pub fn probabilities(graph: &Graph, scores: &[f32]) -> Vec<f32> {
    if softmax(graph).is_some() {
        return scores.to_vec();
    }
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = scores.iter().map(|z| (z - top).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

/// The Softmax that computes the first output and nothing else.
fn softmax(graph: &Graph) -> Option<usize> {
    let output = graph.outputs.first()?.name.as_str();
    let index = graph.producers().get(output).copied()?;
    let last = matches!(graph.nodes.get(index)?.op, Op::Softmax { .. });
    (last && !graph.consumers().contains_key(output)).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::{DType, zoo};

    #[test]
    fn softmax_comes_off_and_goes_back() {
        let mut graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        let plain = graph.clone();
        Ending::take(&mut graph).restore(&mut graph).unwrap();
        assert_eq!(graph, plain);
        assert_eq!(probabilities(&graph, &[0.0, 0.0]), [0.5, 0.5]);

        let logits = graph.outputs[0].name.clone();
        let op = Op::Softmax {
            axis: 1,
            flattened: false,
        };
        graph
            .nodes
            .push(Node::new("softmax", op, &[&logits], &["odds"]));
        graph.outputs[0].name = "odds".into();
        let whole = graph.clone();
        assert_eq!(probabilities(&graph, &[0.25, 0.75]), [0.25, 0.75]);
        let ending = Ending::take(&mut graph);
        assert_eq!(graph, plain);
        ending.restore(&mut graph).unwrap();
        assert_eq!(graph, whole);
    }

    #[test]
    fn rows_become_pictures() {
        let data = secateur_data::load("digits").unwrap().test;
        let mut graph = Graph {
            inputs: vec![ValueInfo {
                name: "x".into(),
                dtype: DType::F32,
                dims: Some(vec![Dim::Named("n".into()), Dim::Known(64)]),
            }],
            ..Graph::default()
        };
        assert!(take_pictures(&mut graph, &data));
        assert_eq!(graph.inputs[0].dims.as_ref().unwrap().len(), 4);
        assert_eq!(graph.nodes[0].outputs, ["x"]);
        assert!(!take_pictures(&mut graph, &data));
    }
}
