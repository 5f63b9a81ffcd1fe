//! `x · ½ · (1 + erf(x / √2))`, in any order of its factors, is one Gelu.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Activation, Math, Node, Op};
use std::f32::consts::FRAC_1_SQRT_2;

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if !matches!(node.op, Op::Math(Math::Erf)) {
        return Err(Skip::NotMine);
    }
    let (Some(argument), Some(erf)) = (node.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    let Some(x) = draft.producer(argument).and_then(|n| scaled(draft, n)) else {
        return Skip::because("its argument is not divided by √2");
    };
    let one_more = draft.only_reader(erf).filter(|n| is_one_more(draft, n));
    let Some(product) = one_more.and_then(|n| draft.only_reader(n.output(0)?)) else {
        return Skip::because("1 is not all that is added to it");
    };
    let Some(last) = one_more.and_then(|sum| end(draft, x, sum.output(0)?, product)) else {
        return Skip::because("it is not multiplied by half its argument");
    };
    let op = Op::Activation {
        kind: Activation::Gelu,
        parameters: [0.0; 2],
    };
    let output = last.output(0).unwrap_or_default();
    Ok(Edit {
        nodes: vec![Node::new(last.name.clone(), op, &[x], &[output])],
        ..Edit::default()
    })
}

/// What a node multiplies by 1/√2.
fn scaled<'d>(draft: &'d Draft, node: &'d Node) -> Option<&'d str> {
    let near = |value: f32, to: f32| (value - to).abs() < 1e-4;
    match node.op {
        Op::Div => near(draft.scalar(node, 1)?.recip(), FRAC_1_SQRT_2).then(|| node.input(0))?,
        Op::Mul => {
            let (x, factor) = draft.scaled(node)?;
            near(factor, FRAC_1_SQRT_2).then_some(x)
        }
        _ => None,
    }
}

fn is_one_more(draft: &Draft, node: &Node) -> bool {
    let one = |index| draft.scalar(node, index) == Some(1.0);
    matches!(node.op, Op::Add) && (one(0) || one(1))
}

/// The last of the products that are `x`, a half and `sum`, of which `product` is the first that `sum`
/// is in.
fn end<'d>(draft: &'d Draft, x: &str, sum: &str, product: &'d Node) -> Option<&'d Node> {
    let half = |node: &'d Node, of: &str| draft.scaled(node) == Some((of, 0.5));
    if half(product, sum) {
        let last = draft.only_reader(product.output(0)?)?;
        return other(last, product.output(0)?)
            .filter(|o| *o == x)
            .map(|_| last);
    }
    let factor = other(product, sum)?;
    if factor == x {
        let last = draft.only_reader(product.output(0)?)?;
        return half(last, product.output(0)?).then_some(last);
    }
    half(draft.producer(factor)?, x).then_some(product)
}

/// The other factor of a product.
fn other<'d>(node: &'d Node, factor: &str) -> Option<&'d str> {
    if !matches!(node.op, Op::Mul) {
        return None;
    }
    match (node.input(0)?, node.input(1)?) {
        (a, b) if a == factor => Some(b),
        (a, b) if b == factor => Some(a),
        _ => None,
    }
}
