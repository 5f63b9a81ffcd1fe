use std::ops::Range;

use crate::{KernelError, RowsMut, Window2d, error::check_len, range::check_pixels};

/// What an average over a window at the border divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadCount {
    /// The taps in the image (ONNX `count_include_pad = 0`).
    Exclude,
    /// The taps in the image and its declared padding.
    Include,
}

fn check<T, Y>(
    window: &Window2d,
    image: &[T],
    pixels: &Range<usize>,
    y: &RowsMut<'_, Y>,
) -> Result<(), KernelError> {
    window.check()?;
    check_len("image", window.image_len(), image.len())?;
    check_pixels(pixels, window.pixels())?;
    check_len("output rows", pixels.len(), y.rows())?;
    check_len("output columns", window.channels, y.cols())
}

/// Largest value of each window and channel, padding left out: `[h, w, c] -> [pixels.len(), c]`.
///
/// A window wholly in the padding gives `lowest`.
///
/// # Errors
/// When a shape does not match.
pub fn max_pool<T: Copy + PartialOrd>(
    window: &Window2d,
    image: &[T],
    pixels: Range<usize>,
    lowest: T,
    mut y: RowsMut<'_, T>,
) -> Result<(), KernelError> {
    check(window, image, &pixels, &y)?;
    for (row, pixel) in pixels.enumerate() {
        let y = y.row_mut(row);
        y.fill(lowest);
        for at in window.taps_of(pixel).flatten() {
            let x = &image[at * window.channels..][..window.channels];
            for (y, &x) in y.iter_mut().zip(x) {
                *y = if x > *y { x } else { *y };
            }
        }
    }
    Ok(())
}

/// Mean of each window and channel, `[h, w, c] -> [pixels.len(), c]`: the sum in (ky, kx) order,
/// divided once.
///
/// # Errors
/// When a shape does not match.
pub fn average_pool(
    window: &Window2d,
    image: &[f32],
    pixels: Range<usize>,
    pad: PadCount,
    mut y: RowsMut<'_, f32>,
) -> Result<(), KernelError> {
    check(window, image, &pixels, &y)?;
    for (row, pixel) in pixels.enumerate() {
        let y = y.row_mut(row);
        y.fill(0.0);
        let mut inside = 0;
        for at in window.taps_of(pixel).flatten() {
            inside += 1;
            let x = &image[at * window.channels..][..window.channels];
            for (y, &x) in y.iter_mut().zip(x) {
                *y += x;
            }
        }
        let count = match pad {
            PadCount::Exclude => inside,
            PadCount::Include => window.padded_taps(pixel),
        };
        if count > 0 {
            y.iter_mut().for_each(|y| *y /= count as f32);
        }
    }
    Ok(())
}

/// Mean of each channel, `[pixels, c] -> [c]`: the sum in pixel order, divided once.
///
/// # Errors
/// When the image is no whole number of pixels.
pub fn global_average_pool(image: &[f32], y: &mut [f32]) -> Result<(), KernelError> {
    let channels = y.len();
    y.fill(0.0);
    if channels == 0 {
        return check_len("image", 0, image.len());
    }
    let pixels = image.len() / channels;
    check_len("image", pixels * channels, image.len())?;
    for x in image.chunks_exact(channels) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
    if pixels > 0 {
        y.iter_mut().for_each(|y| *y /= pixels as f32);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window2d {
        let mut window = Window2d::new([3, 3], 1, [2, 2]);
        window.stride = [2, 2];
        window.pads = [1, 1, 0, 0];
        window.fitted().unwrap()
    }

    const IMAGE: [f32; 9] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];

    #[test]
    fn maxima_ignore_padding() {
        let mut y = [0.0; 4];
        let rows = RowsMut::new(&mut y, 4, 1).unwrap();
        max_pool(&window(), &IMAGE.map(|v| -v), 0..4, f32::NEG_INFINITY, rows).unwrap();
        assert_eq!(y, [-1.0, -2.0, -4.0, -5.0]);
        let mut y = [0u8; 2];
        let rows = RowsMut::new(&mut y, 2, 1).unwrap();
        max_pool(&window(), &IMAGE.map(|v| v as u8), 2..4, 0, rows).unwrap();
        assert_eq!(y, [7, 9]);
    }

    #[test]
    fn means_count_padding_as_told() {
        let mut y = [0.0; 4];
        for (pad, expected) in [
            (PadCount::Exclude, [1.0, 2.5, 5.5, 7.0]),
            (PadCount::Include, [0.25, 1.25, 2.75, 7.0]),
        ] {
            let rows = RowsMut::new(&mut y, 4, 1).unwrap();
            average_pool(&window(), &IMAGE, 0..4, pad, rows).unwrap();
            assert_eq!(y, expected);
        }
        let mut y = [0.0; 1];
        global_average_pool(&IMAGE, &mut y).unwrap();
        assert_eq!(y, [5.0]);
        assert!(global_average_pool(&IMAGE, &mut [0.0; 2]).is_err());
    }
}
