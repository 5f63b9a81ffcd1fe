//! Reductions along some axes: to one number, to the place of an extreme, to
//! running sums, to the greatest few.
//!
//! Floats are computed in f64, in row-major order, and rounded once; integers
//! are exact and wrap.

use super::TypedShape;
use super::args::{NUMBERS, Shapes, Tensors, resolve_axis};
use super::lanes::Lanes;
use super::wide::Wide;
use crate::{DType, Data, Extreme, ModelError, Reduction, Tensor};
use std::cmp::Ordering;

pub(super) fn infer_reduce(
    args: &Shapes<'_>,
    kind: Reduction,
    keep_dims: bool,
    noop_with_empty_axes: bool,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.need(0)?;
    let ordered = matches!(kind, Reduction::Max | Reduction::Min);
    if !(NUMBERS.contains(&x.dtype) || (ordered && x.dtype == DType::Bool)) {
        return Err(args.unsupported(format!("input 0 of type {}", x.dtype)));
    }
    let mut reduced = vec![false; x.shape.rank()];
    match args.integers(1)? {
        Some(axes) if !axes.is_empty() => {
            for axis in axes {
                reduced[args.axis(axis, x.shape.rank())?] = true;
            }
        }
        _ => reduced.fill(!noop_with_empty_axes),
    }
    Ok(vec![(
        x.dtype,
        args.shape(&reduced_dims(&x.shape, &reduced, keep_dims))?,
    )])
}

fn reduced_dims(dims: &[usize], reduced: &[bool], keep_dims: bool) -> Vec<usize> {
    dims.iter()
        .zip(reduced)
        .filter(|(_, reduced)| keep_dims || !**reduced)
        .map(|(extent, reduced)| if *reduced { 1 } else { *extent })
        .collect()
}

/// An empty group gives 0 (Sum, L1, L2, SumSquare), 1 (Prod), −∞ (LogSum,
/// LogSumExp), the type's least (Max) or greatest (Min), NaN (Mean). Means,
/// roots and logarithms of integers are truncated.
pub(super) fn reduce(
    args: &Tensors<'_>,
    kind: Reduction,
    noop_with_empty_axes: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?;
    let rank = x.shape().rank();
    let axes = match args.get(1).map(Tensor::data) {
        Some(Data::I64(axes)) if !axes.is_empty() => places(args, axes, rank)?,
        Some(Data::I32(axes)) if !axes.is_empty() => {
            let axes: Vec<i64> = axes.iter().map(|&a| a.into()).collect();
            places(args, &axes, rank)?
        }
        _ if noop_with_empty_axes => Vec::new(),
        _ => (0..rank).collect(),
    };
    let lanes = Lanes::new(x.shape(), &axes);
    let groups = 0..lanes.count();
    let wide = match Wide::of(args, 0)? {
        Wide::Floats(v) => Wide::Floats(
            groups
                .map(|at| float(kind, lanes.group(at).map(|i| v[i])))
                .collect(),
        ),
        Wide::Integers(v) => match kind {
            Reduction::L2 | Reduction::LogSum | Reduction::LogSumExp => Wide::Floats(
                groups
                    .map(|at| float(kind, lanes.group(at).map(|i| v[i] as f64)))
                    .collect(),
            ),
            _ => {
                let empty = limit(x.dtype(), kind);
                let one = |at| integer(kind, lanes.group(at).map(|i| v[i]), empty);
                let values: Option<Vec<i128>> = groups.map(one).collect();
                Wide::Integers(values.ok_or_else(|| args.wrong("the mean of no integers"))?)
            }
        },
    };
    args.single(wide.narrow(args, x.dtype())?)
}

fn places(args: &Tensors<'_>, axes: &[i64], rank: usize) -> Result<Vec<usize>, ModelError> {
    axes.iter()
        .map(|&axis| {
            resolve_axis(axis, rank)
                .ok_or_else(|| args.wrong(format!("axis {axis} is outside a rank of {rank}")))
        })
        .collect()
}

fn float(kind: Reduction, x: impl Iterator<Item = f64> + Clone) -> f64 {
    match kind {
        Reduction::L1 => x.map(f64::abs).sum::<f64>() + 0.0,
        Reduction::L2 => (x.map(|x| x * x).sum::<f64>() + 0.0).sqrt(),
        Reduction::LogSum => (x.sum::<f64>() + 0.0).ln(),
        Reduction::LogSumExp => {
            let most = x.clone().fold(f64::NEG_INFINITY, f64::max);
            let most = if most.is_finite() { most } else { 0.0 };
            most + (x.map(|x| (x - most).exp()).sum::<f64>() + 0.0).ln()
        }
        Reduction::Max => x.fold(
            f64::NEG_INFINITY,
            |y, x| {
                if x > y || x.is_nan() { x } else { y }
            },
        ),
        Reduction::Mean => {
            let count = x.clone().count();
            x.sum::<f64>() / count as f64
        }
        Reduction::Min => x.fold(
            f64::INFINITY,
            |y, x| {
                if x < y || x.is_nan() { x } else { y }
            },
        ),
        Reduction::Prod => x.product(),
        // The sum of no numbers is −0 in Rust.
        Reduction::Sum => x.sum::<f64>() + 0.0,
        Reduction::SumSquare => x.map(|x| x * x).sum::<f64>() + 0.0,
    }
}

/// `None` for the mean of nothing.
fn integer(kind: Reduction, x: impl Iterator<Item = i128> + Clone, empty: i128) -> Option<i128> {
    let sum = |x: &mut dyn Iterator<Item = i128>| x.fold(0i128, i128::wrapping_add);
    match kind {
        Reduction::L1 => Some(sum(&mut x.map(i128::abs))),
        Reduction::SumSquare => Some(sum(&mut x.map(|x| x.wrapping_mul(x)))),
        Reduction::Max => Some(x.max().unwrap_or(empty)),
        Reduction::Min => Some(x.min().unwrap_or(empty)),
        Reduction::Prod => Some(x.fold(1, i128::wrapping_mul)),
        Reduction::Mean => {
            let count = x.clone().count() as i128;
            sum(&mut x.clone()).checked_div(count)
        }
        _ => Some(sum(&mut x.clone())),
    }
}

/// What the greatest (or least) of no integers is.
fn limit(dtype: DType, kind: Reduction) -> i128 {
    let bits = 8 * dtype.size_bytes().unwrap_or(0);
    let (least, most) = match dtype {
        DType::Bool => (0, 1),
        DType::U8 | DType::U16 | DType::U32 | DType::U64 => (0, (1i128 << bits) - 1),
        _ => (
            -(1i128 << bits.saturating_sub(1)),
            (1i128 << bits.saturating_sub(1)) - 1,
        ),
    };
    if kind == Reduction::Max { least } else { most }
}

pub(super) fn infer_arg(
    args: &Shapes<'_>,
    axis: i64,
    keep_dims: bool,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, NUMBERS)?;
    let axis = args.axis(axis, x.shape.rank())?;
    let mut reduced = vec![false; x.shape.rank()];
    reduced[axis] = true;
    Ok(vec![(
        DType::I64,
        args.shape(&reduced_dims(&x.shape, &reduced, keep_dims))?,
    )])
}

/// The place of the greatest or least element, the first of equals or the
/// last; NaN is beyond all numbers.
pub(super) fn arg(
    args: &Tensors<'_>,
    kind: Extreme,
    axis: i64,
    select_last_index: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?;
    let axes = places(args, &[axis], x.shape().rank())?;
    let lanes = Lanes::new(x.shape(), &axes);
    if lanes.len() == 0 && lanes.count() > 0 {
        return Err(args.wrong("no element to choose from"));
    }
    let order = ranking(Wide::of(args, 0)?, kind == Extreme::ArgMax);
    let find = |at| {
        let (mut best, mut place) = (None, 0i64);
        for (here, i) in lanes.group(at).enumerate() {
            let wins = best.is_none_or(|best| match order(i, best) {
                Ordering::Less => true,
                Ordering::Equal => select_last_index,
                Ordering::Greater => false,
            });
            if wins {
                (best, place) = (Some(i), here as i64);
            }
        }
        place
    };
    args.single(Data::I64((0..lanes.count()).map(find).collect()))
}

/// Orders elements by index: the greatest (or the least) first, NaN before all.
fn ranking(x: Wide, largest: bool) -> impl Fn(usize, usize) -> Ordering {
    move |a, b| match &x {
        Wide::Integers(v) if largest => v[b].cmp(&v[a]),
        Wide::Integers(v) => v[a].cmp(&v[b]),
        Wide::Floats(v) => match (v[a], v[b]) {
            (a, b) if a.is_nan() || b.is_nan() => b.is_nan().cmp(&a.is_nan()),
            (a, b) if largest => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
            (a, b) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        },
    }
}

pub(super) fn infer_cum_sum(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, NUMBERS)?;
    let axis = args.typed(1, &[DType::I32, DType::I64])?;
    if axis.shape.elements() != 1 || axis.shape.rank() > 1 {
        return Err(args.wrong(format!(
            "the axis must be one number, found shape {}",
            axis.shape
        )));
    }
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// Running sums; `exclusive`: of what comes before; `reverse`: from the end.
pub(super) fn cum_sum(
    args: &Tensors<'_>,
    exclusive: bool,
    reverse: bool,
) -> Result<Vec<Tensor>, ModelError> {
    fn run<T: Copy>(
        x: &[T],
        lanes: &Lanes,
        (exclusive, reverse): (bool, bool),
        zero: T,
        add: fn(T, T) -> T,
    ) -> Vec<T> {
        let mut y = vec![zero; x.len()];
        for at in lanes.filled() {
            let mut group: Vec<usize> = lanes.group(at).collect();
            if reverse {
                group.reverse();
            }
            let mut sum = zero;
            for i in group {
                let after = add(sum, x[i]);
                y[i] = if exclusive { sum } else { after };
                sum = after;
            }
        }
        y
    }
    let x = args.need(0)?;
    let axis = match args.need(1)?.data() {
        Data::I64(v) => v.first().copied(),
        Data::I32(v) => v.first().map(|&axis| axis.into()),
        _ => None,
    };
    let axis = axis.ok_or_else(|| args.wrong("the axis is no integer"))?;
    let lanes = Lanes::new(x.shape(), &places(args, &[axis], x.shape().rank())?);
    let form = (exclusive, reverse);
    let wide = match Wide::of(args, 0)? {
        Wide::Floats(v) => Wide::Floats(run(&v, &lanes, form, 0.0, |a, b| a + b)),
        Wide::Integers(v) => Wide::Integers(run(&v, &lanes, form, 0, i128::wrapping_add)),
    };
    args.single(wide.narrow(args, x.dtype())?)
}

pub(super) fn infer_top_k(args: &Shapes<'_>, axis: i64) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, NUMBERS)?;
    let axis = args.axis(axis, x.shape.rank())?;
    args.need(1)?;
    let k = match args.integers(1)?.as_deref() {
        Some([k]) => usize::try_from(*k).ok(),
        _ => None,
    };
    let Some(k) = k.filter(|&k| k <= x.shape[axis]) else {
        return Err(args.wrong(format!("k must be one number from 0 to {}", x.shape[axis])));
    };
    let mut dims = x.shape.to_vec();
    dims[axis] = k;
    let shape = args.shape(&dims)?;
    Ok(vec![(x.dtype, shape.clone()), (DType::I64, shape)])
}

/// The greatest (or least) elements, best first, and their places; of equals
/// the first. NaN is beyond all numbers.
pub(super) fn top_k(
    args: &Tensors<'_>,
    axis: i64,
    largest: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?;
    let (_, shape) = args.output()?;
    let axes = places(args, &[axis], x.shape().rank())?;
    let (from, to) = (Lanes::new(x.shape(), &axes), Lanes::new(shape, &axes));
    let wide = Wide::of(args, 0)?;
    let order = ranking(wide.clone(), largest);
    let mut sources = vec![0; shape.elements()];
    let mut found = vec![0i64; shape.elements()];
    for at in to.filled() {
        let mut group: Vec<(usize, i64)> = from.group(at).zip(0..).collect();
        // A stable sort: of equals the first stays first.
        group.sort_by(|a, b| order(a.0, b.0));
        for (to, (source, place)) in to.group(at).zip(group) {
            (sources[to], found[to]) = (source, place);
        }
    }
    let values = match wide {
        Wide::Floats(v) => Wide::Floats(sources.iter().map(|&i| v[i]).collect()),
        Wide::Integers(v) => Wide::Integers(sources.iter().map(|&i| v[i]).collect()),
    };
    let mut outputs = args.single(values.narrow(args, x.dtype())?)?;
    if args.outputs.len() > 1 {
        outputs.push(Tensor::new(shape.clone(), Data::I64(found))?);
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Data, Extreme, Family, ModelError, Node, Op, Reduction, Tensor};

    fn run(op: Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>, ModelError> {
        let inputs: Vec<Option<&Tensor>> = inputs.iter().map(|t| Some(*t)).collect();
        evaluate(&Node::new("n", op, &[], &["y"]), &inputs)
    }

    fn reduce(kind: Reduction) -> Op {
        Op::Reduce {
            kind,
            keep_dims: false,
            noop_with_empty_axes: false,
        }
    }

    #[test]
    fn every_reduction_of_two_numbers() {
        let x = Tensor::f32(&[2, 2], vec![3., 1., -4., 7.]).unwrap();
        let axis = Tensor::i64(&[1], vec![-2]).unwrap();
        let expected = [
            (Reduction::L1, [7., 8.]),
            (Reduction::L2, [5., 50f32.sqrt()]),
            (Reduction::LogSum, [f32::NAN, 8f32.ln()]),
            (Reduction::LogSumExp, [3.000_911_5, 7.002_476]),
            (Reduction::Max, [3., 7.]),
            (Reduction::Mean, [-0.5, 4.]),
            (Reduction::Min, [-4., 1.]),
            (Reduction::Prod, [-12., 7.]),
            (Reduction::Sum, [-1., 8.]),
            (Reduction::SumSquare, [25., 50.]),
        ];
        assert_eq!(expected.len(), Reduction::MEMBERS.len());
        for (kind, y) in expected {
            let found = run(reduce(kind), &[&x, &axis]).unwrap().remove(0);
            assert_eq!(found.shape().dims(), [2]);
            for (found, y) in found.as_f32().unwrap().iter().zip(y) {
                let same = found.is_nan() && y.is_nan();
                assert!(same || (found - y).abs() < 1e-6, "{kind:?}: {found} {y}");
            }
        }
    }

    #[test]
    fn integers_are_exact_and_means_truncate() {
        let x = Tensor::new(
            crate::Shape::new(&[2]).unwrap(),
            Data::I64(vec![i64::MAX, -2]),
        )
        .unwrap();
        let y = |kind| run(reduce(kind), &[&x]).unwrap().remove(0).data().clone();
        assert_eq!(y(Reduction::Sum), Data::I64(vec![i64::MAX - 2]));
        assert_eq!(y(Reduction::Prod), Data::I64(vec![2]));
        let x = Tensor::i8(&[2], vec![-3, 0]).unwrap();
        let y = run(reduce(Reduction::Mean), &[&x]).unwrap();
        assert_eq!(*y[0].data(), Data::I8(vec![-1]));
    }

    #[test]
    fn no_elements_and_no_axes() {
        let none = Tensor::i8(&[1, 0], vec![]).unwrap();
        let y = |kind| run(reduce(kind), &[&none]).map(|y| y[0].data().clone());
        assert_eq!(y(Reduction::Max).unwrap(), Data::I8(vec![i8::MIN]));
        assert_eq!(y(Reduction::Min).unwrap(), Data::I8(vec![i8::MAX]));
        assert_eq!(y(Reduction::Prod).unwrap(), Data::I8(vec![1]));
        assert!(y(Reduction::Mean).is_err());
        let x = Tensor::i8(&[2], vec![-3, 2]).unwrap();
        let axes = Tensor::i64(&[0], vec![]).unwrap();
        let noop = |kind| Op::Reduce {
            kind,
            keep_dims: false,
            noop_with_empty_axes: true,
        };
        let y = |kind| run(noop(kind), &[&x, &axes]).unwrap().remove(0);
        assert_eq!(y(Reduction::Sum), x);
        assert_eq!(*y(Reduction::SumSquare).data(), Data::I8(vec![9, 4]));
        let beyond = Tensor::i64(&[1], vec![1]).unwrap();
        assert!(run(noop(Reduction::Sum), &[&x, &beyond]).is_err());
    }

    #[test]
    fn the_first_or_the_last_of_equals_is_found() {
        let x = Tensor::f32(&[2, 3], vec![2., 2., 1., 0., f32::NAN, 5.]).unwrap();
        let find = |kind, select_last_index| {
            let op = Op::ArgReduce {
                kind,
                axis: 1,
                keep_dims: true,
                select_last_index,
            };
            run(op, &[&x]).unwrap().remove(0)
        };
        let list = |v: [i64; 2]| Tensor::i64(&[2, 1], v.to_vec()).unwrap();
        assert_eq!(find(Extreme::ArgMax, false), list([0, 1]));
        assert_eq!(find(Extreme::ArgMax, true), list([1, 1]));
        assert_eq!(find(Extreme::ArgMin, false), list([2, 1]));
    }

    #[test]
    fn sums_run_either_way() {
        let x = Tensor::f32(&[3], vec![1., 2., 4.]).unwrap();
        let axis = Tensor::i64(&[], vec![0]).unwrap();
        let sums = |exclusive, reverse| {
            let op = Op::CumSum { exclusive, reverse };
            let y = run(op, &[&x, &axis]).unwrap().remove(0);
            y.as_f32().unwrap().to_vec()
        };
        assert_eq!(sums(false, false), [1., 3., 7.]);
        assert_eq!(sums(true, false), [0., 1., 3.]);
        assert_eq!(sums(false, true), [7., 6., 4.]);
        assert_eq!(sums(true, true), [6., 4., 0.]);
    }

    #[test]
    fn the_best_come_first_with_their_places() {
        let x = Tensor::f32(&[2, 3], vec![1., 3., 3., 9., 7., 8.]).unwrap();
        let k = Tensor::i64(&[1], vec![2]).unwrap();
        let op = Op::TopK {
            axis: 1,
            largest: true,
            sorted: true,
        };
        let node = Node::new("t", op, &["x", "k"], &["v", "i"]);
        let y = evaluate(&node, &[Some(&x), Some(&k)]).unwrap();
        assert_eq!(y[0].as_f32().unwrap(), [3., 3., 9., 8.]);
        assert_eq!(y[1].as_i64().unwrap(), [1, 2, 0, 2]);
        let four = Tensor::i64(&[1], vec![4]).unwrap();
        assert!(evaluate(&node, &[Some(&x), Some(&four)]).is_err());
    }
}
