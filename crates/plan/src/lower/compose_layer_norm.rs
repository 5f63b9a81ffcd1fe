//! `(x − mean) / √(mean of (x − mean)² + ε) · scale + bias` over the last axis, written out, is one
//! LayerNormalization.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Binary, Math, Node, Op, Reduction};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if !matches!(node.op, Op::Math(Math::Sqrt)) {
        return Err(Skip::NotMine);
    }
    let Some((x, difference, epsilon)) = deviation(draft, node) else {
        return Err(Skip::NotMine);
    };
    let Some(quotient) = node.output(0).and_then(|d| quotient(draft, d, difference)) else {
        return Skip::because("the difference from the mean is not divided by the deviation");
    };
    let Some((scaled, scale)) = behind(draft, quotient, |op| matches!(op, Op::Mul)) else {
        return Skip::because("no constant vector scales it");
    };
    let shifted = behind(draft, scaled, |op| matches!(op, Op::Add));
    let same_width = |bias: &str| draft.extents(bias) == draft.extents(scale);
    let (last, bias) = match shifted.filter(|(_, bias)| same_width(bias)) {
        Some((node, bias)) => (node, Some(bias)),
        None => (scaled, None),
    };
    let inputs: Vec<&str> = [x, scale].into_iter().chain(bias).collect();
    let op = Op::LayerNormalization { axis: -1, epsilon };
    let output = last.output(0).unwrap_or_default();
    Ok(Edit {
        nodes: vec![Node::new(last.name.clone(), op, &inputs, &[output])],
        ..Edit::default()
    })
}

/// Of the root of a variance: what it is of, its difference from its mean, and what is added.
fn deviation<'d>(draft: &'d Draft, root: &'d Node) -> Option<(&'d str, &'d str, f32)> {
    let sum = draft.producer(root.input(0)?)?;
    let constant = usize::from(draft.scalar(sum, 1).is_some());
    let epsilon = draft.scalar(sum, constant)?;
    let variance = draft.producer(sum.input(1 - constant)?)?;
    if !matches!(sum.op, Op::Add) || !is_mean(draft, variance) {
        return None;
    }
    let square = draft.producer(variance.input(0)?)?;
    let difference = square.input(0)?;
    let squared = match square.op {
        Op::Mul => square.input(1) == Some(difference),
        Op::Binary(Binary::Pow) => draft.scalar(square, 1) == Some(2.0),
        _ => false,
    };
    let x = centred(draft, difference)?;
    squared.then_some((x, difference, epsilon))
}

/// What a value is the difference from its mean of.
fn centred<'d>(draft: &'d Draft, difference: &str) -> Option<&'d str> {
    let node = draft.producer(difference)?;
    let (x, mean) = (node.input(0)?, draft.producer(node.input(1)?)?);
    let of_mean = matches!(node.op, Op::Sub) && mean.input(0) == Some(x) && is_mean(draft, mean);
    of_mean.then_some(x)
}

/// A mean over the last axis, which stays.
fn is_mean(draft: &Draft, node: &Node) -> bool {
    let Op::Reduce {
        kind: Reduction::Mean,
        keep_dims: true,
        ..
    } = node.op
    else {
        return false;
    };
    let axes = draft.constant(node, 1);
    axes.is_some_and(|axes| axes.as_i64().is_ok_and(|list| *list == [-1]))
}

/// The difference divided by the deviation, or multiplied by its reciprocal; a difference that was
/// taken twice is the same.
fn quotient<'d>(draft: &'d Draft, deviation: &'d str, difference: &str) -> Option<&'d Node> {
    let reader = draft.only_reader(deviation)?;
    let (node, dividend) = match reader.op {
        Op::Div if reader.input(1) == Some(deviation) => (reader, reader.input(0)?),
        Op::Math(Math::Reciprocal) => {
            let inverse = reader.output(0)?;
            let product = draft.only_reader(inverse)?;
            let other = usize::from(product.input(0) == Some(inverse));
            (matches!(product.op, Op::Mul)).then(|| Some((product, product.input(other)?)))??
        }
        _ => return None,
    };
    let same = dividend == difference || centred(draft, dividend) == centred(draft, difference);
    same.then_some(node)
}

/// The only reader of a node's output, of an operator, and the constant vector that it takes as well.
fn behind<'d>(
    draft: &'d Draft,
    node: &'d Node,
    is: impl Fn(&Op) -> bool,
) -> Option<(&'d Node, &'d str)> {
    let value = node.output(0)?;
    let reader = draft.only_reader(value).filter(|n| is(&n.op))?;
    let vector = reader.input(usize::from(reader.input(0) == Some(value)))?;
    matches!(draft.extents(vector)?, [_]).then_some((reader, vector))
}
