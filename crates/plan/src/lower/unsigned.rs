//! Signed activation codes become unsigned ones, 128 higher, so that kernels
//! know one type: `quantize` saturates at the shifted ends just the same.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Constant, DType, Data, Node, Op, Shape, Tensor};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if !matches!(node.op, Op::QuantizeLinear { .. }) {
        return Err(Skip::NotMine);
    }
    let Some(q) = draft.quantization(node).filter(|q| q.dtype == DType::I8) else {
        return Err(Skip::NotMine);
    };
    let Some(output) = node.output(0) else {
        return Err(Skip::NotMine);
    };
    let readers = draft.readers(output);
    let paired =
        |n: &&Node| matches!(n.op, Op::DequantizeLinear { .. }) && draft.quantization(n) == Some(q);
    if draft.is_output(output) || !readers.iter().all(paired) {
        return Skip::because("its signed codes are read as such");
    }
    let name = draft.graph.fresh_name(&format!("{output}.unsigned_zero"));
    let zero = u8::try_from(q.zero_point + 128)
        .ok()
        .and_then(|z| Tensor::new(Shape::scalar(), Data::U8(vec![z])).ok());
    let Some(zero) = zero else {
        return Skip::because("its zero point is no code");
    };
    let mut quantize = node.clone();
    if let Op::QuantizeLinear { to, .. } = &mut quantize.op {
        *to = None;
    }
    let nodes = std::iter::once(quantize)
        .chain(readers.into_iter().cloned())
        .map(|mut node| {
            node.inputs.resize(3, String::new());
            node.inputs[2].clone_from(&name);
            node
        })
        .collect();
    Ok(Edit {
        nodes,
        constants: vec![(name, Constant::Tensor(zero))],
        ..Edit::default()
    })
}
