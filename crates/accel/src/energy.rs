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
                add_32_bit_pj: 0.1,
                sram_8_bytes_pj: [10.0, 20.0, 100.0],
                dram_8_bytes_pj: 1300.0,
            },
            Self::Nm7 => Energies {
                multiply_8_bit_pj: 0.07,
                add_32_bit_pj: 0.03,
                sram_8_bytes_pj: [7.5, 8.5, 14.0],
                dram_8_bytes_pj: 1300.0,
            },
        }
    }
}

impl Energies {
    /// A multiply-accumulate of 8 bits.
    pub fn mac_pj(&self) -> f64 {
        self.multiply_8_bit_pj + self.add_32_bit_pj
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

/// Where the energy of a step goes, in picojoules.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct EnergyParts {
    /// Products and sums.
    pub multiply_pj: f64,
    /// Inputs at the cells, and their way there.
    pub inputs_pj: f64,
    /// Weights at the cells.
    pub weights_pj: f64,
    /// Results into the scratchpad.
    pub outputs_pj: f64,
    /// Bytes from and to memory beyond the chip.
    pub dram_pj: f64,
}

impl EnergyParts {
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

    /// So many times this.
    pub fn times(&self, n: f64) -> Self {
        Self {
            multiply_pj: self.multiply_pj * n,
            inputs_pj: self.inputs_pj * n,
            weights_pj: self.weights_pj * n,
            outputs_pj: self.outputs_pj * n,
            dram_pj: self.dram_pj * n,
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
}
