//! The page's calls, made here.
#![allow(clippy::unwrap_used)] // helpers of tests

use secateur_io::Form;
use secateur_io::sct;
use secateur_model::{Bitmask, Constant, Graph, Op, Shape, Support, Values, Weight, zoo};
use secateur_web::page::Page;
use serde_json::Value;

/// LeNet-300-100 with every third weight of its matrices left.
fn sparse() -> Graph {
    let mut graph = zoo::build("lenet-300-100", [1, 28, 28], 10, 1).unwrap();
    for constant in graph.constants.values_mut() {
        if let Constant::Weight(weight) = constant
            && weight.shape().rank() == 2
        {
            let values = weight.to_f32();
            let mask = Bitmask::from_fn(values.len(), |i| i % 3 == 0);
            let kept = values.into_iter().step_by(3).collect();
            let support = Support::Unstructured(mask);
            *weight = Weight::new(weight.shape().clone(), support, Values::F32(kept)).unwrap();
        }
    }
    graph
}

fn give(page: &mut Page, bytes: &[u8]) {
    page.room(bytes.len()).unwrap().copy_from_slice(bytes);
}

fn open(page: &mut Page, graph: &Graph) -> usize {
    give(page, &sct::write(graph, sct::Store::Small).unwrap());
    page.open(&Form::Sct).unwrap()
}

fn json(page: &Page) -> Value {
    serde_json::from_slice(page.answer()).unwrap()
}

fn text(page: &Page) -> String {
    String::from_utf8(page.answer().to_vec()).unwrap()
}

fn numbers(page: &Page) -> Vec<f32> {
    let (words, rest) = page.answer().as_chunks();
    assert!(rest.is_empty());
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

fn picture() -> Vec<u8> {
    let shades = (0..784).map(|i| (i % 29) as f32 / 29.0);
    shades.flat_map(f32::to_le_bytes).collect()
}

#[test]
fn a_network_is_described_run_and_timed() {
    let mut page = Page::default();
    let network = open(&mut page, &sparse());
    let about = json(&page);
    assert_eq!(about["input"], serde_json::json!([1, 1, 28, 28]));
    assert_eq!(about["parameters"], 266_610);
    assert_eq!(about["weights"][0]["nonzeros"], 78_400);
    assert!(about["weights"][0]["bytes"].as_u64().unwrap() > 0);

    give(&mut page, &picture());
    assert!(page.run(network));
    let scores = numbers(&page);
    assert_eq!(scores.len(), 10);
    // What was given stays for other runs.
    assert!(page.time(network, 3));
    let steps = json(&page);
    assert!(steps.as_array().unwrap().len() >= 3);
    assert!(steps[0]["microseconds"].as_f64().unwrap() >= 0.0);
    assert!(page.run(network));
    assert_eq!(numbers(&page), scores);
}

#[test]
fn the_twin_answers_the_same_with_nothing_left_out() {
    let mut page = Page::default();
    let network = open(&mut page, &sparse());
    let twin = page.twin(network).unwrap();
    assert_eq!(json(&page)["bytes"], 4 * 266_610);
    give(&mut page, &picture());
    assert!(page.run(network));
    let scores = numbers(&page);
    assert!(page.run(twin));
    assert_eq!(numbers(&page), scores);
    assert!(page.time(twin, 1));
    let steps = json(&page);
    let kernels = steps
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["kernel"].as_str().unwrap());
    assert_eq!(kernels.filter(|kernel| kernel.contains("spmm")).count(), 0);
}

#[test]
fn twins_do_not_round_activations() {
    use secateur_model::{DType, Node, Tensor};
    let mut graph = zoo::build("lenet-300-100", [1, 28, 28], 10, 1).unwrap();
    let input = graph.inputs[0].name.clone();
    for node in &mut graph.nodes {
        for name in &mut node.inputs {
            if *name == input {
                *name = "rounded".into();
            }
        }
    }
    let scale = Tensor::f32(&[], vec![0.5]).unwrap();
    let zero = Tensor::new(Shape::new(&[]).unwrap(), secateur_model::Data::U8(vec![0])).unwrap();
    graph
        .constants
        .insert("scale".into(), Constant::Tensor(scale));
    graph
        .constants
        .insert("zero".into(), Constant::Tensor(zero));
    let quantize = Op::QuantizeLinear {
        axis: 1,
        block_size: 0,
        to: Some(DType::U8),
    };
    let undo = Op::DequantizeLinear {
        axis: 1,
        block_size: 0,
    };
    graph.nodes.insert(
        0,
        Node::new("q", quantize, &[&input, "scale", "zero"], &["codes"]),
    );
    graph.nodes.insert(
        1,
        Node::new("dq", undo, &["codes", "scale", "zero"], &["rounded"]),
    );

    let mut page = Page::default();
    let network = open(&mut page, &graph);
    let twin = page.twin(network).unwrap();
    give(&mut page, &picture());
    assert!(page.run(network));
    let rounded = numbers(&page);
    assert!(page.run(twin));
    assert_ne!(numbers(&page), rounded);
    let plain = zoo::build("lenet-300-100", [1, 28, 28], 10, 1).unwrap();
    let plain = open(&mut page, &plain);
    assert!(page.run(twin) || text(&page).contains("bytes"));
    give(&mut page, &picture());
    assert!(page.run(plain));
    let exact = numbers(&page);
    assert!(page.run(twin));
    assert_eq!(numbers(&page), exact);
}

#[test]
fn every_weight_that_is_left_is_in_the_picture() {
    let mut page = Page::default();
    let network = open(&mut page, &sparse());
    for side in [1000, 100, 1] {
        assert!(page.picture(network, 0, side));
        let answer = page.answer();
        let extent =
            |at: usize| u32::from_le_bytes(answer[at..at + 4].try_into().unwrap()) as usize;
        let (width, height) = (extent(0), extent(4));
        assert_eq!(answer.len(), 8 + width * height);
        assert!(width <= side && height <= side);
        if side == 1000 {
            let left = answer[8..].iter().filter(|&&shade| shade > 0).count();
            assert_eq!((width, height, left), (784, 300, 78_400));
        }
    }
    assert!(!page.picture(network, 99, 10));
    assert!(text(&page).contains("no weight 99"));
}

#[test]
fn what_is_wrong_has_a_reason() {
    let mut page = Page::default();
    for form in [Form::Sct, Form::Onnx, Form::Net] {
        give(&mut page, b"");
        assert_eq!(page.open(&form), None);
        assert!(text(&page).contains("empty"));
        give(&mut page, b"no network at all");
        assert_eq!(page.open(&form), None);
        assert!(!text(&page).is_empty());
    }
    let mut bytes = sct::write(&sparse(), sct::Store::Small).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    give(&mut page, &bytes);
    assert_eq!(page.open(&Form::Sct), None);
    assert!(!page.run(0) && text(&page).contains("no network 0"));
    assert_eq!(page.twin(7), None);
    page.close(usize::MAX);

    let network = open(&mut page, &sparse());
    give(&mut page, &[0; 5]);
    assert!(!page.run(network) && text(&page).contains("784"));
    assert!(page.room(usize::MAX).is_none());
}

#[test]
fn as_many_networks_as_there_is_room_for() {
    let mut page = Page::default();
    let graph = sparse();
    let first = open(&mut page, &graph);
    let bytes = sct::write(&graph, sct::Store::Small).unwrap();
    let mut opened = 1;
    loop {
        give(&mut page, &bytes);
        if page.open(&Form::Sct).is_none() {
            break;
        }
        opened += 1;
    }
    assert!(opened < 100 && text(&page).contains("open already"));
    page.close(first);
    assert_eq!(open(&mut page, &graph), first);
}

#[test]
fn a_network_that_cannot_be_run_is_still_described() {
    let mut graph = sparse();
    let mut second = graph.inputs[0].clone();
    second.name = "second".into();
    graph.inputs.push(second);
    let mut page = Page::default();
    let network = open(&mut page, &graph);
    assert!(
        json(&page)["problem"]
            .as_str()
            .unwrap()
            .contains("2 inputs")
    );
    assert!(page.picture(network, 0, 50));
    assert!(!page.run(network));
    assert_eq!(page.twin(network), None);
}
