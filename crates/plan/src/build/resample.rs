//! Resize where elements are weighted, or are neighbours at uneven distances.

use super::Build;
use super::place::Place;
use crate::PlanError;
use crate::plan::{Action, Layout};
use secateur_kernels::{Resample, Taps};
use secateur_model::ops::{self, ResizeTaps, ShapeInput, TypedShape};
use secateur_model::{DType, Node, Op, Shape};

/// Longest axis of a resized output: its taps are listed.
const MAX_EXTENT: usize = 1 << 20;

impl Build<'_> {
    /// Adds the steps of a Resize of f32; `false` for anything else.
    pub(super) fn resample(
        &mut self,
        node: &Node,
        outputs: &[TypedShape],
    ) -> Result<bool, PlanError> {
        let (Op::Resize(resize), Some(x), Some(y), [(DType::F32, shape)]) =
            (&node.op, node.input(0), node.output(0), outputs)
        else {
            return Ok(false);
        };
        let source = self.shape_of_value(x)?;
        let computed = (1..node.inputs.len())
            .filter_map(|index| node.input(index))
            .any(|name| !self.is_known(name));
        let long = shape.dims().iter().any(|&extent| extent > MAX_EXTENT);
        if !self.values.contains_key(x) || computed || long || shape.elements() == 0 {
            return Ok(false);
        }
        let layout = match source.rank() {
            4 => self.present_layout(x),
            _ => Layout::Plain,
        };
        let mut passes = self.passes(node, &source, layout)?;
        // What stands outside of one pass is weighted by the next one.
        if passes.len() > 1 && !resize.extrapolation.is_finite() {
            return Ok(false);
        }
        let Some((last, _)) = passes.pop() else {
            self.define_reshaped(y, x, shape)?;
            return Ok(true);
        };
        let mut from = self.in_layout(x, layout)?;
        for (pass, shape) in passes {
            let name = format!("{}: first axes", node.name);
            let to = self.buffer(&name, DType::F32, &shape, layout)?;
            self.resampled(&name, pass, [from, to])?;
            from = to;
        }
        let to = self.define(y, DType::F32, shape, layout)?;
        self.resampled(&node.name, last, [from, to])?;
        Ok(true)
    }

    fn resampled(
        &mut self,
        name: &str,
        pass: Resample,
        [from, to]: [usize; 2],
    ) -> Result<(), PlanError> {
        let scratch = pass
            .scratch()
            .checked_mul(size_of::<f32>())
            .and_then(|bytes| bytes.checked_next_multiple_of(64))
            .and_then(|each| each.checked_mul(self.threads))
            .ok_or(PlanError::ArenaOverflow)?;
        let step = self.steps.len();
        let action = Action::Resample(Box::new(pass));
        self.simple(name, action, &[from], to, "resample");
        self.add_scratch(step, scratch);
        Ok(())
    }

    /// Passes over the resized axes, two neighbours at a time, from the last ones to the first, each with
    /// the extents that it leaves.
    fn passes(
        &self,
        node: &Node,
        source: &Shape,
        layout: Layout,
    ) -> Result<Vec<(Resample, Shape)>, PlanError> {
        let Op::Resize(resize) = &node.op else {
            return Ok(Vec::new());
        };
        let known: Vec<_> = (0..node.inputs.len())
            .map(|index| node.input(index).and_then(|name| self.known(name)))
            .collect();
        let inputs = known.iter().enumerate().map(|(index, tensor)| match index {
            0 => Some(ShapeInput::new(DType::F32, source.clone())),
            _ => tensor.as_deref().map(ShapeInput::of),
        });
        let taps = ops::resize_taps(node, &inputs.collect::<Vec<_>>())?;
        let mut dims = source.dims().to_vec();
        let order = Place::new(source, layout).order();
        let product = |dims: &[usize], axes: &[usize]| axes.iter().map(|&a| dims[a]).product();
        let mut passes = Vec::new();
        let mut end = order.len();
        while let Some(at) = end.checked_sub(1) {
            end = at;
            let axis = order[at];
            if is_identity(&taps[axis], dims[axis]) {
                continue;
            }
            let along = |axis: usize| {
                let lists = taps[axis].iter().map(kernel_taps);
                Taps::new(source[axis], lists).map_err(|e| Self::kernel_error(node, e))
            };
            let run = product(&dims, &order[at + 1..]);
            dims[axis] = taps[axis].len();
            let before = at
                .checked_sub(1)
                .filter(|&before| !is_identity(&taps[order[before]], dims[order[before]]));
            let (down, across) = match before {
                Some(before) => (along(order[before])?, Some(along(axis)?)),
                None => (along(axis)?, None),
            };
            if let Some(before) = before {
                dims[order[before]] = taps[order[before]].len();
                end = before;
            }
            let outer = product(&dims, &order[..end]);
            let pass = Resample::new(outer, down, across, run, resize.extrapolation)
                .map_err(|e| Self::kernel_error(node, e))?;
            passes.push((pass, Shape::new(&dims)?));
        }
        Ok(passes)
    }
}

/// Whether an axis stays as it is.
fn is_identity(taps: &[ResizeTaps], extent: usize) -> bool {
    let same = |(i, taps): (usize, &ResizeTaps)| taps.as_deref() == Some(&[(i, 1.0)]);
    taps.len() == extent && taps.iter().enumerate().all(same)
}

fn kernel_taps(taps: &ResizeTaps) -> Vec<(usize, f32)> {
    let taps = taps.as_deref().unwrap_or_default();
    taps.iter().map(|&(at, w)| (at, w as f32)).collect()
}
