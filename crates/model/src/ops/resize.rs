//! Resize, and Upsample as a case of it.
//!
//! Every axis is interpolated alone: an element of the output is a weighted sum
//! of taps along it. Sums are in f64, in the order of the taps, the axes that
//! shrink first; the result is rounded once, for integers to the nearest, even
//! at ties.

use super::TypedShape;
use super::args::{ShapeInput, Shapes, Tensors};
use super::cast;
use crate::{DType, ModelError, Node, Op, Shape, Tensor};

/// How Resize computes.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    /// Between elements.
    pub interpolation: Interpolation,
    /// From positions of the output to those of the input.
    pub coordinates: Coordinates,
    /// Axes that scales and sizes name; all when empty.
    pub axes: Vec<i64>,
    /// What sizes mean for the proportions.
    pub aspect: Aspect,
    /// Whether the taps are spread where the output is smaller.
    pub antialias: bool,
    /// Whether taps beyond the edge have no weight, instead of the edge's value.
    pub exclude_outside: bool,
    /// What stands beyond the region (`CropAndResize` only).
    pub extrapolation: f32,
}

/// What stands between two elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interpolation {
    /// One of the elements.
    Nearest(Rounding),
    /// The line through both.
    Linear,
    /// A cubic with the given coefficient (Keys 1981; often −0.75 or −0.5).
    Cubic(f32),
}

/// Which element is the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// At a tie, the one before.
    PreferFloor,
    /// At a tie, the one behind.
    PreferCeil,
    /// The one before.
    Floor,
    /// The one behind.
    Ceil,
}

/// Which position of the input one of the output stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    /// `(x + ½) / scale − ½`.
    HalfPixel,
    /// The same, about the middle of both where sizes were rounded.
    HalfPixelSymmetric,
    /// `HalfPixel`, but 0 for an output of one element.
    PytorchHalfPixel,
    /// The corners on each other.
    AlignCorners,
    /// `x / scale`.
    Asymmetric,
    /// A region of the input (`roi`, input 1), corners aligned.
    CropAndResize,
}

/// What sizes mean for the proportions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// They are taken as they are.
    Stretch,
    /// Proportions are kept, no extent is larger.
    NotLarger,
    /// Proportions are kept, no extent is smaller.
    NotSmaller,
}

/// Most elements of a smooth output, whose sums and taps are kept in f64.
const MAX_SMOOTH: usize = 1 << 28;

/// Scale and output extent of each axis.
struct Plan {
    scales: Vec<f64>,
    sizes: Vec<usize>,
}

pub(super) fn infer(args: &Shapes<'_>, resize: &Resize) -> Result<Vec<TypedShape>, ModelError> {
    const SMOOTH: &[DType] = &[
        DType::F32,
        DType::F64,
        DType::F16,
        DType::BF16,
        DType::I8,
        DType::U8,
        DType::I16,
        DType::U16,
        DType::I32,
        DType::U32,
    ];
    let x = args.need(0)?;
    match resize.interpolation {
        Interpolation::Nearest(_) if resize.antialias => {
            return Err(args.unsupported("antialias of mode nearest"));
        }
        Interpolation::Nearest(_) => {}
        _ => args.check_type(0, x.dtype, SMOOTH)?,
    }
    let plan = plan(args, resize, &x.shape)?;
    let shape = args.shape(&plan.sizes)?;
    if x.shape.elements() == 0 && shape.elements() > 0 {
        return Err(args.wrong(format!("{} is empty and cannot become {shape}", x.shape)));
    }
    Ok(vec![(x.dtype, shape)])
}

fn plan(args: &Shapes<'_>, resize: &Resize, x: &Shape) -> Result<Plan, ModelError> {
    let axes = axes(args, resize, x)?;
    let mut plan = Plan {
        scales: vec![1.0; x.rank()],
        sizes: x.dims().to_vec(),
    };
    let given = |index: usize| args.get(index).filter(|list| list.shape.elements() > 0);
    let misfit = |n: usize| args.wrong(format!("{n} scales or sizes for {} axes", axes.len()));
    match (given(2), given(3)) {
        (Some(_), None) => {
            let scales = cast::doubles(args.value(2)?.data())
                .ok_or_else(|| args.wrong("scales (input 2) must be numbers"))?;
            if scales.len() != axes.len() {
                return Err(misfit(scales.len()));
            }
            for (&axis, scale) in axes.iter().zip(scales) {
                let size = (x[axis] as f64 * scale).floor();
                if !(scale > 0.0 && size < isize::MAX as f64) {
                    return Err(args.wrong(format!("a scale of {scale} for {}", x[axis])));
                }
                plan.scales[axis] = scale;
                plan.sizes[axis] = size as usize;
            }
        }
        (None, Some(_)) => {
            let sizes = args.integers(3)?.unwrap_or_default();
            if sizes.len() != axes.len() {
                return Err(misfit(sizes.len()));
            }
            for (&axis, size) in axes.iter().zip(sizes) {
                let size =
                    usize::try_from(size).map_err(|_| args.wrong(format!("a size of {size}")))?;
                plan.scales[axis] = size as f64 / x[axis].max(1) as f64;
                plan.sizes[axis] = size;
            }
            keep_aspect(args, resize.aspect, x, &axes, &mut plan)?;
        }
        _ => return Err(args.wrong("either scales (input 2) or sizes (input 3) must be given")),
    }
    Ok(plan)
}

fn keep_aspect(
    args: &Shapes<'_>,
    aspect: Aspect,
    x: &Shape,
    axes: &[usize],
    plan: &mut Plan,
) -> Result<(), ModelError> {
    let scales = axes.iter().map(|&axis| plan.scales[axis]);
    let scale = match aspect {
        Aspect::Stretch => return Ok(()),
        Aspect::NotLarger => scales.fold(f64::INFINITY, f64::min),
        Aspect::NotSmaller => scales.fold(0.0, f64::max),
    };
    for &axis in axes {
        let size = (x[axis] as f64 * scale + 0.5).floor();
        if !(scale > 0.0 && size < isize::MAX as f64) {
            return Err(args.wrong(format!("a scale of {scale} for {}", x[axis])));
        }
        plan.scales[axis] = scale;
        plan.sizes[axis] = size as usize;
    }
    Ok(())
}

fn axes(args: &Shapes<'_>, resize: &Resize, x: &Shape) -> Result<Vec<usize>, ModelError> {
    if resize.axes.is_empty() {
        return Ok((0..x.rank()).collect());
    }
    let axes = resize.axes.iter().map(|&axis| args.axis(axis, x.rank()));
    let axes = axes.collect::<Result<Vec<usize>, _>>()?;
    let mut named = vec![false; x.rank()];
    for &axis in &axes {
        if std::mem::replace(&mut named[axis], true) {
            return Err(args.wrong(format!("axis {axis} is named twice")));
        }
    }
    Ok(axes)
}

/// One axis: how positions map, and the taps of each output position.
struct Axis<'a> {
    resize: &'a Resize,
    input: usize,
    output: usize,
    scale: f64,
    /// Beginning and end of the region, as shares of the extent.
    region: (f64, f64),
}

/// The input's elements along an axis that make up one of the output, with their
/// weights; `None` beyond the region that is resized.
pub type ResizeTaps = Option<Vec<(usize, f64)>>;

/// What makes up every element of a Resize's output, along every axis.
///
/// # Errors
/// Those of [`infer`](super::infer), a region that is not known, a node that is no Resize.
pub fn resize_taps(
    node: &Node,
    inputs: &[Option<ShapeInput<'_>>],
) -> Result<Vec<Vec<ResizeTaps>>, ModelError> {
    let args = Shapes { node, inputs };
    let Op::Resize(resize) = &node.op else {
        return Err(args.wrong("it resizes nothing"));
    };
    let axes = every_axis(&args, resize, &args.need(0)?.shape)?;
    Ok(axes.iter().map(Axis::all_taps).collect())
}

/// How every axis is resized.
fn every_axis<'a>(
    args: &Shapes<'_>,
    resize: &'a Resize,
    x: &Shape,
) -> Result<Vec<Axis<'a>>, ModelError> {
    let plan = plan(args, resize, x)?;
    let regions = regions(args, resize, x)?;
    let axes = (0..x.rank()).map(|axis| Axis {
        resize,
        input: x[axis],
        output: plan.sizes[axis],
        scale: plan.scales[axis],
        region: regions[axis],
    });
    Ok(axes.collect())
}

pub(super) fn evaluate(args: &Tensors<'_>, resize: &Resize) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, output) = args.output()?;
    let x = args.need(0)?;
    if output.elements() == 0 {
        return args.single(args.take(0, output, |_| None)?);
    }
    let known = args.known();
    let shapes = Shapes {
        node: args.node,
        inputs: &known,
    };
    let axes = every_axis(&shapes, resize, x.shape())?;
    if let Interpolation::Nearest(rounding) = resize.interpolation
        && resize.coordinates != Coordinates::CropAndResize
    {
        let strides = x.shape().strides();
        let data = args.take(0, output, |at| {
            let places = axes.iter().zip(&strides).zip(at);
            Some(
                places
                    .map(|((axis, stride), &i)| axis.nearest(axis.position(i), rounding) * stride)
                    .sum(),
            )
        })?;
        return args.single(data);
    }
    if output.elements() > MAX_SMOOTH {
        return Err(args.unsupported(format!("a smooth output of {output}")));
    }
    let taps: Vec<Vec<ResizeTaps>> = axes.iter().map(Axis::all_taps).collect();
    let mut y = interpolate(args, x, output, &taps)?;
    let mut at = vec![0; output.rank()];
    for y in &mut y {
        if (0..at.len()).any(|axis| taps[axis][at[axis]].is_none()) {
            *y = f64::from(resize.extrapolation);
        }
        super::window::advance(&mut at, output);
    }
    if !dtype.is_float() {
        y.iter_mut().for_each(|y| *y = y.round_ties_even());
    }
    args.single(cast::convert(args, *dtype, &crate::Data::F64(y))?)
}

/// The region of each axis; the whole where none is given.
fn regions(args: &Shapes<'_>, resize: &Resize, x: &Shape) -> Result<Vec<(f64, f64)>, ModelError> {
    let mut regions = vec![(0.0, 1.0); x.rank()];
    if resize.coordinates != Coordinates::CropAndResize {
        return Ok(regions);
    }
    let axes = axes(args, resize, x)?;
    let roi = args.value(1)?.data();
    let roi = cast::doubles(roi).ok_or_else(|| args.wrong("a region (input 1) of integers"))?;
    if roi.len() != 2 * axes.len() {
        return Err(args.wrong(format!(
            "a region (input 1) of {} numbers for {} axes",
            roi.len(),
            axes.len()
        )));
    }
    for (i, &axis) in axes.iter().enumerate() {
        regions[axis] = (roi[i], roi[i + axes.len()]);
    }
    Ok(regions)
}

/// The weighted sums, axis after axis.
fn interpolate(
    args: &Tensors<'_>,
    x: &Tensor,
    output: &Shape,
    taps: &[Vec<ResizeTaps>],
) -> Result<Vec<f64>, ModelError> {
    let mut values = match (cast::doubles(x.data()), cast::widen(x.data())) {
        (Some(values), _) => values,
        (None, Some(values)) => values.into_iter().map(|v| v as f64).collect(),
        (None, None) => return Err(args.no_type(0, x.dtype())),
    };
    let mut dims = x.shape().dims().to_vec();
    let mut order: Vec<usize> = (0..dims.len()).collect();
    // No tensor in between is larger than the input and the output are.
    order.sort_by_key(|&axis| dims[axis] < output[axis]);
    for axis in order {
        let same = |(i, taps): (usize, &ResizeTaps)| taps.as_deref() == Some(&[(i, 1.0)]);
        if dims[axis] == output[axis] && taps[axis].iter().enumerate().all(same) {
            continue;
        }
        let outer: usize = dims[..axis].iter().product();
        let inner: usize = dims[axis + 1..].iter().product();
        let mut next = Vec::new();
        for o in 0..outer {
            for taps in &taps[axis] {
                let taps = taps.as_deref().unwrap_or_default();
                for i in 0..inner {
                    let tap = |&(at, weight): &(usize, f64)| {
                        values[(o * dims[axis] + at) * inner + i] * weight
                    };
                    next.push(taps.iter().map(tap).sum());
                }
            }
        }
        values = next;
        dims[axis] = output[axis];
    }
    Ok(values)
}

impl Axis<'_> {
    /// The input's position of output `at`.
    fn position(&self, at: usize) -> f64 {
        let (at, last) = (at as f64, self.input.saturating_sub(1) as f64);
        // Scales need not divide: the exact width counts, not the rounded one.
        let width = self.scale * self.input as f64;
        let half_pixel = (at + 0.5) / self.scale - 0.5;
        match self.resize.coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = self.output as f64 / width;
                self.input as f64 / 2.0 * (1.0 - adjustment) + half_pixel
            }
            Coordinates::PytorchHalfPixel if width == 1.0 => 0.0,
            Coordinates::PytorchHalfPixel => half_pixel,
            Coordinates::AlignCorners if width == 1.0 => 0.0,
            Coordinates::AlignCorners => at * last / (width - 1.0),
            Coordinates::Asymmetric => at / self.scale,
            Coordinates::CropAndResize => {
                let (begin, end) = self.region;
                let along = match width == 1.0 {
                    true => 0.5,
                    false => at / (width - 1.0),
                };
                begin * last + along * (end - begin) * last
            }
        }
    }

    fn nearest(&self, position: f64, rounding: Rounding) -> usize {
        let place = match rounding {
            Rounding::PreferFloor => (position - 0.5).ceil(),
            Rounding::PreferCeil => (position + 0.5).floor(),
            Rounding::Floor => position.floor(),
            Rounding::Ceil => position.ceil(),
        };
        (place.max(0.0) as usize).min(self.input - 1)
    }

    fn all_taps(&self) -> Vec<ResizeTaps> {
        let taps: Vec<ResizeTaps> = (0..self.output).map(|at| self.taps(at)).collect();
        // An axis that stays as it is has the taps of one that moves, all but one of no weight.
        let stays = |(at, taps): (usize, &ResizeTaps)| {
            let mut weighted = taps.iter().flatten().filter(|(_, weight)| *weight != 0.0);
            weighted.next() == Some(&(at, 1.0)) && weighted.next().is_none()
        };
        if self.input == self.output && taps.iter().enumerate().all(stays) {
            return (0..self.output).map(|at| Some(vec![(at, 1.0)])).collect();
        }
        taps
    }

    fn taps(&self, at: usize) -> ResizeTaps {
        let position = self.position(at);
        let last = self.input as f64 - 1.0;
        if self.resize.coordinates == Coordinates::CropAndResize
            && !(0.0..=last).contains(&position)
        {
            return None;
        }
        let (reach, kernel): (f64, Box<dyn Fn(f64) -> f64>) = match self.resize.interpolation {
            Interpolation::Nearest(rounding) => {
                return Some(vec![(self.nearest(position, rounding), 1.0)]);
            }
            Interpolation::Linear => (1.0, Box::new(|x: f64| (1.0 - x.abs()).max(0.0))),
            Interpolation::Cubic(a) => (2.0, Box::new(move |x| cubic(x.abs(), f64::from(a)))),
        };
        let narrow = match self.resize.antialias {
            true => self.scale.min(1.0),
            false => 1.0,
        };
        // Far beyond the edge every tap is the edge.
        let position = position.clamp(-4.0, last + 4.0);
        let base = position.floor();
        // The reach is bounded by the input: an output of one element or more
        // has a scale of at least half an input's share.
        let first = ((-reach / narrow).floor() + 1.0).max(-4.0 * (self.input as f64 + 1.0));
        let mut taps = Vec::new();
        let mut index = first;
        while index <= 1.0 - first {
            let place = base + index;
            let outside = !(0.0..=last).contains(&place);
            if !(outside && self.resize.exclude_outside) {
                let weight = kernel((place - position) * narrow);
                taps.push((place.clamp(0.0, last) as usize, weight));
            }
            index += 1.0;
        }
        let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
        if sum == 0.0 {
            return Some(vec![(position.clamp(0.0, last) as usize, 1.0)]);
        }
        if self.resize.antialias || self.resize.exclude_outside {
            taps.iter_mut().for_each(|(_, weight)| *weight /= sum);
        }
        Some(taps)
    }
}

/// The cubic convolution kernel (Keys 1981) at a distance.
pub(super) fn cubic(x: f64, a: f64) -> f64 {
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::*;
    use crate::{Node, Op};

    fn plain(interpolation: Interpolation, coordinates: Coordinates) -> Resize {
        Resize {
            interpolation,
            coordinates,
            axes: vec![1],
            aspect: Aspect::Stretch,
            antialias: false,
            exclude_outside: false,
            extrapolation: 9.0,
        }
    }

    fn run(resize: Resize, size: i64, roi: Option<&Tensor>) -> Result<Vec<f32>, ModelError> {
        let x = Tensor::f32(&[1, 4], vec![0., 4., 8., 12.]).unwrap();
        let size = Tensor::i64(&[1], vec![size]).unwrap();
        let node = Node::new(
            "r",
            Op::Resize(Box::new(resize)),
            &["x", "r", "", "s"],
            &["y"],
        );
        let y = evaluate(&node, &[Some(&x), roi, None, Some(&size)])?;
        Ok(y[0].as_f32()?.to_vec())
    }

    #[test]
    fn lines_between_elements() {
        let linear = |c, size| run(plain(Interpolation::Linear, c), size, None).unwrap();
        assert_eq!(
            linear(Coordinates::HalfPixel, 8),
            [0., 1., 3., 5., 7., 9., 11., 12.]
        );
        assert_eq!(linear(Coordinates::AlignCorners, 3), [0., 6., 12.]);
        assert_eq!(
            linear(Coordinates::Asymmetric, 8),
            [0., 2., 4., 6., 8., 10., 12., 12.]
        );
        assert_eq!(linear(Coordinates::PytorchHalfPixel, 1), [0.]);
    }

    #[test]
    fn nearest_rounds_as_asked() {
        let nearest = |rounding| {
            let mode = Interpolation::Nearest(rounding);
            run(plain(mode, Coordinates::Asymmetric), 8, None).unwrap()
        };
        assert_eq!(nearest(Rounding::Floor), [0., 0., 4., 4., 8., 8., 12., 12.]);
        assert_eq!(nearest(Rounding::Ceil), [0., 4., 4., 8., 8., 12., 12., 12.]);
        assert_eq!(nearest(Rounding::PreferFloor), nearest(Rounding::Floor));
        assert_eq!(nearest(Rounding::PreferCeil), nearest(Rounding::Ceil));
    }

    #[test]
    fn smaller_ones_are_smoothed() {
        let mut resize = plain(Interpolation::Linear, Coordinates::HalfPixel);
        resize.antialias = true;
        // Weights 1, 3, 3, 1 around the middle of each half, 1 on the edge.
        let y = run(resize, 2, None).unwrap();
        assert_eq!(y, [(0. + 0. + 3. * 4. + 8. + 0.) / 8. + 0., 9.5]);
    }

    #[test]
    fn regions_end_where_nothing_is() {
        let resize = plain(Interpolation::Linear, Coordinates::CropAndResize);
        let roi = Tensor::f32(&[2], vec![0.5, 1.5]).unwrap();
        assert_eq!(run(resize, 3, Some(&roi)).unwrap(), [6., 12., 9.]);
    }

    #[test]
    fn proportions_and_refusals() {
        let sized = |aspect, sizes: [i64; 2]| {
            let mut resize = plain(
                Interpolation::Nearest(Rounding::Floor),
                Coordinates::Asymmetric,
            );
            resize.aspect = aspect;
            resize.axes = vec![];
            let x = Tensor::u8(&[2, 4], vec![0; 8]).unwrap();
            let sizes = Tensor::i64(&[2], sizes.to_vec()).unwrap();
            let op = Op::Resize(Box::new(resize));
            let node = Node::new("r", op, &["x", "", "", "s"], &["y"]);
            let y = evaluate(&node, &[Some(&x), None, None, Some(&sizes)])?;
            Ok::<_, ModelError>(y[0].shape().dims().to_vec())
        };
        assert_eq!(sized(Aspect::NotLarger, [4, 6]).unwrap(), [3, 6]);
        assert_eq!(sized(Aspect::NotSmaller, [4, 6]).unwrap(), [4, 8]);
        assert!(sized(Aspect::Stretch, [4, -1]).is_err());
        assert!(sized(Aspect::Stretch, [1 << 40, 1 << 40]).is_err());
        let mut resize = plain(Interpolation::Linear, Coordinates::HalfPixel);
        resize.axes = vec![0, 0];
        assert!(run(resize, 2, None).is_err());
    }
}
