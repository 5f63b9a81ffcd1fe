//! BatchNormalization behind a layer becomes part of its weight and bias:
//! `w' = w · γ/√(σ²+ε)`, `b' = (b − µ) · γ/√(σ²+ε) + β` (Jacob et al. 2018, §3.2).

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Constant, Node, Op, Shape, Values, Weight};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    let Op::BatchNormalization { epsilon } = node.op else {
        return Err(Skip::NotMine);
    };
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
        return Skip::because("it has no input or no output");
    };
    let Some(layer) = draft.producer(input) else {
        return Skip::because("nothing computes its input");
    };
    let foldable = match layer.op {
        Op::Conv { .. } => true,
        Op::Gemm {
            alpha,
            beta,
            trans_b,
            ..
        } => alpha == 1.0 && beta == 1.0 && trans_b,
        _ => false,
    };
    if !foldable {
        return Skip::because(format!("its input comes from {}", layer.op.name()));
    }
    if draft.only_reader(input).is_none() {
        return Skip::because("its input is read elsewhere too");
    }
    if node.outputs.iter().skip(1).any(|o| !o.is_empty()) {
        return Skip::because("it is in training mode");
    }
    let Some((_, weight)) = draft.graph.kernel_of(layer) else {
        return Skip::because("the layer's weight is not constant");
    };
    if !matches!(weight.values(), Values::F32(_)) {
        return Skip::because("the layer's weight is quantized: its codes would change");
    }
    let (rows, columns) = weight.matrix();
    let part = |node: &Node, index: usize| {
        draft
            .constant(node, index)
            .and_then(|t| t.as_f32().map(<[f32]>::to_vec).ok())
            .filter(|v| v.len() == rows)
    };
    let (Some(gamma), Some(beta), Some(mean), Some(variance)) =
        (part(node, 1), part(node, 2), part(node, 3), part(node, 4))
    else {
        return Skip::because("its parameters are not constant vectors of the layer's channels");
    };
    let bias = match layer.input(2) {
        None => vec![0.0; rows],
        Some(_) => match part(layer, 2) {
            Some(bias) => bias,
            None => return Skip::because("the layer's bias is not a constant vector"),
        },
    };

    // In f64, so that folding adds no rounding of its own.
    let factors: Vec<f64> = gamma
        .iter()
        .zip(&variance)
        .map(|(&g, &v)| f64::from(g) / (f64::from(v) + f64::from(epsilon)).sqrt())
        .collect();
    let (shape, support, _) = weight.clone().into_parts();
    let values = weight
        .positions()
        .zip(weight.kept_f32())
        .map(|(p, w)| (f64::from(w) * factors[p / columns.max(1)]) as f32)
        .collect();
    let bias = (0..rows)
        .map(|r| {
            ((f64::from(bias[r]) - f64::from(mean[r])) * factors[r] + f64::from(beta[r])) as f32
        })
        .collect();
    let refused = |e: secateur_model::ModelError| Skip::Because(e.to_string());
    let weight = Weight::new(shape, support, Values::F32(values)).map_err(refused)?;
    let bias = Weight::dense(Shape::new(&[rows]).map_err(refused)?, bias).map_err(refused)?;

    let weight_name = draft
        .graph
        .fresh_name(&format!("{}.folded_weight", layer.name));
    let bias_name = draft
        .graph
        .fresh_name(&format!("{}.folded_bias", layer.name));
    let folded = Node::new(
        layer.name.clone(),
        layer.op.clone(),
        &[layer.input(0).unwrap_or(""), &weight_name, &bias_name],
        &[output],
    );
    Ok(Edit {
        removed: vec![node.name.clone()],
        nodes: vec![folded],
        constants: vec![
            (weight_name, Constant::Weight(weight)),
            (bias_name, Constant::Weight(bias)),
        ],
        ..Edit::default()
    })
}
