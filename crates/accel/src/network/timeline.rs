//! When memory beyond the chip and the array are busy.

use crate::{Buffers, Machine};

/// Bytes of a block of a step from and to beyond the chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Traffic {
    /// Weights: wanted before the block begins, fetched while the one before is worked on.
    pub weights: u64,
    /// Inputs: they stream in while the block is worked on.
    pub inputs: u64,
    /// Outputs: they leave when the block is done.
    pub outputs: u64,
}

impl Traffic {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.weights + self.inputs + self.outputs
    }
}

/// What a part of the machine is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The array or the vector unit: a block of a step.
    Work,
    /// Memory beyond the chip: weights come.
    Weights,
    /// Memory beyond the chip: inputs come.
    Inputs,
    /// Memory beyond the chip: outputs leave.
    Outputs,
}

/// A stretch of time, in cycles, in which a part of the machine is busy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Busy {
    /// The step of the network that it is for.
    pub layer: usize,
    /// What with.
    pub lane: Lane,
    /// When it begins.
    pub from: f64,
    /// When it ends.
    pub to: f64,
}

/// Memory serves one request after the other; the scratchpad of weights holds two blocks, the one that is worked on
/// and the next.
#[derive(Debug)]
pub(super) struct Timeline {
    bytes_a_cycle: f64,
    /// When the array is free.
    end: f64,
    /// When the half of the scratchpad that the next block of weights goes to is free.
    half_free: f64,
    /// When the other half is.
    other_half_free: f64,
    /// When memory is free.
    memory_free: f64,
    /// Bytes that the block before gave and that have not left yet.
    leaving: u64,
    /// Whether bytes move while the array works.
    overlaps: bool,
    /// The step of that block.
    leaving_layer: usize,
    /// What was busy when, where that is to be recorded.
    record: Option<Vec<Busy>>,
    /// The step that is worked on.
    layer: usize,
}

/// Stretches of time that are recorded, at the most: what comes later is left out.
const MOST_RECORDED: usize = 1 << 15;

impl Timeline {
    pub fn new(machine: &Machine, recording: bool) -> Self {
        let memory = machine.memory.as_ref();
        Self {
            bytes_a_cycle: memory.map_or(f64::INFINITY, |m| m.dram_bytes_a_cycle),
            end: 0.0,
            half_free: 0.0,
            other_half_free: 0.0,
            memory_free: 0.0,
            leaving: 0,
            overlaps: memory.is_none_or(|m| m.buffers != Buffers::Cache),
            leaving_layer: 0,
            record: recording.then(Vec::new),
            layer: 0,
        }
    }

    /// Goes on with a step.
    pub fn begin(&mut self, layer: usize) {
        self.layer = layer;
    }

    /// What was recorded.
    pub fn recorded(self) -> Vec<Busy> {
        self.record.unwrap_or_default()
    }

    fn note(&mut self, lane: Lane, from: f64, to: f64) {
        let layer = match lane {
            Lane::Outputs => self.leaving_layer,
            _ => self.layer,
        };
        let Some(record) = &mut self.record else {
            return;
        };
        // What goes on without a break is one stretch.
        let last = record.iter_mut().rev().find(|b| b.lane == lane);
        if let Some(last) = last.filter(|b| b.layer == layer && b.to >= from) {
            last.to = to;
            return;
        }
        if record.len() < MOST_RECORDED && to > from {
            record.push(Busy {
                layer,
                lane,
                from,
                to,
            });
        }
    }

    /// A block of so many cycles; gives those in which the array waited.
    pub fn block(&mut self, traffic: &Traffic, cycles: f64) -> f64 {
        let before = self.end;
        if !self.overlaps {
            let start = self.move_bytes(Lane::Inputs, traffic.total(), self.end);
            self.end = start + cycles;
            self.note(Lane::Work, start, self.end);
            return self.end - before - cycles;
        }
        let mut start = self.end;
        if traffic.weights > 0 {
            start = start.max(self.move_bytes(Lane::Weights, traffic.weights, self.half_free));
        }
        self.write_back();
        self.end = start + cycles;
        self.note(Lane::Work, start, self.end);
        if traffic.inputs > 0 {
            self.end = self
                .end
                .max(self.move_bytes(Lane::Inputs, traffic.inputs, before));
        }
        if traffic.weights > 0 {
            (self.half_free, self.other_half_free) = (self.other_half_free, self.end);
        }
        (self.leaving, self.leaving_layer) = (traffic.outputs, self.layer);
        self.end - before - cycles
    }

    /// Weights that stayed until now make room for those of the next blocks: `all` of their scratchpad, or half.
    pub fn free_weights(&mut self, all: bool) {
        self.other_half_free = self.end;
        if all {
            self.half_free = self.end;
        }
    }

    /// When everything has left the chip.
    pub fn finish(&mut self) -> f64 {
        self.write_back();
        self.end.max(self.memory_free)
    }

    fn write_back(&mut self) {
        let bytes = std::mem::take(&mut self.leaving);
        if bytes > 0 {
            self.move_bytes(Lane::Outputs, bytes, self.end);
        }
    }

    /// Moves bytes once they are there and memory is free; gives when that is done.
    fn move_bytes(&mut self, lane: Lane, bytes: u64, ready: f64) -> f64 {
        let start = self.memory_free.max(ready);
        self.memory_free = start + bytes as f64 / self.bytes_a_cycle;
        self.note(lane, start, self.memory_free);
        self.memory_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline() -> Timeline {
        let mut timeline = Timeline::new(&Machine::builtin("secateur-1tops").unwrap(), true);
        timeline.bytes_a_cycle = 1.0;
        timeline
    }

    fn weights(weights: u64) -> Traffic {
        Traffic {
            weights,
            ..Traffic::default()
        }
    }

    #[test]
    fn weights_arrive_while_the_block_before_is_worked_on() {
        let mut timeline = timeline();
        assert_eq!(timeline.block(&weights(100), 50.0), 100.0);
        // Fetched from 100 to 140, while the array works until 150.
        assert_eq!(timeline.block(&weights(40), 10.0), 0.0);
        // A step without weights leaves the prefetch alone: the half of the first block is free from 150 on.
        assert_eq!(timeline.block(&weights(0), 5.0), 0.0);
        assert_eq!(timeline.block(&weights(30), 1.0), 15.0);
        assert_eq!(timeline.finish(), 181.0);
    }

    #[test]
    fn inputs_stream_in_and_outputs_leave_behind() {
        let mut timeline = timeline();
        let traffic = Traffic {
            inputs: 80,
            outputs: 20,
            ..Traffic::default()
        };
        assert_eq!(timeline.block(&traffic, 50.0), 30.0);
        assert_eq!(timeline.finish(), 100.0);
        let busy: Vec<_> = timeline.recorded();
        let seen = busy.iter().map(|b| (b.lane, b.from, b.to));
        let all = [
            (Lane::Work, 0.0, 50.0),
            (Lane::Inputs, 0.0, 80.0),
            (Lane::Outputs, 80.0, 100.0),
        ];
        assert_eq!(seen.collect::<Vec<_>>(), all);
    }

    #[test]
    fn what_is_not_fetched_ahead_is_waited_for() {
        let mut timeline = timeline();
        timeline.overlaps = false;
        assert_eq!(timeline.block(&weights(100), 50.0), 100.0);
        assert_eq!(timeline.block(&weights(40), 10.0), 40.0);
        assert_eq!(timeline.finish(), 200.0);
    }
}
