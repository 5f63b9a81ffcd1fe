//! Augmentation of gathered batches.

use rand::{Rng, RngExt};

use secateur_model::detection::Object;

use crate::DataError;

pub use crate::warp::Warp;

/// Pads by `pad` zeros on every side, crops at random to the old size and mirrors half of the
/// images left to right: the augmentation of He, Zhang, Ren, Sun, *Deep Residual Learning*
/// (2016), section 4.2.
///
/// The padding is zero after normalisation, that is the mean colour.
///
/// ```
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
/// use secateur_data::augment::CropFlip;
/// let mut batch = vec![1.0; 2 * 3 * 32 * 32];
/// let mut rng = ChaCha8Rng::seed_from_u64(1);
/// CropFlip { pad: 4, mirror: true }.apply(&mut batch, [3, 32, 32], &mut rng)?;
/// assert_eq!(batch.len(), 2 * 3 * 32 * 32);
/// # Ok::<(), secateur_data::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CropFlip {
    /// Zeros on every side before the crop, in pixels.
    pub pad: usize,
    /// Whether half of the images are mirrored left to right.
    pub mirror: bool,
}

/// What was done to an image: moved, then mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moved {
    /// How far it moved down, in parts of its height; negative is up.
    pub down: f32,
    /// How far it moved right, in parts of its width.
    pub right: f32,
    /// Whether it was mirrored left to right.
    pub mirrored: bool,
}

impl CropFlip {
    /// Changes every image of `batch`, `[n, channels, height, width]`, in place; what was done to
    /// each. Two shifts and one mirroring are drawn for each image in turn, so the result depends
    /// on the state of `rng` alone.
    ///
    /// # Errors
    /// A batch that is not a whole number of images of `shape`, `[channels, height, width]`.
    pub fn apply(
        self,
        batch: &mut [f32],
        shape: [usize; 3],
        rng: &mut impl Rng,
    ) -> Result<Vec<Moved>, DataError> {
        let [_, height, width] = shape;
        let image_len = image_len(batch, shape)?;
        let mut old = vec![0.0; image_len];
        let mut moves = Vec::with_capacity(batch.len() / image_len);
        for image in batch.chunks_exact_mut(image_len) {
            let down = rng.random_range(0..=self.pad.saturating_mul(2));
            let right = rng.random_range(0..=self.pad.saturating_mul(2));
            let mirror = rng.random::<bool>() && self.mirror;
            moves.push(Moved {
                down: (self.pad as f32 - down as f32) / height as f32,
                right: (self.pad as f32 - right as f32) / width as f32,
                mirrored: mirror,
            });
            old.copy_from_slice(image);
            let planes = old.chunks_exact(height * width);
            for (from, to) in planes.zip(image.chunks_exact_mut(height * width)) {
                let source = |out: usize, shift: usize, dim: usize| {
                    (out + shift).checked_sub(self.pad).filter(|&at| at < dim)
                };
                for (y, row) in to.chunks_exact_mut(width).enumerate() {
                    let from = source(y, down, height).map(|y| &from[y * width..(y + 1) * width]);
                    for (x, pixel) in row.iter_mut().enumerate() {
                        let x = if mirror { width - 1 - x } else { x };
                        let x = source(x, right, width);
                        *pixel = from.zip(x).map_or(0.0, |(row, x)| row[x]);
                    }
                }
            }
        }
        Ok(moves)
    }
}

impl Moved {
    /// What is still to be seen of the objects of an image, where it is now. Objects of which less
    /// than [`VISIBLE`](Self::VISIBLE) is left are difficult: whether there is one is a guess.
    pub fn objects(&self, objects: &[Object]) -> Vec<Object> {
        let seen = objects.iter().map(|object| {
            let moved = object.bbox.moved(self.right, self.down);
            let bbox = match self.mirrored {
                true => moved.mirrored().clipped(),
                false => moved.clipped(),
            };
            let hidden = bbox.area() < Self::VISIBLE * object.bbox.area();
            Object {
                bbox,
                difficult: object.difficult || hidden,
                ..*object
            }
        });
        seen.filter(|object| object.bbox.area() > 0.0).collect()
    }

    /// Share of an object's area by which it can still be recognised.
    pub const VISIBLE: f32 = 0.3;
}

/// Blanks a square of each image, its middle anywhere in it: DeVries, Taylor, *Improved
/// Regularization of Convolutional Neural Networks with Cutout* (2017).
///
/// Blank is zero after normalisation, that is the mean colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutout {
    /// Height and width of the square, in pixels; what lies outside of the image is cut off.
    pub side: usize,
}

impl Cutout {
    /// Changes every image of `batch`, `[n, channels, height, width]`, in place. Two places are
    /// drawn for each image in turn, so the result depends on the state of `rng` alone.
    ///
    /// # Errors
    /// A batch that is not a whole number of images of `shape`, `[channels, height, width]`.
    pub fn apply(
        self,
        batch: &mut [f32],
        shape: [usize; 3],
        rng: &mut impl Rng,
    ) -> Result<(), DataError> {
        let [_, height, width] = shape;
        let image_len = image_len(batch, shape)?;
        let side = self.side;
        let span = |middle: usize, extent: usize| {
            let end = middle.saturating_add(side - side / 2).min(extent);
            middle.saturating_sub(side / 2)..end
        };
        for image in batch.chunks_exact_mut(image_len) {
            let down = span(rng.random_range(0..height), height);
            let across = span(rng.random_range(0..width), width);
            for plane in image.chunks_exact_mut(height * width) {
                for row in plane
                    .chunks_exact_mut(width)
                    .take(down.end)
                    .skip(down.start)
                {
                    row[across.clone()].fill(0.0);
                }
            }
        }
        Ok(())
    }
}

/// Values of one image.
pub(crate) fn image_len(batch: &[f32], shape: [usize; 3]) -> Result<usize, DataError> {
    let len = shape
        .iter()
        .try_fold(1usize, |len, &dim| len.checked_mul(dim))
        .unwrap_or(0);
    if len == 0 || !batch.len().is_multiple_of(len) {
        let needed = format!("a multiple of the product of {shape:?}");
        return Err(DataError::malformed(
            "batch",
            "number of values",
            needed,
            batch.len(),
        ));
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use secateur_model::detection::BBox;

    use super::*;

    const SHAPE: [usize; 3] = [2, 3, 4];

    fn batch() -> Vec<f32> {
        (1..=24 * 8).map(|v| v as f32).collect()
    }

    fn augmented(pad: usize, seed: u64) -> Vec<f32> {
        let mut batch = batch();
        CropFlip { pad, mirror: true }
            .apply(&mut batch, SHAPE, &mut ChaCha8Rng::seed_from_u64(seed))
            .unwrap();
        batch
    }

    #[test]
    fn same_seed_same_batch() {
        assert_eq!(augmented(2, 5), augmented(2, 5));
        assert_ne!(augmented(2, 5), augmented(2, 6));
    }

    #[test]
    fn without_padding_an_image_is_itself_or_its_mirror() {
        let (old, new) = (batch(), augmented(0, 3));
        let mut mirrored = 0;
        for (old, new) in old.chunks(24).zip(new.chunks(24)) {
            let mirror: Vec<f32> = old
                .chunks(4)
                .flat_map(|row| row.iter().rev().copied())
                .collect();
            assert!(new == old || new == mirror);
            mirrored += usize::from(new == mirror);
        }
        assert!((1..8).contains(&mirrored));
    }

    #[test]
    fn without_padding_and_mirror_nothing_changes() {
        let crop = CropFlip {
            pad: 0,
            mirror: false,
        };
        let mut new = batch();
        crop.apply(&mut new, SHAPE, &mut ChaCha8Rng::seed_from_u64(3))
            .unwrap();
        assert_eq!(new, batch());
    }

    #[test]
    fn channels_move_together() {
        for image in augmented(1, 9).chunks(24) {
            let (first, second) = image.split_at(12);
            for (a, b) in first.iter().zip(second) {
                assert!((*a == 0.0 && *b == 0.0) || b - a == 12.0, "{a} {b}");
            }
        }
    }

    /// A bright rectangle on black, and its box.
    fn rectangle(edges: [usize; 4]) -> (Vec<f32>, Object) {
        let [left, top, right, bottom] = edges;
        let inside =
            |i: usize| (left..right).contains(&(i % 8)) && (top..bottom).contains(&(i / 8));
        let image = (0..64).map(|i| f32::from(u8::from(inside(i)))).collect();
        let [l, t, r, b] = edges.map(|e| e as f32 / 8.0);
        let object = Object {
            class: 0,
            bbox: BBox::new(l, t, r, b),
            difficult: false,
        };
        (image, object)
    }

    #[test]
    fn boxes_move_along() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let crop = CropFlip {
            pad: 3,
            mirror: true,
        };
        let (mut hidden, mut gone) = (0, 0);
        for _ in 0..200 {
            let (mut image, object) = rectangle([1, 2, 4, 7]);
            let moves = crop.apply(&mut image, [1, 8, 8], &mut rng).unwrap();
            let seen = moves[0].objects(&[object]);
            let bright = |i: &usize| image[*i] > 0.0;
            let columns = (0..64).filter(bright).map(|i| i % 8);
            let rows = (0..64).filter(bright).map(|i| i / 8);
            let (Some(left), Some(top)) = (columns.clone().min(), rows.clone().min()) else {
                assert!(seen.is_empty());
                gone += 1;
                continue;
            };
            let right = columns.max().unwrap() + 1;
            let bottom = rows.max().unwrap() + 1;
            let found = [left, top, right, bottom].map(|e| e as f32 / 8.0);
            let b = seen[0].bbox;
            assert_eq!([b.left, b.top, b.right, b.bottom], found);
            let left = (right - left) * (bottom - top);
            assert_eq!(seen[0].difficult, left * 10 < 3 * 15);
            hidden += usize::from(seen[0].difficult);
        }
        assert!(hidden > 0 && gone == 0, "{hidden} {gone}");
    }

    #[test]
    fn a_batch_of_another_shape_is_refused() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let crop = CropFlip {
            pad: 1,
            mirror: true,
        };
        assert!(crop.apply(&mut [0.0; 25], SHAPE, &mut rng).is_err());
        assert!(crop.apply(&mut [], [0, 1, 1], &mut rng).is_err());
    }

    #[test]
    fn a_square_of_every_channel_is_blank() {
        let cut = |side, seed| {
            let mut batch = batch();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            Cutout { side }.apply(&mut batch, SHAPE, &mut rng).unwrap();
            batch
        };
        assert_eq!(cut(0, 1), batch());
        assert_eq!(cut(2, 1), cut(2, 1));
        for image in cut(2, 5).chunks_exact(24) {
            let blank = |plane: &[f32]| plane.iter().map(|v| *v == 0.0).collect::<Vec<_>>();
            let (first, second) = (blank(&image[..12]), blank(&image[12..]));
            assert_eq!(first, second);
            assert!((1..=4).contains(&first.iter().filter(|b| **b).count()));
        }
        assert!(cut(100, 2).iter().all(|v| *v == 0.0));
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        assert!(
            Cutout { side: 1 }
                .apply(&mut [0.0; 25], SHAPE, &mut rng)
                .is_err()
        );
    }
}
