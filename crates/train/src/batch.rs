//! Batches of images, and how they vary.

use crate::TrainError;
use crate::trace::Value;
use rand_chacha::ChaCha8Rng;
use secateur_data::Dataset;
use secateur_data::augment::CropFlip;

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

pub(crate) fn batch_of(
    data: &Dataset,
    indices: &[usize],
    augment: Augment,
    rng: &mut ChaCha8Rng,
) -> Result<Value, TrainError> {
    let mut pixels = vec![0.0; indices.len() * data.image_len()];
    data.gather(indices, &mut pixels);
    let crop = match augment {
        Augment::None => None,
        Augment::Shift(pad) => Some(CropFlip { pad, mirror: false }),
        Augment::ShiftMirror(pad) => Some(CropFlip { pad, mirror: true }),
    };
    if let Some(crop) = crop {
        crop.apply(&mut pixels, [data.channels, data.height, data.width], rng)
            .map_err(|e| TrainError::Setting(e.to_string()))?;
    }
    let dims = [indices.len(), data.channels, data.height, data.width];
    Ok(Value::new(pixels, &dims))
}
