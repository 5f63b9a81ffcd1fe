//! GridSample and AffineGrid: an image sampled at given places. Computed in
//! f64 and rounded once.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors};
use super::resize::cubic;
use super::window::advance;
use crate::{DType, ModelError, Tensor};

/// What stands between elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GridMode {
    /// The line through both, in each axis.
    Linear,
    /// The nearest element, even at ties.
    Nearest,
    /// The cubic through four, of coefficient −0.75.
    Cubic,
}

/// What stands beyond the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GridPadding {
    /// Zero.
    Zeros,
    /// The edge's element.
    Border,
    /// The image mirrored at its border.
    Reflection,
}

pub(super) fn infer_sample(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let (x, grid) = (args.typed(0, FLOATS)?, args.typed(1, FLOATS)?);
    let ([batch, channels, spatial @ ..], [also_batch, places @ .., axes]) =
        (x.shape.dims(), grid.shape.dims())
    else {
        return Err(args.wrong(format!("input {} and grid {}", x.shape, grid.shape)));
    };
    let fits = batch == also_batch
        && spatial.len() == places.len()
        && spatial.len() == *axes
        && !spatial.is_empty()
        && !spatial.contains(&0);
    if !fits {
        return Err(args.wrong(format!("input {} and grid {}", x.shape, grid.shape)));
    }
    // A sample has up to 4 taps along each axis.
    if spatial.len() > 4 {
        return Err(args.unsupported(format!("{} spatial axes", spatial.len())));
    }
    let dims = [&[*batch, *channels], places].concat();
    Ok(vec![(x.dtype, args.shape(&dims)?)])
}

/// `y[n, c, p…] = x[n, c]` at `grid[n, p…]`, whose coordinates are the innermost
/// axis first and −1 to 1 over the image: over its corners' centres with
/// `align_corners`, otherwise over their outer edges.
pub(super) fn sample(
    args: &Tensors<'_>,
    mode: GridMode,
    padding: GridPadding,
    align_corners: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, output) = args.output()?;
    let [_, channels, extents @ ..] = args.need(0)?.shape().dims() else {
        return Err(args.wrong("needs [n, c, spatial…]"));
    };
    let sampler = Sampler {
        extents,
        mode,
        padding,
        align_corners,
    };
    let plane: usize = extents.iter().product();
    let places: usize = output.iter().skip(2).product();
    let (x, grid) = (args.doubles(0)?, args.doubles(1)?);
    let mut y = Vec::new();
    for i in 0..output.elements() {
        let (image, place) = (i / places, i % places);
        let row = image / channels * places + place;
        let at = &grid[row * extents.len()..][..extents.len()];
        y.push(sampler.value(&x[image * plane..][..plane], at));
    }
    args.single(args.round_doubles(*dtype, y)?)
}

struct Sampler<'a> {
    extents: &'a [usize],
    mode: GridMode,
    padding: GridPadding,
    align_corners: bool,
}

impl Sampler<'_> {
    fn value(&self, x: &[f64], at: &[f64]) -> f64 {
        let rank = self.extents.len();
        let taps: Vec<Vec<(Option<usize>, f64)>> = (0..rank)
            .map(|axis| self.taps(self.extents[axis], at[rank - 1 - axis]))
            .collect();
        let counts: Vec<usize> = taps.iter().map(Vec::len).collect();
        let mut step = vec![0; rank];
        let mut sum = 0.0;
        for _ in 0..counts.iter().product() {
            let chosen = (0..rank).map(|axis| taps[axis][step[axis]]);
            let weight: f64 = chosen.clone().map(|(_, weight)| weight).product();
            let index = chosen
                .zip(self.extents)
                .try_fold(0, |index, ((place, _), extent)| {
                    place.map(|place| index * extent + place)
                });
            if let Some(index) = index.filter(|_| weight != 0.0) {
                sum += weight * x[index];
            }
            advance(&mut step, &counts);
        }
        sum
    }

    /// The elements along an axis that make up a value, with their weights;
    /// `None` is zero.
    fn taps(&self, extent: usize, at: f64) -> Vec<(Option<usize>, f64)> {
        let length = extent as f64;
        // Positions are rounded to f32, as other implementations compute them.
        let position = match self.align_corners {
            true => (at + 1.0) / 2.0 * (length - 1.0),
            false => ((at + 1.0) * length - 1.0) / 2.0,
        };
        let position = f64::from(position as f32);
        let position = match self.mode {
            GridMode::Nearest => position.round_ties_even(),
            _ => position,
        };
        let position = match self.padding {
            GridPadding::Zeros => position,
            GridPadding::Border => position.clamp(0.0, length - 1.0),
            GridPadding::Reflection => self.reflect(extent, position),
        };
        let base = position.floor();
        let share = position - base;
        let place = |offset: f64| self.place(extent, base + offset);
        match self.mode {
            GridMode::Nearest => vec![(self.place(extent, position.trunc()), 1.0)],
            GridMode::Linear => vec![(place(0.0), 1.0 - share), (place(1.0), share)],
            GridMode::Cubic => [-1.0, 0.0, 1.0, 2.0]
                .map(|offset: f64| (place(offset), cubic((offset - share).abs(), -0.75)))
                .to_vec(),
        }
    }

    /// The element at a whole position.
    fn place(&self, extent: usize, at: f64) -> Option<usize> {
        let last = extent as f64 - 1.0;
        let at = match self.padding {
            GridPadding::Zeros => Some(at).filter(|at| (0.0..=last).contains(at))?,
            GridPadding::Border => at,
            GridPadding::Reflection => self.reflect(extent, at),
        };
        // NaN is the first.
        Some(at.clamp(0.0, last) as usize)
    }

    /// A position mirrored at the borders until it lies between them.
    fn reflect(&self, extent: usize, at: f64) -> f64 {
        let (least, range) = match self.align_corners {
            true => (0.0, extent as f64 - 1.0),
            false => (-0.5, extent as f64),
        };
        if range == 0.0 {
            return least;
        }
        let folded = (at - least).rem_euclid(2.0 * range);
        least + folded.min(2.0 * range - folded)
    }
}

pub(super) fn infer_affine(
    args: &Shapes<'_>,
    align_corners: bool,
) -> Result<Vec<TypedShape>, ModelError> {
    let theta = args.typed(0, FLOATS)?;
    let size = args
        .integers(1)?
        .ok_or_else(|| args.wrong("the size (input 1) is missing"))?;
    let size = size.iter().map(|&n| usize::try_from(n));
    let size = size
        .collect::<Result<Vec<usize>, _>>()
        .map_err(|_| args.wrong("the size (input 1) must not be negative"))?;
    let misfit = || args.wrong(format!("theta {} for a size {size:?}", theta.shape));
    let [batch, _, spatial @ ..] = size.as_slice() else {
        return Err(misfit());
    };
    let axes = spatial.len();
    if !matches!(axes, 2 | 3) || theta.shape.dims() != [*batch, axes, axes + 1] {
        return Err(misfit());
    }
    if align_corners && spatial.contains(&1) {
        return Err(args.unsupported("corners of one element aligned"));
    }
    let dims = [&[*batch], spatial, &[axes]].concat();
    Ok(vec![(theta.dtype, args.shape(&dims)?)])
}

/// The grid whose places are `theta · (p, 1)` for p over an image of the given
/// size.
pub(super) fn affine(args: &Tensors<'_>, align_corners: bool) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, output) = args.output()?;
    let theta = args.doubles(0)?;
    let axes = output.last().copied().unwrap_or(0);
    let center = |at: usize, extent: usize| match align_corners {
        true => 2.0 * at as f64 / (extent as f64 - 1.0) - 1.0,
        false => (2.0 * at as f64 + 1.0) / extent as f64 - 1.0,
    };
    let mut at = vec![0; output.rank()];
    let mut y = Vec::new();
    for _ in 0..output.elements() {
        let row = &theta[(at[0] * axes + at[axes + 1]) * (axes + 1)..][..=axes];
        // The innermost axis comes first.
        let along = (1..=axes).rev().map(|axis| center(at[axis], output[axis]));
        let moved: f64 = row.iter().zip(along).map(|(t, p)| t * p).sum();
        y.push(moved + row[axes]);
        advance(&mut at, output);
    }
    let data = match dtype {
        DType::F64 => crate::Data::F64(y),
        dtype => args.round_doubles(*dtype, y)?,
    };
    args.single(data)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::{GridMode, GridPadding};
    use crate::{Node, Op, Tensor};

    fn run(mode: GridMode, padding: GridPadding, align_corners: bool, at: [f32; 2]) -> f32 {
        let op = Op::GridSample {
            mode,
            padding,
            align_corners,
        };
        let x = Tensor::f32(&[1, 1, 2, 3], vec![1., 2., 3., 10., 20., 30.]).unwrap();
        let grid = Tensor::f32(&[1, 1, 1, 2], at.to_vec()).unwrap();
        let node = Node::new("g", op, &["x", "g"], &["y"]);
        let y = evaluate(&node, &[Some(&x), Some(&grid)]).unwrap();
        y[0].as_f32().unwrap()[0]
    }

    #[test]
    fn between_and_beyond() {
        let (zeros, border) = (GridPadding::Zeros, GridPadding::Border);
        assert_eq!(run(GridMode::Linear, zeros, true, [0.5, -1.0]), 2.5);
        assert_eq!(run(GridMode::Linear, zeros, true, [1.0, 0.0]), 16.5);
        assert_eq!(run(GridMode::Linear, zeros, false, [-1.0, -1.0]), 0.25);
        assert_eq!(run(GridMode::Linear, border, false, [-9.0, 9.0]), 10.0);
        assert_eq!(run(GridMode::Nearest, zeros, true, [0.4, 1.0]), 20.0);
        assert_eq!(run(GridMode::Nearest, zeros, true, [1.9, 1.0]), 0.0);
        assert_eq!(run(GridMode::Cubic, border, true, [0.0, 1.0]), 20.0);
        let mirrored = GridPadding::Reflection;
        // Two beyond the last is the first.
        assert_eq!(run(GridMode::Nearest, mirrored, true, [3.0, -1.0]), 1.0);
        assert!(run(GridMode::Linear, mirrored, true, [f32::NAN, 0.0]).is_nan());
    }

    #[test]
    fn a_turned_grid() {
        let theta = Tensor::f32(&[1, 2, 3], vec![0., 1., 0., 1., 0., 0.5]).unwrap();
        let size = Tensor::i64(&[4], vec![1, 9, 2, 2]).unwrap();
        let run = |align_corners| {
            let op = Op::AffineGrid { align_corners };
            let node = Node::new("a", op, &["t", "s"], &["y"]);
            evaluate(&node, &[Some(&theta), Some(&size)]).unwrap()
        };
        // x and y change places, then y moves by a half.
        let y = run(true);
        assert_eq!(y[0].shape().dims(), [1, 2, 2, 2]);
        let needed = [-1., -0.5, -1., 1.5, 1., -0.5, 1., 1.5];
        assert_eq!(y[0].as_f32().unwrap(), needed);
        let needed = [-0.5, 0., -0.5, 1., 0.5, 0., 0.5, 1.];
        assert_eq!(run(false)[0].as_f32().unwrap(), needed);
    }
}
