//! The page of a run, as a browser shows it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::Place;
use support::browser::Browser;

/// What the page of a run is about.
const TITLES: [&str; 7] = [
    "The trade",
    "Answers",
    "Layers",
    "Bytes",
    "Time",
    "Sensitivity",
    "Weights",
];

/// A run of the digits, with its page.
fn run() -> (Place, String) {
    let place = Place::new();
    place.train();
    place.write("tiny.toml", support::TINY);
    let ran = place
        .ok("compress dense.onnx --data digits --recipe tiny.toml -o small.sct --html report.html");
    assert!(ran.stdout.contains("report: report.html"), "{ran:?}");
    let html = String::from_utf8(place.read("report.html")).unwrap();
    (place, html)
}

#[test]
fn a_run_is_a_page_that_a_browser_draws() {
    let (place, html) = run();
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
    // Nothing from elsewhere, and nothing that runs.
    for outside in ["http:", "https:", "<script", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    let Some(browser) = Browser::find() else {
        return;
    };
    for width in [320, 400, 1200] {
        let seen = browser.check(&place, &html, width, &TITLES);
        let count = |key: &str| seen[key].as_u64().unwrap();
        // The curve and the roofline; a histogram for each of three layers.
        assert_eq!((count("plots"), count("histograms")), (2, 3), "{seen}");
        assert!(count("bars") > 30 && count("pictures") > 12, "{seen}");
    }
    browser.check_print(&place, &html);
    let [light, dark] = [false, true].map(|dark| {
        let seen = browser.probe(&place, &html, 400, dark);
        for wrong in ["empty", "wide", "outside"] {
            assert_eq!(seen[wrong], serde_json::json!([]), "{seen}");
        }
        seen["background"].to_string()
    });
    assert_ne!(light, dark);

    let page = place.path("report.html");
    for width in [400, 1200] {
        let picture = place.path("page.png");
        let options = [
            format!("--window-size={width},1600"),
            format!("--screenshot={}", picture.display()),
        ];
        browser.run(&options, &page);
        let picture = image::open(&picture).unwrap().to_rgb8();
        assert_eq!(picture.width(), width);
        // What is kept is drawn in the colour of the page for it.
        let after = picture
            .pixels()
            .filter(|p| p.0 == [0xd5, 0x5e, 0x00])
            .count();
        assert!(after > 500, "{after} pixels at {width}");
    }
    let paper = place.path("page.pdf");
    browser.run(&[format!("--print-to-pdf={}", paper.display())], &page);
    let paper = place.read("page.pdf");
    assert!(
        paper.starts_with(b"%PDF") && paper.len() > 20_000,
        "{} bytes",
        paper.len()
    );
}

#[test]
fn a_search_is_a_page_with_every_point_and_layer() {
    let place = Place::new();
    place.train();
    place.ok(
        "compress dense.onnx --data digits --minimise latency --max-drop 2 --budget 10s -o fast.sct --html s.html",
    );
    let html = String::from_utf8(place.read("s.html")).unwrap();
    let Some(browser) = Browser::find() else {
        return;
    };
    for width in [320, 1200] {
        browser.check(&place, &html, width, &TITLES);
    }
    browser.check_print(&place, &html);
}

#[test]
fn a_roofline_is_a_page_that_a_browser_draws() {
    let place = Place::new();
    place.train();
    place.ok("bench dense.onnx --repeats 20 --threads 1 --html roof.html");
    let Some(browser) = Browser::find() else {
        return;
    };
    let html = String::from_utf8(place.read("roof.html")).unwrap();
    for width in [400, 1200] {
        let seen = browser.probe(&place, &html, width, true);
        assert_eq!(seen["plots"], 1, "{seen}");
        for wrong in ["empty", "wide", "outside"] {
            assert_eq!(seen[wrong], serde_json::json!([]), "{width}: {seen}");
        }
    }
}

#[test]
fn a_sensitivity_is_a_page_that_fits_a_phone() {
    let place = Place::new();
    place.train();
    place.ok("sensitivity dense.onnx --data digits --samples 64 --html s.html --json s.json");
    let html = String::from_utf8(place.read("s.html")).unwrap();
    let table = place.json("s.json");
    let choices = |layer: &Value| layer["choices"].as_array().unwrap().len();
    let cells: usize = table["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(choices)
        .sum();
    assert!(cells > 0);
    assert_eq!(html.matches("<td class=\"h").count(), cells);
    let Some(browser) = Browser::find() else {
        return;
    };
    let seen = browser.probe(&place, &html, 320, false);
    assert_eq!(seen["titles"], serde_json::json!(["Sensitivity"]), "{seen}");
    assert!(seen["content"].as_u64().unwrap() <= 320, "{seen}");
    assert_eq!(seen["wide"], serde_json::json!([]), "{seen}");
}

#[test]
fn a_machine_is_a_page_that_a_browser_draws() {
    let place = Place::new();
    place.compress();
    place.ok("data sample digits --index 3 -o digit.png");
    place.ok(
        "simulate small.sct --input digit.png --compare systolic-32x32,eie-64 --sweep array.groups=4..16 --html machine.html",
    );
    let html = String::from_utf8(place.read("machine.html")).unwrap();
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
    for outside in ["http:", "https:", "<script", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    place.ok(
        "simulate small.sct --sweep array.groups=4,8 --sweep memory.dram_bytes_a_cycle=6.4..25.6 --html heat.html",
    );
    let heat = String::from_utf8(place.read("heat.html")).unwrap();
    // Six points, their time and their energy.
    assert_eq!(heat.matches("<td class=\"h").count(), 12);
    let Some(browser) = Browser::find() else {
        return;
    };
    for (width, dark) in [(320, false), (400, true), (1200, false)] {
        let seen = browser.probe(&place, &html, width, dark);
        let count = |key: &str| seen[key].as_u64().unwrap();
        assert!(count("content") <= width as u64, "{seen}");
        let titles = [
            "Machines",
            "Where cycles go",
            "Time",
            "Time of one layer",
            "Roofline",
            "Energy",
            "Multiply-accumulates",
            "Other settings",
            "Steps",
        ];
        assert_eq!(seen["titles"], serde_json::json!(titles), "{seen}");
        // The network's time, the layer's and its groups', the roofline, time and energy by groups.
        assert_eq!(count("plots"), 6, "{seen}");
        assert!(count("bars") > 20, "{seen}");
        for wrong in ["empty", "wide", "outside"] {
            assert_eq!(seen[wrong], serde_json::json!([]), "{width}: {seen}");
        }
        assert_eq!(count("unnamed"), 0, "{seen}");
    }
    let seen = browser.probe(&place, &heat, 320, false);
    assert!(seen["content"].as_u64().unwrap() <= 320, "{seen}");
    assert_eq!(seen["wide"], serde_json::json!([]), "{seen}");
    let paper = place.path("page.pdf");
    browser.run(
        &[format!("--print-to-pdf={}", paper.display())],
        &place.path("machine.html"),
    );
    assert!(place.read("page.pdf").starts_with(b"%PDF"));
}

#[test]
fn names_of_others_stay_names() {
    let place = Place::new();
    place.train();
    let (dense, hostile) = (place.path("dense.onnx"), place.path("hostile.onnx"));
    let name = "</style><script>document.title='x'</script>\"'&";
    support::rewrite(&dense, &hostile, |graph| {
        graph.name = name.into();
        for node in &mut graph.nodes {
            node.name = format!("{name}{}", node.name);
        }
        graph
            .metadata
            .insert("classes".into(), [name; 10].join("\n"));
    });
    place.write("tiny.toml", support::TINY);
    place.ok(
        "compress hostile.onnx --data digits --recipe tiny.toml -o small.sct --html report.html",
    );
    let html = String::from_utf8(place.read("report.html")).unwrap();
    let sound = |html: &str| {
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;"));
        assert_eq!(html.matches("</style>").count(), 1);
    };
    sound(&html);
    place.ok("simulate small.sct --html machine.html");
    sound(&String::from_utf8(place.read("machine.html")).unwrap());
}
