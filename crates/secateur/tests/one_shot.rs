//! Compression on samples without labels, end to end.
#![allow(clippy::unwrap_used)]

mod support;

use secateur::engine::{Session, SessionOptions};
use secateur::model::Tensor;
use support::Place;
use support::browser::Browser;

/// A trained network and a folder of pictures, of another size than it takes.
fn place() -> Place {
    let place = Place::new();
    place.train();
    let data = secateur::data::load("digits").unwrap().train;
    std::fs::create_dir(place.path("pictures")).unwrap();
    for i in 0..60 {
        let raw = data.raw_u8(i).unwrap().to_vec();
        let small = image::GrayImage::from_raw(8, 8, raw).unwrap();
        let large = image::imageops::resize(&small, 20, 20, image::imageops::FilterType::Nearest);
        large
            .save(place.path(&format!("pictures/{i:02}.png")))
            .unwrap();
    }
    place
}

#[test]
fn pictures_without_classes_are_enough() {
    let place = place();
    let ran = place
        .ok("compress dense.onnx --data pictures --recipe one-shot -o small.sct --json run.json --html p.html");
    assert!(ran.stdout.contains("same answer"), "{ran:?}");
    let html = String::from_utf8(place.read("p.html")).unwrap();
    assert!(html.contains("answers as before"));
    if let Some(browser) = Browser::find() {
        browser.check(&place, &html, 400, &["Layers", "Bytes", "Time", "Weights"]);
    }
    let run = place.json("run.json");
    let number = |v: &serde_json::Value| v.as_f64().unwrap();
    assert_eq!(run["bytes"], place.read("small.sct").len() as u64);
    assert!(number(&run["ratio"]) > 3.5, "{run}");
    assert!(number(&run["agreement"]["cosine_mean"]) > 0.99, "{run}");
    assert_eq!(run["layers"].as_array().unwrap().len(), 3);

    // Scored on real labels, nothing is lost; the exported network gives the engine's numbers.
    place.ok("eval dense.onnx --data digits --json dense.json");
    place.ok("eval small.sct --data digits --json small.json");
    let error = |name: &str| number(&place.json(name)["top1_error_percent"]);
    assert!(error("small.json") <= error("dense.json") + 1.0);
    place.ok("export small.sct -o qdq.onnx");
    let x = (0..64).map(|i| ((i * 7) % 17) as f32 / 16.0).collect();
    let x = Tensor::f32(&[1, 1, 8, 8], x).unwrap();
    let [engine, exported] = ["small.sct", "qdq.onnx"].map(|name| {
        let graph = match name.ends_with("sct") {
            true => secateur::io::sct::load(place.path(name)).unwrap(),
            false => secateur::io::onnx::load(place.path(name)).unwrap(),
        };
        let reference = secateur::model::eval(&graph, &[("input", x.clone())]).unwrap();
        let session = Session::new(&graph, &SessionOptions::default()).unwrap();
        (session.run(&[("input", &x)]).unwrap(), reference)
    });
    assert_eq!(engine.0, exported.0);
    let pairs = exported.1[0]
        .as_f32()
        .unwrap()
        .iter()
        .zip(engine.0[0].as_f32().unwrap());
    for (a, b) in pairs {
        assert!((a - b).abs() < 0.05 * (1.0 + b.abs()), "{a} {b}");
    }

    // What is done is not done again, and gives the same.
    let words = "compress dense.onnx --data pictures --recipe one-shot -o small.sct --json again.json --resume";
    let before = place.read("small.sct");
    place.ok(words);
    assert!(place.read("small.sct") == before);
    for same in ["steps", "layers", "agreement"] {
        assert_eq!(place.json("again.json")[same], run[same]);
    }

    // The same seed gives the same file.
    place.ok("compress dense.onnx --data pictures --recipe one-shot -o again.sct");
    assert!(place.read("again.sct") == place.read("small.sct"));
    let sparse =
        place.ok("compress dense.onnx --data pictures --recipe one-shot-sparse -o sparse.sct");
    assert!(
        place.read("sparse.sct").len() < place.read("small.sct").len(),
        "{sparse:?}"
    );
}

#[test]
fn arrays_by_the_names_of_inputs_are_enough() {
    let place = place();
    let data = secateur::data::load("digits").unwrap().train;
    let mut pixels = vec![0.0f32; 50 * 64];
    data.gather(&(0..50).collect::<Vec<_>>(), &mut pixels);
    let mut array = Vec::new();
    secateur::data::write_npy(&mut array, &[50, 1, 8, 8], &pixels).unwrap();
    place.write("x.npy", &array);
    place.ok("compress dense.onnx --data x.npy --recipe one-shot -o a.sct --json a.json");
    assert!(
        place.json("a.json")["agreement"]["cosine_least"]
            .as_f64()
            .unwrap()
            > 0.95
    );
}

#[test]
fn images_without_labels_are_learned_from() {
    let place = place();
    let data = secateur::data::load("digits").unwrap().train;
    let mut pixels = vec![0.0f32; 300 * 64];
    data.gather(&(0..300).collect::<Vec<_>>(), &mut pixels);
    let mut array = Vec::new();
    secateur::data::write_npy(&mut array, &[300, 1, 8, 8], &pixels).unwrap();
    place.write("x.npy", &array);
    let train = b"name = \"t\"\n[[step]]\nkind = \"train\"\n\
                 [step.retrain]\nepochs = 1\nlearning_rate = 0.001\nbatch = 10\n\
                 distill = { alpha = 0.0, temperature = 1.0 }\n";
    place.write("t.toml", train);
    let ran = place.ok("compress dense.onnx --data x.npy --recipe t.toml -o a.sct --json a.json");
    assert!(
        ran.stdout
            .contains("250 images without labels to learn from"),
        "{ran:?}"
    );
    let cosine = &place.json("a.json")["agreement"]["cosine_least"];
    assert!(cosine.as_f64().unwrap() > 0.98, "{cosine}");
    let ran = place.ok("compress dense.onnx --data pictures --recipe t.toml -o b.sct");
    assert!(ran.stdout.contains("300 images without labels"), "{ran:?}");
}

#[test]
fn what_needs_labels_says_so() {
    let place = place();
    let ran =
        place.run("compress dense.onnx --data pictures --recipe deep-compression -o small.sct");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("labels") && ran.stderr.contains("one-shot"),
        "{ran:?}"
    );
    let ran = place.run("compress dense.onnx --data nowhere --recipe one-shot -o small.sct");
    assert_eq!(ran.code, Some(1));
    // A search goes by labels.
    for more in ["", "--recipe one-shot --save-recipe r.toml"] {
        let ran = place.run(&format!(
            "compress dense.onnx --data pictures -o small.sct {more}"
        ));
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("no labels"), "{ran:?}");
    }
    assert!(!place.path("small.sct").exists());
    place.ok("sensitivity dense.onnx --data pictures --samples 60 --json s.json");
    assert_eq!(place.json("s.json")["measure"], "squared-error");
}
