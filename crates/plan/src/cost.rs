//! What kernels cost on a machine, and what a layer will take there.

use crate::PlanError;
use secateur_kernels::{Isa, Kernel, What};
use serde::{Deserialize, Serialize};

/// What the kernels of one instruction set cost: the machine's own figures once measured, or
/// [`Costs::typical`].
///
/// A kernel works through *tiles* of pixels; the time of a tile is the multiplies that its packed
/// weights ask of every pixel, zeros and unused slots included, and the finishing of its outputs.
/// A layer is no faster than its weights come from the level of memory that holds those of the
/// whole network.
///
/// ```
/// use secateur_kernels::{Isa, What};
/// use secateur_plan::{Costs, Load};
/// let costs = Costs::typical(Isa::best());
/// let load = Load { multiplies: 1 << 20, outputs: 256, pixels: 196, weight_bytes: 1 << 20, moved_bytes: 0 };
/// let alone = costs.predicted_us(What::DenseI8, Load { pixels: 1, ..load });
/// assert!(costs.predicted_us(What::DenseI8, load) > 10.0 * alone);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Whether they were measured on this machine.
    pub measured: bool,
    /// One for each of [`What::ALL`].
    kernels: [KernelCost; What::ALL.len()],
    /// From the smallest to the largest.
    memory: Vec<Level>,
    /// Waking a thread and waiting for it, in microseconds.
    pub fork_us: f64,
}

/// What one kernel costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelCost {
    /// By pixels, ascending; the last is a whole tile.
    pub tiles: Vec<TileCost>,
}

/// What a tile of so many pixels costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TileCost {
    /// Pixels of the tile.
    pub pixels: usize,
    /// Nanoseconds for one multiply of every pixel.
    pub multiply_ns: f64,
    /// Nanoseconds for finishing one output of every pixel.
    pub output_ns: f64,
}

/// How fast a working set of a size is read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Bytes of the working set.
    pub bytes: usize,
    /// Bytes a nanosecond, which are GB/s.
    pub gb_per_s: f64,
}

/// What a layer asks of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Multiplies a pixel, zeros and unused slots that the packed form holds included.
    pub multiplies: usize,
    /// Outputs a pixel.
    pub outputs: usize,
    /// Pixels.
    pub pixels: usize,
    /// Bytes of packed weights.
    pub weight_bytes: usize,
    /// Bytes read and written beside them.
    pub moved_bytes: u64,
}

impl Costs {
    /// Costs from measured figures: of each kernel in the order of [`What::ALL`], and of memory.
    ///
    /// # Errors
    /// [`PlanError::Costs`] where a figure is no positive number, a kernel has no tile, or there is
    /// no level of memory.
    pub fn new(
        kernels: [KernelCost; What::ALL.len()],
        memory: Vec<Level>,
        fork_us: f64,
    ) -> Result<Self, PlanError> {
        let costs = Self {
            measured: true,
            kernels,
            memory,
            fork_us,
        };
        costs.check()?;
        Ok(costs)
    }

    /// The same, but for sparse forms, which are so dear that none is chosen: what a network takes
    /// where zeros are multiplied like anything else.
    #[must_use]
    pub fn without_sparse_forms(mut self) -> Self {
        const DEAR_NS: f64 = 1e9;
        for (kernel, what) in self.kernels.iter_mut().zip(What::ALL) {
            if matches!(what, What::SparseF32 | What::SparseI8) {
                for tile in &mut kernel.tiles {
                    (tile.multiply_ns, tile.output_ns) = (DEAR_NS, DEAR_NS);
                }
            }
        }
        self
    }

    /// Whether every figure is a positive number, as it may not be in a file.
    ///
    /// # Errors
    /// As [`Costs::new`].
    pub fn check(&self) -> Result<(), PlanError> {
        let wrong = |what: String| Err(PlanError::Costs { what });
        for (kernel, what) in self.kernels.iter().zip(What::ALL) {
            let prefix = what.prefix();
            if kernel.tiles.is_empty() || !kernel.tiles.is_sorted_by_key(|t| t.pixels) {
                return wrong(format!("{prefix}: needed tiles by ascending pixels"));
            }
            for tile in &kernel.tiles {
                let finite = tile.multiply_ns.is_finite() && tile.output_ns.is_finite();
                if tile.pixels == 0 || !finite || tile.multiply_ns <= 0.0 || tile.output_ns < 0.0 {
                    return wrong(format!("{prefix}: needed positive times, found {tile:?}"));
                }
            }
        }
        if self.memory.is_empty() || !self.memory.is_sorted_by_key(|l| l.bytes) {
            return wrong("memory: needed levels by ascending bytes".into());
        }
        let slow = |l: &&Level| !l.gb_per_s.is_finite() || l.gb_per_s <= 0.0;
        if let Some(level) = self.memory.iter().find(slow) {
            return wrong(format!("memory: needed positive speeds, found {level:?}"));
        }
        if !self.fork_us.is_finite() || self.fork_us < 0.0 {
            return wrong(format!("threads: needed a time, found {}", self.fork_us));
        }
        Ok(())
    }

    /// Figures of one machine that has the instruction set (an Ice Lake server, as
    /// `secateur cpu --measure` gave them, rounded); of sets that were not measured (64-bit Arm,
    /// WebAssembly, AVX-VNNI) guesses from the work of an instruction.
    pub fn typical(isa: Isa) -> Self {
        // Picoseconds of a multiply of one pixel alone and in a whole tile: dense and sparse f32, dense
        // and sparse int8, depthwise f32 and int8.
        let picoseconds: [[f64; 2]; 6] = match isa {
            Isa::Generic => [
                [2600.0, 2800.0],
                [2900.0, 2900.0],
                [880.0, 920.0],
                [1200.0, 1200.0],
                [2200.0, 2200.0],
                [500.0, 500.0],
            ],
            Isa::Simd128 => [
                [300.0; 2],
                [800.0; 2],
                [120.0, 80.0],
                [300.0, 150.0],
                [400.0; 2],
                [400.0; 2],
            ],
            Isa::Neon => [
                [90.0, 60.0],
                [300.0, 180.0],
                [60.0, 40.0],
                [120.0, 80.0],
                [150.0; 2],
                [150.0; 2],
            ],
            Isa::NeonDot => [
                [90.0, 60.0],
                [300.0, 180.0],
                [30.0, 12.0],
                [60.0, 40.0],
                [150.0; 2],
                [150.0; 2],
            ],
            Isa::Avx2 => [
                [49.0, 24.0],
                [155.0, 48.0],
                [24.0, 17.0],
                [39.0, 21.0],
                [97.0, 97.0],
                [36.0, 36.0],
            ],
            Isa::AvxVnni => [
                [49.0, 24.0],
                [155.0, 48.0],
                [14.0, 8.0],
                [35.0, 18.0],
                [97.0, 97.0],
                [36.0, 36.0],
            ],
            Isa::Avx512BwVnni => [
                [35.0, 14.0],
                [88.0, 30.0],
                [7.5, 3.8],
                [18.0, 8.2],
                [75.0, 75.0],
                [20.0, 20.0],
            ],
            Isa::Avx512Vnni => [
                [35.0, 14.0],
                [88.0, 30.0],
                [7.5, 3.8],
                [23.0, 6.6],
                [75.0, 75.0],
                [20.0, 20.0],
            ],
        };
        let kernels = std::array::from_fn(|index| {
            let (what, [one, many]) = (What::ALL[index], picoseconds[index]);
            let nr = Kernel::of(isa, what).map_or(1, |kernel| kernel.nr);
            let tile = |pixels: usize, picoseconds: f64| TileCost {
                pixels,
                multiply_ns: picoseconds * pixels as f64 / 1e3,
                output_ns: 0.3 * pixels as f64,
            };
            let mut tiles = vec![tile(1, one), tile(nr, many)];
            tiles.dedup_by_key(|t| t.pixels);
            KernelCost { tiles }
        });
        let level = |bytes, gb_per_s| Level { bytes, gb_per_s };
        Self {
            measured: false,
            kernels,
            memory: vec![
                level(256 << 10, 53.0),
                level(4 << 20, 15.0),
                level(64 << 20, 8.5),
            ],
            fork_us: 40.0,
        }
    }

    /// What a kernel costs.
    pub fn kernel(&self, what: What) -> &KernelCost {
        let index = What::ALL
            .iter()
            .position(|w| *w == what)
            .unwrap_or_default();
        &self.kernels[index]
    }

    /// How fast memory is read, from the smallest working set to the largest.
    pub fn memory(&self) -> &[Level] {
        &self.memory
    }

    /// Most multiplies a nanosecond, which are GMAC/s, of a kernel.
    pub fn peak_gmacs(&self, what: What) -> f64 {
        let rate = |t: &TileCost| t.pixels as f64 / t.multiply_ns;
        self.kernel(what).tiles.iter().map(rate).fold(0.0, f64::max)
    }

    /// Bytes a nanosecond at which a working set is read, between the measured sizes by the
    /// logarithm of the size.
    pub fn gb_per_s(&self, working_set: usize) -> f64 {
        let above = self.memory.partition_point(|l| l.bytes <= working_set);
        match (
            above.checked_sub(1).map(|at| self.memory[at]),
            self.memory.get(above),
        ) {
            (Some(a), Some(b)) => {
                let at = |bytes: usize| (bytes.max(1) as f64).ln();
                let share = (at(working_set) - at(a.bytes)) / (at(b.bytes) - at(a.bytes));
                a.gb_per_s + share * (b.gb_per_s - a.gb_per_s)
            }
            (Some(end), None) => end.gb_per_s,
            (None, end) => end.map_or(1.0, |l| l.gb_per_s),
        }
    }

    /// Microseconds of a layer on one thread, its weights in the caches.
    pub fn predicted_us(&self, what: What, load: Load) -> f64 {
        self.kernel(what).ns(load) / 1e3
    }

    /// As [`Costs::predicted_us`], as one layer of a network that reads `network_bytes` of weights
    /// a run.
    pub fn streamed_us(&self, what: What, load: Load, network_bytes: usize) -> f64 {
        let streaming = load.weight_bytes as f64 / self.gb_per_s(network_bytes) / 1e3;
        self.predicted_us(what, load).max(streaming) + self.moved_us(load.moved_bytes)
    }

    /// Microseconds in which bytes of activations are moved.
    pub fn moved_us(&self, bytes: u64) -> f64 {
        bytes as f64 / self.memory.first().map_or(1.0, |l| l.gb_per_s) / 1e3
    }
}

impl KernelCost {
    /// Nanoseconds of a layer.
    fn ns(&self, load: Load) -> f64 {
        let Some(whole) = self.tiles.last() else {
            return 0.0;
        };
        let of = |tile: TileCost| {
            tile.multiply_ns * load.multiplies as f64 + tile.output_ns * load.outputs as f64
        };
        let tiles = (load.pixels / whole.pixels) as f64;
        tiles * of(*whole) + self.tile(load.pixels % whole.pixels).map_or(0.0, of)
    }

    /// A tile of so many pixels, between those that are known by their number.
    fn tile(&self, pixels: usize) -> Option<TileCost> {
        let above = self.tiles.partition_point(|t| t.pixels < pixels);
        let b = *self.tiles.get(above).filter(|_| pixels > 0)?;
        let Some(a) = above.checked_sub(1).map(|at| self.tiles[at]) else {
            return Some(b);
        };
        let share = (pixels - a.pixels) as f64 / (b.pixels - a.pixels) as f64;
        Some(TileCost {
            pixels,
            multiply_ns: a.multiply_ns + share * (b.multiply_ns - a.multiply_ns),
            output_ns: a.output_ns + share * (b.output_ns - a.output_ns),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs() -> Costs {
        let tile = |pixels, multiply_ns| TileCost {
            pixels,
            multiply_ns,
            output_ns: 1.0,
        };
        let kernel = KernelCost {
            tiles: vec![tile(1, 2.0), tile(4, 5.0)],
        };
        let kernels = [(); What::ALL.len()].map(|()| kernel.clone());
        let level = |bytes, gb_per_s| Level { bytes, gb_per_s };
        Costs::new(kernels, vec![level(1 << 10, 8.0), level(1 << 20, 2.0)], 1.0).unwrap()
    }

    const LOAD: Load = Load {
        multiplies: 100,
        outputs: 10,
        pixels: 4,
        weight_bytes: 0,
        moved_bytes: 0,
    };

    #[test]
    fn tiles_add_up_and_the_rest_lies_between() {
        let us = |pixels| costs().predicted_us(What::DenseI8, Load { pixels, ..LOAD });
        assert_eq!(us(1), 0.210);
        assert_eq!(us(2), 0.310);
        assert_eq!(us(4), 0.510);
        assert_eq!(us(9), 2.0 * 0.510 + 0.210);
        assert_eq!(us(0), 0.0);
        assert_eq!(costs().peak_gmacs(What::DenseI8), 0.8);
    }

    #[test]
    fn weights_come_no_faster_than_memory_gives_them() {
        let costs = costs();
        assert_eq!([costs.gb_per_s(1), costs.gb_per_s(1 << 30)], [8.0, 2.0]);
        assert!((costs.gb_per_s(1 << 15) - 5.0).abs() < 1e-9);
        let load = Load {
            weight_bytes: 4000,
            moved_bytes: 800,
            ..LOAD
        };
        let near = costs.streamed_us(What::DenseI8, load, 1 << 10);
        let far = costs.streamed_us(What::DenseI8, load, 1 << 20);
        assert!(
            (near - 0.61).abs() < 1e-9 && (far - 2.1).abs() < 1e-9,
            "{near} {far}"
        );
    }

    #[test]
    fn every_set_has_typical_costs_and_bad_ones_are_refused() {
        for isa in Isa::ALL {
            assert_eq!(Costs::typical(isa).check(), Ok(()));
        }
        let mut bad = costs();
        bad.kernels[0].tiles[0].multiply_ns = f64::NAN;
        assert!(
            bad.check()
                .unwrap_err()
                .to_string()
                .contains("f32f32f32_gemm")
        );
        let mut bad = costs();
        bad.memory.clear();
        assert!(bad.check().is_err());
    }
}
