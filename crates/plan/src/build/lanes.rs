//! Operators on lanes of elements: Softmax, normalizations of the last axes,
//! reductions.

use super::Build;
use super::place::{Place, axis_of};
use crate::PlanError;
use crate::plan::{Action, Addend, BLOCK, Layout, Operand};
use secateur_kernels::{Moments, Reduction};
use secateur_model::ops::TypedShape;
use secateur_model::{self as model, DType, Node, Op, Shape};

impl Build<'_> {
    /// Adds the step of a node that computes along lanes; `false` where it does
    /// something else, or along lanes that no kernel has.
    pub(super) fn lanes(&mut self, node: &Node, outputs: &[TypedShape]) -> Result<bool, PlanError> {
        let (Some(x), Some(y), Some((DType::F32, shape))) =
            (node.input(0), node.output(0), outputs.first())
        else {
            return Ok(false);
        };
        // Means and deviations of normalizations have no kernel.
        let more = node.outputs.iter().skip(1).any(|name| !name.is_empty());
        let real = self.values.get(x).is_some_and(|v| v.dtype == DType::F32);
        if more || !real || shape.elements() == 0 {
            return Ok(false);
        }
        let rank = self.value(x)?.shape.rank();
        let planes = || (2..rank).collect::<Vec<usize>>();
        match &node.op {
            Op::Softmax { axis, flattened } => self.softmax([x, y], (*axis, *flattened), node),
            Op::LayerNormalization { axis, epsilon } => {
                self.normalize(node, Moments::Both, (*axis, *epsilon), shape)
            }
            Op::RMSNormalization { axis, epsilon } => {
                self.normalize(node, Moments::Square, (*axis, *epsilon), shape)
            }
            Op::GlobalMaxPool => self.reduce([x, y], Reduction::Max, &planes(), (node, shape)),
            Op::GlobalAveragePool => self.reduce([x, y], Reduction::Mean, &planes(), (node, shape)),
            Op::Reduce {
                kind,
                noop_with_empty_axes,
                ..
            } => {
                let axes = self.reduced_axes(node, rank, *noop_with_empty_axes);
                let (Some(kind), Some(axes)) = (reduction_of(*kind), axes) else {
                    return Ok(false);
                };
                self.reduce([x, y], kind, &axes, (node, shape))
            }
            _ => Ok(false),
        }
    }

    fn softmax(
        &mut self,
        [x, y]: [&str; 2],
        (axis, flattened): (i64, bool),
        node: &Node,
    ) -> Result<bool, PlanError> {
        let shape = self.value(x)?.shape.clone();
        let Some(axis) = axis_of(axis, shape.rank()) else {
            return Ok(false);
        };
        let (layout, end) = match flattened {
            true => (Layout::Plain, shape.rank()),
            false => (self.layout_of_images(x), axis + 1),
        };
        let axes: Vec<usize> = (axis..end).collect();
        let Some(axis) = Place::new(&shape, layout).joined(&axes) else {
            return Ok(false);
        };
        let from = self.in_layout(x, layout)?;
        let to = self.define(y, DType::F32, &shape, layout)?;
        self.simple(
            &node.name,
            Action::Softmax { axis, codes: None },
            &[from],
            to,
            "softmax",
        );
        Ok(true)
    }

    fn normalize(
        &mut self,
        node: &Node,
        moments: Moments,
        (axis, epsilon): (i64, f32),
        shape: &Shape,
    ) -> Result<bool, PlanError> {
        let (Some(x), Some(y), Some(axis)) =
            (node.input(0), node.output(0), axis_of(axis, shape.rank()))
        else {
            return Ok(false);
        };
        let width: usize = shape.dims()[axis..].iter().product();
        for index in 1..node.inputs.len() {
            let whole = match node.input(index) {
                Some(name) => self.shape_of_value(name)?.elements() == width,
                None => index == 2,
            };
            if !whole {
                return Ok(false);
            }
        }
        let rows = self.plain(x)?;
        let mut inputs = vec![
            Operand::Buffer(rows),
            self.operand(node.input(1))?,
            self.operand(node.input(2))?,
        ];
        let sum = match width <= BLOCK {
            true => self.sum_before(node, x, rows),
            false => None,
        };
        let addend = match sum {
            Some(sum) => {
                inputs[0] = Operand::Buffer(sum.first);
                inputs.push(Operand::Buffer(sum.second));
                sum.addend
            }
            None => Addend::None,
        };
        let to = self.define(y, DType::F32, shape, Layout::Plain)?;
        let action = Action::Normalize {
            moments,
            epsilon,
            width,
            addend,
            codes: None,
        };
        self.unweighted(&node.name, action, inputs, to, "normalize_rows");
        Ok(true)
    }

    fn reduce(
        &mut self,
        [x, y]: [&str; 2],
        kind: Reduction,
        axes: &[usize],
        (node, shape): (&Node, &Shape),
    ) -> Result<bool, PlanError> {
        let source = self.value(x)?.shape.clone();
        let present = self.layout_of_images(x);
        let found = [present, Layout::Plain].into_iter().find_map(|layout| {
            let place = Place::new(&source, layout);
            let kept = shape.rank() == 4 && layout == Layout::ChannelsLast;
            let lies = kept || place.is_plain_without(axes);
            let axis = place.joined(axes).filter(|axis| lies && axis.extent > 0)?;
            Some((layout, axis, if kept { layout } else { Layout::Plain }))
        });
        let Some((layout, axis, target)) = found else {
            return Ok(false);
        };
        let from = self.in_layout(x, layout)?;
        let to = self.define(y, DType::F32, shape, target)?;
        let action = Action::Reduce { kind, axis };
        self.simple(&node.name, action, &[from], to, "reduce");
        Ok(true)
    }

    /// The axes that a reduction lists; all where it lists none, or none where
    /// it says so.
    fn reduced_axes(&self, node: &Node, rank: usize, none: bool) -> Option<Vec<usize>> {
        let listed = match node.input(1) {
            Some(name) => self.known(name)?.as_i64().ok()?.to_vec(),
            None => Vec::new(),
        };
        match listed.is_empty() {
            true if none => Some(Vec::new()),
            true => Some((0..rank).collect()),
            false => listed.into_iter().map(|axis| axis_of(axis, rank)).collect(),
        }
    }
}

fn reduction_of(kind: model::Reduction) -> Option<Reduction> {
    Some(match kind {
        model::Reduction::L2 => Reduction::L2,
        model::Reduction::Max => Reduction::Max,
        model::Reduction::Mean => Reduction::Mean,
        model::Reduction::Min => Reduction::Min,
        model::Reduction::Sum => Reduction::Sum,
        model::Reduction::SumSquare => Reduction::SumSquare,
        _ => return None,
    })
}
