//! Networks that ONNX Runtime's own quantizer made: our sessions run them on
//! integers, to the same bits.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "support/python.rs"]
mod python;
mod support;

use secateur_engine::{Session, SessionOptions};
use secateur_io::onnx;
use secateur_model::zoo;
use secateur_plan::Action;

const SCRIPT: &str = include_str!("support/onnx_quantizer.py");
const NETWORKS: [&str; 2] = ["lenet-300-100", "lenet-5"];
const FORMS: [&str; 3] = ["u8-channels", "u8-tensor", "i8-channels"];

#[test]
fn foreign_quantized_networks_run_on_integers() {
    let Some(python) = python::interpreter() else {
        return;
    };
    let folder = python::scratch("onnx-quantizer");
    let x = support::images(4, [1, 28, 28], 5);
    let values = x.as_f32().unwrap();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    for name in NETWORKS {
        let graph = zoo::build(name, [1, 28, 28], 10, 3).unwrap();
        onnx::save(&graph, folder.join(format!("{name}.onnx"))).unwrap();
        std::fs::write(folder.join(format!("{name}.input.bin")), &bytes).unwrap();
    }
    assert!(python::run(&python, SCRIPT, &[&folder]), "see above");

    for name in NETWORKS {
        for form in FORMS {
            let file = |suffix| folder.join(format!("{name}.{form}.{suffix}"));
            let graph = onnx::load(file("quantized")).unwrap();
            let session = Session::new(&graph, &SessionOptions::default()).unwrap();
            let ours = session.run(&[("input", &x)]).unwrap();
            let theirs = std::fs::read(file("bin")).unwrap();
            let (theirs, _) = theirs.as_chunks();
            let theirs: Vec<f32> = theirs.iter().map(|b| f32::from_le_bytes(*b)).collect();
            assert_eq!(ours[0].as_f32().unwrap(), theirs, "{name} {form}");

            let bound = session.bind(&[x.shape().clone()]).unwrap();
            for step in &bound.plan().steps {
                if matches!(step.action, Action::MatMul { .. } | Action::Conv { .. }) {
                    let kernel = &step.choice.kernel;
                    assert!(kernel.starts_with("u8i8i32"), "{name} {form}: {kernel}");
                }
            }
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}
