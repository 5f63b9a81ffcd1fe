//! Types and extents of values, as far as they can be known: a node that cannot
//! be inferred leaves its outputs open instead of failing.

use secateur_model::ops::{self, ShapeInput, TypedShape};
use secateur_model::{Constant, DType, Dim, Graph, Node, Shape, Tensor, infer};
use std::collections::HashMap;

/// What is known of values before and while the nodes are walked.
pub(super) struct Shapes<'g> {
    graph: &'g Graph,
    known: HashMap<String, TypedShape>,
    folded: HashMap<String, Tensor>,
}

impl<'g> Shapes<'g> {
    /// Inputs and constants. Inputs that are not among `given` have 1 for every
    /// extent that is open.
    pub(super) fn new(graph: &'g Graph, given: &[(&str, Shape)]) -> Self {
        let mut known = HashMap::new();
        for (name, constant) in &graph.constants {
            let typed = match constant {
                Constant::Tensor(tensor) => (tensor.dtype(), tensor.shape().clone()),
                Constant::Weight(weight) => (DType::F32, weight.shape().clone()),
            };
            known.insert(name.clone(), typed);
        }
        for input in &graph.inputs {
            let by_name = given.iter().find(|(name, _)| *name == input.name);
            let shape = by_name.map(|(_, shape)| shape.clone()).or_else(|| {
                let dims: Vec<usize> = input.dims.as_ref()?.iter().map(nominal).collect();
                Shape::new(&dims).ok()
            });
            if let Some(shape) = shape {
                known.insert(input.name.clone(), (input.dtype, shape));
            }
        }
        Self {
            graph,
            known,
            folded: HashMap::new(),
        }
    }

    /// Adds what a node gives; why it cannot be known otherwise.
    pub(super) fn walk(&mut self, node: &Node) -> Result<(), String> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in &node.inputs {
            inputs.push(match name.as_str() {
                "" => None,
                name => Some(self.input(name)?),
            });
        }
        let outputs = ops::infer(node, &inputs).map_err(|e| e.to_string())?;
        let value = infer::fold(node, &inputs, &outputs).map_err(|e| e.to_string())?;
        drop(inputs);
        for (name, typed) in node.outputs.iter().zip(outputs) {
            self.known.insert(name.clone(), typed);
        }
        if let (Some(name), Some(value)) = (node.output(0), value) {
            self.folded.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn input(&self, name: &str) -> Result<ShapeInput<'_>, String> {
        let (dtype, shape) = self
            .known
            .get(name)
            .ok_or_else(|| format!("the extents of `{name}` are not known"))?;
        Ok(ShapeInput {
            dtype: *dtype,
            shape: shape.clone(),
            value: self.folded.get(name).or_else(|| self.constant(name)),
        })
    }

    /// The extents of a value.
    pub(super) fn shape(&self, name: &str) -> Option<&Shape> {
        self.known.get(name).map(|(_, shape)| shape)
    }

    /// A constant that no input overrides.
    pub(super) fn constant(&self, name: &str) -> Option<&'g Tensor> {
        match self.graph.constants.get(name) {
            Some(Constant::Tensor(tensor)) if !self.is_input(name) => Some(tensor),
            _ => None,
        }
    }

    /// The elements of an i64 value that is known beforehand.
    pub(super) fn integers(&self, name: &str) -> Option<&[i64]> {
        let tensor = self.folded.get(name).or_else(|| self.constant(name))?;
        tensor.as_i64().ok()
    }

    /// Whether a value is given with each run.
    pub(super) fn is_input(&self, name: &str) -> bool {
        self.graph.inputs.iter().any(|input| input.name == name)
    }
}

fn nominal(dim: &Dim) -> usize {
    match dim {
        Dim::Known(n) => *n,
        Dim::Named(_) => 1,
    }
}
