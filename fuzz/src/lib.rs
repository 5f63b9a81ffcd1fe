//! What must hold for every byte string that a reader meets.
//!
//! Each [`Target`] is a function of bytes that panics where a property fails: a reader gives a
//! valid value or an error that names the file, and what a reader of networks gave is written
//! and read back the same. `cargo fuzz` runs them on bytes that a fuzzer finds
//! (`docs/fuzzing.md`), the smoke test on [mutations](mutate) of their [seeds].

pub mod codec;
pub mod data;
pub mod model;
pub mod mutate;
mod networks;
#[cfg(feature = "training")]
pub mod recipe;
pub mod seeds;
#[cfg(feature = "training")]
pub mod train;

use seeds::Seeds;

/// What the readers are told the bytes are called; their errors must say it.
pub const NAME: &str = "fuzzed.file";

/// A property of a reader.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the fuzz target and of its corpus.
    pub name: &'static str,
    /// Panics where the property does not hold for the bytes.
    pub check: fn(&[u8]),
    /// Small files that the reader accepts.
    pub seeds: fn() -> Seeds,
}

/// Every reader's target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "onnx",
        check: model::onnx,
        seeds: seeds::onnx,
    },
    Target {
        name: "sct",
        check: model::sct,
        seeds: seeds::sct,
    },
    Target {
        name: "squeezenet",
        check: model::squeezenet,
        seeds: seeds::squeezenet,
    },
    Target {
        name: "run_onnx",
        check: model::run_onnx,
        seeds: seeds::onnx,
    },
    Target {
        name: "run_sct",
        check: model::run_sct,
        seeds: seeds::sct,
    },
    Target {
        name: "codec",
        check: codec::codec,
        seeds: seeds::codec,
    },
    Target {
        name: "idx",
        check: data::idx,
        seeds: seeds::idx,
    },
    Target {
        name: "npy",
        check: data::npy,
        seeds: seeds::npy,
    },
    Target {
        name: "npz",
        check: data::npz,
        seeds: seeds::npz,
    },
    Target {
        name: "image",
        check: data::image,
        seeds: seeds::image,
    },
    Target {
        name: "cifar",
        check: data::cifar,
        seeds: seeds::cifar,
    },
    #[cfg(feature = "training")]
    Target {
        name: "recipe",
        check: recipe::recipe,
        seeds: seeds::recipe,
    },
    #[cfg(feature = "training")]
    Target {
        name: "train_onnx",
        check: train::train_onnx,
        seeds: seeds::onnx,
    },
];

/// An error must say which file it is about.
fn names_the_file(error: &impl std::fmt::Display) {
    let message = error.to_string();
    assert!(message.contains(NAME), "no file in {message:?}");
}
