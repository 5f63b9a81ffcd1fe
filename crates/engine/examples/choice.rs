//! Whether the cheaper form of a layer is chosen: both forms of layers of many shapes and densities, what
//! they were thought to cost and what they do:
//! `cargo run --release -p secateur-engine --example choice`.

use std::error::Error;
use std::time::Instant;

use secateur_engine::SessionOptions;
use secateur_kernels::{
    Clamp, DenseF32, DenseI8, IntOut, Isa, KernelError, Requantize, Rows, RowsMut, SparseF32,
    SparseI8, What,
};
use secateur_plan::Load;

/// Outputs, depth and pixels.
const SHAPES: [(usize, usize, usize); 9] = [
    (300, 784, 1),
    (512, 4608, 1),
    (1000, 2048, 1),
    (64, 576, 49),
    (256, 1152, 49),
    (64, 64, 3136),
    (256, 64, 784),
    (128, 1152, 196),
    (512, 256, 16),
];
const DENSITIES: [f64; 8] = [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7];

/// What a form was thought to take and what it took, in microseconds.
struct Form {
    predicted: f64,
    took: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = SessionOptions::default();
    let isa = options.resolved_isa()?;
    let costs = options.resolved_costs(isa)?;
    println!("{isa}; microseconds, predicted / taken\n");
    let (mut wrong, mut cases, mut worst) = (0, 0, 1.0f64);
    let (mut chosen, mut best, mut dense_only) = (0.0, 0.0, 0.0);
    for integer in [true, false] {
        for (outputs, depth, pixels) in SHAPES {
            for density in DENSITIES {
                let weights = weights(outputs * depth, density);
                let mut layer = match integer {
                    true => codes(isa, &weights, (outputs, depth, pixels))?,
                    false => floats(isa, &weights, (outputs, depth, pixels))?,
                };
                let took = best_us(&mut layer.run)?;
                let form = |n: usize| {
                    let (what, multiplies, weight_bytes) = layer.forms[n];
                    let load = Load {
                        multiplies,
                        outputs,
                        pixels,
                        weight_bytes,
                        moved_bytes: 0,
                    };
                    Form {
                        predicted: costs.streamed_us(what, load, weight_bytes),
                        took: took[n],
                    }
                };
                let (dense, sparse) = (form(0), form(1));
                let taken = match sparse.predicted < dense.predicted {
                    true => sparse.took,
                    false => dense.took,
                };
                let least = sparse.took.min(dense.took);
                let lost = taken / least;
                cases += 1;
                wrong += usize::from(lost > 1.05);
                worst = worst.max(lost);
                chosen += taken;
                best += least;
                dense_only += dense.took;
                println!(
                    "{} {outputs:>5} x {depth:<5} {pixels:>5} px {:>3.0} %  dense {:>8.1} / {:>8.1}  sparse {:>8.1} / {:>8.1}{}",
                    if integer { "int8" } else { "f32 " },
                    100.0 * density,
                    dense.predicted,
                    dense.took,
                    sparse.predicted,
                    sparse.took,
                    if lost > 1.05 { "  WRONG" } else { "" }
                );
            }
        }
    }
    println!(
        "\n{wrong} of {cases} choices more than 5 % slower than the other form, the worst {:.0} %; \
         all together {:.1} % slower than the best, {:.2}x faster than dense",
        100.0 * (worst - 1.0),
        100.0 * (chosen / best - 1.0),
        dense_only / chosen
    );
    Ok(())
}

/// A layer in both forms, dense first.
struct Layer {
    /// What runs, its multiplies a pixel and its bytes.
    forms: [(What, usize, usize); 2],
    /// Runs the sparse form or the dense one.
    run: Box<dyn FnMut(bool) -> Result<(), KernelError>>,
}

fn codes(
    isa: Isa,
    weights: &[i8],
    (outputs, depth, pixels): (usize, usize, usize),
) -> Result<Layer, KernelError> {
    let dense = DenseI8::pack(isa, weights, outputs, depth, None)?;
    let sparse = SparseI8::pack(isa, weights, outputs, depth, None)?;
    let requantize = Requantize::new(vec![1e-3; outputs], 0, 0, 255)?;
    let (x, mut y) = (on_lines(1u8, pixels * depth), vec![0u8; pixels * outputs]);
    Ok(Layer {
        forms: [
            (What::DenseI8, dense.macs(), dense.bytes()),
            (What::SparseI8, sparse.slots(), sparse.bytes()),
        ],
        run: Box::new(move |sparsely| {
            let x = Rows::new(&x[x.as_ptr().align_offset(LINE)..], pixels, depth)?;
            let out = IntOut::U8(RowsMut::new(&mut y, pixels, outputs)?, &requantize);
            match sparsely {
                true => sparse.run(x, 0..outputs, out),
                false => dense.run(x, 0..outputs, out),
            }
        }),
    })
}

fn floats(
    isa: Isa,
    weights: &[i8],
    (outputs, depth, pixels): (usize, usize, usize),
) -> Result<Layer, KernelError> {
    let weights: Vec<f32> = weights.iter().map(|&w| f32::from(w)).collect();
    let dense = DenseF32::pack(isa, &weights, outputs, depth, None)?;
    let sparse = SparseF32::pack(isa, &weights, outputs, depth, None)?;
    let (x, mut y) = (on_lines(1f32, pixels * depth), vec![0f32; pixels * outputs]);
    Ok(Layer {
        forms: [
            (What::DenseF32, dense.macs(), dense.bytes()),
            (What::SparseF32, sparse.slots(), sparse.bytes()),
        ],
        run: Box::new(move |sparsely| {
            let x = Rows::new(&x[x.as_ptr().align_offset(LINE)..], pixels, depth)?;
            let y = RowsMut::new(&mut y, pixels, outputs)?;
            match sparsely {
                true => sparse.run(x, 0..outputs, Clamp::RELU, y),
                false => dense.run(x, 0..outputs, Clamp::RELU, y),
            }
        }),
    })
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Elements, and room to begin on a cache line as they do in an arena.
fn on_lines<T: Copy>(value: T, len: usize) -> Vec<T> {
    vec![value; len + LINE / size_of::<T>()]
}

/// The best of runs of each form in turn, so that what disturbs one disturbs the other.
fn best_us(run: &mut impl FnMut(bool) -> Result<(), KernelError>) -> Result<[f64; 2], KernelError> {
    let mut best = [f64::MAX; 2];
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < 10 || (start.elapsed().as_millis() < 30 && rounds < 2000) {
        for (best, sparsely) in best.iter_mut().zip([false, true]) {
            let before = Instant::now();
            run(sparsely)?;
            *best = best.min(before.elapsed().as_secs_f64() * 1e6);
        }
        rounds += 1;
    }
    Ok(best)
}

/// Weights of which so many are not zero, irregularly.
fn weights(count: usize, density: f64) -> Vec<i8> {
    let mut state = 1u64;
    (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let random = (state >> 33) as u32;
            match f64::from(random % 10_000) < density * 10_000.0 {
                true => (random >> 16) as i8 | 1,
                false => 0,
            }
        })
        .collect()
}
