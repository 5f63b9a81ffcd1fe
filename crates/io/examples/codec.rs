//! Coders side by side: bytes, bits per non-zero, millions of positions a second.
//!
//! `cargo run --release -p secateur-io --example codec`

use std::time::{Duration, Instant};

use secateur_io::codec::{
    Alphabet, CodecError, Coder, Plane, Store, decode, encode, encode_smallest,
};

fn main() -> Result<(), CodecError> {
    let image = |r: usize, c: usize| {
        let (x, y) = ((c % 28) as f64 - 13.5, (c / 28) as f64 - 13.5);
        0.26 * (-(x * x + y * y) / 60.0).exp() * (0.2 + 1.6 * (r % 10) as f64 / 9.0)
    };
    report("300x784, 4 %, image columns", 300, 784, image)?;
    report("300x784, 4 %, i.i.d.", 300, 784, |_, _| 0.04)?;
    report("100x300, 6 %, i.i.d.", 100, 300, |_, _| 0.06)?;
    report("10x100, 25 %, i.i.d.", 10, 100, |_, _| 0.25)?;
    report("500x800, 1.5 %, i.i.d.", 500, 800, |_, _| 0.015)?;
    report("50x500, 8 %, i.i.d.", 50, 500, |_, _| 0.08)?;
    report("2048x1024, 10 %, i.i.d.", 2048, 1024, |_, _| 0.10)?;
    report("512x1024, dense", 512, 1024, |_, _| 2.0)
}

/// Prints a table for a plane of 5-bit values whose positions are non-zero with
/// probability `p`.
fn report(
    title: &str,
    rows: usize,
    cols: usize,
    p: impl Fn(usize, usize) -> f64,
) -> Result<(), CodecError> {
    let mut next = uniform(1);
    let mask: Vec<bool> = (0..rows * cols)
        .map(|i| next() < p(i / cols, i % cols))
        .collect();
    let symbols: Vec<i32> = mask
        .iter()
        .filter(|&&bit| bit)
        .map(|_| {
            let magnitude = (3.0 + 12.0 * next() * next()) as i32;
            if next() < 0.5 { -magnitude } else { magnitude }
        })
        .collect();
    let dense = symbols.len() == mask.len();
    let plane = Plane {
        rows,
        cols,
        mask: (!dense).then_some(mask.as_slice()),
        symbols: &symbols,
        alphabet: Alphabet::Signed { bits: 5 },
    };
    println!("\n{title}: {} non-zeros", symbols.len());
    println!("  coder      bytes  bits/nz  support   values  encode M/s  decode M/s");
    for coder in Coder::ALL {
        let encoded = encode(&plane, coder)?;
        let encoding = fastest(|| encode(&plane, coder).map(drop))?;
        let decoding = fastest(|| decode::<i16>(&encoded.bytes, &plane.layout()).map(drop))?;
        let per_symbol = |bits: u64| bits as f64 / symbols.len().max(1) as f64;
        let speed = |time: Duration| mask.len() as f64 / time.as_secs_f64() / 1e6;
        println!(
            "  {coder:<8} {:>7} {:>8.3} {:>8.3} {:>8.3} {:>11.1} {:>11.1}",
            encoded.bytes.len(),
            per_symbol(encoded.bytes.len() as u64 * 8),
            per_symbol(encoded.cost.support_bits),
            per_symbol(encoded.cost.value_bits),
            speed(encoding),
            speed(decoding),
        );
    }
    let small = encode_smallest(&plane, Store::Small)?.coder;
    let fast = encode_smallest(&plane, Store::Fast)?.coder;
    println!("  small: {small}, fast: {fast}");
    Ok(())
}

/// Shortest of a few runs.
fn fastest(mut run: impl FnMut() -> Result<(), CodecError>) -> Result<Duration, CodecError> {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

/// Deterministic uniform numbers in `0..1` (xorshift).
fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut x = seed | 1;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 11) as f64 / (1u64 << 53) as f64
    }
}
