//! Where the cycles of a step went, whatever machine ran it.

use super::{Kind, LayerCost};
use crate::sparse::GroupCycles;

/// What a cycle went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Cells multiply; of a systolic array, operands enter.
    Multiplying,
    /// An operator without weights.
    Vector,
    /// Entries that only carry a gap on.
    Gaps,
    /// Output channels, or columns, without weights.
    Empty,
    /// Waiting for the slowest.
    Imbalance,
    /// Waiting for a patch.
    Patches,
    /// Lanes wait for each other at a bank of their patch.
    Banks,
    /// Waiting for sums to become codes.
    Requantizing,
    /// Weights go to their cells.
    Loading,
    /// Operands are on their way in, or sums on their way out.
    Skew,
    /// Waiting for inputs that are not zero.
    Starved,
    /// Done, while others are not.
    Done,
    /// Waiting for memory beyond the chip.
    Dram,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Multiplying,
        Self::Vector,
        Self::Gaps,
        Self::Empty,
        Self::Imbalance,
        Self::Patches,
        Self::Banks,
        Self::Requantizing,
        Self::Loading,
        Self::Skew,
        Self::Starved,
        Self::Done,
        Self::Dram,
    ];

    /// In a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Self::Multiplying => "multiplies",
            Self::Vector => "vector unit",
            Self::Gaps => "gaps",
            Self::Empty => "empty outputs",
            Self::Imbalance => "imbalance",
            Self::Patches => "patches",
            Self::Banks => "banks",
            Self::Requantizing => "requantizing",
            Self::Loading => "loading weights",
            Self::Skew => "skew",
            Self::Starved => "waiting for inputs",
            Self::Done => "waiting for the end",
            Self::Dram => "DRAM",
        }
    }
}

impl GroupCycles {
    /// Where they went.
    pub fn causes(&self) -> [(Cause, u64); 7] {
        [
            (Cause::Multiplying, self.busy),
            (Cause::Gaps, self.filler),
            (Cause::Empty, self.pointer),
            (Cause::Imbalance, self.imbalance),
            (Cause::Patches, self.patch),
            (Cause::Banks, self.banks),
            (Cause::Requantizing, self.drain),
        ]
    }
}

impl LayerCost {
    /// Where its cycles and those in which it waited for memory went, in cycles of the machine: the mean over the
    /// groups of a sparse array and the elements of EIE. Together they are all of its cycles.
    pub fn causes(&self) -> Vec<(Cause, f64)> {
        let parts: Vec<(Cause, u64)> = match (self.kind, &self.groups, &self.folds, &self.elements)
        {
            (Kind::Host, ..) => return Vec::new(),
            (Kind::Vector, ..) => vec![(Cause::Vector, self.cycles)],
            (_, Some(groups), ..) => groups.causes().to_vec(),
            (_, _, Some(f), _) => vec![
                (Cause::Multiplying, f.stream),
                (Cause::Skew, f.skew),
                (Cause::Loading, f.load),
            ],
            (.., Some(e)) => vec![
                (Cause::Multiplying, e.busy),
                (Cause::Gaps, e.filler),
                (Cause::Empty, e.pointer),
                (Cause::Imbalance, e.imbalance),
                (Cause::Starved, e.starved),
                (Cause::Done, e.done),
            ],
            _ => vec![(Cause::Multiplying, self.cycles)],
        };
        let all: u64 = parts.iter().map(|(_, n)| n).sum();
        let scale = self.cycles as f64 / all.max(1) as f64;
        let parts = parts
            .into_iter()
            .map(|(cause, n)| (cause, n as f64 * scale));
        let waited = (Cause::Dram, self.dram_wait_cycles as f64);
        parts
            .chain([waited])
            .filter(|(_, cycles)| *cycles > 0.0)
            .collect()
    }
}
