//! Einsum: sums of products over labelled axes.
//!
//! The products of an output element are added in the order of their labels'
//! first appearance, row-major; f16 and bf16 accumulate in f32 and round once,
//! integers wrap.

use super::TypedShape;
use super::args::{NUMBERS, Shapes, Tensors};
use super::element::{Number, match_numbers};
use super::window::advance;
use crate::{DType, Data, ModelError, Tensor};

/// Most products that are added up.
const MAX_PRODUCTS: u64 = 1 << 40;

/// An equation with the extents of its labels.
struct Sum {
    /// Extents of all labels, those of the output first.
    extents: Vec<usize>,
    /// How many are the output's.
    kept: usize,
    /// For each operand, the stride along each label.
    strides: Vec<Vec<usize>>,
}

pub(super) fn infer(args: &Shapes<'_>, equation: &str) -> Result<Vec<TypedShape>, ModelError> {
    let dtype = args.typed(0, NUMBERS)?.dtype;
    let mut shapes = Vec::new();
    for index in 0..args.inputs.len() {
        args.same_type(index)?;
        shapes.push(args.need(index)?.shape.dims());
    }
    let sum = Sum::new(equation, &shapes).map_err(|why| args.wrong(why))?;
    Ok(vec![(dtype, args.shape(&sum.extents[..sum.kept])?)])
}

pub(super) fn evaluate(args: &Tensors<'_>, equation: &str) -> Result<Vec<Tensor>, ModelError> {
    let mut shapes = Vec::new();
    for index in 0..args.inputs.len() {
        shapes.push(args.need(index)?.shape().dims());
    }
    let sum = Sum::new(equation, &shapes).map_err(|why| args.wrong(why))?;
    let x = args.need(0)?;
    let data = match x.dtype() {
        dtype @ (DType::F16 | DType::BF16) => {
            let operands = (0..shapes.len()).map(|i| args.floats(i));
            let operands = operands.collect::<Result<Vec<Vec<f32>>, _>>()?;
            let operands: Vec<&[f32]> = operands.iter().map(Vec::as_slice).collect();
            args.round_floats(dtype, sum.products(&operands))?
        }
        _ => match_numbers!(x.data(), v => typed(args, &sum, v)?, other => {
            return Err(args.no_type(0, other.dtype()));
        }),
    };
    args.single(data)
}

fn typed<T: Number>(args: &Tensors<'_>, sum: &Sum, _: &[T]) -> Result<Data, ModelError> {
    let operands = (0..args.inputs.len()).map(|index| {
        let tensor = args.need(index)?;
        T::unwrap(tensor.data()).ok_or_else(|| args.no_type(index, tensor.dtype()))
    });
    let operands = operands.collect::<Result<Vec<&[T]>, _>>()?;
    Ok(T::wrap(sum.products(&operands)))
}

/// A label: a letter, or an axis of the ellipsis counted from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Letter(char),
    Rest(usize),
}

/// The labels of a term of `rank` axes (`None`: of the output), an ellipsis
/// standing for as many as are left over or `rest`.
fn labels(term: &str, rank: Option<usize>, rest: usize) -> Result<Vec<Label>, String> {
    let letters = term.chars().filter(|c| *c != '.').count();
    let dots = match term.split_once("...") {
        None => 0,
        Some(_) => match rank {
            Some(rank) => rank
                .checked_sub(letters)
                .ok_or_else(|| format!("term {term:?} has more labels than its operand axes"))?,
            None => rest,
        },
    };
    let letter = |c: char| match c {
        'a'..='z' | 'A'..='Z' => Ok(Label::Letter(c)),
        _ => Err(format!("{c:?} in term {term:?} is no label")),
    };
    let (before, after) = term.split_once("...").unwrap_or((term, ""));
    let mut found = before.chars().map(letter).collect::<Result<Vec<_>, _>>()?;
    found.extend((0..dots).rev().map(Label::Rest));
    for c in after.chars() {
        found.push(letter(c)?);
    }
    Ok(found)
}

impl Sum {
    fn new(equation: &str, shapes: &[&[usize]]) -> Result<Self, String> {
        let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match equation.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (equation.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != shapes.len() {
            return Err(format!(
                "{} terms for {} operands",
                terms.len(),
                shapes.len()
            ));
        }
        let mut named: Vec<(Label, usize)> = Vec::new();
        let mut operands = Vec::new();
        for (term, shape) in terms.iter().zip(shapes) {
            let labels = labels(term, Some(shape.len()), 0)?;
            if labels.len() != shape.len() {
                return Err(format!("term {term:?} for an operand {shape:?}"));
            }
            for (&label, &extent) in labels.iter().zip(*shape) {
                match named.iter_mut().find(|(known, _)| *known == label) {
                    None => named.push((label, extent)),
                    Some((_, known)) if *known == extent => {}
                    Some((Label::Rest(_), known)) if *known == 1 => *known = extent,
                    Some((Label::Rest(_), _)) if extent == 1 => {}
                    Some((_, known)) => {
                        return Err(format!("term {term:?} has {extent} where {known} was"));
                    }
                }
            }
            operands.push(labels);
        }
        let kept = output(right, &named, &operands)?;
        let mut order: Vec<(Label, usize)> = Vec::new();
        for label in &kept {
            let known = named.iter().find(|(known, _)| known == label);
            order.push(*known.ok_or_else(|| format!("{label:?} is in no operand"))?);
        }
        order.extend(named.iter().filter(|(label, _)| !kept.contains(label)));
        let extents: Vec<usize> = order.iter().map(|(_, extent)| *extent).collect();
        extents
            .iter()
            .try_fold(1u64, |n, &extent| n.checked_mul(extent.max(1) as u64))
            .filter(|&products| products <= MAX_PRODUCTS)
            .ok_or_else(|| format!("more products than {MAX_PRODUCTS}"))?;
        let strides = operands.iter().zip(shapes).map(|(labels, shape)| {
            let mut strides = vec![0; order.len()];
            let mut stride = 1;
            for (label, &extent) in labels.iter().zip(*shape).rev() {
                // A diagonal steps along all its axes.
                let place = order.iter().position(|(known, _)| known == label);
                if let Some(place) = place.filter(|_| extent != 1) {
                    strides[place] += stride;
                }
                stride *= extent;
            }
            strides
        });
        Ok(Self {
            kept: kept.len(),
            strides: strides.collect(),
            extents,
        })
    }

    fn products<T: Number>(&self, operands: &[&[T]]) -> Vec<T> {
        let (kept, summed) = self.extents.split_at(self.kept);
        let mut at = vec![0; self.extents.len()];
        let mut y = Vec::new();
        for _ in 0..kept.iter().product() {
            let mut acc = T::ZERO;
            for _ in 0..summed.iter().product() {
                let factors = operands.iter().zip(&self.strides).map(|(x, strides)| {
                    let index: usize = at.iter().zip(strides).map(|(i, s)| i * s).sum();
                    x[index]
                });
                acc = factors
                    .reduce(T::mul)
                    .map_or(acc, |product| acc.add(product));
                advance(&mut at[self.kept..], summed);
            }
            y.push(acc);
            advance(&mut at[..self.kept], kept);
        }
        y
    }
}

/// The output's labels; without a right-hand side the ellipsis, then the letters
/// that stand once, in alphabetical order.
fn output(
    right: Option<&str>,
    named: &[(Label, usize)],
    operands: &[Vec<Label>],
) -> Result<Vec<Label>, String> {
    let rest = named.iter().filter(|(l, _)| matches!(l, Label::Rest(_)));
    let rest = rest.count();
    let Some(right) = right else {
        let count = |label: Label| operands.iter().flatten().filter(|l| **l == label).count();
        let mut once: Vec<char> = named
            .iter()
            .filter_map(|(label, _)| match label {
                Label::Letter(c) if count(*label) == 1 => Some(*c),
                _ => None,
            })
            .collect();
        once.sort_unstable();
        let letters = once.into_iter().map(Label::Letter);
        return Ok((0..rest).rev().map(Label::Rest).chain(letters).collect());
    };
    let kept = labels(right, None, rest)?;
    let twice = (1..kept.len()).any(|i| kept[..i].contains(&kept[i]));
    if twice {
        return Err(format!("a label stands twice in the output {right:?}"));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{ModelError, Node, Op, Tensor};

    fn run(equation: &str, operands: &[&Tensor]) -> Result<Tensor, ModelError> {
        let op = Op::Einsum {
            equation: equation.into(),
        };
        let operands: Vec<Option<&Tensor>> = operands.iter().map(|t| Some(*t)).collect();
        evaluate(&Node::new("e", op, &["a", "b"], &["y"]), &operands).map(|mut y| y.remove(0))
    }

    fn square() -> Tensor {
        Tensor::f32(&[2, 2], vec![1., 2., 3., 4.]).unwrap()
    }

    #[test]
    fn products_traces_and_transposes() {
        let (a, v) = (square(), Tensor::f32(&[2], vec![10., 1.]).unwrap());
        let list = |v: &[f32]| Tensor::f32(&[v.len()], v.to_vec()).unwrap();
        assert_eq!(run("ij, j -> i", &[&a, &v]).unwrap(), list(&[12., 34.]));
        assert_eq!(run("ii->i", &[&a]).unwrap(), list(&[1., 4.]));
        assert_eq!(run("ii", &[&a]).unwrap(), Tensor::scalar_f32(5.));
        let turned = Tensor::f32(&[2, 2], vec![1., 3., 2., 4.]).unwrap();
        assert_eq!(run("ba", &[&a]).unwrap(), turned);
        assert_eq!(run("...j,...j", &[&a, &v]).unwrap(), list(&[12., 34.]));
        assert_eq!(run("...j->j...", &[&a]).unwrap(), turned);
    }

    #[test]
    fn equations_that_do_not_fit_are_refused() {
        let a = square();
        let v = Tensor::f32(&[3], vec![0.; 3]).unwrap();
        for equation in [
            "ij,j->i", "ij", "ij,k->ii", "ij,k->z", "i,k", "ij,1", "ij,..k",
        ] {
            assert!(run(equation, &[&a, &v]).is_err(), "{equation}");
        }
    }
}
