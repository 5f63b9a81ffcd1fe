//! Networks with fewer channels, as files and on the engine.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "../../engine/tests/support/python.rs"]
#[allow(dead_code)] // other tests run scripts
mod python;

use secateur_compress::channels::{ChannelCut, Importance, KeptChannels, prune_channels};
use secateur_engine::{Session, SessionOptions};
use secateur_io::{onnx, sct};
use secateur_model::{Graph, Shape, Tensor, eval, zoo};
use std::path::{Path, PathBuf};

fn noise(len: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// What the engine gives, held against the reference: the first outputs.
fn run(graph: &Graph, inputs: &[(&str, Tensor)]) -> Vec<Tensor> {
    let options = SessionOptions {
        threads: Some(1),
        ..SessionOptions::default()
    };
    let session = Session::new(graph, &options).unwrap();
    let by_reference: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (*n, t)).collect();
    let found = session.run(&by_reference).unwrap();
    let expected = eval(graph, inputs).unwrap();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.shape(), expected.shape(), "{}", graph.name);
        let (f, e) = (found.as_f32().unwrap(), expected.as_f32().unwrap());
        let range = e.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
        let apart = f
            .iter()
            .zip(e)
            .fold(0.0f32, |m, (f, e)| m.max((f - e).abs()));
        assert!(apart <= 1e-4 * range, "{}: {apart} of {range}", graph.name);
    }
    found
}

fn cut(graph: &mut Graph, inputs: &[(&str, Tensor)], keep: f64) -> Vec<KeptChannels> {
    let shapes: Vec<(&str, Shape)> = inputs
        .iter()
        .map(|(n, t)| (*n, t.shape().clone()))
        .collect();
    let share = ChannelCut::share(keep);
    prune_channels(graph, &shapes, &share, Importance::Magnitude).unwrap()
}

#[test]
fn files_and_the_engine_give_what_the_cut_network_gives() {
    for (name, dims) in [
        ("lenet-300-100", [1, 12, 12]),
        ("lenet-5", [1, 28, 28]),
        ("resnet-20", [3, 10, 10]),
        ("mobilenet-small", [3, 12, 12]),
        ("vgg-small", [3, 8, 8]),
    ] {
        let mut net = zoo::build(name, dims, 10, 3).unwrap();
        let dims = [1, dims[0], dims[1], dims[2]];
        let image = Tensor::f32(&dims, noise(dims.iter().product())).unwrap();
        let inputs = [("input", image)];
        let before = net.parameters();
        cut(&mut net, &inputs, 0.5);
        assert!(net.parameters() * 18 < before * 10, "{name}");
        let found = run(&net, &inputs);

        let folder = tempfile::tempdir().unwrap();
        let (as_onnx, as_sct) = (folder.path().join("n.onnx"), folder.path().join("n.sct"));
        onnx::save(&net, &as_onnx).unwrap();
        sct::save(&net, &as_sct, sct::Store::Small).unwrap();
        for read in [onnx::load(&as_onnx).unwrap(), sct::load(&as_sct).unwrap()] {
            assert_eq!(read.parameters(), net.parameters(), "{name}");
            assert_eq!(run(&read, &inputs), found, "{name}");
        }
    }
}

/// Networks from elsewhere: most of their layers are cut, and they still run.
///
/// Without pip or a network the test says so and passes.
#[test]
fn networks_from_elsewhere_run_with_fewer_channels() {
    let Some(python) = python::interpreter() else {
        return;
    };
    let wheels = ["silero-vad==6.2.3", "rapidocr-onnxruntime==1.4.4"];
    let Some(folder) = python::wheels(&python, &wheels) else {
        return;
    };
    let mut seen = 0;
    for path in networks(&folder) {
        let mut net = onnx::load(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let extents: &[&[usize]] = match &name {
            n if n.contains("_det_") => &[&[1, 3, 64, 96]],
            n if n.contains("_rec_") => &[&[1, 3, 48, 80]],
            n if n.contains("_cls_") => &[&[1, 3, 48, 96]],
            n if n.contains("vad_16k_sequence") => &[&[3, 576], &[1, 1, 128], &[1, 1, 128]],
            _ => continue,
        };
        let names: Vec<String> = net.inputs.iter().map(|input| input.name.clone()).collect();
        let tensor = |dims: &[usize]| Tensor::f32(dims, noise(dims.iter().product())).unwrap();
        let inputs: Vec<(&str, Tensor)> = names
            .iter()
            .map(String::as_str)
            .zip(extents.iter().map(|dims| tensor(dims)))
            .collect();
        let (before, bytes) = (net.parameters(), onnx::write(&net).unwrap().len());
        let kept = cut(&mut net, &inputs, 0.75);
        let free = kept.iter().filter(|k| k.fixed.is_none()).count();
        println!(
            "{name}: {free} of {} groups may be cut, {before} parameters -> {}, {bytes} bytes -> {}",
            kept.len(),
            net.parameters(),
            onnx::write(&net).unwrap().len(),
        );
        for group in kept.iter().filter(|k| k.fixed.is_some()) {
            let why = group.fixed.as_deref().unwrap_or_default();
            println!("    {} ({}): {why}", group.weights[0], group.of);
        }
        run(&net, &inputs);
        assert!(net.parameters() * 10 < before * 9, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 4);
}

/// The ONNX files of a folder and those within.
fn networks(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(networks(&path));
        } else if path.extension().is_some_and(|e| e == "onnx") {
            found.push(path);
        }
    }
    found.sort();
    found
}
