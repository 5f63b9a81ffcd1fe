//! Cross-layer equalization (Nagel et al. 2019): between two layers that an
//! operator joins which scales with its input, channel `i` is divided by
//! `s = √(r₁·r₂)/r₂` on one side and multiplied on the other. What the network
//! computes stays; the ranges of the channels become alike, which is what one
//! scale for a tensor needs, and what depthwise chains lack most.

use super::fold::{scale_rows, scale_weight};
use super::layers::{Bias, Layer, Layout, layers};
use crate::CompressError;
use secateur_model::{Constant, Graph, Op};

/// Rounds over all pairs, at most; chains settle in a few.
const ROUNDS: usize = 20;

/// Equalizes every pair of layers. Gives how many pairs there are.
///
/// # Errors
/// A weight that would not be finite.
pub fn equalize(graph: &mut Graph) -> Result<usize, CompressError> {
    let mut pairs = 0;
    for _ in 0..ROUNDS {
        let mut largest = 0.0f64;
        pairs = 0;
        for first in layers(graph) {
            // Ranges and biases change from pair to pair.
            let all = layers(graph);
            let Some(second) = joined(graph, &first, &all) else {
                continue;
            };
            pairs += 1;
            let factors = factors(graph, &first, second);
            let moved = factors.iter().map(|s| s.ln().abs()).fold(0.0, f64::max);
            largest = largest.max(moved);
            let inverse: Vec<f64> = factors.iter().map(|s| 1.0 / s).collect();
            let of = channel_of(&first, second);
            scale_rows(graph, &first, &inverse)?;
            scale_weight(graph, second, |row, column| factors[of(row, column)])?;
        }
        if largest < 0.01 {
            break;
        }
    }
    Ok(pairs)
}

/// The layer that reads what `first` gives, with nothing between that would not
/// scale, channel by channel.
fn joined<'a>(graph: &Graph, first: &Layer, all: &'a [Layer]) -> Option<&'a Layer> {
    let node = &graph.nodes[first.node];
    if first.bias == Bias::None || node.op == Op::MatMul {
        return None;
    }
    let mut at = graph.only_reader(node.output(0)?)?;
    let mut flattened = !matches!(first.layout, Layout::Conv { .. });
    loop {
        let reader = &graph.nodes[at];
        if let Some(second) = all.iter().find(|l| l.node == at) {
            let inputs = match &second.layout {
                Layout::Conv { groups, .. } => graph.weight(&second.weight)?.shape()[1] * groups,
                // A flattened picture: channels are runs of columns.
                _ if flattened && second.depth % first.outputs == 0 => first.outputs,
                _ => return None,
            };
            return (inputs == first.outputs).then_some(second);
        }
        flattened |= matches!(reader.op, Op::Flatten { .. });
        match &reader.op {
            Op::Relu
            | Op::LeakyRelu { .. }
            | Op::PRelu
            | Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::GlobalAveragePool
            | Op::GlobalMaxPool
            | Op::Identity
            | Op::Dropout
            | Op::Flatten { axis: 1 } => at = graph.only_reader(reader.output(0)?)?,
            _ => return None,
        }
    }
}

/// Which output of the first layer a weight of the second multiplies.
fn channel_of<'a>(first: &'a Layer, second: &'a Layer) -> impl Fn(usize, usize) -> usize + 'a {
    let groups = second.groups();
    let per_group = first.outputs / groups;
    let taps = match second.layout {
        Layout::Conv { .. } => second.depth / per_group.max(1),
        _ => second.depth / first.outputs.max(1),
    };
    let rows = second.outputs / groups;
    move |row, column| row / rows * per_group + column / taps
}

fn factors(graph: &Graph, first: &Layer, second: &Layer) -> Vec<f64> {
    let rows = |layer: &Layer| {
        graph
            .weight(&layer.weight)
            .map(|w| layer.rows(w))
            .unwrap_or_default()
    };
    let mut ranges = [vec![0.0f64; first.outputs], vec![0.0f64; first.outputs]];
    for (i, w) in rows(first).iter().enumerate() {
        let range = &mut ranges[0][i / first.depth];
        *range = range.max(f64::from(w.abs()));
    }
    // A bias is part of what a channel ranges over: where weights alone are next to nothing, it would become
    // huge.
    if let Bias::Constant(name) = &first.bias {
        let bias = graph.constants.get(name).map(Constant::to_tensor);
        let bias = bias
            .as_ref()
            .and_then(|b| b.as_f32().ok())
            .unwrap_or_default();
        for (range, b) in ranges[0].iter_mut().zip(bias) {
            *range = range.max(f64::from(b.abs()));
        }
    }
    let of = channel_of(first, second);
    for (i, w) in rows(second).iter().enumerate() {
        let range = &mut ranges[1][of(i / second.depth, i % second.depth)];
        *range = range.max(f64::from(w.abs()));
    }
    let factor = |(&r1, &r2): (&f64, &f64)| match r1 > 0.0 && r2 > 0.0 {
        true => (r1 * r2).sqrt() / r2,
        // A dead channel has no range to give.
        false => 1.0,
    };
    ranges[0].iter().zip(&ranges[1]).map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fold::fold_norms;
    use super::*;
    use secateur_model::{Tensor, Weight, eval, zoo};

    #[test]
    fn the_network_computes_the_same_and_ranges_are_alike() {
        for name in ["mobilenet-small", "vgg-small", "lenet-5", "lenet-300-100"] {
            let mut net = zoo::build(name, [1, 16, 16], 4, 3).unwrap();
            fold_norms(&mut net).unwrap();
            net.sort().unwrap();
            // Channels far apart, as folding makes them in depthwise networks.
            let first = layers(&net).remove(0);
            let spread: Vec<f64> = (0..first.outputs)
                .map(|c| 4.0f64.powi(c as i32 % 5 - 2))
                .collect();
            scale_rows(&mut net, &first, &spread).unwrap();
            let x = (0..256).map(|i| ((i * 29) % 31) as f32 / 31.0).collect();
            let x = Tensor::f32(&[1, 1, 16, 16], x).unwrap();
            let before = eval(&net, &[("input", x.clone())]).unwrap().remove(0);
            let pairs = equalize(&mut net).unwrap();
            assert!(pairs > 0, "{name}");
            let after = eval(&net, &[("input", x)]).unwrap().remove(0);
            let scale = before
                .as_f32()
                .unwrap()
                .iter()
                .fold(0.0f32, |m, v| m.max(v.abs()));
            for (a, b) in after.as_f32().unwrap().iter().zip(before.as_f32().unwrap()) {
                assert!((a - b).abs() <= 1e-4 * scale, "{name}: {a} {b}");
            }
            let all = layers(&net);
            let first = &all[0];
            let second = joined(&net, first, &all).unwrap();
            let apart = factors(&net, first, second);
            assert!(
                apart.iter().all(|s| (s.ln()).abs() < 0.02),
                "{name}: {apart:?}"
            );
        }
    }

    #[test]
    fn a_bounded_activation_stands_in_the_way() {
        let mut net = zoo::build("lenet-300-100", [1, 4, 4], 3, 1).unwrap();
        let pairs = equalize(&mut net.clone()).unwrap();
        for node in net.nodes.iter_mut().filter(|n| n.op == Op::Relu) {
            node.op = Op::Clip;
            node.inputs = vec![node.inputs[0].clone(), "zero".into(), "six".into()];
        }
        for (name, v) in [("zero", 0.0), ("six", 6.0)] {
            net.constants
                .insert(name.into(), Constant::Tensor(Tensor::scalar_f32(v)));
        }
        assert_eq!((pairs, equalize(&mut net).unwrap()), (2, 0));
    }

    #[test]
    fn dead_channels_stay_dead() {
        let mut net = zoo::build("lenet-300-100", [1, 4, 4], 3, 1).unwrap();
        let layer = layers(&net).remove(0);
        let weight = net.weight(&layer.weight).unwrap();
        let mut values = weight.to_f32();
        values[..layer.depth].fill(0.0);
        let dead = Weight::dense(weight.shape().clone(), values).unwrap();
        net.constants
            .insert(layer.weight.clone(), Constant::Weight(dead));
        equalize(&mut net).unwrap();
        let after = net.weight(&layer.weight).unwrap().to_f32();
        assert!(after[..layer.depth].iter().all(|&v| v == 0.0));
    }

    /// A matrix behind a picture that was not flattened multiplies columns, not channels.
    #[test]
    fn what_sums_over_columns_is_no_partner() {
        let weight = |dims: &[usize]| {
            let shape = secateur_model::Shape::new(dims).unwrap();
            let values = (0..shape.elements()).map(|i| 0.1 * (i as f32 + 1.0));
            Constant::Weight(Weight::dense(shape, values.collect()).unwrap())
        };
        let conv = Op::Conv {
            window: secateur_model::Window::default(),
            groups: 1,
        };
        let mut net = zoo::build("lenet-5", [1, 28, 28], 4, 3).unwrap();
        net.constants = [
            ("w".to_owned(), weight(&[4, 1, 1, 1])),
            ("m".to_owned(), weight(&[4, 3])),
        ]
        .into_iter()
        .collect();
        let node = secateur_model::Node::new;
        net.nodes = vec![
            node("conv", conv, &["input", "w"], &["c"]),
            node("relu", Op::Relu, &["c"], &["r"]),
            node("product", Op::MatMul, &["r", "m"], &["y"]),
        ];
        assert_eq!(equalize(&mut net).unwrap(), 0);
    }

    /// Else what little is left of its weights would make its bias the largest number of all.
    #[test]
    fn a_channel_that_is_nearly_dead_keeps_its_bias() {
        let mut net = zoo::build("lenet-5", [1, 28, 28], 4, 3).unwrap();
        let first = layers(&net).remove(0);
        let mut factors = vec![1.0; first.outputs];
        factors[0] = 1e-7;
        scale_weight(&mut net, &first, |row, _| factors[row]).unwrap();
        let mut shift = vec![0.0; first.outputs];
        shift[0] = 0.5;
        first.shift_bias(&mut net, &shift).unwrap();
        equalize(&mut net).unwrap();
        let Bias::Constant(bias) = &first.bias else {
            panic!("a bias");
        };
        let largest = net.weight(bias).unwrap().to_f32()[0];
        assert!(largest < 5.0, "{largest}");
    }
}
