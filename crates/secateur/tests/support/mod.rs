//! The built command, in a folder of its own.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used)]

pub mod browser;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A recipe that takes a moment on the digits.
pub const TINY: &str = r#"
name = "tiny"

[[step]]
kind = "prune"
allocation = { global = 0.3 }
retrain = { epochs = 2, learning_rate = 0.02, batch = 32 }

[[step]]
kind = "share"
levels = 16

[[step]]
kind = "quantize"
weight_bits = 8
activation_range = "min-max"

[[step]]
kind = "encode"
store = "small"
"#;

/// A temporary folder in which commands are run.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Names of all files, hidden ones too.
    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The command with these words, set apart by spaces, not yet run.
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
        command
            .current_dir(self.0.path())
            .env_remove("SECATEUR_ISA")
            .env_remove("SECATEUR_THREADS")
            .env("SECATEUR_DATA", self.path("cache"))
            .args(words.split_whitespace());
        command
    }

    pub fn run(&self, words: &str) -> Ran {
        Ran::new(words, self.command(words).output().unwrap())
    }

    /// Runs the command, which has to succeed.
    pub fn ok(&self, words: &str) -> Ran {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    }

    /// A trained network for the digits, `dense.onnx`.
    pub fn train(&self) {
        self.ok("train lenet-300-100 --data digits --epochs 8 --batch 32 -o dense.onnx");
    }

    /// A compressed one as well, `small.sct`.
    pub fn compress(&self) {
        self.train();
        self.write("tiny.toml", TINY);
        self.ok("compress dense.onnx --data digits --recipe tiny.toml -o small.sct");
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub words: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(words: &str, output: Output) -> Self {
        let ran = Self {
            words: words.into(),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
        ran
    }
}

/// The keys of a JSON object, sorted.
pub fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// Changes a network's file as `change` says.
pub fn rewrite(from: &Path, to: &Path, change: impl Fn(&mut secateur::model::Graph)) {
    let mut graph = secateur::io::onnx::load(from).unwrap();
    change(&mut graph);
    secateur::io::onnx::save(&graph, to).unwrap();
}
