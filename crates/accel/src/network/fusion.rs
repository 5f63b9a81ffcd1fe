//! Steps that are worked on together, band by band, so that what flows between them never leaves the chip (fused
//! layers: Alwani et al., MICRO 2016). Nothing is computed twice: rows that the next band needs stay.

use super::LayerCost;
use super::residency::{Need, Placed, Residency, Value};
use super::timeline::{Timeline, Traffic};
use crate::Memory;
use crate::mapper::Extents;
use crate::sparse::GroupCycles;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Steps that are worked on together; one alone, too.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    /// Which.
    pub steps: Range<usize>,
    /// What they need together.
    pub need: Need,
    /// The step of each block of weights; one without weights has an empty one.
    pub step_of_block: Vec<usize>,
}

/// Steps that are worked on together at the most.
const MOST_STEPS: usize = 24;

/// Parts steps into chains so that the least moves from and to beyond the chip, together with what could have moved while
/// groups wait at the beginnings and ends of bands; of equal ways the one with the fewest steps together. The best
/// way to each step is gone on from, whatever else the scratchpad could hold there.
///
/// # Errors
/// The step whose bands do not fit.
pub(super) fn plan(
    start: Residency,
    needs: &[Option<Need>],
    memory: &Memory,
) -> Result<VecDeque<(Chain, Placed)>, usize> {
    let most = match memory.fuses_layers {
        true => MOST_STEPS,
        false => 1,
    };
    let mut ways: Vec<Option<Way>> = needs.iter().map(|_| None).collect();
    ways.push(None);
    ways[0] = Some(Way {
        moved: 0,
        together: 0,
        residency: start,
        last: None,
    });
    for first in 0..needs.len() {
        let behind = needs.len().min(first + most);
        for end in first + 1..=behind {
            let Some(way) = &ways[first] else { break };
            let Some(need) = &needs[end - 1] else {
                // A host's: nothing changes.
                if end == first + 1 {
                    let next = Way {
                        last: None,
                        residency: way.residency.clone(),
                        ..*way
                    };
                    Way::take(&mut ways[end], next, end);
                }
                break;
            };
            let next = way.then(needs, first..end, memory);
            if let Some(next) = next {
                Way::take(&mut ways[end], next, end);
            }
            // What a host reads is there when its turn comes.
            if need.leaves {
                break;
            }
        }
    }
    let reached = ways.iter().rposition(Option::is_some).unwrap_or(0);
    if reached < needs.len() {
        return Err(reached);
    }
    let mut chains = VecDeque::new();
    let mut at = needs.len();
    while at > 0 {
        match ways[at].take().and_then(|way| way.last) {
            Some((chain, placed)) => {
                at = chain.steps.start;
                chains.push_front((chain, placed));
            }
            None => at -= 1,
        }
    }
    Ok(chains)
}

/// A way to get to a step.
struct Way {
    /// Bytes from and to beyond the chip so far.
    moved: u64,
    /// Steps that were worked on with others.
    together: usize,
    residency: Residency,
    /// The last steps; `None` for a host's.
    last: Option<(Chain, Placed)>,
}

impl Way {
    /// This, and then these steps together.
    fn then(&self, needs: &[Option<Need>], steps: Range<usize>, memory: &Memory) -> Option<Self> {
        let chain = Chain::of(&self.residency, needs, steps, memory)?;
        let mut residency = self.residency.clone();
        let placed = residency.place(&chain.steps, &chain.need)?;
        let alone = chain.steps.len() == 1;
        let waits = match alone {
            true => 0,
            false => (placed.mapping.bands - 1) * chain.need.edges.total(),
        };
        let waits = (waits as f64 * memory.dram_bytes_a_cycle) as u64;
        Some(Self {
            moved: self.moved + placed.moved(&chain.need.extents) + waits,
            together: self.together + if alone { 0 } else { chain.steps.len() },
            residency,
            last: Some((chain, placed)),
        })
    }

    /// Takes the better way to a step.
    fn take(best: &mut Option<Self>, way: Self, step: usize) {
        let cost = |way: &Self| (way.moved + way.residency.to_come(step), way.together);
        if best.as_ref().is_none_or(|best| cost(&way) < cost(best)) {
            *best = Some(way);
        }
    }
}

impl Chain {
    /// A step by itself.
    pub fn alone(step: usize, need: &Need) -> Self {
        let blocks = need.extents.blocks.len().max(1);
        Self {
            steps: step..step + 1,
            need: need.clone(),
            step_of_block: vec![step; blocks],
        }
    }

    /// Groups of a sparse array wait for first patches and last codes in every band, where steps alternate.
    pub fn wait_at_bands(
        &self,
        needs: &[Option<Need>],
        costs: &mut [LayerCost],
        bands: u64,
        groups: u64,
    ) {
        if self.steps.len() == 1 {
            return;
        }
        for step in self.steps.clone() {
            let (Some(need), cost) = (&needs[step], &mut costs[step]) else {
                continue;
            };
            let again = need.edges.times(bands - 1);
            cost.cycles += again.total();
            if let Some(all) = &mut cost.groups {
                *all = all.plus(&again.times(groups));
            }
        }
    }

    /// The cycles of a step are those of its blocks, alike.
    fn cycles_of_blocks(&self, costs: &[LayerCost]) -> Vec<f64> {
        let of = |step: usize| self.step_of_block.iter().filter(|s| **s == step).count();
        let cycles = |&step: &usize| costs[step].cycles as f64 / of(step) as f64;
        self.step_of_block.iter().map(cycles).collect()
    }

    /// What of a band's time each block takes.
    pub fn shares(&self, costs: &[LayerCost]) -> Vec<u64> {
        let cycles = self.cycles_of_blocks(costs).into_iter();
        match self.steps.len() {
            1 => cycles.map(|_| 1).collect(),
            _ => cycles.map(|cycles| cycles.ceil() as u64 + 1).collect(),
        }
    }

    /// Lets time pass: pieces block by block, band by band. Weights are told of their own step, what comes in of the first
    /// and what goes out of the last.
    pub fn pass(&self, pieces: &[Traffic], timeline: &mut Timeline, costs: &mut [LayerCost]) {
        let blocks = self.step_of_block.len().max(1);
        let passes = (pieces.len() / blocks).max(1) as f64;
        let cycles = self.cycles_of_blocks(costs);
        let mut waited = vec![0.0; self.steps.len()];
        for (piece, traffic) in pieces.iter().enumerate() {
            let block = piece % blocks;
            let step = self.step_of_block[block];
            timeline.begin(step);
            waited[step - self.steps.start] += timeline.block(traffic, cycles[block] / passes);
            let Traffic {
                weights,
                inputs,
                outputs,
            } = *traffic;
            costs[step].moved.dram_read_bytes += weights;
            costs[step].moved.weights_written_bytes += weights;
            let first = &mut costs[self.steps.start].moved;
            first.dram_read_bytes += inputs;
            first.activations_written_bytes += inputs;
            let last = &mut costs[self.steps.end - 1].moved;
            last.dram_written_bytes += outputs;
            last.activations_read_bytes += outputs;
        }
        for (step, waited) in self.steps.clone().zip(waited) {
            costs[step].dram_wait_cycles = waited.round() as u64;
        }
    }

    /// Steps together.
    fn of(
        residency: &Residency,
        needs: &[Option<Need>],
        steps: Range<usize>,
        memory: &Memory,
    ) -> Option<Self> {
        if steps.len() == 1 {
            return Some(Self::alone(steps.start, needs[steps.start].as_ref()?));
        }
        let each: Vec<&Need> = needs.get(steps.clone())?.iter().flatten().collect();
        let flows = flows(&each);
        let mut all = Extents {
            rows: u64::MAX,
            ..Extents::default()
        };
        let (mut reads, mut gives) = (Vec::new(), Vec::new());
        for (value, flow) in &flows {
            let of_value = (*value, flow.bytes);
            let leaves = residency.is_used(*value, steps.end) || flow.last_reader.is_none();
            let kept = match flow.given {
                false => &mut all.halo,
                true => &mut all.ahead,
            };
            *kept += flow.kept();
            match (flow.given, leaves) {
                (false, _) => {
                    all.inputs += flow.bytes;
                    reads.push(of_value);
                }
                (true, true) => {
                    all.outputs += flow.bytes;
                    gives.push(of_value);
                }
                (true, false) => all.between += flow.bytes,
            }
        }
        let mut step_of_block = Vec::new();
        let mut edges = GroupCycles::default();
        for (step, need) in steps.clone().zip(&each) {
            let extents = &need.extents;
            all.rows = all.rows.min(extents.rows.div_ceil(need.tile_rows.max(1)));
            match extents.blocks.as_slice() {
                [] => all.blocks.push(0),
                blocks => all.blocks.extend(blocks),
            }
            step_of_block.resize(all.blocks.len(), step);
            edges = edges.plus(&need.edges);
        }
        all.held_blocks = match all.weights() <= memory.weight_bytes as u64 {
            true => all.blocks.len() as u64,
            false => 0,
        };
        Some(Self {
            steps,
            need: Need {
                extents: all,
                reads,
                gives,
                leaves: each.last()?.leaves,
                tile_rows: 1,
                edges,
            },
            step_of_block,
        })
    }
}

/// A value of a chain. Steps run ahead of its last one, by shares of the image, as far as those behind them need.
#[derive(Debug)]
struct Flow {
    bytes: u64,
    /// Whether a step of the chain gives it.
    given: bool,
    /// How far ahead it has to be for the step that reads the most ahead.
    first_reader: f64,
    /// How far the step is that reads it last; `None` where none of the chain does.
    last_reader: Option<f64>,
}

impl Flow {
    fn new(bytes: u64) -> Self {
        Self {
            bytes,
            given: false,
            first_reader: 0.0,
            last_reader: None,
        }
    }

    /// Bytes that are there beside a band.
    fn kept(&self) -> u64 {
        let last = self.last_reader.unwrap_or(self.first_reader);
        let share = (self.first_reader - last).clamp(0.0, 1.0);
        (self.bytes as f64 * share).ceil() as u64
    }
}

/// What flows into, between and out of steps.
fn flows(each: &[&Need]) -> BTreeMap<Value, Flow> {
    let mut flows: BTreeMap<Value, Flow> = BTreeMap::new();
    // From the last step on: those before run ahead of what reads them.
    for need in each.iter().rev() {
        let mut ahead = 0.0f64;
        for (value, bytes) in &need.gives {
            let flow = flows.entry(*value).or_insert(Flow::new(*bytes));
            flow.given = true;
            ahead = ahead.max(flow.first_reader);
        }
        let extents = &need.extents;
        let halo = extents.halo as f64 / extents.inputs.max(1) as f64;
        for (value, bytes) in &need.reads {
            let flow = flows.entry(*value).or_insert(Flow::new(*bytes));
            flow.first_reader = flow.first_reader.max(ahead + halo);
            let last = flow.last_reader.map_or(ahead, |last| last.min(ahead));
            flow.last_reader = Some(last);
        }
    }
    flows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Machine;

    /// A step in 16 rows, with weights of so many bytes, that needs `shared` rows of a band's inputs once more.
    fn step(
        reads: &[(Value, u64)],
        gives: (Value, u64),
        weights: u64,
        shared: u64,
    ) -> Option<Need> {
        let inputs = reads.iter().map(|r| r.1).sum();
        Some(Need {
            extents: Extents {
                blocks: vec![weights],
                inputs,
                outputs: gives.1,
                rows: 16,
                halo: inputs / 16 * shared,
                held_blocks: 2,
                ..Extents::default()
            },
            reads: reads.to_vec(),
            gives: vec![gives],
            leaves: false,
            tile_rows: 1,
            edges: GroupCycles::default(),
        })
    }

    fn memory() -> Memory {
        let memory = Machine::builtin("secateur-1tops").unwrap().memory;
        Memory {
            weight_bytes: 1000,
            ..memory.unwrap()
        }
    }

    /// A small picture, two large values, a small answer.
    fn needs() -> Vec<Option<Need>> {
        let mut needs = vec![
            step(&[(0, 320)], (1, 3200), 100, 2),
            step(&[(1, 3200)], (2, 3200), 100, 2),
            step(&[(2, 3200)], (3, 160), 100, 0),
        ];
        if let Some(last) = &mut needs[2] {
            last.leaves = true;
        }
        needs
    }

    /// Which steps are worked on together, and the bytes that move.
    fn planned(capacity: u64, needs: &[Option<Need>]) -> (Vec<Range<usize>>, u64) {
        let residency = Residency::new(capacity, needs);
        let chains = plan(residency, needs, &memory()).unwrap();
        let moved = chains
            .iter()
            .map(|(c, placed)| placed.moved(&c.need.extents));
        let moved = moved.sum();
        (chains.into_iter().map(|(c, _)| c.steps).collect(), moved)
    }

    #[test]
    fn what_flows_between_stays_where_that_moves_less() {
        let needs = needs();
        // All of it fits: nothing is to be saved.
        assert_eq!(
            planned(8000, &needs),
            (vec![0..1, 1..2, 2..3], 320 + 300 + 160)
        );
        assert_eq!(planned(2000, &needs), (vec![0..3], 320 + 300 + 160));
        let residency = Residency::new(2000, &needs);
        let chain = Chain::of(&residency, &needs, 0..3, &memory()).unwrap();
        assert_eq!(chain.step_of_block, [0, 1, 2]);
        let extents = &chain.need.extents;
        assert_eq!(
            (extents.between, extents.inputs, extents.outputs),
            (6400, 320, 160)
        );
        // Two rows of 200 bytes between the first two, none behind.
        assert_eq!((extents.ahead, extents.halo), (400, 40));
    }

    #[test]
    fn waiting_at_bands_is_weighed_against_bytes() {
        let mut needs = needs();
        for need in needs.iter_mut().flatten() {
            need.edges.drain = 1000;
        }
        assert_eq!(planned(2000, &needs).0, [0..1, 1..2, 2..3]);
    }

    #[test]
    fn a_residual_stays_from_its_first_reader_to_its_last() {
        // Value 1 goes through two steps of three rows and is added behind them.
        let needs = [
            step(&[(0, 1600)], (1, 1600), 10, 0),
            step(&[(1, 1600)], (2, 1600), 10, 2),
            step(&[(2, 1600)], (3, 1600), 10, 2),
            step(&[(3, 1600), (1, 1600)], (4, 1600), 0, 0),
        ];
        let each: Vec<&Need> = needs.iter().flatten().collect();
        let flows = flows(&each);
        let kept = |value| flows[&value].kept();
        assert_eq!((kept(0), kept(1), kept(2), kept(3)), (0, 400, 200, 0));
    }

    #[test]
    fn what_a_host_reads_ends_a_chain() {
        let mut needs = needs();
        if let Some(first) = &mut needs[0] {
            first.leaves = true;
        }
        assert_eq!(planned(2000, &needs).0, [0..1, 1..3]);
        let apart = [needs[0].clone(), None, needs[1].clone(), needs[2].clone()];
        assert_eq!(planned(2000, &apart).0, [0..1, 2..4]);
    }

    #[test]
    fn a_step_that_does_not_fit_is_told() {
        let needs = needs();
        let residency = Residency::new(300, &needs);
        assert_eq!(plan(residency, &needs, &memory()).unwrap_err(), 0);
    }
}
