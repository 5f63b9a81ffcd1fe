//! BatchNormalization becomes part of the layer before it, so that what is
//! quantized is what is computed: `w' = w·γ/√(σ²+ε)`, `b' = (b − µ)·γ/√(σ²+ε) + β`
//! (Jacob et al. 2018, §3.2).

use super::layers::{Layer, Layout, layers_where};
use crate::CompressError;
use secateur_model::{Constant, Graph, Node, Op, Scale, Values, Weight};

/// Folds every normalization that stands behind a layer, or a max pool behind it, and alone reads
/// it. Names of weights stay; masks stay. Gives how many were folded.
///
/// # Errors
/// A folded weight that is not finite.
pub fn fold_norms(graph: &mut Graph) -> Result<usize, CompressError> {
    lift_through_pools(graph);
    let mut folded = 0;
    loop {
        let found = layers_where(graph, foldable).into_iter().find_map(|layer| {
            let norm = norm_behind(graph, &layer)?;
            let factors = factors(graph, &graph.nodes[norm], layer.outputs)?;
            Some((layer, norm, factors))
        });
        let Some((layer, norm, (factors, shifts))) = found else {
            graph.drop_unused_constants();
            return Ok(folded);
        };
        scale_rows(graph, &layer, &factors)?;
        layer.shift_bias(graph, &shifts)?;
        let output = graph.nodes[norm].outputs[0].clone();
        graph.nodes[layer.node].outputs[0] = output;
        graph.nodes.remove(norm);
        folded += 1;
    }
}

/// Normalizes before a pool that stands between a layer and its normalization, where no channel is
/// turned around: the largest value then stays the largest.
fn lift_through_pools(graph: &mut Graph) {
    for layer in layers_where(graph, foldable) {
        let reader = |value: Option<&str>| graph.only_reader(value?);
        let Some(pool) = reader(graph.nodes[layer.node].output(0)) else {
            continue;
        };
        let node = &graph.nodes[pool];
        let is_pool = matches!(node.op, Op::MaxPool { .. }) && node.moves_values();
        let Some(norm) = reader(graph.nodes[pool].output(0)).filter(|_| is_pool) else {
            continue;
        };
        let factors = factors(graph, &graph.nodes[norm], layer.outputs);
        if !factors.is_some_and(|(factors, _)| factors.iter().all(|&f| f >= 0.0)) {
            continue;
        }
        let [computed, pooled] = [layer.node, pool].map(|n| graph.nodes[n].outputs[0].clone());
        let normalized = graph.nodes[norm].outputs[0].clone();
        graph.nodes.swap(pool, norm);
        let (norm, pool) = (pool, norm);
        graph.nodes[norm].inputs[0] = computed;
        graph.nodes[norm].outputs[0].clone_from(&pooled);
        graph.nodes[pool].inputs[0] = pooled;
        graph.nodes[pool].outputs[0] = normalized;
    }
}

/// Floats, and integers of one scale.
fn foldable(values: &Values) -> bool {
    match values {
        Values::F32(_) => true,
        Values::Int { scale, .. } => matches!(scale, Scale::PerTensor(_)),
        _ => false,
    }
}

/// Multiplies every row of a layer's weight, and its bias, by a factor.
pub(super) fn scale_rows(
    graph: &mut Graph,
    layer: &Layer,
    factors: &[f64],
) -> Result<(), CompressError> {
    match integers(graph, layer, factors)? {
        Some(weight) => {
            let name = layer.weight.clone();
            graph.constants.insert(name, Constant::Weight(weight));
        }
        None => scale_weight(graph, layer, |row, _| factors[row])?,
    }
    if let super::layers::Bias::Constant(name) = &layer.bias
        && let Some(old) = graph.constants.get(name).map(Constant::to_tensor)
    {
        let values = old.as_f32()?.iter().zip(factors);
        let values = values.map(|(&b, f)| (f64::from(b) * f) as f32).collect();
        let bias = Weight::dense(old.shape().clone(), values)?;
        graph.constants.insert(name.clone(), Constant::Weight(bias));
    }
    Ok(())
}

/// Integers of one scale stay integers, with a scale for each row that takes two bytes.
fn integers(
    graph: &Graph,
    layer: &Layer,
    factors: &[f64],
) -> Result<Option<Weight>, CompressError> {
    /// A scale is above zero.
    const LEAST: f64 = 1e-30;
    let Some(weight) = graph.weight(&layer.weight) else {
        return Ok(None);
    };
    let Values::Int {
        bits,
        codes,
        scale: Scale::PerTensor(scale),
    } = weight.values()
    else {
        return Ok(None);
    };
    let columns = layer.layout == Layout::Columns;
    let row = |position: usize| match columns {
        true => position % layer.outputs,
        false => position / layer.depth,
    };
    let scale_of = |factor: &f64| {
        let scale = (f64::from(*scale) * factor.abs()).max(LEAST);
        half::bf16::from_f64(scale).to_f32()
    };
    let codes = weight.positions().zip(codes);
    let codes = codes.map(|(position, &code)| match factors[row(position)] < 0.0 {
        true => -code,
        false => code,
    });
    let scales = factors.iter().map(scale_of).collect();
    let values = Values::Int {
        bits: *bits,
        codes: codes.collect(),
        scale: match columns {
            true => Scale::PerColumn(scales),
            false => Scale::PerChannel(scales),
        },
    };
    let (shape, support) = (weight.shape().clone(), weight.support().clone());
    Ok(Some(Weight::new(shape, support, values)?))
}

/// Multiplies each kept weight by a factor for its row and column.
pub(super) fn scale_weight(
    graph: &mut Graph,
    layer: &Layer,
    factor: impl Fn(usize, usize) -> f64,
) -> Result<(), CompressError> {
    let Some(weight) = graph.weight(&layer.weight) else {
        return Ok(());
    };
    let place = |position: usize| match layer.layout {
        Layout::Columns => (position % layer.outputs, position / layer.outputs),
        _ => (position / layer.depth, position % layer.depth),
    };
    let values = weight.positions().zip(weight.kept_f32()).map(|(p, v)| {
        let (row, column) = place(p);
        (f64::from(v) * factor(row, column)) as f32
    });
    let values = Values::F32(values.collect());
    let (shape, support, _) = weight.clone().into_parts();
    let weight = Weight::new(shape, support, values)?;
    graph
        .constants
        .insert(layer.weight.clone(), Constant::Weight(weight));
    Ok(())
}

/// The normalization that alone reads a layer whose bias can be moved.
fn norm_behind(graph: &Graph, layer: &Layer) -> Option<usize> {
    if layer.bias == super::layers::Bias::None || graph.nodes[layer.node].op == Op::MatMul {
        return None;
    }
    let reader = graph.only_reader(graph.nodes[layer.node].output(0)?)?;
    let norm = &graph.nodes[reader];
    let alone = matches!(norm.op, Op::BatchNormalization { .. });
    // Rows of a matrix product of higher rank are not its channels.
    let channels = matches!(
        layer.layout,
        Layout::Conv { .. } | Layout::Rows | Layout::Columns
    );
    (alone && channels).then_some(reader)
}

/// `γ/√(σ²+ε)` and what is added afterwards, one for each channel.
fn factors(graph: &Graph, norm: &Node, channels: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let Op::BatchNormalization { epsilon } = norm.op else {
        return None;
    };
    if norm.outputs.iter().skip(1).any(|output| !output.is_empty()) {
        // In training mode its statistics are those of the batch.
        return None;
    }
    let part = |index: usize| {
        let tensor = graph.constants.get(norm.input(index)?)?.to_tensor();
        let values = tensor.as_f32().ok()?;
        (values.len() == channels).then(|| values.iter().map(|&v| f64::from(v)).collect())
    };
    let [gamma, beta, mean, variance]: [Vec<f64>; 4] = [part(1)?, part(2)?, part(3)?, part(4)?];
    let factors: Vec<f64> = (0..channels)
        .map(|c| gamma[c] / (variance[c] + f64::from(epsilon)).sqrt())
        .collect();
    let shifts = (0..channels)
        .map(|c| beta[c] - mean[c] * factors[c])
        .collect();
    Some((factors, shifts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::{Bitmask, Support, Tensor, eval, zoo};

    /// Statistics and factors that are not the ones a network begins with.
    fn unsettle(graph: &mut Graph) {
        let names: Vec<String> = graph
            .nodes
            .iter()
            .filter(|n| matches!(n.op, Op::BatchNormalization { .. }))
            .flat_map(|n| n.inputs[1..].to_vec())
            .collect();
        for (i, name) in names.iter().enumerate() {
            let old = graph.constants[name].to_tensor();
            let values =
                (0..old.shape().elements()).map(|c| 0.5 + ((i * 5 + c * 3) % 7) as f32 / 9.0);
            let weight = Weight::dense(old.shape().clone(), values.collect()).unwrap();
            graph
                .constants
                .insert(name.clone(), Constant::Weight(weight));
        }
    }

    #[test]
    fn a_folded_network_computes_the_same() {
        for name in ["resnet-20", "mobilenet-small", "vgg-small", "resnet-9"] {
            let mut net = zoo::build(name, [3, 8, 8], 4, 3).unwrap();
            unsettle(&mut net);
            let x = (0..192).map(|i| ((i * 29) % 31) as f32 / 31.0).collect();
            let x = Tensor::f32(&[1, 3, 8, 8], x).unwrap();
            let before = eval(&net, &[("input", x.clone())]).unwrap().remove(0);
            let norms = |g: &Graph| {
                let is_norm = |n: &&Node| matches!(n.op, Op::BatchNormalization { .. });
                g.nodes.iter().filter(is_norm).count()
            };
            let all = norms(&net);
            let folded = fold_norms(&mut net).unwrap();
            net.sort().unwrap();
            assert_eq!((folded, norms(&net)), (all, 0), "{name}");
            let after = eval(&net, &[("input", x)]).unwrap().remove(0);
            let scale = before
                .as_f32()
                .unwrap()
                .iter()
                .fold(0.0f32, |m, v| m.max(v.abs()));
            for (a, b) in after.as_f32().unwrap().iter().zip(before.as_f32().unwrap()) {
                assert!((a - b).abs() <= 1e-4 * scale, "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn a_pool_that_gives_places_and_a_norm_in_training_stay() {
        let net = zoo::build("resnet-9", [3, 8, 8], 4, 3).unwrap();
        let folded = |net: &Graph| fold_norms(&mut net.clone()).unwrap();
        let is_pool = |n: &Node| matches!(n.op, Op::MaxPool { .. });
        let pool = net.nodes.iter().position(is_pool).unwrap();
        for (node, outputs) in [(pool, 1), (pool + 1, 2)] {
            let mut other = net.clone();
            let more = (0..outputs).map(|i| format!("more{i}"));
            other.nodes[node].outputs.extend(more);
            assert_eq!(folded(&other) + 1, folded(&net));
        }
    }

    #[test]
    fn integers_stay_integers_and_take_a_scale_for_each_channel() {
        let mut net = zoo::build("resnet-20", [3, 8, 8], 4, 3).unwrap();
        unsettle(&mut net);
        let first = layers_where(&net, foldable).remove(0).weight;
        let old = net.weight(&first).unwrap().clone();
        let codes = (0..old.shape().elements()).map(|i| (i % 7) as i16 - 3);
        let values = Values::Int {
            bits: 8,
            codes: codes.collect(),
            scale: Scale::PerTensor(0.1),
        };
        let weight = Weight::new(old.shape().clone(), Support::All, values).unwrap();
        net.constants
            .insert(first.clone(), Constant::Weight(weight));
        let gamma = net.nodes.iter().find_map(|n| match n.op {
            Op::BatchNormalization { .. } => Some(n.inputs[1].clone()),
            _ => None,
        });
        let gamma = gamma.unwrap();
        let mut factors = net.weight(&gamma).unwrap().to_f32();
        factors[0] *= -1.0;
        let shape = net.weight(&gamma).unwrap().shape().clone();
        let negative = Weight::dense(shape, factors).unwrap();
        net.constants.insert(gamma, Constant::Weight(negative));
        let mut folded = net.clone();
        fold_norms(&mut folded).unwrap();
        let values = folded.weight(&first).unwrap().values();
        assert!(matches!(
            values,
            Values::Int {
                scale: Scale::PerChannel(_),
                ..
            }
        ));
        let x = Tensor::f32(&[1, 3, 8, 8], vec![0.5; 192]).unwrap();
        let [before, after] =
            [&net, &folded].map(|net| eval(net, &[("input", x.clone())]).unwrap().remove(0));
        // A scale of two bytes has eight bits.
        for (a, b) in after.as_f32().unwrap().iter().zip(before.as_f32().unwrap()) {
            assert!((a - b).abs() <= 1e-2 * b.abs().max(1.0), "{a} {b}");
        }
    }

    #[test]
    fn a_mask_stays() {
        let mut net = zoo::build("resnet-20", [3, 8, 8], 4, 3).unwrap();
        let layer = layers_where(&net, foldable).remove(1);
        let weight = net.weight(&layer.weight).unwrap();
        let mask = Bitmask::from_fn(weight.shape().elements(), |i| i % 3 == 0);
        let values = weight.to_f32();
        let kept = mask.ones().map(|i| values[i]).collect();
        let shape = weight.shape().clone();
        let pruned = Weight::new(
            shape,
            Support::Unstructured(mask.clone()),
            Values::F32(kept),
        );
        net.constants
            .insert(layer.weight.clone(), Constant::Weight(pruned.unwrap()));
        fold_norms(&mut net).unwrap();
        assert_eq!(
            net.weight(&layer.weight).unwrap().support().mask(),
            Some(&mask)
        );
    }
}
