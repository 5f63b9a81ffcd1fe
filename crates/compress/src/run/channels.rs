//! The channels step: cuts, each followed by training.

use super::{Round, Stage, quantize, replace_weights};
use crate::channels::{Importance, Schedule, permute_for_engine, remove_dead};
use crate::criterion::of_weights;
use crate::ptq;
use crate::recipe::{ChannelsStep, EncodeStep};
use crate::{Calibration, CompressError, Criterion};
use secateur_model::{Graph, Shape};

impl Stage<'_> {
    pub(super) fn channels(
        &mut self,
        graph: &mut Graph,
        step: &ChannelsStep,
    ) -> Result<(), CompressError> {
        let (cut, retrain) = step.resolve(&graph.name);
        let rounds = step.schedule.rounds();
        let input = self.input(graph)?;
        let inputs = [(input.0.as_str(), input.1)];
        let schedule = Schedule::new(graph, &inputs, cut)?;
        for round in 1..=rounds {
            self.round = Round {
                index: round - 1,
                rounds,
            };
            let part = round as f64 / rounds as f64;
            let worth = match step.criterion {
                Criterion::Magnitude => None,
                criterion => {
                    let (data, images) = (self.images()?, step.images);
                    Some(of_weights(criterion, graph, &Calibration { data, images })?)
                }
            };
            let importance = worth
                .as_ref()
                .map_or(Importance::Magnitude, Importance::OfWeights);
            schedule.cut(graph, &inputs, part, importance)?;
            self.settle(graph, retrain)?;
        }
        remove_dead(graph, &inputs)?;
        Ok(())
    }

    pub(super) fn encode(&self, graph: &mut Graph, step: &EncodeStep) -> Result<(), CompressError> {
        if step.fold_norms {
            fold_norms(graph)?;
        }
        if step.order_channels {
            let (name, shape) = self.input(graph)?;
            permute_for_engine(graph, &[(&name, shape)])?;
        }
        Ok(())
    }

    /// The network's input, for one image.
    pub(super) fn input(&self, graph: &Graph) -> Result<(String, Shape), CompressError> {
        let name = graph.inputs.first().map(|input| input.name.clone());
        let data = self.images()?;
        let image = [1, data.channels, data.height, data.width];
        Ok((name.unwrap_or_default(), Shape::new(&image)?))
    }
}

/// Makes normalisations part of the layers before them; biases that they change take two bytes.
pub(super) fn fold_norms(graph: &mut Graph) -> Result<(), CompressError> {
    let before = graph.clone();
    ptq::fold_norms(graph)?;
    let mut biases = quantize::biases(graph);
    biases.retain(|name| before.weight(name) != graph.weight(name));
    replace_weights(graph, biases, quantize::half_precision)
}
