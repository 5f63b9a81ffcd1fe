//! How a session runs, and where the environment has a say.

use crate::EngineError;
use crate::costs::known_costs;
use secateur_kernels::Isa;
use secateur_plan::Costs;

/// Threads of a session, at most.
const MAX_THREADS: usize = 1024;

/// How a session runs. What is not set comes from the environment, then from
/// the machine.
///
/// ```
/// # use secateur_engine::SessionOptions;
/// let single = SessionOptions { threads: Some(1), ..SessionOptions::default() };
/// assert_eq!(single.resolved_threads()?, 1);
/// # Ok::<(), secateur_engine::EngineError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Threads; else `SECATEUR_THREADS`, else as many as the machine runs at once. Those beside the
    /// caller wait awake, using a processor each, for half a millisecond after a run.
    pub threads: Option<usize>,
    /// The instruction set; else `SECATEUR_ISA`, else the best there is.
    pub isa: Option<Isa>,
    /// Choose kernels by what they cost on this machine, which is measured the first time and kept in
    /// the user's cache, and not by [typical costs](Costs::typical); else unless
    /// `SECATEUR_CALIBRATE` is `off`. WebAssembly has no clock to measure by: costs are typical there.
    pub calibrate: Option<bool>,
    /// Evaluate by the slow reference instead of kernels.
    pub reference: bool,
}

impl SessionOptions {
    /// The number of threads that these options mean here.
    ///
    /// # Errors
    /// A number below 1 or above 1024; a variable that is no number, or more than run at once.
    pub fn resolved_threads(&self) -> Result<usize, EngineError> {
        let here = std::thread::available_parallelism().map_or(1, usize::from);
        let wrong = |option, most: usize, found: String| EngineError::Setting {
            option,
            needed: format!("a number from 1 to {most}"),
            found,
        };
        if let Some(threads) = self.threads {
            // More than run at once are only slower: tests of how work is shared have use for them.
            return match threads {
                1..=MAX_THREADS => Ok(threads),
                _ => Err(wrong("threads", MAX_THREADS, threads.to_string())),
            };
        }
        let option = "SECATEUR_THREADS";
        match std::env::var(option) {
            Ok(text) => match text.trim().parse() {
                Ok(threads) if (1..=here).contains(&threads) => Ok(threads),
                _ => Err(wrong(option, here, text)),
            },
            Err(_) => Ok(here.min(MAX_THREADS)),
        }
    }

    /// The costs that kernels of a set are chosen by.
    ///
    /// # Errors
    /// A set that the processor lacks, a variable that is neither `on` nor `off`.
    pub fn resolved_costs(&self, isa: Isa) -> Result<Costs, EngineError> {
        let option = "SECATEUR_CALIBRATE";
        let calibrate = match (self.calibrate, std::env::var(option).as_deref()) {
            (Some(calibrate), _) => calibrate,
            (None, Err(_) | Ok("on")) => true,
            (None, Ok("off")) => false,
            (None, Ok(found)) => {
                return Err(EngineError::Setting {
                    option,
                    needed: "on or off".into(),
                    found: found.into(),
                });
            }
        };
        // WebAssembly has no clock to measure by.
        let measurable = cfg!(all(feature = "calibrate", not(target_arch = "wasm32")));
        match calibrate && measurable {
            true => known_costs(isa),
            false => Ok(Costs::typical(isa)),
        }
    }

    /// The instruction set that these options mean here.
    ///
    /// # Errors
    /// A set that the processor lacks, a variable that names none.
    pub fn resolved_isa(&self) -> Result<Isa, EngineError> {
        let isa = match (self.isa, std::env::var("SECATEUR_ISA")) {
            (Some(isa), _) => isa,
            (None, Ok(text)) => text.trim().parse().map_err(|_| EngineError::Setting {
                option: "SECATEUR_ISA",
                needed: Isa::ALL.map(Isa::token).join(", "),
                found: text,
            })?,
            (None, Err(_)) => Isa::best(),
        };
        isa.require().map_err(EngineError::Isa)
    }
}
