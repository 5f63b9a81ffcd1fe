//! Batches of images, and how they vary.

use crate::TrainError;
use crate::trace::Value;
use rand_chacha::ChaCha8Rng;
use secateur_data::Dataset;
use secateur_data::augment::{CropFlip, Cutout, Moved, Warp};

/// How images are varied between epochs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Augment {
    /// Moved by up to so many pixels each way, black moving in.
    pub shift: usize,
    /// Half of them mirrored.
    pub mirror: bool,
    /// A square of so many pixels blanked, anywhere (DeVries & Taylor 2017).
    pub cutout: usize,
    /// Turned, stretched and moved; not where boxes would have to follow.
    pub warp: Option<Warp>,
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
    let shape = [data.channels, data.height, data.width];
    let wrong = |e: secateur_data::DataError| TrainError::Setting(e.to_string());
    let Augment {
        shift,
        mirror,
        cutout,
        warp,
    } = augment;
    let crop = CropFlip { pad: shift, mirror };
    let moves = match shift > 0 || mirror {
        true => crop.apply(&mut pixels, shape, rng).map_err(wrong)?,
        false => Vec::new(),
    };
    if let Some(warp) = warp {
        if data.labels().is_empty() {
            return Err(TrainError::Setting(
                "images cannot be warped where boxes would have to follow".into(),
            ));
        }
        warp.apply(&mut pixels, shape, rng).map_err(wrong)?;
    }
    if cutout > 0 {
        let square = Cutout { side: cutout };
        square.apply(&mut pixels, shape, rng).map_err(wrong)?;
    }
    let dims = [indices.len(), data.channels, data.height, data.width];
    Ok(Batch {
        indices: indices.to_vec(),
        input: Value::new(pixels, &dims),
        moves,
    })
}
