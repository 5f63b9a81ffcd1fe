//! Dense systolic arrays (SCALE-Sim; Samajdar et al., ISPASS 2020): no zero is skipped, and cycles follow
//! from the extents alone.

use crate::AccelError;
use crate::energy::Moved;
use serde::{Deserialize, Serialize};

/// A grid of multiply-accumulate cells that pass operands on to their neighbours.
///
/// ```
/// # use secateur_accel::systolic::{Dataflow, Product, Systolic};
/// let array = Systolic { rows: 32, columns: 32, dataflow: Dataflow::OutputStationary };
/// let layer = Product { pixels: 100, depth: 64, outputs: 32 };
/// assert_eq!(array.cycles(&layer).total(), (32 + 32 + 64 - 2) * 4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Systolic {
    /// Cells from top to bottom.
    pub rows: usize,
    /// Cells from left to right.
    pub columns: usize,
    /// What stays in a cell.
    pub dataflow: Dataflow,
}

/// What stays in a cell while the rest moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dataflow {
    /// A sum: pixels enter from the left, outputs' weights from above.
    OutputStationary,
    /// A weight: depth lies along the rows, outputs along the columns, and sums leave below.
    WeightStationary,
}

/// A layer as a matrix product: `[pixels, depth] × [depth, outputs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// Output pixels, or rows of a batch.
    pub pixels: usize,
    /// Products of a sum.
    pub depth: usize,
    /// Output channels.
    pub outputs: usize,
}

impl Product {
    /// A convolution without padding of a square kernel: `[channels, extent, extent] -> outputs`.
    pub fn conv(
        extent: [usize; 2],
        channels: usize,
        kernel: usize,
        outputs: usize,
        stride: usize,
    ) -> Self {
        let along = |extent: usize| (extent + stride).saturating_sub(kernel).div_ceil(stride);
        Self {
            pixels: along(extent[0]) * along(extent[1]),
            depth: kernel * kernel * channels,
            outputs,
        }
    }

    /// Multiply-accumulates.
    pub fn macs(&self) -> u64 {
        self.pixels as u64 * self.depth as u64 * self.outputs as u64
    }
}

/// Where the cycles of a layer go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Cycles {
    /// Weights go to their cells before the first product.
    pub load: u64,
    /// Operands are on their way in, or sums on their way out, and not every cell multiplies.
    pub skew: u64,
    /// Operands enter.
    pub stream: u64,
}

impl Cycles {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.load + self.skew + self.stream
    }

    /// So many times these.
    pub fn times(&self, n: u64) -> Self {
        Self {
            load: self.load * n,
            skew: self.skew * n,
            stream: self.stream * n,
        }
    }
}

impl Systolic {
    /// Whether it can be built.
    pub(crate) fn check(&self) -> Result<(), AccelError> {
        AccelError::within("rows", self.rows, 1..=1 << 12)?;
        AccelError::within("columns", self.columns, 1..=1 << 12)
    }

    /// Cycles of a layer that never waits for memory: folds one behind the other, each filled and drained,
    /// and a fold that fills only part of the cells takes as long as a whole one.
    pub fn cycles(&self, layer: &Product) -> Cycles {
        let (rows, columns) = (self.rows, self.columns);
        let of_columns = layer.outputs.div_ceil(columns) as u64;
        let (folds, load, stream) = match self.dataflow {
            Dataflow::OutputStationary => (layer.pixels.div_ceil(rows) as u64, 0, layer.depth),
            Dataflow::WeightStationary => (layer.depth.div_ceil(rows) as u64, rows, layer.pixels),
        };
        let folds = folds * of_columns;
        Cycles {
            load: load as u64 * folds,
            skew: (rows + columns - 2) as u64 * folds,
            stream: stream as u64 * folds,
        }
    }

    /// What a layer moves within the chip: each fold fetches its operands anew.
    pub fn moved(&self, layer: &Product) -> Moved {
        let (pixels, depth, outputs) = (
            layer.pixels as u64,
            layer.depth as u64,
            layer.outputs as u64,
        );
        let of_columns = layer.outputs.div_ceil(self.columns) as u64;
        let of_rows = layer.pixels.div_ceil(self.rows) as u64;
        let of_depth = layer.depth.div_ceil(self.rows) as u64;
        let (weights, sums) = match self.dataflow {
            Dataflow::OutputStationary => (depth * outputs * of_rows, 0),
            // Sums of 4 bytes go out and come in again between folds along the depth.
            Dataflow::WeightStationary => (depth * outputs, 4 * of_depth.saturating_sub(1)),
        };
        Moved {
            activations_read_bytes: pixels * depth * of_columns + pixels * outputs * sums,
            activations_written_bytes: pixels * outputs * (1 + sums),
            weights_read_bytes: weights,
            ..Moved::default()
        }
    }

    /// Multiplies done over those that all cells could have done.
    pub fn utilisation(&self, layer: &Product) -> f64 {
        let cells = (self.rows * self.columns) as f64;
        layer.macs() as f64 / (cells * self.cycles(layer).total().max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The topologies that come with SCALE-Sim v2: extent, kernel, channels, outputs, stride.
    const ALEXNET: [[usize; 5]; 5] = [
        [224, 11, 3, 96, 4],
        [27, 5, 96, 256, 1],
        [13, 3, 256, 384, 1],
        [13, 3, 384, 384, 1],
        [13, 3, 384, 256, 1],
    ];

    fn layers() -> [Product; 5] {
        ALEXNET.map(|[extent, kernel, channels, outputs, stride]| {
            Product::conv([extent; 2], channels, kernel, outputs, stride)
        })
    }

    /// What SCALE-Sim v2 prints is one less than what its loop runs (its issue 125).
    fn printed(dataflow: Dataflow) -> [u64; 5] {
        let array = Systolic {
            rows: 32,
            columns: 32,
            dataflow,
        };
        layers().map(|layer| array.cycles(&layer).total() - 1)
    }

    #[test]
    fn alexnet_takes_the_cycles_of_scale_sim() {
        let output_stationary = [121_124, 334_831, 113_567, 168_863, 112_575];
        assert_eq!(printed(Dataflow::OutputStationary), output_stationary);
        let weight_stationary = [112_283, 373_799, 185_759, 278_639, 185_759];
        assert_eq!(printed(Dataflow::WeightStationary), weight_stationary);
    }

    #[test]
    fn no_cell_does_more_than_a_product_a_cycle() {
        for dataflow in [Dataflow::OutputStationary, Dataflow::WeightStationary] {
            for layer in layers() {
                let array = Systolic {
                    rows: 16,
                    columns: 8,
                    dataflow,
                };
                let share = array.utilisation(&layer);
                assert!(share > 0.0 && share < 1.0, "{layer:?}: {share}");
            }
        }
    }
}
