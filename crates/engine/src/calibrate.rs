//! Measures what kernels cost on this machine.

use crate::EngineError;
use secateur_kernels::{
    Clamp, DenseF32, DenseI8, DepthwiseF32, DepthwiseI8, IntOut, Isa, Kernel, KernelError,
    Requantize, Rows, RowsMut, SparseF32, SparseI8, What, Window2d,
};
use secateur_plan::{Costs, KernelCost, Level, TileCost};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Each figure is the best of the runs in so long a time: what disturbs a run only makes it longer.
const MEASURING: Duration = Duration::from_micros(300);
/// Runs of a figure, however long they take.
const FEWEST_RUNS: usize = 4;
/// Outputs of the layers that are measured.
const OUTPUTS: usize = 64;
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
/// What forked work takes on each thread while forking is measured.
const FORKED: Duration = Duration::from_micros(20);

/// Measures every kernel of a set, memory and threads, which takes about a tenth of a second.
///
/// # Errors
/// A set that the processor lacks.
pub fn calibrate(isa: Isa) -> Result<Costs, EngineError> {
    let refused = EngineError::Isa;
    isa.require().map_err(refused)?;
    let kernels = What::ALL.map(|what| kernel_cost(isa, what));
    let [a, b, c, d, e, f] = kernels;
    let kernels = [
        a.map_err(refused)?,
        b.map_err(refused)?,
        c.map_err(refused)?,
        d.map_err(refused)?,
        e.map_err(refused)?,
        f.map_err(refused)?,
    ];
    let memory = WORKING_SETS.map(read_speed).to_vec();
    Ok(Costs::new(kernels, memory, fork_us())?)
}

/// The time of one run, and how many multiplies and outputs a pixel it had.
#[derive(Debug, Clone, Copy)]
struct Run {
    ns: f64,
    multiplies: usize,
    outputs: usize,
}

fn kernel_cost(isa: Isa, what: What) -> Result<KernelCost, KernelError> {
    let nr = Kernel::of(isa, what)?.nr;
    let depthwise = matches!(what, What::DepthwiseF32 | What::DepthwiseI8);
    let parts: Vec<usize> = match depthwise {
        true => vec![1],
        false => PARTS.into_iter().filter(|&p| p < nr).chain([nr]).collect(),
    };
    let tile = |pixels| {
        let [little, much] = match depthwise {
            true => SIDES.map(|side| windows(isa, what, side)),
            false => DEPTHS.map(|depth| matrix(isa, what, depth, pixels, pixels == nr)),
        };
        Ok(between(pixels, little?, much?))
    };
    let tiles = parts
        .into_iter()
        .map(tile)
        .collect::<Result<_, KernelError>>()?;
    Ok(KernelCost { tiles })
}

/// What a multiply and an output cost, from two runs with as many outputs.
fn between(pixels: usize, little: Run, much: Run) -> TileCost {
    let more = (much.multiplies - little.multiplies).max(1) as f64;
    // A disturbed run must not make multiplies free.
    let least = 0.1 * much.ns / much.multiplies.max(1) as f64;
    let multiply_ns = ((much.ns - little.ns) / more).max(least);
    let rest = little.ns - multiply_ns * little.multiplies as f64;
    TileCost {
        pixels,
        multiply_ns,
        output_ns: (rest / little.outputs.max(1) as f64).max(0.0),
    }
}

/// A matrix at a tile of pixels, or a tile of several whole ones.
fn matrix(
    isa: Isa,
    what: What,
    depth: usize,
    pixels: usize,
    whole: bool,
) -> Result<Run, KernelError> {
    let tiles = if whole { TILES } else { 1 };
    let rows = tiles * pixels;
    let sparse = matches!(what, What::SparseF32 | What::SparseI8);
    let mut random = Random(1);
    let weights: Vec<i8> = (0..OUTPUTS * depth)
        .map(|_| match random.next() {
            r if sparse && !r.is_multiple_of(SPARSE_STEP) => 0,
            r => (r >> 8) as i8 | 1,
        })
        .collect();
    let (ns, multiplies) = match what {
        What::DenseF32 | What::SparseF32 | What::DepthwiseF32 => {
            let weights: Vec<f32> = weights.iter().map(|&w| f32::from(w)).collect();
            let x = vec![1.0; rows * depth];
            let mut y = vec![0.0; rows * OUTPUTS];
            let dense = DenseF32::pack(isa, &weights, OUTPUTS, depth, None)?;
            let layer = SparseF32::pack(isa, &weights, OUTPUTS, depth, None)?;
            let ns = best_ns(|| {
                let (x, y) = (
                    Rows::new(&x, rows, depth)?,
                    RowsMut::new(&mut y, rows, OUTPUTS)?,
                );
                match sparse {
                    true => layer.run(x, 0..OUTPUTS, Clamp::RELU, y),
                    false => dense.run(x, 0..OUTPUTS, Clamp::RELU, y),
                }
            })?;
            (ns, if sparse { layer.slots() } else { dense.macs() })
        }
        What::DenseI8 | What::SparseI8 | What::DepthwiseI8 => {
            let requantize = Requantize::new(vec![1e-3; OUTPUTS], 0, 0, 255)?;
            let x = vec![1; rows * depth];
            let mut y = vec![0; rows * OUTPUTS];
            let dense = DenseI8::pack(isa, &weights, OUTPUTS, depth, None)?;
            let layer = SparseI8::pack(isa, &weights, OUTPUTS, depth, None)?;
            let ns = best_ns(|| {
                let x = Rows::new(&x, rows, depth)?;
                let out = IntOut::U8(RowsMut::new(&mut y, rows, OUTPUTS)?, &requantize);
                match sparse {
                    true => layer.run(x, 0..OUTPUTS, out),
                    false => dense.run(x, 0..OUTPUTS, out),
                }
            })?;
            (ns, if sparse { layer.slots() } else { dense.macs() })
        }
    };
    Ok(Run {
        ns: ns / tiles as f64,
        multiplies,
        outputs: OUTPUTS,
    })
}

/// Depthwise windows of a side over an image, a pixel.
fn windows(isa: Isa, what: What, side: usize) -> Result<Run, KernelError> {
    let [extent, channels] = IMAGE;
    let window = Window2d {
        pads: [side / 2; 4],
        ..Window2d::new([extent; 2], channels, [side; 2])
    }
    .fitted()?;
    let (pixels, weights) = (window.pixels(), side * side * channels);
    let ns = match what {
        What::DepthwiseF32 => {
            let layer = DepthwiseF32::pack(isa, window, &vec![0.5; weights], None)?;
            let image = vec![1.0; window.image_len()];
            let mut y = vec![0.0; pixels * channels];
            best_ns(|| {
                let y = RowsMut::new(&mut y, pixels, channels)?;
                layer.run(&image, 0..pixels, Clamp::RELU, y)
            })?
        }
        _ => {
            let layer = DepthwiseI8::pack(isa, window, &vec![3; weights], None)?;
            let requantize = Requantize::new(vec![1e-3; channels], 0, 0, 255)?;
            let image = vec![1; window.image_len()];
            let mut y = vec![0; pixels * channels];
            best_ns(|| {
                let out = IntOut::U8(RowsMut::new(&mut y, pixels, channels)?, &requantize);
                layer.run(&image, 0, 0..pixels, out)
            })?
        }
    };
    Ok(Run {
        ns: ns / pixels as f64,
        multiplies: weights,
        outputs: channels,
    })
}

/// How fast so many bytes are read again and again.
fn read_speed(bytes: usize) -> Level {
    // Written, not zeroed: pages that nobody wrote to are all the same one.
    let words: Vec<u64> = (0..bytes as u64 / 8).collect();
    let sum = || {
        black_box(
            black_box(&words)
                .iter()
                .fold(0u64, |sum, w| sum.wrapping_add(*w)),
        );
        Ok(())
    };
    let ns = best_ns(sum).unwrap_or(f64::INFINITY);
    Level {
        bytes,
        gb_per_s: bytes as f64 / ns,
    }
}

/// What it takes to give work to a second thread and to wait for it, in microseconds.
fn fork_us() -> f64 {
    const UNKNOWN: f64 = 10.0;
    const RUNS: usize = 40;
    let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(2).build() else {
        return UNKNOWN;
    };
    let work = || {
        let start = Instant::now();
        while start.elapsed() < FORKED {
            std::hint::spin_loop();
        }
    };
    let mut times: Vec<Duration> = pool.install(|| {
        let fork = |_| {
            let start = Instant::now();
            rayon::join(work, work);
            start.elapsed()
        };
        (0..RUNS).map(fork).collect()
    });
    times.sort_unstable();
    let median = times[RUNS / 2];
    median.saturating_sub(FORKED).as_secs_f64() * 1e6
}

/// Nanoseconds of the best run.
fn best_ns(mut run: impl FnMut() -> Result<(), KernelError>) -> Result<f64, KernelError> {
    run()?;
    let start = Instant::now();
    let (mut best, mut runs) = (Duration::MAX, 0);
    while runs < FEWEST_RUNS || start.elapsed() < MEASURING {
        let before = Instant::now();
        run()?;
        best = best.min(before.elapsed());
        runs += 1;
    }
    Ok(best.as_secs_f64() * 1e9)
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
        let run = |ns, multiplies| Run {
            ns,
            multiplies,
            outputs: 10,
        };
        let cost = between(1, run(300.0, 100), run(1100.0, 500));
        assert_eq!((cost.multiply_ns, cost.output_ns), (2.0, 10.0));
        // A first run that was held up costs no more than the second.
        let cost = between(1, run(2000.0, 100), run(1100.0, 500));
        assert!(cost.multiply_ns > 0.0 && cost.output_ns > 0.0);
    }
}
