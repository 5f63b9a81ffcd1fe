//! Networks that find objects, from pictures with boxes to a drawn answer.
#![allow(clippy::unwrap_used)]

mod support;

use image::{ImageFormat, Rgb, RgbImage};
use secateur::io::onnx;
use secateur::model::zoo;
use serde_json::Value;
use std::io::Cursor;
use support::browser::Browser;
use support::{Place, keys};

/// A recipe that takes a moment.
const TINY: &str = r#"
name = "tiny"

[[step]]
kind = "prune"
allocation = { uniform = 0.5 }
retrain = { epochs = 3, learning_rate = 1e-3, batch = 8, optimiser = "adamw", shift = 4, mirror = true }

[[step]]
kind = "quantize"
weight_bits = 8
activation_range = "min-max"

[[step]]
kind = "encode"
"#;

const TRAIN: &str = "--batch 8 --optimiser adamw --learning-rate 0.003 --shift 4 --mirror";

/// A folder like VOC's: pictures of 64x48 with a red and a blue rectangle each.
fn rectangles(place: &Place) {
    let mut state = 7u32;
    let mut below = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % n
    };
    let mut lists = [String::new(), String::new(), String::new()];
    for index in 0..100 {
        let mut picture = RgbImage::from_pixel(64, 48, Rgb([60; 3]));
        let mut objects = String::new();
        for (class, colour) in [("blue", [40, 60, 230]), ("red", [230, 60, 40])] {
            let (width, height) = (9 + below(12), 9 + below(12));
            let left = below(31 - width) + if class == "red" { 32 } else { 0 };
            let top = below(48 - height);
            for (x, y) in
                (left..left + width).flat_map(|x| (top..top + height).map(move |y| (x, y)))
            {
                picture.put_pixel(x, y, Rgb(colour));
            }
            objects += &format!(
                "<object><name>{class}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>\
                 <ymax>{}</ymax></bndbox></object>",
                left + 1,
                top + 1,
                left + width,
                top + height
            );
        }
        let mut png = Cursor::new(Vec::new());
        picture.write_to(&mut png, ImageFormat::Png).unwrap();
        place.write(&format!("voc/JPEGImages/{index}.png"), png.into_inner());
        let xml = format!("<annotation>{objects}</annotation>");
        place.write(&format!("voc/Annotations/{index}.xml"), xml);
        let part = match index {
            0..72 => 0,
            72..84 => 1,
            _ => 2,
        };
        lists[part] += &format!("{index}\n");
    }
    for (part, names) in ["train", "val", "test"].into_iter().zip(lists) {
        place.write(&format!("voc/ImageSets/Main/{part}.txt"), names);
    }
}

fn map(score: &Value) -> f64 {
    score["map_percent"].as_f64().unwrap()
}

#[test]
fn a_detector_goes_all_the_way() {
    let place = Place::new();
    rectangles(&place);
    let fresh = zoo::build("ssd-small", [3, 48, 64], 2, 1).unwrap();
    onnx::save(&fresh, place.path("fresh.onnx")).unwrap();
    let trained = place.ok(&format!(
        "train fresh.onnx --data voc {TRAIN} --epochs 16 -o dense.onnx --json train.json"
    ));
    assert!(
        trained.stdout.contains("16 x 72 images of voc"),
        "{trained:?}"
    );
    assert!(map(&place.json("train.json")) > 85.0, "{trained:?}");

    let ran = place.ok("eval dense.onnx --data voc --task detection --json eval.json");
    let eval = place.json("eval.json");
    assert_eq!(
        keys(&eval),
        [
            "bytes",
            "classes",
            "map_11_point_percent",
            "map_percent",
            "samples"
        ]
    );
    assert!(
        ran.stdout.contains("mAP@0.5") && ran.stdout.contains("blue"),
        "{ran:?}"
    );
    assert_eq!(
        (&eval["samples"], &eval["classes"][1]["objects"]),
        (&16.into(), &16.into())
    );
    assert_eq!(map(&eval), map(&place.json("train.json")));

    place.write("tiny.toml", TINY);
    let ran =
        place.ok("compress dense.onnx --data voc --recipe tiny.toml -o small.sct --json run.json --html p.html");
    assert!(ran.stdout.contains("test mAP"), "{ran:?}");
    let html = String::from_utf8(place.read("p.html")).unwrap();
    if let Some(browser) = Browser::find() {
        let titles = [
            "The trade",
            "Answers",
            "Layers",
            "Bytes",
            "Time",
            "Sensitivity",
            "Weights",
        ];
        let seen = browser.check(&place, &html, 400, &titles);
        assert!(seen["pictures"].as_u64().unwrap() >= 12, "{seen}");
    }
    let after = &place.json("run.json")["after"];
    assert!(map(after) > 70.0, "{after}");
    place.ok("eval small.sct --data voc --json small.json");
    assert_eq!(map(&place.json("small.json")), map(after));
    place.ok("bench small.sct --threads 1 --repeats 3");

    let ran =
        place.ok("run small.sct --input voc/JPEGImages/90.png -o boxes.png --json found.json");
    let found = place.json("found.json");
    assert_eq!(keys(&found), ["milliseconds", "objects"]);
    assert!(ran.stdout.contains("vermilion"), "{ran:?}");
    let red = found["objects"].as_array().unwrap();
    let red = red.iter().find(|object| object["class"] == "red").unwrap();
    assert!(red["right"].as_f64().unwrap() <= 64.0 && red["score"].as_f64().unwrap() >= 0.4);
    let drawn = image::load_from_memory(&place.read("boxes.png"))
        .unwrap()
        .to_rgb8();
    assert_eq!(drawn.dimensions(), (64, 48));
    assert!(drawn.pixels().any(|p| *p == Rgb([213, 94, 0])));

    let ran = place.ok("data sample voc --index 2 -o sample.png");
    assert!(ran.stdout.contains("with 1 blue, 1 red"), "{ran:?}");
}

#[test]
fn a_network_is_asked_what_it_can_answer() {
    let place = Place::new();
    rectangles(&place);
    place.train();
    let detector = zoo::build("ssd-small", [3, 48, 64], 3, 1).unwrap();
    onnx::save(&detector, place.path("three.onnx")).unwrap();
    let classifier = zoo::build("vgg-small", [3, 48, 64], 2, 1).unwrap();
    onnx::save(&classifier, place.path("classes.onnx")).unwrap();
    place.write("no.xml", "");
    for (words, expected) in [
        (
            "eval dense.onnx --data digits --task detection",
            "its task is classification",
        ),
        (
            "eval three.onnx --data voc --task classification",
            "its task is detection",
        ),
        (
            "eval three.onnx --data voc",
            "3 classes of objects, voc has 2",
        ),
        (
            "eval classes.onnx --data voc",
            "the network finds no objects",
        ),
        (
            "train classes.onnx --data voc --epochs 1 -o no.onnx",
            "finds no objects",
        ),
        (
            "run dense.onnx --input voc/JPEGImages/1.png -o no.png",
            "-o draws boxes",
        ),
        ("run three.onnx --input no.xml", "no.xml"),
    ] {
        let ran = place.run(words);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(expected), "{ran:?}");
    }
    assert_eq!(
        place.run("run three.onnx --input a.png --least 2").code,
        Some(2)
    );
}
