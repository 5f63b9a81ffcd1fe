//! The walk over a graph that finds which positions of which axes belong together.

use super::atoms::{Atom, Atoms};
use super::extents::{self, Origin};
use super::rules;
use super::shapes::Shapes;
use secateur_model::{Constant, Graph, Node, Shape, Tensor};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One axis of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Axis {
    /// Never cut or permuted: so many positions.
    Plain(usize),
    /// The atom of each position.
    Of(Arc<[Atom]>),
}

impl Axis {
    /// Positions.
    pub(super) fn extent(&self) -> usize {
        match self {
            Self::Plain(extent) => *extent,
            Self::Of(atoms) => atoms.len(),
        }
    }

    pub(super) fn plain(shape: &Shape) -> Vec<Self> {
        shape.iter().map(|&extent| Self::Plain(extent)).collect()
    }
}

/// What a cut changes in a node, beside the weights that it reads.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// The number of groups of a convolution.
    Groups,
    /// The parts of a Split along this axis.
    Parts { axis: usize },
    /// The extents that an input names: those of these axes.
    Target { input: usize, axes: Vec<Axis> },
}

/// Why a node is not understood.
pub(super) struct Fixed(pub(super) String);

impl Fixed {
    pub(super) fn because<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self(reason.into()))
    }
}

/// An axis of weights that makes new channels.
#[derive(Debug, Clone)]
pub(super) struct Producer {
    pub(super) weight: String,
    pub(super) axis: usize,
}

/// Positions of an axis that are followed: what a file declares is not yet there.
const MAX_POSITIONS: usize = 1 << 24;

/// Refuses an axis of more positions than are followed.
pub(super) fn followed(positions: usize) -> Result<(), Fixed> {
    match positions {
        0..=MAX_POSITIONS => Ok(()),
        _ => Fixed::because(format!("{positions} positions are too many to follow")),
    }
}

/// What is known while the nodes are walked.
pub(super) struct Trace<'g> {
    pub(super) graph: &'g Graph,
    pub(super) shapes: Shapes<'g>,
    pub(super) atoms: Atoms,
    /// Axes of computed values, and of constants that were read.
    pub(super) values: BTreeMap<String, Vec<Axis>>,
    /// Where the elements of short lists of integers come from.
    pub(super) origins: HashMap<String, Vec<Origin>>,
    pub(super) producers: Vec<Producer>,
    /// By index of node.
    pub(super) edits: Vec<(usize, Edit)>,
    /// The atom of positions of plain axes that stand beside others.
    still: Option<Atom>,
}

impl<'g> Trace<'g> {
    /// Walks all nodes, which stand in the order of their data.
    pub(super) fn of(graph: &'g Graph, inputs: &[(&str, Shape)]) -> Self {
        let mut trace = Self {
            graph,
            shapes: Shapes::new(graph, inputs),
            atoms: Atoms::default(),
            values: BTreeMap::new(),
            origins: HashMap::new(),
            producers: Vec::new(),
            edits: Vec::new(),
            still: None,
        };
        for input in &graph.inputs {
            if let Some(shape) = trace.shapes.shape(&input.name) {
                trace.values.insert(input.name.clone(), Axis::plain(shape));
            }
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            trace.node(index, node);
        }
        for output in &graph.outputs {
            trace.fix_value(&output.name, "the network gives it out".into());
        }
        trace
    }

    fn node(&mut self, index: usize, node: &'g Node) {
        let because = |reason: String| format!("`{}` ({}): {reason}", node.name, node.op.name());
        let inferred = self.shapes.walk(node);
        let result = inferred
            .map_err(Fixed)
            .and_then(|()| self.rule(index, node));
        match result {
            Ok(outputs) => {
                for (name, axes) in node.outputs.iter().zip(outputs) {
                    self.values.insert(name.clone(), axes);
                }
            }
            Err(Fixed(reason)) => {
                for name in node.reads() {
                    self.fix_value(name, because(reason.clone()));
                }
                for name in node.outputs.iter().filter(|o| !o.is_empty()) {
                    if let Some(shape) = self.shapes.shape(name) {
                        self.values.insert(name.clone(), Axis::plain(shape));
                    }
                }
            }
        }
        extents::follow(self, node);
    }

    fn rule(&mut self, index: usize, node: &'g Node) -> Result<Vec<Vec<Axis>>, Fixed> {
        let edits = self.edits.len();
        let result = rules::apply(self, index, node).and_then(|outputs| {
            let more = node.outputs.iter().skip(outputs.len());
            let all = more.clone().all(String::is_empty);
            let agree = |(name, axes): (&String, &Vec<Axis>)| {
                let shape = self.shapes.shape(name);
                let extents = || axes.iter().map(Axis::extent).collect::<Vec<_>>();
                name.is_empty() || shape.is_some_and(|s| s.dims() == extents())
            };
            match all && node.outputs.iter().zip(&outputs).all(agree) {
                true => Ok(outputs),
                false => Fixed::because("not all of its outputs are followed"),
            }
        });
        if result.is_err() {
            self.edits.truncate(edits);
        }
        result
    }

    /// The axes of an input; those of a constant are free when it is first read.
    pub(super) fn axes(&mut self, node: &Node, input: usize) -> Result<Vec<Axis>, Fixed> {
        let name = node
            .input(input)
            .ok_or_else(|| Fixed(format!("input {input} is missing")))?;
        self.value(name)
            .ok_or_else(|| Fixed(format!("the extents of `{name}` are not known")))
    }

    fn value(&mut self, name: &str) -> Option<Vec<Axis>> {
        if let Some(axes) = self.values.get(name) {
            return Some(axes.clone());
        }
        let shape = match self.graph.constants.get(name)? {
            Constant::Weight(weight) => weight.shape().clone(),
            Constant::Tensor(tensor) => tensor.shape().clone(),
        };
        let empty = shape.elements() == 0;
        let axes: Vec<Axis> = shape
            .iter()
            .map(|&extent| match extent {
                _ if empty => Axis::Plain(extent),
                1 => Axis::Plain(extent),
                _ => Axis::Of(self.atoms.fresh(extent).into()),
            })
            .collect();
        self.values.insert(name.to_owned(), axes.clone());
        if let Some(reason) = self.unselectable(name) {
            self.fix_value(name, reason);
        }
        Some(axes)
    }

    /// Why positions of a constant cannot be left out, if so.
    fn unselectable(&self, name: &str) -> Option<String> {
        use secateur_model::{Data, Scale, Values};
        match self.graph.constants.get(name)? {
            Constant::Tensor(tensor) => matches!(tensor.data(), Data::Opaque { .. })
                .then(|| format!("`{name}` is of a type that is only carried")),
            Constant::Weight(weight) => match weight.values() {
                Values::Int {
                    scale: Scale::PerGroup { .. },
                    ..
                } => Some(format!("`{name}` has scales of groups of columns")),
                _ => None,
            },
        }
    }

    /// The elements of an i64 input that is known beforehand.
    pub(super) fn integers(&self, node: &Node, input: usize) -> Option<&[i64]> {
        self.shapes.integers(node.input(input)?)
    }

    /// A constant input that no graph input overrides.
    pub(super) fn constant(&self, node: &Node, input: usize) -> Option<&'g Tensor> {
        self.shapes.constant(node.input(input)?)
    }

    /// Notes that an axis of an input makes new channels, if it is a weight.
    pub(super) fn produces(&mut self, node: &Node, input: usize, axis: usize) {
        if let Some(name) = node.input(input)
            && self.graph.weight(name).is_some()
            && !self.shapes.is_input(name)
        {
            self.producers.push(Producer {
                weight: name.to_owned(),
                axis,
            });
        }
    }

    /// The atoms of an axis; those of a plain one are one atom that stays.
    pub(super) fn atoms_of(&mut self, axis: &Axis) -> Result<Arc<[Atom]>, Fixed> {
        match axis {
            Axis::Of(atoms) => Ok(Arc::clone(atoms)),
            Axis::Plain(extent) => {
                followed(*extent)?;
                Ok(vec![self.still(); *extent].into())
            }
        }
    }

    fn still(&mut self) -> Atom {
        if let Some(still) = self.still {
            return still;
        }
        let still = self.atoms.fresh(1)[0];
        let reason = self
            .atoms
            .reason("it stands beside what is no channel".into());
        self.atoms.fix(still, reason);
        *self.still.insert(still)
    }

    /// Two axes have the same positions; what is said of one holds for the other.
    pub(super) fn same(&mut self, a: &Axis, b: &Axis, why: &str) -> Result<(), Fixed> {
        if a.extent() != b.extent() {
            return Fixed::because(format!("{why}: {} beside {}", a.extent(), b.extent()));
        }
        match (a, b) {
            (Axis::Of(a), Axis::Of(b)) => {
                a.iter()
                    .zip(&**b)
                    .for_each(|(&a, &b)| self.atoms.join(a, b));
            }
            (axis, Axis::Plain(_)) | (Axis::Plain(_), axis) => self.fix(axis, why),
        }
        Ok(())
    }

    /// No position of the axis goes.
    pub(super) fn fix(&mut self, axis: &Axis, why: &str) {
        let Axis::Of(atoms) = axis else {
            return;
        };
        let reason = self.atoms.reason(why.to_owned());
        atoms.iter().for_each(|&a| self.atoms.fix(a, reason));
    }

    /// The axes, fixed and from here on plain.
    pub(super) fn still_axes(&mut self, axes: &[Axis], why: &str) -> Vec<Axis> {
        axes.iter()
            .map(|axis| {
                self.fix(axis, why);
                Axis::Plain(axis.extent())
            })
            .collect()
    }

    fn fix_value(&mut self, name: &str, reason: String) {
        let axes = self.value(name).unwrap_or_default();
        axes.iter().for_each(|axis| self.fix(axis, &reason));
    }

    /// Whether two axes have the same atoms.
    pub(super) fn alike(&self, a: &Axis, b: &Axis) -> bool {
        match (a, b) {
            (Axis::Of(a), Axis::Of(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .zip(&**b)
                        .all(|(&a, &b)| self.atoms.root(a) == self.atoms.root(b))
            }
            (Axis::Plain(a), Axis::Plain(b)) => a == b,
            _ => false,
        }
    }
}
