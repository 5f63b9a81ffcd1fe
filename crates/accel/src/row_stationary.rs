//! Arrays whose cells each slide a row of a kernel over a row of an image, as Eyeriss does (Chen et al., ISCA 2016).

use crate::AccelError;
use crate::energy::Moved;
use crate::spatial::Shape;
use serde::{Deserialize, Serialize};

/// The array's extents.
///
/// ```
/// # use secateur_accel::{row_stationary::RowStationary, spatial::Shape};
/// let eyeriss = RowStationary { rows: 12, columns: 14 };
/// let layer = Shape { pixels: 14 * 14, taps: [3, 3], channels: 4, outputs: 8, groups: 1 };
/// // Four pairs of a channel and an output at a time, 14 rows of outputs side by side.
/// assert_eq!(eyeriss.cycles(&layer, [14, 14]), 8 * 3 * 14);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowStationary {
    /// Cells from top to bottom: rows of kernels.
    pub rows: usize,
    /// Cells from left to right: rows of outputs.
    pub columns: usize,
}

impl RowStationary {
    /// Whether it can be built.
    pub(crate) fn check(&self) -> Result<(), AccelError> {
        AccelError::within("rows", self.rows, 1..=1 << 12)?;
        AccelError::within("columns", self.columns, 1..=1 << 12)
    }

    /// Cycles of a layer that never waits for memory, of images of so many rows and columns of outputs: every cell multiplies
    /// a row of a kernel by a row of an input; kernels higher than the array are folded, lower ones stand above each
    /// other for several pairs of input channel and output.
    pub fn cycles(&self, layer: &Shape, output: [usize; 2]) -> u64 {
        let [height, width] = output.map(|extent| extent.max(1));
        let [taps, along] = layer.taps.map(|extent| extent.max(1));
        let folds = taps.div_ceil(self.rows);
        let above = (self.rows / taps).max(1);
        let beside = (self.columns / height).max(1);
        let passes = height.div_ceil(self.columns) * folds;
        let pairs = (layer.channels * layer.outputs).div_ceil(above * beside);
        let images = layer.pixels.div_ceil(height * width);
        let steps = (images * layer.groups * pairs * passes) as u64;
        steps * (along * width) as u64
    }

    /// What a layer moves within the chip, three bytes a multiply from and to the registers of its cell among it: a row of an input serves the cells on a diagonal, one of a kernel all columns,
    /// and sums go up through the rows of the kernel.
    pub fn moved(&self, layer: &Shape, output: [usize; 2]) -> Moved {
        let macs = layer.macs();
        let diagonal = layer.taps[0].clamp(1, self.rows) as u64;
        let columns = output[0].clamp(1, self.columns) as u64;
        let along = (layer.taps[1].max(1) * output[1].max(1)) as u64;
        let given = (layer.pixels * layer.groups * layer.outputs) as u64;
        // Sums of 4 bytes go out and come in again for each input channel.
        let sums = 4 * given * layer.channels.saturating_sub(1) as u64;
        Moved {
            activations_read_bytes: macs / (diagonal * layer.taps[1].max(1) as u64) + sums,
            activations_written_bytes: given + sums,
            weights_read_bytes: macs * layer.taps[1].max(1) as u64 / (columns * along),
            buffers_read_bytes: 3 * macs,
            ..Moved::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_multiplies_more_than_once_a_cycle() {
        let array = RowStationary {
            rows: 12,
            columns: 14,
        };
        for (taps, extent, channels) in
            [(1, 7, 64), (3, 13, 5), (5, 27, 48), (11, 55, 3), (15, 4, 2)]
        {
            let layer = Shape {
                pixels: extent * extent,
                taps: [taps; 2],
                channels,
                outputs: 10,
                groups: 2,
            };
            let cells = (array.rows * array.columns) as u64;
            let cycles = array.cycles(&layer, [extent; 2]);
            assert!(cycles * cells >= layer.macs(), "{layer:?}: {cycles}");
        }
    }
}
