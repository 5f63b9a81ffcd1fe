//! The requantizer beside the definition of requantization.

#![allow(clippy::unwrap_used)] // helpers of tests

mod support;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_model::quant::requantize;
use secateur_rtl::Host;
use support::host;

/// A zero point and bounds.
type Layer = (i32, i32, i32);

const LAYERS: [Layer; 5] = [
    (0, -128, 127),
    (128, 0, 255),
    (0, 0, 127),
    (-5, -5, 100),
    (255, 0, 255),
];

fn agrees(host: &mut Host, sum: i32, factor: f32, layer: Layer) {
    let (zero_point, lo, hi) = layer;
    host.write(0, sum as u64);
    host.write(1, factor.to_bits().into());
    host.clock(4);
    let found = host.read(0) as i64;
    let expected = requantize(sum, factor, zero_point, lo, hi);
    assert_eq!(
        found,
        i64::from(expected),
        "{sum} times {factor:e} ({:#x}), {layer:?}",
        factor.to_bits()
    );
}

fn enter(host: &mut Host, (zero_point, lo, hi): Layer) {
    for (at, value) in [(2, zero_point), (3, lo), (4, hi)] {
        host.write(at, value as u64);
    }
}

#[test]
fn any_sum_by_any_factor() {
    let Some(mut host) = host("requantizer") else {
        return;
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for layer in LAYERS {
        enter(&mut host, layer);
        for _ in 0..40_000 {
            // As many small sums as large ones, and factors that bring them among the codes, or near.
            let sum = (rng.random::<u64>() as i32) >> rng.random_range(0..31);
            let codes = rng.random_range(-300.0..300.0f32);
            let factor = codes / sum as f32;
            agrees(&mut host, sum, factor, layer);
            agrees(
                &mut host,
                sum,
                f32::from_bits(rng.random::<u64>() as u32),
                layer,
            );
        }
    }
}

#[test]
fn ties_of_every_rounding() {
    let Some(mut host) = host("requantizer") else {
        return;
    };
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for layer in LAYERS {
        enter(&mut host, layer);
        for _ in 0..20_000 {
            // Sums halfway between two f32, and beside them.
            let shift = rng.random_range(1..8);
            let mantissa = rng.random_range(1 << 23..1 << 24);
            let half = (mantissa << shift) + (1 << (shift - 1)) + rng.random_range(-1..=1);
            let sum = (half as u32).min(1 << 31).wrapping_neg() as i32;
            let codes = rng.random_range(-300..300) as f32 + 0.5;
            agrees(&mut host, sum, codes / sum as f32, layer);
            // Products halfway between two integers.
            let sum = rng.random_range(-1000..1000);
            agrees(&mut host, sum, (2f32).powi(-rng.random_range(0..12)), layer);
            agrees(
                &mut host,
                sum,
                1.5 * (2f32).powi(-rng.random_range(0..12)),
                layer,
            );
            // Products halfway between two f32: odd times odd, of 25 bits, and their neighbours.
            let sum = rng.random_range(1 << 11..1 << 12) | 1;
            let factor = (rng.random_range(1 << 12..1 << 13) | 1) as f32;
            agrees(&mut host, sum, factor * (2f32).powi(-17), layer);
        }
    }
}

#[test]
fn edges() {
    let Some(mut host) = host("requantizer") else {
        return;
    };
    let sums = [
        0,
        1,
        -1,
        2,
        -2,
        3,
        255,
        -256,
        8_388_607,
        16_777_215,
        16_777_216,
        16_777_217,
        16_777_219,
        33_554_431,
        i32::MAX,
        i32::MAX - 63,
        i32::MAX - 64,
        i32::MAX - 65,
        i32::MIN,
        i32::MIN + 1,
        i32::MIN + 64,
    ];
    let factors = [
        0.0,
        -0.0,
        0.5,
        -0.5,
        1.0,
        1.5,
        0.25,
        1e-3,
        1e30,
        -1e30,
        f32::MAX,
        f32::MIN_POSITIVE,
        1e-40,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::EPSILON,
        1.0 + f32::EPSILON,
        1.0 - f32::EPSILON / 2.0,
        4.656_613e-10,
    ];
    for layer in LAYERS {
        enter(&mut host, layer);
        for sum in sums {
            for factor in factors {
                agrees(&mut host, sum, factor, layer);
            }
        }
    }
}
