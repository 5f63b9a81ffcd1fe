//! A training on its way, so that one that was broken off goes on to the same weights.

use crate::average::Average;
use crate::latent::LatentState;
use crate::steps::Steps;
use crate::{FitOptions, TrainError};
use secateur_data::{Dataset, Targets};
use secateur_model::Graph;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// All that a training has changed so far: what [`fit`](crate::fit) goes on from, to the bit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FitState {
    /// Which [training](training) it is of.
    pub training: u64,
    /// Steps that are done, and in all.
    pub steps: (usize, usize),
    /// The images in the order of this pass.
    pub(crate) order: Vec<u32>,
    /// Words that the generator has given.
    pub(crate) drawn: u128,
    /// Sum of the last losses, and how many these are.
    pub(crate) tail: (f64, usize),
    pub(crate) learner: LearnerState,
    pub(crate) average: Option<Average>,
}

/// What steps have changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LearnerState {
    pub latent: BTreeMap<String, LatentState>,
    pub activations: BTreeMap<String, Steps>,
    pub running: BTreeMap<String, Vec<f32>>,
}

/// What its bytes begin with; the last one is the version.
const MAGIC: &[u8; 8] = b"SecFit\0\x01";

impl FitState {
    /// As bytes.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainError> {
        postcard::to_extend(self, MAGIC.to_vec())
            .map_err(|e| TrainError::State(format!("it cannot be written: {e}")))
    }

    /// From what [`to_bytes`](Self::to_bytes) gave. Memory is bounded by the bytes.
    ///
    /// # Errors
    /// Bytes that are something else, of another version, or cut off.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TrainError> {
        let failed = |what: String| Err(TrainError::State(what));
        let (kind, version) = MAGIC.split_at(MAGIC.len() - 1);
        let Some(rest) = bytes.strip_prefix(kind) else {
            return failed("these bytes are no training's".into());
        };
        match rest.split_first() {
            Some((found, rest)) if [*found] == *version => {
                postcard::from_bytes(rest).or_else(|e| failed(format!("it cannot be read: {e}")))
            }
            Some((found, _)) => failed(format!("version {} is needed, found {found}", version[0])),
            None => failed("it ends before its version".into()),
        }
    }
}

/// A number that tells trainings apart: another network, data or way of training has another one.
pub(crate) fn training(graph: &Graph, data: &Dataset, options: &FitOptions) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (name, weight) in graph.weights() {
        name.hash(&mut hasher);
        weight.shape().dims().hash(&mut hasher);
        let bits = weight.to_f32().into_iter().map(f32::to_bits);
        bits.for_each(|bits| bits.hash(&mut hasher));
    }
    graph.nodes.len().hash(&mut hasher);
    data.name.hash(&mut hasher);
    [data.len(), data.channels, data.height, data.width].hash(&mut hasher);
    match data.targets() {
        Targets::Classes(labels) => labels.hash(&mut hasher),
        other => format!("{other:?}").hash(&mut hasher),
    }
    let FitOptions {
        epochs,
        batch,
        optimiser,
        learning_rate,
        schedule,
        weight_decay,
        label_smoothing,
        augment,
        distill,
        learn_steps,
        unrounded,
        average,
        rate,
        frozen,
        seed,
    } = options;
    let way = (
        epochs,
        batch,
        optimiser,
        learning_rate,
        schedule,
        weight_decay,
    );
    let distill = distill
        .as_ref()
        .map(|d| (d.alpha, d.temperature, &d.features, d.feature_weight));
    let more = (
        label_smoothing,
        augment,
        distill,
        learn_steps,
        unrounded.is_some(),
    );
    let last = (average, rate, frozen, seed);
    format!("{way:?} {more:?} {last:?}").hash(&mut hasher);
    hasher.finish()
}
