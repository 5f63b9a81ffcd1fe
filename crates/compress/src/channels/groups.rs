//! The groups of channels of a graph.

use super::atoms::{Atom, Atoms};
use super::trace::{Axis, Edit, Producer, Trace};
use secateur_model::{Graph, Shape};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What may be cut from a graph, and what must be cut with it.
///
/// Every position of every axis belongs to a channel; those that an operator
/// holds against each other are the same one. So a channel is all that must go
/// together: rows of the layers that make it, columns of those that read it,
/// entries of biases and normalization.
///
/// ```
/// use secateur_compress::channels::Channels;
/// use secateur_model::{Shape, zoo};
/// let net = zoo::build("lenet-5", [1, 28, 28], 10, 1)?;
/// let channels = Channels::of(&net, &[("input", Shape::new(&[1, 1, 28, 28])?)]);
/// let sizes: Vec<usize> = channels.groups().iter().map(|g| g.channels.len()).collect();
/// assert_eq!(sizes, [20, 50, 500, 10]);
/// assert!(channels.groups()[3].fixed().is_some());
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Channels {
    pub(super) atoms: Atoms,
    pub(super) values: BTreeMap<String, Vec<Axis>>,
    pub(super) edits: Vec<(usize, Edit)>,
    pub(super) inputs: Vec<(String, Shape)>,
    groups: Vec<Group>,
    /// The atoms of every axis, each at least one of which stays.
    spaces: Vec<Vec<Atom>>,
}

/// Channels of the same layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The weights that make the channels, in network order.
    pub weights: Vec<String>,
    /// The channels, in the order of the first weight.
    pub channels: Vec<Channel>,
    /// For each weight, the axis of its channels.
    pub(super) axes: Vec<usize>,
}

/// A channel, or several that stay or go together.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    pub(super) atom: Atom,
    /// Why it cannot be cut, if so.
    pub fixed: Option<String>,
}

impl Group {
    /// The first weight's name.
    pub fn name(&self) -> &str {
        self.weights.first().map_or("", String::as_str)
    }

    /// Why nothing of the group can be cut, if so.
    pub fn fixed(&self) -> Option<&str> {
        let free = self.channels.iter().any(|c| c.fixed.is_none());
        let alone = self.channels.len() < 2;
        match self.channels.first() {
            _ if alone => Some("it is a single channel"),
            Some(first) if !free => first.fixed.as_deref(),
            _ => None,
        }
    }
}

impl Channels {
    /// Finds the channels of a graph whose nodes stand in order. Extents that an
    /// input leaves open are those of `inputs`, or 1; what cannot be followed is
    /// fixed, with the reason.
    pub fn of(graph: &Graph, inputs: &[(&str, Shape)]) -> Self {
        let trace = Trace::of(graph, inputs);
        let mut channels = Self {
            atoms: trace.atoms,
            values: trace.values,
            edits: trace.edits,
            inputs: inputs
                .iter()
                .map(|(name, shape)| ((*name).to_owned(), shape.clone()))
                .collect(),
            groups: Vec::new(),
            spaces: Vec::new(),
        };
        channels.groups = channels.grouped(&trace.producers);
        let spaces: BTreeSet<Vec<Atom>> = channels
            .values
            .values()
            .flatten()
            .map(|axis| channels.distinct(axis))
            .filter(|space| !space.is_empty())
            .collect();
        channels.spaces = spaces.into_iter().collect();
        channels
    }

    /// The groups, in network order.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The atoms of an axis, without repetition, in order.
    pub(super) fn distinct(&self, axis: &Axis) -> Vec<Atom> {
        let Axis::Of(atoms) = axis else {
            return Vec::new();
        };
        let mut seen = HashSet::with_capacity(atoms.len());
        atoms
            .iter()
            .map(|&a| self.atoms.root(a))
            .filter(|&a| seen.insert(a))
            .collect()
    }

    /// The atom of each position of an axis of a value.
    pub(super) fn roots(&self, value: &str, axis: usize) -> Option<Vec<Atom>> {
        match self.values.get(value)?.get(axis)? {
            Axis::Of(atoms) => Some(atoms.iter().map(|&a| self.atoms.root(a)).collect()),
            Axis::Plain(_) => None,
        }
    }

    fn grouped(&self, producers: &[Producer]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut group_of: HashMap<Atom, usize> = HashMap::new();
        let mut seen = HashSet::new();
        for Producer { weight, axis } in producers {
            let Some(axes) = self.values.get(weight) else {
                continue;
            };
            let atoms = self.distinct(&axes[*axis]);
            if atoms.is_empty() || !seen.insert((weight, axis)) {
                continue;
            }
            // Layers that share a channel share all: the earliest group takes the others.
            let met: BTreeSet<usize> = atoms
                .iter()
                .filter_map(|a| group_of.get(a))
                .copied()
                .collect();
            let home = met.first().copied().unwrap_or_else(|| {
                groups.push(Group {
                    weights: Vec::new(),
                    channels: Vec::new(),
                    axes: Vec::new(),
                });
                groups.len() - 1
            });
            for &other in met.iter().skip(1) {
                let taken = std::mem::replace(
                    &mut groups[other],
                    Group {
                        weights: Vec::new(),
                        channels: Vec::new(),
                        axes: Vec::new(),
                    },
                );
                for channel in &taken.channels {
                    group_of.insert(channel.atom, home);
                }
                groups[home].weights.extend(taken.weights);
                groups[home].axes.extend(taken.axes);
                groups[home].channels.extend(taken.channels);
            }
            groups[home].weights.push(weight.clone());
            groups[home].axes.push(*axis);
            for atom in atoms {
                if group_of.insert(atom, home).is_none() {
                    groups[home].channels.push(Channel {
                        atom,
                        fixed: self.atoms.fixed(atom).map(str::to_owned),
                    });
                }
            }
        }
        groups.retain(|group| !group.weights.is_empty());
        groups
    }
}

/// Keeps at least one position of every axis.
pub(super) struct Guard<'c> {
    spaces: HashMap<Atom, Vec<usize>>,
    left: Vec<usize>,
    channels: &'c Channels,
}

impl<'c> Guard<'c> {
    pub(super) fn new(channels: &'c Channels) -> Self {
        let mut spaces: HashMap<Atom, Vec<usize>> = HashMap::new();
        for (index, space) in channels.spaces.iter().enumerate() {
            for &atom in space {
                spaces.entry(atom).or_default().push(index);
            }
        }
        Self {
            spaces,
            left: channels.spaces.iter().map(Vec::len).collect(),
            channels,
        }
    }

    /// Lets an atom go, if it may and every axis that it is part of keeps another one.
    pub(super) fn remove(&mut self, atom: Atom) -> bool {
        let spaces = self.spaces.get(&atom).map_or(&[][..], Vec::as_slice);
        let alone = spaces.iter().any(|&space| self.left[space] <= 1);
        if alone || self.channels.atoms.fixed(atom).is_some() {
            return false;
        }
        spaces.iter().for_each(|&space| self.left[space] -= 1);
        true
    }
}
