//! Whole networks on machines: sums to the bit, and every cycle and multiply accounted for.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "../../engine/tests/support/mod.rs"]
mod support;

use secateur_accel::eie::{Columns, Eie};
use secateur_accel::sparse::{Activity, GroupCycles, Skips, SparseArray};
use secateur_accel::{Array, Evaluated, Image, Kind, Machine, NetworkCost, simulate};
use secateur_model::{
    Constant, DType, Data, Dim, Graph, Node, Op, Scale, Shape, Support, Tensor, ValueInfo, Values,
    Weight, Window,
};
use secateur_plan::IntegerLayer;
use secateur_plan::draft::Draft;
use secateur_plan::lower::lower;
use support::{Form, NETWORKS, images, network};

fn lowered(name: &str, input: [usize; 3], form: Form) -> (Draft, Tensor) {
    let images = images(1, input, 7);
    let graph = network(name, input, form, &images);
    (lower(&graph).unwrap().0, images)
}

fn on(machine: &Machine, (draft, images): &(Draft, Tensor)) -> NetworkCost {
    simulate(machine, draft, &[("input", images)]).unwrap()
}

/// Our machine with another array.
fn with(change: impl FnOnce(&mut SparseArray)) -> Machine {
    let mut machine = Machine::builtin("secateur-1tops").unwrap();
    if let Array::Sparse(array) = &mut machine.array {
        change(array);
    }
    machine
}

#[test]
fn sums_are_exact_and_cycles_are_accounted_for() {
    let machines = [
        Machine::builtin("secateur-1tops").unwrap(),
        Machine::builtin("systolic-32x32").unwrap(),
        with(|a| a.patch_bytes = 700),
        with(|a| (a.groups, a.lanes, a.sums_a_lane, a.gap_bits) = (3, 8, 2, 2)),
        with(|a| a.skips = Skips::Nothing),
    ];
    for (name, input) in NETWORKS {
        for form in [Form::Int8, Form::PrunedInt8, Form::Shared] {
            let net = lowered(name, input, form);
            for machine in &machines {
                let cost = on(machine, &net);
                let layers: Vec<_> = cost
                    .layers
                    .iter()
                    .filter(|l| l.kind == Kind::Array)
                    .collect();
                assert!(!layers.is_empty(), "{name} {form:?}");
                let mut cycles = 0;
                for layer in &cost.layers {
                    let place = format!("{name} {form:?} {} {}", machine.name, layer.name);
                    cycles += layer.cycles + layer.dram_wait_cycles;
                    if layer.kind != Kind::Host {
                        let causes: f64 = layer.causes().iter().map(|(_, n)| n).sum();
                        let all = (layer.cycles + layer.dram_wait_cycles) as f64;
                        assert!((causes - all).abs() < 1e-6 * all, "{place}");
                    }
                    if layer.kind != Kind::Array {
                        continue;
                    }
                    let summed = matches!(machine.array, Array::Sparse(_));
                    assert_eq!(layer.exact, summed.then_some(true), "{place}");
                    assert!(cost.cells_busy(layer) <= 1.0, "{place}");
                    let Activity {
                        dense,
                        weight_zero,
                        input_zero,
                        done,
                        ..
                    } = layer.activity;
                    assert_eq!(dense, weight_zero + input_zero + done, "{place}");
                    if let (Some(groups), Array::Sparse(array)) = (&layer.groups, &machine.array) {
                        assert_eq!(
                            groups.total(),
                            layer.cycles * array.groups as u64,
                            "{place}"
                        );
                    }
                }
                assert_eq!(cost.cycles, cycles + cost.answer_cycles, "{name}");
            }
        }
    }
}

#[test]
fn what_is_recorded_changes_nothing_and_adds_up() {
    let (draft, images) = lowered("resnet-20", [3, 16, 16], Form::PrunedInt8);
    let network = Evaluated::new(&draft, &[("input", &images)]).unwrap();
    let machine = with(|a| a.patch_bytes = 700);
    let bare = network.cost(&machine).unwrap();
    let mut cost = network.recorded(&machine).unwrap();
    assert!(!cost.busy.is_empty() && bare.busy.is_empty());
    for busy in &cost.busy {
        assert!(
            busy.from < busy.to && busy.to <= cost.cycles as f64 + 1.0,
            "{busy:?}"
        );
    }
    let mut whole = 0;
    for layer in &mut cost.layers {
        let spans = std::mem::take(&mut layer.spans);
        let (Some(groups), Some(last)) = (&layer.groups, spans.last()) else {
            continue;
        };
        let mut at = 0;
        for span in &spans {
            assert_eq!(span.start, at, "{}", layer.name);
            let length = span.groups[0].total();
            assert!(span.groups.iter().all(|g| g.total() == length));
            at += length;
        }
        // All of a short layer is there.
        if at == layer.cycles {
            let of_all = spans.iter().flat_map(|span| &span.groups);
            let sum = of_all.fold(GroupCycles::default(), |sum, g| sum.plus(g));
            assert_eq!(sum, *groups, "{}", layer.name);
            whole += 1;
        }
        assert!(spans.len() <= 64 && last.groups.len() == 16);
    }
    assert!(whole > 0);
    cost.busy.clear();
    assert_eq!(cost, bare);
}

#[test]
fn layers_that_are_worked_on_together_move_less() {
    let net = lowered("vgg-small", [3, 32, 32], Form::PrunedInt8);
    let cost = |fuses_layers| {
        let mut machine = Machine::builtin("secateur-1tops").unwrap();
        let memory = machine.memory.as_mut().unwrap();
        memory.activation_bytes = 40_000;
        memory.fuses_layers = fuses_layers;
        on(&machine, &net)
    };
    let (together, alone) = (cost(true), cost(false));
    assert_eq!(together.dram_least_bytes, alone.dram_least_bytes);
    // What is moved although it need not be.
    let more = |cost: &NetworkCost| cost.moved.dram_bytes() - cost.dram_least_bytes;
    assert!(
        2 * more(&together) < more(&alone),
        "{} {}",
        more(&together),
        more(&alone)
    );
    assert!(together.cycles < alone.cycles);
    assert!(alone.layers.iter().all(|layer| layer.together == 1));
    let (mut fused, mut waited) = (0, 0);
    for (layer, before) in together.layers.iter().zip(&alone.layers) {
        assert_eq!(layer.exact, before.exact);
        assert_eq!(layer.activity, before.activity);
        if let (Some(groups), Some(of_before)) = (layer.groups, before.groups) {
            assert_eq!(groups.total(), 16 * layer.cycles, "{}", layer.name);
            assert_eq!(groups.busy, of_before.busy);
        }
        fused += usize::from(layer.together > 1);
        waited += layer.cycles - before.cycles;
    }
    // Each band of each layer has a beginning and an end of its own.
    assert!(fused >= 3 && waited > 0, "{fused} {waited}");
    let cycles: u64 = together
        .layers
        .iter()
        .map(|l| l.cycles + l.dram_wait_cycles)
        .sum();
    assert_eq!(together.cycles, cycles + together.answer_cycles);
}

/// What is done and what is left out, counted one by one.
fn counted(draft: &Draft, node: usize, inputs: &Tensor) -> Option<Activity> {
    let values = draft.evaluate_all(&[("input", inputs)]).unwrap();
    let node = &draft.graph.nodes[node];
    let layer = IntegerLayer::of(draft, node).unwrap()?;
    let output = values[node.output(0)?].shape().dims();
    let image = Image::of(&layer, &values[node.input(0)?], output)?;
    let (rows, window) = (layer.weights.rows(), &image.window);
    let of_group = window.channels / layer.groups;
    let mut count = Activity::default();
    for at in 0..image.pixels() {
        let pixel = [at / window.output[1], at % window.output[1]];
        for o in 0..rows {
            let first = o / (rows / layer.groups) * of_group;
            for k in 0..layer.weights.cols() as u32 {
                let tap = k as usize / of_group;
                let tap = [tap / window.kernel[1], tap % window.kernel[1]];
                let under = image.under(0, pixel, tap);
                let x = under.map_or(0, |values| values[first + k as usize % of_group]);
                count.dense += 1;
                match (layer.weights.row(o).0.contains(&k), x) {
                    (false, _) => {
                        count.weight_zero += 1;
                        count.skipped += 1;
                    }
                    (true, 0) => count.input_zero += 1,
                    (true, _) => count.done += 1,
                }
            }
        }
    }
    Some(count)
}

#[test]
fn multiplies_are_those_of_two_operands_that_are_not_zero() {
    for (name, input) in [("resnet-20", [3, 7, 9]), ("mobilenet-small", [3, 8, 8])] {
        let net = lowered(name, input, Form::PrunedInt8);
        let cost = on(&Machine::builtin("secateur-1tops").unwrap(), &net);
        let mut compared = 0;
        for (index, node) in net.0.graph.nodes.iter().enumerate() {
            let Some(expected) = counted(&net.0, index, &net.1) else {
                continue;
            };
            let layer = cost.layers.iter().find(|l| l.name == node.name).unwrap();
            let found = Activity {
                no_pixel: 0,
                ..layer.activity
            };
            assert_eq!(found, expected, "{name} {}", node.name);
            compared += 1;
        }
        assert!(compared > 10, "{compared}");
    }
}

#[test]
fn lanes_that_meet_in_a_bank_wait_for_each_other() {
    let net = lowered("resnet-20", [3, 32, 32], Form::PrunedInt8);
    let cost = |banks| on(&with(|a| a.patch_banks = banks), &net);
    let waited = |cost: &NetworkCost| -> u64 {
        let groups = cost.layers.iter().filter_map(|l| l.groups);
        groups.map(|g| g.banks).sum()
    };
    let (never, one, many) = (cost(0), cost(1), cost(64));
    assert_eq!(waited(&never), 0);
    // With one bank, lanes read one behind the other.
    let busy: u64 = one
        .layers
        .iter()
        .filter_map(|l| l.groups)
        .map(|g| g.busy)
        .sum();
    assert!(waited(&one) > 20 * busy, "{}", waited(&one));
    assert!(waited(&many) > 0 && waited(&many) < waited(&one));
    assert!(never.cycles < many.cycles && many.cycles < one.cycles);
}

#[test]
fn each_kind_of_zero_saves_cycles() {
    let net = lowered("resnet-20", [3, 32, 32], Form::PrunedInt8);
    let cycles = [Skips::Nothing, Skips::Weights, Skips::WeightsAndVectors]
        .map(|skips| on(&with(|a| a.skips = skips), &net).cycles);
    assert!(
        cycles[0] > 3 * cycles[1] && cycles[1] >= cycles[2],
        "{cycles:?}"
    );
}

#[test]
fn eie_runs_shared_weights_of_products() {
    let net = lowered("lenet-300-100", [1, 12, 12], Form::Shared);
    let cost = on(&Machine::builtin("eie-64").unwrap(), &net);
    let run: Vec<_> = cost
        .layers
        .iter()
        .filter(|l| l.kind == Kind::Array)
        .collect();
    assert_eq!(run.len(), 3, "{:?}", cost.layers);
    assert!(run.iter().all(|l| l.exact == Some(true) && l.cycles > 0));
}

#[test]
fn what_does_not_fit_is_told_with_layer_need_and_capacity() {
    let net = lowered("lenet-5", [1, 28, 28], Form::Int8);
    let refused = |machine: &Machine| {
        let run = simulate(machine, &net.0, &[("input", &net.1)]);
        run.unwrap_err().to_string()
    };
    let patch = refused(&with(|a| a.patch_bytes = 20));
    assert!(
        patch.contains("conv1") && patch.contains("patch_bytes has 20"),
        "{patch}"
    );
    let mut machine = Machine::builtin("secateur-1tops").unwrap();
    machine.memory.as_mut().unwrap().weight_bytes = 100;
    let weights = refused(&machine);
    assert!(weights.contains("weight_bytes has 100"), "{weights}");
}

/// A network of one layer that multiplies, its input and output codes: what is lowered to an integer layer.
fn one_layer(op: Op, dims: &[usize], weight: &[usize]) -> (Draft, Tensor) {
    let noise = support::noise(dims.iter().product(), 5);
    let input = Tensor::f32(dims, noise).unwrap();
    layer_of(op, input, weight, |i| (i * 5 % 7) as i16 - 3)
}

/// Such a network with codes of one's own, weights by their places.
fn layer_of(
    op: Op,
    input: Tensor,
    weight: &[usize],
    code: impl Fn(usize) -> i16,
) -> (Draft, Tensor) {
    let dims = input.shape().dims().to_vec();
    let count = weight.iter().product::<usize>();
    let weight = Weight::new(
        Shape::new(weight).unwrap(),
        Support::All,
        Values::Int {
            bits: 4,
            codes: (0..count).map(code).collect(),
            scale: Scale::PerTensor(0.5),
        },
    )
    .unwrap();
    let known = dims.iter().map(|&n| Dim::Known(n)).collect();
    let mut graph = Graph {
        name: "one".into(),
        opset: 21,
        inputs: vec![ValueInfo {
            name: "input".into(),
            dtype: DType::F32,
            dims: Some(known),
        }],
        outputs: vec![ValueInfo {
            name: "y".into(),
            dtype: DType::F32,
            dims: None,
        }],
        nodes: vec![Node::new("layer", op, &["input", "w"], &["y"])],
        constants: [("w".to_owned(), Constant::Weight(weight))].into(),
        ..Graph::default()
    };
    let zero = Tensor::new(Shape::scalar(), Data::U8(vec![128])).unwrap();
    support::insert_pair(&mut graph, "input", 1.0 / 127.0, zero);
    graph.sort().unwrap();
    (lower(&graph).unwrap().0, input)
}

/// Sparseloop's smallest case: of sixteen products four have operands that are not zero.
#[test]
fn gating_saves_multiplies_and_skipping_cycles_too() {
    type Kept = fn(usize) -> bool;
    let (few, all): (Kept, Kept) = (|i| i % 4 == 0, |_| true);
    let of = |weights: Kept, inputs: Kept, machine: &Machine| {
        let input = (0..16).map(|i| if inputs(i) { 0.5 } else { 0.0 }).collect();
        let input = Tensor::f32(&[1, 1, 1, 16], input).unwrap();
        let net = layer_of(Op::MatMul, input, &[16, 1], |i| i16::from(weights(i)));
        let cost = on(machine, &net);
        let layer = cost.layers.iter().find(|l| l.name == "layer").unwrap();
        assert_eq!(layer.exact, Some(true));
        let Array::Sparse(array) = &machine.array else {
            unreachable!()
        };
        let multiplies = match array.gates_inputs {
            true => layer.activity.done,
            false => layer.activity.in_cells(),
        };
        (layer.groups.unwrap().busy, multiplies)
    };
    let dense = with(|a| (a.skips, a.gates_inputs) = (Skips::Nothing, false));
    let gated = with(|a| a.skips = Skips::Nothing);
    let skipping = with(|_| {});
    assert_eq!(of(all, few, &dense), (16, 16));
    assert_eq!(of(all, few, &gated), (16, 4));
    assert_eq!(of(few, all, &gated), (16, 4));
    assert_eq!(of(few, all, &skipping), (4, 4));
}

#[test]
fn products_of_four_dimensions_are_products() {
    for batch in [1, 2] {
        let net = one_layer(Op::MatMul, &[batch, 3, 5, 8], &[8, 6]);
        let cost = on(&Machine::builtin("secateur-1tops").unwrap(), &net);
        let layer = cost.layers.iter().find(|l| l.name == "layer").unwrap();
        assert_eq!((layer.kind, layer.exact), (Kind::Array, Some(true)));
        assert_eq!(layer.activity.dense, (batch * 3 * 5 * 8 * 6) as u64);
    }
}

#[test]
fn eie_takes_convolutions_that_are_products_and_leaves_others_to_the_host() {
    let conv = |groups| Op::Conv {
        window: Window {
            pads: vec![1; 4],
            ..Window::new(&[3, 3])
        },
        groups,
    };
    let eie = Machine::builtin("eie-64").unwrap();
    let cases = [
        (conv(1), [1, 4, 1, 1], [6, 4, 3, 3], Kind::Array),
        (conv(4), [1, 4, 1, 1], [4, 1, 3, 3], Kind::Host),
        (conv(1), [1, 4, 2, 2], [6, 4, 3, 3], Kind::Host),
    ];
    for (op, dims, weight, kind) in cases {
        let cost = on(&eie, &one_layer(op, &dims, &weight));
        let layer = cost.layers.iter().find(|l| l.name == "layer").unwrap();
        assert_eq!(layer.kind, kind, "{dims:?}");
        assert_eq!(kind == Kind::Host, layer.host_microseconds > 0.0);
        assert!(cost.host_microseconds >= layer.host_microseconds);
        assert!(layer.exact.is_none_or(|exact| exact) && cost.cells_busy(layer) <= 1.0);
    }
}

#[test]
fn a_layer_of_one_pixel_needs_the_patch_of_one_pixel() {
    let net = one_layer(Op::MatMul, &[1, 1, 1, 64], &[64, 6]);
    let tiling = |patch_bytes| {
        let cost = on(&with(|a| a.patch_bytes = patch_bytes), &net);
        cost.layers.iter().find_map(|l| l.tiling).unwrap()
    };
    assert_eq!((tiling(64).tile, tiling(64).channels), ([1, 1], 64));
    assert_eq!(tiling(16).channels, 16);
}

#[test]
fn what_the_scratchpad_does_not_hold_goes_beyond_the_chip() {
    let net = lowered("vgg-small", [3, 32, 32], Form::PrunedInt8);
    let ours = Machine::builtin("secateur-1tops").unwrap();
    let mut small = ours.clone();
    small.memory.as_mut().unwrap().activation_bytes = 32768;
    let (held, spilled) = (on(&ours, &net), on(&small, &net));
    assert!(spilled.moved.dram_bytes() > held.moved.dram_bytes() + 100_000);
    assert!(spilled.cycles > held.cycles);
}

#[test]
fn a_shared_scratchpad_holds_parts_of_what_the_array_takes_at_once() {
    let net = one_layer(Op::MatMul, &[1, 1, 1, 512], &[512, 64]);
    let mut machine = Machine::builtin("nvdla-64").unwrap();
    let memory = machine.memory.as_mut().unwrap();
    // Eight outputs at once are 4160 bytes of weights.
    (memory.activation_bytes, memory.weight_bytes) = (2048, 2048);
    let cost = on(&machine, &net);
    assert!(cost.moved.dram_bytes() >= 512 * 64);
    let memory = machine.memory.as_mut().unwrap();
    (memory.activation_bytes, memory.weight_bytes) = (500, 500);
    let refused = simulate(&machine, &net.0, &[("input", &net.1)]).unwrap_err();
    assert!(refused.to_string().contains("`layer`"), "{refused}");
}

#[test]
fn machines_that_cannot_be_built_are_refused_wherever_they_come_from() {
    let net = lowered("lenet-5", [1, 28, 28], Form::Int8);
    for machine in [with(|a| a.groups = 0), with(|a| a.lanes = 65)] {
        let refused = simulate(&machine, &net.0, &[("input", &net.1)]).unwrap_err();
        assert!(refused.to_string().contains("needed 1 to"), "{refused}");
    }
    let eie = Eie {
        queue_slots: 1,
        ..Eie::default()
    };
    let columns = Columns::new(&Eie::default(), 1, 1, |_, _| 1).unwrap();
    let refused = eie.run(&columns, &[0.0, 1.0], &[1.0]).unwrap_err();
    assert!(refused.to_string().contains("queue_slots"), "{refused}");
}
