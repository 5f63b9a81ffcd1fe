//! Dense arrays that multiply a block of a layer each cycle: so many input channels by so many outputs for so many
//! pixels, as NVDLA, Arm's engine, tensor cores and the vector units of processors do. No zero takes less time, but for
//! a pattern that the array is built for.

use crate::energy::Moved;
use crate::{AccelError, Image};
use secateur_plan::IntegerLayer;
use serde::{Deserialize, Serialize};

/// The array's extents: their product is its cells.
///
/// ```
/// # use secateur_accel::spatial::{Shape, Spatial};
/// let nvdla = Spatial { channels: 64, outputs: 32, pixels: 1, taps_beside_channels: true, skips_two_of_four: false };
/// let layer = Shape { pixels: 100, taps: [3, 3], channels: 128, outputs: 64, groups: 1 };
/// assert_eq!(nvdla.cycles(&layer, false), 100 * 9 * 2 * 2);
/// // Three channels alone would leave 61 of 64 idle: the taps of a row lie beside them.
/// let first = Shape { pixels: 100, taps: [7, 7], channels: 3, outputs: 64, groups: 1 };
/// assert_eq!(nvdla.cycles(&first, false), 100 * 7 * 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spatial {
    /// Input channels whose products are summed in a cycle.
    pub channels: usize,
    /// Output channels side by side.
    pub outputs: usize,
    /// Output pixels side by side.
    pub pixels: usize,
    /// Whether a layer with fewer input channels fills up with the taps of a row of its kernel.
    #[serde(default)]
    pub taps_beside_channels: bool,
    /// Whether weights of which two of every four along the input channels are zero take half the time.
    #[serde(default)]
    pub skips_two_of_four: bool,
}

/// A layer by its extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Output pixels of all images.
    pub pixels: usize,
    /// Height and width of the kernel.
    pub taps: [usize; 2],
    /// Input channels of a group.
    pub channels: usize,
    /// Outputs of a group.
    pub outputs: usize,
    /// Groups.
    pub groups: usize,
}

impl Shape {
    /// That of a layer on an image.
    pub fn of(layer: &IntegerLayer<'_>, image: &Image) -> Self {
        let groups = layer.groups.max(1);
        Self {
            pixels: image.batch * image.pixels(),
            taps: image.window.kernel,
            channels: image.window.channels / groups,
            outputs: layer.weights.rows() / groups,
            groups,
        }
    }

    /// Multiply-accumulates.
    pub fn macs(&self) -> u64 {
        let of_output = self.taps[0] * self.taps[1] * self.channels;
        (self.pixels * self.groups * self.outputs) as u64 * of_output as u64
    }
}

impl Spatial {
    /// Cells.
    pub fn cells(&self) -> usize {
        self.channels * self.outputs * self.pixels
    }

    /// Whether it can be built.
    pub(crate) fn check(&self) -> Result<(), AccelError> {
        AccelError::within("channels", self.channels, 1..=1 << 12)?;
        AccelError::within("outputs", self.outputs, 1..=1 << 12)?;
        AccelError::within("pixels", self.pixels, 1..=1 << 12)
    }

    /// Cycles of a layer that never waits for memory; `two_of_four`: its weights have that pattern.
    pub fn cycles(&self, layer: &Shape, two_of_four: bool) -> u64 {
        let steps = layer.groups * layer.outputs.div_ceil(self.outputs);
        let steps = (steps * layer.pixels.div_ceil(self.pixels)) as u64;
        steps * self.depth_steps(layer, two_of_four) as u64
    }

    /// Cycles of a block of outputs and pixels.
    fn depth_steps(&self, layer: &Shape, two_of_four: bool) -> usize {
        let [rows, columns] = layer.taps;
        let at_once = match self.skips_two_of_four && two_of_four {
            true => 2 * self.channels,
            false => self.channels,
        };
        match self.taps_beside_channels && layer.channels < at_once {
            true => rows * (columns * layer.channels).div_ceil(at_once),
            false => rows * columns * layer.channels.div_ceil(at_once),
        }
    }

    /// What a layer moves within the chip: inputs are fetched once for each block of outputs, weights once for a row of
    /// output pixels, which is what the array keeps sums of.
    pub fn moved(&self, layer: &Shape, row_pixels: usize) -> Moved {
        let reused = layer.outputs.clamp(1, self.outputs) as u64;
        let held = row_pixels.max(self.pixels).min(layer.pixels).max(1) as u64;
        Moved {
            activations_read_bytes: layer.macs() / reused,
            activations_written_bytes: (layer.pixels * layer.groups * layer.outputs) as u64,
            weights_read_bytes: layer.macs() / held,
            ..Moved::default()
        }
    }
}

/// Whether of every four weights along the input channels of a tap at most two are not zero.
pub fn is_two_of_four(layer: &IntegerLayer<'_>, channels: usize) -> bool {
    let channels = channels.max(1);
    (0..layer.weights.rows()).all(|o| {
        let (columns, _) = layer.weights.row(o);
        let fours = columns.iter().map(|&k| {
            let (tap, channel) = (k as usize / channels, k as usize % channels);
            (tap, channel / 4)
        });
        let fours: Vec<(usize, usize)> = fours.collect();
        fours.windows(3).all(|w| w[0] != w[2])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRAY: Spatial = Spatial {
        channels: 16,
        outputs: 8,
        pixels: 4,
        taps_beside_channels: false,
        skips_two_of_four: true,
    };

    #[test]
    fn what_does_not_fill_the_array_takes_as_long_as_what_does() {
        let layer = |channels, outputs, pixels| Shape {
            pixels,
            taps: [3, 3],
            channels,
            outputs,
            groups: 1,
        };
        assert_eq!(ARRAY.cycles(&layer(16, 8, 4), false), 9);
        assert_eq!(ARRAY.cycles(&layer(1, 1, 1), false), 9);
        assert_eq!(ARRAY.cycles(&layer(17, 9, 5), false), 72);
        let full = layer(64, 32, 400);
        assert_eq!(
            ARRAY.cycles(&full, false) * ARRAY.cells() as u64,
            full.macs()
        );
        assert_eq!(2 * ARRAY.cycles(&full, true), ARRAY.cycles(&full, false));
    }

    #[test]
    fn groups_share_no_cells() {
        let depthwise = Shape {
            pixels: 4,
            taps: [3, 3],
            channels: 1,
            outputs: 1,
            groups: 32,
        };
        assert_eq!(ARRAY.cycles(&depthwise, false), 32 * 9);
    }
}
