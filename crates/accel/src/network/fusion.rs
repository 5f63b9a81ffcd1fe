//! Steps that are worked on together, band by band, so that what only they read never leaves the chip (fused
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
/// groups wait at the beginnings and ends of bands; of equal routes the one with the fewest steps together. The best
/// route to each step is gone on from, whatever else the scratchpad could hold there.
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
    let mut routes: Vec<Option<Route>> = needs.iter().map(|_| None).collect();
    routes.push(None);
    routes[0] = Some(Route {
        moved: 0,
        cost: (0, 0),
        residency: start,
        last: None,
    });
    for first in 0..needs.len() {
        let behind = needs.len().min(first + most);
        for end in first + 1..=behind {
            let Some(route) = &routes[first] else { break };
            let Some(need) = &needs[end - 1] else {
                // A host's: nothing changes.
                if end == first + 1 {
                    let next = Route {
                        residency: route.residency.clone(),
                        last: None,
                        ..*route
                    };
                    next.or(&mut routes[end]);
                }
                break;
            };
            if let Some(next) = route.then(needs, first..end, memory) {
                next.or(&mut routes[end]);
            }
            // What a host reads is there when its turn comes.
            if need.leaves {
                break;
            }
        }
    }
    let reached = routes.iter().rposition(Option::is_some).unwrap_or(0);
    if reached < needs.len() {
        return Err(reached);
    }
    let mut chains = VecDeque::new();
    let mut at = needs.len();
    while at > 0 {
        match routes[at].take().and_then(|route| route.last) {
            Some((chain, placed)) => {
                at = chain.steps.start;
                chains.push_front((chain, placed));
            }
            None => at -= 1,
        }
    }
    Ok(chains)
}

/// How a step is come to.
struct Route {
    /// Bytes from and to beyond the chip so far.
    moved: u64,
    /// These and those that are still to come for what was there once; steps that were worked on with others.
    cost: (u64, usize),
    residency: Residency,
    /// The last steps; `None` for a host's.
    last: Option<(Chain, Placed)>,
}

impl Route {
    /// This, and then these steps together.
    fn then(&self, needs: &[Option<Need>], steps: Range<usize>, memory: &Memory) -> Option<Self> {
        let chain = Chain::of(&self.residency, needs, steps, memory)?;
        let mut residency = self.residency.clone();
        let placed = residency.place(&chain.steps, &chain.need)?;
        let (waits, together) = match chain.steps.len() {
            1 => (0, 0),
            n => ((placed.mapping.bands - 1) * chain.need.edges.total(), n),
        };
        let waits = (waits as f64 * memory.dram_bytes_a_cycle) as u64;
        let moved = self.moved + placed.moved(&chain.need.extents) + waits;
        Some(Self {
            moved,
            cost: (
                moved + residency.to_come(chain.steps.end),
                self.cost.1 + together,
            ),
            residency,
            last: Some((chain, placed)),
        })
    }

    /// Takes the place of a dearer one.
    fn or(self, other: &mut Option<Self>) {
        if other.as_ref().is_none_or(|other| self.cost < other.cost) {
            *other = Some(self);
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
            cost.band_wait_cycles = again.total();
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

    /// What each piece moves: block by block, band by band.
    pub fn traffic(&self, placed: &Placed, costs: &[LayerCost]) -> Vec<Traffic> {
        let extents = &self.need.extents;
        if self.steps.len() == 1 {
            return placed.traffic(extents);
        }
        let cycles = self.cycles_of_blocks(costs).into_iter();
        let shares: Vec<u64> = cycles.map(|cycles| cycles.ceil() as u64 + 1).collect();
        let of_last = self.step_of_block.iter();
        let of_last = of_last.filter(|step| **step + 1 == self.steps.end);
        placed.traffic_together(extents, &shares, of_last.count())
    }

    /// Lets time pass, piece by piece, and tells what moved in the costs: weights of their own step, what comes in of the
    /// steps that read it first, what goes out of those that give it.
    pub fn pass(
        &self,
        pieces: &[Traffic],
        needs: &[Option<Need>],
        timeline: &mut Timeline,
        costs: &mut [LayerCost],
    ) {
        let blocks = self.step_of_block.len().max(1);
        let passes = (pieces.len() / blocks).max(1) as f64;
        let cycles = self.cycles_of_blocks(costs);
        let mut waited = vec![0.0; self.steps.len()];
        for (piece, traffic) in pieces.iter().enumerate() {
            let block = piece % blocks;
            let step = self.step_of_block[block];
            timeline.begin(step);
            waited[step - self.steps.start] += timeline.block(traffic, cycles[block] / passes);
            costs[step].moved.dram_read_bytes += traffic.weights;
            costs[step].moved.weights_written_bytes += traffic.weights;
        }
        for (step, waited) in self.steps.clone().zip(waited) {
            costs[step].dram_wait_cycles = waited.round() as u64;
        }
        let inputs = pieces.iter().map(|piece| piece.inputs).sum();
        for (step, bytes) in shared_out(inputs, &self.first_reads(needs)) {
            costs[step].moved.dram_read_bytes += bytes;
            costs[step].moved.activations_written_bytes += bytes;
        }
        let outputs = pieces.iter().map(|piece| piece.outputs).sum();
        for (step, bytes) in shared_out(outputs, &self.gives(needs)) {
            costs[step].moved.dram_written_bytes += bytes;
            costs[step].moved.activations_read_bytes += bytes;
        }
    }

    /// Steps, and the bytes from elsewhere that they are the first to read.
    fn first_reads(&self, needs: &[Option<Need>]) -> Vec<(usize, u64)> {
        let mut unread: BTreeMap<Value, u64> = self.need.reads.iter().copied().collect();
        let mut first = |step: usize| {
            let reads = needs[step].iter().flat_map(|need| &need.reads);
            reads.filter_map(|(value, _)| unread.remove(value)).sum()
        };
        self.steps.clone().map(|step| (step, first(step))).collect()
    }

    /// Steps, and the bytes that they give for others than these.
    fn gives(&self, needs: &[Option<Need>]) -> Vec<(usize, u64)> {
        let given = |step: usize| {
            let gives = needs[step].iter().flat_map(|need| &need.gives);
            let gives = gives.filter(|value| self.need.gives.contains(value));
            gives.map(|(_, bytes)| bytes).sum()
        };
        self.steps.clone().map(|step| (step, given(step))).collect()
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
        if !each.iter().all(|need| need.row_by_row) {
            return None;
        }
        let flows = flows(&each);
        let mut all = Extents {
            together: each.iter().map(|need| need.rows_of_tiles()).collect(),
            ..Extents::default()
        };
        all.rows = all.together.iter().min().copied().unwrap_or(1);
        let (mut reads, mut gives) = (Vec::new(), Vec::new());
        for (value, flow) in &flows {
            let of_value = (*value, flow.bytes);
            let leaves = residency.is_used(*value, steps.end) || flow.from.is_none();
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
                row_by_row: true,
                tile_rows: 1,
                edges,
            },
            step_of_block,
        })
    }
}

impl Need {
    /// Rows of tiles of the outputs.
    fn rows_of_tiles(&self) -> u64 {
        self.extents.rows.div_ceil(self.tile_rows.max(1)).max(1)
    }
}

/// Bytes, shared out in proportion; to the first where there is none.
fn shared_out(bytes: u64, shares: &[(usize, u64)]) -> Vec<(usize, u64)> {
    let all: u64 = shares.iter().map(|(_, share)| share).sum();
    let mut done = 0;
    let mut left = bytes;
    let mut parts: Vec<(usize, u64)> = Vec::with_capacity(shares.len());
    for &(step, share) in shares {
        let until = |at: u64| (u128::from(bytes) * u128::from(at) / u128::from(all.max(1))) as u64;
        let part = until(done + share) - until(done);
        done += share;
        left -= part;
        parts.push((step, part));
    }
    if let Some((_, first)) = parts.first_mut() {
        *first += left;
    }
    parts
}

/// A value of a chain. Steps run ahead of its last one, by shares of the image, as far as those behind them need, in whole
/// tiles.
#[derive(Debug)]
struct Flow {
    bytes: u64,
    /// Whether a step of the chain gives it.
    given: bool,
    /// Until where it is there: as far ahead as the step is that gives it or that reads the most ahead.
    until: f64,
    /// From where on it is still needed; `None` where none of the chain reads it.
    from: Option<f64>,
}

impl Flow {
    fn new(bytes: u64) -> Self {
        Self {
            bytes,
            given: false,
            until: 0.0,
            from: None,
        }
    }

    /// Bytes that are there beside a band.
    fn kept(&self) -> u64 {
        let share = (self.until - self.from.unwrap_or(self.until)).clamp(0.0, 1.0);
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
            ahead = ahead.max(flow.until);
        }
        let rows = need.rows_of_tiles() as f64;
        let ahead = (ahead * rows).ceil() / rows;
        for (value, _) in &need.gives {
            if let Some(flow) = flows.get_mut(value) {
                (flow.given, flow.until) = (true, ahead);
            }
        }
        // The rows around those at the same place, half of them behind; where they lie elsewhere, less is kept.
        let halo = need.extents.halo as f64 / need.extents.inputs.max(1) as f64;
        for (value, bytes) in &need.reads {
            let flow = flows.entry(*value).or_insert(Flow::new(*bytes));
            flow.until = flow.until.max(ahead + halo);
            let from = ahead - halo / 2.0;
            flow.from = Some(flow.from.map_or(from, |last| last.min(from)));
        }
    }
    flows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Machine;
    use crate::mapper::Order;

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
            row_by_row: true,
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

    /// Which steps are worked on together, the first and the one behind the last, and the bytes that move.
    fn planned(capacity: u64, needs: &[Option<Need>]) -> (Vec<(usize, usize)>, u64) {
        let residency = Residency::new(capacity, needs);
        let chains = plan(residency, needs, &memory()).unwrap();
        let moved = chains
            .iter()
            .map(|(c, placed)| placed.moved(&c.need.extents));
        let moved = moved.sum();
        (
            chains
                .into_iter()
                .map(|(c, _)| (c.steps.start, c.steps.end))
                .collect(),
            moved,
        )
    }

    #[test]
    fn what_flows_between_stays_where_that_moves_less() {
        let needs = needs();
        // All of it fits: nothing is to be saved.
        assert_eq!(
            planned(8000, &needs),
            (vec![(0, 1), (1, 2), (2, 3)], 320 + 300 + 160)
        );
        assert_eq!(planned(2000, &needs), (vec![(0, 3)], 320 + 300 + 160));
        let residency = Residency::new(2000, &needs);
        let chain = Chain::of(&residency, &needs, 0..3, &memory()).unwrap();
        assert_eq!(chain.step_of_block, [0, 1, 2]);
        let extents = &chain.need.extents;
        assert_eq!(
            (extents.between, extents.inputs, extents.outputs),
            (6400, 320, 160)
        );
        // Two rows of 200 bytes ahead of the second step and one behind, none of what the third reads.
        assert_eq!((extents.ahead, extents.halo), (600, 60));
    }

    #[test]
    fn waiting_at_bands_is_weighed_against_bytes() {
        let mut needs = needs();
        for need in needs.iter_mut().flatten() {
            need.edges.drain = 1000;
        }
        assert_eq!(planned(2000, &needs).0, [(0, 1), (1, 2), (2, 3)]);
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
        assert_eq!((kept(0), kept(1), kept(2), kept(3)), (0, 400, 300, 0));
    }

    #[test]
    fn steps_run_ahead_by_whole_tiles_whoever_reads_them() {
        // Of two values that a step gives one goes through three rows, in tiles of four.
        let mut needs = [
            step(&[(0, 1600)], (1, 1600), 10, 0),
            step(&[(1, 1600)], (2, 1600), 10, 2),
            step(&[(2, 1600), (5, 1600)], (3, 1600), 0, 0),
        ];
        for need in needs.iter_mut().flatten() {
            need.tile_rows = 4;
        }
        if let Some(first) = &mut needs[0] {
            first.gives.push((5, 1600));
        }
        let each: Vec<&Need> = needs.iter().flatten().collect();
        let flows = flows(&each);
        let kept = |value| flows[&value].kept();
        assert_eq!((kept(1), kept(5), kept(2)), (500, 400, 0));
    }

    #[test]
    fn what_is_read_behind_a_chain_leaves_band_by_band_and_weights_come_for_each() {
        // Both values of the first two steps are read once more by the last; no weights fit together.
        let mut needs = [
            step(&[(0, 320)], (1, 3200), 600, 0),
            step(&[(1, 3200)], (2, 3200), 600, 0),
            step(&[(2, 3200), (1, 3200)], (3, 160), 0, 0),
        ];
        if let Some(last) = &mut needs[2] {
            last.leaves = true;
        }
        let residency = Residency::new(2000, &needs);
        let chain = Chain::of(&residency, &needs, 0..2, &memory()).unwrap();
        assert_eq!(
            (chain.need.extents.between, chain.need.extents.outputs),
            (0, 6400)
        );
        let placed = residency.clone().place(&chain.steps, &chain.need).unwrap();
        let mapping = placed.mapping;
        assert_eq!(
            (mapping.order, mapping.weights_held),
            (Order::PixelsStay, false)
        );
        assert_eq!(
            placed.moved(&chain.need.extents),
            320 + mapping.bands * 1200 + 6400
        );
        let (steps, _) = planned(2000, &needs);
        assert_eq!(steps, [(0, 3)]);
    }

    #[test]
    fn what_is_there_fits_and_pieces_sum_to_what_moves() {
        let mut needs = needs();
        for (need, tile_rows) in needs.iter_mut().flatten().zip([1, 4, 2]) {
            need.tile_rows = tile_rows;
        }
        for capacity in [1500, 2000, 2500, 3000, 4000, 6000] {
            let residency = Residency::new(capacity, &needs);
            let Ok(chains) = plan(residency, &needs, &memory()) else {
                continue;
            };
            for (chain, placed) in chains {
                let extents = &chain.need.extents;
                assert!(placed.mapping.activation_bytes <= capacity);
                let pieces = match chain.steps.len() {
                    1 => placed.traffic(extents),
                    _ => placed.traffic_together(extents, &[50, 7, 0], 1),
                };
                let moved: u64 = pieces.iter().map(Traffic::total).sum();
                assert_eq!(moved, placed.moved(extents), "{capacity}");
            }
        }
    }

    #[test]
    fn what_a_host_reads_ends_a_chain() {
        let mut needs = needs();
        if let Some(first) = &mut needs[0] {
            first.leaves = true;
        }
        assert_eq!(planned(2000, &needs).0, [(0, 1), (1, 3)]);
        let apart = [needs[0].clone(), None, needs[1].clone(), needs[2].clone()];
        assert_eq!(planned(2000, &apart).0, [(0, 1), (2, 4)]);
    }

    #[test]
    fn a_step_that_does_not_fit_is_told() {
        let needs = needs();
        let residency = Residency::new(300, &needs);
        assert_eq!(plan(residency, &needs, &memory()).unwrap_err(), 0);
    }
}
