//! What stays on the chip between the steps: decided ahead of time, since the whole network is known.

use super::timeline::Traffic;
use crate::mapper::{Extents, Held, Mapping};
use std::collections::{BTreeMap, BTreeSet};

/// A value that flows between steps.
pub(super) type Value = usize;

/// What a step reads and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub extents: Extents,
    /// Values that it reads, each once, and their bytes.
    pub reads: Vec<(Value, u64)>,
    /// Values that it gives, and their bytes.
    pub gives: Vec<(Value, u64)>,
    /// Whether what it gives has to be beyond the chip: an answer, or a host reads it.
    pub leaves: bool,
}

/// The scratchpad for activations while the steps go by.
#[derive(Debug)]
pub(super) struct Residency {
    capacity: u64,
    /// Steps that read each value, the next one first.
    uses: BTreeMap<Value, BTreeSet<usize>>,
    /// Bytes of the values on the chip.
    on_chip: BTreeMap<Value, u64>,
    /// Values that are beyond the chip.
    beyond: BTreeSet<Value>,
}

/// What a step does with the scratchpad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub mapping: Mapping,
    /// Bytes of inputs that come whole.
    loaded: u64,
    /// Bytes that leave to make room.
    evicted: u64,
    /// Whether the outputs leave.
    leaves: bool,
}

/// A way to run a step, and what it costs in bytes from and to beyond the chip, now or later.
struct Way {
    cost: u64,
    placed: Placed,
    evicted: Vec<Value>,
}

impl Residency {
    /// That of steps on a scratchpad of so many bytes.
    pub fn new(capacity: u64, needs: &[Need]) -> Self {
        let mut uses: BTreeMap<Value, BTreeSet<usize>> = BTreeMap::new();
        for (index, need) in needs.iter().enumerate() {
            for (value, _) in &need.reads {
                uses.entry(*value).or_default().insert(index);
            }
        }
        let given = needs.iter().flat_map(|need| &need.gives);
        let given: BTreeSet<Value> = given.map(|(value, _)| *value).collect();
        let beyond = uses.keys().filter(|value| !given.contains(value));
        Self {
            capacity,
            beyond: beyond.copied().collect(),
            uses,
            on_chip: BTreeMap::new(),
        }
    }

    /// Places a step, the one behind those before; `None` where its bands do not fit.
    pub fn place(&mut self, index: usize, need: &Need) -> Option<Placed> {
        // Either everything else makes room for few bands, or bands are as small as what is left beside it.
        let is_read = |value: &Value| need.reads.iter().any(|(read, _)| read == value);
        let others = self.on_chip.iter().filter(|(value, _)| !is_read(value));
        let others: u64 = others.map(|(_, bytes)| bytes).sum();
        let rooms = [self.capacity, self.capacity.saturating_sub(others)];
        let ways = Held::ALL
            .into_iter()
            .flat_map(|held| rooms.map(|room| (held, room)));
        let ways = ways.filter_map(|(held, room)| self.way(index, need, held, room));
        let best = ways.min_by_key(|way| way.cost)?;
        for value in &best.evicted {
            self.on_chip.remove(value);
            self.beyond.insert(*value);
        }
        let held = best.placed.mapping.held;
        for (value, bytes) in &need.reads {
            if held.inputs() {
                self.on_chip.insert(*value, *bytes);
            }
            if let Some(uses) = self.uses.get_mut(value) {
                uses.remove(&index);
            }
        }
        if held.outputs() {
            self.on_chip.extend(need.gives.iter().copied());
        }
        if best.placed.leaves {
            self.beyond
                .extend(need.gives.iter().map(|(value, _)| *value));
        }
        let uses = &self.uses;
        self.on_chip
            .retain(|value, _| uses.get(value).is_some_and(|steps| !steps.is_empty()));
        Some(best.placed)
    }

    /// A way to run a step that holds so much of it, in so much room.
    fn way(&self, index: usize, need: &Need, held: Held, room: u64) -> Option<Way> {
        let extents = &need.extents;
        let mapping = extents.map(held, room)?;
        let is_read = |value: &Value| need.reads.iter().any(|(read, _)| read == value);
        // Inputs that are to pass by in bands are beyond the chip first.
        let mut evicted: Vec<Value> = match held.inputs() {
            true => Vec::new(),
            false => self.on_chip.keys().copied().filter(is_read).collect(),
        };
        // Of the others, those whose next use is furthest away leave until there is room.
        let mut others: Vec<Value> = self
            .on_chip
            .keys()
            .copied()
            .filter(|value| !is_read(value))
            .collect();
        others.sort_by_key(|value| self.next_use(*value, index));
        let bytes = |value: &Value| self.on_chip.get(value).copied().unwrap_or(0);
        let mut taken: u64 = mapping.activation_bytes + others.iter().map(bytes).sum::<u64>();
        while taken > self.capacity {
            let furthest = others.pop()?;
            taken -= bytes(&furthest);
            evicted.push(furthest);
        }
        let written = evicted.iter().filter(|value| !self.beyond.contains(value));
        let written: u64 = written.map(bytes).sum();
        let to_come_back: u64 = evicted
            .iter()
            .filter(|value| self.next_use(**value, index + 1).is_some())
            .map(bytes)
            .sum();
        let absent = need
            .reads
            .iter()
            .filter(|(value, _)| held.inputs() && !self.on_chip.contains_key(value));
        let loaded: u64 = absent.map(|(_, bytes)| bytes).sum();
        let later = |(value, _): &(Value, u64)| self.next_use(*value, index + 1).is_some();
        let read_later = need.gives.iter().any(later);
        let leaves = need.leaves || (!held.outputs() && read_later);
        let out = extents.outputs;
        let comes_back = match read_later && !held.outputs() {
            true => out,
            false => 0,
        };
        let passing = mapping.weights(extents) + mapping.inputs(extents);
        let leaving = if leaves { out } else { 0 };
        Some(Way {
            cost: passing + loaded + written + leaving + to_come_back + comes_back,
            placed: Placed {
                mapping,
                loaded,
                evicted: written,
                leaves,
            },
            evicted,
        })
    }

    /// The first step from one on that reads a value.
    fn next_use(&self, value: Value, from: usize) -> Option<usize> {
        self.uses.get(&value)?.range(from..).next().copied()
    }
}

impl Placed {
    /// That of a step of which nothing was there before and nothing stays.
    pub fn passing(mapping: Mapping) -> Self {
        Self {
            mapping,
            loaded: 0,
            evicted: 0,
            leaves: true,
        }
    }

    /// What each piece of a step moves: a block of weights, for each band where these pass by within it.
    pub fn traffic(&self, extents: &Extents) -> Vec<Traffic> {
        let mapping = &self.mapping;
        let blocks = mapping.blocks;
        let pieces = mapping.passes() * blocks;
        let inputs = mapping.inputs(extents);
        let leaving = if self.leaves { extents.outputs } else { 0 };
        // Blocks that stay come once.
        let comes = |pass: u64| !mapping.weights_held || pass == 0;
        let share = |all: u64, piece: u64| all * (piece + 1) / pieces - all * piece / pieces;
        (0..pieces)
            .map(|piece| {
                let (pass, block) = (piece / blocks, piece % blocks);
                let weights = extents.blocks.get(block as usize).copied().unwrap_or(0);
                let first = if piece == 0 { self.loaded } else { 0 };
                Traffic {
                    weights: if comes(pass) { weights } else { 0 },
                    inputs: first + share(inputs, piece),
                    outputs: share(leaving, piece) + if piece == 0 { self.evicted } else { 0 },
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of values of so many bytes, in ten rows: `(reads, gives)`.
    fn needs(bytes: &[u64], steps: &[(&[Value], Value)]) -> Vec<Need> {
        let step = |(reads, gives): &(&[Value], Value)| Need {
            extents: Extents {
                blocks: vec![],
                inputs: reads.iter().map(|&v| bytes[v]).sum(),
                outputs: bytes[*gives],
                rows: 10,
                halo: 0,
                held_blocks: 2,
            },
            reads: reads.iter().map(|&v| (v, bytes[v])).collect(),
            gives: vec![(*gives, bytes[*gives])],
            leaves: *gives == bytes.len() - 1,
        };
        steps.iter().map(step).collect()
    }

    /// What each step moves: from beyond the chip, and to it.
    fn moved(capacity: u64, needs: &[Need]) -> Vec<(u64, u64)> {
        let mut residency = Residency::new(capacity, needs);
        let each = needs.iter().enumerate().map(|(index, need)| {
            let placed = residency.place(index, need).unwrap();
            let traffic = placed.traffic(&need.extents);
            let read: u64 = traffic.iter().map(|t| t.weights + t.inputs).sum();
            (read, traffic.iter().map(|t| t.outputs).sum())
        });
        each.collect()
    }

    #[test]
    fn what_fits_comes_once_and_leaves_once() {
        let needs = needs(&[100, 80, 60, 10], &[(&[0], 1), (&[1], 2), (&[2], 3)]);
        assert_eq!(moved(200, &needs), [(100, 0), (0, 0), (0, 10)]);
    }

    #[test]
    fn inputs_pass_by_where_only_the_outputs_fit() {
        let needs = needs(&[1000, 80, 10], &[(&[0], 1), (&[1], 2)]);
        assert_eq!(moved(300, &needs), [(1000, 0), (0, 10)]);
    }

    #[test]
    fn a_residual_waits_beyond_the_chip_where_there_is_no_room() {
        // Value 1 is read by the last step, too.
        let steps: [(&[Value], Value); 4] = [(&[0], 1), (&[1], 2), (&[2], 3), (&[3, 1], 4)];
        let bytes = [50, 100, 100, 100, 100];
        let roomy = moved(300, &needs(&bytes, &steps));
        assert_eq!(roomy, [(50, 0), (0, 0), (0, 0), (0, 100)]);
        let tight = moved(230, &needs(&bytes, &steps));
        // It leaves once and comes back once; the last sum leaves in bands.
        assert_eq!(tight.iter().map(|m| m.0).sum::<u64>(), 50 + 100);
        assert_eq!(tight.iter().map(|m| m.1).sum::<u64>(), 100 + 100);
    }

    #[test]
    fn outputs_that_leave_anyway_push_nothing_out() {
        // Value 1 waits for the last step; what the second gives is an answer and passes by in bands.
        let mut needs = needs(&[50, 300, 100, 400, 10], &[(&[0], 1), (&[2], 3), (&[1], 4)]);
        needs[1].leaves = true;
        assert_eq!(moved(512, &needs), [(50, 0), (100, 400), (0, 10)]);
    }

    #[test]
    fn what_cannot_be_cut_smaller_is_told() {
        let needs = needs(&[1000, 1000], &[(&[0], 1)]);
        let mut residency = Residency::new(399, &needs);
        assert_eq!(residency.place(0, &needs[0]), None);
    }
}
