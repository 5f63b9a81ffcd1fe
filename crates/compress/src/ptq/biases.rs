//! Biases of integer layers, which are whole steps of 32-bit sums.
//!
//! Room for them: integer layers add it to 32-bit sums, in steps of the input's scale times the
//! weight's. A channel that is nearly dead has weights of a tiny scale, at which its bias, which is
//! not tiny, would not fit; one without weights may have any scale, at which its bias, which is all that is left of it,
//! would be rounded away.

use super::layers::{Bias, Layer, Layout, layers_where};
use crate::CompressError;
use crate::activations::before_moves;
use secateur_model::quant::MAX_BIAS;
use secateur_model::{Constant, Graph, Op, Scale, Values, Weight};
use std::borrow::Cow;

/// Widens the scales of integer weights with which the bias of a channel would not fit, and rounds the
/// channel's codes to them: that changes a product by less than a millionth of the bias. Channels without
/// weights get a scale that suits their bias. Gives how many channels were changed.
///
/// # Errors
/// Codes that make no weight.
pub fn make_room_for_biases(graph: &mut Graph) -> Result<usize, CompressError> {
    let mut changed = 0;
    for layer in layers_where(graph, |values| matches!(values, Values::Int { .. })) {
        let Some((input, biases)) = input_step_and_biases(graph, &layer) else {
            continue;
        };
        let biases: Vec<f32> = biases.iter().map(|bias| bias / input).collect();
        let Some(weight) = graph.weight(&layer.weight) else {
            continue;
        };
        if let Some((weight, channels)) = fitted(weight, &layer, &biases)? {
            changed += channels;
            let name = layer.weight.clone();
            graph.constants.insert(name, Constant::Weight(weight));
        }
    }
    Ok(changed)
}

/// The network as integer layers compute it, for its score: biases in whole steps of the sums. What is
/// kept stays as it is, since the file may have them in fewer bytes.
///
/// # Errors
/// Biases that make no weight.
pub fn with_rounded_biases(graph: &Graph) -> Result<Cow<'_, Graph>, CompressError> {
    let mut rounded = Cow::Borrowed(graph);
    for layer in layers_where(graph, |values| matches!(values, Values::Int { .. })) {
        let (Bias::Constant(name), Some((input, biases)), Some(weight)) = (
            &layer.bias,
            input_step_and_biases(graph, &layer),
            graph.weight(&layer.weight),
        ) else {
            continue;
        };
        let Some(bias) = graph.weight(name) else {
            continue;
        };
        let scales = match weight.values() {
            Values::Int {
                scale: Scale::PerTensor(scale),
                ..
            } => &vec![*scale; biases.len()],
            Values::Int {
                scale: Scale::PerChannel(scales) | Scale::PerColumn(scales),
                ..
            } => scales,
            _ => continue,
        };
        if scales.len() != biases.len() {
            continue;
        }
        let products = scales.iter().map(|scale| input * scale);
        let steps = biases.iter().zip(products);
        let steps = steps.map(|(bias, step)| ((bias / step).round_ties_even(), step));
        if steps.clone().any(|(steps, _)| steps.abs() > MAX_BIAS) {
            // Such a layer is computed in reals.
            continue;
        }
        let whole = steps.map(|(steps, step)| steps * step);
        let weight = Weight::dense(bias.shape().clone(), whole.collect())?;
        let constants = &mut rounded.to_mut().constants;
        constants.insert(name.clone(), Constant::Weight(weight));
    }
    Ok(rounded)
}

/// The step of a layer's input, where it reads codes, and its biases.
fn input_step_and_biases(graph: &Graph, layer: &Layer) -> Option<(f32, Vec<f32>)> {
    let Bias::Constant(name) = &layer.bias else {
        return None;
    };
    let producers = graph.producers();
    let source = before_moves(graph, &producers, &layer.input);
    let dequantize = &graph.nodes[*producers.get(source)?];
    if !matches!(dequantize.op, Op::DequantizeLinear { .. }) {
        return None;
    }
    let scale = graph.constants.get(dequantize.input(1)?)?.to_tensor();
    let &[scale] = scale.as_f32().ok()? else {
        return None;
    };
    let bias = graph.constants.get(name)?.to_tensor();
    Some((scale, bias.as_f32().ok()?.to_vec()))
}

/// The weight with other scales, and of how many channels; none where all suit their biases.
fn fitted(
    weight: &Weight,
    layer: &Layer,
    biases: &[f32],
) -> Result<Option<(Weight, usize)>, CompressError> {
    /// So that no rounding of the quotient takes it back.
    const MARGIN: f32 = 1.01;
    /// Steps of a bias that is alone.
    const STEPS: f32 = (1 << 16) as f32;
    let Values::Int { bits, codes, scale } = weight.values() else {
        return Ok(None);
    };
    let (Scale::PerChannel(scales) | Scale::PerColumn(scales)) = scale else {
        return Ok(None);
    };
    if biases.len() != scales.len() {
        return Ok(None);
    }
    let channel = |position: usize| match layer.layout {
        Layout::Columns => position % layer.outputs,
        Layout::Rows | Layout::Conv { .. } => position / layer.depth,
    };
    let wide = scales.iter().zip(biases);
    let wide: Vec<f32> = wide
        .map(|(scale, bias)| scale.max(MARGIN * bias.abs() / MAX_BIAS))
        .collect();
    let mut alone = vec![true; scales.len()];
    let codes = weight.positions().zip(codes).map(|(position, &code)| {
        let channel = channel(position);
        let code = (f32::from(code) * (scales[channel] / wide[channel])).round_ties_even() as i16;
        alone[channel] &= code == 0;
        code
    });
    let codes: Vec<i16> = codes.collect();
    let other = wide.iter().zip(biases).zip(alone);
    let other = other.map(|((&wide, bias), alone)| match alone {
        true if *bias != 0.0 => bias.abs() / STEPS,
        _ => wide,
    });
    let other: Vec<f32> = other.collect();
    let channels = other.iter().zip(scales).filter(|(o, s)| o != s).count();
    if channels == 0 {
        return Ok(None);
    }
    let values = Values::Int {
        bits: *bits,
        codes,
        scale: match scale {
            Scale::PerColumn(_) => Scale::PerColumn(other),
            _ => Scale::PerChannel(other),
        },
    };
    let (shape, support) = (weight.shape().clone(), weight.support().clone());
    Ok(Some((Weight::new(shape, support, values)?, channels)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{ActivationScale, Width};
    use crate::quantize_activations;
    use secateur_model::{Shape, Support, zoo};
    use std::collections::BTreeMap;

    /// A network whose first layer reads codes of a scale and has codes of its own, with scales and biases that
    /// go around by row; and that layer.
    fn net(
        step: f32,
        code: impl Fn(usize) -> i16,
        scales: [f32; 2],
        biases: [f32; 4],
    ) -> (Graph, Layer) {
        let mut net = zoo::build("lenet-300-100", [1, 8, 8], 10, 3).unwrap();
        let input = crate::quantizable(&net).remove(0);
        let scale = ActivationScale {
            scale: step,
            zero_point: 0,
            width: Width::Eight,
        };
        quantize_activations(&mut net, &BTreeMap::from([(input, scale)])).unwrap();
        let layer = layers_where(&net, |_| true).remove(0);
        let rows = layer.outputs;
        let values = Values::Int {
            bits: 8,
            codes: (0..rows * layer.depth).map(code).collect(),
            scale: Scale::PerChannel((0..rows).map(|r| scales[r % 2]).collect()),
        };
        let shape = Shape::new(&[rows, layer.depth]).unwrap();
        let weight = Weight::new(shape, Support::All, values).unwrap();
        let biases = (0..rows).map(|r| biases[r % 4]).collect();
        let bias = Weight::dense(Shape::new(&[rows]).unwrap(), biases).unwrap();
        for (name, weight) in [(&layer.weight, weight), (bias_of(&layer), bias)] {
            net.constants.insert(name.clone(), Constant::Weight(weight));
        }
        (net, layer)
    }

    fn bias_of(layer: &Layer) -> &String {
        match &layer.bias {
            Bias::Constant(name) => name,
            _ => panic!("the layer has a bias"),
        }
    }

    #[test]
    fn a_bias_of_a_nearly_dead_channel_fits() {
        let code = |i| (i % 255) as i16 - 127;
        let (mut net, layer) = net(0.01, code, [1e-3, 1e-12], [1.0; 4]);
        let before = net.weight(&layer.weight).unwrap().to_f32();
        assert_eq!(make_room_for_biases(&mut net).unwrap(), layer.outputs / 2);
        let after = net.weight(&layer.weight).unwrap();
        let Values::Int {
            scale: Scale::PerChannel(scales),
            ..
        } = after.values()
        else {
            panic!("integers stay integers");
        };
        assert!(scales.iter().all(|s| 1.0 / (0.01 * s) <= MAX_BIAS));
        for (a, b) in after.to_f32().iter().zip(&before) {
            assert!((a - b).abs() <= 1e-7, "{a} {b}");
        }
        assert_eq!(make_room_for_biases(&mut net).unwrap(), 0);
    }

    #[test]
    fn a_score_is_of_biases_in_whole_steps() {
        let reals = zoo::build("lenet-300-100", [1, 8, 8], 10, 3).unwrap();
        let same = with_rounded_biases(&reals).unwrap();
        assert!(matches!(same, Cow::Borrowed(_)));

        let (net, layer) = net(0.5, |_| 1, [0.5, 4.0], [-0.7, 0.9, 0.0, 3.1]);
        let before = net.weight(bias_of(&layer)).unwrap().to_f32();
        let rounded = with_rounded_biases(&net).unwrap();
        let rounded = rounded.weight(bias_of(&layer)).unwrap().to_f32();
        // Steps of 0.25 and of 2.
        let expected = [-0.75, 0.0, 0.0, 4.0].iter().cycle();
        let mut pairs = rounded.iter().zip(expected);
        assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(net.weight(bias_of(&layer)).unwrap().to_f32(), before);
    }

    #[test]
    fn a_bias_without_weights_is_not_rounded_away() {
        let net = zoo::build("lenet-300-100", [1, 8, 8], 10, 3).unwrap();
        let layer = layers_where(&net, |_| true).remove(0);
        let (rows, columns) = (layer.outputs, layer.depth);
        let mut codes = vec![0; rows * columns];
        codes[0] = 5;
        let values = Values::Int {
            bits: 8,
            codes,
            scale: Scale::PerChannel((0..rows).map(|r| [0.5, 700.0][r.min(1)]).collect()),
        };
        let weight = Weight::new(Shape::new(&[rows, columns]).unwrap(), Support::All, values);
        let weight = weight.unwrap();
        let (fitted, channels) = fitted(&weight, &layer, &vec![20.0; rows]).unwrap().unwrap();
        assert_eq!(channels, rows - 1);
        assert_eq!(fitted.to_f32(), weight.to_f32());
        let Values::Int {
            scale: Scale::PerChannel(scales),
            ..
        } = fitted.values()
        else {
            panic!("integers stay integers");
        };
        assert_eq!(scales[0], 0.5);
        assert_eq!((20.0 / scales[1]).round(), 65_536.0);
    }
}
