//! EIE's engine beside its simulator, cycle by cycle, and beside integers, to the bit.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod support;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_accel::eie::{Columns, Eie};
use secateur_data::{Values, read_npz};
use secateur_rtl::{Host, eie};
use std::path::Path;
use support::host;

/// A matrix of codes, `[rows, columns]`, its codebook and inputs.
struct Product {
    rows: usize,
    codes: Vec<u8>,
    codebook: Vec<i16>,
    x: Vec<i16>,
}

impl Product {
    /// Runs it and says how many cycles it took: everything that both count must be equal.
    fn agrees(&self, host: &mut Host, eie: &Eie) -> u64 {
        let columns = self.x.len();
        let code = |row: usize, column: usize| self.codes[row * columns + column].into();
        let matrix = Columns::new(eie, self.rows, columns, code).unwrap();
        let codebook: Vec<f32> = self.codebook.iter().map(|&w| w.into()).collect();
        let x: Vec<f32> = self.x.iter().map(|&x| x.into()).collect();
        let expected = eie.run(&matrix, &codebook, &x).unwrap();
        let found = eie::run(host, eie, &matrix, &self.codebook, &self.x, 1 << 20).unwrap();
        let place = format!("{eie:?}, {} x {columns}", self.rows);
        assert_eq!(found.cycles, expected.cycles, "{place}");
        assert_eq!(found.elements, expected.elements, "{place}");
        assert_eq!(found.line_reads, expected.line_reads, "{place}");
        for (row, &sum) in found.outputs.iter().enumerate() {
            let weights = self.codes[row * columns..][..columns].iter();
            let products = weights.zip(&self.x).map(|(&code, &x)| {
                let weight = if code == 0 {
                    0
                } else {
                    self.codebook[usize::from(code)]
                };
                i64::from(weight) * i64::from(x)
            });
            assert_eq!(sum, products.sum::<i64>(), "{place}, row {row}");
        }
        found.cycles
    }
}

fn random(rng: &mut ChaCha8Rng, eie: &Eie, most: [usize; 2], x_bits: u32) -> Product {
    let [rows, columns] = most.map(|most| rng.random_range(1..=most));
    let weights: f64 = [0.03, 0.1, 0.4, 1.0][rng.random_range(0..4)];
    let inputs: f64 = [0.1, 0.4, 1.0][rng.random_range(0..3)];
    let of_codes = 1..1 << eie.code_bits;
    let codes = (0..rows * columns).map(|_| match rng.random_bool(weights) {
        true => rng.random_range(of_codes.clone()) as u8,
        false => 0,
    });
    let codes = codes.collect();
    // Weights of zero as well: they take their cycle.
    let codebook = (0..1 << eie.code_bits).map(|code| match code % 7 {
        3 => 0,
        _ => rng.random::<u64>() as i16,
    });
    let codebook = codebook.collect();
    let half = 1 << (x_bits - 1);
    let x = (0..columns).map(|_| match rng.random_bool(inputs) {
        true => rng.random_range(-half..half) as i16,
        false => 0,
    });
    let x = x.collect();
    Product {
        rows,
        codes,
        codebook,
        x,
    }
}

#[test]
fn random_products_take_the_simulators_cycles() {
    let small = Eie {
        elements: 4,
        queue_slots: 2,
        gap_bits: 2,
        code_bits: 6,
        line_bits: 32,
    };
    let sixteen = Eie {
        elements: 16,
        ..Eie::default()
    };
    for (name, eie, most, x_bits) in [
        ("eie_4", small, [128, 200], 8),
        ("eie_16", sixteen, [512, 512], 16),
    ] {
        let Some(mut host) = host(name) else { return };
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for _ in 0..60 {
            random(&mut rng, &eie, most, x_bits).agrees(&mut host, &eie);
        }
    }
}

/// AlexNet's last layer, its codebook in steps of a 16-bit integer, its inputs as well.
fn fc8() -> Option<Product> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/eie-fc8/fc8.npz");
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("SKIPPED: no shared/data/eie-fc8 beside the project");
        return None;
    };
    let mut arrays = read_npz(&bytes, "fc8.npz").unwrap();
    let mut floats = |name: &str| match arrays.remove(name).unwrap().values {
        Values::F32(values) => values,
        other => panic!("{name}: {other:?}"),
    };
    let integers = |values: Vec<f32>| {
        let largest = values.iter().fold(0f32, |most, v| most.max(v.abs()));
        // What is not zero stays so: cycles hang on it.
        let steps = values
            .iter()
            .map(|&v| match (v / largest * 32767.0).round() as i16 {
                0 if v != 0.0 => v.signum() as i16,
                step => step,
            });
        steps.collect::<Vec<i16>>()
    };
    let codebook = integers(floats("codebook"));
    let mut inputs = floats("activation");
    inputs.push(1.0);
    let codes = arrays.remove("codes").unwrap();
    let Values::U8(values) = codes.values else {
        panic!("codes are no bytes");
    };
    Some(Product {
        rows: codes.shape[0],
        codes: values,
        codebook,
        x: integers(inputs),
    })
}

#[test]
fn a_real_layer_takes_the_cycles_of_the_original_simulator() {
    let (Some(mut host), Some(layer)) = (host("eie_64"), fc8()) else {
        return;
    };
    assert_eq!(layer.agrees(&mut host, &Eie::default()), 7_926);
}
