//! The channels step: cuts, each followed by training.

use super::{Round, Stage};
use crate::CompressError;
use crate::channels::{Importance, Schedule, remove_dead};
use crate::recipe::ChannelsStep;
use secateur_model::{Graph, Shape};

impl Stage<'_> {
    pub(super) fn channels(
        &mut self,
        graph: &mut Graph,
        step: &ChannelsStep,
    ) -> Result<(), CompressError> {
        let (cut, retrain) = step.resolve(&graph.name);
        let rounds = step.schedule.rounds();
        let input = graph.inputs.first().map(|input| input.name.clone());
        let input = input.unwrap_or_default();
        let image = [1, self.train.channels, self.train.height, self.train.width];
        let inputs = [(input.as_str(), Shape::new(&image)?)];
        let schedule = Schedule::new(graph, &inputs, cut)?;
        for round in 1..=rounds {
            self.round = Round {
                index: round - 1,
                rounds,
            };
            let part = round as f64 / rounds as f64;
            schedule.cut(graph, &inputs, part, Importance::Magnitude)?;
            self.retrain(graph, retrain)?;
        }
        remove_dead(graph, &inputs)?;
        Ok(())
    }
}
