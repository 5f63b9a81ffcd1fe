//! The sparse array beside its simulator, cycle by cycle, and beside the reference, to the bit.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "../../engine/tests/support/mod.rs"]
mod networks;
mod support;

use networks::{Form, insert_pair, network, noise};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_accel::sparse::{Skips, SparseArray};
use secateur_accel::{Buffers, Image, Memory};
use secateur_model::{
    Constant, DType, Data, Dim, Graph, Node, Op, Scale, Shape, Support, Tensor, ValueInfo, Values,
    Weight, Window, quant,
};
use secateur_plan::IntegerLayer;
use secateur_plan::draft::Draft;
use secateur_plan::lower::lower;
use secateur_rtl::{Host, sparse};
use std::path::Path;
use support::host;

const ARRAY: SparseArray = SparseArray {
    groups: 4,
    lanes: 8,
    patch_bytes: 1024,
    sums_a_lane: 8,
    gap_bits: 3,
    requantized_a_cycle: 2,
    skips: Skips::Weights,
    gates_inputs: true,
    operand_bits: 8,
    patch_banks: 0,
};

const MEMORY: Memory = Memory {
    activation_bytes: 1 << 20,
    weight_bytes: 1 << 14,
    activation_bytes_a_cycle: 8.0,
    dram_bytes_a_cycle: 8.0,
    vector_elements_a_cycle: 8.0,
    buffers: Buffers::Parted,
    fuses_layers: false,
};

/// Runs every layer of a network that the array takes: what the simulator and the hardware count must be equal, sums and codes too.
/// Gives how many layers there were, and their cycles.
fn agrees(
    host: &mut Host,
    array: &SparseArray,
    memory: &Memory,
    (draft, input): &(Draft, Tensor),
) -> (usize, u64) {
    let values = draft.evaluate_all(&[("input", input)]).unwrap();
    let (mut layers, mut cycles) = (0, 0);
    for node in &draft.graph.nodes {
        let Some(layer) = IntegerLayer::of(draft, node).unwrap() else {
            continue;
        };
        let output = &values[node.output(0).unwrap()];
        let input = &values[node.input(0).unwrap()];
        let Some(image) = Image::of(&layer, input, output.shape().dims()) else {
            continue;
        };
        let place = format!("{}, {array:?}", node.name);
        let expected = array.run(&layer, &image, memory).unwrap();
        let found = sparse::run(host, array, &layer, &image, memory, 1 << 22);
        let found = found.unwrap().unwrap();
        assert_eq!(found.groups, expected.groups, "{place}");
        assert_eq!(found.cycles, expected.cycles, "{place}");
        assert_eq!(found.fetched, expected.activity.done, "{place}");
        assert_eq!(found.sums, expected.sums, "{place}");
        if let Some(y) = layer.y {
            let (lo, hi) = layer.numbers.bounds;
            let (outputs, pixels) = (layer.weights.rows(), image.pixels());
            for (at, (&sum, &code)) in found.sums.iter().zip(&found.codes).enumerate() {
                let (row, o) = (at / outputs, at % outputs);
                let defined = quant::requantize(sum, layer.numbers.factor[o], y.zero_point, lo, hi);
                assert_eq!(code, defined as u8, "{place}, sum {sum}");
                let at = match layer.is_conv() {
                    true => (row / pixels * outputs + o) * pixels + row % pixels,
                    false => at,
                };
                let of_reference = match output.data() {
                    Data::U8(codes) => Some(codes[at]),
                    Data::I8(codes) => Some(codes[at] as u8),
                    _ => None,
                };
                assert_eq!(of_reference, Some(code), "{place}");
            }
        }
        layers += 1;
        cycles += found.cycles;
    }
    (layers, cycles)
}

/// A network of one convolution of random extents, its inputs codes.
fn convolution(rng: &mut ChaCha8Rng) -> (Draft, Tensor) {
    let groups = [1, 1, 1, 2, 5][rng.random_range(0..5)];
    let (of_group, outputs) = (rng.random_range(1..7), rng.random_range(1..9) * groups);
    let mut pair = |most: usize| [rng.random_range(1..=most), rng.random_range(1..=most)];
    let (kernel, strides, dilations) = (pair(4), pair(2), pair(2));
    let reach = |axis: usize| (kernel[axis] - 1) * dilations[axis] + 1;
    let pads = pair(3).map(|pad| pad - 1);
    let more = pair(7);
    let extent = [0, 1].map(|axis| reach(axis) + more[axis]);
    let batch = rng.random_range(1..3);
    let dims = [batch, groups * of_group, extent[0], extent[1]];
    let shape = [outputs, of_group, kernel[0], kernel[1]];
    let kept = [0.02, 0.1, 0.5, 1.0][rng.random_range(0..4)];
    let codes = (0..shape.iter().product()).map(|_| match rng.random_bool(kept) {
        true => rng.random_range(-127..128),
        false => 0,
    });
    let codes = codes.collect();
    let window = Window {
        kernel: kernel.to_vec(),
        strides: strides.to_vec(),
        dilations: dilations.to_vec(),
        pads: [pads, pads].concat(),
        ..Window::default()
    };
    let zero = match rng.random_bool(0.5) {
        true => Data::U8(vec![rng.random_range(0..=255)]),
        false => Data::I8(vec![rng.random_range(-100..=100)]),
    };
    let live: f64 = rng.random_range(0.2..1.0);
    let input = noise(dims.iter().product(), rng.random::<u64>());
    let input = input
        .iter()
        .map(|&x| if rng.random_bool(live) { x } else { 0.0 });
    let input = Tensor::f32(&dims, input.collect()).unwrap();
    of_one_layer(Op::Conv { window, groups }, (&shape, codes), zero, input)
}

/// A network of one layer, its inputs codes with this zero point.
fn of_one_layer(
    op: Op,
    (shape, codes): (&[usize], Vec<i16>),
    zero: Data,
    input: Tensor,
) -> (Draft, Tensor) {
    let values = Values::Int {
        bits: 8,
        codes,
        scale: Scale::PerTensor(0.5),
    };
    let weight = Weight::new(Shape::new(shape).unwrap(), Support::All, values).unwrap();
    let known = input
        .shape()
        .dims()
        .iter()
        .map(|&n| Dim::Known(n))
        .collect();
    let value = |name: &str, dims| ValueInfo {
        name: name.into(),
        dtype: DType::F32,
        dims,
    };
    let mut graph = Graph {
        name: "one".into(),
        opset: 21,
        inputs: vec![value("input", Some(known))],
        outputs: vec![value("y", None)],
        nodes: vec![Node::new("layer", op, &["input", "w"], &["y"])],
        constants: [("w".to_owned(), Constant::Weight(weight))].into(),
        ..Graph::default()
    };
    let zero = Tensor::new(Shape::scalar(), zero).unwrap();
    insert_pair(&mut graph, "input", 1.0 / 127.0, zero);
    graph.sort().unwrap();
    (lower(&graph).unwrap().0, input)
}

/// The second array that is verilated.
const OTHER: (SparseArray, Memory) = (
    SparseArray {
        groups: 3,
        lanes: 16,
        patch_bytes: 4096,
        sums_a_lane: 16,
        gap_bits: 5,
        requantized_a_cycle: 4,
        skips: Skips::Weights,
        ..ARRAY
    },
    Memory {
        weight_bytes: 1 << 15,
        activation_bytes_a_cycle: 16.0,
        ..MEMORY
    },
);

#[test]
fn random_layers_take_the_simulators_cycles() {
    for (name, (array, memory)) in [("sparse_4x8", (ARRAY, MEMORY)), ("sparse_3x16", OTHER)] {
        let Some(mut host) = host(name) else { return };
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut layers = 0;
        for round in 0..40 {
            let skips = if round % 4 == 3 {
                Skips::Nothing
            } else {
                Skips::Weights
            };
            let array = SparseArray { skips, ..array };
            layers += agrees(&mut host, &array, &memory, &convolution(&mut rng)).0;
        }
        assert_eq!(layers, 40);
    }
}

#[test]
fn layers_of_networks_take_the_simulators_cycles() {
    let Some(mut host) = host("sparse_4x8") else {
        return;
    };
    for (name, input, form) in [
        ("lenet-5", [1, 28, 28], Form::PrunedInt8),
        ("resnet-20", [3, 10, 10], Form::PrunedInt8),
        ("mobilenet-small", [3, 12, 12], Form::Shared),
    ] {
        let images = networks::images(1, input, 7);
        let graph = network(name, input, form, &images);
        let net = (lower(&graph).unwrap().0, images);
        let (layers, cycles) = agrees(&mut host, &ARRAY, &MEMORY, &net);
        println!("{name}: {layers} layers, {cycles} cycles");
        assert!(layers > 3, "{name}: {layers}");
    }
}

/// A layer of SqueezeNet as Deep Compression's author published it, weights in steps of an 8-bit integer.
fn squeezenet(wanted: usize, shape: [usize; 4]) -> Option<Vec<i16>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/squeezenet-deep-compression/compressed_SqueezeNet.net");
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("SKIPPED: no shared/data/squeezenet-deep-compression beside the project");
        return None;
    };
    let word = |at: usize| <[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap();
    // Of each fire module, what squeezes, then the two that expand; the first and the last layer stand alone.
    let fires = [16, 16, 32, 32, 48, 48, 64, 64];
    let fires = fires.into_iter().flat_map(|n: usize| [n, 4 * n, 4 * n]);
    let outputs = std::iter::once(96).chain(fires).chain([1000]);
    let mut at = 26 * 4;
    for (layer, outputs) in outputs.enumerate() {
        let entries = u32::from_le_bytes(word(layer * 4)) as usize;
        let (codes, gaps) = (at + 1024 + outputs * 4, at + 1024 + outputs * 4 + entries);
        if layer == wanted {
            assert_eq!(outputs, shape[0]);
            let book: Vec<f32> = (0..256)
                .map(|i| f32::from_le_bytes(word(at + i * 4)))
                .collect();
            let largest = book.iter().fold(0f32, |most, w| most.max(w.abs()));
            let mut weights = vec![0; shape.iter().product()];
            let mut next = 0;
            for entry in 0..entries {
                let gap = (bytes[gaps + entry / 2] >> (entry % 2 * 4)) & 15;
                next += usize::from(gap);
                let weight = book[usize::from(bytes[codes + entry])];
                weights[next] = (weight / largest * 127.0).round() as i16;
                next += 1;
            }
            return Some(weights);
        }
        at = gaps + entries.div_ceil(2);
    }
    None
}

#[test]
fn real_layers_take_the_simulators_cycles() {
    let arrays = [
        ("sparse_4x8", (ARRAY, MEMORY), 24, [256, 64, 3, 3], 13),
        ("sparse_3x16", OTHER, 3, [64, 16, 3, 3], 28),
    ];
    for (name, (array, memory), layer, shape, extent) in arrays {
        let Some(mut host) = host(name) else { return };
        let Some(codes) = squeezenet(layer, shape) else {
            return;
        };
        let dims = [1, shape[1], extent, extent];
        // What comes out of a ReLU.
        let input = noise(dims.iter().product(), 9)
            .iter()
            .map(|x| x.max(0.0))
            .collect();
        let input = Tensor::f32(&dims, input).unwrap();
        let op = Op::Conv {
            window: Window {
                pads: vec![1; 4],
                ..Window::new(&[3, 3])
            },
            groups: 1,
        };
        let kept = codes.iter().filter(|&&code| code != 0).count();
        let net = of_one_layer(op, (&shape, codes), Data::U8(vec![0]), input);
        let (layers, cycles) = agrees(&mut host, &array, &memory, &net);
        println!("layer {layer} of SqueezeNet, {kept} weights, on {name}: {cycles} cycles");
        assert_eq!(layers, 1);
    }
}
