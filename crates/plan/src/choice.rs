//! The choice between the dense and the sparse form of a layer: by what they cost here.

use crate::cost::{Costs, Load};
use crate::packed::{Form, Layer};
use crate::plan::{Choice, Refused};
use secateur_kernels::{Isa, Kernel, KernelError, What};
use std::sync::Arc;

/// A layer, as far as the cost of its forms hangs on it.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What kernels cost.
    pub costs: &'a Costs,
    /// What kernels there are.
    pub isa: Isa,
    /// Whether it multiplies codes.
    pub integer: bool,
    /// Outputs, depth and groups.
    pub extents: (usize, usize, usize),
    /// Pixels of a run.
    pub pixels: usize,
    /// Bytes of activations that it reads and writes.
    pub moved_bytes: u64,
    /// Bytes of weights that the whole network reads a run.
    pub network_bytes: usize,
}

/// What is packed of a layer, for all plans that use it, and what is known of what is not.
#[derive(Debug, Default)]
pub struct Forms {
    dense: Option<Arc<Layer>>,
    sparse: Option<Arc<Layer>>,
    nonzeros: Option<usize>,
    /// Multiplies and bytes of the sparse form, also where it has been dropped.
    sparse_size: Option<(usize, usize)>,
}

/// What was chosen.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The layer in its form.
    pub layer: Arc<Layer>,
    /// Why this one.
    pub choice: Choice,
    /// What it will take on one thread.
    pub predicted_us: f64,
}

/// Outputs that a dense form pads to.
const PANEL: usize = 16;

/// Bytes of a slot of a sparse form: the weight, and a byte that says where its activation lies.
const INDEX_BYTES: usize = 1;

impl Question<'_> {
    /// Takes the form that costs less, and packs no other unless only packing tells its size.
    ///
    /// `count` counts the non-zeros.
    ///
    /// # Errors
    /// Those of `pack`, and an instruction set that is not there.
    pub fn choose(
        &self,
        forms: &mut Forms,
        count: impl FnOnce() -> usize,
        pack: impl Fn(Form) -> Result<Layer, KernelError>,
    ) -> Result<Chosen, KernelError> {
        let nonzeros = *forms.nonzeros.get_or_insert_with(count);
        let (dense, sparse) = match self.integer {
            true => (What::DenseI8, What::SparseI8),
            false => (What::DenseF32, What::SparseF32),
        };
        let dense_us = self.us(dense, self.dense_size());
        let name = |what| Kernel::of(self.isa, what).map(|k| k.name.to_owned());
        let (dense_name, sparse_name) = (name(dense)?, name(sparse)?);
        let (outputs, depth, _) = self.extents;
        let share = 100.0 * nonzeros as f64 / (outputs * depth).max(1) as f64;

        let least = (nonzeros, nonzeros * (self.item() + INDEX_BYTES));
        let size = forms.sparse_size.unwrap_or(least);
        let at_least = forms.sparse_size.is_none();
        let sparse_us = self.us(sparse, size);
        if sparse_us < dense_us {
            let layer = match &forms.sparse {
                Some(layer) => layer.clone(),
                None => Arc::new(pack(Form::Sparse)?),
            };
            let size = (layer.multiplies(), layer.bytes());
            forms.sparse_size = Some(size);
            let predicted_us = self.us(sparse, size);
            if predicted_us < dense_us {
                let filled = 100.0 * nonzeros as f64 / size.0.max(1) as f64;
                forms.sparse = Some(layer.clone());
                let choice = Choice {
                    kernel: sparse_name,
                    reason: format!(
                        "{share:.1} % of the weights are not zero; they fill {filled:.0} % of the slots"
                    ),
                    refused: vec![Refused {
                        kernel: dense_name,
                        predicted_us: dense_us,
                        at_least: false,
                        reason: "it multiplies by every zero".into(),
                    }],
                };
                return Ok(Chosen {
                    layer,
                    choice,
                    predicted_us,
                });
            }
            return self.dense(
                forms,
                pack,
                dense_us,
                dense_name,
                Refused {
                    kernel: sparse_name,
                    predicted_us,
                    at_least: false,
                    reason: format!(
                        "{share:.1} % of the weights are not zero, in {} slots",
                        size.0
                    ),
                },
            );
        }
        let reason = format!("{share:.1} % of the weights are not zero");
        self.dense(
            forms,
            pack,
            dense_us,
            dense_name,
            Refused {
                kernel: sparse_name,
                predicted_us: sparse_us,
                at_least,
                reason,
            },
        )
    }

    fn dense(
        &self,
        forms: &mut Forms,
        pack: impl Fn(Form) -> Result<Layer, KernelError>,
        predicted_us: f64,
        kernel: String,
        sparse: Refused,
    ) -> Result<Chosen, KernelError> {
        let layer = match &forms.dense {
            Some(layer) => layer.clone(),
            None => Arc::new(pack(Form::Dense)?),
        };
        forms.dense = Some(layer.clone());
        let choice = Choice {
            kernel,
            reason: "its products cost less than the slots of the sparse form".into(),
            refused: vec![sparse],
        };
        Ok(Chosen {
            layer,
            choice,
            predicted_us,
        })
    }

    /// Multiplies a pixel and bytes of the dense form.
    fn dense_size(&self) -> (usize, usize) {
        let (outputs, depth, groups) = self.extents;
        let padded = (outputs / groups.max(1)).next_multiple_of(PANEL) * groups;
        (padded * depth, padded * depth * self.item())
    }

    /// Bytes of a weight.
    fn item(&self) -> usize {
        if self.integer { 1 } else { size_of::<f32>() }
    }

    fn us(&self, what: What, (multiplies, weight_bytes): (usize, usize)) -> f64 {
        let load = Load {
            multiplies,
            outputs: self.extents.0,
            pixels: self.pixels,
            weight_bytes,
            moved_bytes: self.moved_bytes,
        };
        self.costs.streamed_us(what, load, self.network_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::Clamp;
    use crate::packed::pack_f32;
    use crate::weights::Weights;
    use secateur_kernels::Nonzeros;
    use std::cell::RefCell;

    /// Chooses for a layer of which every `step`-th weight is not zero; says what was packed.
    fn chosen(forms: &mut Forms, step: usize, pixels: usize) -> (Chosen, Vec<Form>) {
        let (outputs, depth) = (64, 256);
        let costs = Costs::typical(Isa::Generic);
        let question = Question {
            costs: &costs,
            isa: Isa::Generic,
            integer: false,
            extents: (outputs, depth, 1),
            pixels,
            moved_bytes: 0,
            network_bytes: 0,
        };
        let weights: Vec<f32> = (0..outputs * depth)
            .map(|i| f32::from(i % step == 0))
            .collect();
        let packed = RefCell::new(Vec::new());
        let chosen = question.choose(
            forms,
            || weights.iter().filter(|w| **w != 0.0).count(),
            |form| {
                packed.borrow_mut().push(form);
                let weights = match form {
                    Form::Dense => Weights::Dense(weights.clone()),
                    Form::Sparse => Weights::Sparse(Nonzeros::of(&weights, outputs, depth)?),
                };
                let extents = (outputs, depth, 1);
                pack_f32(Isa::Generic, &weights, None, extents, Clamp::NONE)
            },
        );
        (chosen.unwrap(), packed.into_inner())
    }

    #[test]
    fn few_weights_are_packed_sparse_and_nothing_else_is() {
        let mut forms = Forms::default();
        let (first, packed) = chosen(&mut forms, 16, 9);
        assert_eq!(packed, [Form::Sparse]);
        assert!(first.choice.kernel.contains("spmm"), "{:?}", first.choice);
        let [dense] = first.choice.refused.as_slice() else {
            panic!("{:?}", first.choice);
        };
        assert!(dense.kernel.contains("gemm") && dense.predicted_us > first.predicted_us);
        // Another plan finds it.
        let (second, packed) = chosen(&mut forms, 16, 9);
        assert!(packed.is_empty() && Arc::ptr_eq(&first.layer, &second.layer));
    }

    #[test]
    fn many_weights_need_no_sparse_packing_to_be_refused() {
        let (dense, packed) = chosen(&mut Forms::default(), 1, 9);
        assert_eq!(packed, [Form::Dense]);
        let refused = &dense.choice.refused[0];
        assert!(refused.at_least && refused.predicted_us >= dense.predicted_us);
        assert!(refused.reason.starts_with("100.0 %"), "{}", refused.reason);
    }
}
