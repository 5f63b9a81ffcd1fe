//! From a graph to plans: lowered once, packed once, planned for each set of
//! input shapes.

use crate::PlanError;
use crate::branches;
use crate::build::Build;
use crate::choice::Forms;
use crate::cost::Costs;
use crate::draft::Draft;
use crate::lower::{Note, lower};
use crate::plan::Plan;
use secateur_kernels::{Isa, Recurrence};
use secateur_model::{Constant, Dim, Graph, Shape, Support, Tensor, ValueInfo, Values};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// A lowered graph and its packed weights, from which plans are made.
///
/// ```
/// # use secateur_kernels::Isa;
/// # use secateur_model::{Shape, zoo};
/// # use secateur_plan::Planner;
/// let net = zoo::build("lenet-300-100", [1, 28, 28], 10, 1)?;
/// let planner = Planner::new(&net, Isa::best())?;
/// let plan = planner.plan(&[Shape::new(&[1, 1, 28, 28])?], 1)?;
/// assert_eq!(plan.steps.iter().map(|s| s.macs).sum::<u64>(), 266_200);
/// assert!(plan.arena_bytes < 16 << 10);
/// # Ok::<(), secateur_plan::PlanError>(())
/// ```
#[derive(Debug)]
pub struct Planner {
    draft: Draft,
    /// The graph as it came, where it has branches.
    branched: Option<Box<Graph>>,
    notes: Vec<Note>,
    isa: Isa,
    costs: Costs,
    /// Bytes of all weights.
    weight_bytes: usize,
    /// Packed layers, which plans for other shapes share.
    layers: Mutex<HashMap<LayerKey, Arc<Mutex<Forms>>>>,
    /// Packed recurrent weights, likewise.
    recurrences: Mutex<HashMap<DirectionKey, Arc<Recurrence>>>,
}

/// A node, and the image whose channels-last order its columns follow.
pub(crate) type LayerKey = (String, Option<[usize; 3]>);

/// A node, and which of its directions.
pub(crate) type DirectionKey = (String, usize);

impl Planner {
    /// Lowers a graph for an instruction set, to be planned by its [typical costs](Costs::typical).
    ///
    /// # Errors
    /// A graph that is not well formed, an operator that is not known, an
    /// instruction set that this processor lacks.
    pub fn new(graph: &Graph, isa: Isa) -> Result<Self, PlanError> {
        let isa = isa.require().map_err(|source| PlanError::Kernel {
            node: graph.name.clone(),
            source,
        })?;
        let (draft, notes) = lower(graph)?;
        let weight_bytes = draft.graph.constants.values().map(weight_bytes).sum();
        Ok(Self {
            draft,
            branched: branches::chooses(graph).then(|| Box::new(graph.clone())),
            notes,
            isa,
            costs: Costs::typical(isa),
            weight_bytes,
            layers: Mutex::default(),
            recurrences: Mutex::default(),
        })
    }

    /// Plans by these costs from now on.
    pub fn with_costs(self, costs: Costs) -> Self {
        Self { costs, ..self }
    }

    /// The lowered graph.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// What the lowering rules did, and why they did not.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The instruction set that weights are packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// What kernels cost, by which forms are chosen.
    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    /// Bytes of all weights, as a run reads them.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Plans for the extents of the inputs, in the graph's order, with working
    /// memory for so many threads.
    ///
    /// # Errors
    /// Extents that the graph does not take, an operator that cannot run.
    pub fn plan(&self, shapes: &[Shape], threads: usize) -> Result<Plan, PlanError> {
        self.plan_for(shapes, &[], threads)
    }

    /// Plans for values of inputs as well, where they are given, in the graph's order. What hangs on them
    /// is known, so that the plan is right for no others.
    ///
    /// # Errors
    /// As [`Planner::plan`].
    pub fn plan_for(
        &self,
        shapes: &[Shape],
        values: &[Option<Arc<Tensor>>],
        threads: usize,
    ) -> Result<Plan, PlanError> {
        check_shapes(&self.draft.graph.inputs, shapes)?;
        Build::new(self, shapes, values, threads.max(1))?.finish()
    }

    /// Whether the graph has branches.
    pub fn has_branches(&self) -> bool {
        self.branched.is_some()
    }

    /// The planner of the graph with the branches that are taken for inputs of these extents and, where they
    /// are given, values: they are lowered with what is around them. `None` where the graph has no branches.
    ///
    /// # Errors
    /// As [`Planner::new`] and [`Planner::plan`]; a condition that is no single boolean.
    pub fn taking_branches(
        &self,
        shapes: &[Shape],
        values: &[Option<Arc<Tensor>>],
    ) -> Result<Option<Self>, PlanError> {
        let Some(graph) = &self.branched else {
            return Ok(None);
        };
        check_shapes(&graph.inputs, shapes)?;
        let taken = branches::taken(graph, shapes, values)?;
        let planner = Self::new(&taken, self.isa)?.with_costs(self.costs.clone());
        Ok(Some(planner))
    }

    /// What is packed of a layer.
    pub(crate) fn forms(&self, key: LayerKey) -> Arc<Mutex<Forms>> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.entry(key).or_default().clone()
    }

    /// The recurrent weights of a direction, packed the first time.
    pub(crate) fn recurrence(
        &self,
        key: DirectionKey,
        pack: impl FnOnce() -> Result<Recurrence, PlanError>,
    ) -> Result<Arc<Recurrence>, PlanError> {
        let mut packed = self
            .recurrences
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = packed.get(&key) {
            return Ok(found.clone());
        }
        let made = Arc::new(pack()?);
        packed.insert(key, made.clone());
        Ok(made)
    }
}

/// Bytes of a constant in execution form: a byte for a code, two with its place where zeros are
/// left out.
fn weight_bytes(constant: &Constant) -> usize {
    match constant {
        Constant::Tensor(tensor) => tensor.bytes(),
        Constant::Weight(weight) => {
            let item = match weight.values() {
                Values::F32(_) | Values::F16(_) | Values::BF16(_) => size_of::<f32>(),
                Values::Int { .. } | Values::Shared { .. } => size_of::<u8>(),
            };
            let index = usize::from(!matches!(weight.support(), Support::All));
            weight.kept() * (item + index)
        }
    }
}

/// Whether the shapes are what the inputs declare, a named extent the same
/// wherever its name stands.
fn check_shapes(inputs: &[ValueInfo], shapes: &[Shape]) -> Result<(), PlanError> {
    let mut named: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (index, input) in inputs.iter().enumerate() {
        let wrong = |needed: String, found: String| PlanError::Input {
            name: input.name.clone(),
            needed,
            found,
        };
        let Some(shape) = shapes.get(index) else {
            return Err(wrong("a shape".into(), "none".into()));
        };
        let Some(dims) = &input.dims else {
            continue;
        };
        let declared = || {
            let dims: Vec<String> = dims.iter().map(Dim::to_string).collect();
            format!("shape [{}]", dims.join(", "))
        };
        if dims.len() != shape.rank() {
            return Err(wrong(declared(), format!("{shape}")));
        }
        for (dim, &extent) in dims.iter().zip(shape.dims()) {
            match dim {
                Dim::Known(n) if *n == extent => {}
                Dim::Known(_) => return Err(wrong(declared(), format!("{shape}"))),
                Dim::Named(name) => {
                    let &mut (bound, by) = named.entry(name).or_insert((extent, &input.name));
                    if bound != extent {
                        return Err(wrong(
                            format!("`{name}` = {bound}, as of input `{by}`"),
                            format!("`{name}` = {extent} in {shape}"),
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::DType;

    #[test]
    fn a_name_has_one_extent() {
        let input = |name: &str| ValueInfo {
            name: name.into(),
            dtype: DType::F32,
            dims: Some(vec![Dim::Named("batch".into()), Dim::Known(3)]),
        };
        let inputs = [input("a"), input("b")];
        let check = |a: &[usize], b: &[usize]| {
            let shapes = [Shape::new(a).unwrap(), Shape::new(b).unwrap()];
            check_shapes(&inputs, &shapes)
        };
        assert_eq!(check(&[2, 3], &[2, 3]), Ok(()));
        let clash = check(&[2, 3], &[4, 3]).unwrap_err().to_string();
        assert!(clash.contains("`batch` = 2"), "{clash}");
        assert!(check(&[2, 4], &[2, 3]).is_err());
        assert!(check(&[2, 3, 1], &[2, 3]).is_err());
    }
}
