//! Optimal Brain Surgeon for each output, as in Optimal Brain Compression (Frantar & Alistarh 2022):
//! what is given up is made up for by the weights that stay, as well as the layer's inputs allow.
//!
//! With `M = E[x xᵀ]` the mean squared error of an output whose weights become `w` is
//! `(w − w₀)ᵀ M (w − w₀)`. If the layer has a bias to itself, it takes the mean of the error, and `M` is
//! the covariance.

mod order;

use super::{Calibration, Target};
use crate::CompressError;
use crate::bias::own_bias;
use crate::linalg::{Cholesky, dot, inverse, part};
use crate::pattern::Pattern;
use crate::ptq::columns::dampen;
use crate::ptq::{Sparsity, remove};
use crate::second_moment::{Moment, SecondMoments};
use order::{Band, order};
use rayon::prelude::*;
use secateur_model::{Bitmask, Graph, Node};
use std::collections::BTreeMap;

/// Share of the mean square added to every input's, so that inputs that hardly vary do not grow
/// weights without bound.
const DAMPING: f64 = 0.01;

/// Bytes of second moments held at once.
const MOMENT_BYTES: usize = 1 << 30;

/// `outputs · depth³` up to which the order of removals is found exactly.
const EXACT_WORK: f64 = 4e11;

/// `Σ kept³` up to which weights are solved for exactly.
const SOLVE_WORK: f64 = 4e11;

/// For each unit its place in the order of removals, as the share of the layer's mean square that it
/// costs; for layers too large for that, what it costs to be the first to go.
pub(super) fn scores(
    graph: &Graph,
    targets: &[Target],
    calibration: &Calibration<'_>,
) -> Result<Vec<Vec<f64>>, CompressError> {
    let mut all = Vec::with_capacity(targets.len());
    for part in parts(graph, targets) {
        let moments = collect(graph, part, calibration)?;
        for target in part {
            all.push(Layer::new(graph, target, &moments)?.scores()?);
        }
    }
    Ok(all)
}

/// A target after pruning.
pub(crate) struct Adjusted {
    /// The kept positions.
    pub mask: Bitmask,
    /// Values at every position.
    pub values: Vec<f32>,
    /// The bias that takes the mean of the error: its name and values.
    pub bias: Option<(String, Vec<f32>)>,
}

/// Lets the kept weights of each target make up for the others.
pub(crate) fn adjust(
    graph: &Graph,
    targets: &[Target],
    kept: &[Vec<bool>],
    calibration: &Calibration<'_>,
) -> Result<Vec<Adjusted>, CompressError> {
    let mut all = Vec::with_capacity(targets.len());
    let mut kept = kept.iter();
    for part in parts(graph, targets) {
        let moments = collect(graph, part, calibration)?;
        for (target, kept) in part.iter().zip(&mut kept) {
            all.push(Layer::new(graph, target, &moments)?.adjust(kept)?);
        }
    }
    Ok(all)
}

/// Runs of targets whose second moments fit into memory together.
fn parts<'a>(graph: &Graph, targets: &'a [Target]) -> Vec<&'a [Target]> {
    let mut parts = Vec::new();
    let (mut start, mut held) = (0, 0usize);
    for (index, target) in targets.iter().enumerate() {
        let bytes = SecondMoments::bytes(graph, &target.name);
        if index > start && held.saturating_add(bytes) > MOMENT_BYTES {
            parts.push(&targets[start..index]);
            (start, held) = (index, 0);
        }
        held = held.saturating_add(bytes);
    }
    parts.extend((start < targets.len()).then(|| &targets[start..]));
    parts
}

fn collect(
    graph: &Graph,
    targets: &[Target],
    calibration: &Calibration<'_>,
) -> Result<SecondMoments, CompressError> {
    let names: Vec<String> = targets.iter().map(|t| t.name.clone()).collect();
    SecondMoments::collect(graph, calibration.data, calibration.images, &names)
}

/// A target beside what is known of its inputs.
struct Layer<'a> {
    target: &'a Target,
    moment: &'a Moment,
    /// Damped second moments, or covariances, of the inputs of each group.
    metrics: Vec<Vec<f64>>,
    /// The bias that takes the mean of the error.
    bias: Option<(String, Vec<f32>)>,
    values: Vec<f32>,
    /// What an earlier step has left.
    alive: Vec<bool>,
    /// Whether the order of removals is found exactly.
    exact: bool,
}

impl<'a> Layer<'a> {
    fn new(
        graph: &Graph,
        target: &'a Target,
        moments: &'a SecondMoments,
    ) -> Result<Self, CompressError> {
        let refused = |reason| CompressError::Refused {
            step: "prune (obs)",
            reason,
        };
        let moment = moments
            .layer(&target.name)
            .ok_or_else(|| refused(format!("no sample reached `{}`", target.name)))?;
        if moment.depth() != target.view.depth || moment.groups() != target.view.groups {
            return Err(refused(format!(
                "`{}` multiplies {} inputs in {} groups, found {} in {}",
                target.name,
                target.view.depth,
                target.view.groups,
                moment.depth(),
                moment.groups()
            )));
        }
        let bias = bias_of(graph, target);
        let metric = |group| match &bias {
            Some(_) => moment.covariance(group),
            None => moment.matrix(group).to_vec(),
        };
        let depth = moment.depth();
        let elements = target.weight.shape().elements();
        let mask = target.weight.support().mask();
        Ok(Self {
            target,
            moment,
            metrics: (0..moment.groups())
                .map(|group| {
                    let mut metric = metric(group);
                    dampen(&mut metric, depth, DAMPING);
                    metric
                })
                .collect(),
            bias,
            values: target.weight.to_f32(),
            exact: is_affordable(target),
            alive: (0..elements)
                .map(|p| mask.is_none_or(|m| m.get(p)))
                .collect(),
        })
    }

    /// One output's weights.
    fn row(&self, output: usize) -> Vec<f64> {
        let view = &self.target.view;
        (0..view.depth)
            .map(|input| f64::from(self.values[view.position(output, input)]))
            .collect()
    }

    fn metric(&self, output: usize) -> &[f64] {
        &self.metrics[self.target.view.group(output)]
    }

    fn scores(&self) -> Result<Vec<f64>, CompressError> {
        let scores = match self.target.pattern {
            Pattern::Channels => self.energies(),
            _ if self.exact => self.exact()?,
            _ => self.first_to_go()?,
        };
        let energy: f64 = (0..self.target.view.outputs).map(|o| self.energy(o)).sum();
        let share = if energy > 0.0 { 1.0 / energy } else { 1.0 };
        Ok(scores.into_iter().map(|s| s * share).collect())
    }

    /// The mean square of an output.
    fn energy(&self, output: usize) -> f64 {
        let (row, metric) = (self.row(output), self.metric(output));
        let products = metric.chunks_exact(row.len().max(1)).map(|m| dot(m, &row));
        products.zip(&row).map(|(product, w)| product * w).sum()
    }

    /// An output with no input left has nothing to make up for it.
    fn energies(&self) -> Vec<f64> {
        let view = &self.target.view;
        (0..view.outputs)
            .map(|o| self.energy(o) / view.depth.max(1) as f64)
            .collect()
    }

    fn first_to_go(&self) -> Result<Vec<f64>, CompressError> {
        let view = &self.target.view;
        let diagonals: Vec<Vec<f64>> = self
            .metrics
            .iter()
            .map(|metric| {
                let inverse = inverse(metric, view.depth).ok_or_else(|| self.singular())?;
                Ok((0..view.depth)
                    .map(|i| inverse[i * view.depth + i])
                    .collect())
            })
            .collect::<Result<_, CompressError>>()?;
        let score = |(position, &w): (usize, &f32)| {
            let (output, input) = view.place(position);
            f64::from(w) * f64::from(w) / diagonals[view.group(output)][input]
        };
        Ok(self
            .target
            .unit_scores(self.values.iter().enumerate().map(score)))
    }

    fn exact(&self) -> Result<Vec<f64>, CompressError> {
        let view = &self.target.view;
        let inverses: Vec<Vec<f64>> = self
            .metrics
            .iter()
            .map(|metric| inverse(metric, view.depth).ok_or_else(|| self.singular()))
            .collect::<Result<_, _>>()?;
        let bands: Vec<Vec<usize>> = (0..view.outputs)
            .collect::<Vec<_>>()
            .chunks(height(self.target.pattern))
            .map(<[usize]>::to_vec)
            .collect();
        let orders: Vec<Vec<(u32, f64)>> = bands
            .par_iter()
            .with_max_len(1)
            .map(|outputs| self.order_of(outputs, &inverses))
            .collect::<Result<_, _>>()?;
        let mut scores = vec![0.0; self.target.units.len()];
        for (unit, score) in orders.into_iter().flatten() {
            scores[unit as usize] = score;
        }
        Ok(scores)
    }

    /// Units of a band with scores that rise in the order of their removal.
    fn order_of(
        &self,
        outputs: &[usize],
        inverses: &[Vec<f64>],
    ) -> Result<Vec<(u32, f64)>, CompressError> {
        let Some(&first) = outputs.first() else {
            return Ok(Vec::new());
        };
        let (view, units) = (&self.target.view, &self.target.units);
        let inputs: Vec<usize> = (0..view.depth)
            .filter(|&input| outputs.iter().any(|&o| self.alive[view.position(o, input)]))
            .collect();
        let group = view.group(first);
        let inverse = match inputs.len() == view.depth {
            true => inverses[group].clone(),
            false => inverse(
                &part(&self.metrics[group], view.depth, &inputs),
                inputs.len(),
            )
            .ok_or_else(|| self.singular())?,
        };
        // The inputs of each unit of the band, by their place among those that are left.
        let mut by_unit: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (place, &input) in inputs.iter().enumerate() {
            by_unit
                .entry(units.of[view.position(first, input)])
                .or_default()
                .push(place);
        }
        let names: Vec<u32> = by_unit.keys().copied().collect();
        let windows = units.quotas().map(|(of, quota)| {
            let mut numbers: BTreeMap<u32, usize> = BTreeMap::new();
            let mut quotas = Vec::new();
            let of = names
                .iter()
                .map(|&unit| {
                    let window = of[unit as usize];
                    *numbers.entry(window).or_insert_with(|| {
                        quotas.push(quota(window));
                        quotas.len() - 1
                    })
                })
                .collect();
            (of, quotas)
        });
        let removals = order(Band {
            inverse,
            outputs: outputs
                .iter()
                .map(|&o| {
                    inputs
                        .iter()
                        .map(|&i| f64::from(self.values[view.position(o, i)]))
                        .collect()
                })
                .collect(),
            units: by_unit.into_values().collect(),
            windows,
        });
        // Losses need not rise from one removal to the next; the order must not depend on that. What
        // a window forces to go is worth less than anything that may stay.
        let mut highest = 0.0f64;
        let mut forced = -(removals.iter().filter(|r| r.forced).count() as f64);
        let score = |removal: order::Removal| {
            let unit = names[removal.unit];
            if removal.forced {
                forced += 1.0;
                return (unit, forced - 1.0);
            }
            let of_position = removal.loss / f64::from(units.sizes[unit as usize].max(1));
            highest = of_position.max(highest.next_up());
            (unit, highest)
        };
        Ok(removals.into_iter().map(score).collect())
    }

    fn singular(&self) -> CompressError {
        CompressError::Refused {
            step: "prune (obs)",
            reason: format!("the inputs of `{}` are not finite", self.target.name),
        }
    }

    fn adjust(mut self, kept: &[bool]) -> Result<Adjusted, CompressError> {
        let view = self.target.view;
        let mut kept = self.target.units.positions(kept).to_bools();
        let before = self.values.clone();
        let exact = self.exact;
        for group in 0..view.groups {
            let outputs: Vec<usize> = (0..view.outputs)
                .filter(|&o| view.group(o) == group)
                .collect();
            if !exact {
                self.sweep(group, &outputs, &mut kept)?;
            }
            let solved = self.solve(group, &outputs, &kept, &before)?;
            if exact && !solved {
                self.sweep(group, &outputs, &mut kept)?;
            }
        }
        self.values
            .iter_mut()
            .zip(&kept)
            .filter(|(_, kept)| !**kept)
            .for_each(|(v, _)| *v = 0.0);
        let bias = self.bias.take().map(|(name, mut bias)| {
            for (output, bias) in bias.iter_mut().enumerate() {
                let mean = self.moment.mean(view.group(output));
                let lost = |input: usize| {
                    let p = view.position(output, input);
                    (f64::from(before[p]) - f64::from(self.values[p])) * mean[input]
                };
                *bias = (f64::from(*bias) + (0..view.depth).map(lost).sum::<f64>()) as f32;
            }
            (name, bias)
        });
        Ok(Adjusted {
            mask: Bitmask::from_bools(&kept),
            values: self.values,
            bias,
        })
    }

    /// One pass over the inputs, for what is too large for more.
    fn sweep(
        &mut self,
        group: usize,
        outputs: &[usize],
        kept: &mut [bool],
    ) -> Result<(), CompressError> {
        let view = self.target.view;
        let positions: Vec<usize> = outputs
            .iter()
            .flat_map(|&o| (0..view.depth).map(move |input| view.position(o, input)))
            .collect();
        let kept_here: Vec<bool> = positions.iter().map(|&p| kept[p]).collect();
        let alive: Vec<bool> = positions.iter().map(|&p| self.alive[p]).collect();
        // Single weights are chosen again as those before them change; other patterns stay.
        let (support, sparsity) = match self.target.pattern {
            Pattern::Unstructured => {
                let count = kept_here.iter().filter(|&&kept| kept).count();
                let density = count as f64 / positions.len().max(1) as f64;
                (&alive, Sparsity::Density(density))
            }
            _ => (&kept_here, Sparsity::Keep),
        };
        let weights: Vec<f64> = positions
            .iter()
            .map(|&p| f64::from(self.values[p]))
            .collect();
        let metric = &self.metrics[group];
        let swept = remove(
            &weights,
            view.depth,
            metric,
            Some(support),
            sparsity,
            &[],
            0.0,
        )?;
        let (weights, chosen) = (swept.values, swept.kept);
        for ((position, weight), chosen) in positions.into_iter().zip(weights).zip(chosen) {
            self.values[position] = weight as f32;
            kept[position] = chosen;
        }
        Ok(())
    }

    /// The weights that serve each output best at its kept positions, where that is affordable; whether it is.
    fn solve(
        &mut self,
        group: usize,
        outputs: &[usize],
        kept: &[bool],
        before: &[f32],
    ) -> Result<bool, CompressError> {
        let view = self.target.view;
        let inputs_of = |output: usize| -> Vec<usize> {
            (0..view.depth)
                .filter(|&input| kept[view.position(output, input)])
                .collect()
        };
        let work: f64 = outputs
            .iter()
            .map(|&o| (inputs_of(o).len() as f64).powi(3))
            .sum();
        if work > SOLVE_WORK {
            return Ok(false);
        }
        let metric = &self.metrics[group];
        let solved: Vec<Vec<(usize, f64)>> = outputs
            .par_iter()
            .map(|&output| {
                let inputs = inputs_of(output);
                let changes = |input: usize| {
                    let p = view.position(output, input);
                    !kept[p] && before[p] != 0.0
                };
                if inputs.is_empty() || !(0..view.depth).any(changes) {
                    return Ok(Vec::new());
                }
                let row: Vec<f64> = (0..view.depth)
                    .map(|i| f64::from(before[view.position(output, i)]))
                    .collect();
                let target = |&i: &usize| dot(&metric[i * view.depth..(i + 1) * view.depth], &row);
                let mut solved: Vec<f64> = inputs.iter().map(target).collect();
                Cholesky::new(part(metric, view.depth, &inputs), inputs.len())
                    .ok_or_else(|| self.singular())?
                    .solve(&mut solved);
                Ok(inputs
                    .iter()
                    .map(|&i| view.position(output, i))
                    .zip(solved)
                    .collect())
            })
            .collect::<Result<_, CompressError>>()?;
        for (position, value) in solved.into_iter().flatten() {
            self.values[position] = value as f32;
        }
        Ok(true)
    }
}

/// Outputs that lose the same inputs.
fn height(pattern: Pattern) -> usize {
    match pattern {
        Pattern::Blocks { h, .. } => h,
        _ => 1,
    }
}

/// Whether there is time to find the order of removals exactly.
fn is_affordable(target: &Target) -> bool {
    let (view, height) = (&target.view, height(target.pattern));
    // Outputs that lose the same inputs must have the same.
    let together = view.groups == 1 || (view.outputs / view.groups).is_multiple_of(height);
    let bands = view.outputs.div_ceil(height) as f64;
    together && bands * (view.depth as f64).powi(3) <= EXACT_WORK
}

/// The bias that the weight's layer has to itself, if it is the weight's only one.
fn bias_of(graph: &Graph, target: &Target) -> Option<(String, Vec<f32>)> {
    let reads = |node: &&Node| node.reads().any(|name| name == target.name);
    let mut readers = graph.nodes.iter().filter(reads);
    let node = readers.next()?;
    own_bias(graph, node, target.view.outputs).filter(|_| readers.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Allocation;
    use crate::prune::targets;
    use secateur_model::zoo;

    /// Mean squared error of a layer's outputs that pruning in a pattern leaves, as a share of their
    /// mean square, and how many weights are kept: in exact order, in one pass, by magnitude.
    fn errors(pattern: &str) -> [(f64, usize); 3] {
        let data = secateur_data::load("digits").unwrap().train;
        let graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        let pattern: Pattern = pattern.parse().unwrap();
        let targets = targets(&graph, pattern, |name| name == "fc2.weight").unwrap();
        let names = ["fc2.weight".to_owned()];
        let moments = SecondMoments::collect(&graph, &data, 400, &names).unwrap();
        let layer = |exact| Layer {
            exact,
            ..Layer::new(&graph, &targets[0], &moments).unwrap()
        };
        let left = |values: &[f32], kept: &[bool]| {
            let mut left = layer(true);
            let energy = |layer: &Layer<'_>| (0..100).map(|o| layer.energy(o)).sum::<f64>();
            let all = energy(&left);
            for ((old, &new), &kept) in left.values.iter_mut().zip(values).zip(kept) {
                *old -= if kept { new } else { 0.0 };
            }
            (energy(&left) / all, kept.iter().filter(|&&k| k).count())
        };
        let keep = |scores: &[f64]| {
            let competing = [targets[0].layer(scores, None)];
            Allocation::Uniform(0.3).keep(&competing).concat()
        };
        let surgery = |exact| {
            let kept = keep(&layer(exact).scores().unwrap());
            let adjusted = layer(exact).adjust(&kept).unwrap();
            left(&adjusted.values, &adjusted.mask.to_bools())
        };
        let kept = keep(&crate::criterion::magnitude(&targets[0]));
        let kept = targets[0].units.positions(&kept).to_bools();
        let magnitude = left(&targets[0].weight.to_f32(), &kept);
        [surgery(true), surgery(false), magnitude]
    }

    #[test]
    fn one_pass_is_between_the_exact_order_and_magnitude() {
        for pattern in ["unstructured", "2:4", "16:64", "1x4", "4x1"] {
            let [exact, pass, magnitude] = errors(pattern);
            println!("{pattern}: {exact:?} {pass:?} {magnitude:?}");
            assert_eq!([exact.1, pass.1], [magnitude.1; 2], "{pattern}");
            assert!(exact.0 < 0.5 * magnitude.0, "{pattern}");
            assert!(exact.0 < 1.05 * pass.0, "{pattern}");
            assert!(pass.0 < 0.5 * magnitude.0, "{pattern}");
        }
    }
}
