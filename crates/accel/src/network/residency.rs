//! What stays on the chip between the steps: decided ahead of time, since the whole network is known.

use super::timeline::Traffic;
use crate::mapper::{Extents, Held, Mapping};
use crate::sparse::GroupCycles;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// A value that flows between steps.
pub(super) type Value = usize;

/// What a step, or steps that are worked on together, reads and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub extents: Extents,
    /// Values that it reads, each once, and their bytes.
    pub reads: Vec<(Value, u64)>,
    /// Values that it gives, and their bytes.
    pub gives: Vec<(Value, u64)>,
    /// Whether what it gives has to be beyond the chip: an answer, or a host reads it.
    pub leaves: bool,
    /// Whether each row of what it gives needs the rows of what it reads at the same place of the image, and those around.
    pub row_by_row: bool,
    /// Rows of outputs that are worked on side by side.
    pub tile_rows: u64,
    /// What each group of a sparse array waits at its beginning and end.
    pub edges: GroupCycles,
}

/// The scratchpad for activations while the steps go by.
#[derive(Debug, Clone)]
pub(super) struct Residency {
    capacity: u64,
    /// The values that are read.
    uses: Arc<BTreeMap<Value, Uses>>,
    /// Bytes of the values on the chip.
    on_chip: BTreeMap<Value, u64>,
    /// Values that are beyond the chip.
    beyond: BTreeSet<Value>,
}

/// Who reads a value.
#[derive(Debug, Default)]
struct Uses {
    steps: BTreeSet<usize>,
    bytes: u64,
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
    /// That of steps on a scratchpad of so many bytes; a host's need nothing of it.
    pub fn new(capacity: u64, needs: &[Option<Need>]) -> Self {
        let mut uses: BTreeMap<Value, Uses> = BTreeMap::new();
        for (index, need) in needs.iter().enumerate() {
            for (value, bytes) in need.iter().flat_map(|need| &need.reads) {
                let uses = uses.entry(*value).or_default();
                uses.steps.insert(index);
                uses.bytes = *bytes;
            }
        }
        let given = needs.iter().flatten().flat_map(|need| &need.gives);
        let given: BTreeSet<Value> = given.map(|(value, _)| *value).collect();
        let beyond = uses.keys().filter(|value| !given.contains(value));
        Self {
            capacity,
            beyond: beyond.copied().collect(),
            uses: Arc::new(uses),
            on_chip: BTreeMap::new(),
        }
    }

    /// Places steps, those behind the ones before: one, or several that are worked on together and need this. `None` where
    /// their bands do not fit.
    pub fn place(&mut self, steps: &Range<usize>, need: &Need) -> Option<Placed> {
        // Either everything else makes room for few bands, or bands are as small as what is left beside it.
        let is_read = |value: &Value| need.reads.iter().any(|(read, _)| read == value);
        let others = self.on_chip.iter().filter(|(value, _)| !is_read(value));
        let others: u64 = others.map(|(_, bytes)| bytes).sum();
        let rooms = [self.capacity, self.capacity.saturating_sub(others)];
        let ways = Held::ALL
            .into_iter()
            .flat_map(|held| rooms.map(|room| (held, room)));
        let ways = ways.filter_map(|(held, room)| self.way(steps, need, held, room));
        // Of equal ways the one with the fewest bands: groups wait in each where steps are worked on together.
        let bands = |way: &Way| match need.extents.together.is_empty() {
            true => 0,
            false => way.placed.mapping.bands,
        };
        let best = ways.min_by_key(|way| (way.cost, bands(way)))?;
        for value in &best.evicted {
            self.on_chip.remove(value);
            self.beyond.insert(*value);
        }
        let held = best.placed.mapping.held;
        if held.inputs() {
            self.on_chip.extend(need.reads.iter().copied());
        }
        if held.outputs() {
            self.on_chip.extend(need.gives.iter().copied());
        }
        if best.placed.leaves {
            self.beyond
                .extend(need.gives.iter().map(|(value, _)| *value));
        }
        let mut on_chip = std::mem::take(&mut self.on_chip);
        on_chip.retain(|value, _| self.is_used(*value, steps.end));
        self.on_chip = on_chip;
        let mut beyond = std::mem::take(&mut self.beyond);
        beyond.retain(|value| self.is_used(*value, steps.end));
        self.beyond = beyond;
        Some(best.placed)
    }

    /// Bytes that have to come from beyond the chip sooner or later, from a step on.
    pub fn to_come(&self, from: usize) -> u64 {
        let absent = self
            .uses
            .iter()
            .filter(|(value, _)| self.is_used(**value, from) && !self.on_chip.contains_key(value));
        absent.map(|(_, uses)| uses.bytes).sum()
    }

    /// A way to run steps that holds so much of what they read and give, in so much room.
    fn way(&self, steps: &Range<usize>, need: &Need, held: Held, room: u64) -> Option<Way> {
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
        others.sort_by_key(|value| self.next_use(*value, steps.start));
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
            .filter(|value| self.is_used(**value, steps.end))
            .map(bytes)
            .sum();
        let absent = need
            .reads
            .iter()
            .filter(|(value, _)| held.inputs() && !self.on_chip.contains_key(value));
        let loaded: u64 = absent.map(|(_, bytes)| bytes).sum();
        let read_later = need
            .gives
            .iter()
            .any(|(value, _)| self.is_used(*value, steps.end));
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
        self.uses.get(&value)?.steps.range(from..).next().copied()
    }

    /// Whether a step from this one on reads a value.
    pub fn is_used(&self, value: Value, from: usize) -> bool {
        self.next_use(value, from).is_some()
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

    /// Bytes from and to beyond the chip.
    pub fn moved(&self, extents: &Extents) -> u64 {
        let come = self.loaded + self.mapping.weights(extents) + self.mapping.inputs(extents);
        come + self.evicted + self.leaving(extents)
    }

    fn leaving(&self, extents: &Extents) -> u64 {
        if self.leaves { extents.outputs } else { 0 }
    }

    /// What each piece of a step moves: a block of weights, for each band where these pass by within it.
    pub fn traffic(&self, extents: &Extents) -> Vec<Traffic> {
        let mapping = &self.mapping;
        let blocks = mapping.blocks;
        let pieces = mapping.passes() * blocks;
        let inputs = mapping.inputs(extents);
        let leaving = self.leaving(extents);
        let share = |all: u64, piece: u64| all * (piece + 1) / pieces - all * piece / pieces;
        (0..pieces)
            .map(|piece| {
                let (pass, block) = (piece / blocks, piece % blocks);
                let once = |bytes: u64| if piece == 0 { bytes } else { 0 };
                Traffic {
                    weights: self.weights(extents, pass, block),
                    inputs: once(self.loaded) + share(inputs, piece),
                    outputs: once(self.evicted) + share(leaving, piece),
                }
            })
            .collect()
    }

    /// What each piece of steps that are worked on together moves, block by block and band by band: weights as of one
    /// step; the inputs of a band while the one before is worked on, as blocks take shares of its time; outputs behind the
    /// `last` blocks, those of the last step.
    pub fn traffic_together(&self, extents: &Extents, shares: &[u64], last: usize) -> Vec<Traffic> {
        let passes = self.mapping.passes();
        let inputs = self.mapping.inputs(extents);
        let leaving = self.leaving(extents);
        let of_pass = |all: u64, pass: u64| all * (pass + 1) / passes - all * pass / passes;
        let all: u64 = shares.iter().sum::<u64>().max(1);
        let first_of_last = shares.len() - last.min(shares.len());
        let mut pieces = Vec::new();
        for pass in 0..passes {
            let next = match pass + 1 < passes {
                true => of_pass(inputs, pass + 1),
                false => 0,
            };
            let leaves = of_pass(leaving, pass);
            let mut done = 0;
            for (block, &share) in shares.iter().enumerate() {
                let until = |at: u64| (u128::from(next) * u128::from(at) / u128::from(all)) as u64;
                let mut piece = Traffic {
                    weights: self.weights(extents, pass, block as u64),
                    inputs: until(done + share) - until(done),
                    outputs: 0,
                };
                done += share;
                if pass == 0 && block == 0 {
                    piece.inputs += self.loaded + of_pass(inputs, 0);
                    piece.outputs += self.evicted;
                }
                if let Some(at) = block.checked_sub(first_of_last) {
                    let (at, last) = (at as u64, last as u64);
                    piece.outputs += leaves * (at + 1) / last - leaves * at / last;
                }
                pieces.push(piece);
            }
        }
        pieces
    }

    /// Weights of a block that come for a pass: those that stay come once.
    fn weights(&self, extents: &Extents, pass: u64, block: u64) -> u64 {
        let weights = extents.blocks.get(block as usize).copied().unwrap_or(0);
        match self.mapping.weights_held && pass > 0 {
            true => 0,
            false => weights,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of values of so many bytes, in ten rows: `(reads, gives)`.
    fn needs(bytes: &[u64], steps: &[(&[Value], Value)]) -> Vec<Need> {
        let step = |(reads, gives): &(&[Value], Value)| Need {
            extents: Extents {
                inputs: reads.iter().map(|&v| bytes[v]).sum(),
                outputs: bytes[*gives],
                rows: 10,
                held_blocks: 2,
                ..Extents::default()
            },
            reads: reads.iter().map(|&v| (v, bytes[v])).collect(),
            gives: vec![(*gives, bytes[*gives])],
            leaves: *gives == bytes.len() - 1,
            row_by_row: true,
            tile_rows: 1,
            edges: GroupCycles::default(),
        };
        steps.iter().map(step).collect()
    }

    /// What each step moves: from beyond the chip, and to it.
    fn moved(capacity: u64, needs: &[Need]) -> Vec<(u64, u64)> {
        let all: Vec<_> = needs.iter().cloned().map(Some).collect();
        let mut residency = Residency::new(capacity, &all);
        let each = needs.iter().enumerate().map(|(index, need)| {
            let placed = residency.place(&(index..index + 1), need).unwrap();
            let traffic = placed.traffic(&need.extents);
            let all = traffic.iter().map(Traffic::total).sum::<u64>();
            assert_eq!(all, placed.moved(&need.extents));
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
        let mut residency = Residency::new(399, &[Some(needs[0].clone())]);
        assert_eq!(residency.place(&(0..1), &needs[0]), None);
    }
}
