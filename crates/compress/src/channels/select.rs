//! A choice of channels, carried out on every weight, shape and node.

use super::atoms::Atom;
use super::groups::Channels;
use super::shapes::Shapes;
use super::take::{Taken, take};
use super::trace::{Axis, Edit};
use crate::CompressError;
use secateur_model::{Constant, Graph, Node, Op, Shape, Tensor};
use std::collections::{HashMap, HashSet};

/// Which channels stay, and in which order.
#[derive(Debug, Default)]
pub(super) struct Pick {
    /// Those that go.
    pub(super) gone: HashSet<Atom>,
    /// Which channel comes to stand in a channel's place, where it is another one.
    pub(super) moved: HashMap<Atom, Atom>,
}

impl Channels {
    /// The graph with the picked channels only.
    pub(super) fn select(&self, graph: &Graph, pick: &Pick) -> Result<Graph, CompressError> {
        let mut cut = graph.clone();
        for (name, constant) in &mut cut.constants {
            let Some(axes) = self.values.get(name) else {
                continue;
            };
            let taken: Taken = axes.iter().map(|axis| self.positions(axis, pick)).collect();
            if taken.iter().any(Option::is_some) {
                *constant = take(constant, &taken)?;
            }
        }
        for (index, edit) in &self.edits {
            self.edit(&mut cut, *index, edit, graph, pick)?;
        }
        cut.drop_unused_constants();
        self.check(&cut, pick)?;
        Ok(cut)
    }

    /// The positions of an axis that are taken; `None` where they are all, in order.
    pub(super) fn positions(&self, axis: &Axis, pick: &Pick) -> Option<Vec<usize>> {
        let Axis::Of(atoms) = axis else {
            return None;
        };
        let roots: Vec<Atom> = atoms.iter().map(|&a| self.atoms.root(a)).collect();
        let touched = |a: &Atom| pick.gone.contains(a) || pick.moved.contains_key(a);
        if !roots.iter().any(touched) {
            return None;
        }
        let mut places: HashMap<Atom, Vec<usize>> = HashMap::new();
        for (place, &atom) in roots.iter().enumerate() {
            places.entry(atom).or_default().push(place);
        }
        let mut met: HashMap<Atom, usize> = HashMap::new();
        let mut taken = Vec::with_capacity(roots.len());
        for atom in roots {
            let source = pick.moved.get(&atom).copied().unwrap_or(atom);
            let turn = met.entry(atom).or_default();
            if !pick.gone.contains(&source)
                && let Some(&place) = places.get(&source).and_then(|p| p.get(*turn))
            {
                taken.push(place);
            }
            *turn += 1;
        }
        Some(taken)
    }

    /// The extent of an axis after the cut.
    fn extent(&self, axis: &Axis, pick: &Pick) -> usize {
        self.positions(axis, pick)
            .map_or(axis.extent(), |taken| taken.len())
    }

    fn edit(
        &self,
        cut: &mut Graph,
        index: usize,
        edit: &Edit,
        before: &Graph,
        pick: &Pick,
    ) -> Result<(), CompressError> {
        let node = &before.nodes[index];
        match edit {
            Edit::Groups => {
                let axis = node.input(1).and_then(|w| self.values.get(w)?.first());
                let Some(axis) = axis else { return Ok(()) };
                let scaled =
                    |groups: usize| groups * self.extent(axis, pick) / axis.extent().max(1);
                match &mut cut.nodes[index].op {
                    Op::Conv { groups, .. } => *groups = scaled(*groups),
                    Op::ConvTranspose(conv) => conv.groups = scaled(conv.groups),
                    _ => {}
                }
            }
            Edit::Parts { axis } => {
                let parts: Vec<&Axis> = node
                    .outputs
                    .iter()
                    .filter_map(|name| self.values.get(name)?.get(*axis))
                    .collect();
                if parts
                    .iter()
                    .all(|part| self.extent(part, pick) == part.extent())
                {
                    return Ok(());
                }
                let extents = parts.iter().map(|part| self.extent(part, pick) as i64);
                replace_input(cut, index, 1, extents.collect())?;
                if let Op::Split { num_outputs, .. } = &mut cut.nodes[index].op {
                    *num_outputs = None;
                }
            }
            Edit::Target { input, axes } => {
                let name = node.input(*input).unwrap_or_default();
                let Some(Constant::Tensor(target)) = before.constants.get(name) else {
                    return Ok(());
                };
                let old = target.as_i64()?;
                let new = old.iter().zip(axes).map(|(&extent, axis)| match axis {
                    Axis::Of(_) if extent > 0 => self.extent(axis, pick) as i64,
                    _ => extent,
                });
                let new: Vec<i64> = new.collect();
                if new != old {
                    replace_input(cut, index, *input, new)?;
                }
            }
        }
        Ok(())
    }

    /// Every extent must be what was foreseen.
    fn check(&self, cut: &Graph, pick: &Pick) -> Result<(), CompressError> {
        let inputs: Vec<(&str, Shape)> = self
            .inputs
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.clone()))
            .collect();
        let mut shapes = Shapes::new(cut, &inputs);
        for node in &cut.nodes {
            let result = shapes.walk(node);
            for name in node.outputs.iter().filter(|o| !o.is_empty()) {
                let Some(axes) = self.values.get(name) else {
                    continue;
                };
                let foreseen: Vec<usize> = axes.iter().map(|a| self.extent(a, pick)).collect();
                let found = shapes.shape(name);
                if found.is_none_or(|shape| shape.dims() != foreseen) {
                    let found = match (&result, found) {
                        (Err(reason), _) => reason.clone(),
                        (_, Some(shape)) => shape.to_string(),
                        (_, None) => "nothing".into(),
                    };
                    return Err(CompressError::Refused {
                        step: "channels",
                        reason: format!(
                            "`{}` would give `{name}` as {found} where {foreseen:?} was foreseen",
                            node.name
                        ),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Gives a node a list of integers of its own as an input.
fn replace_input(
    graph: &mut Graph,
    index: usize,
    input: usize,
    values: Vec<i64>,
) -> Result<(), CompressError> {
    let Node { name, inputs, .. } = &graph.nodes[index];
    let old = inputs.get(input).filter(|old| !old.is_empty());
    let stem = old.cloned().unwrap_or_else(|| format!("{name}.parts"));
    let fresh = graph.fresh_name(&stem);
    let tensor = Tensor::i64(&[values.len()], values)?;
    graph
        .constants
        .insert(fresh.clone(), Constant::Tensor(tensor));
    let inputs = &mut graph.nodes[index].inputs;
    if inputs.len() <= input {
        inputs.resize(input + 1, String::new());
    }
    inputs[input] = fresh;
    Ok(())
}
