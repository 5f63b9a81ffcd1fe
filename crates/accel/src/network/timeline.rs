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
}

impl Timeline {
    pub fn new(machine: &Machine) -> Self {
        let memory = machine.memory.as_ref();
        Self {
            bytes_a_cycle: memory.map_or(f64::INFINITY, |m| m.dram_bytes_a_cycle),
            end: 0.0,
            half_free: 0.0,
            other_half_free: 0.0,
            memory_free: 0.0,
            leaving: 0,
            overlaps: memory.is_none_or(|m| m.buffers != Buffers::Cache),
        }
    }

    /// A block of so many cycles; gives those in which the array waited.
    pub fn block(&mut self, traffic: &Traffic, cycles: f64) -> f64 {
        let before = self.end;
        if !self.overlaps {
            self.end = self.move_bytes(traffic.total(), self.end) + cycles;
            return self.end - before - cycles;
        }
        let mut start = self.end;
        if traffic.weights > 0 {
            start = start.max(self.move_bytes(traffic.weights, self.half_free));
        }
        self.write_back();
        self.end = start + cycles;
        if traffic.inputs > 0 {
            self.end = self.end.max(self.move_bytes(traffic.inputs, before));
        }
        if traffic.weights > 0 {
            (self.half_free, self.other_half_free) = (self.other_half_free, self.end);
        }
        self.leaving = traffic.outputs;
        self.end - before - cycles
    }

    /// When everything has left the chip.
    pub fn finish(&mut self) -> f64 {
        self.write_back();
        self.end.max(self.memory_free)
    }

    fn write_back(&mut self) {
        let bytes = std::mem::take(&mut self.leaving);
        if bytes > 0 {
            self.move_bytes(bytes, self.end);
        }
    }

    /// Moves bytes once they are there and memory is free; gives when that is done.
    fn move_bytes(&mut self, bytes: u64, ready: f64) -> f64 {
        self.memory_free = self.memory_free.max(ready) + bytes as f64 / self.bytes_a_cycle;
        self.memory_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline() -> Timeline {
        let mut timeline = Timeline::new(&Machine::builtin("secateur-1tops").unwrap());
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
