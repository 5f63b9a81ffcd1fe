//! A cache in the place of scratchpads: what was used least recently makes room.

use super::residency::{Need, Value};
use super::timeline::Traffic;
use std::collections::BTreeSet;

/// Values by their last use. A value that is read again is there whole or, where more than the cache holds was used
/// since, not at all: passing by in order, each line makes room for the next just before it is wanted.
#[derive(Debug)]
pub(super) struct Cache {
    capacity: u64,
    /// Values and weights by last use, the latest first; weights are not read again.
    recent: Vec<(Option<Value>, u64)>,
    /// Values that have been written to memory.
    beyond: BTreeSet<Value>,
}

impl Cache {
    /// An empty one.
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            recent: Vec::new(),
            beyond: BTreeSet::new(),
        }
    }

    /// Whether a value that was used before is still there.
    fn holds(&self, value: Value) -> bool {
        let at = self.recent.iter().position(|(v, _)| *v == Some(value));
        at.is_some_and(|at| {
            let since: u64 = self.recent[..=at].iter().map(|(_, bytes)| bytes).sum();
            since <= self.capacity
        })
    }

    fn touch(&mut self, value: Option<Value>, bytes: u64) {
        if value.is_some() {
            self.recent.retain(|(v, _)| *v != value);
        }
        self.recent.insert(0, (value, bytes));
    }

    /// What each block of a step moves: inputs pass by for every block of weights.
    pub fn step(&mut self, need: &Need) -> Vec<Traffic> {
        let extents = &need.extents;
        let blocks = extents.blocks.len().max(1) as u64;
        let mut inputs = 0;
        let mut written = 0;
        for (value, bytes) in &need.reads {
            if !self.holds(*value) {
                inputs += bytes;
                // Given by a step before, it has left since; a host's is beyond the chip anyway.
                let was_here = self.recent.iter().any(|(v, _)| *v == Some(*value));
                if self.beyond.insert(*value) && was_here {
                    written += bytes;
                }
            }
            self.touch(Some(*value), *bytes);
        }
        let of_block = (extents.weights() + extents.outputs) / blocks;
        let again = match extents.inputs + of_block <= self.capacity {
            true => 0,
            false => extents.inputs,
        };
        self.touch(None, extents.weights());
        for (value, bytes) in &need.gives {
            self.touch(Some(*value), *bytes);
            if need.leaves {
                self.beyond.insert(*value);
                written += bytes;
            }
        }
        (0..blocks)
            .map(|block| Traffic {
                weights: extents.blocks.get(block as usize).copied().unwrap_or(0),
                inputs: if block == 0 { inputs } else { again },
                outputs: if block == 0 { written } else { 0 },
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapper::Extents;
    use crate::sparse::GroupCycles;

    fn step(reads: &[(Value, u64)], gives: Value, outputs: u64, blocks: &[u64]) -> Need {
        Need {
            extents: Extents {
                blocks: blocks.to_vec(),
                inputs: reads.iter().map(|r| r.1).sum(),
                outputs,
                rows: 1,
                held_blocks: 2,
                ..Extents::default()
            },
            reads: reads.to_vec(),
            gives: vec![(gives, outputs)],
            leaves: false,
            row_by_row: true,
            tile_rows: 1,
            edges: GroupCycles::default(),
        }
    }

    fn moved(traffic: &[Traffic]) -> (u64, u64) {
        let read = traffic.iter().map(|t| t.weights + t.inputs).sum();
        (read, traffic.iter().map(|t| t.outputs).sum())
    }

    #[test]
    fn what_was_used_since_pushes_a_value_out() {
        let mut cache = Cache::new(300);
        assert_eq!(
            moved(&cache.step(&step(&[(0, 100)], 1, 50, &[20]))),
            (120, 0)
        );
        assert_eq!(moved(&cache.step(&step(&[(1, 50)], 2, 60, &[20]))), (20, 0));
        // Value 0 was followed by 190 bytes and is still there; 1 was not used since.
        assert_eq!(
            moved(&cache.step(&step(&[(0, 100), (2, 60)], 3, 10, &[]))),
            (0, 0)
        );
        assert_eq!(
            moved(&cache.step(&step(&[(3, 10)], 4, 250, &[30]))),
            (30, 0)
        );
        // Value 2 has been written to memory in the meantime.
        assert_eq!(moved(&cache.step(&step(&[(2, 60)], 5, 10, &[]))), (60, 60));
    }

    #[test]
    fn inputs_that_do_not_fit_come_for_every_block() {
        let mut cache = Cache::new(100);
        assert_eq!(
            moved(&cache.step(&step(&[(0, 90)], 1, 30, &[5, 5, 5]))),
            (285, 0)
        );
    }
}
