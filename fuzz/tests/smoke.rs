//! Every target on its seeds and on some thousand mutations of them: nothing panics, and no
//! input takes more memory than its size allows.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

use peak_alloc::PeakAlloc;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use secateur_fuzz::mutate::mutate;
use secateur_fuzz::{TARGETS, Target};
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Memory is counted for the whole process, so one target runs at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Mutations of a target; `SECATEUR_FUZZ_MUTATIONS` asks for another number.
const MUTATIONS: usize = 5000;

/// Bytes that any input may take, ...
const BASE: usize = 64 << 20;
/// ... and those for each byte of it: the most that DEFLATE unpacks, and as much again.
const FACTOR: usize = 2 * 1032;

fn smoke(name: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let target = TARGETS.iter().find(|t| t.name == name).unwrap();
    let seeds = (target.seeds)().unwrap();
    for (index, seed) in seeds.iter().enumerate() {
        check(target, seed, &format!("seed-{index}"));
    }
    let mutations = std::env::var("SECATEUR_FUZZ_MUTATIONS").map(|n| n.parse().unwrap());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for index in 0..mutations.unwrap_or(MUTATIONS) {
        let bytes = mutate(&seeds, &mut rng);
        check(target, &bytes, &format!("mutation-{index}"));
    }
}

fn check(target: &Target, bytes: &[u8], what: &str) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let panicked = catch_unwind(|| (target.check)(bytes)).is_err();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let allowed = BASE + FACTOR * bytes.len();
    if panicked || taken > allowed {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{what}", target.name));
        std::fs::write(&path, bytes).unwrap();
        panic!(
            "{}: {what} ({} bytes, kept in {}) {}",
            target.name,
            bytes.len(),
            path.display(),
            if panicked {
                "panicked".into()
            } else {
                format!("took {taken} bytes of memory, {allowed} are allowed")
            }
        );
    }
}

#[test]
fn onnx() {
    smoke("onnx");
}

#[test]
fn sct() {
    smoke("sct");
}

#[test]
fn squeezenet() {
    smoke("squeezenet");
}

#[test]
fn run_onnx() {
    smoke("run_onnx");
}

#[test]
fn run_sct() {
    smoke("run_sct");
}

#[test]
fn codec() {
    smoke("codec");
}

#[test]
fn idx() {
    smoke("idx");
}

#[test]
fn npy() {
    smoke("npy");
}

#[test]
fn npz() {
    smoke("npz");
}

#[test]
fn image() {
    smoke("image");
}

#[test]
fn cifar() {
    smoke("cifar");
}

#[cfg(feature = "training")]
#[test]
fn recipe() {
    smoke("recipe");
}

#[cfg(feature = "training")]
#[test]
fn train_onnx() {
    smoke("train_onnx");
}
