//! One setting from which a whole recipe follows.

use super::Journal;
use crate::CompressError;
use crate::policy::Machine;
use crate::recipe::Step;
use secateur_model::Graph;

/// The steps of one candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What it is called in tables.
    pub name: String,
    /// Steps whose result later candidates go on from, where this one can go further.
    pub carried: Vec<Step>,
    /// Steps that end it: rounding, coding.
    pub finish: Vec<Step>,
}

/// What a knob may use.
pub struct Context<'a> {
    /// Follows the search, and remembers what was measured.
    pub journal: &'a mut dyn Journal,
    /// Where the network will run.
    pub machine: &'a mut dyn Machine,
}

/// One setting: turned up, networks get smaller, and worse.
pub trait Knob {
    /// The level to begin with, the factor to the next, the weakest and the strongest level.
    fn range(&self) -> [f64; 4];

    /// Ways to train that are tried at the first level; the best serves from then on.
    fn variants(&self) -> usize {
        1
    }

    /// Trains in this way from now on.
    fn choose(&mut self, variant: usize) {
        let _ = variant;
    }

    /// Trains more slowly from now on, because a training diverged; whether that can be tried.
    fn slower(&mut self) -> bool {
        false
    }

    /// The steps at a level, from a network that the carried steps of earlier candidates made (the dense
    /// one at first); `None` where no choice goes so far.
    ///
    /// # Errors
    /// A network that cannot be measured or pruned, a journal that stops.
    fn plan(
        &mut self,
        level: f64,
        from: &Graph,
        context: &mut Context<'_>,
    ) -> Result<Option<Plan>, CompressError>;
}
