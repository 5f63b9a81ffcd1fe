//! An array that never spends a cycle on a weight that is zero.
//!
//! A *group* works on one output channel at a time: each cycle one of its weights, which all *lanes* multiply by
//! the inputs of their own pixels. What lies under the pixels of a tile, the *patch*, is filled into a buffer of
//! each group while the one before is worked off; as many channels at a time as it holds. Groups wait for each
//! other where a patch ends. Sums stay in the lanes until the tile is done, and are turned into codes while the
//! next is under way. A lane whose input is zero neither fetches nor multiplies: that saves energy, not time.

mod cycles;
mod layout;
mod patch;

pub use cycles::{Activity, GroupCycles, Run, Span};
pub use layout::{Block, Entry, Part, Schedule, Tiling, Visit, Work, patch_extent};
pub use patch::Tile;

use crate::{AccelError, Image, Memory};
use secateur_plan::IntegerLayer;
use serde::{Deserialize, Serialize};

/// The array's extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SparseArray {
    /// Groups, each with weights of its own.
    pub groups: usize,
    /// Cells of a group: pixels side by side.
    pub lanes: usize,
    /// Bytes of one of a group's two buffers for patches.
    pub patch_bytes: usize,
    /// Sums that a lane keeps: output channels of a group that are under way.
    pub sums_a_lane: usize,
    /// Bits beside each weight that say how many zeros lie before it; longer gaps take entries of their own.
    pub gap_bits: u32,
    /// Sums that a group turns into codes a cycle.
    pub requantized_a_cycle: usize,
    /// What takes no cycle.
    pub skips: Skips,
    /// Whether a lane whose input is zero neither fetches nor multiplies.
    #[serde(default = "yes")]
    pub gates_inputs: bool,
    /// Bits of a weight and of an activation: 8, or 16 for what the same codes would cost in wider cells.
    #[serde(default = "eight")]
    pub operand_bits: u32,
    /// Banks of a patch buffer that holds patches row by row, an element a cycle each: lanes that meet in one wait for each
    /// other. With 0 lanes never meet: rows are turned by as much as a tile is wide, steps lie side by side.
    #[serde(default)]
    pub patch_banks: usize,
}

fn yes() -> bool {
    true
}

fn eight() -> u32 {
    8
}

/// What takes no cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skips {
    /// Nothing: every weight is multiplied, as in a dense array.
    Nothing,
    /// Weights that are zero.
    Weights,
    /// Those, and weights whose inputs are zero under all pixels of the tile.
    WeightsAndVectors,
}

impl SparseArray {
    /// What it does for a layer, in order.
    ///
    /// # Errors
    /// An array that cannot be built; a patch or weights that no tiling fits into the memories.
    pub fn schedule(
        &self,
        layer: &IntegerLayer<'_>,
        image: &Image,
        memory: &Memory,
    ) -> Result<Schedule, AccelError> {
        self.check()?;
        Schedule::new(self, layer, image, memory.weight_bytes)
    }

    /// Bits of a weight as the array holds it.
    pub(crate) fn entry_bits(&self) -> usize {
        match self.skips {
            Skips::Nothing => self.operand_bits as usize,
            Skips::Weights | Skips::WeightsAndVectors => {
                (self.operand_bits + self.gap_bits) as usize
            }
        }
    }

    /// Multiply-accumulates that take energy.
    pub(crate) fn multiplies(&self, activity: &Activity) -> u64 {
        match self.gates_inputs {
            true => activity.done,
            false => activity.in_cells(),
        }
    }

    /// Bytes of a weight and of an activation.
    pub(crate) fn operand_bytes(&self) -> u64 {
        u64::from(self.operand_bits / 8)
    }

    /// Whether it can be built.
    pub(crate) fn check(&self) -> Result<(), AccelError> {
        let settings = [
            ("groups", self.groups, 1..=1024),
            ("lanes", self.lanes, 1..=64),
            ("patch_bytes", self.patch_bytes, 1..=1 << 30),
            ("sums_a_lane", self.sums_a_lane, 1..=1 << 20),
            ("gap_bits", self.gap_bits as usize, 1..=24),
            ("requantized_a_cycle", self.requantized_a_cycle, 1..=4096),
            ("patch_banks", self.patch_banks, 0..=4096),
        ];
        for (setting, found, may) in settings {
            AccelError::within(setting, found, may)?;
        }
        match self.operand_bits {
            8 | 16 => Ok(()),
            found => Err(AccelError::Machine {
                setting: "operand_bits",
                needed: "8 or 16".into(),
                found: found.to_string(),
            }),
        }
    }
}
