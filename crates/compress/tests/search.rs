//! Whole searches on the embedded digits.
#![allow(clippy::unwrap_used)]

use secateur_compress::policy::{LayerTime, Machine, NoMachine, Table, Unknown};
use secateur_compress::search::{
    Candidate, Found, Goal, Journal, Limit, Objective, PolicyKnob, RateKnob, Search, Silent,
    Training, Tried, search,
};
use secateur_compress::{Checkpoint, CompressError, Observer, run};
use secateur_data::Dataset;
use secateur_io::codec::Store;
use secateur_model::{Graph, Support, Weight, zoo};
use secateur_train::{FitOptions, Quiet, fit};
use std::collections::BTreeMap;
use std::error::Error;
use std::ops::ControlFlow;

type Failure = Box<dyn Error + Send + Sync>;

fn digits() -> (Graph, Dataset, Dataset) {
    let data = secateur_data::load("digits").unwrap();
    let (train, validation) = data.train.split(237, 0);
    let mut dense = zoo::build("lenet-300-100", [1, 8, 8], 10, 5).unwrap();
    let options = FitOptions {
        epochs: 8.0,
        batch: 32,
        ..FitOptions::default()
    };
    fit(&mut dense, &train, &options, &mut Quiet).unwrap();
    (dense, train, validation)
}

fn go(
    parts: &(Graph, Dataset, Dataset),
    limit: Limit,
    journal: &mut dyn Journal,
) -> Result<Found, CompressError> {
    go_at(0.015, parts, limit, journal)
}

/// A search that trains at a learning rate.
fn go_at(
    learning_rate: f32,
    (dense, train, validation): &(Graph, Dataset, Dataset),
    limit: Limit,
    journal: &mut dyn Journal,
) -> Result<Found, CompressError> {
    let goal = Goal {
        minimise: Objective::Bytes,
        limit,
    };
    let problem = Search {
        dense,
        train,
        validation,
        goal,
        store: Store::Small,
        seed: 3,
        budget_seconds: None,
        candidates: 5,
    };
    let training = Training {
        epochs: 1.0,
        min_steps: 600,
        batch: 32,
        learning_rate,
        shift: 0,
        mirror: false,
    };
    let mut knob = RateKnob::new(dense, train, None).with_training(training);
    search(&problem, &mut knob, &mut NoMachine, journal)
}

#[test]
fn what_is_found_keeps_its_limit_and_its_recipe_makes_it_again() {
    let parts = digits();
    let found = go(&parts, Limit::MaxDrop(2.0), &mut Silent).unwrap();
    let best = &found.tried[found.chosen].1;
    assert!(
        found.met && best.error_percent <= found.dense.error_percent + 2.0,
        "{:?}",
        found.tried
    );
    assert!(best.bytes * 12 < found.dense.bytes, "{:?}", found.tried);
    let holding = found
        .tried
        .iter()
        .map(|(_, t)| t)
        .filter(|t| t.error_percent <= found.dense.error_percent + 2.0);
    assert_eq!(holding.map(|t| t.bytes).min(), Some(best.bytes));

    let (dense, train, validation) = &parts;
    let again = run(
        dense.clone(),
        train,
        validation,
        &found.recipe,
        3,
        &mut Silent,
    )
    .unwrap()
    .0;
    assert!(again == found.graph);
}

/// A machine on which a weight that is left takes a microsecond, and a vector of them saves as much again.
struct Counts;

impl Machine for Counts {
    fn layers(&mut self, graph: &Graph) -> Result<BTreeMap<String, LayerTime>, Unknown> {
        let time = |weight: &Weight| LayerTime {
            microseconds: match weight.support() {
                Support::NofM { .. } => 0.5,
                _ => 1.0,
            } * weight.nonzeros() as f64,
            picojoules: None,
        };
        Ok(graph
            .weights()
            .map(|(n, w)| (n.to_owned(), time(w)))
            .collect())
    }

    fn milliseconds(&mut self, graph: &Graph) -> Result<Option<f64>, Unknown> {
        let layers = self.layers(graph)?;
        Ok(Some(layers.values().map(|t| t.microseconds / 1e3).sum()))
    }
}

#[test]
fn a_search_for_time_takes_the_forms_that_are_fast() {
    let (dense, train, validation) = digits();
    let problem = Search {
        dense: &dense,
        train: &train,
        validation: &validation,
        goal: Goal {
            minimise: Objective::Latency,
            limit: Limit::MaxDrop(3.0),
        },
        store: Store::Small,
        seed: 3,
        budget_seconds: None,
        candidates: 4,
    };
    let training = Training {
        epochs: 1.0,
        min_steps: 150,
        batch: 32,
        learning_rate: 0.05,
        shift: 0,
        mirror: false,
    };
    let mut knob =
        PolicyKnob::new(Objective::Latency, &dense, &train, None, 3).with_training(training);
    let found = search(&problem, &mut knob, &mut Counts, &mut Silent).unwrap();
    let best = &found.tried[found.chosen].1;
    assert!(found.met, "{:?}", found.tried);
    assert!(
        best.milliseconds.unwrap() < 0.7 * found.dense.milliseconds.unwrap(),
        "{:?}",
        found.tried
    );
    let in_windows = |(_, w): (&str, &Weight)| matches!(w.support(), Support::NofM { .. });
    assert!(found.graph.weights().any(in_windows));
    let recipe = found.recipe.to_toml().unwrap();
    assert!(recipe.contains(":64"), "{recipe}");
}

#[test]
fn a_target_out_of_reach_keeps_what_comes_closest() {
    let parts = digits();
    let found = go(&parts, Limit::MaxCost(100.0), &mut Silent).unwrap();
    assert!(!found.met);
    let least = found.tried.iter().map(|(_, t)| t.bytes).min();
    assert_eq!(least, Some(found.tried[found.chosen].1.bytes));
}

/// Remembers what it is told.
#[derive(Default)]
struct Notes(Vec<String>);

impl Observer for Notes {}

impl Journal for Notes {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[test]
fn a_training_that_diverges_is_tried_more_slowly_and_then_named() {
    let mut notes = Notes::default();
    let error = go_at(1e25, &digits(), Limit::MaxDrop(2.0), &mut notes).unwrap_err();
    assert!(
        matches!(&error, CompressError::Train { step, .. } if step.contains("rate")),
        "{error}"
    );
    assert_eq!(notes.0.len(), 3, "{:?}", notes.0);
    for note in notes.0 {
        assert!(
            note.contains("rate") && note.contains("more slowly"),
            "{note}"
        );
    }
}

/// Remembers everything, and stops after so many calls.
#[derive(Default)]
struct Memory {
    left: usize,
    number: usize,
    recipes: BTreeMap<usize, String>,
    networks: BTreeMap<(usize, usize), Checkpoint>,
    figures: BTreeMap<usize, Tried>,
    tables: BTreeMap<usize, Table>,
    trained: usize,
}

impl Memory {
    fn tick(&mut self) -> ControlFlow<()> {
        self.left = self.left.saturating_sub(1);
        match self.left {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Observer for Memory {
    fn progress(&mut self, _: usize, _: usize, _: f32) -> ControlFlow<()> {
        self.trained += 1;
        self.tick()
    }

    fn keep(&mut self, checkpoint: &Checkpoint) -> Result<(), Failure> {
        let key = (self.number, checkpoint.steps.len());
        self.networks.insert(key, checkpoint.clone());
        Ok(())
    }
}

impl Journal for Memory {
    fn trying(&mut self, candidate: &Candidate<'_>) -> Result<(), Failure> {
        self.number = candidate.number;
        let text = candidate.recipe.to_toml()?;
        let known = self
            .recipes
            .entry(self.number)
            .or_insert_with(|| text.clone());
        assert_eq!(*known, text);
        Ok(())
    }

    fn recall(&mut self, steps: usize) -> Result<Option<Checkpoint>, Failure> {
        Ok(self.networks.get(&(self.number, steps)).cloned())
    }

    fn recall_figures(&mut self) -> Result<Option<Tried>, Failure> {
        Ok(self.figures.get(&self.number).copied())
    }

    fn tried(&mut self, number: usize, tried: &Tried, _: bool, _: bool) -> Result<(), Failure> {
        self.figures.insert(number, *tried);
        Ok(())
    }

    fn recall_table(&mut self, key: usize) -> Result<Option<Table>, Failure> {
        Ok(self.tables.get(&key).cloned())
    }

    fn keep_table(&mut self, key: usize, table: &Table) -> Result<(), Failure> {
        self.tables.insert(key, table.clone());
        Ok(())
    }

    fn working(&mut self, _: &str, _: usize, _: usize) -> ControlFlow<()> {
        self.tick()
    }
}

#[test]
fn an_interrupted_search_goes_on_to_the_same_network() {
    let parts = digits();
    let limit = Limit::MaxDrop(2.0);
    let whole = go(&parts, limit, &mut Silent).unwrap();
    let mut memory = Memory::default();
    let mut interruptions = 0;
    let found = loop {
        memory.left = 700;
        match go(&parts, limit, &mut memory) {
            Ok(found) => break found,
            Err(_) => interruptions += 1,
        }
        assert!(interruptions < 40);
    };
    assert!(interruptions > 0, "{}", memory.trained);
    assert!(found.graph == whole.graph && found.recipe == whole.recipe);
    assert_eq!(found.chosen, whole.chosen);
}
