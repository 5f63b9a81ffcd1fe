//! Pruning by policy: a level is a budget, and the table says which layer gives up how much.

use super::Objective;
use super::knob::{Context, Knob, Plan};
use super::training::{Training, Tuning, affordable};
use crate::policy::{Table, measure, moved, pattern_of, refine};
use crate::recipe::{AllocationSettings, EncodeStep, PruneStep, QuantizeStep, Step, StoreSetting};
use crate::record::{Choice, ChoiceCost};
use crate::{CompressError, Granularity, Pattern, Range};
use secateur_data::Dataset;
use secateur_model::Graph;
use secateur_train::logits;
use std::collections::BTreeMap;

/// Prunes, retrains, and goes on from there; each round's densities are the solution of a table that is
/// measured on the network as it is then.
pub struct PolicyKnob {
    objective: Objective,
    tuning: Tuning,
    seed: u64,
    /// Samples of the table, and others that whole solutions are measured on.
    samples: [Dataset; 2],
    tries: usize,
    tables: usize,
    table: Option<(Graph, Table)>,
    /// What level 1 costs.
    whole: Option<f64>,
}

/// Passes over the images in a round, at most.
const EPOCHS: f64 = 8.0;

/// Solutions that are measured as a whole.
const TRIES: usize = 40;

/// Densities of a table: each is this share of the one before.
const STEP: f64 = 0.8;
const STEPS: i32 = 24;

/// Inputs that the engine's sparse form takes from together, and how many of them it takes in whole
/// passes: with as many left in every window, no slot is empty.
const VECTOR: usize = 64;
const FULL_PASSES: [usize; 8] = [48, 32, 24, 20, 16, 12, 8, 4];

impl PolicyKnob {
    /// A knob for a network, so that a search takes about so many seconds. Samples are taken from the
    /// training images, so that validation stays unseen.
    pub fn new(
        objective: Objective,
        graph: &Graph,
        train: &Dataset,
        seconds: Option<f64>,
        seed: u64,
    ) -> Self {
        let layers = crate::prune::prunable(graph).len().max(1);
        let count = affordable(graph, train, layers * Self::choices().len() + TRIES);
        let (_, drawn) = train.split(2 * count, seed);
        let half = drawn.len().div_ceil(2);
        let part = |from: usize, to: usize| drawn.subset(&(from..to).collect::<Vec<_>>());
        Self {
            objective,
            tuning: Tuning::new(
                Training::suited(graph, train, seconds, EPOCHS, Training::batch_for(train)),
                train,
            ),
            seed,
            samples: [part(0, half), part(half.min(drawn.len() - 1), drawn.len())],
            tries: TRIES,
            tables: 0,
            table: None,
            whole: None,
        }
    }

    /// Trains in this way instead.
    pub fn with_training(mut self, training: Training) -> Self {
        self.tuning.training = training;
        self
    }

    /// The choices that a table has for each layer.
    pub fn choices() -> Vec<Choice> {
        let choice = |density, pattern: Pattern| Choice {
            density,
            pattern: pattern.to_string(),
            bits: 8,
        };
        let anywhere = (0..STEPS).map(|step| {
            let density = (1e4 * STEP.powi(step)).round() / 1e4;
            choice(density, Pattern::Unstructured)
        });
        let in_windows = FULL_PASSES.map(|n| {
            let density = n as f64 / VECTOR as f64;
            choice(density, Pattern::NofM { n, m: VECTOR })
        });
        anywhere.chain(in_windows).collect()
    }

    /// The table of a network, measured where it is not known.
    fn table(&mut self, from: &Graph, context: &mut Context<'_>) -> Result<Table, CompressError> {
        if let Some((graph, table)) = &self.table
            && graph == from
        {
            return Ok(table.clone());
        }
        let key = self.tables;
        let kept = context.journal.recall_table(key);
        let table = match kept.map_err(CompressError::Journal)? {
            Some(table) if table.network == from.name => table,
            _ => {
                let journal = &mut *context.journal;
                let mut progress = |done, total| journal.working("measuring layers", done, total);
                let choices = Self::choices();
                let table = measure(
                    from,
                    &self.samples[0],
                    &choices,
                    context.machine,
                    &mut progress,
                )?;
                context
                    .journal
                    .keep_table(key, &table)
                    .map_err(CompressError::Journal)?;
                table
            }
        };
        self.tables += 1;
        self.table = Some((from.clone(), table.clone()));
        Ok(table)
    }

    fn cost(&self, layer: &str, choice: &ChoiceCost) -> Result<f64, CompressError> {
        let missing = |what| CompressError::Refused {
            step: "policy",
            reason: format!("nobody knows the {what} of `{layer}` here"),
        };
        match self.objective {
            Objective::Bytes => Ok(choice.bytes as f64),
            Objective::Latency => choice.microseconds.ok_or_else(|| missing("time")),
            Objective::Energy => choice.picojoules.ok_or_else(|| missing("energy")),
        }
    }

    /// What level 1 costs: the dense integer network.
    fn whole(&mut self, costs: &[Vec<f64>]) -> f64 {
        let dense = || costs.iter().filter_map(|c| c.first()).sum();
        *self.whole.get_or_insert_with(dense)
    }

    fn finish(&self) -> Vec<Step> {
        vec![
            Step::Quantize(QuantizeStep {
                granularity: Granularity::PerChannel,
                weight_range: Range::Mse,
                activation_range: Some(Range::Percentile(0.9999)),
                retrain: Some(self.tuning.training.retrain(0.25, 0.2)),
                ..QuantizeStep::new(8)
            }),
            Step::Encode(EncodeStep {
                store: StoreSetting::Small,
                order_channels: false,
                fold_norms: false,
            }),
        ]
    }
}

impl Knob for PolicyKnob {
    fn range(&self) -> [f64; 4] {
        [1.5, 1.4, 1.0, 1e3]
    }

    fn variants(&self) -> usize {
        Tuning::VARIANTS
    }

    fn choose(&mut self, variant: usize) {
        self.tuning.choose(variant);
    }

    fn slower(&mut self) -> bool {
        self.tuning.slower()
    }

    fn plan(
        &mut self,
        level: f64,
        from: &Graph,
        context: &mut Context<'_>,
    ) -> Result<Option<Plan>, CompressError> {
        let table = self.table(from, context)?;
        let costs: Vec<Vec<f64>> = table
            .layers
            .iter()
            .map(|l| l.choices.iter().map(|c| self.cost(&l.layer, c)).collect())
            .collect::<Result<_, _>>()?;
        let budget = self.whole(&costs) / level;
        let failed = |error| CompressError::Train {
            step: "policy".into(),
            error,
        };
        let samples = &self.samples[1];
        let reference = logits(from, samples).map_err(failed)?;
        let mut tried = 0;
        let mut whole = |chosen: &[usize]| {
            tried += 1;
            if context
                .journal
                .working("weighing layers", tried, self.tries)
                .is_break()
            {
                return Err(CompressError::Stopped { step: "policy" });
            }
            let outputs = logits(&table.assemble(from, chosen)?, samples).map_err(failed)?;
            Ok(moved(&reference, &outputs, samples))
        };
        let found = refine(&table, &costs, budget, self.tries, self.seed, &mut whole)?;
        let Some((chosen, _)) = found else {
            return Ok(None);
        };
        // Where nothing more is cut, there is still training.
        let mut cuts = BTreeMap::from([(Pattern::Unstructured, BTreeMap::new())]);
        for (layer, index) in table.layers.iter().zip(chosen) {
            let (Some(cost), Some(weight)) = (layer.choices.get(index), from.weight(&layer.layer))
            else {
                continue;
            };
            let density = cost.choice.density;
            let now = weight.kept() as f64 / weight.shape().elements() as f64;
            if density < now {
                let pattern = pattern_of(&cost.choice)?;
                let layers: &mut BTreeMap<_, _> = cuts.entry(pattern).or_default();
                layers.insert(layer.layer.clone(), density);
            }
        }
        let mut prunes: Vec<PruneStep> = cuts
            .into_iter()
            .map(|(pattern, densities)| PruneStep {
                allocation: Some(AllocationSettings::PerLayer(densities)),
                pattern,
                ..PruneStep::default()
            })
            .collect();
        if let Some(last) = prunes.last_mut() {
            last.retrain = Some(self.tuning.training.retrain(1.0, 1.0));
        }
        let digits = if level < 10.0 { 2 } else { 1 };
        Ok(Some(Plan {
            name: self.tuning.named(format!("{level:.digits$}x")),
            carried: prunes.into_iter().map(Step::Prune).collect(),
            finish: self.finish(),
        }))
    }
}
