//! `ConvInteger` and `MatMulInteger`, cast and scaled, are the layer of codes
//! that count whole units: an input scale of 1 and the factors as the weight's
//! scales. Dynamic quantization, and SparseML's files, are of this form.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{
    Constant, DType, Data, Node, Op, Scale, Shape, Support, Tensor, Values, Weight,
};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    let op = match &node.op {
        Op::ConvInteger { window, groups } => Op::Conv {
            window: window.clone(),
            groups: *groups,
        },
        Op::MatMulInteger => Op::MatMul,
        _ => return Err(Skip::NotMine),
    };
    let (Some(x), Some(sum)) = (node.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    let Some(cast) = draft
        .only_reader(sum)
        .filter(|n| matches!(n.op, Op::Cast { to: DType::F32 }))
    else {
        return Skip::because("its sums are not cast to f32 and no more");
    };
    let scaled = cast.output(0).and_then(|real| {
        let mul = draft.only_reader(real)?;
        let other = (mul.input(0) == Some(real)) as usize;
        let factors = matches!(mul.op, Op::Mul).then(|| draft.constant(mul, other))??;
        Some((mul, factors))
    });
    let Some((mul, factors)) = scaled else {
        return Skip::because("its sums are not scaled by constants");
    };
    let zero = zero_point(draft, node)?;
    let weight = weight(draft, node, &factors)?;

    let dequantized = draft.graph.fresh_name(&format!("{}.units", node.name));
    let names = ["unit", "zero", "integer"]
        .map(|part| draft.graph.fresh_name(&format!("{}.{part}", node.name)));
    let [unit, zero_name, weight_name] = names.each_ref().map(String::as_str);
    let dequantize = Op::DequantizeLinear {
        axis: 1,
        block_size: 0,
    };
    let mut nodes = vec![Node::new(
        dequantized.clone(),
        dequantize,
        &[x, unit, zero_name],
        &[&dequantized],
    )];
    let mut removed = vec![cast.name.clone(), mul.name.clone()];
    let mut inputs = vec![dequantized.as_str(), weight_name];
    let mut output = mul.output(0).unwrap_or_default();
    let mut constants = vec![
        (unit.to_owned(), Constant::Tensor(Tensor::scalar_f32(1.0))),
        (zero_name.to_owned(), Constant::Tensor(zero)),
        (weight_name.to_owned(), Constant::Weight(weight.clone())),
    ];
    let bias_name = draft.graph.fresh_name(&format!("{}.bias", node.name));
    if let Some((add, bias)) = bias(draft, output, &weight, &op) {
        let gemm = matches!(op, Op::MatMul);
        // MatMul has no bias of its own; Gemm is of matrices only.
        if !gemm {
            constants.push((bias_name.clone(), Constant::Tensor(bias)));
            inputs.push(&bias_name);
            removed.push(add.name.clone());
            output = add.output(0).unwrap_or_default();
        }
    }
    nodes.push(Node::new(node.name.clone(), op, &inputs, &[output]));
    Ok(Edit {
        removed,
        nodes,
        constants,
        ..Edit::default()
    })
}

fn zero_point(draft: &Draft, node: &Node) -> Result<Tensor, Skip> {
    let byte = |value: u8| {
        Tensor::new(Shape::scalar(), Data::U8(vec![value]))
            .map_err(|e| Skip::Because(e.to_string()))
    };
    if node.input(2).is_none() {
        return byte(0);
    }
    match draft.constant(node, 2).as_ref().map(Tensor::data) {
        Some(Data::U8(zero)) if zero.len() == 1 => byte(zero[0]),
        Some(Data::U8(_) | Data::I8(_)) => {
            Skip::because("its input has signed codes or several zero points")
        }
        _ => Skip::because("its input's zero point is only known when it runs"),
    }
}

/// The constant codes with the factors as their scales.
fn weight(draft: &Draft, node: &Node, factors: &Tensor) -> Result<Weight, Skip> {
    let Some(codes) = draft.constant(node, 1) else {
        return Skip::because("its weight is not constant");
    };
    let zero = match node.input(3) {
        None => 0,
        Some(_) => match draft.constant(node, 3).as_ref().map(Tensor::data) {
            Some(Data::I8(zeros)) if zeros.iter().all(|&z| z == 0) => 0,
            Some(Data::U8(zeros)) if !zeros.is_empty() && zeros.iter().all(|z| *z == zeros[0]) => {
                i16::from(zeros[0])
            }
            _ => return Skip::because("its weight is not symmetric"),
        },
    };
    let values: Vec<i16> = match codes.data() {
        Data::I8(v) => v.iter().map(|&c| i16::from(c) - zero).collect(),
        Data::U8(v) => v.iter().map(|&c| i16::from(c) - zero).collect(),
        _ => return Err(Skip::NotMine),
    };
    if values.iter().any(|v| v.abs() > 127) {
        return Skip::because("a weight has no symmetric code of 8 bits");
    }
    let columns = matches!(node.op, Op::MatMulInteger);
    let dims = codes.shape().dims();
    let outputs = match columns {
        true => dims.last().copied(),
        false => dims.first().copied(),
    };
    let factors = factors
        .as_f32()
        .ok()
        .filter(|_| along_outputs(factors.shape(), columns, dims.len()));
    let scale = match factors {
        Some([one]) => Scale::PerTensor(*one),
        Some(all) if Some(all.len()) == outputs && columns => Scale::PerColumn(all.to_vec()),
        Some(all) if Some(all.len()) == outputs => Scale::PerChannel(all.to_vec()),
        _ => return Skip::because("its factors are not one for each output"),
    };
    let values = Values::Int {
        bits: 8,
        codes: values,
        scale,
    };
    Weight::new(codes.shape().clone(), Support::All, values)
        .map_err(|e| Skip::Because(e.to_string()))
}

/// Whether a tensor that is broadcast has one value or lies along the outputs:
/// the last axis of a product, axis 1 of a convolution of `rank` axes.
fn along_outputs(shape: &Shape, columns: bool, rank: usize) -> bool {
    if shape.elements() == 1 {
        return shape.rank() <= rank;
    }
    let from_end = if columns { 1 } else { rank - 1 };
    let dims = shape.dims();
    let Some(axis) = dims.len().checked_sub(from_end) else {
        return false;
    };
    dims.len() <= rank && dims.iter().enumerate().all(|(at, &d)| at == axis || d == 1)
}

/// The constant that alone is added to a value, one for each output.
fn bias<'d>(draft: &'d Draft, value: &str, weight: &Weight, op: &Op) -> Option<(&'d Node, Tensor)> {
    let add = draft
        .only_reader(value)
        .filter(|n| matches!(n.op, Op::Add))?;
    let other = (add.input(0) == Some(value)) as usize;
    let bias = draft.constant(add, other)?;
    let dims = weight.shape().dims();
    let columns = matches!(op, Op::MatMul);
    let outputs = if columns {
        *dims.last()?
    } else {
        *dims.first()?
    };
    if bias.shape().elements() != outputs || !along_outputs(bias.shape(), columns, dims.len()) {
        return None;
    }
    Tensor::f32(&[outputs], bias.as_f32().ok()?.to_vec())
        .ok()
        .map(|bias| (add, bias))
}
