//! Measures what kernels cost on this machine.

use crate::EngineError;
use secateur_kernels::{
    Clamp, Crew, DenseF32, DenseI8, DepthwiseF32, DepthwiseI8, IntOut, Isa, Kernel, KernelError,
    Requantize, Rows, RowsMut, SparseF32, SparseI8, What, Window2d,
};
use secateur_plan::{Costs, KernelCost, Level, TileCost};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Every figure is the best of so many rounds through all of them: what disturbs a run only makes it
/// longer, and rarely lasts from one round to the next.
const ROUNDS: usize = 10;
/// How long a figure is measured in a round.
const MEASURING: Duration = Duration::from_micros(50);
/// Outputs of the layers that are measured: enough that one pixel goes through several panels at once.
const OUTPUTS: usize = 128;
/// Depths of the layers that are measured; weights of both stay in the second cache.
const DEPTHS: [usize; 2] = [64, 512];
/// Of so many weights of a sparse layer one is not zero.
const SPARSE_STEP: u32 = 4;
/// Whole tiles of a run.
const TILES: usize = 4;
/// Pixels of the tiles that are measured beside the whole one.
const PARTS: [usize; 4] = [1, 2, 4, 8];
/// Sides of the depthwise windows that are measured.
const SIDES: [usize; 2] = [3, 5];
/// Side and channels of the image that depthwise windows go over.
const IMAGE: [usize; 2] = [28, 64];
/// Working sets that are read: of the second cache, of the last one, and of memory.
const WORKING_SETS: [usize; 3] = [256 << 10, 4 << 20, 64 << 20];
/// Bytes of a cache line.
const LINE: usize = 64;
/// How long a second thread is waited for.
const AT_MOST: Duration = Duration::from_millis(1);

/// Measures every kernel of a set, memory and threads, which takes about a tenth of a second.
///
/// # Errors
/// A set that the processor lacks.
pub fn calibrate(isa: Isa) -> Result<Costs, EngineError> {
    let (kernels, memory) = measure(isa).map_err(EngineError::Isa)?;
    Ok(Costs::new(kernels, memory, fork_us())?)
}

/// The costs of kernels, in the order of [`What::ALL`], and the levels of memory.
fn measure(isa: Isa) -> Result<([KernelCost; What::ALL.len()], Vec<Level>), KernelError> {
    isa.require()?;
    let mut tiles = Vec::new();
    for what in What::ALL {
        tiles.extend(tiles_of(isa, what)?);
    }
    for _ in 0..ROUNDS {
        for bench in tiles.iter_mut().flat_map(|tile| &mut tile.benches) {
            bench.round()?;
        }
    }
    let kernels = What::ALL.map(|what| KernelCost {
        tiles: tiles
            .iter()
            .filter(|tile| tile.what == what)
            .map(Tile::cost)
            .collect(),
    });
    let mut memory = WORKING_SETS.map(reading);
    for _ in 0..ROUNDS {
        memory.iter_mut().try_for_each(Bench::round)?;
    }
    let levels = memory.iter().zip(WORKING_SETS).map(|(bench, bytes)| Level {
        bytes,
        gb_per_s: bytes as f64 / bench.ns(),
    });
    Ok((kernels, levels.collect()))
}

/// Something that is run again and again.
struct Bench {
    run: Box<dyn FnMut() -> Result<(), KernelError>>,
    best: Duration,
    /// A run goes through them so often.
    times: usize,
    multiplies: usize,
    outputs: usize,
}

impl Bench {
    /// `run`s of a layer with so many multiplies and outputs, each `times` over.
    fn new(
        times: usize,
        multiplies: usize,
        outputs: usize,
        run: impl FnMut() -> Result<(), KernelError> + 'static,
    ) -> Self {
        Self {
            run: Box::new(run),
            best: Duration::MAX,
            times,
            multiplies,
            outputs,
        }
    }

    /// A run that brings everything near, then some that count.
    fn round(&mut self) -> Result<(), KernelError> {
        (self.run)()?;
        let start = Instant::now();
        while {
            let before = Instant::now();
            (self.run)()?;
            self.best = self.best.min(before.elapsed());
            start.elapsed() < MEASURING
        } {}
        Ok(())
    }

    /// Nanoseconds of the best run, once through.
    fn ns(&self) -> f64 {
        self.best.as_secs_f64() * 1e9 / self.times as f64
    }
}

/// A tile of so many pixels, with little and with much to multiply.
struct Tile {
    what: What,
    pixels: usize,
    benches: [Bench; 2],
}

impl Tile {
    /// What a multiply and an output cost, from two benches with as many outputs.
    fn cost(&self) -> TileCost {
        let [little, much] = &self.benches;
        between(
            self.pixels,
            (little.ns(), little.multiplies),
            (much.ns(), much.multiplies),
            little.outputs,
        )
    }
}

/// What a multiply and an output cost, from the nanoseconds of two numbers of multiplies.
fn between(pixels: usize, little: (f64, usize), much: (f64, usize), outputs: usize) -> TileCost {
    let more = much.1.saturating_sub(little.1).max(1) as f64;
    // A disturbed run must not make multiplies free.
    let least = 0.1 * much.0 / much.1.max(1) as f64;
    let multiply_ns = ((much.0 - little.0) / more).max(least);
    let rest = little.0 - multiply_ns * little.1 as f64;
    TileCost {
        pixels,
        multiply_ns,
        output_ns: (rest / outputs.max(1) as f64).max(0.0),
    }
}

/// The tiles of a kernel.
fn tiles_of(isa: Isa, what: What) -> Result<Vec<Tile>, KernelError> {
    let nr = Kernel::of(isa, what)?.nr;
    let tile = |pixels, [little, much]: [Result<Bench, KernelError>; 2]| {
        Ok(Tile {
            what,
            pixels,
            benches: [little?, much?],
        })
    };
    match what {
        What::DepthwiseF32 | What::DepthwiseI8 => {
            Ok(vec![tile(1, SIDES.map(|side| windows(isa, what, side)))?])
        }
        _ => PARTS
            .into_iter()
            .filter(|&pixels| pixels < nr)
            .map(|pixels| (pixels, 1))
            .chain([(nr, TILES)])
            .map(|(pixels, tiles)| {
                let benches = DEPTHS.map(|depth| matrix(isa, what, depth, (pixels, tiles)));
                tile(pixels, benches)
            })
            .collect(),
    }
}

/// A matrix at some tiles of pixels.
fn matrix(
    isa: Isa,
    what: What,
    depth: usize,
    (pixels, tiles): (usize, usize),
) -> Result<Bench, KernelError> {
    let rows = tiles * pixels;
    let sparse = matches!(what, What::SparseF32 | What::SparseI8);
    let mut random = Random(1);
    let weights: Vec<i8> = (0..OUTPUTS * depth)
        .map(|_| match random.next() {
            r if sparse && !r.is_multiple_of(SPARSE_STEP) => 0,
            r => (r >> 8) as i8 | 1,
        })
        .collect();
    let floats: Vec<f32> = weights.iter().map(|&w| f32::from(w)).collect();
    let (x, x_f) = (lines(1, rows * depth), lines(1.0, rows * depth));
    let (mut y, mut y_f) = (vec![0; rows * OUTPUTS], vec![0.0; rows * OUTPUTS]);
    let requantize = Requantize::new(vec![1e-3; OUTPUTS], 0, 0, 255)?;
    Ok(match what {
        What::DenseF32 | What::DepthwiseF32 => {
            let layer = DenseF32::pack(isa, &floats, OUTPUTS, depth, None)?;
            Bench::new(tiles, layer.macs(), OUTPUTS, move || {
                let y = RowsMut::new(&mut y_f, rows, OUTPUTS)?;
                layer.run(
                    Rows::new(x_f.on_lines(), rows, depth)?,
                    0..OUTPUTS,
                    Clamp::RELU,
                    y,
                )
            })
        }
        What::SparseF32 => {
            let layer = SparseF32::pack(isa, &floats, OUTPUTS, depth, None)?;
            Bench::new(tiles, layer.slots(), OUTPUTS, move || {
                let y = RowsMut::new(&mut y_f, rows, OUTPUTS)?;
                layer.run(
                    Rows::new(x_f.on_lines(), rows, depth)?,
                    0..OUTPUTS,
                    Clamp::RELU,
                    y,
                )
            })
        }
        What::DenseI8 | What::DepthwiseI8 => {
            let layer = DenseI8::pack(isa, &weights, OUTPUTS, depth, None)?;
            Bench::new(tiles, layer.macs(), OUTPUTS, move || {
                let out = IntOut::U8(RowsMut::new(&mut y, rows, OUTPUTS)?, &requantize);
                layer.run(Rows::new(x.on_lines(), rows, depth)?, 0..OUTPUTS, out)
            })
        }
        What::SparseI8 => {
            let layer = SparseI8::pack(isa, &weights, OUTPUTS, depth, None)?;
            Bench::new(tiles, layer.slots(), OUTPUTS, move || {
                let out = IntOut::U8(RowsMut::new(&mut y, rows, OUTPUTS)?, &requantize);
                layer.run(Rows::new(x.on_lines(), rows, depth)?, 0..OUTPUTS, out)
            })
        }
    })
}

/// Elements that begin on a cache line, as they do in an arena: loads that span two take twice as long.
struct Lines<T> {
    elements: Vec<T>,
    len: usize,
}

fn lines<T: Copy>(value: T, len: usize) -> Lines<T> {
    Lines {
        elements: vec![value; len + LINE / size_of::<T>()],
        len,
    }
}

impl<T> Lines<T> {
    fn on_lines(&self) -> &[T] {
        let first = self.elements.as_ptr().align_offset(LINE);
        &self.elements[first..][..self.len]
    }
}

/// Depthwise windows of a side over an image, pixel by pixel.
fn windows(isa: Isa, what: What, side: usize) -> Result<Bench, KernelError> {
    let [extent, channels] = IMAGE;
    let window = Window2d {
        pads: [side / 2; 4],
        ..Window2d::new([extent; 2], channels, [side; 2])
    }
    .fitted()?;
    let (pixels, weights) = (window.pixels(), side * side * channels);
    Ok(match what {
        What::DepthwiseF32 => {
            let layer = DepthwiseF32::pack(isa, window, &vec![0.5; weights], None)?;
            let image = lines(1.0, window.image_len());
            let mut y = vec![0.0; pixels * channels];
            Bench::new(pixels, weights, channels, move || {
                let y = RowsMut::new(&mut y, pixels, channels)?;
                layer.run(image.on_lines(), 0..pixels, Clamp::RELU, y)
            })
        }
        _ => {
            let layer = DepthwiseI8::pack(isa, window, &vec![3; weights], None)?;
            let requantize = Requantize::new(vec![1e-3; channels], 0, 0, 255)?;
            let image = lines(1, window.image_len());
            let mut y = vec![0; pixels * channels];
            Bench::new(pixels, weights, channels, move || {
                let out = IntOut::U8(RowsMut::new(&mut y, pixels, channels)?, &requantize);
                layer.run(image.on_lines(), 0, 0..pixels, out)
            })
        }
    })
}

/// Reads so many bytes.
fn reading(bytes: usize) -> Bench {
    // Written, not zeroed: pages that nobody wrote to are all the same one.
    let words: Vec<u64> = (0..bytes as u64 / 8).collect();
    Bench::new(1, 0, 0, move || {
        let words = black_box(&words);
        black_box(words.iter().fold(0u64, |sum, w| sum.wrapping_add(*w)));
        Ok(())
    })
}

/// What it takes to share work with a second thread that is awake and to wait for it, in microseconds.
fn fork_us() -> f64 {
    const UNKNOWN: f64 = 2.0;
    const RUNS: usize = 400;
    let Ok(crew) = Crew::new(2) else {
        return UNKNOWN;
    };
    let fork = || {
        let came = AtomicBool::new(false);
        let start = Instant::now();
        crew.work(2, &|member| {
            came.fetch_or(member > 0, Ordering::Release);
            while !came.load(Ordering::Acquire) && start.elapsed() < AT_MOST {
                std::hint::spin_loop();
            }
        });
        start.elapsed()
    };
    let mut times: Vec<Duration> = (0..RUNS).map(|_| fork()).collect();
    times.sort_unstable();
    // Of what is measured here, other programs only make the most longer.
    times[RUNS / 20].as_secs_f64() * 1e6
}

/// A linear congruential generator: weights need no more than to lie irregularly.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_plan::Load;

    #[test]
    fn every_set_that_runs_here_has_costs() {
        for isa in Isa::available() {
            let costs = calibrate(isa).unwrap();
            assert!(costs.measured);
            let load = Load {
                multiplies: 1 << 20,
                outputs: 256,
                pixels: 100,
                weight_bytes: 1 << 20,
                moved_bytes: 0,
            };
            for what in What::ALL {
                assert!(costs.predicted_us(what, load) > 0.0, "{isa} {what:?}");
            }
        }
    }

    #[test]
    fn two_runs_tell_multiplies_from_outputs() {
        let cost = between(1, (300.0, 100), (1100.0, 500), 10);
        assert_eq!((cost.multiply_ns, cost.output_ns), (2.0, 10.0));
        // A first run that was held up costs no more than the second.
        let cost = between(1, (2000.0, 100), (1100.0, 500), 10);
        assert!(cost.multiply_ns > 0.0 && cost.output_ns > 0.0);
    }
}
