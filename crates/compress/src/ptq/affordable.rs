//! Which activations can be codes: those that cost the answers most may stay reals.

use super::outputs::Outputs;
use super::samples::Samples;
use crate::activations::quantize_activations;
use crate::{ActivationScale, CompressError};
use secateur_model::Graph;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Of these codes for activations, as many as change the network's outputs by no more than `most`, a
/// part of their variance: without those that, alone, change them most. `progress` is told activations
/// tried and in all; where all are affordable, none is tried alone.
///
/// # Errors
/// Samples that cannot be run, outputs that do not vary, `progress` that breaks off.
pub fn affordable(
    graph: &Graph,
    scales: BTreeMap<String, ActivationScale>,
    samples: &dyn Samples,
    most: f64,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<BTreeMap<String, ActivationScale>, CompressError> {
    let outputs = Outputs::of(graph, samples)?;
    let error = |scales: &BTreeMap<String, ActivationScale>| {
        let mut quantized = graph.clone();
        quantize_activations(&mut quantized, scales)?;
        outputs.error(&quantized, samples)
    };
    let mut together = error(&scales)?;
    if together <= most {
        return Ok(scales);
    }
    let mut alone = Vec::with_capacity(scales.len());
    for (name, &scale) in &scales {
        let only = BTreeMap::from([(name.clone(), scale)]);
        alone.push((name.clone(), error(&only)?));
        if progress(alone.len(), scales.len()).is_break() {
            return Err(CompressError::Stopped {
                step: "calibration",
            });
        }
    }
    // The costliest is last.
    alone.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut kept = scales;
    while together > most {
        // As if errors added up, the least that has to go.
        let sum = |costs: &[(String, f64)]| costs.iter().map(|(_, cost)| cost).sum::<f64>();
        let ratio = Some(together / sum(&alone))
            .filter(|r| r.is_finite())
            .unwrap_or(1.0);
        while let Some((name, _)) = alone.pop() {
            kept.remove(&name);
            if sum(&alone) * ratio <= most {
                break;
            }
        }
        together = match kept.is_empty() {
            true => 0.0,
            false => error(&kept)?,
        };
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Width;
    use crate::activations::quantizable;
    use crate::ptq::Images;
    use secateur_model::zoo;

    #[test]
    fn what_costs_most_stays_real() {
        let graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        let data = secateur_data::load("digits").unwrap();
        let samples = Images {
            data: &data.test,
            limit: 64,
        };
        let names = quantizable(&graph);
        let scale = |scale| ActivationScale {
            scale,
            zero_point: 0,
            width: Width::Eight,
        };
        // The second layer's input has a step that leaves nothing of it.
        let scales: BTreeMap<_, _> = names
            .iter()
            .enumerate()
            .map(|(i, name)| (name.clone(), scale(if i == 1 { 100.0 } else { 0.01 })))
            .collect();
        let go_on = &mut |_, _| ControlFlow::Continue(());
        let all = affordable(&graph, scales.clone(), &samples, 10.0, go_on).unwrap();
        assert_eq!(all, scales);
        let some = affordable(&graph, scales.clone(), &samples, 0.05, go_on).unwrap();
        let left: Vec<&String> = some.keys().collect();
        assert_eq!(left.len(), 2);
        assert!(!left.contains(&&names[1]), "{left:?}");
        let none = affordable(&graph, scales, &samples, 0.0, go_on).unwrap();
        assert!(none.is_empty());
    }
}
