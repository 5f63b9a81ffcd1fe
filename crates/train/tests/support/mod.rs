//! Trainings that are broken off.
#![allow(clippy::unwrap_used)]

use secateur_data::Dataset;
use secateur_model::Graph;
use secateur_train::{FitOptions, FitState, Hooks, Keeper, Quiet, TrainError, fit};
use std::ops::ControlFlow;

/// Stops after so many steps, and goes on from what was kept then.
struct BrokenOff {
    after: usize,
    kept: Option<Vec<u8>>,
}

impl Hooks for BrokenOff {
    fn after_step(&mut self, step: usize, _: usize, _: f32) -> ControlFlow<()> {
        match step + 1 == self.after {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        Some(self)
    }
}

impl Keeper for BrokenOff {
    fn resume(&mut self, fingerprint: &[u8; 32]) -> Result<Option<FitState>, TrainError> {
        let state = self.kept.as_deref().map(FitState::from_bytes).transpose()?;
        assert!(state.as_ref().is_none_or(|s| s.fingerprint == *fingerprint));
        Ok(state)
    }

    fn wants(&mut self, stopping: bool) -> bool {
        stopping
    }

    fn keep(&mut self, state: &FitState) {
        assert_eq!(state.done, self.after);
        self.kept = Some(state.to_bytes().unwrap());
    }

    fn forget(&mut self) {
        self.kept = None;
    }
}

/// A training that is broken off after so many steps, and again a step later, gives the network of one that is not.
/// Gives what was kept first, too.
pub fn goes_on_to_the_same(
    graph: &Graph,
    data: &Dataset,
    options: &FitOptions,
    after: usize,
) -> Vec<u8> {
    let mut whole = graph.clone();
    let report = fit(&mut whole, data, options, &mut Quiet).unwrap();
    assert!(report.steps > after + 1, "{report:?}");
    let mut hooks = BrokenOff { after, kept: None };
    let mut broken = graph.clone();
    let mut first = None;
    for _ in 0..2 {
        let error = fit(&mut broken, data, options, &mut hooks).unwrap_err();
        assert!(matches!(error, TrainError::Stopped { .. }), "{error}");
        assert_eq!(&broken, graph);
        first = first.or(hooks.kept.clone());
        hooks.after += 1;
    }
    hooks.after = 0;
    let resumed = fit(&mut broken, data, options, &mut hooks).unwrap();
    assert_eq!((&broken, resumed), (&whole, report));
    first.unwrap()
}
