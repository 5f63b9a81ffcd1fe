//! `DequantizeLinear(i8 constant)` is a weight of symmetric integers.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::{Constant, Data, Node, Op, Scale, Support, Values, Weight};

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    let Op::DequantizeLinear { axis, block_size } = node.op else {
        return Err(Skip::NotMine);
    };
    let (Some(codes), Some(output)) = (draft.constant(node, 0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    let Data::I8(values) = codes.data() else {
        return Err(Skip::NotMine);
    };
    if block_size != 0 || codes.shape().rank() < 2 || draft.is_output(output) {
        return Skip::because("only whole weights of rank 2 and more become integer weights");
    }
    if values.contains(&i8::MIN) {
        return Skip::because("the code -128 has no symmetric counterpart");
    }
    if node.input(2).is_some() {
        let symmetric = draft.constant(node, 2).is_some_and(
            |z| matches!(z.data(), Data::I8(zeros) if zeros.iter().all(|&zero| zero == 0)),
        );
        if !symmetric {
            return Skip::because("its zero point is not 0");
        }
    }
    let scales = draft
        .constant(node, 1)
        .and_then(|s| s.as_f32().map(<[f32]>::to_vec).ok())
        .unwrap_or_default();
    let scale = match scales[..] {
        [scale] => Scale::PerTensor(scale),
        _ => match (axis, codes.shape().rank()) {
            (0, _) => Scale::PerChannel(scales),
            (1 | -1, 2) => Scale::PerColumn(scales),
            _ => return Skip::because(format!("its scales are along axis {axis}")),
        },
    };
    let values = Values::Int {
        bits: 8,
        codes: values.iter().map(|&c| i16::from(c)).collect(),
        scale,
    };
    let weight = Weight::new(codes.shape().clone(), Support::All, values)
        .map_err(|e| Skip::Because(e.to_string()))?;
    let name = draft.graph.fresh_name(&format!("{output}.integer"));
    Ok(Edit {
        removed: vec![node.name.clone()],
        redirected: vec![(output.into(), name.clone())],
        constants: vec![(name, Constant::Weight(weight))],
        ..Edit::default()
    })
}
