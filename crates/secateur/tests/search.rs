//! Searches from the command line.
#![allow(clippy::unwrap_used)]

mod support;

use support::Place;

#[test]
fn time_is_searched_for_and_a_target_that_cannot_be_met_is_told() {
    let place = Place::new();
    place.train();
    let ran = place.ok(
        "compress dense.onnx --data digits --minimise latency --max-drop 2 --budget 10s -o fast.sct \
         --save-recipe fast.toml --json fast.json",
    );
    assert!(ran.stdout.contains("chosen"), "{ran:?}");
    assert!(place.json("fast.json")["met"].is_boolean(), "{ran:?}");
    place.ok("compress dense.onnx --data digits --recipe fast.toml -o again.sct");
    assert!(place.read("again.sct") == place.read("fast.sct"));

    let words = "compress dense.onnx --data digits --max-ms 0.0000001 --budget 5s -o tiny.sct --json tiny.json";
    let ran = place.ok(words);
    assert!(ran.stdout.contains("the target is not met"), "{ran:?}");
    assert_eq!(place.json("tiny.json")["met"], false);
    // The best of what was tried is there.
    place.ok("eval tiny.sct --data digits");
    let table = place.path("tiny.sct.run").join("policy-0.json");
    assert!(table.exists(), "{}", table.display());

    let words = "compress dense.onnx --data digits --minimise energy --budget 5s -o e.sct";
    let ran = place.ok(words);
    assert!(ran.stdout.contains("µJ"), "{ran:?}");
    let run = place.json("e.sct.run/run.json");
    assert!(run["dense"]["picojoules"].is_null(), "{run}");
    assert!(run["points"][0]["picojoules"].as_f64() > Some(0.0), "{run}");
    // Figures of another machine are no figures of this search.
    let other = place.run(&format!("{words} --resume --machine systolic-32x32"));
    assert!(
        other.code == Some(1) && other.stderr.contains("machine"),
        "{other:?}"
    );
    let pointless =
        place.run("compress dense.onnx --data digits --minimise latency --machine eie -o x.sct");
    assert!(
        pointless.code == Some(1) && pointless.stderr.contains("energy"),
        "{pointless:?}"
    );
}
