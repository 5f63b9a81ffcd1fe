//! Pads of what the tensor itself holds: mirrored, repeated, or from its other side.

use super::Build;
use super::place::{Place, axis_of};
use crate::PlanError;
use crate::plan::Layout;
use secateur_kernels::{Rearrange, Walk};
use secateur_model::ops::TypedShape;
use secateur_model::{Node, Op, PadMode, Shape};

impl Build<'_> {
    /// Adds the steps of a Pad that repeats elements, one for each axis; `false` for anything else, and for
    /// pads that reach beyond the tensor again.
    pub(super) fn borders(
        &mut self,
        node: &Node,
        outputs: &[TypedShape],
    ) -> Result<bool, PlanError> {
        let (Op::Pad { mode }, Some(x), Some(y), [(dtype, shape)]) =
            (&node.op, node.input(0), node.output(0), outputs)
        else {
            return Ok(false);
        };
        if *mode == PadMode::Constant || !self.values.contains_key(x) || shape.elements() == 0 {
            return Ok(false);
        }
        let source = self.value(x)?.shape.clone();
        let Some(pads) = self.pads_of(node, source.rank()) else {
            return Ok(false);
        };
        let layout = match source.rank() {
            4 => self.present_layout(x),
            _ => Layout::Plain,
        };
        let mut dims = source.dims().to_vec();
        let mut passes = Vec::new();
        for (axis, pads) in pads.into_iter().enumerate() {
            if pads == [0, 0] {
                continue;
            }
            let before = Shape::new(&dims)?;
            dims[axis] += pads[0] + pads[1];
            let after = Shape::new(&dims)?;
            let (from, to) = (Place::new(&before, layout), Place::new(&after, layout));
            let Some(walks) = bordered(*mode, axis, pads, [&from, &to]) else {
                return Ok(false);
            };
            passes.push((after, walks));
        }
        let Some((_, last)) = passes.pop() else {
            self.define_reshaped(y, x, shape)?;
            return Ok(true);
        };
        let mut from = self.in_layout(x, layout)?;
        for (shape, walks) in passes {
            let name = format!("{}: first axes", node.name);
            let to = self.buffer(&name, *dtype, &shape, layout)?;
            self.rearrange(&name, vec![from; walks.len()], walks, None, to);
            from = to;
        }
        let to = self.define(y, *dtype, shape, layout)?;
        self.rearrange(&node.name, vec![from; last.len()], last, None, to);
        Ok(true)
    }

    /// Pads of every axis, beginning and end; `None` where they are not known or cut.
    fn pads_of(&self, node: &Node, rank: usize) -> Option<Vec<[usize; 2]>> {
        let list = |index: usize| {
            let tensor = self.known(node.input(index)?)?;
            tensor.as_i64().ok().map(<[i64]>::to_vec)
        };
        let given = list(1)?;
        let axes = match node.input(3) {
            None => (0..rank as i64).collect(),
            Some(_) => list(3)?,
        };
        if given.len() != 2 * axes.len() {
            return None;
        }
        let mut pads = vec![[0; 2]; rank];
        for (index, &axis) in axes.iter().enumerate() {
            let begin = usize::try_from(given[index]).ok()?;
            let end = usize::try_from(given[index + axes.len()]).ok()?;
            pads[axis_of(axis, rank)?] = [begin, end];
        }
        Some(pads)
    }
}

/// The tensor, what stands before it along an axis, and what behind.
fn bordered(
    mode: PadMode,
    axis: usize,
    [begin, end]: [usize; 2],
    [from, to]: [&Place; 2],
) -> Option<Vec<Rearrange>> {
    let extent = from.dims[axis];
    // The first element of each border, and the way it goes from there.
    let (reach, before, behind, step) = match mode {
        PadMode::Constant => return None,
        PadMode::Edge => (usize::MAX, 0, extent.checked_sub(1)?, 0),
        PadMode::Reflect => (extent.checked_sub(1)?, begin, extent.saturating_sub(2), -1),
        PadMode::Wrap => (extent, extent.saturating_sub(begin), 0, 1),
    };
    if begin > reach || end > reach {
        return None;
    }
    let walk = |first: usize, count: usize, step: isize, at: usize| {
        let walks: Vec<Walk> = (0..from.dims.len())
            .map(|other| {
                let along = other == axis;
                Walk {
                    extent: if along { count } else { from.dims[other] },
                    from: from.strides[other] as isize * if along { step } else { 1 },
                    to: to.strides[other],
                }
            })
            .collect();
        Rearrange::new(&walks, first * from.strides[axis], at * to.strides[axis]).ok()
    };
    let mut walks = vec![walk(0, extent, 1, begin)?];
    if begin > 0 {
        walks.push(walk(before, begin, step, 0)?);
    }
    if end > 0 {
        walks.push(walk(behind, end, step, begin + extent)?);
    }
    Some(walks)
}
