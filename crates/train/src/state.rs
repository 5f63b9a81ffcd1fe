//! A training on its way, so that one that was broken off goes on to the same weights.

use crate::average::Average;
use crate::latent::LatentState;
use crate::steps::Steps;
use crate::{FitOptions, TrainError};
use secateur_data::Dataset;
use secateur_model::{Constant, Graph};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;

/// All that a training has changed so far: what [`fit`](crate::fit) goes on from, to the bit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FitState {
    /// The fingerprint of the training that it is of: network, data and settings.
    pub fingerprint: [u8; 32],
    /// Steps that are done.
    pub done: usize,
    /// The images in the order of this pass.
    pub(crate) order: Vec<u32>,
    /// Words that the generator has given.
    pub(crate) drawn: u128,
    /// The last losses.
    pub(crate) tail: Tail,
    pub(crate) learner: LearnerState,
    pub(crate) average: Option<Average>,
}

/// The last losses of a training, for their mean.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Tail {
    pub loss: f64,
    pub steps: usize,
}

/// What steps have changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LearnerState {
    pub latent: BTreeMap<String, LatentState>,
    pub activations: BTreeMap<String, Steps>,
    pub running: BTreeMap<String, Vec<f32>>,
}

/// Where a training is kept on its way, and taken from again.
pub trait Keeper {
    /// Where the training of this fingerprint goes on from, if it was broken off.
    ///
    /// # Errors
    /// Whatever stops the training.
    fn resume(&mut self, fingerprint: &[u8; 32]) -> Result<Option<FitState>, TrainError>;

    /// Whether what is reached after a step is to be [kept](Self::keep), as the last of it where the training is
    /// `stopping`.
    fn wants(&mut self, stopping: bool) -> bool;

    /// Keeps what [`resume`](Self::resume) gives back.
    fn keep(&mut self, state: &FitState);

    /// What was kept leads nowhere: the training has diverged.
    fn forget(&mut self);
}

/// What its bytes begin with; the last one is the version. A digest of all that follows comes next.
const MAGIC: &[u8; 8] = b"SecFit\0\x01";
const DIGEST: usize = 32;

impl FitState {
    /// Whether a training of so many images and steps can go on from it.
    pub(crate) fn check(
        &self,
        fingerprint: &[u8; 32],
        images: usize,
        steps: usize,
    ) -> Result<(), TrainError> {
        let of_images = |image: &u32| (*image as usize) < images;
        let fits = self.fingerprint == *fingerprint
            && self.done <= steps
            && self.order.len() == images
            && self.order.iter().all(of_images);
        match fits {
            true => Ok(()),
            false => Err(TrainError::State("it is of another training".into())),
        }
    }

    /// As bytes.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([0; DIGEST]);
        let mut bytes = postcard::to_extend(self, bytes)
            .map_err(|e| TrainError::State(format!("it cannot be written: {e}")))?;
        let (head, body) = bytes.split_at_mut(MAGIC.len() + DIGEST);
        head[MAGIC.len()..].copy_from_slice(&Sha256::digest(body));
        Ok(bytes)
    }

    /// From what [`to_bytes`](Self::to_bytes) gave. Memory is bounded by the bytes.
    ///
    /// # Errors
    /// Bytes that are something else, of another version, cut off or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TrainError> {
        let failed = |what: String| Err(TrainError::State(what));
        let (kind, version) = MAGIC.split_at(MAGIC.len() - 1);
        let Some(rest) = bytes.strip_prefix(kind) else {
            return failed("these bytes are no training's".into());
        };
        let Some((found, rest)) = rest.split_first() else {
            return failed("it ends before its version".into());
        };
        if [*found] != *version {
            return failed(format!("version {} is needed, found {found}", version[0]));
        }
        match rest.split_at_checked(DIGEST) {
            Some((digest, body)) if digest == Sha256::digest(body).as_slice() => {
                postcard::from_bytes(body).or_else(|e| failed(format!("it cannot be read: {e}")))
            }
            _ => failed("it is damaged, or ends too soon".into()),
        }
    }
}

/// A digest that tells trainings apart: another network, data or way of training has another one.
pub(crate) fn fingerprint(graph: &Graph, data: &Dataset, options: &FitOptions) -> [u8; 32] {
    let mut print = Print(Sha256::new());
    print.graph(graph);
    print.data(data);
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
    print.text((epochs, batch, optimiser, learning_rate, schedule));
    print.text((weight_decay, label_smoothing, augment, learn_steps));
    print.text((average, rate, frozen, seed));
    if let Some(d) = distill {
        print.text((d.alpha, d.temperature, &d.features, d.feature_weight));
        print.graph(&d.teacher);
    }
    if let Some(unrounded) = unrounded {
        print.graph(unrounded);
    }
    print.0.finalize().into()
}

/// A fingerprint on its way.
struct Print(Sha256);

impl Print {
    fn text(&mut self, value: impl std::fmt::Debug) {
        // Taking text cannot fail.
        let _ = writeln!(self, "{value:?}");
    }

    fn graph(&mut self, graph: &Graph) {
        self.text((&graph.inputs, &graph.outputs, &graph.nodes));
        for (name, constant) in &graph.constants {
            match constant {
                Constant::Tensor(tensor) => self.text((name, tensor)),
                Constant::Weight(weight) => {
                    self.text((name, weight.shape(), weight.support()));
                    self.floats(&weight.to_f32());
                }
            }
        }
    }

    fn data(&mut self, data: &Dataset) {
        self.text((&data.name, data.channels, data.height, data.width));
        self.text((data.normalisation(), data.targets()));
        let mut pixels = vec![0.0; data.image_len()];
        for index in 0..data.len() {
            match data.raw_u8(index) {
                Some(raw) => self.0.update(raw),
                None => {
                    data.gather(&[index], &mut pixels);
                    self.floats(&pixels);
                }
            }
        }
    }

    fn floats(&mut self, values: &[f32]) {
        for values in values.chunks(1024) {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            self.0.update(bytes);
        }
    }
}

impl Write for Print {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.update(text);
        Ok(())
    }
}
