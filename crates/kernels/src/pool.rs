use std::ops::Range;

use crate::{
    Isa, KernelError, RowsMut, Window2d, error::check_len, multiversion, range::check_pixels,
};

/// What an average over a window at the border divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadCount {
    /// The taps in the image (ONNX `count_include_pad = 0`).
    Exclude,
    /// The taps in the image and its declared padding.
    Include,
}

/// Channels that are summed side by side.
const BLOCK: usize = 64;

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
/// When a shape does not match or the processor lacks the instruction set.
pub fn max_pool<T: Copy + PartialOrd>(
    isa: Isa,
    window: &Window2d,
    image: &[T],
    pixels: Range<usize>,
    lowest: T,
    y: RowsMut<'_, T>,
) -> Result<(), KernelError> {
    check(window, image, &pixels, &y)?;
    multiversion::run(
        isa.require()?,
        #[inline(always)]
        || max_body(window, image, pixels, lowest, y),
    );
    Ok(())
}

#[inline(always)]
fn max_body<T: Copy + PartialOrd>(
    window: &Window2d,
    image: &[T],
    pixels: Range<usize>,
    lowest: T,
    mut y: RowsMut<'_, T>,
) {
    let width = window.output[1].max(1);
    let (mut oy, mut ox) = (pixels.start / width, pixels.start % width);
    for row in 0..pixels.len() {
        let maxima = Maxima {
            window,
            image,
            top: (oy * window.stride[0]).wrapping_sub(window.pads[0]),
            left: (ox * window.stride[1]).wrapping_sub(window.pads[1]),
            lowest,
        };
        let y = y.row_mut(row);
        match y.len() {
            64.. => maxima.blocks::<64>(y),
            16.. => maxima.blocks::<16>(y),
            _ => maxima.blocks::<1>(y),
        }
        // Counted rather than divided: a small window costs less than a division.
        ox += 1;
        if ox == width {
            (oy, ox) = (oy + 1, 0);
        }
    }
}

/// The largest values of one window.
struct Maxima<'a, T> {
    window: &'a Window2d,
    image: &'a [T],
    top: usize,
    left: usize,
    lowest: T,
}

impl<T: Copy + PartialOrd> Maxima<'_, T> {
    /// All channels, at least `N`, in blocks that stay in registers; the last one may be one that
    /// overlaps.
    #[inline(always)]
    fn blocks<const N: usize>(&self, y: &mut [T]) {
        let mut first = 0;
        while first + N <= y.len() {
            self.block::<N>(first, y);
            first += N;
        }
        if first < y.len() {
            self.block::<N>(y.len() - N, y);
        }
    }

    #[inline(always)]
    fn block<const N: usize>(&self, first: usize, y: &mut [T]) {
        let Window2d {
            input: [height, width],
            channels,
            kernel,
            dilation,
            ..
        } = *self.window;
        let mut largest = [self.lowest; N];
        for ky in 0..kernel[0] {
            let at_y = self.top.wrapping_add(ky * dilation[0]);
            if at_y >= height {
                continue;
            }
            for kx in 0..kernel[1] {
                let at_x = self.left.wrapping_add(kx * dilation[1]);
                if at_x >= width {
                    continue;
                }
                let at = (at_y * width + at_x) * channels + first;
                for (y, &x) in largest.iter_mut().zip(&self.image[at..at + N]) {
                    *y = if x > *y { x } else { *y };
                }
            }
        }
        y[first..first + N].copy_from_slice(&largest);
    }
}

/// Mean of each window and channel, `[h, w, c] -> [pixels.len(), c]`: the sum in (ky, kx) order,
/// divided once.
///
/// # Errors
/// When a shape does not match or the processor lacks the instruction set.
pub fn average_pool(
    isa: Isa,
    window: &Window2d,
    image: &[f32],
    pixels: Range<usize>,
    pad: PadCount,
    mut y: RowsMut<'_, f32>,
) -> Result<(), KernelError> {
    check(window, image, &pixels, &y)?;
    multiversion::run(
        isa.require()?,
        #[inline(always)]
        || {
            for (row, pixel) in pixels.enumerate() {
                let y = y.row_mut(row);
                match y.len() {
                    64.. => means::<64>(window, image, pixel, pad, y),
                    16.. => means::<16>(window, image, pixel, pad, y),
                    _ => means::<1>(window, image, pixel, pad, y),
                }
            }
        },
    );
    Ok(())
}

/// The means of one window: all channels, at least `N`, in blocks that stay in registers; the last one
/// may be one that overlaps.
#[inline(always)]
fn means<const N: usize>(
    window: &Window2d,
    image: &[f32],
    pixel: usize,
    pad: PadCount,
    y: &mut [f32],
) {
    let mut first = 0;
    while first < y.len() {
        let at = first.min(y.len() - N);
        let (mut sums, mut inside) = ([0.0; N], 0);
        for place in window.taps_of(pixel).flatten() {
            inside += 1;
            let x = &image[place * window.channels + at..][..N];
            for (sum, &x) in sums.iter_mut().zip(x) {
                *sum += x;
            }
        }
        let count = match pad {
            PadCount::Exclude => inside,
            PadCount::Include => window.padded_taps(pixel),
        };
        let count = count.max(1) as f32;
        for (y, &sum) in y[at..at + N].iter_mut().zip(&sums) {
            *y = sum / count;
        }
        first += N;
    }
}

/// Mean of each channel, `[pixels, c] -> [c]`: the sum in pixel order, divided once.
///
/// # Errors
/// When the image is no whole number of pixels or the processor lacks the instruction set.
pub fn global_average_pool(isa: Isa, image: &[f32], y: &mut [f32]) -> Result<(), KernelError> {
    let channels = y.len();
    if channels == 0 {
        return check_len("image", 0, image.len());
    }
    let pixels = image.len() / channels;
    check_len("image", pixels * channels, image.len())?;
    multiversion::run(
        isa.require()?,
        #[inline(always)]
        || {
            let count = pixels.max(1) as f32;
            for (index, y) in y.chunks_mut(BLOCK).enumerate() {
                let mut sums = [0.0; BLOCK];
                for x in image.chunks_exact(channels) {
                    let x = &x[index * BLOCK..][..y.len()];
                    for (sum, &x) in sums.iter_mut().zip(x) {
                        *sum += x;
                    }
                }
                for (y, &sum) in y.iter_mut().zip(&sums) {
                    *y = sum / count;
                }
            }
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        max_pool(
            Isa::best(),
            &window(),
            &IMAGE.map(|v| -v),
            0..4,
            f32::NEG_INFINITY,
            rows,
        )
        .unwrap();
        assert_eq!(y, [-1.0, -2.0, -4.0, -5.0]);
        let mut y = [0u8; 2];
        let rows = RowsMut::new(&mut y, 2, 1).unwrap();
        max_pool(
            Isa::best(),
            &window(),
            &IMAGE.map(|v| v as u8),
            2..4,
            0,
            rows,
        )
        .unwrap();
        assert_eq!(y, [7, 9]);
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_maxima(
            input in [1usize..9, 1usize..9], kernel in [1usize..4, 1usize..4],
            stride in [1usize..3, 1usize..3], dilation in [1usize..3, 1usize..3],
            pads in [0usize..3, 0usize..3, 0usize..3, 0usize..3], seed: u64,
            channels in prop_oneof![1usize..5, 14usize..18, 30usize..34, 63usize..66, Just(130)],
        ) {
            let window = Window2d { stride, dilation, pads, ..Window2d::new(input, channels, kernel) };
            let Ok(window) = window.fitted() else { return Ok(()) };
            let image: Vec<i8> = (0..window.image_len() as u64)
                .map(|i| ((seed.wrapping_add(i)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as i8)
                .collect();
            let from = window.pixels() / 3;
            let expected: Vec<i8> = (from..window.pixels())
                .flat_map(|p| (0..channels).map(move |c| (p, c)))
                .map(|(p, c)| {
                    let taps = window.taps_of(p).flatten();
                    taps.map(|at| image[at * channels + c]).max().unwrap_or(-128)
                })
                .collect();
            for isa in Isa::available() {
                let mut y = vec![99; expected.len()];
                let rows = RowsMut::new(&mut y, window.pixels() - from, channels).unwrap();
                max_pool(isa, &window, &image, from..window.pixels(), -128, rows).unwrap();
                prop_assert_eq!(&y, &expected, "{}", isa);
            }
        }
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_means(
            input in [1usize..9, 1usize..9], kernel in [1usize..4, 1usize..4],
            stride in [1usize..3, 1usize..3], pads in [0usize..3, 0usize..3, 0usize..3, 0usize..3],
            channels in prop_oneof![1usize..5, 14usize..18, 30usize..34, 63usize..66, Just(130)],
        ) {
            let window = Window2d { stride, pads, ..Window2d::new(input, channels, kernel) };
            let Ok(window) = window.fitted() else { return Ok(()) };
            let image: Vec<f32> = (0..window.image_len()).map(|i| (i as f32 * 0.7).sin()).collect();
            let mean = |sum: f32, count: usize| if count > 0 { sum / count as f32 } else { 0.0 };
            let from = window.pixels() / 3;
            let expected: Vec<f32> = (from..window.pixels())
                .flat_map(|p| (0..channels).map(move |c| (p, c)))
                .map(|(p, c)| {
                    let taps: Vec<usize> = window.taps_of(p).flatten().collect();
                    mean(taps.iter().fold(0.0, |sum, at| sum + image[at * channels + c]), taps.len())
                })
                .collect();
            let whole: Vec<f32> = (0..channels)
                .map(|c| mean(image.iter().skip(c).step_by(channels).fold(0.0, |s, x| s + x), input[0] * input[1]))
                .collect();
            for isa in Isa::available() {
                let mut y = vec![99.0; expected.len()];
                let rows = RowsMut::new(&mut y, window.pixels() - from, channels).unwrap();
                average_pool(isa, &window, &image, from..window.pixels(), PadCount::Exclude, rows).unwrap();
                prop_assert_eq!(&y, &expected, "{}", isa);
                let mut y = vec![99.0; channels];
                global_average_pool(isa, &image, &mut y).unwrap();
                prop_assert_eq!(&y, &whole, "{}", isa);
            }
        }
    }

    #[test]
    fn means_count_padding_as_told() {
        let mut y = [0.0; 4];
        for (pad, expected) in [
            (PadCount::Exclude, [1.0, 2.5, 5.5, 7.0]),
            (PadCount::Include, [0.25, 1.25, 2.75, 7.0]),
        ] {
            let rows = RowsMut::new(&mut y, 4, 1).unwrap();
            average_pool(Isa::best(), &window(), &IMAGE, 0..4, pad, rows).unwrap();
            assert_eq!(y, expected);
        }
        let mut y = [0.0; 1];
        global_average_pool(Isa::best(), &IMAGE, &mut y).unwrap();
        assert_eq!(y, [5.0]);
        assert!(global_average_pool(Isa::best(), &IMAGE, &mut [0.0; 2]).is_err());
    }
}
