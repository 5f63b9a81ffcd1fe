//! This machine, as the compressor asks about it.

use crate::{network, score};
use anyhow::Result;
use secateur_compress::policy::{LayerTime, Machine, Unknown};
use secateur_data::Dataset;
use secateur_engine::{Bound, Session, SessionOptions};
use secateur_model::{Graph, Shape};
use std::collections::BTreeMap;
use std::time::Instant;

/// Times networks on the engine: one sample at a time, one thread.
pub struct ThisMachine<'a> {
    /// What the samples look like.
    data: &'a Dataset,
}

/// Runs of which the median counts, and the milliseconds after which fewer do.
const RUNS: usize = 31;
const ENOUGH_MS: f64 = 500.0;

impl<'a> ThisMachine<'a> {
    /// The machine, for such samples.
    pub fn new(data: &'a Dataset) -> Self {
        Self { data }
    }

    fn timed<T>(
        &self,
        graph: &Graph,
        time: impl FnOnce(&Bound<'_>, &[f32]) -> Result<T>,
    ) -> Result<T> {
        let options = SessionOptions {
            threads: Some(1),
            ..SessionOptions::default()
        };
        let batch = network::fixed_batch(graph).unwrap_or(1).max(1);
        let shape = Shape::new(&network::shape_for(graph, self.data, batch)?)?;
        let session = Session::new(graph, &options)?;
        let bound = session.bind(std::slice::from_ref(&shape))?;
        let mut input = score::zeros(shape.elements())?;
        let images: Vec<usize> = (0..batch.min(self.data.len())).collect();
        let (filled, _) = input.split_at_mut(images.len() * self.data.image_len());
        self.data.gather(&images, filled);
        time(&bound, &input)
    }
}

impl Machine for ThisMachine<'_> {
    fn layers(&mut self, graph: &Graph) -> Result<BTreeMap<String, LayerTime>, Unknown> {
        let steps = self.timed(graph, |bound, input| Ok(bound.profile(&[input], RUNS)?))?;
        let mut times: BTreeMap<String, LayerTime> = BTreeMap::new();
        for step in steps {
            let node = graph.nodes.iter().find(|n| n.name == step.name);
            if let Some((weight, _)) = node.and_then(|n| graph.kernel_of(n)) {
                times.entry(weight.to_owned()).or_default().microseconds += step.median_us;
            }
        }
        Ok(times)
    }

    fn milliseconds(&mut self, graph: &Graph) -> Result<Option<f64>, Unknown> {
        let median = self.timed(graph, |bound, input| {
            let mut outputs = score::outputs(bound)?;
            let mut times = Vec::with_capacity(RUNS);
            let start = Instant::now();
            // The first one warms up.
            for run in 0..=RUNS {
                let begin = Instant::now();
                score::run(bound, input, &mut outputs)?;
                if run > 0 {
                    times.push(begin.elapsed().as_secs_f64() * 1e3);
                }
                if run > 2 && start.elapsed().as_secs_f64() * 1e3 > ENOUGH_MS {
                    break;
                }
            }
            times.sort_by(f64::total_cmp);
            Ok(times[times.len() / 2])
        })?;
        Ok(Some(median))
    }
}
