//! Where the operands of a step lie and what has to be moved for it, by the kind of memories that a machine has.

use super::LayerCost;
use super::cache::Cache;
use super::residency::{Need, Placed, Residency, Value};
use super::timeline::{Timeline, Traffic};
use crate::{AccelError, Buffers, Machine, Memory};
use std::collections::BTreeSet;

/// The memories of a machine while the steps go by.
pub(super) struct Placement<'a> {
    memory: Option<&'a Memory>,
    buffers: State,
    /// Index of the next step.
    index: usize,
    /// Values that come from a host or from outside and have not been read yet.
    foreign: BTreeSet<Value>,
}

enum State {
    Parted(Residency),
    Shared,
    Cache(Cache),
}

impl<'a> Placement<'a> {
    pub fn new(machine: &'a Machine, needs: &[Need]) -> Self {
        let memory = machine.memory.as_ref();
        let capacity = memory.map_or(0, |m| m.activation_bytes as u64);
        let both = memory.map_or(0, |m| (m.activation_bytes + m.weight_bytes) as u64);
        let given = needs.iter().flat_map(|need| &need.gives);
        let given: BTreeSet<Value> = given.map(|(value, _)| *value).collect();
        let read = needs.iter().flat_map(|need| &need.reads);
        let foreign = read.map(|(value, _)| *value);
        Self {
            memory,
            buffers: match memory.map(|m| m.buffers).unwrap_or_default() {
                Buffers::Parted => State::Parted(Residency::new(capacity, needs)),
                Buffers::Shared => State::Shared,
                Buffers::Cache => State::Cache(Cache::new(both)),
            },
            index: 0,
            foreign: foreign.filter(|value| !given.contains(value)).collect(),
        }
    }

    /// Places the next step, lets its bytes move and tells both in its cost.
    pub fn place(
        &mut self,
        need: &Need,
        timeline: &mut Timeline,
        cost: &mut LayerCost,
    ) -> Result<(), AccelError> {
        let Some(memory) = self.memory else {
            timeline.block(&Traffic::default(), cost.cycles as f64);
            return Ok(());
        };
        let extents = &need.extents;
        let (traffic, mapping) = match &mut self.buffers {
            State::Cache(cache) => (cache.step(need), None),
            State::Parted(residency) => {
                let placed = residency.place(self.index, need);
                let placed =
                    placed.ok_or_else(|| too_large(need, cost, memory.activation_bytes))?;
                (placed.traffic(extents), Some(placed.mapping))
            }
            State::Shared => {
                let both = (memory.activation_bytes + memory.weight_bytes) as u64;
                let (extents, mapping) = extents
                    .part(both)
                    .ok_or_else(|| shared_too_small(need, cost, both))?;
                (Placed::passing(mapping).traffic(&extents), Some(mapping))
            }
        };
        self.index += 1;
        let share = cost.cycles as f64 / traffic.len().max(1) as f64;
        let waited: f64 = traffic.iter().map(|t| timeline.block(t, share)).sum();
        cost.dram_wait_cycles = waited.round() as u64;
        cost.mapping = mapping;
        let fetched: u64 = traffic.iter().map(|t| t.inputs).sum();
        let weights: u64 = traffic.iter().map(|t| t.weights).sum();
        cost.moved.dram_read_bytes += fetched + weights;
        let left: u64 = traffic.iter().map(|t| t.outputs).sum();
        cost.moved.dram_written_bytes += left;
        cost.moved.activations_read_bytes += left;
        cost.moved.activations_written_bytes += fetched;
        cost.moved.weights_written_bytes += weights;
        let foreign = need
            .reads
            .iter()
            .filter(|(value, _)| self.foreign.remove(value));
        let foreign: u64 = foreign.map(|(_, bytes)| bytes).sum();
        let leaving = if need.leaves { extents.outputs } else { 0 };
        cost.dram_least_bytes = extents.weights() + foreign + leaving;
        Ok(())
    }
}

fn too_large(need: &Need, cost: &LayerCost, bytes: usize) -> AccelError {
    AccelError::TileTooLarge {
        layer: cost.name.clone(),
        what: "one row of outputs and what it is computed from, twice,",
        needed_bytes: need.extents.least_activation_bytes() as usize,
        setting: "activation_bytes",
        bytes,
    }
}

fn shared_too_small(need: &Need, cost: &LayerCost, bytes: u64) -> AccelError {
    let block = need.extents.blocks.iter().max().copied().unwrap_or(0);
    AccelError::TileTooLarge {
        layer: cost.name.clone(),
        what: "a block of weights, one row of outputs and what it is computed from, twice,",
        needed_bytes: (need.extents.least_activation_bytes() + block) as usize,
        setting: "activation_bytes and weight_bytes together",
        bytes: bytes as usize,
    }
}
