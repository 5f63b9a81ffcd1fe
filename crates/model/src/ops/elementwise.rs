//! Operators that work on each element alone, and NumPy's broadcasting.

use super::TypedShape;
use super::args::{FLOATS, NUMBERS, Shapes, Tensors};
use super::element::{Element, Number, match_numbers};
use crate::{DType, ModelError, Op, Shape, Tensor};

pub(super) fn infer_binary(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let (a, b) = (args.typed(0, NUMBERS)?, args.need(1)?);
    args.same_type(1)?;
    let shape = a.shape.broadcast(&b.shape).ok_or_else(|| {
        args.wrong(format!(
            "shapes {} and {} do not broadcast",
            a.shape, b.shape
        ))
    })?;
    Ok(vec![(a.dtype, shape)])
}

/// `y = a ∘ b` with both broadcast; integers wrap, their division truncates.
pub(super) fn binary(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let (a, b) = (args.need(0)?, args.need(1)?);
    let (_, output) = args.output()?;
    let indices = (
        Broadcast::new(a.shape(), output),
        Broadcast::new(b.shape(), output),
    );
    let data = match_numbers!(a.data(), v => combine(args, v, b, &indices)?, other => {
        return Err(args.no_type(0, other.dtype()));
    });
    args.single(data)
}

fn combine<T: Number>(
    args: &Tensors<'_>,
    a: &[T],
    b: &Tensor,
    (at_a, at_b): &(Broadcast, Broadcast),
) -> Result<crate::Data, ModelError> {
    let b = T::unwrap(b.data()).ok_or_else(|| args.no_type(1, b.dtype()))?;
    let (_, output) = args.output()?;
    let apply: fn(T, T) -> Option<T> = match args.node.op {
        Op::Add => |a, b| Some(a.add(b)),
        Op::Sub => |a, b| Some(a.sub(b)),
        Op::Mul => |a, b| Some(a.mul(b)),
        _ => T::div,
    };
    let values: Option<Vec<T>> = (0..output.elements())
        .map(|i| apply(a[at_a.index(i)], b[at_b.index(i)]))
        .collect();
    values
        .map(T::wrap)
        .ok_or_else(|| args.wrong("an integer is divided by zero"))
}

/// Where an element of a broadcast result comes from.
pub(super) struct Broadcast {
    /// Extent of each axis of the result with the source's stride along it,
    /// innermost first; 0 where the source is repeated.
    axes: Vec<(usize, usize)>,
    /// The source has the result's shape.
    same: bool,
}

impl Broadcast {
    /// `source` must broadcast to `result`.
    pub fn new(source: &Shape, result: &Shape) -> Self {
        let strides = source.strides();
        let axes = result
            .iter()
            .rev()
            .enumerate()
            .map(|(i, &extent)| {
                let stride = source
                    .rank()
                    .checked_sub(i + 1)
                    .map_or(0, |axis| if source[axis] == 1 { 0 } else { strides[axis] });
                (extent, stride)
            })
            .collect();
        Self {
            axes,
            same: source == result,
        }
    }

    /// The source's index of element `at` of the result.
    pub fn index(&self, mut at: usize) -> usize {
        if self.same {
            return at;
        }
        let mut index = 0;
        for &(extent, stride) in &self.axes {
            index += at % extent * stride;
            at /= extent;
        }
        index
    }
}

pub(super) fn infer_unary(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    const SIGNED: &[DType] = &[
        DType::F32,
        DType::F64,
        DType::F16,
        DType::BF16,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
    ];
    let x = args.typed(
        0,
        match args.node.op {
            Op::Relu => SIGNED,
            Op::Clip => NUMBERS,
            _ => FLOATS,
        },
    )?;
    if matches!(args.node.op, Op::Clip) {
        for index in 1..=2 {
            let Some(bound) = args.get(index) else {
                continue;
            };
            args.same_type(index)?;
            if bound.shape.elements() != 1 {
                return Err(args.wrong(format!(
                    "bound (input {index}) must be one value, found shape {}",
                    bound.shape
                )));
            }
        }
    }
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// Relu, Clip: exact in every type (NaN stays NaN, Relu gives no −0).
/// LeakyRelu: `x` or `alpha · x`, in f32 for 16-bit floats. Sigmoid, Tanh: in
/// f64, rounded once.
pub(super) fn unary(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let x = args.need(0)?;
    let data = match &args.node.op {
        Op::Relu => match_numbers!(x.data(), v => relu(v), other => {
            return Err(args.no_type(0, other.dtype()));
        }),
        Op::Clip => match_numbers!(x.data(), v => clip(args, v)?, other => {
            return Err(args.no_type(0, other.dtype()));
        }),
        Op::LeakyRelu { alpha } if x.dtype() != DType::F64 => {
            let leak = |x: f32| if x < 0.0 { alpha * x } else { x };
            let y = args.floats(0)?.into_iter().map(leak).collect();
            args.round_floats(x.dtype(), y)?
        }
        op => {
            let apply = |x: f64| match op {
                Op::LeakyRelu { alpha } if x < 0.0 => f64::from(*alpha) * x,
                Op::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                Op::Tanh => x.tanh(),
                _ => x,
            };
            let y = args.doubles(0)?.into_iter().map(apply).collect();
            args.round_doubles(x.dtype(), y)?
        }
    };
    args.single(data)
}

fn relu<T: Element>(x: &[T]) -> crate::Data {
    T::wrap(
        x.iter()
            .map(|&x| if x <= T::ZERO { T::ZERO } else { x })
            .collect(),
    )
}

fn clip<T: Element>(args: &Tensors<'_>, x: &[T]) -> Result<crate::Data, ModelError> {
    let bound = |index: usize| {
        args.get(index)
            .map(|t| {
                T::unwrap(t.data())
                    .and_then(|v| v.first().copied())
                    .ok_or_else(|| args.no_type(index, t.dtype()))
            })
            .transpose()
    };
    let (least, most) = (bound(1)?, bound(2)?);
    let clamp = |x: T| {
        let raised = least.filter(|l| x < *l).unwrap_or(x);
        most.filter(|m| raised > *m).unwrap_or(raised)
    };
    Ok(T::wrap(x.iter().map(|&x| clamp(x)).collect()))
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Data, ModelError, Node, Op, Shape, Tensor};
    use half::f16;

    fn apply(op: Op, inputs: &[&Tensor]) -> Result<Tensor, ModelError> {
        let inputs: Vec<Option<&Tensor>> = inputs.iter().map(|t| Some(*t)).collect();
        let node = Node::new("n", op, &["x", "y", "z"], &["out"]);
        evaluate(&node, &inputs).map(|mut y| y.remove(0))
    }

    #[test]
    fn both_sides_broadcast() {
        let a = Tensor::f32(&[2, 1], vec![1., 2.]).unwrap();
        let b = Tensor::f32(&[3], vec![10., 20., 30.]).unwrap();
        let y = apply(Op::Sub, &[&a, &b]).unwrap();
        assert_eq!(
            y,
            Tensor::f32(&[2, 3], vec![-9., -19., -29., -8., -18., -28.]).unwrap()
        );
        let c = Tensor::f32(&[2], vec![0.; 2]).unwrap();
        assert!(apply(Op::Add, &[&b, &c]).is_err());
    }

    #[test]
    fn integers_truncate_wrap_and_refuse_zero() {
        let a = Tensor::i8(&[2], vec![-7, i8::MIN]).unwrap();
        let b = Tensor::i8(&[2], vec![2, -1]).unwrap();
        assert_eq!(
            apply(Op::Div, &[&a, &b]).unwrap(),
            Tensor::i8(&[2], vec![-3, i8::MIN]).unwrap()
        );
        let zero = Tensor::i8(&[], vec![0]).unwrap();
        let error = apply(Op::Div, &[&a, &zero]).unwrap_err();
        assert!(error.to_string().contains("zero"), "{error}");
        let other = Tensor::u8(&[2], vec![1, 1]).unwrap();
        assert!(apply(Op::Add, &[&a, &other]).is_err());
    }

    #[test]
    fn half_floats_round_once() {
        let half =
            |v: f32| Tensor::new(Shape::scalar(), Data::F16(vec![f16::from_f32(v)])).unwrap();
        assert_eq!(
            apply(Op::Mul, &[&half(3.0), &half(0.5)]).unwrap(),
            half(1.5)
        );
    }

    #[test]
    fn rectifiers() {
        let x = Tensor::f32(&[3], vec![-2., 0., 3.]).unwrap();
        let y = |op| apply(op, &[&x]).unwrap().as_f32().unwrap().to_vec();
        assert_eq!(y(Op::Relu), [0., 0., 3.]);
        assert_eq!(y(Op::LeakyRelu { alpha: 0.5 }), [-1., 0., 3.]);
        assert_eq!(y(Op::Tanh)[1], 0.0);
        assert_eq!(y(Op::Sigmoid)[1], 0.5);
        assert!(apply(Op::Relu, &[&Tensor::u8(&[1], vec![1]).unwrap()]).is_err());
    }

    #[test]
    fn clip_has_optional_bounds_of_its_type() {
        let x = Tensor::u8(&[3], vec![1, 5, 9]).unwrap();
        let five = Tensor::u8(&[], vec![5]).unwrap();
        let node = Node::new("c", Op::Clip, &["x", "", "max"], &["y"]);
        let y = evaluate(&node, &[Some(&x), None, Some(&five)]).unwrap();
        assert_eq!(y, [Tensor::u8(&[3], vec![1, 5, 5]).unwrap()]);
        let wrong = Tensor::scalar_f32(1.0);
        assert!(apply(Op::Clip, &[&x, &wrong]).is_err());
    }
}
