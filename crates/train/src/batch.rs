//! Batches of images, and how they vary.

use crate::TrainError;
use crate::trace::Value;
use rand_chacha::ChaCha8Rng;
use secateur_data::Dataset;
use secateur_data::augment::{CropFlip, Moved};

/// How images are varied between epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Augment {
    /// Not at all.
    #[default]
    None,
    /// Moved by up to so many pixels each way, black moving in.
    Shift(usize),
    /// Moved, and half of them mirrored.
    ShiftMirror(usize),
}

/// Some images as they are shown.
pub(crate) struct Batch {
    pub indices: Vec<usize>,
    pub input: Value,
    /// What was done to each image; nothing where there is none.
    pub moves: Vec<Moved>,
}

pub(crate) fn batch_of(
    data: &Dataset,
    indices: &[usize],
    augment: Augment,
    rng: &mut ChaCha8Rng,
) -> Result<Batch, TrainError> {
    let mut pixels = vec![0.0; indices.len() * data.image_len()];
    data.gather(indices, &mut pixels);
    let crop = match augment {
        Augment::None => None,
        Augment::Shift(pad) => Some(CropFlip { pad, mirror: false }),
        Augment::ShiftMirror(pad) => Some(CropFlip { pad, mirror: true }),
    };
    let moves = match crop {
        None => Vec::new(),
        Some(crop) => crop
            .apply(&mut pixels, [data.channels, data.height, data.width], rng)
            .map_err(|e| TrainError::Setting(e.to_string()))?,
    };
    let dims = [indices.len(), data.channels, data.height, data.width];
    Ok(Batch {
        indices: indices.to_vec(),
        input: Value::new(pixels, &dims),
        moves,
    })
}
