//! Comparisons, logic, bits, remainders and powers of two inputs that
//! broadcast; functions of any number of them; Where.
//!
//! Floats are computed in f64 and rounded once; integers are exact and wrap.

use super::TypedShape;
use super::args::{FLOATS, NUMBERS, Shapes, Tensors};
use super::element::Element;
use super::elementwise::Broadcast;
use super::wide::Wide;
use crate::{Binary, DType, Data, ModelError, Shape, Tensor, Variadic, match_data};

pub(super) fn infer_binary(args: &Shapes<'_>, kind: Binary) -> Result<Vec<TypedShape>, ModelError> {
    let taken = |dtype: DType| match kind {
        Binary::And | Binary::Or | Binary::Xor => dtype == DType::Bool,
        Binary::Equal => dtype == DType::Bool || NUMBERS.contains(&dtype),
        Binary::BitShiftLeft | Binary::BitShiftRight => {
            [DType::U8, DType::U16, DType::U32, DType::U64].contains(&dtype)
        }
        Binary::BitwiseAnd | Binary::BitwiseOr | Binary::BitwiseXor | Binary::Mod => {
            NUMBERS.contains(&dtype) && !dtype.is_float()
        }
        _ => NUMBERS.contains(&dtype),
    };
    let (a, b) = (args.need(0)?, args.need(1)?);
    for (index, dtype) in [(0, a.dtype), (1, b.dtype)] {
        if !taken(dtype) {
            return Err(args.unsupported(format!("input {index} of type {dtype}")));
        }
    }
    if kind != Binary::Pow {
        args.same_type(1)?;
    }
    Ok(vec![(
        if compares(kind) { DType::Bool } else { a.dtype },
        broadcast(args, &a.shape, &b.shape)?,
    )])
}

fn compares(kind: Binary) -> bool {
    matches!(
        kind,
        Binary::Equal
            | Binary::Greater
            | Binary::GreaterOrEqual
            | Binary::Less
            | Binary::LessOrEqual
    )
}

fn broadcast(args: &Shapes<'_>, a: &Shape, b: &Shape) -> Result<Shape, ModelError> {
    a.broadcast(b)
        .ok_or_else(|| args.wrong(format!("shapes {a} and {b} do not broadcast")))
}

pub(super) fn binary(args: &Tensors<'_>, kind: Binary) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, shape) = args.output()?;
    let at_a = Broadcast::new(args.need(0)?.shape(), shape);
    let at_b = Broadcast::new(args.need(1)?.shape(), shape);
    let all = 0..shape.elements();
    let bits = args.need(0)?.dtype().size_bytes().unwrap_or(0) * 8;
    let wide = match (Wide::of(args, 0)?, Wide::of(args, 1)?) {
        (Wide::Integers(a), Wide::Integers(b)) => Wide::Integers(
            all.map(|i| {
                let (a, b) = (a[at_a.index(i)], b[at_b.index(i)]);
                integers(kind, a, b, bits as i128)
                    .ok_or_else(|| args.wrong("an integer is divided by zero"))
            })
            .collect::<Result<_, _>>()?,
        ),
        (a, b) => {
            let (a, b) = (a.into_floats(), b.into_floats());
            let pairs = all.map(|i| (a[at_a.index(i)], b[at_b.index(i)]));
            if compares(kind) {
                Wide::Integers(pairs.map(|(a, b)| order(kind, &a, &b).into()).collect())
            } else {
                Wide::Floats(
                    pairs
                        .map(|(a, b)| {
                            if kind == Binary::Pow {
                                a.powf(b)
                            } else {
                                a % b
                            }
                        })
                        .collect(),
                )
            }
        }
    };
    args.single(wide.narrow(args, *dtype)?)
}

/// `None` where an integer is divided by zero.
fn integers(kind: Binary, a: i128, b: i128, bits: i128) -> Option<i128> {
    Some(match kind {
        Binary::And | Binary::BitwiseAnd => a & b,
        Binary::Or | Binary::BitwiseOr => a | b,
        Binary::Xor | Binary::BitwiseXor => a ^ b,
        Binary::BitShiftLeft | Binary::BitShiftRight if b >= bits => 0,
        Binary::BitShiftLeft => a << b,
        Binary::BitShiftRight => a >> b,
        Binary::Fmod => a.checked_rem(b)?,
        Binary::Mod => match a.checked_rem(b)? {
            rest if rest != 0 && (rest < 0) != (b < 0) => rest + b,
            rest => rest,
        },
        Binary::Pow => power(a, b)?,
        _ => order(kind, &a, &b).into(),
    })
}

/// `baseᵉˣᵖᵒⁿᵉⁿᵗ` modulo 2^128; a fraction is truncated.
fn power(base: i128, exponent: i128) -> Option<i128> {
    if exponent < 0 {
        return match base {
            0 => None,
            1 => Some(1),
            -1 => Some(if exponent % 2 == 0 { 1 } else { -1 }),
            _ => Some(0),
        };
    }
    let (mut square, mut left, mut product) = (base, exponent, 1i128);
    while left > 0 {
        if left % 2 == 1 {
            product = product.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left /= 2;
    }
    Some(product)
}

fn order<T: PartialOrd>(kind: Binary, a: &T, b: &T) -> bool {
    match kind {
        Binary::Greater => a > b,
        Binary::GreaterOrEqual => a >= b,
        Binary::Less => a < b,
        Binary::LessOrEqual => a <= b,
        _ => a == b,
    }
}

pub(super) fn infer_variadic(
    args: &Shapes<'_>,
    kind: Variadic,
) -> Result<Vec<TypedShape>, ModelError> {
    let types = match kind {
        Variadic::Max | Variadic::Min => NUMBERS,
        Variadic::Mean | Variadic::Sum => FLOATS,
    };
    let first = args.typed(0, types)?;
    let mut shape = first.shape.clone();
    for index in 1..args.inputs.len() {
        args.same_type(index)?;
        shape = broadcast(args, &shape, &args.need(index)?.shape)?;
    }
    Ok(vec![(first.dtype, shape)])
}

/// Terms are added from the first input to the last; NaN is the greatest and
/// the least of all numbers.
pub(super) fn variadic(args: &Tensors<'_>, kind: Variadic) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, shape) = args.output()?;
    let count = args.inputs.len();
    let spread = |index: usize| -> Result<Wide, ModelError> {
        let at = Broadcast::new(args.need(index)?.shape(), shape);
        let all = 0..shape.elements();
        Ok(match Wide::of(args, index)? {
            Wide::Floats(v) => Wide::Floats(all.map(|i| v[at.index(i)]).collect()),
            Wide::Integers(v) => Wide::Integers(all.map(|i| v[at.index(i)]).collect()),
        })
    };
    let mut result = spread(0)?;
    for index in 1..count {
        match (&mut result, spread(index)?) {
            (Wide::Floats(y), Wide::Floats(x)) => {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = float_of(kind, *y, x);
                }
            }
            (Wide::Integers(y), Wide::Integers(x)) => {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = match kind {
                        Variadic::Min => x.min(*y),
                        _ => x.max(*y),
                    };
                }
            }
            _ => return Err(args.wrong(format!("input {index} has another type"))),
        }
    }
    if let (Variadic::Mean, Wide::Floats(y)) = (kind, &mut result) {
        y.iter_mut().for_each(|y| *y /= count as f64);
    }
    args.single(result.narrow(args, *dtype)?)
}

fn float_of(kind: Variadic, a: f64, b: f64) -> f64 {
    match kind {
        Variadic::Mean | Variadic::Sum => a + b,
        Variadic::Max if a > b || a.is_nan() => a,
        Variadic::Min if a < b || a.is_nan() => a,
        Variadic::Max | Variadic::Min => b,
    }
}

pub(super) fn infer_where(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let condition = args.typed(0, &[DType::Bool])?;
    let (a, b) = (args.need(1)?, args.need(2)?);
    if a.dtype != b.dtype {
        return Err(args.wrong(format!("{} and {} are chosen from", a.dtype, b.dtype)));
    }
    if a.dtype.size_bytes().is_none() {
        return Err(args.unsupported(format!("input 1 of type {}", a.dtype)));
    }
    let shape = broadcast(args, &a.shape, &b.shape)?;
    Ok(vec![(a.dtype, broadcast(args, &condition.shape, &shape)?)])
}

/// The first of two inputs where the condition holds, else the second.
pub(super) fn where_(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    fn choose<T: Element>(args: &Tensors<'_>, a: &[T]) -> Result<Data, ModelError> {
        let (condition, b) = (args.need(0)?, args.need(2)?);
        let (Data::Bool(condition), Some(b)) = (condition.data(), T::unwrap(b.data())) else {
            return Err(args.no_type(2, b.dtype()));
        };
        let shape = &args.output()?.1;
        let at = |index| Ok(Broadcast::new(args.need(index)?.shape(), shape));
        let (at_condition, at_a, at_b): (_, _, Broadcast) = (at(0)?, at(1)?, at(2)?);
        let pick = |i| match condition[at_condition.index(i)] {
            true => a[at_a.index(i)],
            false => b[at_b.index(i)],
        };
        Ok(T::wrap((0..shape.elements()).map(pick).collect()))
    }
    let a = args.need(1)?;
    let data = match_data!(a.data(), v => choose(args, v)?, other => {
        return Err(args.no_type(1, other.dtype()));
    });
    args.single(data)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Binary, Data, ModelError, Node, Op, Shape, Tensor, Variadic};

    fn run(op: Op, inputs: &[Data]) -> Result<Data, ModelError> {
        let tensors: Vec<Tensor> = inputs
            .iter()
            .map(|data| {
                let shape = Shape::new(&[data.len().unwrap()]).unwrap();
                Tensor::new(shape, data.clone()).unwrap()
            })
            .collect();
        let inputs: Vec<Option<&Tensor>> = tensors.iter().map(Some).collect();
        evaluate(&Node::new("n", op, &[], &["y"]), &inputs).map(|y| y[0].data().clone())
    }

    #[test]
    fn remainders_take_the_sign_that_is_asked_for() {
        let (a, b) = (Data::I8(vec![-7, 7, -7, 6]), Data::I8(vec![3, -3, -3, 3]));
        let y = |kind| run(Op::Binary(kind), &[a.clone(), b.clone()]).unwrap();
        assert_eq!(y(Binary::Mod), Data::I8(vec![2, -2, -1, 0]));
        assert_eq!(y(Binary::Fmod), Data::I8(vec![-1, 1, -1, 0]));
        let zero = run(Op::Binary(Binary::Mod), &[a, Data::I8(vec![0])]);
        assert!(zero.unwrap_err().to_string().contains("zero"));
        let half = Data::F32(vec![-7.5]);
        let y = run(
            Op::Binary(Binary::Fmod),
            &[half.clone(), Data::F32(vec![2.0])],
        )
        .unwrap();
        assert_eq!(y, Data::F32(vec![-1.5]));
        assert!(run(Op::Binary(Binary::Mod), &[half.clone(), half]).is_err());
    }

    #[test]
    fn powers_take_the_type_of_their_base() {
        let pow = |a, b| run(Op::Binary(Binary::Pow), &[a, b]).unwrap();
        assert_eq!(
            pow(Data::I32(vec![2, 3, -2]), Data::I64(vec![3, 2, 3])),
            Data::I32(vec![8, 9, -8])
        );
        assert_eq!(
            pow(Data::I32(vec![2, -1, 5]), Data::I64(vec![-1, -3, 0])),
            Data::I32(vec![0, -1, 1])
        );
        assert_eq!(
            pow(Data::F32(vec![4.0, 9.0]), Data::F32(vec![0.5, -0.5])),
            Data::F32(vec![2.0, 1.0 / 3.0])
        );
        assert_eq!(
            pow(Data::I32(vec![10]), Data::F32(vec![2.0])),
            Data::I32(vec![100])
        );
        let zero = [Data::I32(vec![0]), Data::I32(vec![-1])];
        assert!(run(Op::Binary(Binary::Pow), &zero).is_err());
    }

    #[test]
    fn bits_and_orders() {
        let (a, b) = (Data::U8(vec![0b1100, 1, 1]), Data::U8(vec![0b1010, 7, 8]));
        let y = |kind| run(Op::Binary(kind), &[a.clone(), b.clone()]).unwrap();
        assert_eq!(y(Binary::BitwiseAnd), Data::U8(vec![0b1000, 1, 0]));
        assert_eq!(y(Binary::BitwiseOr), Data::U8(vec![0b1110, 7, 9]));
        assert_eq!(y(Binary::BitwiseXor), Data::U8(vec![0b0110, 6, 9]));
        assert_eq!(y(Binary::BitShiftLeft), Data::U8(vec![0, 128, 0]));
        assert_eq!(y(Binary::BitShiftRight), Data::U8(vec![0, 0, 0]));
        assert_eq!(y(Binary::Greater), Data::Bool(vec![true, false, false]));
        assert_eq!(y(Binary::LessOrEqual), Data::Bool(vec![false, true, true]));
        let (p, q) = (Data::Bool(vec![true, false]), Data::Bool(vec![true]));
        let y = |kind| run(Op::Binary(kind), &[p.clone(), q.clone()]).unwrap();
        assert_eq!(y(Binary::And), Data::Bool(vec![true, false]));
        assert_eq!(y(Binary::Or), Data::Bool(vec![true, true]));
        assert_eq!(y(Binary::Xor), Data::Bool(vec![false, true]));
        assert_eq!(y(Binary::Equal), Data::Bool(vec![true, false]));
        assert!(run(Op::Binary(Binary::Less), &[p, q]).is_err());
        let nan = Data::F32(vec![f32::NAN]);
        let y = run(Op::Binary(Binary::Equal), &[nan.clone(), nan]).unwrap();
        assert_eq!(y, Data::Bool(vec![false]));
    }

    #[test]
    fn any_number_of_inputs_is_folded() {
        let inputs = [
            Data::F32(vec![1.0, 5.0, f32::NAN]),
            Data::F32(vec![3.0]),
            Data::F32(vec![2.0, 1.0, 0.0]),
        ];
        let y = |kind| match run(Op::Variadic(kind), &inputs).unwrap() {
            Data::F32(y) => (y[0], y[1], y[2].is_nan()),
            other => panic!("{other:?}"),
        };
        assert_eq!(y(Variadic::Max), (3.0, 5.0, true));
        assert_eq!(y(Variadic::Min), (1.0, 1.0, true));
        assert_eq!(y(Variadic::Sum), (6.0, 9.0, true));
        assert_eq!(y(Variadic::Mean), (2.0, 3.0, true));
        let one = run(Op::Variadic(Variadic::Max), &[Data::I64(vec![i64::MIN])]);
        assert_eq!(one.unwrap(), Data::I64(vec![i64::MIN]));
        assert!(run(Op::Variadic(Variadic::Sum), &[]).is_err());
    }

    #[test]
    fn elements_are_chosen_by_a_condition_that_broadcasts() {
        let inputs = [
            Data::Bool(vec![true, false]),
            Data::I64(vec![1]),
            Data::I64(vec![7, 8]),
        ];
        assert_eq!(run(Op::Where, &inputs).unwrap(), Data::I64(vec![1, 8]));
        let mixed = [inputs[0].clone(), inputs[1].clone(), Data::U8(vec![1])];
        assert!(run(Op::Where, &mixed).is_err());
    }
}
