//! Machines beside what is published of them.

#![allow(clippy::unwrap_used)] // helpers of tests

use secateur_accel::mapper::Extents;
use secateur_accel::spatial::{Shape, Spatial};
use secateur_accel::systolic::{Dataflow, Product, Systolic};
use secateur_accel::{Array, Machine};

/// A convolution of a square image: extent of the output, stride, kernel, input and output channels.
struct Conv {
    extent: usize,
    stride: usize,
    kernel: usize,
    channels: usize,
    outputs: usize,
    /// Whether what the block was given is added to what it gives.
    adds: bool,
}

impl Conv {
    fn shape(&self) -> Shape {
        Shape {
            pixels: self.extent * self.extent,
            taps: [self.kernel; 2],
            channels: self.channels,
            outputs: self.outputs,
            groups: 1,
        }
    }

    /// Its operands in bytes, weights in blocks of what the array takes at once.
    fn extents(&self, array: &Spatial) -> Extents {
        let input = self.extent * self.stride;
        let depth = self.kernel * self.kernel * self.channels;
        let blocks = self.outputs.div_ceil(array.outputs);
        let row = input * self.channels;
        Extents {
            blocks: vec![(depth * array.outputs.min(self.outputs)) as u64; blocks],
            inputs: (input * row) as u64,
            outputs: (self.extent * self.extent * self.outputs) as u64,
            rows: self.extent as u64,
            halo: (row * self.kernel.saturating_sub(self.stride)) as u64,
            held_blocks: 2,
            ..Extents::default()
        }
    }
}

/// ResNet-50 (He et al., 2016), strides in the 3x3 convolutions, and its last layer as one of a single pixel.
fn resnet_50() -> Vec<Conv> {
    let conv = |extent, stride, kernel, channels, outputs| Conv {
        extent,
        stride,
        kernel,
        channels,
        outputs,
        adds: false,
    };
    let mut layers = vec![conv(112, 2, 7, 3, 64)];
    let mut channels = 64;
    for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
        let (width, extent) = (64 << stage, 56 >> stage);
        for block in 0..blocks {
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            layers.push(conv(extent * stride, 1, 1, channels, width));
            layers.push(conv(extent, stride, 3, width, width));
            layers.push(Conv {
                adds: true,
                ..conv(extent, 1, 1, width, 4 * width)
            });
            if block == 0 {
                layers.push(conv(extent, stride, 1, channels, 4 * width));
            }
            channels = 4 * width;
        }
    }
    layers.push(conv(1, 1, 1, 2048, 1000));
    layers
}

/// ResNet-18 as its topology comes with SCALE-Sim: the padding is in the extents there.
const RESNET_18: [[usize; 5]; 21] = [
    [224, 7, 3, 64, 2],
    [56, 3, 64, 64, 1],
    [56, 3, 64, 64, 1],
    [56, 3, 64, 64, 1],
    [56, 3, 64, 64, 1],
    [56, 3, 64, 128, 2],
    [28, 3, 128, 128, 1],
    [56, 1, 64, 128, 2],
    [28, 3, 128, 128, 1],
    [28, 3, 128, 128, 1],
    [28, 3, 128, 256, 2],
    [14, 3, 256, 256, 1],
    [28, 1, 128, 256, 2],
    [14, 3, 256, 256, 1],
    [14, 3, 256, 256, 1],
    [14, 3, 256, 512, 2],
    [7, 3, 512, 512, 1],
    [14, 1, 256, 512, 2],
    [7, 3, 512, 512, 1],
    [7, 3, 512, 512, 1],
    [1, 1, 512, 1000, 1],
];

/// NVDLA's primer: a layer takes what the longest of its multiplies and its bytes takes, a network the sum. No bytes
/// stay on the chip between layers.
fn frames_a_second(machine: &Machine) -> f64 {
    let (Array::Spatial(array), Some(memory)) = (&machine.array, &machine.memory) else {
        return 0.0;
    };
    let both = (memory.activation_bytes + memory.weight_bytes) as u64;
    let of_bytes = |bytes: u64| bytes as f64 / memory.dram_bytes_a_cycle;
    let of_layers: f64 = resnet_50()
        .iter()
        .map(|layer| {
            let (extents, mapping) = layer.extents(array).part(both).unwrap();
            let addend = if layer.adds { extents.outputs } else { 0 };
            let inputs = mapping.inputs(&extents) + addend;
            let bytes = mapping.weights(&extents) + inputs + extents.outputs;
            of_bytes(bytes).max(array.cycles(&layer.shape(), false) as f64)
        })
        .sum();
    // The largest of each 3x3.
    let cycles = of_layers + of_bytes(64 * (112 * 112 + 56 * 56));
    machine.clock_mhz * 1e6 / cycles
}

#[test]
fn nvdla_runs_resnet_50_as_often_a_second_as_published() {
    println!("MACs  published  here");
    let mut far = Vec::new();
    for (macs, published) in [
        (64, 7.3),
        (256, 46.0),
        (512, 93.0),
        (1024, 153.0),
        (2048, 269.0),
    ] {
        let machine = Machine::builtin(&format!("nvdla-{macs}")).unwrap();
        assert_eq!(machine.cells(), macs);
        let here = frames_a_second(&machine);
        println!("{macs:4}  {published:9.1}  {here:.1}");
        if (here / published - 1.0).abs() > 0.25 {
            far.push(macs);
        }
    }
    assert_eq!(far, [0; 0], "more than a quarter away");
}

#[test]
fn peaks_are_those_published() {
    println!("machine            published  here, TOPS");
    for (name, published) in [
        ("arm-ml", 4.096),
        ("xdnn-28x32", 1.792),
        ("xdnn-56x32", 3.584),
        ("a100-2to4-tile", 624.0 / 108.0),
        ("eie-64", 0.102),
    ] {
        let here = Machine::builtin(name).unwrap().peak_tops();
        println!("{name:18} {published:9.3}  {here:.3}");
        assert!((here / published - 1.0).abs() < 0.01, "{name}: {here}");
    }
}

#[test]
fn resnet_18_takes_the_cycles_of_scale_sim() {
    let array = Systolic {
        rows: 32,
        columns: 32,
        dataflow: Dataflow::OutputStationary,
    };
    let cycles = RESNET_18.map(|[extent, kernel, channels, outputs, stride]| {
        array
            .cycles(&Product::conv(
                [extent; 2],
                channels,
                kernel,
                outputs,
                stride,
            ))
            .total()
            - 1
    });
    assert_eq!(cycles.iter().sum::<u64>(), 1_718_353);
}
