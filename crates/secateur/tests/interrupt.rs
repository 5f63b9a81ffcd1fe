//! Ctrl-C and broken pipes.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use support::{Place, Ran};

/// Starts a command, waits for its first line, sends the signal.
fn interrupted(place: &Place, words: &str, signal: &str) -> Ran {
    let mut child = place
        .command(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    assert!(!first.is_empty(), "{words}");
    let kill = format!("kill -{signal} {}", child.id());
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    Ran::new(words, child.wait_with_output().unwrap())
}

#[test]
fn an_interrupted_training_leaves_no_file() {
    let place = Place::new();
    for signal in ["INT", "TERM"] {
        let words = "train lenet-300-100 --data digits --epochs 100000 -o x.onnx --json x.json";
        let ran = interrupted(&place, words, signal);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("stopped"), "{ran:?}");
        assert!(place.files().is_empty(), "{:?}", place.files());
    }
}

#[test]
fn an_interrupted_compression_leaves_the_old_file() {
    let place = Place::new();
    place.train();
    place.write(
        "long.toml",
        support::TINY.replace("epochs = 2", "epochs = 100000"),
    );
    place.write("small.sct", "old");
    let before = place.files();
    let words = "compress dense.onnx --data digits --recipe long.toml -o small.sct";
    let ran = interrupted(&place, words, "INT");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("stopped"), "{ran:?}");
    assert_eq!(place.files(), before);
    assert_eq!(place.read("small.sct"), b"old");
}

#[test]
fn nobody_reading_is_no_panic() {
    let place = Place::new();
    let mut child = place
        .command("cpu")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = Ran::new("cpu", child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
