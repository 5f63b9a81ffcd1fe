//! Runs that are killed, that run out of room, or whose training breaks.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Place, Ran};

/// Two steps that take a while.
const TWO: &str = r#"
name = "two"

[[step]]
kind = "prune"
allocation = { global = 0.5 }
retrain = { epochs = 4, learning_rate = 0.02, batch = 32 }

[[step]]
kind = "prune"
allocation = { global = 0.2 }
retrain = { epochs = 120, learning_rate = 0.02, batch = 32 }

[[step]]
kind = "share"
levels = 16

[[step]]
kind = "quantize"
weight_bits = 8
activation_range = "min-max"
"#;

fn events(place: &Place, folder: &str) -> Vec<Value> {
    let path = place.path(folder).join("log.jsonl");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Waits until a step has begun, and then a moment.
fn wait_for_step(place: &Place, folder: &str, step: u64) {
    let start = Instant::now();
    let begun = |e: &Value| e["event"] == "step begun" && e["step"] == step;
    while !events(place, folder).iter().any(begun) {
        assert!(start.elapsed() < Duration::from_secs(300), "step {step}");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));
}

#[test]
fn a_run_that_is_killed_goes_on_to_the_same_bytes() {
    let place = Place::new();
    place.train();
    place.write("two.toml", TWO);
    let words =
        |output: &str| format!("compress dense.onnx --data digits --recipe two.toml -o {output}");
    place.ok(&words("whole.sct"));

    let mut child = place
        .command(&words("killed.sct"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_step(&place, "killed.sct.run", 2);
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(!place.path("killed.sct").exists());

    // It is not begun anew by mistake, and not gone on with as another run.
    let anew = place.run(&words("killed.sct"));
    assert!(
        anew.code == Some(1) && anew.stderr.contains("--resume"),
        "{anew:?}"
    );
    let other = place.run(&format!("{} --resume --seed 7", words("killed.sct")));
    assert!(
        other.code == Some(1) && other.stderr.contains("seed"),
        "{other:?}"
    );

    place.ok(&format!("{} --resume", words("killed.sct")));
    assert!(place.read("killed.sct") == place.read("whole.sct"));
    let first = |e: &&Value| e["event"] == "step begun" && e["step"] == 1;
    assert_eq!(
        events(&place, "killed.sct.run")
            .iter()
            .filter(first)
            .count(),
        1
    );
    let record: Value = place.json("killed.sct.run/run.json");
    assert_eq!(record["points"].as_array().unwrap().len(), 4);

    let nothing = place.run(&format!("{} --resume", words("new.sct")));
    assert!(
        nothing.stderr.contains("no run to go on with"),
        "{nothing:?}"
    );
}

/// Waits until a file is there.
fn wait_for_file(place: &Place, name: &str) {
    let start = Instant::now();
    while !place.path(name).exists() {
        assert!(start.elapsed() < Duration::from_secs(300), "{name}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a command that keeps its training at every step, and kills it once that is there.
fn killed_while_training(place: &Place, words: &str, kept: &str) {
    let mut child = place
        .command(words)
        .env("SECATEUR_CHECKPOINT_SECONDS", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_file(place, kept);
    std::thread::sleep(Duration::from_millis(200));
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn a_training_that_is_killed_goes_on_to_the_same_bytes() {
    let place = Place::new();
    let words = |output: &str| {
        format!("train lenet-300-100 --data digits --epochs 150 --shift 1 --ema 0.99 -o {output}")
    };
    place.ok(&words("whole.onnx"));
    killed_while_training(&place, &words("killed.onnx"), "killed.onnx.training");
    assert!(!place.path("killed.onnx").exists());

    let anew = place.run(&words("killed.onnx"));
    assert!(
        anew.code == Some(1) && anew.stderr.contains("--resume"),
        "{anew:?}"
    );
    let other = place.run(&format!("{} --resume --seed 7", words("killed.onnx")));
    assert!(
        other.code == Some(1) && other.stderr.contains("of another one"),
        "{other:?}"
    );
    place.ok(&format!("{} --resume", words("killed.onnx")));
    assert!(place.read("killed.onnx") == place.read("whole.onnx"));
    assert!(!place.path("killed.onnx.training").exists());

    let nothing = place.run(&format!("{} --resume", words("new.onnx")));
    assert!(
        nothing.stderr.contains("no training to go on with"),
        "{nothing:?}"
    );
    place.write("new.onnx.training", "something else");
    let damaged = place.run(&format!("{} --resume", words("new.onnx")));
    assert!(
        damaged.stderr.contains("new.onnx.training: "),
        "{damaged:?}"
    );
}

#[test]
fn a_step_that_is_killed_goes_on_within_its_training() {
    let place = Place::new();
    place.train();
    place.write(
        "rate.toml",
        r#"
name = "rate"

[[step]]
kind = "rate"
nats_per_bit = 1e-5
retrain = { epochs = 200, learning_rate = 0.01, batch = 32, optimiser = "adamw" }
"#,
    );
    let words =
        |output: &str| format!("compress dense.onnx --data digits --recipe rate.toml -o {output}");
    place.ok(&words("whole.sct"));
    let kept = "killed.sct.run/step.training";
    killed_while_training(&place, &words("killed.sct"), kept);
    let before = place.read(kept);
    let anew = place.run(&words("killed.sct"));
    assert!(
        anew.code == Some(1) && anew.stderr.contains("--resume"),
        "{anew:?}"
    );
    assert!(place.read(kept) == before);
    place.ok(&format!("{} --resume", words("killed.sct")));
    assert!(place.read("killed.sct") == place.read("whole.sct"));
    assert!(!place.path(kept).exists());
}

#[test]
fn a_search_that_is_killed_goes_on_to_the_same_bytes() {
    let place = Place::new();
    place.train();
    let words = |output: &str| {
        format!(
            "compress dense.onnx --data digits --max-bytes 14000 --save-recipe {output}.toml -o {output}.sct"
        )
    };
    let ran = place.ok(&words("whole"));
    assert!(ran.stdout.contains("chosen"), "{ran:?}");
    assert!(place.read("whole.sct").len() <= 14_000);
    let mut child = place
        .command(&words("killed"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_step(&place, "killed.sct.run", 2);
    child.kill().unwrap();
    child.wait().unwrap();
    place.ok(&format!("{} --resume", words("killed")));
    assert!(place.read("killed.sct") == place.read("whole.sct"));
    assert!(place.read("killed.toml") == place.read("whole.toml"));

    place.ok("compress dense.onnx --data digits --recipe whole.toml -o again.sct");
    assert!(place.read("again.sct") == place.read("whole.sct"));
}

#[test]
fn a_full_disk_loses_nothing_that_was_kept() {
    let place = Place::new();
    place.train();
    place.write("two.toml", TWO);
    let words = "compress dense.onnx --data digits --recipe two.toml -o small.sct";
    // A file beyond a limit is an error instead of a signal.
    let script = format!(
        "trap '' XFSZ; exec {} {words}",
        env!("CARGO_BIN_EXE_secateur")
    );
    let child = Command::new("sh")
        .args(["-c", &script])
        .current_dir(place.path("."))
        .env("SECATEUR_DATA", place.path("cache"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // There is room for the first step's network; then, while the second trains, there is none.
    wait_for_step(&place, "small.sct.run", 2);
    let limited = Command::new("prlimit")
        .args(["--pid", &child.id().to_string(), "--fsize=16384"])
        .status();
    assert!(limited.unwrap().success());
    let ran = Ran::new(&script, child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let kept = place.path("small.sct.run/1-prune.sct");
    assert!(
        ran.stderr.contains("1-prune.sct") && ran.stderr.contains("--resume"),
        "{ran:?}"
    );
    secateur::io::sct::load(&kept).unwrap();
    let left = std::fs::read_dir(place.path("small.sct.run")).unwrap();
    let names: Vec<String> = left
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|n| !n.starts_with(".tmp")), "{names:?}");
    place.ok(&format!("{words} --resume"));
    let resumed = place.read("small.sct");
    place.ok("compress dense.onnx --data digits --recipe two.toml -o whole.sct");
    assert!(resumed == place.read("whole.sct"));
}

#[test]
fn a_loss_that_is_no_number_names_the_step_and_what_is_kept() {
    let place = Place::new();
    place.train();
    place.write(
        "nan.toml",
        TWO.replace(
            "epochs = 120, learning_rate = 0.02",
            "epochs = 3, learning_rate = 1e20",
        ),
    );
    let ran = place.run("compress dense.onnx --data digits --recipe nan.toml -o small.sct");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for part in ["step 2 (prune)", "loss", "1-prune.sct"] {
        assert!(ran.stderr.contains(part), "{part}: {ran:?}");
    }
    let last = events(&place, "small.sct.run").pop().unwrap();
    assert_eq!(last["event"], "stopped");
}

#[test]
fn newer_files_say_so() {
    let place = Place::new();
    place.train();
    place.write(
        "newer.toml",
        "version = 2\nname = \"x\"\n[[step]]\nkind = \"melt\"\n",
    );
    let ran = place.run("compress dense.onnx --data digits --recipe newer.toml -o small.sct");
    assert!(
        ran.code == Some(1) && ran.stderr.contains("version 2"),
        "{ran:?}"
    );
    place.write(
        "small.sct.run/state.json",
        "{\"version\": 9, \"spirit\": 1}",
    );
    place.write("tiny.toml", support::TINY);
    let ran =
        place.run("compress dense.onnx --data digits --recipe tiny.toml -o small.sct --resume");
    assert!(
        ran.code == Some(1) && ran.stderr.contains("version 9"),
        "{ran:?}"
    );
}
