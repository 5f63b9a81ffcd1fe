//! The engine beside what EIE's own simulator gives (github.com/RalphMao/EIE-simulator, run) on one real layer,
//! and beside its figures on random layers of the paper's extents.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_accel::eie::{Columns, Eie, Run};
use secateur_data::{Values, read_npz};
use std::path::Path;

/// AlexNet's last layer: codes, codebook, inputs with the bias's 1, outputs.
struct Layer {
    rows: usize,
    columns: usize,
    codes: Vec<u8>,
    codebook: Vec<f32>,
    inputs: Vec<f32>,
    outputs: Vec<f32>,
}

fn layer() -> Option<Layer> {
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
    let codebook = floats("codebook");
    let mut inputs = floats("activation");
    inputs.push(1.0);
    let outputs = floats("output");
    let codes = arrays.remove("codes").unwrap();
    let Values::U8(values) = codes.values else {
        panic!("codes are no bytes");
    };
    Some(Layer {
        rows: codes.shape[0],
        columns: codes.shape[1],
        codes: values,
        codebook,
        inputs,
        outputs,
    })
}

impl Layer {
    fn run(&self, eie: Eie) -> (Columns, Run) {
        let code = |row: usize, column: usize| self.codes[row * self.columns + column].into();
        let matrix = Columns::new(&eie, self.rows, self.columns, code).unwrap();
        let run = eie.run(&matrix, &self.codebook, &self.inputs).unwrap();
        for element in &run.elements {
            assert_eq!(element.total(), run.cycles, "{eie:?}: {element:?}");
        }
        (matrix, run)
    }

    fn cycles(&self, eie: Eie) -> u64 {
        self.run(eie).1.cycles
    }
}

#[test]
fn a_real_layer_takes_the_cycles_of_the_original_simulator() {
    let Some(layer) = layer() else { return };
    let (matrix, run) = layer.run(Eie::default());
    assert_eq!((matrix.entries(), matrix.fillers()), (1_051_991, 0));
    assert_eq!(run.cycles, 7_926);
    assert_eq!(run.multiplies, 453_748);
    assert_eq!(run.nonzero_inputs, 1_759 + 1);
    assert_eq!((run.line_reads, run.pointer_reads), (100_900, 112_640));
    let work = run.elements.iter().map(|e| e.busy);
    assert_eq!((work.clone().min(), work.max()), (Some(6_460), Some(7_778)));
    assert!((run.least_cycles() - 7_089.8).abs() < 0.05);
    for (row, (found, expected)) in run.outputs.iter().zip(&layer.outputs).enumerate() {
        let error = (found - expected).abs();
        assert!(
            error <= 1e-4 * expected.abs().max(1.0),
            "row {row}: {found} for {expected}"
        );
    }
}

#[test]
fn queues_lines_and_elements_change_cycles_as_in_the_original_simulator() {
    let Some(layer) = layer() else { return };
    for (queue_slots, cycles) in [
        (2, 10_194),
        (4, 8_386),
        (8, 7_926),
        (16, 7_794),
        (64, 7_794),
    ] {
        let eie = Eie {
            queue_slots,
            ..Eie::default()
        };
        assert_eq!(layer.cycles(eie), cycles, "queue of {queue_slots}");
    }
    let reads = [
        (32, 158_921),
        (64, 100_900),
        (128, 60_396),
        (256, 32_551),
        (512, 16_468),
    ];
    for (line_bits, reads) in reads {
        let eie = Eie {
            line_bits,
            ..Eie::default()
        };
        let run = layer.run(eie).1;
        assert_eq!(
            (run.line_reads, run.cycles),
            (reads, 7_926),
            "{line_bits} bits"
        );
    }
    let elements = [
        (8, 58_446),
        (16, 30_001),
        (32, 15_162),
        (64, 7_926),
        (128, 4_392),
        (256, 2_689),
    ];
    for (elements, cycles) in elements {
        let eie = Eie {
            elements,
            ..Eie::default()
        };
        assert_eq!(layer.cycles(eie), cycles, "{elements} elements");
    }
}

/// Nine layers of the paper with uniform random zeros: microseconds at 800 MHz that the original simulator
/// gives on average and in fact.
#[test]
fn random_layers_of_the_paper_are_within_a_twentieth() {
    let layers = [
        ("Alex-6", 9216, 4096, 9, 35.1, 27.8, 28.8),
        ("Alex-7", 4096, 4096, 9, 35.3, 12.4, 12.8),
        ("Alex-8", 4096, 1000, 25, 37.5, 7.5, 8.2),
        ("VGG-6", 25088, 4096, 4, 18.3, 22.9, 24.9),
        ("VGG-7", 4096, 4096, 4, 37.5, 7.7, 8.3),
        ("VGG-8", 4096, 1000, 23, 41.1, 7.6, 8.3),
        ("NT-We", 4096, 600, 10, 100.0, 4.8, 7.6),
        ("NT-Wd", 600, 8791, 11, 100.0, 13.1, 13.3),
        ("NT-LSTM", 1201, 2400, 10, 100.0, 6.2, 6.6),
    ];
    let eie = Eie::default();
    for (name, inputs, outputs, weights, activations, least_us, us) in layers {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let codes: Vec<u8> = (0..inputs * outputs)
            .map(|_| u8::from(rng.random_range(0..100) < weights))
            .collect();
        let x: Vec<f32> = (0..inputs)
            .map(|_| f32::from(u8::from(rng.random_range(0.0..100.0) < activations)))
            .collect();
        let code = |row: usize, column: usize| codes[row * inputs + column].into();
        let matrix = Columns::new(&eie, outputs, inputs, code).unwrap();
        let run = eie.run(&matrix, &[0.0, 1.0], &x).unwrap();
        let found = [run.least_cycles() / 800.0, run.cycles as f64 / 800.0];
        println!(
            "{name}: {:.1} and {:.1} us, {least_us} and {us} expected",
            found[0], found[1]
        );
        for (found, expected) in found.into_iter().zip([least_us, us]) {
            assert!(
                (found / expected - 1.0).abs() < 0.05,
                "{name}: {found} for {expected}"
            );
        }
    }
}
