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
    // Arrays do as well as pictures.
    let mut array = Vec::new();
    secateur::data::write_npy(&mut array, &[1, 1, 8, 8], &[0.5f32; 64]).unwrap();
    place.write("x.npy", &array);
    place.ok("simulate small.sct --input x.npy");
    // Bytes are pixels, as in the picture.
    let test = secateur::data::load("digits").unwrap().test;
    let mut bytes = Vec::new();
    secateur::data::write_npy(&mut bytes, &[1, 1, 8, 8], test.raw_u8(3).unwrap()).unwrap();
    place.write("bytes.npy", &bytes);
    place.ok("simulate small.sct --input bytes.npy --json bytes.json");
    assert_eq!(place.json("bytes.json")[0], *ours);
    place.write("short.npy", &array[..array.len() - 1]);
    let told = place.run("simulate small.sct --input short.npy");
    assert!(
        told.code == Some(1) && told.stderr.contains("short.npy"),
        "{told:?}"
    );
    let listed = place.ok("machines");
    assert!(listed.stdout.contains("secateur-1tops"), "{listed:?}");
}

#[test]
fn a_mapping_of_a_layer_is_costed() {
    let place = Place::new();
    let told = place.ok("nest eyeriss-like --json cost.json").stdout;
    assert!(
        told.contains("86,016 cycles, 126 of 168 multipliers"),
        "{told}"
    );
    let costed = place.json("cost.json");
    assert_eq!(costed["cost"]["multiplies"], 10_838_016);
    // A file of one's own; in another order it takes less.
    let text = include_str!("../../../machines/nests/simba-like.toml");
    place.write("mine.toml", text);
    let told = place.ok("nest mine.toml --reorder").stdout;
    assert!(told.contains("in the order given: 239.15 µJ"), "{told}");
    place.write("wrong.toml", text.replace("C 3", "C 4"));
    let wrong = place.run("nest wrong.toml");
    assert_eq!(wrong.code, Some(1));
    let wrong = wrong.stderr;
    assert!(
        wrong.contains("wrong.toml: nest: loops: needed those over C to make 3 steps, found 4"),
        "{wrong}"
    );
}

#[test]
fn a_sweep_is_runs_of_other_machines() {
    let place = Place::new();
    place.compress();
    let ran = place.ok(
        "simulate small.sct --sweep array.groups=0,8..16 --sweep memory.weight_bytes=64,131072 --json sweep.json",
    );
    let told = &ran.stdout;
    let zero = "array.groups = 0, memory.weight_bytes = 64, and 1 more: cannot be built: groups: needed 1 to 1024";
    assert!(told.contains(zero), "{told}");
    let small = "array.groups = 8, memory.weight_bytes = 64, and 1 more: does not fit: layer `";
    assert!(told.contains(small), "{told}");
    let all = place.json("sweep.json");
    let sweep = &all["sweep"];
    assert_eq!(
        sweep["settings"],
        serde_json::json!(["array.groups", "memory.weight_bytes"])
    );
    let points = sweep["points"].as_array().unwrap();
    let ran = points.iter().filter(|p| p["cost"].is_object());
    let ran: Vec<_> = ran.map(|p| p["values"].clone()).collect();
    assert_eq!(
        ran,
        [
            serde_json::json!([8, 131072]),
            serde_json::json!([16, 131072])
        ]
    );
    assert!(
        points
            .iter()
            .all(|p| p["cost"].is_object() != p["error"].is_string())
    );
    // The same machine as a file, and by its own name.
    let groups = |count: usize| {
        let text = include_str!("../../../machines/secateur-1tops.toml");
        let text = text.replace("groups = 16", &format!("groups = {count}"));
        text.replace("weight_bytes = 262144", "weight_bytes = 131072")
    };
    place.write("eight.toml", groups(8));
    place.write("sixteen.toml", groups(16));
    place.ok("simulate small.sct --machine eight.toml --compare sixteen.toml --json files.json");
    let files = place.json("files.json");
    for (file, point) in files
        .as_array()
        .unwrap()
        .iter()
        .zip([&points[3], &points[5]])
    {
        for key in ["cycles", "cells", "effective_tops"] {
            assert_eq!(file[key], point["cost"][key], "{key}");
        }
    }
}

#[test]
fn what_cannot_be_swept_or_drawn_is_told() {
    let place = Place::new();
    place.compress();
    let told = fails(&place, "simulate small.sct --sweep array.rows=1,2");
    assert!(
        told.contains("no setting `array.rows`") && told.contains("array.groups"),
        "{told}"
    );
    let told = fails(&place, "simulate small.sct --sweep array.groups=many");
    assert!(
        told.contains("needed a whole number, found `many`"),
        "{told}"
    );
    let one = "simulate small.sct --sweep array.groups=1..8";
    let three = fails(
        &place,
        &format!("{one} --sweep clock_mhz=1,2 --sweep array.lanes=1,2"),
    );
    assert!(three.contains("one or two settings, found 3"), "{three}");
    let layer = fails(
        &place,
        "simulate small.sct --html page.html --layer nothing",
    );
    assert!(
        layer.contains("--layer: needed one that secateur-1tops runs"),
        "{layer}"
    );
    let folder = fails(&place, "simulate small.sct --html missing/page.html");
    assert!(folder.contains("cannot be written"), "{folder}");
    for usage in [
        "simulate small.sct --sweep array.groups",
        "simulate small.sct --layer fc1",
        "simulate small.sct --html page.txt",
    ] {
        let ran = place.run(usage);
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
    assert!(!place.files().contains(&"page.html".to_owned()));
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
    assert!(
        floats.contains("layers of integers with codes between them are needed"),
        "{floats}"
    );
    let unknown = fails(&place, "simulate dense.onnx --machine tpu");
    assert!(unknown.contains("none of secateur-1tops"), "{unknown}");
    place.write("m.toml", "name = \"m\"\n");
    let file = fails(&place, "simulate dense.onnx --machine m.toml");
    assert!(file.contains("m.toml"), "{file}");
}
