//! A whole network on a machine: layers one behind the other, weights fetched ahead.

mod cache;
mod causes;
mod fusion;
mod placement;
mod residency;
mod step;
mod timeline;

pub use causes::Cause;
pub use timeline::{Busy, Lane};

use crate::eie::ElementCycles;
use crate::energy::{EnergyParts, Moved};
use crate::mapper::Mapping;
use crate::sparse::{Activity, GroupCycles, Span, Tiling};
use crate::systolic::Cycles;
use crate::{AccelError, Machine};
use placement::Placement;
use residency::Need;
use secateur_model::Tensor;
use secateur_plan::draft::Draft;
use serde::Serialize;
use std::collections::HashMap;
use step::Step;
use timeline::Timeline;

/// What a network costs on a machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkCost {
    /// The machine's name.
    pub machine: String,
    /// Cells that multiply.
    pub cells: usize,
    /// Steps in order.
    pub layers: Vec<LayerCost>,
    /// Cycles behind the last step until its results have left the chip.
    pub answer_cycles: u64,
    /// Cycles from the first byte to the last.
    pub cycles: u64,
    /// The same in microseconds.
    pub microseconds: f64,
    /// What steps take a host, one after the other, which is not among the cycles.
    pub host_microseconds: f64,
    /// Multiply-accumulates of the dense layers that the machine ran.
    pub macs: u64,
    /// Operations of these dense layers a second, in 10¹²: two a multiply-accumulate.
    pub effective_tops: f64,
    /// Operations a second if every cell worked in every cycle.
    pub peak_tops: f64,
    /// Bytes that it moves, by level.
    pub moved: Moved,
    /// Bytes from and to beyond the chip at least, whatever the scratchpads: weights, inputs and answers once.
    pub dram_least_bytes: u64,
    /// Where the energy goes; `None` for machines of which the model knows none.
    pub energy: Option<EnergyParts>,
    /// What was busy when; empty unless it was [recorded](Evaluated::recorded).
    #[serde(skip)]
    pub busy: Vec<Busy>,
}

/// Who runs a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The array.
    Array,
    /// The unit for operators without weights.
    Vector,
    /// A processor beside the machine: floats, and operators that it lacks. Its time stands apart; what goes there
    /// and comes back is counted, as bytes beyond the chip.
    Host,
}

/// What a step costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerCost {
    /// The node of the lowered network.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Who runs it.
    pub kind: Kind,
    /// Cycles with its operands there.
    pub cycles: u64,
    /// What it takes a host; 0 of what is none's.
    pub host_microseconds: f64,
    /// Of these, what it waits at the beginnings and ends of bands but for the first, where it is worked on together with others.
    pub band_wait_cycles: u64,
    /// Cycles beside them in which the machine waited for bytes from beyond the chip.
    pub dram_wait_cycles: u64,
    /// Bytes from and to beyond the chip at least, whatever the scratchpads: weights once, what a host gives and takes once.
    pub dram_least_bytes: u64,
    /// Bytes that it moves, by level.
    pub moved: Moved,
    /// Multiply-accumulates.
    pub activity: Activity,
    /// Where its energy goes; `None` where the model knows none.
    pub energy: Option<EnergyParts>,
    /// How it was cut, on a sparse array.
    pub tiling: Option<Tiling>,
    /// How it, or it together with others, goes through the scratchpads; `None` where there are none.
    pub mapping: Option<Mapping>,
    /// Steps that are worked on together, band by band, with this one among them.
    pub together: usize,
    /// Where cycles went, the groups' together, on a sparse array.
    pub groups: Option<GroupCycles>,
    /// Where cycles went, on a systolic array.
    pub folds: Option<Cycles>,
    /// Where cycles went, the elements' together, on EIE.
    pub elements: Option<ElementCycles>,
    /// Whether the sums that the machine's cells had are what the reference gives, to the bit; `None` where cycles
    /// follow from the extents and nothing is summed.
    pub exact: Option<bool>,
    /// What the groups of a sparse array did first; empty unless it was [recorded](Evaluated::recorded).
    #[serde(skip)]
    pub spans: Vec<Span>,
}

impl NetworkCost {
    /// Cells that had a weight and an input to multiply, were one of them zero, over all cells in a layer's cycles.
    pub fn cells_busy(&self, layer: &LayerCost) -> f64 {
        let all = self.cells as u64 * layer.cycles;
        layer.activity.in_cells() as f64 / all.max(1) as f64
    }

    /// Operations of a dense layer a second, in 10¹², in the cycles that it has taken with its waits for bytes.
    pub fn layer_tops(&self, layer: &LayerCost) -> f64 {
        let cycles = layer.cycles + layer.dram_wait_cycles;
        let clock_mhz = self.cycles as f64 / self.microseconds;
        match cycles {
            0 => 0.0,
            _ => 2.0 * layer.activity.dense as f64 / cycles as f64 * clock_mhz / 1e6,
        }
    }

    /// Operations of the dense layers for a joule, in 10¹².
    pub fn effective_tops_a_watt(&self) -> Option<f64> {
        let energy = self.energy?.total_pj();
        (energy > 0.0).then(|| 2.0 * self.macs as f64 / energy)
    }
}

/// A network with what each of its steps gives for an input: what any number of machines are costed on.
#[derive(Debug)]
pub struct Evaluated<'a> {
    draft: &'a Draft,
    values: HashMap<String, Tensor>,
}

/// Spans of a layer that are recorded.
const MOST_SPANS: usize = 64;

impl<'a> Evaluated<'a> {
    /// Evaluates a network by the reference.
    ///
    /// # Errors
    /// An input that the network does not take.
    pub fn new(draft: &'a Draft, inputs: &[(&str, &Tensor)]) -> Result<Self, AccelError> {
        let values = draft.evaluate_all(inputs)?;
        Ok(Self { draft, values })
    }

    /// Runs it on a machine, layer by layer.
    ///
    /// # Errors
    /// A machine that cannot be built; a layer that the machine's memories cannot hold.
    pub fn cost(&self, machine: &Machine) -> Result<NetworkCost, AccelError> {
        self.run(machine, false)
    }

    /// [Runs](Self::cost) it, and records what is busy when: memory, the array, and at the beginning of each layer its
    /// groups.
    ///
    /// # Errors
    /// As [`cost`](Self::cost).
    pub fn recorded(&self, machine: &Machine) -> Result<NetworkCost, AccelError> {
        self.run(machine, true)
    }

    fn run(&self, machine: &Machine, recording: bool) -> Result<NetworkCost, AccelError> {
        machine.check()?;
        let spans = match recording {
            true => MOST_SPANS,
            false => 0,
        };
        let steps = step::of_network(machine, self.draft, &self.values, spans)?;
        let runs: Vec<(LayerCost, Option<Need>)> =
            steps.iter().map(Step::run).collect::<Result<_, _>>()?;
        let (mut layers, needs): (Vec<LayerCost>, Vec<Option<Need>>) = runs.into_iter().unzip();
        let mut placement = Placement::new(machine, &needs, &layers)?;
        let mut timeline = Timeline::new(machine, recording);
        let mut next = 0;
        while next < steps.len() {
            next += placement.place(&needs, next, &mut timeline, &mut layers)?;
        }
        for (step, cost) in steps.iter().zip(&mut layers) {
            if cost.kind != Kind::Host {
                cost.energy = step.energy(cost);
            }
        }
        let of_layers: u64 = layers.iter().map(|l| l.cycles + l.dram_wait_cycles).sum();
        let answer_cycles = (timeline.finish().ceil() as u64).saturating_sub(of_layers);
        let cycles = of_layers + answer_cycles;
        let microseconds = cycles as f64 / machine.clock_mhz;
        let macs = layers.iter().map(|l| l.activity.dense).sum();
        let energies = layers.iter().filter_map(|layer| layer.energy);
        Ok(NetworkCost {
            machine: machine.name.clone(),
            cells: machine.cells(),
            answer_cycles,
            cycles,
            microseconds,
            host_microseconds: layers.iter().map(|l| l.host_microseconds).sum(),
            macs,
            effective_tops: match cycles {
                0 => 0.0,
                _ => 2.0 * macs as f64 / microseconds / 1e6,
            },
            peak_tops: machine.peak_tops(),
            moved: layers
                .iter()
                .fold(Moved::default(), |sum, l| sum.plus(&l.moved)),
            dram_least_bytes: layers.iter().map(|l| l.dram_least_bytes).sum(),
            energy: energies.reduce(|sum, layer| sum.plus(&layer)),
            layers,
            busy: timeline.recorded(),
        })
    }
}

/// Runs a network on an input, layer by layer.
///
/// # Errors
/// A machine that cannot be built; an input that the network does not take; a layer that the machine's memories
/// cannot hold.
pub fn simulate(
    machine: &Machine,
    draft: &Draft,
    inputs: &[(&str, &Tensor)],
) -> Result<NetworkCost, AccelError> {
    machine.check()?;
    Evaluated::new(draft, inputs)?.cost(machine)
}
