//! Networks on models of machines, by the command.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Place, keys};

#[test]
fn a_compressed_network_runs_on_machines() {
    let place = Place::new();
    place.ok("train lenet-300-100 --data digits --epochs 2 --batch 32 --seed 3 -o dense.onnx");
    // EIE has codes for fifteen values beside zero.
    place.write(
        "tiny.toml",
        support::TINY.replace("levels = 16", "levels = 15"),
    );
    place.ok("compress dense.onnx --data digits --recipe tiny.toml -o small.sct");
    place.ok("data sample digits --index 3 -o digit.png");
    let ran = place.ok(
        "simulate small.sct --input digit.png --compare systolic-32x32,eie-64 --json cost.json",
    );
    assert!(
        ran.stdout.contains("equal the reference's, to the bit"),
        "{ran:?}"
    );
    let costs = place.json("cost.json");
    let [ours, dense, eie] = &costs.as_array().unwrap()[..] else {
        panic!("{costs}");
    };
    assert!(keys(ours).contains(&"effective_tops"), "{ours}");
    let tops = |cost: &serde_json::Value| cost["effective_tops"].as_f64().unwrap();
    assert!(tops(ours) > 0.0 && tops(dense) > 0.0 && tops(eie) > 0.0);
    for layer in ours["layers"].as_array().unwrap() {
        assert_ne!(layer["exact"], false, "{layer}");
    }
    let listed = place.ok("machines");
    assert!(listed.stdout.contains("secateur-1tops"), "{listed:?}");
}

fn fails(place: &Place, words: &str) -> String {
    let ran = place.run(words);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    ran.stderr
}

#[test]
fn what_a_machine_cannot_do_is_told() {
    let place = Place::new();
    place.ok("train lenet-300-100 --data digits --epochs 1 --batch 32 -o dense.onnx");
    let floats = fails(&place, "simulate dense.onnx");
    assert!(floats.contains("layers of integers are needed"), "{floats}");
    let unknown = fails(&place, "simulate dense.onnx --machine tpu");
    assert!(unknown.contains("none of secateur-1tops"), "{unknown}");
    place.write("m.toml", "name = \"m\"\n");
    let file = fails(&place, "simulate dense.onnx --machine m.toml");
    assert!(file.contains("m.toml"), "{file}");
}
