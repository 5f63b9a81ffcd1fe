//! Depthwise convolutions against what they stand for.

use super::*;

/// A depthwise convolution equals one of full depth whose weights of other channels are zeros; the
/// case's outputs are channels, its pixels the side of the image, its depth the geometry.
pub(super) fn check(kernel: &Kernel, case: Case) {
    let mut lcg = Lcg(case.seed);
    let side = case.pixels % 7 + 1;
    let channels = case.outputs;
    let window = Window2d {
        stride: [case.depth % 2 + 1, 1],
        dilation: [1, case.depth % 3 % 2 + 1],
        pads: [1, 2, case.depth % 2, 2],
        ..Window2d::new([side, side], channels, [case.depth % 2 + 1, 3])
    };
    let window = window.fitted().unwrap();
    let (taps, pixels) = (window.taps(), window.pixels());
    let im2col = Im2col::new(window, 1, channels).unwrap();
    let full = Case {
        outputs: channels,
        depth: im2col.cols(),
        pixels,
        ..case
    };
    // [channels, taps] to [channels, taps, channels].
    let spread = |i: usize| {
        let (c, t, from) = (i / (taps * channels), i / channels % taps, i % channels);
        (c == from).then_some(c * taps + t)
    };
    let entries = 0..channels * taps * channels;
    if kernel.what == What::DepthwiseF32 {
        let w = lcg.matrix([channels, taps], case.density, Lcg::f32);
        let bias = lcg.matrix([channels, 1], 0.9, Lcg::f32);
        let x = lcg.matrix([side * side, channels], 0.7, Lcg::f32);
        let layer = DepthwiseF32::pack(kernel.isa, window, &w, Some(&bias)).unwrap();
        assert_eq!(layer.kernel().name, kernel.name);
        let mut y = vec![0.0; pixels * channels];
        let (first, second) = y.split_at_mut(pixels / 2 * channels);
        for (range, y) in [(0..pixels / 2, first), (pixels / 2..pixels, second)] {
            let y = RowsMut::new(y, range.len(), channels).unwrap();
            layer.run(&x, range, Clamp::RELU, y).unwrap();
        }
        let w: Vec<f32> = entries.map(|i| spread(i).map_or(0.0, |at| w[at])).collect();
        let mut rows = vec![0.0; pixels * im2col.cols()];
        im2col.rows(&x, 0, 0..pixels, 0.0, &mut rows).unwrap();
        let rows: Vec<f32> = gapped(&rows, im2col.cols());
        assert!(
            y == slow_f32(&w, &bias, &rows, full, Clamp::RELU),
            "{} {case:?}",
            kernel.name
        );
        return;
    }
    let w = lcg.matrix([channels, taps], case.density, Lcg::i8);
    let bias = lcg.matrix([channels, 1], 0.9, |lcg| lcg.next() as i32 % 1_000);
    let x = lcg.matrix([side * side, channels], 0.7, Lcg::u8);
    let pad = lcg.u8();
    let layer = DepthwiseI8::pack(kernel.isa, window, &w, Some(&bias)).unwrap();
    assert_eq!(layer.kernel().name, kernel.name);
    let w: Vec<i8> = entries.map(|i| spread(i).map_or(0, |at| w[at])).collect();
    let mut rows = vec![0; pixels * im2col.cols()];
    im2col.rows(&x, 0, 0..pixels, pad, &mut rows).unwrap();
    let rows = gapped(&rows, im2col.cols());
    let slow = slow_i8(&w, &bias, &rows, full);
    finished(&layer, &x, pad, &slow);
}

/// Every kind of output of `layer` is what `slow`, its sums, become; rows with gaps, the pixels in
/// two ranges that meet within a row.
fn finished(layer: &DepthwiseI8, x: &[u8], pad: u8, slow: &[i32]) {
    let (pixels, channels) = (layer.window().pixels(), layer.window().channels);
    let name = format!("{} {:?}", layer.kernel().name, layer.window());
    let y = gapped_pixels(pixels, channels, i32::MIN, |range, y| {
        layer.run(x, pad, range, IntOut::I32(y)).unwrap();
    });
    assert!(y == slow, "{name}");
    // The second factor is so large that products leave i32.
    for factor in [1e-3, 1e7] {
        let scale = |c| factor * ((c % 11) as f32 - 2.5);
        let scales: Vec<f32> = (0..channels).map(scale).collect();
        let each = || slow.iter().enumerate().map(|(i, &acc)| (i % channels, acc));
        for (zero_point, lo, hi) in [(7, 0, 255), (255, 3, 250), (0, 0, 6)] {
            let requantize = Requantize::new(scales.clone(), zero_point, lo, hi).unwrap();
            let y = gapped_pixels(pixels, channels, 99, |range, y| {
                layer
                    .run(x, pad, range, IntOut::U8(y, &requantize))
                    .unwrap();
            });
            let expected = each().map(|(c, acc)| requantize.apply(c, acc) as u8);
            assert!(y.into_iter().eq(expected), "{name} to u8");
        }
        for (zero_point, lo, hi) in [(-3, -128, 127), (-128, -128, 100), (127, -5, 127)] {
            let requantize = Requantize::new(scales.clone(), zero_point, lo, hi).unwrap();
            let y = gapped_pixels(pixels, channels, 99, |range, y| {
                layer
                    .run(x, pad, range, IntOut::I8(y, &requantize))
                    .unwrap();
            });
            let expected = each().map(|(c, acc)| requantize.apply(c, acc) as i8);
            assert!(y.into_iter().eq(expected), "{name} to i8");
        }
        let dequantize = Dequantize::new(scales, Clamp::RELU).unwrap();
        let y = gapped_pixels(pixels, channels, 9e9, |range, y| {
            layer
                .run(x, pad, range, IntOut::F32(y, &dequantize))
                .unwrap();
        });
        let expected = each().map(|(c, acc)| dequantize.apply(c, acc));
        assert!(y.into_iter().eq(expected), "{name} to f32");
        let scales = (0..channels).map(scale).collect();
        let requantize = Requantize::new(scales, 7, 0, 250).unwrap();
        for after in afters(false, 0) {
            let y = gapped_pixels(pixels, channels, 99, |range, y| {
                let out = IntOut::Codes(y, &requantize, &after);
                layer.run(x, pad, range, out).unwrap();
            });
            let codes: Vec<u8> = each()
                .map(|(c, acc)| requantize.apply(c, acc) as u8)
                .collect();
            let mut expected = vec![99; codes.len()];
            after.apply(&codes, &mut expected);
            assert!(y == expected, "{name} {after:?}");
        }
    }
}

/// `[pixels, channels]`, written with gaps in two ranges of pixels.
fn gapped_pixels<T: Copy + PartialEq + std::fmt::Debug>(
    pixels: usize,
    channels: usize,
    canary: T,
    mut run: impl FnMut(std::ops::Range<usize>, RowsMut<'_, T>),
) -> Vec<T> {
    let (cut, stride) = (pixels / 3, channels + GAP);
    let mut all = Vec::new();
    for range in [0..cut, cut..pixels] {
        let count = range.len();
        let mut part = vec![canary; count * stride];
        run(
            range,
            RowsMut::strided(&mut part, count, channels, stride).unwrap(),
        );
        for row in part.chunks(stride) {
            all.extend_from_slice(&row[..channels]);
            assert_eq!(row[channels..], [canary; GAP]);
        }
    }
    all
}

#[test]
fn depthwise_geometries() {
    // Input, kernel, stride, dilation, pads, channels.
    let geometries = [
        ([9, 70], [3, 3], [1, 1], [1, 1], [1, 1, 1, 1], 64),
        ([8, 131], [3, 3], [2, 2], [1, 1], [0, 0, 1, 1], 65),
        ([7, 7], [3, 3], [1, 1], [1, 1], [1; 4], 200),
        ([11, 13], [5, 5], [1, 1], [1, 1], [2; 4], 17),
        ([12, 11], [5, 5], [2, 2], [1, 1], [2; 4], 129),
        ([10, 10], [7, 7], [1, 1], [1, 1], [3; 4], 63),
        ([14, 15], [3, 3], [1, 1], [2, 2], [2; 4], 64),
        ([14, 15], [3, 3], [2, 3], [2, 3], [2, 3, 2, 3], 70),
        ([15, 9], [3, 1], [3, 2], [2, 1], [4, 0, 0, 0], 5),
        ([1, 90], [1, 9], [1, 1], [1, 1], [0, 4, 0, 4], 66),
        ([1, 40], [1, 5], [1, 2], [1, 3], [0, 20, 0, 1], 64),
        ([90, 1], [9, 1], [1, 1], [1, 1], [4, 0, 4, 0], 3),
        ([3, 3], [1, 1], [1, 1], [1, 1], [0; 4], 64),
        ([2, 2], [3, 3], [1, 1], [1, 1], [4; 4], 64),
        ([6, 80], [4, 70], [1, 1], [1, 1], [1; 4], 3),
        ([9, 80], [9, 70], [1, 1], [1, 2], [0, 80, 0, 0], 2),
    ];
    for (n, (input, kernel, stride, dilation, pads, channels)) in geometries.into_iter().enumerate()
    {
        let window = Window2d {
            stride,
            dilation,
            pads,
            ..Window2d::new(input, channels, kernel)
        };
        let window = window.fitted().unwrap();
        let mut lcg = Lcg(n as u64);
        let w = lcg.matrix([channels, window.taps()], 1.0, Lcg::i8);
        let bias = lcg.matrix([channels, 1], 0.9, |lcg| lcg.next() as i32 % 1_000);
        let x = lcg.matrix([1, window.image_len()], 0.9, Lcg::u8);
        let pad = lcg.u8();
        let mut slow = Vec::new();
        for p in 0..window.pixels() {
            for c in 0..channels {
                let products = window.taps_of(p).enumerate().map(|(t, at)| {
                    let x = at.map_or(pad, |at| x[at * channels + c]);
                    i32::from(x) * i32::from(w[c * window.taps() + t])
                });
                slow.push(products.fold(bias[c], i32::wrapping_add));
            }
        }
        for kernel in usable().filter(|kernel| kernel.what == What::DepthwiseI8) {
            let layer = DepthwiseI8::pack(kernel.isa, window, &w, Some(&bias)).unwrap();
            finished(&layer, &x, pad, &slow);
        }
    }
}
