//! What operations and bytes cost, in picojoules.

use serde::{Deserialize, Serialize};

/// Energies of a process, by its name in machine files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Process {
    /// 45 nm at 0.9 V (Horowitz, ISSCC 2014).
    #[default]
    #[serde(rename = "45nm")]
    Nm45,
    /// 7 nm (Jouppi et al., ISCA 2021; quoted from memory).
    #[serde(rename = "7nm")]
    Nm7,
}

/// Energies of one process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Energies {
    /// A product of two 8-bit integers.
    pub multiply_8_bit_pj: f64,
    /// A product of two 32-bit integers.
    pub multiply_32_bit_pj: f64,
    /// A sum of two 32-bit integers.
    pub add_32_bit_pj: f64,
    /// 8 bytes from or to memories of 8 KB, 32 KB and 1 MB.
    pub sram_8_bytes_pj: [f64; 3],
    /// 8 bytes from or to memory beyond the chip.
    pub dram_8_bytes_pj: f64,
}

/// Capacities of the memories whose energies are published, as powers of two.
const SRAM_LOG2_BYTES: [f64; 3] = [13.0, 15.0, 20.0];

impl Process {
    /// Its energies.
    pub fn energies(self) -> Energies {
        match self {
            Self::Nm45 => Energies {
                multiply_8_bit_pj: 0.2,
                multiply_32_bit_pj: 3.1,
                add_32_bit_pj: 0.1,
                sram_8_bytes_pj: [10.0, 20.0, 100.0],
                dram_8_bytes_pj: 1300.0,
            },
            Self::Nm7 => Energies {
                multiply_8_bit_pj: 0.07,
                multiply_32_bit_pj: 1.48,
                add_32_bit_pj: 0.03,
                sram_8_bytes_pj: [7.5, 8.5, 14.0],
                dram_8_bytes_pj: 1300.0,
            },
        }
    }
}

impl Energies {
    /// A multiply-accumulate of operands of so many bits: between 8 and 32 by the logarithm of the energy over that of the
    /// bits, which is ours.
    pub fn mac_pj(&self, operand_bits: u32) -> f64 {
        let share = f64::from(operand_bits).log2().clamp(3.0, 5.0) / 2.0 - 1.5;
        let wider = (self.multiply_32_bit_pj / self.multiply_8_bit_pj).powf(share);
        self.multiply_8_bit_pj * wider + self.add_32_bit_pj
    }

    /// A byte from or to a memory of so many: between the published capacities by the logarithm of the energy over
    /// that of the capacity, which is ours; beyond them that of the nearest.
    pub fn sram_byte_pj(&self, capacity_bytes: usize) -> f64 {
        let at = (capacity_bytes.max(1) as f64).log2();
        let [a, b, c] = SRAM_LOG2_BYTES;
        let [x, y, z] = self.sram_8_bytes_pj;
        let between = |(from, to): (f64, f64), (low, high): (f64, f64)| {
            let share = ((at - from) / (to - from)).clamp(0.0, 1.0);
            low * (high / low).powf(share)
        };
        let of_8_bytes = match at < b {
            true => between((a, b), (x, y)),
            false => between((b, c), (y, z)),
        };
        of_8_bytes / 8.0
    }

    /// A byte from or to memory beyond the chip.
    pub fn dram_byte_pj(&self) -> f64 {
        self.dram_8_bytes_pj / 8.0
    }
}

/// Bytes that a step moves within the machine and beyond it, by level and way.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Moved {
    /// From memory beyond the chip.
    pub dram_read_bytes: u64,
    /// To memory beyond the chip.
    pub dram_written_bytes: u64,
    /// From the scratchpad for activations.
    pub activations_read_bytes: u64,
    /// Into it.
    pub activations_written_bytes: u64,
    /// From the scratchpad for weights.
    pub weights_read_bytes: u64,
    /// Into it.
    pub weights_written_bytes: u64,
    /// From the buffers at the cells.
    pub buffers_read_bytes: u64,
    /// Into them.
    pub buffers_written_bytes: u64,
}

impl Moved {
    /// From and to memory beyond the chip.
    pub fn dram_bytes(&self) -> u64 {
        self.dram_read_bytes + self.dram_written_bytes
    }

    /// So many times this.
    pub fn times(&self, n: u64) -> Self {
        Self {
            dram_read_bytes: self.dram_read_bytes * n,
            dram_written_bytes: self.dram_written_bytes * n,
            activations_read_bytes: self.activations_read_bytes * n,
            activations_written_bytes: self.activations_written_bytes * n,
            weights_read_bytes: self.weights_read_bytes * n,
            weights_written_bytes: self.weights_written_bytes * n,
            buffers_read_bytes: self.buffers_read_bytes * n,
            buffers_written_bytes: self.buffers_written_bytes * n,
        }
    }

    /// This and another.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            dram_read_bytes: self.dram_read_bytes + other.dram_read_bytes,
            dram_written_bytes: self.dram_written_bytes + other.dram_written_bytes,
            activations_read_bytes: self.activations_read_bytes + other.activations_read_bytes,
            activations_written_bytes: self.activations_written_bytes
                + other.activations_written_bytes,
            weights_read_bytes: self.weights_read_bytes + other.weights_read_bytes,
            weights_written_bytes: self.weights_written_bytes + other.weights_written_bytes,
            buffers_read_bytes: self.buffers_read_bytes + other.buffers_read_bytes,
            buffers_written_bytes: self.buffers_written_bytes + other.buffers_written_bytes,
        }
    }
}

/// What a byte costs where it is moved, in picojoules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BytePrices {
    /// The scratchpad for activations.
    pub activations_pj: f64,
    /// The scratchpad for weights, or the part of it that a group has.
    pub weights_pj: f64,
    /// A buffer at the cells.
    pub buffers_pj: f64,
    /// Memory beyond the chip.
    pub dram_pj: f64,
}

/// Where the energy of a step goes, in picojoules.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct EnergyParts {
    /// Products and sums.
    pub multiply_pj: f64,
    /// Inputs at the cells, and their way there.
    pub inputs_pj: f64,
    /// Weights into their scratchpad and to the cells.
    pub weights_pj: f64,
    /// What is written into the scratchpad for activations.
    pub outputs_pj: f64,
    /// Bytes from and to memory beyond the chip.
    pub dram_pj: f64,
}

impl EnergyParts {
    /// Of so many multiply-accumulates at a price each, and of bytes.
    pub fn of(multiplies: u64, mac_pj: f64, moved: &Moved, prices: &BytePrices) -> Self {
        let of = |bytes: u64, pj: f64| bytes as f64 * pj;
        Self {
            multiply_pj: of(multiplies, mac_pj),
            inputs_pj: of(moved.activations_read_bytes, prices.activations_pj)
                + of(
                    moved.buffers_read_bytes + moved.buffers_written_bytes,
                    prices.buffers_pj,
                ),
            weights_pj: of(
                moved.weights_read_bytes + moved.weights_written_bytes,
                prices.weights_pj,
            ),
            outputs_pj: of(moved.activations_written_bytes, prices.activations_pj),
            dram_pj: of(moved.dram_bytes(), prices.dram_pj),
        }
    }

    /// This and another.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            multiply_pj: self.multiply_pj + other.multiply_pj,
            inputs_pj: self.inputs_pj + other.inputs_pj,
            weights_pj: self.weights_pj + other.weights_pj,
            outputs_pj: self.outputs_pj + other.outputs_pj,
            dram_pj: self.dram_pj + other.dram_pj,
        }
    }

    /// All of it.
    pub fn total_pj(&self) -> f64 {
        self.multiply_pj + self.inputs_pj + self.weights_pj + self.outputs_pj + self.dram_pj
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_capacities_have_their_published_energies() {
        let energies = Process::Nm45.energies();
        let of_8_bytes = |bytes| 8.0 * energies.sram_byte_pj(bytes);
        for (bytes, pj) in [
            (1 << 13, 10.0),
            (1 << 15, 20.0),
            (1 << 20, 100.0),
            (64, 10.0),
            (1 << 24, 100.0),
        ] {
            assert!(
                (of_8_bytes(bytes) - pj).abs() < 1e-9,
                "{bytes}: {}",
                of_8_bytes(bytes)
            );
        }
        let between = of_8_bytes(1 << 14);
        assert!(between > 10.0 && between < 20.0, "{between}");
    }

    #[test]
    fn products_of_16_bits_lie_between_those_of_8_and_32() {
        let energies = Process::Nm45.energies();
        let of = |bits| energies.mac_pj(bits) - energies.add_32_bit_pj;
        for (bits, pj) in [(8, 0.2), (16, (0.2f64 * 3.1).sqrt()), (32, 3.1)] {
            assert!((of(bits) - pj).abs() < 1e-9, "{bits}: {}", of(bits));
        }
    }
}
