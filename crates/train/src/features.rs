//! Learning from another network's feature maps (FitNets: Romero et al. 2015).

use crate::TrainError;
use crate::trace::{self, Types, Value};
use burn::tensor::Tensor;
use secateur_data::Dataset;
use secateur_model::{Graph, Node, Op};

/// Whose values are learned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Features {
    /// None: answers only.
    #[default]
    None,
    /// What is read where the picture shrinks, and what the last layer reads; those
    /// that have other extents in the student are left out.
    Auto,
    /// Values of these names; they are in both networks.
    Named(Vec<String>),
}

impl Features {
    /// Names of the values to compare.
    ///
    /// # Errors
    /// A name that one network has not, or with other extents; nothing to compare.
    pub(crate) fn names(
        &self,
        teacher: &Graph,
        student: &Graph,
        data: &Dataset,
    ) -> Result<Vec<String>, TrainError> {
        let types = |graph: &Graph| types_of(graph, data);
        let extents = |types: &Types, name: &str| types.get(name).map(|(_, shape)| shape.clone());
        match self {
            Self::None => Ok(Vec::new()),
            Self::Auto => {
                let (theirs, ours) = (types(teacher)?, types(student)?);
                let mut names = tellings(teacher);
                names.retain(|n| extents(&ours, n).is_some_and(|d| extents(&theirs, n) == Some(d)));
                match names.is_empty() {
                    true => Err(TrainError::Setting(
                        "no value of the student has a feature's name and extents: name the \
                         features, or learn answers only"
                            .into(),
                    )),
                    false => Ok(names),
                }
            }
            Self::Named(names) => {
                let (theirs, ours) = (types(teacher)?, types(student)?);
                for name in names {
                    let both = [extents(&theirs, name), extents(&ours, name)];
                    let [Some(a), Some(b)] = both else {
                        return Err(TrainError::Setting(format!(
                            "feature `{name}` is no value of both teacher and student"
                        )));
                    };
                    if a != b {
                        return Err(TrainError::Setting(format!(
                            "feature `{name}` is {a} in the teacher, {b} in the student"
                        )));
                    }
                }
                Ok(names.clone())
            }
        }
    }
}

fn types_of(graph: &Graph, data: &Dataset) -> Result<Types, TrainError> {
    let input = graph.inputs.first().map(|i| i.name.as_str());
    let dims = [1, data.channels, data.height, data.width];
    trace::types(graph, input.unwrap_or_default(), &dims)
}

/// Names of the values that tell most of what a network has made of its input, in its
/// order.
fn tellings(graph: &Graph) -> Vec<String> {
    let producers = graph.producers();
    let source = |mut value: String| {
        while let Some(&index) = producers.get(value.as_str()) {
            let node = &graph.nodes[index];
            let passes = node.moves_values()
                || matches!(
                    node.op,
                    Op::Identity
                        | Op::Dropout
                        | Op::QuantizeLinear { .. }
                        | Op::DequantizeLinear { .. }
                );
            match node.input(0) {
                Some(input) if passes => value = input.to_owned(),
                _ => break,
            }
        }
        value
    };
    let last = graph.nodes.iter().rfind(|n| graph.kernel_of(n).is_some());
    let shrinking = graph.nodes.iter().filter(|node| shrinks(node));
    let mut names: Vec<String> = Vec::new();
    for node in shrinking.chain(last) {
        let Some(name) = node.input(0).map(|name| source(name.to_owned())) else {
            continue;
        };
        if producers.contains_key(name.as_str()) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn shrinks(node: &Node) -> bool {
    match &node.op {
        Op::MaxPool { window, .. } | Op::AveragePool { window, .. } | Op::Conv { window, .. } => {
            window.strides.iter().any(|&s| s > 1)
        }
        Op::GlobalAveragePool | Op::GlobalMaxPool => true,
        _ => false,
    }
}

/// Mean over the images of `‖a/‖a‖ − b/‖b‖‖²`: 0 where they point the same way, 2 where
/// they have nothing in common.
pub(crate) fn distance(a: &Value, b: &Value) -> Tensor<1> {
    let images = a.dims.first().copied().unwrap_or(1).max(1);
    let unit = |value: &Value| {
        let elements = value.dims.iter().product::<usize>();
        let rows: Tensor<2> = value.flat.clone().reshape([images, elements / images]);
        let norms = (rows.clone() * rows.clone()).sum_dim(1);
        rows / (norms + 1e-12).sqrt()
    };
    let difference = unit(a) - unit(b);
    (difference.clone() * difference).sum() / images as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::to_vec;
    use secateur_model::zoo;

    #[test]
    fn features_are_found_where_the_picture_shrinks() {
        let net = |name, input| zoo::build(name, input, 10, 1).unwrap();
        assert_eq!(tellings(&net("lenet-300-100", [1, 8, 8])), ["fc2.relu.out"]);
        let lenet = tellings(&net("lenet-5", [1, 28, 28]));
        assert_eq!(lenet, ["conv1.relu.out", "conv2.relu.out", "fc1.relu.out"]);
        let vgg = tellings(&net("vgg-small", [3, 32, 32]));
        assert_eq!(vgg.len(), 4);
        assert_eq!(vgg[3], "pool.out");
    }

    #[test]
    fn the_gradient_of_the_distance_is_its_central_difference() {
        let (x, dims) = (vec![0.3f32, -0.8, 0.5, 1.2, 0.1, -0.4], [2, 3]);
        let other = Value::new(vec![0.2, 0.7, -0.1, 1.0, 0.3, 0.0], &dims);
        let of = |x: &[f32]| {
            let loss = distance(&Value::new(x.to_vec(), &dims), &other);
            f64::from(to_vec(loss)[0])
        };
        let value = Value::parameter(x.clone(), &dims);
        let mut gradients = distance(&value, &other).backward();
        let found = to_vec(value.flat.grad_remove(&mut gradients).unwrap());
        for i in 0..x.len() {
            let moved = |by: f32| {
                let mut x = x.clone();
                x[i] += by;
                of(&x)
            };
            let slope = (moved(0.01) - moved(-0.01)) / 0.02;
            assert!(
                (f64::from(found[i]) - slope).abs() < 1e-3,
                "{i}: {} {slope}",
                found[i]
            );
        }
        assert!(of(&x) > 0.0);
        let scaled: Vec<f32> = other.to_vec().iter().map(|v| v * 3.0).collect();
        assert!(of(&scaled).abs() < 1e-6);
    }
}
