//! Bad input: one clear message that names the file, no output, exit status 1
//! or 2.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Place, Ran};

/// Runs the command, which has to fail with `code` and a message of these
/// parts, and to leave no file that was not there.
fn fails(place: &Place, words: &str, code: i32, parts: &[&str]) -> Ran {
    let before = place.files();
    let ran = place.run(words);
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    assert_eq!(ran.stderr.matches("error:").count(), 1, "{ran:?}");
    for part in parts {
        assert!(ran.stderr.contains(part), "{part}: {ran:?}");
    }
    let system = "os error 2";
    assert!(ran.stderr.matches(system).count() <= 1, "{ran:?}");
    assert_eq!(place.files(), before, "{ran:?}");
    ran
}

#[test]
fn damaged_networks() {
    let place = Place::new();
    place.compress();
    let (dense, small) = (place.read("dense.onnx"), place.read("small.sct"));
    place.write("cut.onnx", &dense[..dense.len() / 2]);
    place.write("cut.sct", &small[..small.len() / 2]);
    place.write("empty.onnx", "");
    place.write("empty.sct", "");
    place.write("text.onnx", "this is no network");
    place.write("text.sct", "this is no network");
    let mut flipped = small.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    place.write("flipped.sct", flipped);
    for file in [
        "cut.onnx",
        "cut.sct",
        "empty.onnx",
        "empty.sct",
        "text.onnx",
        "text.sct",
        "flipped.sct",
        "missing.onnx",
        "missing.sct",
    ] {
        fails(&place, &format!("inspect {file} --json x.json"), 1, &[file]);
        fails(&place, &format!("eval {file} --data digits"), 1, &[file]);
        fails(&place, &format!("bench {file}"), 1, &[file]);
        fails(&place, &format!("export {file} -o x.onnx"), 1, &[file]);
        let compress = format!("compress {file} --data digits --recipe tiny.toml -o x.sct");
        fails(&place, &compress, 1, &[file]);
    }
}

#[test]
fn a_weight_that_is_no_number() {
    let place = Place::new();
    place.train();
    let mut bytes = place.read("dense.onnx");
    let graph = secateur::io::onnx::load(place.path("dense.onnx")).unwrap();
    let (name, weight) = graph.weights().next().unwrap();
    let first = weight.to_f32()[0].to_le_bytes();
    let at = bytes.windows(4).position(|w| w == first).unwrap();
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    place.write("nan.onnx", bytes);
    fails(&place, "inspect nan.onnx", 1, &["nan.onnx", name, "NaN"]);
}

#[test]
fn networks_that_do_not_fit() {
    let place = Place::new();
    place.train();
    for i in 0..6 {
        std::fs::create_dir_all(place.path("own/thing")).unwrap();
        place.write(&format!("own/thing/{i}.png"), picture(5, 4));
    }
    let parts = ["dense.onnx", "[1, 8, 8]", "[3, 4, 5]", "own"];
    fails(&place, "eval dense.onnx --data own", 1, &parts);
    fails(&place, "compress dense.onnx --data own -o x.sct", 1, &parts);
    fails(
        &place,
        "train lenet-5 --data digits -o x.onnx",
        1,
        &["too small"],
    );
    let words = "train lenet-300-100 --data digits --learning-rate 1e9 -o x.onnx";
    fails(&place, words, 1, &["lower the learning rate"]);
}

#[test]
fn bad_recipes() {
    let place = Place::new();
    place.train();
    for (name, text, part) in [
        (
            "step.toml",
            "name = 'x'\n[[step]]\nkind = 'shrink'",
            "`shrink`",
        ),
        (
            "key.toml",
            "name = 'x'\n[[step]]\nkind = 'encode'\nfast = 1",
            "fast",
        ),
        ("none.toml", "name = 'x'\nstep = []", "at least one"),
        ("cut.toml", "name = 'x", "TOML"),
        (
            "target.toml",
            "name = 'x'\n[[step]]\nkind = 'prune'\nallocation = { global = 0.0 }",
            "density",
        ),
        (
            "order.toml",
            "name = 'x'\n[[step]]\nkind = 'encode'\n[[step]]\nkind = 'encode'",
            "last",
        ),
    ] {
        place.write(name, text);
        let words = format!("compress dense.onnx --data digits --recipe {name} -o x.sct");
        fails(&place, &words, 1, &[name, part]);
    }
    let words = "compress dense.onnx --data digits --recipe missing -o x.sct";
    fails(&place, words, 1, &["missing", "deep-compression"]);
}

#[test]
fn bad_data() {
    let place = Place::new();
    place.train();
    std::fs::create_dir(place.path("empty")).unwrap();
    place.write("pictures/a/0.png", &picture(8, 8)[..40]);
    place.write("pictures/b/0.png", picture(8, 8));
    place.write("idx/x-images-idx3-ubyte", [0, 0, 8, 3, 0, 0, 0, 9]);
    place.write("idx/x-labels-idx1-ubyte", [0, 0, 8, 1, 0, 0, 0, 9]);
    place.write("arrays/x.npy", b"\x93NUMPY\x01\x00");
    place.write("arrays/y.npy", b"\x93NUMPY\x01\x00");
    for (data, parts) in [
        ("nothing", &["\"nothing\"", "mnist"][..]),
        ("mnist", &["data fetch mnist"]),
        ("empty", &["empty"]),
        ("pictures", &["0.png"]),
        ("idx", &["idx3-ubyte"]),
        ("arrays", &["x.npy"]),
        ("dense.onnx", &["dense.onnx"]),
    ] {
        fails(&place, &format!("eval dense.onnx --data {data}"), 1, parts);
        let words = format!("train lenet-300-100 --data {data} -o x.onnx");
        fails(&place, &words, 1, parts);
    }
}

#[test]
fn bad_pictures() {
    let place = Place::new();
    place.train();
    place.write("cut.png", &picture(8, 8)[..40]);
    place.write("text.png", "no picture");
    for file in ["cut.png", "text.png", "missing.png"] {
        fails(
            &place,
            &format!("run dense.onnx --input {file}"),
            1,
            &[file],
        );
    }
    place.write("good.png", picture(8, 8));
    let words = "run dense.onnx --input good.png --mean 0.1,0.2";
    fails(&place, words, 1, &["--mean", "found 2"]);
    fails(
        &place,
        "data sample digits --index 360 -o x.png",
        1,
        &["360"],
    );
}

#[test]
fn outputs_that_cannot_be_written_are_told_before_the_work() {
    let place = Place::new();
    place.train();
    place.write("tiny.toml", support::TINY);
    std::fs::create_dir(place.path("folder.sct")).unwrap();
    for (words, part) in [
        (
            "train lenet-300-100 --data digits -o no/x.onnx",
            "no/x.onnx",
        ),
        ("compress dense.onnx --data digits -o no/x.sct", "no/x.sct"),
        (
            "compress dense.onnx --data digits -o folder.sct",
            "folder.sct",
        ),
        ("export dense.onnx -o no/x.sct", "no/x.sct"),
        ("inspect dense.onnx --json no/x.json", "no/x.json"),
        ("data sample digits -o no/x.png", "no/x.png"),
    ] {
        let ran = fails(&place, words, 1, &[part]);
        assert!(ran.stdout.is_empty(), "{ran:?}");
    }
}

#[test]
fn bad_usage_is_status_2() {
    let place = Place::new();
    place.train();
    for (words, part) in [
        ("", "Usage"),
        ("shrink", "shrink"),
        ("inspect", "<NETWORK>"),
        ("inspect network.txt", ".onnx or .sct"),
        ("compress dense.onnx --data digits -o x.onnx", ".sct"),
        ("train lenet-7 --data digits -o x.onnx", "lenet-300-100"),
        ("train lenet-5 --data digits -o x.txt", "x.txt"),
        ("export dense.onnx -o x.net", "ends in .onnx or .sct"),
        (
            "train lenet-5 --data digits --epochs 0 -o x.onnx",
            "above 0",
        ),
        ("bench dense.onnx --threads 0", "the processors there are"),
        (
            "bench dense.onnx --threads 5000",
            "the processors there are",
        ),
        ("bench dense.onnx --batch 0", "at least 1"),
        ("data fetch digit", "digits"),
        ("run dense.onnx --input x.png --std 0", "above 0"),
        ("completions dos", "bash"),
    ] {
        let before = place.files();
        let ran = place.run(words);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(part), "{part}: {ran:?}");
        assert!(ran.stdout.is_empty(), "{ran:?}");
        assert_eq!(place.files(), before);
    }
}

/// A colour PNG file.
fn picture(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 30) as u8, (y * 30) as u8, 128])
    });
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

#[test]
fn what_is_read_is_not_overwritten_and_no_file_twice() {
    let place = Place::new();
    place.train();
    let dense = place.read("dense.onnx");
    for words in [
        "inspect dense.onnx --json dense.onnx",
        "eval dense.onnx --data digits --json ./dense.onnx",
        "compress dense.onnx --data digits --recipe int8 -o x.sct --json dense.onnx",
        "compress dense.onnx --data digits --recipe int8 -o dense.sct --json dense.sct",
        "export dense.onnx -o x.onnx --json x.onnx",
        "bench dense.onnx --html x.html --json x.html",
    ] {
        let ran = place.run(words);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let told = ["it is read", "two results"];
        assert!(told.iter().any(|t| ran.stderr.contains(t)), "{ran:?}");
        assert_eq!(place.files(), ["dense.onnx"], "{ran:?}");
    }
    assert_eq!(place.read("dense.onnx"), dense);
}

#[test]
fn folders_are_classes_by_their_names() {
    let place = Place::new();
    let data = secateur::data::load("digits").unwrap().train;
    let save = |folder: &str, class: &str, count: usize, digit: u32| {
        let is = |i: &usize| data.labels()[*i] == digit;
        for i in (0..data.len()).filter(is).take(count) {
            let raw = data.raw_u8(i).unwrap().to_vec();
            let path = place.path(&format!("{folder}/{class}/{i}.png"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::GrayImage::from_raw(8, 8, raw)
                .unwrap()
                .save(path)
                .unwrap();
        }
    };
    for (class, digit) in [("nought", 0), ("one", 1), ("two", 2)] {
        save("all", class, 60, digit);
    }
    // In the order of the alphabet these would be the first and the second.
    save("some", "one", 40, 1);
    save("some", "two", 40, 2);
    save("other", "zebra", 40, 1);
    place.ok("train lenet-300-100 --data all --epochs 8 --batch 16 -o dense.onnx");
    place.ok("eval dense.onnx --data some --json some.json");
    let error = &place.json("some.json")["top1_error_percent"];
    assert!(error.as_f64().unwrap() < 20.0, "{error}");
    let words = "eval dense.onnx --data other";
    fails(&place, words, 1, &["other", "zebra", "nought, one, two"]);
}

#[test]
fn a_search_starts_from_weights_in_full_precision() {
    let place = Place::new();
    place.train();
    place.ok("compress dense.onnx --data digits --recipe int8 -o i.sct");
    for goal in ["", "--minimise latency"] {
        let words = format!("compress i.sct --data digits -o x.sct {goal}");
        fails(&place, &words, 1, &["already rounded", "fc1.weight"]);
    }
}
