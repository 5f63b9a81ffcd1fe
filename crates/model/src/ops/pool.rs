//! MaxPool, AveragePool, LpPool and the global forms of the first two.
//!
//! Averages add the taps row-major in f32 (f64 for f64), then divide once. NaN
//! loses to every number in a maximum.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors};
use super::element::{Element, match_numbers};
use super::window::{Placement, advance};
use crate::{DType, Data, ModelError, Op, Shape, Tensor, Window};

/// What maxima are taken of: ONNX has the integers for MaxPool alone, but a plan takes them over the
/// plane, too.
const MAX_TYPES: &[DType] = &[
    DType::F32,
    DType::F64,
    DType::F16,
    DType::BF16,
    DType::I8,
    DType::U8,
];

pub(super) fn infer(args: &Shapes<'_>, window: &Window) -> Result<Vec<TypedShape>, ModelError> {
    let is_max = matches!(args.node.op, Op::MaxPool { .. });
    let x = args.typed(0, if is_max { MAX_TYPES } else { FLOATS })?;
    let [batch, channels, spatial @ ..] = x.shape.dims() else {
        return Err(needs_planes(args, &x.shape));
    };
    if spatial.is_empty() || window.kernel.is_empty() {
        return Err(needs_planes(args, &x.shape));
    }
    let placement = Placement::new(args.node, window, &window.kernel, spatial)?;
    let mut dims = vec![*batch, *channels];
    dims.extend(&placement.output);
    let shape = args.shape(&dims)?;
    let mut outputs = vec![(x.dtype, shape.clone())];
    if is_max {
        outputs.push((DType::I64, shape));
    }
    Ok(outputs)
}

pub(super) fn infer_global(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let is_max = matches!(args.node.op, Op::GlobalMaxPool);
    let x = args.typed(0, if is_max { MAX_TYPES } else { FLOATS })?;
    let [batch, channels, spatial @ ..] = x.shape.dims() else {
        return Err(needs_planes(args, &x.shape));
    };
    if spatial.contains(&0) {
        return Err(args.wrong(format!("planes of {} are empty", x.shape)));
    }
    let mut dims = vec![*batch, *channels];
    dims.resize(x.shape.rank(), 1);
    Ok(vec![(x.dtype, args.shape(&dims)?)])
}

fn needs_planes(args: &Shapes<'_>, found: &Shape) -> ModelError {
    args.wrong(format!(
        "needs [n, c, spatial…] and a kernel, found shape {found}"
    ))
}

/// Extents that pools walk over: `planes` planes under one placement.
struct Planes {
    planes: usize,
    plane: usize,
    placement: Placement,
}

impl Planes {
    fn new(args: &Tensors<'_>, window: &Window) -> Result<Self, ModelError> {
        let [batch, channels, spatial @ ..] = args.need(0)?.shape().dims() else {
            return Err(args.wrong("needs [n, c, spatial…]"));
        };
        Ok(Self {
            planes: batch * channels,
            plane: spatial.iter().product(),
            placement: Placement::new(args.node, window, &window.kernel, spatial)?,
        })
    }

    /// Calls `output(start, at, taps)` for every output element in row-major
    /// order: where its plane starts, where its window stands, and the positions
    /// of its taps on the plane.
    fn each_output(
        &self,
        args: &Tensors<'_>,
        mut output: impl FnMut(usize, &[usize], &[usize]),
    ) -> Result<(), ModelError> {
        let places: usize = self.placement.output.iter().product();
        let mut taps = Vec::new();
        for plane in 0..self.planes {
            let mut at = vec![0; self.placement.output.len()];
            for _ in 0..places {
                taps.clear();
                self.placement.visit(&at, |_, position| taps.push(position));
                if taps.is_empty() {
                    return Err(args
                        .unsupported(format!("the window at {at:?} lies wholly in the padding")));
                }
                output(plane * self.plane, &at, &taps);
                advance(&mut at, &self.placement.output);
            }
        }
        Ok(())
    }
}

/// `y = max of the window`.  x: `[n, c, spatial…]`. The second output holds the
/// maximum's index in the whole of x, the spatial axes counted row- or
/// column-major.
pub(super) fn max(
    args: &Tensors<'_>,
    window: &Window,
    column_major: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?;
    let planes = Planes::new(args, window)?;
    let (data, mut indices) = match_numbers!(x.data(), v => max_of(args, &planes, v)?, other => {
        return Err(args.no_type(0, other.dtype()));
    });
    let mut outputs = args.single(data)?;
    if let Some((_, shape)) = args.outputs.get(1) {
        if column_major {
            for index in &mut indices {
                let plane = *index / planes.plane;
                let at = column_major_index(&planes.placement.input, *index % planes.plane);
                *index = plane * planes.plane + at;
            }
        }
        let indices = indices.into_iter().map(|i| i as i64).collect();
        outputs.push(Tensor::new(shape.clone(), Data::I64(indices))?);
    }
    Ok(outputs)
}

fn max_of<T: Element>(
    args: &Tensors<'_>,
    planes: &Planes,
    x: &[T],
) -> Result<(Data, Vec<usize>), ModelError> {
    let (mut values, mut indices) = (Vec::new(), Vec::new());
    planes.each_output(args, |start, _, taps| {
        let mut best = start + taps[0];
        for position in &taps[1..] {
            let value = x[start + position];
            let is_nan = x[best].partial_cmp(&x[best]).is_none();
            if value > x[best] || is_nan {
                best = start + position;
            }
        }
        values.push(x[best]);
        indices.push(best);
    })?;
    Ok((T::wrap(values), indices))
}

/// The column-major index of the element at a row-major one.
fn column_major_index(extents: &[usize], mut row_major: usize) -> usize {
    let mut coordinates = vec![0; extents.len()];
    for axis in (0..extents.len()).rev() {
        coordinates[axis] = row_major % extents[axis];
        row_major /= extents[axis];
    }
    coordinates
        .iter()
        .zip(extents)
        .rev()
        .fold(0, |index, (c, extent)| index * extent + c)
}

/// `y = mean of the window`, over the taps on the input or, with
/// `count_include_pad`, those on the pads too.
pub(super) fn average(
    args: &Tensors<'_>,
    window: &Window,
    count_include_pad: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let planes = Planes::new(args, window)?;
    let count = |at: &[usize], taps: &[usize]| match count_include_pad {
        true => planes.placement.taps_with_pads(at),
        false => taps.len(),
    };
    let dtype = args.output()?.0;
    let data = if dtype == DType::F64 {
        let (x, mut y) = (args.doubles(0)?, Vec::new());
        planes.each_output(args, |start, at, taps| {
            let sum: f64 = taps.iter().fold(0.0, |sum, p| sum + x[start + p]);
            y.push(sum / count(at, taps) as f64);
        })?;
        Data::F64(y)
    } else {
        let (x, mut y) = (args.floats(0)?, Vec::new());
        planes.each_output(args, |start, at, taps| {
            let sum: f32 = taps.iter().fold(0.0, |sum, p| sum + x[start + p]);
            y.push(sum / count(at, taps) as f32);
        })?;
        args.round_floats(dtype, y)?
    };
    args.single(data)
}

/// `y = (Σ |x|ᵖ)^(1/p)` of the window, in f64, rounded once.
pub(super) fn lp(args: &Tensors<'_>, window: &Window, p: u32) -> Result<Vec<Tensor>, ModelError> {
    let planes = Planes::new(args, window)?;
    let (x, p, mut y) = (args.doubles(0)?, f64::from(p), Vec::new());
    planes.each_output(args, |start, _, taps| {
        let powers = taps
            .iter()
            .map(|position| x[start + position].abs().powf(p));
        y.push(powers.sum::<f64>().powf(1.0 / p));
    })?;
    args.single(args.round_doubles(args.output()?.0, y)?)
}

/// `y[n, c] = mean of the plane`.
pub(super) fn global_average(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let dtype = args.output()?.0;
    let plane = plane_of(args)?;
    let data = if dtype == DType::F64 {
        let x = args.doubles(0)?;
        let mean = |p: &[f64]| p.iter().fold(0.0, |sum, x| sum + x) / plane as f64;
        Data::F64(x.chunks(plane).map(mean).collect())
    } else {
        let x = args.floats(0)?;
        let mean = |p: &[f32]| p.iter().fold(0.0, |sum, x| sum + x) / plane as f32;
        args.round_floats(dtype, x.chunks(plane).map(mean).collect())?
    };
    args.single(data)
}

/// `y[n, c] = max of the plane`.
pub(super) fn global_max(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    fn maxima<T: Element>(x: &[T], plane: usize) -> Data {
        let max = |p: &[T]| {
            p.iter().fold(p[0], |best, &x| {
                let is_nan = best.partial_cmp(&best).is_none();
                if x > best || is_nan { x } else { best }
            })
        };
        T::wrap(x.chunks(plane).map(max).collect())
    }
    let x = args.need(0)?;
    let plane = plane_of(args)?;
    let data = match_numbers!(x.data(), v => maxima(v, plane), other => {
        return Err(args.no_type(0, other.dtype()));
    });
    args.single(data)
}

/// Elements of a plane; the shape rule has refused empty ones.
fn plane_of(args: &Tensors<'_>) -> Result<usize, ModelError> {
    let plane: usize = args.need(0)?.shape().iter().skip(2).product();
    Ok(plane.max(1))
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Node, Op, Tensor, Window};

    fn plane() -> Tensor {
        Tensor::f32(&[1, 1, 3, 3], (1..10).map(|i| i as f32).collect()).unwrap()
    }

    #[test]
    fn maximum_and_where_it_stands() {
        let run = |column_major| {
            let window = Window::new(&[2, 2]);
            let op = Op::MaxPool {
                window,
                column_major,
            };
            evaluate(&Node::new("p", op, &["x"], &["y", "i"]), &[Some(&plane())]).unwrap()
        };
        let row_major = run(false);
        assert_eq!(row_major[0].as_f32().unwrap(), [5., 6., 8., 9.]);
        assert_eq!(row_major[1].as_i64().unwrap(), [4, 5, 7, 8]);
        assert_eq!(run(true)[1].as_i64().unwrap(), [4, 7, 5, 8]);
    }

    #[test]
    fn averages_count_pads_when_asked() {
        let run = |count_include_pad| {
            let op = Op::AveragePool {
                window: Window::new(&[3, 3]).pad(&[1; 4]).stride(&[2, 2]),
                count_include_pad,
            };
            let y = evaluate(&Node::new("p", op, &["x"], &["y"]), &[Some(&plane())]).unwrap();
            y[0].as_f32().unwrap().to_vec()
        };
        assert_eq!(run(false), [3., 4., 6., 7.]);
        assert_eq!(run(true), [12. / 9., 16. / 9., 24. / 9., 28. / 9.]);
    }

    #[test]
    fn norms_of_windows() {
        let x = Tensor::f32(&[1, 1, 3], vec![3., -4., 0.]).unwrap();
        let run = |p| {
            let window = Window::new(&[2]);
            let node = Node::new("p", Op::LpPool { window, p }, &["x"], &["y"]);
            evaluate(&node, &[Some(&x)]).unwrap()
        };
        assert_eq!(run(2)[0].as_f32().unwrap(), [5., 4.]);
        assert_eq!(run(1)[0].as_f32().unwrap(), [7., 4.]);
    }

    #[test]
    fn one_dimension_rounded_up() {
        let x = Tensor::f32(&[1, 1, 4], vec![1., 2., 3., 4.]).unwrap();
        let mut window = Window::new(&[3]).stride(&[2]);
        window.ceil_mode = true;
        let op = Op::AveragePool {
            window,
            count_include_pad: true,
        };
        let y = evaluate(&Node::new("p", op, &["x"], &["y"]), &[Some(&x)]).unwrap();
        assert_eq!(y, [Tensor::f32(&[1, 1, 2], vec![2., 3.5]).unwrap()]);
    }

    #[test]
    fn whole_planes() {
        let run = |op| {
            evaluate(&Node::new("p", op, &["x"], &["y"]), &[Some(&plane())])
                .unwrap()
                .remove(0)
        };
        let one = |v| Tensor::f32(&[1, 1, 1, 1], vec![v]).unwrap();
        assert_eq!(run(Op::GlobalAveragePool), one(5.));
        assert_eq!(run(Op::GlobalMaxPool), one(9.));
    }

    #[test]
    fn what_has_no_result_is_refused() {
        let run = |window, x: &Tensor| {
            let op = Op::MaxPool {
                window,
                column_major: false,
            };
            evaluate(&Node::new("p", op, &["x"], &["y"]), &[Some(x)])
        };
        let flat = Tensor::f32(&[3, 3], vec![0.; 9]).unwrap();
        assert!(run(Window::new(&[2, 2]), &flat).is_err());
        assert!(run(Window::default(), &plane()).is_err());
        let padding = run(Window::new(&[1, 1]).pad(&[1; 4]), &plane()).unwrap_err();
        assert!(padding.to_string().contains("padding"), "{padding}");
    }
}
