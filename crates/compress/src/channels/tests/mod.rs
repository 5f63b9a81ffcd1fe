//! Whole networks: cut, permuted and cleared of what does nothing.

mod networks;

use super::groups::{Channels, Guard};
use super::permute::{classes, signatures};
use super::select::Pick;
use super::{ChannelCut, Importance, permute_for_engine, prune_channels, remove_dead};
use networks::{hand_made, noise};
use proptest::prelude::*;
use secateur_model::{Constant, Graph, Op, Shape, Tensor, Weight, eval, ops, zoo};
use std::collections::{BTreeMap, HashMap};

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).unwrap()
}

/// A graph, with what its input needs.
struct Case {
    graph: Graph,
    inputs: Vec<(String, Shape)>,
}

impl Case {
    fn inputs(&self) -> Vec<(&str, Shape)> {
        self.inputs
            .iter()
            .map(|(n, s)| (n.as_str(), s.clone()))
            .collect()
    }

    fn images(&self, seed: u64) -> Vec<(&str, Tensor)> {
        let tensor = |s: &Shape| Tensor::f32(s, noise(s.elements(), seed)).unwrap();
        self.inputs
            .iter()
            .map(|(n, s)| (n.as_str(), tensor(s)))
            .collect()
    }
}

fn cases() -> Vec<Case> {
    let zoo = [
        ("lenet-300-100", [1, 5, 5]),
        ("lenet-5", [1, 16, 16]),
        ("resnet-20", [3, 4, 4]),
        ("mobilenet-small", [3, 4, 4]),
        ("vgg-small", [3, 8, 8]),
    ]
    .map(|(name, [c, h, w])| Case {
        graph: lively(zoo::build(name, [c, h, w], 4, 3).unwrap()),
        inputs: vec![("input".into(), shape(&[1, c, h, w]))],
    });
    let hand_made = hand_made().into_iter().map(|graph| {
        let Some(dims) = &graph.inputs[0].dims else {
            panic!("inputs are known");
        };
        let dims: Vec<usize> = dims
            .iter()
            .map(|d| d.to_string().parse().unwrap())
            .collect();
        Case {
            inputs: vec![("x".into(), shape(&dims))],
            graph,
        }
    });
    zoo.into_iter().chain(hand_made).collect()
}

/// Biases and normalization that do something.
fn lively(mut graph: Graph) -> Graph {
    for (index, (name, constant)) in graph.constants.iter_mut().enumerate() {
        if let Constant::Weight(weight) = constant
            && weight.shape().rank() == 1
        {
            let centre = f32::from(u8::from(
                name.ends_with("scale") || name.ends_with("variance"),
            ));
            let values = noise(weight.shape().elements(), index as u64 + 1);
            let values = values.iter().map(|v| centre + 0.3 * v).collect();
            *weight = Weight::dense(weight.shape().clone(), values).unwrap();
        }
    }
    graph
}

/// Runs the whole graph, but layers read zero from the channels that are gone.
fn with_zeros(case: &Case, channels: &Channels, pick: &Pick, seed: u64) -> Vec<Tensor> {
    let mut values: HashMap<String, Tensor> = case
        .graph
        .constants
        .iter()
        .map(|(name, constant)| (name.clone(), constant.to_tensor()))
        .collect();
    for (name, tensor) in case.images(seed) {
        values.insert(name.to_owned(), tensor);
    }
    for node in &case.graph.nodes {
        let summed: Option<usize> = match &node.op {
            Op::Conv { groups: 1, .. } | Op::Gemm { .. } => Some(1),
            Op::ConvTranspose(conv) if conv.groups == 1 => Some(1),
            Op::MatMul => Some(channels.values[&node.inputs[0]].len() - 1),
            Op::Recurrent(_) => Some(2),
            _ => None,
        };
        let mut read: Vec<Option<Tensor>> = node
            .inputs
            .iter()
            .map(|name| values.get(name).cloned())
            .collect();
        if let Some(axis) = summed
            && let Some(roots) = channels.roots(&node.inputs[0], axis)
            && let Some(x) = &read[0]
        {
            let (stride, mut v) = (x.shape().strides()[axis], x.as_f32().unwrap().to_vec());
            for (at, v) in v.iter_mut().enumerate() {
                if pick.gone.contains(&roots[at / stride % roots.len()]) {
                    *v = 0.0;
                }
            }
            read[0] = Some(Tensor::f32(x.shape(), v).unwrap());
        }
        let read: Vec<Option<&Tensor>> = read.iter().map(Option::as_ref).collect();
        let computed = ops::evaluate(node, &read).unwrap();
        for (name, tensor) in node.outputs.iter().zip(computed) {
            values.insert(name.clone(), tensor);
        }
    }
    case.graph
        .outputs
        .iter()
        .map(|o| values[&o.name].clone())
        .collect()
}

fn assert_close(found: &[Tensor], expected: &[Tensor], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.shape(), expected.shape(), "{what}");
        let (found, expected) = (found.as_f32().unwrap(), expected.as_f32().unwrap());
        let range = expected.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() <= 2e-5 * range, "{what}: {f} instead of {e}");
        }
    }
}

/// A random choice of what may go.
fn random_pick(channels: &Channels, share: f32, seed: u64) -> Pick {
    let mut guard = Guard::new(channels);
    let all: Vec<_> = channels.groups().iter().flat_map(|g| &g.channels).collect();
    let chances = noise(all.len(), seed);
    let chosen = all
        .iter()
        .zip(chances)
        .filter(|(_, chance)| (chance + 1.0) / 2.0 < share);
    Pick {
        gone: chosen
            .map(|(c, _)| c.atom)
            .filter(|&a| guard.remove(a))
            .collect(),
        ..Pick::default()
    }
}

#[test]
fn any_subset_gives_what_zeroed_channels_give() {
    for case in cases() {
        let channels = Channels::of(&case.graph, &case.inputs());
        for (seed, share) in [(1, 0.2), (2, 0.5), (3, 1.0)] {
            let pick = random_pick(&channels, share, seed);
            if pick.gone.is_empty() && share < 1.0 {
                continue;
            }
            let cut = channels.select(&case.graph, &pick).unwrap();
            assert!(cut.parameters() < case.graph.parameters());
            let found = eval(&cut, &case.images(seed)).unwrap();
            let expected = with_zeros(&case, &channels, &pick, seed);
            assert_close(&found, &expected, &case.graph.name);
        }
    }
}

#[test]
fn any_order_gives_the_same() {
    for case in cases() {
        let channels = Channels::of(&case.graph, &case.inputs());
        let signatures = signatures(&channels);
        let mut pick = Pick::default();
        for (at, group) in channels.groups().iter().enumerate() {
            for class in classes(group, &signatures) {
                let chances = noise(class.len(), at as u64 + 1);
                let mut order: Vec<usize> = (0..class.len()).collect();
                order.sort_by(|&a, &b| chances[a].total_cmp(&chances[b]));
                pick.moved.extend(
                    order
                        .iter()
                        .zip(&class)
                        .map(|(&from, &to)| (to, class[from])),
                );
            }
        }
        let moved = channels.select(&case.graph, &pick).unwrap();
        assert_ne!(moved, case.graph, "{}", case.graph.name);
        let outputs = |graph: &Graph| eval(graph, &case.images(2)).unwrap();
        assert_close(&outputs(&moved), &outputs(&case.graph), &case.graph.name);
    }
}

#[test]
fn rows_that_ask_alike_are_brought_together() {
    // Even rows of the second layer read the first 64 inputs, odd rows the others.
    let mut net = zoo::build("lenet-300-100", [1, 12, 12], 4, 1).unwrap();
    let weight = net.weight("fc1.weight").unwrap();
    let chances = noise(300 * 144, 3);
    let values = (0..300 * 144).map(|at| {
        let (row, column) = (at / 144, at % 144);
        let own = (column < 64) == (row % 2 == 0);
        if own && chances[at] > 0.7 {
            chances[at]
        } else {
            0.0
        }
    });
    let weight = Weight::dense(weight.shape().clone(), values.collect()).unwrap();
    net.constants
        .insert("fc1.weight".into(), Constant::Weight(weight));
    let case = Case {
        graph: net.clone(),
        inputs: vec![("input".into(), shape(&[1, 1, 12, 12]))],
    };
    let packing = permute_for_engine(&mut net, &case.inputs()).unwrap();
    assert!(packing.after < packing.before, "{packing:?}");
    let outputs = |graph: &Graph| eval(graph, &case.images(2)).unwrap();
    assert_close(&outputs(&net), &outputs(&case.graph), "ordered");
    let again = permute_for_engine(&mut net, &case.inputs()).unwrap();
    assert!(again.before == packing.after && again.after <= again.before);
}

/// The sizes of groups, those that are fixed negative.
fn sizes(graph: &Graph) -> Vec<i64> {
    let channels = Channels::of(graph, &[]);
    let size = |g: &super::Group| match g.fixed() {
        None => g.channels.len() as i64,
        Some(_) => -(g.channels.len() as i64),
    };
    channels.groups().iter().map(size).collect()
}

#[test]
fn groups_are_what_they_should_be() {
    // Parts of 4 and 5 of one convolution; 8 channels of which halves are multiplied.
    assert_eq!(sizes(&networks::branches()), [6, 4, 9, 4, -3, -2]);
    // Four groups, ten pairs; the transposed ones share their channels.
    assert_eq!(sizes(&networks::groups()), [4, 10, 6, -2]);
    assert_eq!(sizes(&networks::excite()), [8, 4, 6, -3]);
    // Three heads of queries, keys and values.
    assert_eq!(sizes(&networks::attention()), [3, -6, 9, -6]);
    assert_eq!(sizes(&networks::shuffle()), [3, -4]);
    assert_eq!(sizes(&networks::audio()), [6]);
    assert_eq!(sizes(&networks::computed()), [6, 5, -7, -4]);
}

#[test]
fn what_is_fixed_says_why() {
    let reason = |graph: &Graph, group: usize| {
        let channels = Channels::of(graph, &[]);
        channels.groups()[group]
            .fixed()
            .unwrap_or_default()
            .to_owned()
    };
    let computed = reason(&networks::computed(), 2);
    assert!(
        computed.contains("computes with their number"),
        "{computed}"
    );
    let given = reason(&networks::branches(), 4);
    assert!(given.contains("the network gives it out"), "{given}");
    let mut unknown = networks::shuffle();
    unknown.nodes[1].op = Op::Einsum {
        equation: "ab".into(),
    };
    let unknown = reason(&unknown, 0);
    assert!(unknown.contains("Einsum"), "{unknown}");
}

#[test]
fn residual_stages_are_one_group_each() {
    let net = zoo::build("resnet-20", [3, 32, 32], 10, 1).unwrap();
    let channels = Channels::of(&net, &[("input", shape(&[1, 3, 32, 32]))]);
    let mut sizes: Vec<usize> = channels.groups().iter().map(|g| g.channels.len()).collect();
    sizes.sort_unstable();
    // Three stages and nine blocks' inner convolutions, and the classes.
    assert_eq!(sizes, [10, 16, 16, 16, 16, 32, 32, 32, 32, 64, 64, 64, 64]);
    let stage = &channels.groups()[0];
    let weights = [
        "conv1.weight",
        "stage1.1.conv2.weight",
        "stage1.2.conv2.weight",
        "stage1.3.conv2.weight",
    ];
    assert_eq!(stage.weights, weights);
}

#[test]
fn shares_and_multiples_are_kept() {
    let build = || zoo::build("vgg-small", [3, 8, 8], 10, 1).unwrap();
    let inputs = [("input", shape(&[1, 3, 8, 8]))];
    let mut net = build();
    let cut = ChannelCut {
        groups: BTreeMap::from([("conv3*".to_owned(), 0.1)]),
        round_to: 16,
        ..ChannelCut::share(0.4)
    };
    let kept = prune_channels(&mut net, &inputs, &cut, Importance::Magnitude).unwrap();
    let counts: Vec<(usize, usize)> = kept.iter().map(|k| (k.kept, k.of)).collect();
    let expected = [
        (32, 64),
        (32, 64),
        (64, 128),
        (64, 128),
        (32, 256),
        (32, 256),
        (10, 10),
    ];
    assert_eq!(counts, expected);
    assert_eq!(
        net.weight("conv3_2.weight").unwrap().shape().dims(),
        [32, 32, 3, 3]
    );

    let mut depthwise = networks::groups();
    let cut = ChannelCut {
        round_to: 4,
        ..ChannelCut::share(0.3)
    };
    let kept = prune_channels(&mut depthwise, &[], &cut, Importance::Magnitude).unwrap();
    // Whole groups of three channels: one of them is not a multiple of 4, two are more.
    assert_eq!(kept[0].kept, 2);

    let error = |cut: &ChannelCut| {
        let mut net = build();
        let result = prune_channels(&mut net, &inputs, cut, Importance::Magnitude);
        result.unwrap_err().to_string()
    };
    assert!(error(&ChannelCut::share(0.0)).contains("above 0"));
    let name = ChannelCut {
        groups: BTreeMap::from([("nope*".to_owned(), 0.1)]),
        ..ChannelCut::share(0.4)
    };
    assert!(error(&name).contains("`nope*`"));
}

#[test]
fn the_least_important_go_first() {
    let inputs = [("input", shape(&[1, 1, 5, 5]))];
    let net = zoo::build("lenet-300-100", [1, 5, 5], 4, 1).unwrap();
    let rows = |net: &Graph| net.weight("fc2.weight").unwrap().to_f32();
    let length = |row: &[f32]| row.iter().map(|v| v * v).sum::<f32>();
    let cut = ChannelCut {
        groups: BTreeMap::from([("fc1*".to_owned(), 1.0)]),
        ..ChannelCut::share(0.25)
    };
    let mut by_length = net.clone();
    prune_channels(&mut by_length, &inputs, &cut, Importance::Magnitude).unwrap();
    let mut lengths: Vec<f32> = rows(&net).chunks(300).map(length).collect();
    let kept: Vec<f32> = rows(&by_length).chunks(300).map(length).collect();
    lengths.sort_by(f32::total_cmp);
    assert_eq!(kept.len(), 25);
    assert!(kept.iter().all(|l| *l >= lengths[75]));

    let last: Vec<f32> = (0..300 * 100).map(|i| (i / 300) as f32).collect();
    let given = BTreeMap::from([("fc2.weight".to_owned(), last)]);
    let mut by_place = net.clone();
    prune_channels(&mut by_place, &inputs, &cut, Importance::OfWeights(&given)).unwrap();
    assert_eq!(rows(&by_place), rows(&net)[75 * 300..]);
    let short = BTreeMap::from([("fc2.weight".to_owned(), vec![1.0])]);
    assert!(prune_channels(&mut by_place, &inputs, &cut, Importance::OfWeights(&short)).is_err());
}

/// Filters of these rows cleared.
fn clear_rows(graph: &mut Graph, name: &str, rows: &[usize]) {
    let weight = graph.weight(name).unwrap();
    let (_, columns) = weight.matrix();
    let mut values = weight.to_f32();
    for &row in rows {
        values[row * columns..][..columns].fill(0.0);
    }
    let weight = Weight::dense(weight.shape().clone(), values).unwrap();
    graph
        .constants
        .insert(name.into(), Constant::Weight(weight));
}

fn clear_columns(graph: &mut Graph, name: &str, gone: &[usize]) {
    let weight = graph.weight(name).unwrap();
    let mut values = weight.to_f32();
    let (taps, inputs) = (weight.shape().strides()[1], weight.shape()[1]);
    for (at, value) in values.iter_mut().enumerate() {
        if gone.contains(&(at / taps % inputs)) {
            *value = 0.0;
        }
    }
    let weight = Weight::dense(weight.shape().clone(), values).unwrap();
    graph
        .constants
        .insert(name.into(), Constant::Weight(weight));
}

#[test]
fn constants_of_dead_channels_reach_the_next_bias() {
    // No padding in lenet-5: constants go on through pooling and flattening.
    let mut net = lively(zoo::build("lenet-5", [1, 16, 16], 4, 3).unwrap());
    clear_rows(&mut net, "conv1.weight", &[0, 7]);
    clear_rows(&mut net, "conv2.weight", &[3]);
    clear_columns(&mut net, "fc2.weight", &[1, 2, 499]);
    let case = Case {
        graph: net.clone(),
        inputs: vec![("input".into(), shape(&[1, 1, 16, 16]))],
    };
    let removed = remove_dead(&mut net, &case.inputs()).unwrap();
    assert_eq!(removed, 6);
    assert_eq!(
        net.weight("conv2.weight").unwrap().shape().dims(),
        [49, 18, 5, 5]
    );
    assert_eq!(net.weight("fc1.weight").unwrap().shape().dims(), [497, 49]);
    let outputs = |net: &Graph| eval(net, &case.images(4)).unwrap();
    assert_close(&outputs(&net), &outputs(&case.graph), "lenet-5");
    assert_eq!(remove_dead(&mut net, &case.inputs()).unwrap(), 0);
}

#[test]
fn a_constant_stays_where_zeros_are_padded_around_it() {
    let build = |bias: f32| {
        let mut net = lively(zoo::build("vgg-small", [3, 8, 8], 4, 3).unwrap());
        clear_rows(&mut net, "conv1_1.weight", &[5]);
        let mut biases = net.weight("conv1_1.norm.bias").unwrap().to_f32();
        let means = net.weight("conv1_1.norm.mean").unwrap().to_f32();
        // Behind normalization and ReLU: `bias` where it is positive, else 0.
        let scale = net.weight("conv1_1.norm.scale").unwrap().to_f32()[5];
        let variance = net.weight("conv1_1.norm.variance").unwrap().to_f32()[5];
        biases[5] = bias + means[5] * scale / (variance + 1e-5).sqrt();
        let weight = Weight::dense(shape(&[64]), biases).unwrap();
        net.constants
            .insert("conv1_1.norm.bias".into(), Constant::Weight(weight));
        net
    };
    let inputs = [("input", shape(&[1, 3, 8, 8]))];
    assert_eq!(remove_dead(&mut build(1.0), &inputs).unwrap(), 0);
    let mut net = build(-1.0);
    assert_eq!(remove_dead(&mut net, &inputs).unwrap(), 1);
    assert_eq!(
        net.weight("conv1_1.norm.mean").unwrap().shape().dims(),
        [63]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn outputs_survive_the_removal_of_what_is_dead(which in 0usize..12, seed in 1u64..1000, share in 0.0f32..0.6) {
        let mut case = cases().remove(which);
        let names: Vec<String> = case.graph.nodes.iter()
            .filter_map(|n| case.graph.kernel_of(n))
            .map(|(name, _)| name.to_owned())
            .collect();
        for (at, name) in names.iter().enumerate() {
            let dims = case.graph.weight(name).unwrap().shape().dims().to_vec();
            let some = |n: usize, salt: u64| -> Vec<usize> {
                let chances = noise(n, seed + 31 * at as u64 + salt);
                (0..n).filter(|&i| (chances[i] + 1.0) / 2.0 < share).collect()
            };
            clear_rows(&mut case.graph, name, &some(dims[0], 0));
            clear_columns(&mut case.graph, name, &some(dims[1], 7));
        }
        let mut net = case.graph.clone();
        let removed = remove_dead(&mut net, &case.inputs()).unwrap();
        let outputs = |net: &Graph| eval(net, &case.images(seed)).unwrap();
        assert_close(&outputs(&net), &outputs(&case.graph), &case.graph.name);
        prop_assert!(removed > 0 || share < 0.5 || which > 4);
        prop_assert_eq!(remove_dead(&mut net, &case.inputs()).unwrap(), 0);
    }
}
