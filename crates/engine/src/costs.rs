//! The costs that sessions plan by: measured once on a machine, and kept.

use crate::EngineError;
use crate::calibrate::calibrate;
use secateur_kernels::{Isa, KERNELS, cpu_name};
use secateur_plan::Costs;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Raised when what is measured changes, so that older figures are not taken for it.
const VERSION: u32 = 3;

/// What is kept of a measurement.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// The processor: caches may follow a home directory to another machine.
    cpu: String,
    /// The kernels that were measured.
    kernels: Vec<String>,
    costs: Costs,
}

/// This machine's costs of a set: those that are kept, or new ones, which are kept where there is a
/// place for it.
///
/// # Errors
/// A set that the processor lacks.
pub fn known_costs(isa: Isa) -> Result<Costs, EngineError> {
    /// One measurement a process, also where nothing can be written.
    static KNOWN: Mutex<Option<HashMap<Isa, Costs>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if let Some(costs) = known.get(&isa) {
        return Ok(costs.clone());
    }
    let kept = costs_path(isa).and_then(|path| read(&path, isa));
    let costs = kept.map_or_else(|| measure_costs(isa), Ok)?;
    known.insert(isa, costs.clone());
    Ok(costs)
}

/// Measures this machine's costs of a set, which takes about a tenth of a second, and keeps them for
/// sessions to come where there is a place for it.
///
/// # Errors
/// A set that the processor lacks.
pub fn measure_costs(isa: Isa) -> Result<Costs, EngineError> {
    let costs = calibrate(isa)?;
    if let Some(path) = costs_path(isa) {
        // Without a place the next process measures again.
        let _ = write(&path, isa, &costs);
    }
    Ok(costs)
}

/// Where the costs of a set are kept, if this system has a place for caches.
pub fn costs_path(isa: Isa) -> Option<PathBuf> {
    let cache = directories::BaseDirs::new()?.cache_dir().join("secateur");
    Some(cache.join(format!("costs-{isa}.json")))
}

/// The kernels that a set uses.
fn kernels(isa: Isa) -> Vec<String> {
    let names = KERNELS.iter().filter(|k| k.isa <= isa).map(|k| k.name);
    names.map(str::to_owned).collect()
}

/// What is kept, if it is of this processor and these kernels, and makes sense.
fn read(path: &Path, isa: Isa) -> Option<Costs> {
    let kept: Kept = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let is_mine = kept.version == VERSION && kept.cpu == cpu_name() && kept.kernels == kernels(isa);
    (is_mine && kept.costs.check().is_ok()).then_some(kept.costs)
}

fn write(path: &Path, isa: Isa, costs: &Costs) -> std::io::Result<()> {
    let kept = Kept {
        version: VERSION,
        cpu: cpu_name(),
        kernels: kernels(isa),
        costs: costs.clone(),
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec_pretty(&kept)?)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_kept_and_others_are_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/costs.json");
        let costs = Costs::typical(Isa::Generic);
        assert_eq!(read(&path, Isa::Generic), None);
        write(&path, Isa::Generic, &costs).unwrap();
        assert_eq!(read(&path, Isa::Generic).as_ref(), Some(&costs));
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to) in [
            ("\"version\": 3", "\"version\": 0"),
            ("gemm_16x4", "gemm_99x9"),
            ("\"multiply_ns\": ", "\"multiply_ns\": -"),
            ("{", "["),
        ] {
            assert!(text.contains(from));
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            assert_eq!(read(&path, Isa::Generic), None, "{from}");
        }
    }
}
