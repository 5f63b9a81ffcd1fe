//! Every command, end to end on the embedded digits.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{Place, keys, rewrite};

#[test]
fn a_network_goes_all_the_way() {
    let place = Place::new();
    place.ok(
        "train lenet-300-100 --data digits --epochs 8 --batch 32 --seed 3 -o dense.onnx --json train.json",
    );
    let trained = place.json("train.json");
    let error = |score: &Value| score["top1_error_percent"].as_f64().unwrap();
    assert!(error(&trained) < 10.0, "{trained}");

    place.write("tiny.toml", support::TINY);
    let ran = place.ok(
        "compress dense.onnx --data digits --recipe tiny.toml --seed 3 -o small.sct --json run.json",
    );
    assert!(ran.stdout.contains("times smaller"), "{ran:?}");
    let run = place.json("run.json");
    assert_eq!(keys(&run), ["after", "before", "ratio", "seconds", "steps"]);
    let file = place.read("small.sct").len() as u64;
    assert_eq!(run["after"]["bytes"], file);
    assert_eq!(run["before"]["bytes"], 4 * 50_610);
    let ratio = run["ratio"].as_f64().unwrap();
    assert!((ratio - 202_440.0 / file as f64).abs() < 1e-9);
    let steps: Vec<&str> = run["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["kind"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["prune", "share", "quantize", "encode"]);

    place.ok("eval small.sct --data digits --json eval.json");
    let eval = place.json("eval.json");
    assert_eq!(keys(&eval), ["bytes", "samples", "top1_error_percent"]);
    assert_eq!(
        (&eval["samples"], &eval["bytes"]),
        (&360.into(), &file.into())
    );
    assert_eq!(error(&eval), error(&run["after"]));
    assert!(error(&eval) < 15.0, "{eval}");

    place.ok("export small.sct -o qdq.onnx --json export.json");
    place.ok("eval qdq.onnx --data digits --json qdq.json");
    assert_eq!(error(&place.json("qdq.json")), error(&eval));

    place.ok("export small.sct --store fast -o fast.sct");
    place.ok("eval fast.sct --data digits --json fast.json");
    assert_eq!(error(&place.json("fast.json")), error(&eval));
    assert!(place.read("fast.sct").len() >= place.read("small.sct").len());

    // The same seed gives the same file.
    place.ok("train lenet-300-100 --data digits --epochs 8 --batch 32 --seed 3 -o again.onnx");
    assert!(place.read("again.onnx") == place.read("dense.onnx"));
    place.ok("compress again.onnx --data digits --recipe tiny.toml --seed 3 -o again.sct");
    assert!(place.read("again.sct") == place.read("small.sct"));
}

#[test]
fn inspect_and_bench_have_the_fields_that_others_rely_on() {
    let place = Place::new();
    place.compress();
    place.ok("inspect small.sct --json inspect.json");
    let inspect = place.json("inspect.json");
    for key in ["bytes", "parameters", "nonzeros", "layers"] {
        assert!(!inspect[key].is_null(), "{key}");
    }
    assert_eq!(inspect["parameters"], 50_610);
    let layer = &inspect["layers"][0];
    assert_eq!(
        keys(layer),
        [
            "bits",
            "bytes",
            "coded",
            "macs",
            "name",
            "nonzero_macs",
            "nonzeros",
            "shape"
        ]
    );
    let coded = &layer["coded"];
    let part = |key: &str| coded[key].as_u64().unwrap();
    let parts = ["support", "value", "parameter", "other"];
    let sum: u64 = parts.map(|p| part(&format!("{p}_bytes"))).iter().sum();
    assert_eq!(layer["bytes"], sum);
    assert!(coded["coder"].is_string() && part("support_bytes") > 0);
    assert!(inspect["file"]["graph_bytes"].as_u64().unwrap() > 0);
    assert_eq!(layer["macs"], 300 * 64);
    assert_eq!(layer["nonzero_macs"], layer["nonzeros"]);

    let ran = place.ok("bench small.sct --threads 1 --batch 2 --repeats 20 --json bench.json");
    assert!(ran.stdout.contains("1 thread, batch 2"), "{ran:?}");
    let bench = place.json("bench.json");
    assert_eq!(
        keys(&bench),
        [
            "batch",
            "cpu",
            "items_per_second",
            "layers",
            "median_ms",
            "p90_ms",
            "peak_rss_bytes",
            "roof",
            "threads"
        ]
    );
    assert_eq!(
        keys(&bench["layers"][0]),
        [
            "attained_gmacs",
            "bytes",
            "kernel",
            "least_us",
            "macs",
            "median_us",
            "name",
            "nonzero_macs",
            "predicted_us",
            "reason",
            "refused"
        ]
    );
    assert!(bench["median_ms"].as_f64().unwrap() > 0.0);

    let ran = place.ok("bench small.sct --repeats 20 --explain --html roof.html");
    assert!(
        ran.stdout.contains("instead of") && ran.stdout.contains("the roof: "),
        "{ran:?}"
    );
    let page = String::from_utf8(place.read("roof.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<circle"));
}

#[test]
fn a_picture_is_seen_as_in_training() {
    let place = Place::new();
    place.ok(
        "train lenet-300-100 --data digits --mean 0.3 --std 0.25 --epochs 8 --batch 32 -o dense.onnx",
    );
    let ran = place.ok("data sample digits --index 3 -o digit.png");
    let scores = |words: &str| {
        place.ok(&format!("run {words} --input digit.png --json run.json"));
        place.json("run.json")["scores"].clone()
    };
    let own = scores("dense.onnx");
    let answers = &place.json("run.json")["answers"];
    assert_eq!(answers.as_array().unwrap().len(), 5);
    let class = answers[0]["class"].as_str().unwrap();
    assert!(ran.stdout.contains(&format!("class {class}")), "{ran:?}");

    // The compressed file keeps what the network was trained with.
    place.write("tiny.toml", support::TINY);
    place.ok("compress dense.onnx --data digits --recipe tiny.toml -o small.sct");
    place.ok("inspect small.sct --json inspect.json");
    let metadata = &place.json("inspect.json")["metadata"];
    assert_eq!(
        (&metadata["mean"], &metadata["std"]),
        (&"0.3".into(), &"0.25".into())
    );

    // A network that says nothing needs to be told.
    let (dense, mute) = (place.path("dense.onnx"), place.path("mute.onnx"));
    rewrite(&dense, &mute, |graph| graph.metadata.clear());
    assert_ne!(scores("mute.onnx"), own);
    assert_eq!(scores("mute.onnx --mean 0.3 --std 0.25"), own);
    let error = |words: &str| {
        place.ok(&format!("eval {words} --data digits --json eval.json"));
        place.json("eval.json")["top1_error_percent"].clone()
    };
    assert_eq!(
        error("mute.onnx --mean 0.3 --std 0.25"),
        error("dense.onnx")
    );
}

#[test]
fn own_pictures_have_the_names_of_their_folders() {
    let place = Place::new();
    for (class, from) in [("left", 0), ("right", 100)] {
        std::fs::create_dir_all(place.path("own").join(class)).unwrap();
        for i in 0..8 {
            let index = from + i;
            place.ok(&format!(
                "data sample digits --index {index} -o own/{class}/{i}.png"
            ));
        }
    }
    place.ok("train lenet-300-100 --data own --epochs 3 --batch 4 -o own.onnx");
    let ran = place.ok("run own.onnx --input own/left/0.png --top 2");
    assert!(
        ran.stdout.contains("left") && ran.stdout.contains("right"),
        "{ran:?}"
    );
}

#[test]
fn networks_of_others_have_fixed_batches_and_softmax() {
    use secateur::model::{Dim, Node, Op};
    let place = Place::new();
    place.train();
    let (dense, fixed) = (place.path("dense.onnx"), place.path("fixed.onnx"));
    rewrite(&dense, &fixed, |graph| {
        for value in graph.inputs.iter_mut().chain(&mut graph.outputs) {
            value.dims.as_mut().unwrap()[0] = Dim::Known(7);
        }
        let softmax = Op::Softmax {
            axis: 1,
            flattened: false,
        };
        let logits = graph.outputs[0].name.clone();
        graph
            .nodes
            .push(Node::new("softmax", softmax, &[&logits], &["odds"]));
        graph.outputs[0].name = "odds".into();
    });
    place.ok("eval dense.onnx --data digits --json a.json");
    place.ok("eval fixed.onnx --data digits --json b.json");
    let error = |name| place.json(name)["top1_error_percent"].clone();
    assert_eq!(error("a.json"), error("b.json"));
    place.ok("bench fixed.onnx --repeats 3 --json bench.json");
    assert_eq!(place.json("bench.json")["batch"], 7);

    // Training sees the logits, the file has its Softmax again.
    place.write("tiny.toml", support::TINY);
    for name in ["dense", "fixed"] {
        place.ok(&format!(
            "compress {name}.onnx --data digits --recipe tiny.toml -o {name}.sct --json {name}.json"
        ));
    }
    assert_eq!(
        place.json("dense.json")["after"]["top1_error_percent"],
        place.json("fixed.json")["after"]["top1_error_percent"]
    );
    let ran = place.ok("inspect fixed.sct");
    assert!(ran.stdout.contains("odds"), "{ran:?}");
}

#[test]
fn networks_of_others_take_rows_of_pixels() {
    use secateur::model::{Dim, Op};
    let place = Place::new();
    place.train();
    let (dense, rows) = (place.path("dense.onnx"), place.path("rows.onnx"));
    rewrite(&dense, &rows, |graph| {
        let (first, rest) = graph.nodes.split_at(1);
        assert!(matches!(first[0].op, Op::Flatten { .. }));
        graph.inputs[0].name = first[0].outputs[0].clone();
        graph.nodes = rest.to_vec();
        let dims = graph.inputs[0].dims.as_mut().unwrap();
        dims.truncate(1);
        dims.push(Dim::Known(64));
    });
    place.ok("eval dense.onnx --data digits --json a.json");
    place.ok("eval rows.onnx --data digits --json b.json");
    let error = |name| place.json(name)["top1_error_percent"].clone();
    assert_eq!(error("a.json"), error("b.json"));
    place.write("tiny.toml", support::TINY);
    place.ok("compress rows.onnx --data digits --recipe tiny.toml -o rows.sct");
    place.ok("data sample digits -o digit.png");
    place.ok("run rows.sct --input digit.png");
}

#[test]
fn networks_of_others_leave_extents_open() {
    use secateur::model::Dim;
    let place = Place::new();
    place.train();
    let (dense, open) = (place.path("dense.onnx"), place.path("open.onnx"));
    rewrite(&dense, &open, |graph| {
        let dims = graph.inputs[0].dims.as_mut().unwrap();
        for (dim, name) in dims[2..].iter_mut().zip(["height", "width"]) {
            *dim = Dim::Named(name.into());
        }
        graph.metadata.insert("note".into(), "long ".repeat(1000));
    });
    let ran = place.ok("inspect open.onnx");
    assert!(ran.stdout.contains("`height`"), "{ran:?}");
    assert!(ran.stdout.len() < 5000, "{ran:?}");
    place.ok("inspect open.onnx --shape 1,1,8,8 --json inspect.json");
    assert_eq!(place.json("inspect.json")["layers"][0]["macs"], 300 * 64);
    assert_eq!(place.run("inspect open.onnx --shape 1,2,8,8").code, Some(1));
    assert_eq!(place.run("bench open.onnx").code, Some(1));
    place.ok("bench open.onnx --shape 3,1,8,8 --repeats 2 --json bench.json");
    assert_eq!(place.json("bench.json")["batch"], 3);
    assert_eq!(place.run("bench open.onnx --shape 3,2,8,8").code, Some(1));
    place.ok("eval open.onnx --data digits");
}

#[test]
fn squeezenet_comes_in_a_file_of_its_own() {
    let place = Place::new();
    // No entries: 26 counts, 26 codebooks of 256 and 3976 biases, all of them zero.
    let bytes = 4 * (26 + 26 * 256 + 3976);
    place.write("empty.net", vec![0; bytes]);
    place.ok("inspect empty.net --json inspect.json");
    let inspect = place.json("inspect.json");
    assert_eq!(inspect["bytes"], bytes);
    assert_eq!(
        (&inspect["parameters"], &inspect["nonzeros"]),
        (&1_248_424.into(), &0.into())
    );
    assert_eq!(inspect["layers"][0]["coded"]["parameter_bytes"], 1024);

    place.ok("data sample digits -o digit.png");
    place.ok("export empty.net -o empty.sct");
    for network in ["empty.net", "empty.sct"] {
        place.ok(&format!("run {network} --input digit.png --json run.json"));
        let answers = &place.json("run.json")["answers"];
        // Nothing speaks for any of the thousand classes.
        assert_eq!(answers.as_array().unwrap().len(), 5);
        let probability = answers[0]["probability"].as_f64().unwrap();
        assert!((probability - 1e-3).abs() < 1e-8, "{answers}");
    }
    place.write("cut.net", vec![0; bytes - 1]);
    let ran = place.run("inspect cut.net");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("cut.net: conv10"), "{ran:?}");
}

#[test]
fn json_alone_goes_to_standard_output() {
    let place = Place::new();
    place.train();
    place.ok("data sample digits -o digit.png");
    for words in [
        "cpu",
        "data list",
        "data fetch digits",
        "inspect dense.onnx",
        "eval dense.onnx --data digits",
        "run dense.onnx --input digit.png",
        "bench dense.onnx --repeats 2",
        "export dense.onnx -o dense.sct",
        "train lenet-300-100 --data digits --epochs 1 -o other.onnx",
    ] {
        let ran = place.ok(&format!("{words} --json -"));
        let parsed: Result<Value, _> = serde_json::from_str(&ran.stdout);
        assert!(parsed.is_ok() && !ran.stderr.is_empty(), "{ran:?}");
    }
}

#[test]
fn tables_fit_a_terminal() {
    let place = Place::new();
    place.compress();
    for words in [
        "inspect small.sct",
        "bench small.sct --repeats 2",
        "eval small.sct --data digits",
        "cpu",
    ] {
        let ran = place.ok(words);
        let features = |line: &&str| !line.starts_with("features");
        for line in ran.stdout.lines().filter(features) {
            assert!(line.chars().count() <= 80, "{words}: {line}");
        }
    }
}

#[test]
fn the_demo_goes_on_without_package_clients() {
    let place = Place::new();
    let words = "demo --folder shown --json demo.json";
    let mut command = place.command(words);
    let output = command.env("PATH", place.path("nothing")).output().unwrap();
    let ran = support::Ran::new(words, output);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for part in ["8x8 digits", "before", "after", "faster", "Next"] {
        assert!(ran.stdout.contains(part), "{part}: {ran:?}");
    }
    let demo = place.json("demo.json");
    assert_eq!(demo["data"], "digits");
    assert!(demo["ratio"].as_f64().unwrap() > 10.0, "{demo}");
    place.ok("run shown/small.sct --input shown/digit.png");
}

#[test]
fn shells_get_completions_and_help_has_examples() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = place.ok(&format!("completions {shell}"));
        assert!(ran.stdout.contains("compress"), "{shell}");
    }
    for command in [
        "demo",
        "data",
        "train",
        "compress",
        "sensitivity",
        "inspect",
        "eval",
        "run",
        "bench",
        "export",
        "cpu",
        "completions",
    ] {
        let ran = place.ok(&format!("{command} --help"));
        assert!(ran.stdout.contains("Example"), "{command}");
    }
}
