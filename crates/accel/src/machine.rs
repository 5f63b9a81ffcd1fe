//! Machines as files.

mod settings;

use crate::AccelError;
use crate::builtin::{self, Builtin, builtin};
use crate::eie::Eie;
use crate::energy::Process;
use crate::row_stationary::RowStationary;
use crate::sparse::SparseArray;
use crate::spatial::Spatial;
use crate::systolic::Systolic;
use serde::{Deserialize, Serialize};

/// A machine: an array that multiplies, the memories that feed it, a clock.
///
/// ```
/// # use secateur_accel::{Array, Machine};
/// let machine = Machine::builtin("secateur-1tops")?;
/// assert_eq!(machine.cells(), 512);
/// assert_eq!(machine.peak_tops(), 1.024);
/// assert!(matches!(machine.array, Array::Sparse(_)));
/// # Ok::<(), secateur_accel::AccelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Where its figures come from.
    pub source: String,
    /// Cycles of a microsecond.
    pub clock_mhz: f64,
    /// Whose energies operations and bytes have.
    #[serde(default)]
    pub process: Process,
    /// What multiplies.
    pub array: Array,
    /// What feeds the array; a machine that holds all of its weights has none.
    pub memory: Option<Memory>,
    /// What runs the steps that the machine cannot.
    #[serde(default)]
    pub host: Host,
}

/// A processor beside the machine, for floats and operators that it lacks, one step after the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Multiply-accumulates a second, in 10⁹.
    pub gmacs_a_second: f64,
    /// Bytes that it reads and writes a second, in 10⁹.
    pub gbytes_a_second: f64,
}

impl Default for Host {
    /// A small core: 2 GHz, four floats a cycle, a 32-bit channel of LPDDR4.
    fn default() -> Self {
        Self {
            gmacs_a_second: 8.0,
            gbytes_a_second: 8.0,
        }
    }
}

impl Host {
    /// What a step takes whose arithmetic and bytes go on side by side.
    pub(crate) fn microseconds(&self, macs: u64, bytes: u64) -> f64 {
        let arithmetic = macs as f64 / self.gmacs_a_second;
        arithmetic.max(bytes as f64 / self.gbytes_a_second) / 1e3
    }
}

/// What multiplies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Array {
    /// Groups that skip weights that are zero.
    Sparse(SparseArray),
    /// A dense grid.
    Systolic(Systolic),
    /// A block of a dense layer a cycle.
    Spatial(Spatial),
    /// A row of a kernel and a row of an image in each cell.
    RowStationary(RowStationary),
    /// Elements that skip inputs that are zero, too, for products of matrix and vector.
    Eie(Eie),
}

/// Bytes of a bias and a factor, beside an output channel's weights.
pub(crate) const OUTPUT_BYTES: usize = 8;

/// Scratchpads, managed by the compiler, and what lies beyond them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Bytes for inputs and outputs of layers.
    pub activation_bytes: usize,
    /// Bytes for weights that are under way or to come.
    pub weight_bytes: usize,
    /// Bytes a cycle from the activations to the patches of a sparse array; dense arrays are fed as they need.
    pub activation_bytes_a_cycle: f64,
    /// Bytes a cycle from beyond the chip and to it, together.
    pub dram_bytes_a_cycle: f64,
    /// Elements a cycle of operators without weights.
    pub vector_elements_a_cycle: f64,
    /// What the two are.
    #[serde(default)]
    pub buffers: Buffers,
    /// Whether steps may be worked on together, band by band, so that what only they read never leaves the chip
    /// (fused layers: Alwani et al., MICRO 2016): for sparse arrays; with a cache there is nothing to plan.
    #[serde(default)]
    pub fuses_layers: bool,
}

/// How what lies between the array and memory beyond the chip is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Buffers {
    /// Two scratchpads: activations stay between steps where there is room, weights arrive a block ahead.
    #[default]
    Parted,
    /// One scratchpad of both sizes together, parted anew for each layer; no activations stay.
    Shared,
    /// A cache of both sizes together: what was used least recently makes room, and nothing arrives ahead of its use.
    Cache,
}

/// The machines that come with the program, by name.
const BUILTIN: &[Builtin] = builtin![
    "machines":
    "secateur-1tops",
    "systolic-32x32",
    "eie-64",
    "arm-ml",
    "nvdla-64",
    "nvdla-256",
    "nvdla-512",
    "nvdla-1024",
    "nvdla-2048",
    "xdnn-28x32",
    "xdnn-56x32",
    "eyeriss-like",
    "a100-2to4-tile",
    "cascade-lake-core",
];

impl Machine {
    /// The names of the machines that come with the program.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// A machine that comes with the program.
    ///
    /// # Errors
    /// A name that none has.
    pub fn builtin(name: &str) -> Result<Self, AccelError> {
        Self::from_toml(builtin::text(BUILTIN, name)?, name)
    }

    /// A machine from the text of its file; `place` is what errors call it.
    ///
    /// # Errors
    /// Text that is no machine, a machine that cannot be built.
    pub fn from_toml(text: &str, place: &str) -> Result<Self, AccelError> {
        builtin::parse(text, place, Self::check)
    }

    /// Cells that multiply.
    pub fn cells(&self) -> usize {
        match &self.array {
            Array::Sparse(array) => array.groups * array.lanes,
            Array::Systolic(array) => array.rows * array.columns,
            Array::Spatial(array) => array.cells(),
            Array::RowStationary(array) => array.rows * array.columns,
            Array::Eie(array) => array.elements,
        }
    }

    /// Bytes of a weight and of an activation.
    pub(crate) fn operand_bytes(&self) -> u64 {
        match &self.array {
            Array::Sparse(array) => array.operand_bytes(),
            _ => 1,
        }
    }

    /// Operations a second if every cell multiplied and added in every cycle, in 10¹².
    pub fn peak_tops(&self) -> f64 {
        2.0 * self.cells() as f64 * self.clock_mhz / 1e6
    }

    /// Whether it can be built.
    pub(crate) fn check(&self) -> Result<(), AccelError> {
        let within = |setting, range: std::ops::RangeInclusive<f64>, found: f64| match range
            .contains(&found)
        {
            true => Ok(()),
            false => Err(AccelError::Machine {
                setting,
                needed: format!("{} to {}", range.start(), range.end()),
                found: found.to_string(),
            }),
        };
        let rate = 1e-3..=1e6;
        let bytes = 1.0..=2f64.powi(40);
        within("clock_mhz", rate.clone(), self.clock_mhz)?;
        match (&self.memory, &self.array) {
            (Some(m), _) => {
                within("activation_bytes", bytes.clone(), m.activation_bytes as f64)?;
                within("weight_bytes", bytes, m.weight_bytes as f64)?;
                within(
                    "activation_bytes_a_cycle",
                    rate.clone(),
                    m.activation_bytes_a_cycle,
                )?;
                within("dram_bytes_a_cycle", rate.clone(), m.dram_bytes_a_cycle)?;
                within("vector_elements_a_cycle", rate, m.vector_elements_a_cycle)?;
            }
            (None, Array::Eie(_)) => {}
            (None, _) => {
                return Err(AccelError::Machine {
                    setting: "memory",
                    needed: "a table of this name".into(),
                    found: "none".into(),
                });
            }
        }
        within("gmacs_a_second", 1e-3..=1e6, self.host.gmacs_a_second)?;
        within("gbytes_a_second", 1e-3..=1e6, self.host.gbytes_a_second)?;
        let buffers = self.memory.as_ref().map(|m| m.buffers);
        let fuses = self.memory.as_ref().is_some_and(|m| m.fuses_layers);
        if fuses && !matches!(self.array, Array::Sparse(_)) {
            return Err(AccelError::Machine {
                setting: "fuses_layers",
                needed: "false, but for a sparse array".into(),
                found: "true".into(),
            });
        }
        match &self.array {
            Array::Sparse(_) if buffers == Some(Buffers::Shared) => Err(AccelError::Machine {
                setting: "buffers",
                needed: "parted or cache, for a sparse array".into(),
                found: "shared".into(),
            }),
            Array::Sparse(array) => array.check(),
            Array::Systolic(array) => array.check(),
            Array::Spatial(array) => array.check(),
            Array::RowStationary(array) => array.check(),
            Array::Eie(array) => array.check(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_that_comes_along_can_be_built() {
        for name in Machine::names() {
            let machine = Machine::builtin(name).unwrap();
            assert_eq!(machine.name, name);
            let text = toml::to_string(&machine).unwrap();
            assert_eq!(Machine::from_toml(&text, name).unwrap(), machine);
        }
    }

    #[test]
    fn what_is_wrong_with_a_machine_is_told() {
        let (_, text) = BUILTIN[0];
        let told = |from: &str, to: &str| {
            assert!(text.contains(from));
            let wrong = Machine::from_toml(&text.replace(from, to), "m.toml");
            wrong.unwrap_err().to_string()
        };
        let unknown = told("lanes = 32", "lanes = 32\nlane = 3");
        assert!(
            unknown.contains("m.toml") && unknown.contains("`lane`"),
            "{unknown}"
        );
        let none = told("lanes = 32", "lanes = 0");
        assert!(none.contains("lanes: needed 1 to 64, found 0"), "{none}");
        let clock = told("clock_mhz = 1000", "clock_mhz = -1");
        assert!(
            clock.contains("clock_mhz: needed 0.001 to 1000000"),
            "{clock}"
        );
        let none = told("[memory]", "[energy]");
        assert!(none.contains("`energy`"), "{none}");
        let bare = text.split("[memory]").next().unwrap();
        let bare = Machine::from_toml(bare, "m.toml").unwrap_err().to_string();
        assert!(bare.contains("memory: needed a table"), "{bare}");
        let other = Machine::builtin("tpu").unwrap_err().to_string();
        assert!(other.contains("eie-64"), "{other}");
    }
}
