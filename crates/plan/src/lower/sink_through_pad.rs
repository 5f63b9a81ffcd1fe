//! A tensor of codes is padded with the code of what the real one is padded
//! with, where that has an exact one: 0 always has.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Constant, DType, Data, Node, Op, PadMode, Shape, Tensor};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if !matches!(
        node.op,
        Op::Pad {
            mode: PadMode::Constant
        }
    ) {
        return Err(Skip::NotMine);
    }
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    let Some(source) = draft
        .producer(input)
        .filter(|n| matches!(n.op, Op::DequantizeLinear { .. }))
    else {
        return Err(Skip::NotMine);
    };
    let (Some(q), Some(bytes)) = (draft.quantization(source), source.input(0)) else {
        return Skip::because("its input is not quantized per tensor to bytes");
    };
    let value = match node.input(2) {
        None => Some(0.0),
        Some(_) => draft.scalar(node, 2),
    };
    let Some(value) = value else {
        return Skip::because("what it pads with is not a constant f32");
    };
    let code = q.code(value);
    if secateur_model::quant::dequantize(code, q.scale, q.zero_point) != value {
        return Skip::because(format!("no code stands for {value}, which it pads with"));
    }
    let data = match q.dtype {
        DType::I8 => Data::I8(vec![code as i8]),
        _ => Data::U8(vec![code as u8]),
    };
    let code = Tensor::new(Shape::scalar(), data).map_err(|e| Skip::Because(e.to_string()))?;
    let name = draft.graph.fresh_name(&format!("{}.code", node.name));
    let padded = draft.graph.fresh_name(&format!("{output}.bytes"));
    let mut pad = node.clone();
    pad.inputs.resize(pad.inputs.len().max(3), String::new());
    pad.inputs[0] = bytes.into();
    pad.inputs[2].clone_from(&name);
    pad.outputs[0].clone_from(&padded);
    let mut dequantize = source.clone();
    dequantize.name = draft.graph.fresh_name(&format!("{}.dequantize", node.name));
    dequantize.inputs[0] = padded;
    dequantize.outputs = vec![output.into()];
    Ok(Edit {
        nodes: vec![pad, dequantize],
        constants: vec![(name, Constant::Tensor(code))],
        ..Edit::default()
    })
}
