//! Every kernel of the table against the slow definition, at the edges of its tiles.

mod depthwise;

use proptest::prelude::*;

use crate::*;

/// A generator of small test values; deterministic.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    fn chance(&mut self, density: f32) -> bool {
        (self.next() % 10_000) as f32 / 10_000.0 < density
    }

    fn f32(&mut self) -> f32 {
        (self.next() % 20_001) as f32 / 7_000.0 - 1.43
    }

    /// Often an extreme.
    fn i8(&mut self) -> i8 {
        match self.next() % 4 {
            0 => -128,
            1 => 127,
            _ => self.next() as u8 as i8,
        }
    }

    fn u8(&mut self) -> u8 {
        match self.next() % 4 {
            0 => 255,
            1 => 0,
            _ => self.next() as u8,
        }
    }

    /// Zeros but for `density`; every seventh row empty.
    fn matrix<T: Copy + Default>(
        &mut self,
        shape: [usize; 2],
        density: f32,
        mut value: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let empty = |i: usize| density < 1.0 && i / shape[1] % 7 == 3;
        (0..shape[0] * shape[1])
            .map(|i| {
                let keep = !empty(i) && self.chance(density);
                if keep { value(self) } else { T::default() }
            })
            .collect()
    }
}

#[derive(Debug, Clone, Copy)]
struct Case {
    outputs: usize,
    depth: usize,
    pixels: usize,
    density: f32,
    seed: u64,
}

/// Elements between rows, which must not be written.
const GAP: usize = 3;

/// `y[p,o] = clamp(fma chain)`.  x: [pixels, depth + GAP], w: [outputs, depth].  Slow on purpose.
fn slow_f32(w: &[f32], bias: &[f32], x: &[f32], case: Case, clamp: Clamp) -> Vec<f32> {
    let mut y = Vec::new();
    for p in 0..case.pixels {
        for o in 0..case.outputs {
            let mut acc = bias[o];
            for k in 0..case.depth {
                acc = w[o * case.depth + k].mul_add(x[p * (case.depth + GAP) + k], acc);
            }
            y.push(clamp.apply(acc));
        }
    }
    y
}

/// `acc[p,o] = bias[o] + Σ w[o,k]·x[p,k]`.  x: [pixels, depth + GAP], w: [outputs, depth].  Slow on purpose.
fn slow_i8(w: &[i8], bias: &[i32], x: &[u8], case: Case) -> Vec<i32> {
    let mut y = Vec::new();
    for p in 0..case.pixels {
        for o in 0..case.outputs {
            let products = (0..case.depth).map(|k| {
                i32::from(w[o * case.depth + k]) * i32::from(x[p * (case.depth + GAP) + k])
            });
            y.push(products.fold(bias[o], i32::wrapping_add));
        }
    }
    y
}

/// Rows `[pixels, outputs]` written with gaps, in two ranges of outputs that meet at `cut`.
fn in_two<T: Copy + PartialEq + std::fmt::Debug>(
    case: Case,
    granule: usize,
    canary: T,
    mut run: impl FnMut(std::ops::Range<usize>, RowsMut<'_, T>),
) -> Vec<T> {
    let cut = (case.outputs / 2)
        .next_multiple_of(granule)
        .min(case.outputs);
    let mut y = vec![Vec::new(); case.pixels];
    for range in [0..cut, cut..case.outputs] {
        let (cols, stride) = (range.len(), range.len() + GAP);
        let mut part = vec![canary; case.pixels * stride];
        run(
            range,
            RowsMut::strided(&mut part, case.pixels, cols, stride).unwrap(),
        );
        for (y, row) in y.iter_mut().zip(part.chunks(stride)) {
            y.extend_from_slice(&row[..cols]);
            assert_eq!(row[cols..], [canary; GAP]);
        }
    }
    y.concat()
}

fn check_f32(kernel: &Kernel, case: Case) {
    let mut lcg = Lcg(case.seed);
    let w = lcg.matrix([case.outputs, case.depth], case.density, Lcg::f32);
    let bias = lcg.matrix([case.outputs, 1], 0.9, Lcg::f32);
    // The last row ends with the data, so that a read beyond it would be noticed.
    let stride = case.depth + GAP;
    let x = lcg.matrix([case.pixels, stride], 0.7, Lcg::f32);
    let used = (case.pixels * stride).saturating_sub(GAP);
    let rows = Rows::strided(&x[..used], case.pixels, case.depth, stride).unwrap();
    let clamp = [Clamp::NONE, Clamp::RELU, Clamp::new(-0.5, 1.5).unwrap()][case.depth % 3];
    let (w, bias) = (&w[..], Some(&bias[..]));
    let y = if kernel.what == What::DenseF32 {
        let layer = DenseF32::pack(kernel.isa, w, case.outputs, case.depth, bias).unwrap();
        assert_eq!(layer.kernel().name, kernel.name);
        in_two(case, layer.granule(), 9e9, |range, y| {
            layer.run(rows, range, clamp, y).unwrap();
        })
    } else {
        let layer = SparseF32::pack(kernel.isa, w, case.outputs, case.depth, bias).unwrap();
        assert_eq!(layer.kernel().name, kernel.name);
        assert_eq!(layer.nonzeros(), w.iter().filter(|&&w| w != 0.0).count());
        in_two(case, layer.granule(), 9e9, |range, y| {
            layer.run(rows, range, clamp, y).unwrap();
        })
    };
    let slow = slow_f32(w, bias.unwrap(), &x, case, clamp);
    assert!(y == slow, "{} {case:?}", kernel.name);
}

fn check_i8(kernel: &Kernel, case: Case) {
    let mut lcg = Lcg(case.seed);
    let (outputs, depth) = (case.outputs, case.depth);
    // Kernels may treat small weights in another way.
    let most = [128, 64, 16, 4, 2][(case.seed / 5 % 5) as usize];
    let w = lcg.matrix([outputs, depth], case.density, |lcg| {
        (i16::from(lcg.i8()) * most / 128) as i8
    });
    let bias = lcg.matrix([outputs, 1], 0.9, |lcg| {
        lcg.next() as i32 % 100_000 - 50_000
    });
    let stride = depth + GAP;
    let x = lcg.matrix([case.pixels, stride], 0.7, Lcg::u8);
    let used = (case.pixels * stride).saturating_sub(GAP);
    let rows = Rows::strided(&x[..used], case.pixels, depth, stride).unwrap();
    let dense = DenseI8::pack(kernel.isa, &w, outputs, depth, Some(&bias)).unwrap();
    let sparse = SparseI8::pack(kernel.isa, &w, outputs, depth, Some(&bias)).unwrap();
    let is_dense = kernel.what == What::DenseI8;
    let (name, granule) = if is_dense {
        (dense.kernel().name, dense.granule())
    } else {
        (sparse.kernel().name, sparse.granule())
    };
    assert_eq!(name, kernel.name);
    let run = |range: std::ops::Range<usize>, out: IntOut<'_>| {
        if is_dense {
            dense.run(rows, range, out).unwrap();
        } else {
            sparse.run(rows, range, out).unwrap();
        }
    };
    let slow = slow_i8(&w, &bias, &x, case);
    let y = in_two(case, granule, i32::MIN, |range, y| {
        run(range, IntOut::I32(y))
    });
    assert!(y == slow, "{} {case:?}", kernel.name);

    let scales: Vec<f32> = (0..outputs).map(|o| 1e-4 * (o % 11 + 1) as f32).collect();
    let each = || slow.iter().enumerate().map(|(i, &acc)| (i % outputs, acc));
    let requantize = Requantize::new(scales.clone(), 7, 0, 250).unwrap();
    let y = in_two(case, granule, 255, |range, y| {
        run(range, IntOut::U8(y, &requantize))
    });
    let expected: Vec<u8> = each()
        .map(|(o, acc)| requantize.apply(o, acc) as u8)
        .collect();
    assert!(y == expected, "{} to u8 {case:?}", kernel.name);

    let requantize = Requantize::new(scales.clone(), -3, -128, 120).unwrap();
    let y = in_two(case, granule, 127, |range, y| {
        run(range, IntOut::I8(y, &requantize))
    });
    let expected: Vec<i8> = each()
        .map(|(o, acc)| requantize.apply(o, acc) as i8)
        .collect();
    assert!(y == expected, "{} to i8 {case:?}", kernel.name);

    let dequantize = Dequantize::new(scales.clone(), Clamp::RELU).unwrap();
    let y = in_two(case, granule, 9e9, |range, y| {
        run(range, IntOut::F32(y, &dequantize))
    });
    let expected: Vec<f32> = each().map(|(o, acc)| dequantize.apply(o, acc)).collect();
    assert!(y == expected, "{} to f32 {case:?}", kernel.name);

    let is_signed = case.seed % 2 == 1;
    let requantize = match is_signed {
        true => Requantize::new(scales, -3, -100, 127),
        false => Requantize::new(scales, 7, 0, 250),
    };
    let requantize = requantize.unwrap();
    for after in afters(is_signed, case.seed) {
        let y = in_two(case, granule, 99, |range, mut y| {
            for p in 0..case.pixels {
                held(y.row_mut(p), p, range.start);
            }
            run(range, IntOut::Codes(y, &requantize, &after));
        });
        let mut expected = vec![0; slow.len()];
        for (p, row) in expected.chunks_mut(outputs.max(1)).enumerate() {
            held(row, p, 0);
        }
        let codes: Vec<u8> = each()
            .map(|(o, acc)| requantize.apply(o, acc) as u8)
            .collect();
        after.apply(&codes, &mut expected);
        assert!(y == expected, "{} {after:?} {case:?}", kernel.name);
    }
}

/// What follows codes of a type: sums of both orders and of all types, and a table.
fn afters(is_signed: bool, seed: u64) -> Vec<After> {
    let codes = |is_signed: bool| match is_signed {
        true => Codes::signed(-3).unwrap(),
        false => Codes::unsigned(7).unwrap(),
    };
    let own = (codes(is_signed), 0.37);
    let other = (codes(seed % 4 < 2), 1.21);
    let y = codes(seed % 8 < 4);
    let range = if seed % 8 < 4 { (-90, 120) } else { (7, 201) };
    let sum = |a, b, held| After::Add {
        add: AddCodes::new(a, b, y, range).unwrap(),
        held,
    };
    let table: [u8; 256] = std::array::from_fn(|i| (i as u8).wrapping_mul(37) ^ 0x5a);
    vec![
        After::Nothing,
        sum(own, other, Held::Second),
        sum(other, own, Held::First),
        After::Table(table.into()),
    ]
}

/// What an output holds at outputs from `first` on of pixel `p`.
fn held(row: &mut [u8], p: usize, first: usize) {
    for (o, y) in row.iter_mut().enumerate() {
        *y = ((p * 31 + first + o) * 41 % 256) as u8;
    }
}

fn check(kernel: &Kernel, case: Case) {
    match kernel.what {
        What::DenseF32 | What::SparseF32 => check_f32(kernel, case),
        What::DenseI8 | What::SparseI8 => check_i8(kernel, case),
        What::DepthwiseF32 | What::DepthwiseI8 => depthwise::check(kernel, case),
    }
}

fn gapped<T: Copy + Default>(rows: &[T], cols: usize) -> Vec<T> {
    let gap = [T::default(); GAP];
    rows.chunks(cols.max(1))
        .flat_map(|row| row.iter().copied().chain(gap))
        .collect()
}

fn usable() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(|kernel| kernel.isa.is_available())
}

/// 0, 1, n-1, n, n+1, and beyond two tiles.
fn edges(n: usize) -> Vec<usize> {
    let mut edges = vec![0, 1, n.saturating_sub(1), n, n + 1, 2 * n + 1];
    edges.sort_unstable();
    edges.dedup();
    edges
}

#[test]
fn tile_edges() {
    for kernel in usable() {
        let mut seed = 0;
        let mut outputs = edges(kernel.mr);
        outputs.extend([63, 65, 130]);
        for &outputs in &outputs {
            for depth in [0, 1, 3, 4, 5, 15, 17, 31, 32, 33, 63, 64, 65, 130] {
                for pixels in edges(kernel.nr) {
                    seed += 1;
                    let density = [0.0, 0.02, 0.1, 0.5, 1.0][seed as usize % 5];
                    check(
                        kernel,
                        Case {
                            outputs,
                            depth,
                            pixels,
                            density,
                            seed,
                        },
                    );
                }
            }
        }
    }
}

#[test]
fn densities() {
    for kernel in usable() {
        for density in [0.0, 0.02, 0.1, 0.5, 1.0] {
            for (outputs, depth, pixels) in [(144, 300, 1), (144, 300, 29), (70, 97, 13)] {
                if matches!(kernel.what, What::DepthwiseF32 | What::DepthwiseI8) {
                    continue;
                }
                for seed in [0, 15] {
                    check(
                        kernel,
                        Case {
                            outputs,
                            depth,
                            pixels,
                            density,
                            seed,
                        },
                    );
                }
            }
        }
    }
}

#[test]
fn the_deepest_sums_are_exact() {
    let case = Case {
        outputs: 17,
        depth: MAX_DEPTH,
        pixels: 2,
        density: 1.0,
        seed: 0,
    };
    let x = vec![255u8; case.pixels * (case.depth + GAP)];
    let rows = Rows::strided(&x, case.pixels, case.depth, case.depth + GAP).unwrap();
    for extreme in [-128i8, 127, -64, 64, 65, -8, 8, -1, 1] {
        let w = vec![extreme; case.outputs * case.depth];
        let expected = MAX_DEPTH as i32 * 255 * i32::from(extreme);
        for isa in Isa::available() {
            let mut y = vec![0; 34];
            let dense = DenseI8::pack(isa, &w, 17, case.depth, None).unwrap();
            dense
                .run(
                    rows,
                    0..17,
                    IntOut::I32(RowsMut::new(&mut y, 2, 17).unwrap()),
                )
                .unwrap();
            assert_eq!(y, [expected; 34]);
            let mut y = vec![0; 34];
            let sparse = SparseI8::pack(isa, &w, 17, case.depth, None).unwrap();
            sparse
                .run(
                    rows,
                    0..17,
                    IntOut::I32(RowsMut::new(&mut y, 2, 17).unwrap()),
                )
                .unwrap();
            assert_eq!(y, [expected; 34]);
        }
    }
    let w = vec![0; MAX_DEPTH + 1];
    assert!(matches!(
        DenseI8::pack(Isa::Generic, &w, 1, MAX_DEPTH + 1, None),
        Err(KernelError::TooDeep { .. })
    ));
}

#[test]
fn wrong_shapes_are_refused() {
    let layer = DenseF32::pack(Isa::Generic, &[0.0; 40], 20, 2, None).unwrap();
    let x = Rows::new(&[0.0; 4], 2, 2).unwrap();
    let mut y = [0.0; 40];
    let mut run = |range: std::ops::Range<usize>, rows, cols| {
        layer.run(
            x,
            range,
            Clamp::NONE,
            RowsMut::new(&mut y, rows, cols).unwrap(),
        )
    };
    assert!(run(0..20, 2, 20).is_ok());
    assert!(run(16..20, 2, 4).is_ok());
    assert!(run(0..20, 1, 20).is_err());
    assert!(run(0..20, 2, 19).is_err());
    assert!(matches!(
        run(3..20, 2, 17),
        Err(KernelError::OutputRange { .. })
    ));
    assert!(run(0..21, 1, 21).is_err());
    assert!(DenseF32::pack(Isa::Generic, &[0.0; 3], 2, 2, None).is_err());
    assert!(DenseF32::pack(Isa::Generic, &[0.0; 4], 2, 2, Some(&[0.0])).is_err());
    assert!(DenseF32::pack(Isa::Generic, &[], usize::MAX, 2, None).is_err());
    assert!(SparseI8::pack(Isa::Generic, &[0; 4], 2, 2, Some(&[0])).is_err());
    let requantize = Requantize::new(vec![1.0; 2], 0, 0, 200).unwrap();
    let layer = SparseI8::pack(Isa::Generic, &[0; 4], 2, 2, None).unwrap();
    let x = Rows::new(&[0u8; 2], 1, 2).unwrap();
    let mut y = [0i8; 2];
    let out = IntOut::I8(RowsMut::new(&mut y, 1, 2).unwrap(), &requantize);
    assert!(layer.run(x, 0..2, out).is_err());
}

#[test]
fn packed_layers_cross_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<(
        DenseF32,
        DenseI8,
        SparseF32,
        SparseI8,
        DepthwiseF32,
        DepthwiseI8,
    )>();
}

/// A convolution read in place gives what its rows give, in both forms.
fn check_patches(window: Window2d, outputs: usize, density: f32, seed: u64) {
    let (Ok(window), mut random) = (window.fitted(), Lcg(seed)) else {
        return;
    };
    let Some(slab) = Slab::new(window) else {
        return;
    };
    let im2col = Im2col::new(window, 1, window.channels).unwrap();
    let (depth, pixels) = (im2col.cols(), window.pixels());
    let w = random.matrix([outputs, depth], density, Lcg::i8);
    let image: Vec<u8> = (0..window.image_len()).map(|_| random.u8()).collect();
    let mut rows = vec![0; pixels * depth];
    im2col.rows(&image, 0, 0..pixels, 9, &mut rows).unwrap();
    let mut lines = vec![77; slab.len(window.output[0])];
    slab.fill(&image, 0..window.output[0], 9, &mut lines)
        .unwrap();
    let rows = Rows::new(&rows, pixels, depth).unwrap();
    let multiplier = (0..outputs).map(|o| 0.01 * (o % 7) as f32).collect();
    let requantize = Requantize::new(multiplier, 3, 3, 240).unwrap();
    let run = |run: &dyn Fn(IntOut<'_>) -> Result<(), KernelError>| {
        let mut y = vec![0u8; pixels * outputs];
        let to = RowsMut::new(&mut y, pixels, outputs).unwrap();
        run(IntOut::U8(to, &requantize)).unwrap();
        y
    };
    let reference = DenseI8::pack(Isa::Generic, &w, outputs, depth, None).unwrap();
    let expected = run(&|y| reference.run(rows, 0..outputs, y));
    let mut inputs = vec![slab.patches(&lines, window.output[0]).unwrap()];
    if slab.is_image() {
        inputs.push(slab.patches_of_image(&image, 0..window.output[0]).unwrap());
    }
    let nonzeros = Nonzeros::of(&w, outputs, depth).unwrap();
    for isa in Isa::available() {
        let dense = DenseI8::pack_lines(isa, &w, outputs, depth, slab.line(), None).unwrap();
        let sparse = SparseI8::pack_lines(isa, &nonzeros, slab.line(), None).unwrap();
        let found = run(&|y| sparse.run(rows, 0..outputs, y));
        assert_eq!(found, expected, "{isa} rows {window:?}");
        for &patches in &inputs {
            if sparse.reads_patches() {
                let found = run(&|y| sparse.run_patches(patches, 0..outputs, y));
                assert_eq!(found, expected, "{isa} sparse {window:?}");
            }
            if dense.reads_patches() {
                let found = run(&|y| dense.run_patches(patches, 0..outputs, y));
                assert_eq!(found, expected, "{isa} dense {window:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_convolution_in_place(
        input in [1usize..9, 1usize..20], kernel in [1usize..4, 1usize..4],
        stride in [1usize..3, 1usize..3], dilation in 1usize..3,
        pads in [0usize..3, 0usize..3, 0usize..3, 0usize..3],
        channels in prop_oneof![1usize..9, Just(64), Just(80)],
        outputs in 1usize..70, density in 0.0f32..0.6, seed: u64,
    ) {
        let window = Window2d {
            stride, dilation: [dilation, 1], pads, ..Window2d::new(input, channels, kernel)
        };
        check_patches(window, outputs, density, seed);
    }

    #[test]
    fn any_shape(
        outputs in 0usize..200, depth in 0usize..300, pixels in 0usize..40,
        density in 0.0f32..1.0, seed: u64,
    ) {
        for kernel in usable() {
            if !matches!(kernel.what, What::DepthwiseF32 | What::DepthwiseI8) {
                check(kernel, Case { outputs, depth, pixels, density, seed });
            }
        }
    }

    #[test]
    fn any_depthwise_shape(
        outputs in 0usize..40, depth in 0usize..12, pixels in 0usize..7, density in 0.0f32..1.0, seed: u64,
    ) {
        for kernel in usable() {
            if matches!(kernel.what, What::DepthwiseF32 | What::DepthwiseI8) {
                check(kernel, Case { outputs, depth, pixels, density, seed });
            }
        }
    }
}
