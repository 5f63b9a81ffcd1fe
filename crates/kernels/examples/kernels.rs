//! Times every kernel that this processor can run, one thread, on shapes of real layers.
//!
//! `cargo run --release -p secateur-kernels --example kernels [NAME-PART]` prints the median of many
//! runs, and effective (dense-equivalent) GMAC/s; `images` for NAME-PART leaves the matrices out.

use std::time::{Duration, Instant};

use secateur_kernels::{
    Affine, Clamp, DenseF32, DenseI8, DepthwiseF32, DepthwiseI8, Im2col, IntOut, Isa, KernelError,
    Requantize, Rows, RowsMut, SparseF32, SparseI8, Window2d, cpu_name, features, max_pool,
    nchw_to_nhwc,
};

/// Bytes of a cache line.
const LINE: usize = 64;

struct Shape {
    name: &'static str,
    outputs: usize,
    depth: usize,
    pixels: usize,
    density: f32,
    /// Weights are no larger.
    most: u8,
}

const SHAPES: &[Shape] = &[
    shape("lenet fc1, 8 %", 300, 784, 1, 0.08),
    shape("lenet fc1, 8 %, batch 32", 300, 784, 32, 0.08),
    shape("lenet fc2, 9 %", 100, 300, 1, 0.09),
    shape("lenet-5 ip1, 5 %", 500, 800, 1, 0.05),
    shape("square", 256, 256, 256, 0.1),
    shape("resnet 3x3 14x14, 10 %", 256, 1152, 196, 0.1),
    Shape {
        most: 3,
        ..shape("the same, small weights", 256, 1152, 196, 0.1)
    },
    shape("resnet 1x1 14x14, 5 %", 1024, 256, 196, 0.05),
    shape("resnet 1x1 14x14, 20 %", 256, 1024, 196, 0.2),
    shape("alexnet fc6, 10 %", 4096, 9216, 1, 0.1),
];

/// Windows of MobileNet and its like: side of the image, channels, side of the window, stride.
const WINDOWS: &[(usize, usize, usize, usize)] = &[
    (112, 32, 3, 1),
    (112, 64, 3, 1),
    (112, 64, 3, 2),
    (56, 128, 3, 1),
    (56, 144, 3, 2),
    (28, 256, 3, 1),
    (28, 240, 5, 1),
    (14, 512, 3, 1),
    (7, 1024, 3, 1),
    (56, 96, 7, 1),
];

const fn shape(
    name: &'static str,
    outputs: usize,
    depth: usize,
    pixels: usize,
    density: f32,
) -> Shape {
    Shape {
        name,
        outputs,
        depth,
        pixels,
        density,
        most: 127,
    }
}

/// Median and best of as many runs as fit in 0.2 s, at least 5.
fn timed(mut run: impl FnMut() -> Result<(), KernelError>) -> Result<[Duration; 2], KernelError> {
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 5 || (start.elapsed() < Duration::from_millis(200) && times.len() < 20_000)
    {
        let before = Instant::now();
        run()?;
        times.push(before.elapsed());
    }
    times.sort_unstable();
    Ok([times[times.len() / 2], times[0]])
}

fn report(
    shape: &Shape,
    kernel: &str,
    filter: &str,
    bytes: usize,
    [median, best]: [Duration; 2],
    fill: Option<f32>,
) {
    if !kernel.contains(filter) {
        return;
    }
    let macs = (shape.outputs * shape.depth * shape.pixels) as f64;
    let fill = fill.map_or(String::new(), |fill| format!("{:.0} %", fill * 100.0));
    println!(
        "{:<26} {:<44} {:>10.2} us {:>10.2} us {:>8.1} GMAC/s {:>10} B {:>6}",
        shape.name,
        kernel,
        median.as_secs_f64() * 1e6,
        best.as_secs_f64() * 1e6,
        macs / median.as_secs_f64() / 1e9,
        bytes,
        fill,
    );
}

fn main() -> Result<(), KernelError> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    println!("{} ({})\n", cpu_name(), features().join(" "));
    println!(
        "{:<26} {:<44} {:>13} {:>13} {:>15} {:>12} {:>6}",
        "shape", "kernel", "median", "best", "effective", "packed", "filled"
    );
    let mut state = 1u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u32
    };
    for s in SHAPES {
        if filter == "images" {
            break;
        }
        let (outputs, depth, pixels) = (s.outputs, s.depth, s.pixels);
        let mut w = vec![0i8; outputs * depth];
        for w in &mut w {
            if (random() % 100_000) as f32 <= s.density * 100_000.0 {
                let magnitude = (random() % u32::from(s.most) + 1) as i8;
                *w = if random() & 1 == 0 {
                    magnitude
                } else {
                    -magnitude
                };
            }
        }
        let wf: Vec<f32> = w.iter().map(|&w| f32::from(w)).collect();
        let mut x = vec![0u8; pixels * depth + LINE];
        x.iter_mut().for_each(|v| *v = random() as u8);
        let mut xf: Vec<f32> = vec![0.0; pixels * depth + LINE];
        xf.iter_mut().for_each(|v| *v = (random() % 256) as f32);
        // As in an engine's arena.
        let (x, xf) = (
            &x[x.as_ptr().align_offset(LINE)..],
            &xf[xf.as_ptr().align_offset(LINE)..],
        );
        let (rows, rows_f) = (Rows::new(x, pixels, depth)?, Rows::new(xf, pixels, depth)?);
        let requantize = Requantize::new(vec![1e-4; outputs], 0, 0, 255)?;
        let mut y = vec![0u8; pixels * outputs];
        let mut yf = vec![0f32; pixels * outputs];
        for isa in Isa::available() {
            if isa == Isa::Generic && outputs * depth * pixels > 5_000_000 {
                continue;
            }
            let layer = DenseF32::pack(isa, &wf, outputs, depth, None)?;
            let time = timed(|| {
                let y = RowsMut::new(&mut yf, pixels, outputs)?;
                layer.run(rows_f, 0..outputs, Clamp::RELU, y)
            })?;
            report(s, layer.kernel().name, &filter, layer.bytes(), time, None);
            let layer = SparseF32::pack(isa, &wf, outputs, depth, None)?;
            let time = timed(|| {
                let y = RowsMut::new(&mut yf, pixels, outputs)?;
                layer.run(rows_f, 0..outputs, Clamp::RELU, y)
            })?;
            let fill = layer.nonzeros() as f32 / layer.slots().max(1) as f32;
            report(
                s,
                layer.kernel().name,
                &filter,
                layer.bytes(),
                time,
                Some(fill),
            );
            let layer = DenseI8::pack(isa, &w, outputs, depth, None)?;
            let time = timed(|| {
                let out = IntOut::U8(RowsMut::new(&mut y, pixels, outputs)?, &requantize);
                layer.run(rows, 0..outputs, out)
            })?;
            report(s, layer.kernel().name, &filter, layer.bytes(), time, None);
            let layer = SparseI8::pack(isa, &w, outputs, depth, None)?;
            let time = timed(|| {
                let out = IntOut::U8(RowsMut::new(&mut y, pixels, outputs)?, &requantize);
                layer.run(rows, 0..outputs, out)
            })?;
            let fill = layer.nonzeros() as f32 / layer.slots().max(1) as f32;
            report(
                s,
                layer.kernel().name,
                &filter,
                layer.bytes(),
                time,
                Some(fill),
            );
        }
        println!();
    }
    images()
}

/// Depthwise convolutions and the helpers around kernels.
fn images() -> Result<(), KernelError> {
    let line = |what: &str, macs: usize, [median, best]: [Duration; 2]| {
        let rate = macs as f64 / median.as_secs_f64() / 1e9;
        let (median, best) = (median.as_secs_f64() * 1e6, best.as_secs_f64() * 1e6);
        println!("{what:<64} {median:>10.2} us {best:>10.2} us {rate:>8.1} G/s");
    };
    for (name, side, channels, kernel) in [
        ("im2col u8, lenet-5 conv1", 28, 1, 5),
        ("im2col u8, lenet-5 conv2", 12, 20, 5),
        ("im2col u8, 14x14x128", 14, 128, 3),
    ] {
        let window = Window2d::new([side, side], channels, [kernel, kernel]).fitted()?;
        let im2col = Im2col::new(window, 1, channels)?;
        let image = vec![1u8; window.image_len()];
        let mut rows = vec![0u8; window.pixels() * im2col.cols()];
        let time = timed(|| im2col.rows(&image, 0, 0..window.pixels(), 0, &mut rows))?;
        line(name, rows.len(), time);
    }
    for &(side, channels, kernel, stride) in WINDOWS {
        windows(side, channels, kernel, stride, line)?;
    }
    let image_f = vec![1f32; 56 * 56 * 128];
    let (image, mut y) = (vec![1u8; image_f.len()], vec![1u8; image_f.len()]);
    let mut y_f = image_f.clone();
    let affine = Affine::new(0.02, 0)?;
    let time = timed(|| affine.quantize_u8(Isa::best(), &image_f, &mut y))?;
    line("quantize u8", y.len(), time);
    let time = timed(|| affine.dequantize(Isa::best(), &image, std::hint::black_box(&mut y_f)))?;
    line("dequantize u8", y.len(), time);
    let time = timed(|| nchw_to_nhwc(128, &image, &mut y))?;
    line("nchw_to_nhwc u8, 128 channels", y.len(), time);
    Ok(())
}

/// Depthwise convolutions and maxima of one geometry, padded so that stride 1 keeps the extent.
fn windows(
    side: usize,
    channels: usize,
    kernel: usize,
    stride: usize,
    line: impl Fn(&str, usize, [Duration; 2]),
) -> Result<(), KernelError> {
    let window = Window2d {
        stride: [stride; 2],
        pads: [kernel / 2; 4],
        ..Window2d::new([side; 2], channels, [kernel; 2])
    }
    .fitted()?;
    let (taps, pixels) = (window.taps(), window.pixels());
    let macs = pixels * taps * channels;
    let geometry = format!("{side}x{side}x{channels} {kernel}x{kernel} s{stride}");
    let (image, image_f) = (
        vec![1u8; window.image_len()],
        vec![1f32; window.image_len()],
    );
    let (mut y, mut y_f) = (vec![0u8; pixels * channels], vec![0f32; pixels * channels]);
    let (weights, weights_f) = (vec![3i8; taps * channels], vec![3f32; taps * channels]);
    let requantize = Requantize::new(vec![0.01; channels], 0, 0, 255)?;
    for isa in Isa::available().filter(|&isa| isa != Isa::Generic) {
        let layer = DepthwiseF32::pack(isa, window, &weights_f, None)?;
        let time = timed(|| {
            let y = RowsMut::new(&mut y_f, pixels, channels)?;
            layer.run(&image_f, 0..pixels, Clamp::RELU, y)
        })?;
        line(&format!("{geometry} {}", layer.kernel().name), macs, time);
        let layer = DepthwiseI8::pack(isa, window, &weights, None)?;
        let time = timed(|| {
            let out = IntOut::U8(RowsMut::new(&mut y, pixels, channels)?, &requantize);
            layer.run(&image, 0, 0..pixels, out)
        })?;
        line(&format!("{geometry} {}", layer.kernel().name), macs, time);
    }
    let time = timed(|| {
        let y = RowsMut::new(&mut y, pixels, channels)?;
        max_pool(Isa::best(), &window, &image, 0..pixels, 0, y)
    })?;
    line(&format!("{geometry} max_pool u8"), macs, time);
    let time = timed(|| {
        let y = RowsMut::new(&mut y_f, pixels, channels)?;
        max_pool(
            Isa::best(),
            &window,
            &image_f,
            0..pixels,
            f32::NEG_INFINITY,
            y,
        )
    })?;
    line(&format!("{geometry} max_pool f32"), macs, time);
    Ok(())
}
