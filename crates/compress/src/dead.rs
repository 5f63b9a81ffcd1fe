//! Weights that nothing comes of: of neurons and channels that no weight feeds, or none reads.

use crate::bias::{own_bias, put_bias};
use crate::{CompressError, Pattern, View};
use secateur_model::{AutoPad, Bitmask, Constant, Graph, Op, Support, Values, Weight, Window};

/// Clears the weights of neurons and channels that have no input or no output left, and gives their
/// number; what the network computes stays the same. The next layer's bias takes the constant that a
/// neuron without inputs gives. Again and again, until nothing is left to clear.
///
/// Neurons are followed through activations, normalisation, pooling and Flatten from a convolution or
/// fully connected layer to the next, wherever nothing else reads them. Weights keep their form: a
/// block is cleared when all of it is dead. Tensors keep their extents.
///
/// ```
/// use secateur_compress::{Allocation, prune, clear_dead};
/// let mut net = secateur_model::zoo::build("lenet-300-100", [1, 8, 8], 10, 1)?;
/// prune(&mut net, &Allocation::Uniform(0.01).into(), None)?;
/// let cleared = clear_dead(&mut net)?;
/// assert!(cleared > 0 && clear_dead(&mut net)? == 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// None but those of weights that contradict themselves.
pub fn clear_dead(graph: &mut Graph) -> Result<usize, CompressError> {
    let mut cleared = 0;
    loop {
        let mut changed = 0;
        for index in 0..graph.nodes.len() {
            if let Some(path) = Path::from(graph, index) {
                changed += path.clear(graph)?;
            }
        }
        if changed == 0 {
            return Ok(cleared);
        }
        cleared += changed;
    }
}

/// A layer, what its outputs go through one by one, and the layer that reads them.
struct Path {
    /// Index of the node whose outputs are followed.
    from: usize,
    /// Nodes between.
    through: Vec<usize>,
    /// Index of the node that reads them.
    to: usize,
}

impl Path {
    fn from(graph: &Graph, from: usize) -> Option<Self> {
        let node = &graph.nodes[from];
        let (name, view) = View::of_node(graph, node)?;
        let stack = matches!(node.op, Op::MatMul)
            && graph.weight(name).is_some_and(|w| w.shape().rank() != 2);
        if view.groups != 1 || graph.reads_of(name) != 1 || stack {
            return None;
        }
        // What MatMul computes may have its channels last.
        let channels_first = matches!(node.op, Op::Conv { .. } | Op::Gemm { .. });
        let mut value = node.output(0)?;
        let mut through = Vec::new();
        loop {
            let index = graph.only_reader(value)?;
            let next = &graph.nodes[index];
            if graph.kernel_of(next).is_some() {
                let (name, read) = View::of_node(graph, next)?;
                let rows = !matches!(next.op, Op::Gemm { trans_a: true, .. });
                let fits = next.input(0) == Some(value) && rows && read.groups == 1;
                let whole = read.depth.is_multiple_of(view.outputs.max(1));
                let flat = |&i: &usize| matches!(graph.nodes[i].op, Op::Flatten { .. });
                // MatMul takes its operands along the last axis, a convolution along the second.
                let aligned = match (&node.op, &next.op) {
                    (Op::Conv { .. }, Op::MatMul) => through.iter().any(flat),
                    (Op::MatMul, Op::Conv { .. }) => false,
                    _ => true,
                };
                return (fits && whole && aligned && graph.reads_of(name) == 1).then_some(Self {
                    from,
                    through,
                    to: index,
                });
            }
            let elementwise = matches!(
                next.op,
                Op::Relu
                    | Op::LeakyRelu { .. }
                    | Op::Clip
                    | Op::Sigmoid
                    | Op::Tanh
                    | Op::Identity
                    | Op::Dropout
            );
            let by_channel = matches!(
                next.op,
                Op::BatchNormalization { .. }
                    | Op::MaxPool { .. }
                    | Op::AveragePool { .. }
                    | Op::GlobalAveragePool
                    | Op::GlobalMaxPool
                    | Op::Flatten { axis: 1 }
            );
            if !(elementwise || by_channel && channels_first) || next.input(0) != Some(value) {
                return None;
            }
            through.push(index);
            value = next.output(0)?;
        }
    }

    fn clear(&self, graph: &mut Graph) -> Result<usize, CompressError> {
        let (from, to) = (&graph.nodes[self.from], &graph.nodes[self.to]);
        let (Some((from_name, from_view)), Some((to_name, to_view))) =
            (View::of_node(graph, from), View::of_node(graph, to))
        else {
            return Ok(0);
        };
        let (from_name, to_name) = (from_name.to_owned(), to_name.to_owned());
        let (Some(from_weight), Some(to_weight)) =
            (graph.weight(&from_name), graph.weight(&to_name))
        else {
            return Ok(0);
        };
        let (from_values, to_values) = (from_weight.to_f32(), to_weight.to_f32());
        let mut from_bias = own_bias(graph, from, from_view.outputs);
        let mut to_bias = own_bias(graph, to, to_view.outputs);
        let has_bias = from.input(2).is_some();
        let padded = matches!(&to.op, Op::Conv { window, .. } if pads(window));

        let width = to_view.depth / from_view.outputs.max(1);
        let inputs = |output: usize| {
            let row = (0..from_view.depth).map(move |input| from_view.position(output, input));
            row.collect::<Vec<usize>>()
        };
        let readers = |channel: usize| -> Vec<usize> {
            (channel * width..(channel + 1) * width)
                .flat_map(|input| (0..to_view.outputs).map(move |o| to_view.position(o, input)))
                .collect()
        };
        let zero =
            |values: &[f32], positions: &[usize]| positions.iter().all(|&p| values[p] == 0.0);

        let mut gone_from = vec![false; from_values.len()];
        let mut gone_to = vec![false; to_values.len()];
        let mut constants = vec![0.0f32; from_view.outputs];
        for channel in 0..from_view.outputs {
            let (inputs, readers) = (inputs(channel), readers(channel));
            let (silent, unread) = (zero(&from_values, &inputs), zero(&to_values, &readers));
            if unread {
                inputs.iter().for_each(|&p| gone_from[p] = true);
            }
            if !silent {
                continue;
            }
            inputs.iter().for_each(|&p| gone_from[p] = true);
            let bias = match &from_bias {
                Some((_, bias)) => Some(bias[channel]),
                None => (!has_bias).then_some(0.0),
            };
            let constant = bias.and_then(|bias| self.constant(graph, channel, bias));
            let folds = |c: f32| c == 0.0 || to_bias.is_some() && !padded;
            if let Some(constant) = constant.filter(|&c| folds(c)) {
                constants[channel] = constant;
                readers.iter().for_each(|&p| gone_to[p] = true);
            }
        }

        let (to_weight, to_cleared) = cleared(to_weight, &gone_to)?;
        let (from_weight, from_cleared) = cleared(from_weight, &gone_from)?;
        // What was cleared gives its share to the bias; blocks that had to stay still give theirs.
        let left = to_weight.to_f32();
        if let Some((_, bias)) = &mut to_bias {
            for (p, (&before, &after)) in to_values.iter().zip(&left).enumerate() {
                if before != after {
                    let (output, input) = to_view.place(p);
                    bias[output] += before * constants[input / width.max(1)];
                }
            }
        }
        // A bias that nobody reads any more is nothing either.
        if let Some((_, bias)) = &mut from_bias {
            for (channel, bias) in bias.iter_mut().enumerate() {
                if zero(&left, &readers(channel)) {
                    *bias = 0.0;
                }
            }
        }
        for (name, weight) in [(from_name, from_weight), (to_name, to_weight)] {
            graph.constants.insert(name, Constant::Weight(weight));
        }
        for (name, values) in from_bias.into_iter().chain(to_bias) {
            put_bias(graph, &name, values)?;
        }
        Ok(from_cleared + to_cleared)
    }

    /// What the reader gets of a channel that is the same number everywhere; `None` where that is not
    /// one number.
    fn constant(&self, graph: &Graph, channel: usize, bias: f32) -> Option<f32> {
        self.through.iter().try_fold(bias, |x, &index| {
            let node = &graph.nodes[index];
            let parameter = |input: usize| -> Option<f32> {
                graph
                    .weight(node.input(input)?)?
                    .to_f32()
                    .get(channel)
                    .copied()
            };
            let bound = |input: usize, default: f32| match node.input(input) {
                None => Some(default),
                Some(name) => match graph.constants.get(name)? {
                    Constant::Tensor(tensor) => tensor.as_f32().ok()?.first().copied(),
                    Constant::Weight(weight) => weight.to_f32().first().copied(),
                },
            };
            Some(match &node.op {
                Op::Relu => x.max(0.0),
                Op::LeakyRelu { alpha } => {
                    if x < 0.0 {
                        alpha * x
                    } else {
                        x
                    }
                }
                Op::Clip => x
                    .max(bound(1, f32::NEG_INFINITY)?)
                    .min(bound(2, f32::INFINITY)?),
                Op::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                Op::Tanh => x.tanh(),
                Op::BatchNormalization { epsilon } => {
                    let [scale, shift, mean, variance] = [1, 2, 3, 4].map(parameter);
                    (x - mean?) / (variance? + epsilon).sqrt() * scale? + shift?
                }
                Op::AveragePool {
                    window,
                    count_include_pad: true,
                } if pads(window) && x != 0.0 => {
                    return None;
                }
                _ => x,
            })
        })
    }
}

fn pads(window: &Window) -> bool {
    match window.auto_pad {
        AutoPad::NotSet => window.pads.iter().any(|&p| p != 0),
        AutoPad::Valid => false,
        _ => true,
    }
}

/// The weight without the positions that are gone, in the form it has, and how many it has lost.
/// Blocks of which anything is left stay whole.
fn cleared(weight: &Weight, gone: &[bool]) -> Result<(Weight, usize), CompressError> {
    let before: Vec<usize> = weight.positions().collect();
    let mut keep = vec![false; gone.len()];
    before
        .iter()
        .filter(|&&p| !gone[p])
        .for_each(|&p| keep[p] = true);
    let (outputs, depth) = weight.matrix();
    let view = View {
        outputs,
        depth,
        groups: 1,
        columns: false,
    };
    let whole = match *weight.support() {
        Support::Blocks { h, w, .. } => Some(Pattern::Blocks { h, w }),
        Support::Channels(_) => Some(Pattern::Channels),
        Support::All | Support::Unstructured(_) | Support::NofM { .. } => None,
    };
    let mut mask = Bitmask::from_bools(&keep);
    if let Some(pattern) = whole {
        let units = pattern.units(weight.shape(), &view);
        mask = units.positions(&units.any(Some(&mask)));
    }
    let lost = before.len() - mask.count_ones();
    if lost == 0 {
        return Ok((weight.clone(), 0));
    }
    let stays: Vec<bool> = before.iter().map(|&p| mask.get(p)).collect();
    let (shape, support, values) = weight.clone().into_parts();
    let support = match support {
        Support::All | Support::Unstructured(_) => Support::Unstructured(mask),
        Support::NofM { n, m, .. } => Support::NofM { n, m, mask },
        Support::Blocks { h, w, .. } => Support::Blocks { h, w, mask },
        Support::Channels(_) => Support::Channels(mask),
    };
    let weight = Weight::new(shape, support, filtered(values, &stays))?;
    Ok((weight, lost))
}

/// The values that stay.
fn filtered(values: Values, stays: &[bool]) -> Values {
    fn of<T: Copy>(values: &[T], stays: &[bool]) -> Vec<T> {
        let placed = values.iter().zip(stays);
        placed
            .filter(|(_, stays)| **stays)
            .map(|(v, _)| *v)
            .collect()
    }
    match values {
        Values::F32(v) => Values::F32(of(&v, stays)),
        Values::F16(v) => Values::F16(of(&v, stays)),
        Values::BF16(v) => Values::BF16(of(&v, stays)),
        Values::Int { bits, codes, scale } => Values::Int {
            bits,
            codes: of(&codes, stays),
            scale,
        },
        Values::Shared { codebook, codes } => Values::Shared {
            codebook,
            codes: of(&codes, stays),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Allocation, Pruning, prune};
    use secateur_model::{Node, zoo};
    use secateur_train::logits;

    /// A network whose biases and normalisation do something.
    fn network(name: &str) -> Graph {
        let mut graph = zoo::build(name, [1, 8, 8], 10, 1).unwrap();
        for (index, (name, constant)) in graph.constants.iter_mut().enumerate() {
            let Constant::Weight(weight) = constant else {
                continue;
            };
            if weight.shape().rank() != 1 {
                continue;
            }
            let centre = if name.ends_with("scale") || name.ends_with("variance") {
                1.0
            } else {
                0.0
            };
            let value = |i: usize| centre + ((i * 37 + index * 11) % 21) as f32 / 40.0 - 0.25;
            let values = (0..weight.shape().elements()).map(value).collect();
            *weight = Weight::dense(weight.shape().clone(), values).unwrap();
        }
        graph
    }

    #[test]
    fn nothing_changes_but_the_number_of_weights() {
        let data = secateur_data::load("digits").unwrap().test;
        for name in ["lenet-300-100", "vgg-small", "resnet-20", "mobilenet-small"] {
            for pattern in ["unstructured", "8:64", "4x1", "channels"] {
                let mut graph = network(name);
                let pruning = Pruning {
                    pattern: pattern.parse().unwrap(),
                    ..Allocation::Uniform(0.02).into()
                };
                prune(&mut graph, &pruning, None).unwrap();
                let forms = |graph: &Graph| {
                    graph
                        .weights()
                        .map(|(_, w)| std::mem::discriminant(w.support()))
                        .collect::<Vec<_>>()
                };
                let (before, form) = (logits(&graph, &data).unwrap(), forms(&graph));
                let nonzeros =
                    |graph: &Graph| graph.weights().map(|(_, w)| w.kept()).sum::<usize>();
                let kept = nonzeros(&graph);
                let cleared = clear_dead(&mut graph).unwrap();
                assert_eq!(kept - nonzeros(&graph), cleared);
                assert_eq!(clear_dead(&mut graph).unwrap(), 0);
                if pattern == "unstructured" && name != "resnet-20" && name != "mobilenet-small" {
                    assert!(cleared > 0, "{name}");
                }
                let after = logits(&graph, &data).unwrap();
                let largest = before.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
                for (a, b) in before.iter().zip(&after) {
                    assert!((a - b).abs() < 1e-4 * largest, "{name} {pattern}: {a} {b}");
                }
                // What was dense may have got a mask; other forms stay.
                let now = forms(&graph);
                let all = std::mem::discriminant(&Support::All);
                assert!(form.iter().zip(&now).all(|(a, b)| a == b || *a == all));
            }
        }
    }

    #[test]
    fn channels_are_not_what_a_product_along_the_width_reads() {
        // Eight filters, and a product over lines of eight pixels: nothing that one counts is the other's.
        let mut graph = network("lenet-300-100");
        let (conv, matmul) = ("conv.weight", "lines.weight");
        let dense = |dims: &[usize]| {
            let shape = secateur_model::Shape::new(dims).unwrap();
            let values = (0..shape.elements())
                .map(|i| (i % 5) as f32 - 2.0)
                .collect();
            Weight::dense(shape, values).unwrap()
        };
        let without_third: Vec<bool> = (0..8 * 9).map(|p| p / 9 == 3).collect();
        let (filters, _) = cleared(&dense(&[8, 1, 3, 3]), &without_third).unwrap();
        graph
            .constants
            .insert(conv.into(), Constant::Weight(filters));
        graph
            .constants
            .insert(matmul.into(), Constant::Weight(dense(&[8, 16])));
        let node = |name: &str, op, inputs: [&str; 2]| Node {
            name: name.into(),
            op,
            inputs: inputs.map(String::from).to_vec(),
            outputs: vec![format!("{name}.out")],
        };
        let window = Window {
            pads: vec![1; 4],
            ..Window::new(&[3, 3])
        };
        let conv = node("conv", Op::Conv { window, groups: 1 }, ["input", conv]);
        graph.nodes = vec![conv, node("lines", Op::MatMul, ["conv.out", matmul])];
        graph.outputs[0].name = "lines.out".into();
        assert_eq!(clear_dead(&mut graph).unwrap(), 0);
    }

    #[test]
    fn a_neuron_without_inputs_becomes_a_bias_and_one_without_readers_goes() {
        let mut graph = network("lenet-300-100");
        let cut = |graph: &mut Graph, name: &str, keep: &dyn Fn(usize, usize) -> bool| {
            let weight = graph.weight(name).unwrap().clone();
            let columns = weight.matrix().1;
            let gone: Vec<bool> = (0..weight.kept())
                .map(|p| !keep(p / columns, p % columns))
                .collect();
            let (weight, _) = cleared(&weight, &gone).unwrap();
            graph
                .constants
                .insert(name.into(), Constant::Weight(weight));
        };
        // Neuron 3 of the first layer has no input; neuron 5 of the second has no reader.
        cut(&mut graph, "fc1.weight", &|row, _| row != 3);
        cut(&mut graph, "fc3.weight", &|_, column| column != 5);
        let bias = |graph: &Graph, name: &str| graph.weight(name).unwrap().to_f32();
        let constant = bias(&graph, "fc1.bias")[3].max(0.0);
        let (before, weights) = (
            bias(&graph, "fc2.bias"),
            graph.weight("fc2.weight").unwrap().to_f32(),
        );
        assert!(constant > 0.0);
        // A column of 100 and a row of 300 that cross.
        assert_eq!(clear_dead(&mut graph).unwrap(), 399);
        let after = bias(&graph, "fc2.bias");
        for output in 0..100 {
            let expected = if output == 5 {
                0.0
            } else {
                before[output] + weights[output * 300 + 3] * constant
            };
            assert!((after[output] - expected).abs() < 1e-6);
        }
        assert_eq!(bias(&graph, "fc1.bias")[3], 0.0);
    }
}
