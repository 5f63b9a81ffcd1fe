//! Augmentation of gathered batches: small turns, stretches and shifts.

use rand::{Rng, RngExt};

use crate::DataError;

/// Turns, stretches and moves every image a little, each its own way, as handwriting varies
/// (Simard, Steinkraus, Platt, *Best Practices for Convolutional Neural Networks*, 2003, without
/// the elastic part). What moves in is zero; between pixels values are interpolated.
///
/// ```
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
/// use secateur_data::augment::Warp;
/// let mut batch = vec![1.0; 2 * 28 * 28];
/// let mut rng = ChaCha8Rng::seed_from_u64(1);
/// Warp { shift: 1.5, turn: 10.0, stretch: 0.1 }.apply(&mut batch, [1, 28, 28], &mut rng)?;
/// assert_eq!(batch.len(), 2 * 28 * 28);
/// # Ok::<(), secateur_data::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Warp {
    /// Largest move along each axis, in pixels.
    pub shift: f32,
    /// Largest turn either way, in degrees.
    pub turn: f32,
    /// Largest stretch or squeeze of each axis, as a share: 0.1 is 0.9 to 1.1.
    pub stretch: f32,
}

impl Warp {
    /// Changes every image of `batch`, `[n, channels, height, width]`, in place. Five numbers are
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
        let image_len = super::augment::image_len(batch, shape)?;
        let mut old = vec![0.0; image_len];
        for image in batch.chunks_exact_mut(image_len) {
            let mut draw = |most: f32| most * (2.0 * rng.random::<f32>() - 1.0);
            let (down, right) = (draw(self.shift), draw(self.shift));
            let (high, wide) = (1.0 + draw(self.stretch), 1.0 + draw(self.stretch));
            let (sin, cos) = draw(self.turn).to_radians().sin_cos();
            old.copy_from_slice(image);
            let middle = [height, width].map(|n| (n as f32 - 1.0) / 2.0);
            let planes = old.chunks_exact(height * width);
            for (from, to) in planes.zip(image.chunks_exact_mut(height * width)) {
                for (y, row) in to.chunks_exact_mut(width).enumerate() {
                    let dy = y as f32 - middle[0];
                    for (x, pixel) in row.iter_mut().enumerate() {
                        let dx = x as f32 - middle[1];
                        let at_y = (cos * dy - sin * dx) * high + middle[0] + down;
                        let at_x = (sin * dy + cos * dx) * wide + middle[1] + right;
                        *pixel = between(from, [height, width], at_y, at_x);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The value at a place between four pixels; zero beyond the edge.
#[inline]
fn between(plane: &[f32], [height, width]: [usize; 2], y: f32, x: f32) -> f32 {
    let (top, left) = (y.floor(), x.floor());
    let (below, beside) = (y - top, x - left);
    let (top, left) = (top as i32, left as i32);
    let pixel = |y: i32, x: i32| {
        let inside = (0..height as i32).contains(&y) && (0..width as i32).contains(&x);
        match inside {
            true => plane[y as usize * width + x as usize],
            false => 0.0,
        }
    };
    let line = |y: i32| pixel(y, left) * (1.0 - beside) + pixel(y, left + 1) * beside;
    line(top) * (1.0 - below) + line(top + 1) * below
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const SHAPE: [usize; 3] = [2, 9, 7];

    fn warped(warp: Warp, seed: u64) -> Vec<f32> {
        let mut batch: Vec<f32> = (0..3 * 2 * 63).map(|v| (v % 17) as f32).collect();
        warp.apply(&mut batch, SHAPE, &mut ChaCha8Rng::seed_from_u64(seed))
            .unwrap();
        batch
    }

    #[test]
    fn nothing_to_do_changes_nothing() {
        let plain: Vec<f32> = (0..3 * 2 * 63).map(|v| (v % 17) as f32).collect();
        for (a, b) in warped(Warp::default(), 1).iter().zip(&plain) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn same_seed_same_batch_and_no_new_extremes() {
        let warp = Warp {
            shift: 2.0,
            turn: 20.0,
            stretch: 0.2,
        };
        assert_eq!(warped(warp, 5), warped(warp, 5));
        assert_ne!(warped(warp, 5), warped(warp, 6));
        assert!(warped(warp, 7).iter().all(|v| (0.0..=16.001).contains(v)));
    }

    #[test]
    fn a_quarter_turn_is_one() {
        let plane: Vec<f32> = (0..9).map(|v| v as f32).collect();
        let (sin, cos) = 90.0f32.to_radians().sin_cos();
        let turned: Vec<f32> = (0..9)
            .map(|i| {
                let (dy, dx) = ((i / 3) as f32 - 1.0, (i % 3) as f32 - 1.0);
                between(
                    &plane,
                    [3, 3],
                    cos * dy - sin * dx + 1.0,
                    sin * dy + cos * dx + 1.0,
                )
            })
            .collect();
        for (a, b) in turned
            .iter()
            .zip([6.0, 3.0, 0.0, 7.0, 4.0, 1.0, 8.0, 5.0, 2.0])
        {
            assert!((a - b).abs() < 1e-4, "{turned:?}");
        }
    }

    #[test]
    fn a_batch_of_another_shape_is_refused() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        assert!(
            Warp::default()
                .apply(&mut [0.0; 25], SHAPE, &mut rng)
                .is_err()
        );
    }
}
