//! What a run tried and found, as data: the log, the tables and the report read it.

use crate::StepReport;
use serde::{Deserialize, Serialize};

/// One compression, from the dense network to the chosen one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Name of the network.
    pub network: String,
    /// Name of the data set.
    pub data: String,
    /// Seed of everything random.
    pub seed: u64,
    /// What was asked for, in words: a recipe's name, or a target and its limit.
    pub goal: String,
    /// The network as it was given.
    pub dense: Point,
    /// Every network that was tried, in this order.
    pub points: Vec<Point>,
    /// What each step did.
    pub steps: Vec<StepReport>,
    /// How far each layer can go by itself; empty where it was not measured.
    pub sensitivity: Vec<LayerSensitivity>,
}

/// A network that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// What it is called in tables and pictures.
    pub name: String,
    /// Bytes of its file; of the f32 parameters for the dense network.
    pub bytes: u64,
    /// Error on held-out training samples (100 minus the mAP for detection).
    pub validation_error_percent: Option<f64>,
    /// Error on the test set; only where it was scored.
    pub test_error_percent: Option<f64>,
    /// Time of one sample on the engine.
    pub milliseconds: Option<f64>,
    /// Energy of one sample on the model of a machine.
    #[serde(default)]
    pub picojoules: Option<f64>,
    /// Whether this is the one that was kept.
    pub chosen: bool,
}

/// What each choice for one layer costs, the rest of the network left as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerSensitivity {
    /// Name of the layer's weight.
    pub layer: String,
    /// Weights of the layer.
    pub parameters: usize,
    /// The choices tried, widest first.
    pub choices: Vec<ChoiceCost>,
}

/// One choice for a layer, and what it costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChoiceCost {
    /// The choice.
    pub choice: Choice,
    /// Rise of the loss on calibration samples, in nats.
    pub loss_increase: f64,
    /// Bytes of the layer in the file.
    pub bytes: u64,
    /// Time of the layer on the engine, for one sample.
    pub microseconds: Option<f64>,
    /// Energy of the layer on a machine model, for one sample.
    pub picojoules: Option<f64>,
}

/// What is done to one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Share of the weights that is kept: 1 is dense.
    pub density: f64,
    /// Where the kept ones may lie, as recipes write it: `unstructured`, `8:64`, `1x4`, `channels`.
    pub pattern: String,
    /// Width of a weight.
    pub bits: u8,
}
