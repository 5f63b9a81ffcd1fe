//! Channels cut for good, the least important first.

use super::groups::{Channels, Group, Guard};
use super::select::Pick;
use crate::CompressError;
use crate::wildcard::{lookup, matches};
use secateur_model::{Graph, Shape, Weight};
use std::collections::BTreeMap;

/// How many channels stay.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelCut {
    /// Share of each group that stays, above 0 and at most 1.
    pub keep: f64,
    /// Another share for groups one of whose weights has such a name, in which `*` stands
    /// for any run; of several that fit, the one that says most counts.
    pub groups: BTreeMap<String, f64>,
    /// Channels stay in multiples of this, as far as the group has them.
    pub round_to: usize,
}

impl ChannelCut {
    /// The same share of every group.
    pub fn share(keep: f64) -> Self {
        Self {
            keep,
            groups: BTreeMap::new(),
            round_to: 1,
        }
    }
}

/// What makes a channel worth keeping.
#[derive(Debug, Clone, Copy)]
pub enum Importance<'a> {
    /// Euclidean length of its filters (Li et al. 2017, with squares), each layer's
    /// against the mean of the layer, summed over the layers of the group.
    Magnitude,
    /// The sum of these importances of single weights, by the weight's name:
    /// `|w · gradient|` for a first-order criterion (Molchanov et al. 2019).
    OfWeights(&'a BTreeMap<String, Vec<f32>>),
}

/// What was kept of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptChannels {
    /// The weights that make the channels.
    pub weights: Vec<String>,
    /// Channels that are left. Channels that go together count as one.
    pub kept: usize,
    /// Channels before.
    pub of: usize,
    /// Why none can be cut, if so.
    pub fixed: Option<String>,
}

/// Removes the least important channels of every group from the graph's shapes.
///
/// Extents that an input of the graph leaves open are those of `inputs`, or 1.
///
/// ```
/// use secateur_compress::channels::{ChannelCut, Importance, prune_channels};
/// use secateur_model::{Shape, zoo};
/// let mut net = zoo::build("lenet-5", [1, 28, 28], 10, 1)?;
/// let inputs = [("input", Shape::new(&[1, 1, 28, 28])?)];
/// prune_channels(&mut net, &inputs, &ChannelCut::share(0.5), Importance::Magnitude)?;
/// assert_eq!(net.parameters(), 10 * 25 + 10 + 25 * 250 + 25 + 250 * 400 + 250 + 10 * 250 + 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A share outside `0 < keep <= 1`, a name that no group has, importances of
/// another length than their weight, a graph whose extents would contradict each other.
pub fn prune_channels(
    graph: &mut Graph,
    inputs: &[(&str, Shape)],
    cut: &ChannelCut,
    importance: Importance<'_>,
) -> Result<Vec<KeptChannels>, CompressError> {
    Schedule::new(graph, inputs, cut.clone())?.cut(graph, inputs, 1.0, importance)
}

/// A cut that is made in several, with training between them.
#[derive(Debug, Clone)]
pub struct Schedule {
    cut: ChannelCut,
    /// Channels of each group before the first cut, by the group's name.
    before: BTreeMap<String, usize>,
}

impl Schedule {
    /// The shares are of the graph as it is now.
    ///
    /// # Errors
    /// A share outside `0 < keep <= 1`, a name that no group has.
    pub fn new(
        graph: &Graph,
        inputs: &[(&str, Shape)],
        cut: ChannelCut,
    ) -> Result<Self, CompressError> {
        check(&cut)?;
        let channels = Channels::of(graph, inputs);
        for pattern in cut.groups.keys() {
            let mut known = channels.groups().iter().flat_map(|g| &g.weights);
            if !known.any(|name| matches(pattern, name)) {
                return Err(CompressError::Refused {
                    step: "channels",
                    reason: format!("no layer that makes channels is named `{pattern}`"),
                });
            }
        }
        let size = |g: &Group| (g.name().to_owned(), g.channels.len());
        Ok(Self {
            cut,
            before: channels.groups().iter().map(size).collect(),
        })
    }

    /// Cuts to the share that is reached after `part` (0 to 1) of the cuts: so that
    /// equal parts keep equal shares of what is left.
    ///
    /// # Errors
    /// As [`prune_channels`].
    pub fn cut(
        &self,
        graph: &mut Graph,
        inputs: &[(&str, Shape)],
        part: f64,
        importance: Importance<'_>,
    ) -> Result<Vec<KeptChannels>, CompressError> {
        let channels = Channels::of(graph, inputs);
        let mut pick = Pick::default();
        let mut guard = Guard::new(&channels);
        let mut kept = Vec::with_capacity(channels.groups().len());
        for group in channels.groups() {
            let of = group.channels.len();
            let mut left = of;
            if group.fixed().is_none() {
                let worth = worth(graph, &channels, group, importance)?;
                let mut order: Vec<usize> = (0..of).collect();
                order.sort_by(|&a, &b| worth[a].total_cmp(&worth[b]).then(b.cmp(&a)));
                let target = self.target(&channels, group, part);
                for at in order {
                    let atom = group.channels[at].atom;
                    if left > target && guard.remove(atom) {
                        pick.gone.insert(atom);
                        left -= 1;
                    }
                }
            }
            kept.push(KeptChannels {
                weights: group.weights.clone(),
                kept: left,
                of,
                fixed: group.fixed().map(str::to_owned),
            });
        }
        if !pick.gone.is_empty() {
            *graph = channels.select(graph, &pick)?;
        }
        Ok(kept)
    }

    /// Channels of a group that are to stay.
    fn target(&self, channels: &Channels, group: &Group, part: f64) -> usize {
        let cut = &self.cut;
        let own = group
            .weights
            .iter()
            .find_map(|name| lookup(&cut.groups, name));
        let share = own.map_or(cut.keep, |share| *share).powf(part);
        let of = group.channels.len();
        let before = self.before.get(group.name()).copied().unwrap_or(of);
        // Where several positions go together, fewer channels make the multiple.
        let positions = channels.roots(group.name(), group.axes[0]);
        let positions = positions.map_or(of, |roots| roots.len()).max(1);
        let step = (cut.round_to * of).div_ceil(positions).max(1);
        let wanted = ((before as f64 * share).round() as usize).max(1);
        wanted.next_multiple_of(step).min(of)
    }
}

fn check(cut: &ChannelCut) -> Result<(), CompressError> {
    let wrong = |setting, needed, found| CompressError::Setting {
        step: "channels",
        setting,
        needed,
        found,
    };
    let shares = cut.groups.values().chain([&cut.keep]);
    if let Some(share) = shares.copied().find(|s| !(*s > 0.0 && *s <= 1.0)) {
        return Err(wrong("keep", "above 0 and at most 1", share.to_string()));
    }
    match cut.round_to {
        0 => Err(wrong("round_to", "at least 1", "0".into())),
        _ => Ok(()),
    }
}

/// What each channel of a group is worth.
fn worth(
    graph: &Graph,
    channels: &Channels,
    group: &Group,
    importance: Importance<'_>,
) -> Result<Vec<f64>, CompressError> {
    let mut worth = vec![0.0; group.channels.len()];
    let places: BTreeMap<u32, usize> = group
        .channels
        .iter()
        .enumerate()
        .map(|(place, channel)| (channel.atom, place))
        .collect();
    for (name, &axis) in group.weights.iter().zip(&group.axes) {
        let (Some(weight), Some(roots)) = (graph.weight(name), channels.roots(name, axis)) else {
            continue;
        };
        let of_positions = match importance {
            Importance::Magnitude => lengths(weight, axis),
            Importance::OfWeights(all) => match all.get(name) {
                None => continue,
                Some(values) if values.len() != weight.shape().elements() => {
                    return Err(CompressError::Refused {
                        step: "channels",
                        reason: format!(
                            "`{name}` has {} weights, but {} importances",
                            weight.shape().elements(),
                            values.len()
                        ),
                    });
                }
                Some(values) => sums(values.iter().map(|&v| f64::from(v)), weight.shape(), axis),
            },
        };
        for (root, value) in roots.iter().zip(of_positions) {
            if let Some(&place) = places.get(root) {
                worth[place] += value;
            }
        }
    }
    Ok(worth)
}

/// Squared length of each position of an axis, against the mean of the weight.
fn lengths(weight: &Weight, axis: usize) -> Vec<f64> {
    let values = weight.to_f32();
    let squares = values.iter().map(|&v| f64::from(v) * f64::from(v));
    let mut sums = sums(squares, weight.shape(), axis);
    let mean = sums.iter().sum::<f64>() / sums.len().max(1) as f64;
    sums.iter_mut()
        .for_each(|s| *s /= mean.max(f64::MIN_POSITIVE));
    sums
}

fn sums(values: impl Iterator<Item = f64>, shape: &Shape, axis: usize) -> Vec<f64> {
    let (stride, extent) = (shape.strides()[axis], shape[axis]);
    let mut sums = vec![0.0; extent];
    for (at, value) in values.enumerate() {
        sums[at / stride % extent] += value;
    }
    sums
}
