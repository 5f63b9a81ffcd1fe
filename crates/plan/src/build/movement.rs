//! Steps that only move elements, of any type, in the layout that is there.

use super::Build;
use super::place::{Place, axis_of};
use crate::PlanError;
use crate::plan::{Action, Layout, Operand};
use secateur_kernels::{Rearrange, Walk};
use secateur_model::ops::{Aspect, Coordinates, Interpolation, Resize, Rounding, TypedShape};
use secateur_model::{DType, Data, Node, Op, PadMode, Shape, Tensor};
use std::sync::Arc;

impl Place {
    /// One axis of a walk over elements that lie alike on both sides.
    fn axis(&self, axis: usize, to: &Self) -> Walk {
        walk(to.dims[axis], self.strides[axis] as isize, to.strides[axis])
    }

    /// The walk over all elements of `part`, which stands somewhere in both.
    fn walks(&self, to: &Self, part: &[usize]) -> Vec<Walk> {
        let axes = part.iter().zip(self.strides.iter().zip(&to.strides));
        axes.map(|(&extent, (&from, &to))| walk(extent, from as isize, to))
            .collect()
    }
}

fn walk(extent: usize, from: isize, to: usize) -> Walk {
    Walk { extent, from, to }
}

/// A walk with where it begins on both sides.
type Route = (Vec<Walk>, usize, usize);

impl Build<'_> {
    /// Adds the steps of a node that moves elements; `false` where it does
    /// something else, or moves them as no walk does.
    pub(super) fn movement(
        &mut self,
        node: &Node,
        outputs: &[TypedShape],
    ) -> Result<bool, PlanError> {
        match &node.op {
            Op::Concat { axis } => return self.join(node, *axis, outputs),
            Op::Split { axis, .. } => return self.split(node, *axis, outputs),
            Op::Transpose { .. }
            | Op::Slice
            | Op::Expand
            | Op::Tile
            | Op::DepthToSpace { .. }
            | Op::SpaceToDepth { .. }
            | Op::Resize(_)
            | Op::Pad { .. }
            | Op::Gather { .. } => {}
            _ => return Ok(false),
        }
        let (Some(x), [(dtype, shape)]) = (node.input(0), outputs) else {
            return Ok(false);
        };
        if !self.values.contains_key(x) || node.output(0).is_none() {
            return Ok(false);
        }
        let source = self.value(x)?.shape.clone();
        let layout = match source.rank() {
            4 => self.present_layout(x),
            _ => Layout::Plain,
        };
        let kept = shape.rank() == 4 && !matches!(node.op, Op::Transpose { .. });
        let out_layout = if kept { layout } else { Layout::Plain };
        let (from, to) = (Place::new(&source, layout), Place::new(shape, out_layout));
        let mut fill = None;
        let route = match &node.op {
            Op::Transpose { perm } => turned(perm.as_deref(), &from, &to),
            Op::Slice => self.sliced(node, &from, &to),
            Op::Expand => Some(repeated(&from, &to)),
            Op::Tile => Some(tiled(&from, &to)),
            Op::DepthToSpace {
                block,
                channel_first,
            } => spread(*block, *channel_first, &from, &to),
            Op::SpaceToDepth { block } => gathered(*block, &from, &to),
            Op::Resize(resize) => self.enlarged(node, resize, &from, &to),
            Op::Pad {
                mode: PadMode::Constant,
            } => {
                fill = self.pad_value(node, *dtype);
                self.padded(node, &from, &to).filter(|_| fill.is_some())
            }
            Op::Gather { axis } => self.picked(node, *axis, &from, &to),
            _ => None,
        };
        let Some((axes, start_from, start_to)) = route else {
            return Ok(false);
        };
        let Ok(walk) = Rearrange::new(&axes, start_from, start_to) else {
            return Ok(false);
        };
        let buffer = self.in_layout(x, layout)?;
        let output = node.output(0).unwrap_or_default();
        let to = self.define(output, *dtype, shape, out_layout)?;
        self.rearrange(&node.name, vec![buffer], vec![walk], fill, to);
        Ok(true)
    }

    /// A value repeated along the axes where `shape` is longer.
    pub(super) fn repeated(
        &mut self,
        name: &str,
        shape: &Shape,
        layout: Layout,
    ) -> Result<usize, PlanError> {
        let source = self.shape_of_value(name)?;
        let present = match source.rank() {
            4 => self.present_layout(name),
            _ => Layout::Plain,
        };
        let from = self.in_layout(name, present)?;
        let (axes, start_from, start_to) =
            repeated(&Place::new(&source, present), &Place::new(shape, layout));
        let walk =
            Rearrange::new(&axes, start_from, start_to).map_err(|_| PlanError::ArenaOverflow)?;
        let dtype = self.buffers[from].dtype;
        let to = self.buffer(name, dtype, shape, layout)?;
        self.rearrange(
            &format!("{name}: repeated"),
            vec![from],
            vec![walk],
            None,
            to,
        );
        Ok(to)
    }

    pub(super) fn rearrange(
        &mut self,
        name: &str,
        from: Vec<usize>,
        walks: Vec<Rearrange>,
        fill: Option<Arc<[u8]>>,
        to: usize,
    ) {
        let action = Action::Rearrange {
            walks: walks.into(),
            fill,
        };
        let inputs = from.into_iter().map(Operand::Buffer).collect();
        self.unweighted(name, action, inputs, to, "rearrange");
    }

    fn join(&mut self, node: &Node, axis: i64, outputs: &[TypedShape]) -> Result<bool, PlanError> {
        let ([(dtype, shape)], Some(output)) = (outputs, node.output(0)) else {
            return Ok(false);
        };
        let Some(axis) = axis_of(axis, shape.rank()) else {
            return Ok(false);
        };
        let last = shape.rank() == 4
            && node
                .inputs
                .iter()
                .any(|i| self.present_layout(i) == Layout::ChannelsLast);
        let layout = match last {
            true => Layout::ChannelsLast,
            false => Layout::Plain,
        };
        let to = Place::new(shape, layout);
        let (mut buffers, mut walks, mut at) = (Vec::new(), Vec::new(), 0);
        for input in &node.inputs {
            let part = self.shape_of_value(input)?;
            let from = Place::new(&part, layout);
            let axes = from.walks(&to, part.dims());
            let Ok(walk) = Rearrange::new(&axes, 0, at * to.strides[axis]) else {
                return Ok(false);
            };
            at += part.dims()[axis];
            buffers.push(self.in_layout(input, layout)?);
            walks.push(walk);
        }
        let to = self.define(output, *dtype, shape, layout)?;
        self.rearrange(&node.name, buffers, walks, None, to);
        Ok(true)
    }

    fn split(&mut self, node: &Node, axis: i64, outputs: &[TypedShape]) -> Result<bool, PlanError> {
        let Some(x) = node.input(0).filter(|x| self.values.contains_key(*x)) else {
            return Ok(false);
        };
        let source = self.value(x)?.shape.clone();
        let Some(axis) = axis_of(axis, source.rank()) else {
            return Ok(false);
        };
        let layout = match source.rank() {
            4 => self.present_layout(x),
            _ => Layout::Plain,
        };
        let from = Place::new(&source, layout);
        let mut parts = Vec::with_capacity(outputs.len());
        let mut at = 0;
        for (dtype, shape) in outputs {
            let to = Place::new(shape, layout);
            let axes = from.walks(&to, shape.dims());
            let Ok(walk) = Rearrange::new(&axes, at * from.strides[axis], 0) else {
                return Ok(false);
            };
            at += shape.dims()[axis];
            parts.push((*dtype, shape, walk));
        }
        let buffer = self.in_layout(x, layout)?;
        for (index, (dtype, shape, walk)) in parts.into_iter().enumerate() {
            let Some(output) = node.output(index) else {
                continue;
            };
            let to = self.define(output, dtype, shape, layout)?;
            let name = format!("{}: part {index}", node.name);
            self.rearrange(&name, vec![buffer], vec![walk], None, to);
        }
        Ok(true)
    }

    fn integers(&self, node: &Node, index: usize) -> Option<Vec<i64>> {
        let tensor = self.known(node.input(index)?)?;
        match tensor.data() {
            Data::I64(v) => Some(v.clone()),
            Data::I32(v) => Some(v.iter().map(|&i| i.into()).collect()),
            _ => None,
        }
    }

    /// An optional list with its default.
    fn integers_or(
        &self,
        node: &Node,
        index: usize,
        default: impl FnOnce() -> Vec<i64>,
    ) -> Option<Vec<i64>> {
        match node.input(index) {
            None => Some(default()),
            Some(_) => self.integers(node, index),
        }
    }

    fn sliced(&self, node: &Node, from: &Place, to: &Place) -> Option<Route> {
        let starts = self.integers(node, 1)?;
        let count = starts.len();
        let axes = self.integers_or(node, 3, || (0..count as i64).collect())?;
        let steps = self.integers_or(node, 4, || vec![1; count])?;
        let rank = from.dims.len();
        let mut walks: Vec<Walk> = (0..rank).map(|axis| from.axis(axis, to)).collect();
        let mut begin = 0;
        for ((&start, &axis), &step) in starts.iter().zip(&axes).zip(&steps) {
            let axis = axis_of(axis, rank)?;
            let extent = from.dims[axis] as i64;
            let start = if start < 0 {
                start.saturating_add(extent)
            } else {
                start
            };
            let limit = if step < 0 { extent - 1 } else { extent };
            let start = start.clamp(0, limit.max(0)) as usize;
            walks[axis].from = walks[axis].from.checked_mul(isize::try_from(step).ok()?)?;
            begin += start * from.strides[axis];
        }
        Some((walks, begin, 0))
    }

    /// Nearest neighbours of whole factors.
    fn enlarged(&self, node: &Node, resize: &Resize, from: &Place, to: &Place) -> Option<Route> {
        let Interpolation::Nearest(rounding) = resize.interpolation else {
            return None;
        };
        let scales = node.input(2).and_then(|name| self.known(name));
        let scales = scales.as_ref().and_then(|t| t.as_f32().ok());
        let scales = scales.filter(|s| !s.is_empty());
        let rank = from.dims.len();
        if resize.aspect != Aspect::Stretch
            || scales.is_some_and(|s| s.len() != rank || !resize.axes.is_empty())
        {
            return None;
        }
        let mut walks = Vec::with_capacity(2 * rank);
        for axis in 0..rank {
            let (extent, out) = (from.dims[axis], to.dims[axis]);
            let factor = out.checked_div(extent).filter(|f| f * extent == out)?;
            if scales.is_some_and(|s| s[axis] != factor as f32) {
                return None;
            }
            // Half pixels lie within half a step of their source; without them
            // the places are `i / factor`.
            let whole = match (resize.coordinates, rounding) {
                _ if factor == 1 => true,
                (Coordinates::Asymmetric, Rounding::Floor) => true,
                (Coordinates::Asymmetric, Rounding::PreferFloor) => factor == 2,
                (
                    Coordinates::HalfPixel | Coordinates::HalfPixelSymmetric,
                    Rounding::PreferFloor | Rounding::PreferCeil,
                ) => true,
                _ => false,
            };
            if !whole {
                return None;
            }
            let (step, stride) = (from.strides[axis] as isize, to.strides[axis]);
            walks.push(walk(extent, step, stride * factor));
            walks.push(walk(factor, 0, stride));
        }
        Some((walks, 0, 0))
    }

    fn padded(&self, node: &Node, from: &Place, to: &Place) -> Option<Route> {
        let pads = self.integers(node, 1)?;
        let rank = from.dims.len();
        let axes = self.integers_or(node, 3, || (0..rank as i64).collect())?;
        if pads.len() != 2 * axes.len() || pads.iter().any(|&p| p < 0) {
            return None;
        }
        let mut begin = 0;
        for (&axis, &before) in axes.iter().zip(&pads) {
            begin += usize::try_from(before).ok()? * to.strides[axis_of(axis, rank)?];
        }
        Some((from.walks(to, &from.dims), 0, begin))
    }

    /// The bytes of what a Pad pads with.
    fn pad_value(&self, node: &Node, dtype: DType) -> Option<Arc<[u8]>> {
        let size = dtype.size_bytes()?;
        let Some(name) = node.input(2) else {
            return Some(vec![0; size].into());
        };
        let bytes: Vec<u8> = match self.known(name)?.data() {
            Data::F32(v) => v.first()?.to_ne_bytes().to_vec(),
            Data::U8(v) => vec![*v.first()?],
            Data::I8(v) => vec![*v.first()? as u8],
            Data::I64(v) => v.first()?.to_ne_bytes().to_vec(),
            _ => return None,
        };
        (bytes.len() == size).then(|| bytes.into())
    }

    /// One index, or indices at even distances.
    fn picked(&self, node: &Node, axis: i64, from: &Place, to: &Place) -> Option<Route> {
        let rank = from.dims.len();
        let axis = axis_of(axis, rank)?;
        let indices: Arc<Tensor> = self.known(node.input(1)?)?;
        let list = self.integers(node, 1)?;
        let extent = from.dims[axis] as i64;
        let place =
            |i: i64| Some(if i < 0 { i + extent } else { i }).filter(|i| (0..extent).contains(i));
        let places: Vec<i64> = list.iter().map(|&i| place(i)).collect::<Option<_>>()?;
        let (&first, step) = match &places[..] {
            [first] => (first, 0),
            [first, second, ..] => (first, second - first),
            [] => return None,
        };
        let even = places.windows(2).all(|pair| pair[1] - pair[0] == step);
        let picked = indices.shape().rank();
        if !even || picked > 1 {
            return None;
        }
        let start = first as usize * from.strides[axis];
        // The axis stands for the indices' own, of which there are none or one.
        let mut walks = Vec::with_capacity(rank);
        for source in (0..rank).filter(|&source| source != axis) {
            let target = if source < axis {
                source
            } else {
                source + picked - 1
            };
            let target = if picked == 0 && source > axis {
                source - 1
            } else {
                target
            };
            walks.push(walk(
                from.dims[source],
                from.strides[source] as isize,
                to.strides[target],
            ));
        }
        if picked == 1 {
            let stride = from.strides[axis] as isize * isize::try_from(step).ok()?;
            walks.push(walk(places.len(), stride, to.strides[axis]));
        }
        Some((walks, start, 0))
    }
}

fn turned(perm: Option<&[usize]>, from: &Place, to: &Place) -> Option<Route> {
    let rank = from.dims.len();
    let source = |axis: usize| match perm {
        Some(perm) => perm.get(axis).copied(),
        None => Some(rank - 1 - axis),
    };
    let mut walks = Vec::with_capacity(rank);
    for axis in 0..rank {
        let stride = *from.strides.get(source(axis)?)?;
        walks.push(walk(to.dims[axis], stride as isize, to.strides[axis]));
    }
    Some((walks, 0, 0))
}

/// Along axes where the source is shorter it is repeated.
fn repeated(from: &Place, to: &Place) -> Route {
    let strides = from.broadcast(to);
    let axes = to.dims.iter().zip(strides.iter().zip(&to.strides));
    let walks = axes.map(|(&extent, (&from, &to))| walk(extent, from, to));
    (walks.collect(), 0, 0)
}

fn tiled(from: &Place, to: &Place) -> Route {
    let mut walks = Vec::with_capacity(2 * from.dims.len());
    for (axis, &extent) in from.dims.iter().enumerate() {
        let times = to.dims[axis].checked_div(extent).unwrap_or(0);
        walks.push(walk(times, 0, to.strides[axis] * extent));
        walks.push(walk(extent, from.strides[axis] as isize, to.strides[axis]));
    }
    (walks, 0, 0)
}

/// Channels to blocks of pixels.
fn spread(block: usize, channel_first: bool, from: &Place, to: &Place) -> Option<Route> {
    let (&[n, _, h, w], &[_, channels, ..]) = (&from.dims[..], &to.dims[..]) else {
        return None;
    };
    let (&[fn_, fc, fh, fw], &[tn, tc, th, tw]) = (&from.strides[..], &to.strides[..]) else {
        return None;
    };
    let (row, column, channel) = match channel_first {
        true => (block * fc, fc, block * block * fc),
        false => (block * channels * fc, channels * fc, fc),
    };
    let walks = vec![
        walk(n, fn_ as isize, tn),
        walk(channels, channel as isize, tc),
        walk(h, fh as isize, th * block),
        walk(block, row as isize, th),
        walk(w, fw as isize, tw * block),
        walk(block, column as isize, tw),
    ];
    Some((walks, 0, 0))
}

/// Blocks of pixels to channels.
fn gathered(block: usize, from: &Place, to: &Place) -> Option<Route> {
    let (&[n, channels, ..], &[_, _, h, w]) = (&from.dims[..], &to.dims[..]) else {
        return None;
    };
    let (&[fn_, fc, fh, fw], &[tn, tc, th, tw]) = (&from.strides[..], &to.strides[..]) else {
        return None;
    };
    let walks = vec![
        walk(n, fn_ as isize, tn),
        walk(channels, fc as isize, tc),
        walk(h, (fh * block) as isize, th),
        walk(block, fh as isize, tc * channels * block),
        walk(w, (fw * block) as isize, tw),
        walk(block, fw as isize, tc * channels),
    ];
    Some((walks, 0, 0))
}
