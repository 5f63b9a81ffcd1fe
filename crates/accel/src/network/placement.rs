//! Where the operands of a step lie and what has to be moved for it, by the kind of memories that a machine has.

use super::LayerCost;
use super::cache::Cache;
use super::fusion::{self, Chain};
use super::residency::{Need, Placed, Residency, Value};
use super::timeline::{Timeline, Traffic};
use crate::{AccelError, Array, Buffers, Machine, Memory};
use std::collections::{BTreeSet, VecDeque};

/// The memories of a machine while the steps go by.
pub(super) struct Placement<'a> {
    memory: Option<&'a Memory>,
    /// Groups of a sparse array.
    groups: u64,
    buffers: State,
    /// Values that come from a host or from outside and have not been read yet.
    foreign: BTreeSet<Value>,
}

enum State {
    /// Steps that are still to come, and what they do with the scratchpads.
    Parted(VecDeque<(Chain, Placed)>),
    Shared,
    Cache(Cache),
}

impl<'a> Placement<'a> {
    /// # Errors
    /// A step whose bands do not fit.
    pub fn new(
        machine: &'a Machine,
        needs: &[Option<Need>],
        costs: &[LayerCost],
    ) -> Result<Self, AccelError> {
        let memory = machine.memory.as_ref();
        let both = memory.map_or(0, |m| (m.activation_bytes + m.weight_bytes) as u64);
        let given = needs.iter().flatten().flat_map(|need| &need.gives);
        let given: BTreeSet<Value> = given.map(|(value, _)| *value).collect();
        let read = needs.iter().flatten().flat_map(|need| &need.reads);
        let foreign = read.map(|(value, _)| *value);
        let planned = |memory: &Memory| {
            let residency = Residency::new(memory.activation_bytes as u64, needs);
            let chains = fusion::plan(residency, needs, memory);
            chains.map_err(|step| too_large(needs, costs, step, memory.activation_bytes))
        };
        Ok(Self {
            memory,
            groups: match &machine.array {
                Array::Sparse(array) => array.groups as u64,
                _ => 0,
            },
            buffers: match memory.map(|m| m.buffers).unwrap_or_default() {
                Buffers::Parted => State::Parted(memory.map_or(Ok(VecDeque::new()), planned)?),
                Buffers::Shared => State::Shared,
                Buffers::Cache => State::Cache(Cache::new(both)),
            },
            foreign: foreign.filter(|value| !given.contains(value)).collect(),
        })
    }

    /// Places the next step, and those that are worked on together with it, lets their bytes move and tells both in their
    /// costs. Gives how many steps they are.
    pub fn place(
        &mut self,
        needs: &[Option<Need>],
        next: usize,
        timeline: &mut Timeline,
        costs: &mut [LayerCost],
    ) -> Result<usize, AccelError> {
        let Some(need) = &needs[next] else {
            return Ok(1);
        };
        let Some(memory) = self.memory else {
            timeline.begin(next);
            timeline.block(&Traffic::default(), costs[next].cycles as f64);
            return Ok(1);
        };
        let mut chain = Chain::alone(next, need);
        let (traffic, mapping) = match &mut self.buffers {
            State::Cache(cache) => (cache.step(need), None),
            State::Parted(chains) => {
                let Some((planned, placed)) = chains.pop_front() else {
                    return Ok(1);
                };
                chain = planned;
                let mapping = placed.mapping;
                chain.wait_at_bands(needs, costs, mapping.bands, self.groups);
                (chain.traffic(&placed, costs), Some(mapping))
            }
            State::Shared => {
                let both = (memory.activation_bytes + memory.weight_bytes) as u64;
                let (extents, mapping) = need
                    .extents
                    .part(both)
                    .ok_or_else(|| shared_too_small(need, &costs[next], both))?;
                chain.step_of_block = vec![next; extents.blocks.len().max(1)];
                (Placed::passing(mapping).traffic(&extents), Some(mapping))
            }
        };
        chain.pass(&traffic, needs, timeline, costs);
        if mapping.is_some_and(|m| m.weights_held && m.passes() > 1) {
            let all = 2 * chain.need.extents.weights() > memory.weight_bytes as u64;
            timeline.free_weights(all);
        }
        for step in chain.steps.clone() {
            let (Some(need), cost) = (&needs[step], &mut costs[step]) else {
                continue;
            };
            cost.mapping = mapping;
            cost.together = chain.steps.len();
            let foreign = need
                .reads
                .iter()
                .filter(|(value, _)| self.foreign.remove(value));
            let foreign: u64 = foreign.map(|(_, bytes)| bytes).sum();
            let leaving = if need.leaves { need.extents.outputs } else { 0 };
            cost.dram_least_bytes = need.extents.weights() + foreign + leaving;
        }
        Ok(chain.steps.len())
    }
}

fn too_large(needs: &[Option<Need>], costs: &[LayerCost], step: usize, bytes: usize) -> AccelError {
    let need = needs.get(step).and_then(Option::as_ref);
    AccelError::TileTooLarge {
        layer: costs
            .get(step)
            .map_or(String::new(), |cost| cost.name.clone()),
        what: "one row of outputs and what it is computed from, twice,",
        needed_bytes: need.map_or(0, |n| n.extents.least_activation_bytes() as usize),
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
