//! ONNX Runtime's own operators on codes (`com.microsoft`), spelt as what they
//! stand for: `DequantizeLinear`, the operator in f32, `QuantizeLinear`.
//! Everything behind the importer then knows one quantized form.

use super::attributes::{Attributes, kind};
use super::names::Names;
use super::proto::{AttributeProto, NodeProto};

/// The node, or the nodes that it stands for, in an order to be read in.
///
/// An operator that is not known here, or has an attribute that its f32 form
/// does not have, stays as it is.
pub(super) fn spelt_out(node: NodeProto, names: &mut Names) -> Vec<NodeProto> {
    if node.domain != "com.microsoft" {
        return vec![node];
    }
    let spelt = match node.op_type.as_str() {
        "QuantizeLinear" | "DequantizeLinear" => Some(vec![NodeProto {
            domain: String::new(),
            ..node.clone()
        }]),
        "QLinearAdd" => spell(&node, names, "Add", &[0, 3], 6, &[]),
        "QLinearMul" => spell(&node, names, "Mul", &[0, 3], 6, &[]),
        "QLinearSigmoid" => spell(&node, names, "Sigmoid", &[0], 3, &[]),
        "QLinearLeakyRelu" => spell(&node, names, "LeakyRelu", &[0], 3, &["alpha"]),
        "QLinearSoftmax" if int(&node, "opset").is_some_and(|opset| opset >= 13) => {
            spell(&node, names, "Softmax", &[0], 3, &["axis"])
        }
        "QLinearAveragePool" if channels_first(&node) => {
            let kept = [
                "auto_pad",
                "ceil_mode",
                "count_include_pad",
                "kernel_shape",
                "pads",
                "strides",
            ];
            spell(&node, names, "AveragePool", &[0], 3, &kept)
        }
        "QLinearGlobalAveragePool" if channels_first(&node) => {
            spell(&node, names, "GlobalAveragePool", &[0], 3, &[])
        }
        "QLinearConcat" => {
            let parts: Vec<usize> = (2..node.input.len()).step_by(3).collect();
            spell(&node, names, "Concat", &parts, 0, &["axis"])
        }
        "QGemm" => gemm(&node, names),
        _ => None,
    };
    spelt.unwrap_or_else(|| vec![node])
}

/// A node's integer attribute.
fn int(node: &NodeProto, name: &str) -> Option<i64> {
    Attributes { file: "", node }.int(name, 0).ok()
}

fn channels_first(node: &NodeProto) -> bool {
    int(node, "channels_last") == Some(0)
}

fn input(node: &NodeProto, index: usize) -> Option<&str> {
    let name = node.input.get(index).map(String::as_str);
    name.filter(|name| !name.is_empty())
}

/// `codes`: where each tensor of codes stands, followed by its scale and zero
/// point; `end`: where the scale and the zero point of the output stand.
fn spell(
    node: &NodeProto,
    names: &mut Names,
    op_type: &str,
    codes: &[usize],
    end: usize,
    kept: &[&str],
) -> Option<Vec<NodeProto>> {
    let mut nodes = Vec::with_capacity(codes.len() + 2);
    let mut operands = Vec::with_capacity(codes.len());
    for &at in codes {
        operands.push(dequantize(node, names, at, None, &mut nodes)?);
    }
    let sum = names.fresh(format!("{}.real", node.output.first()?));
    nodes.push(NodeProto {
        name: node.name.clone(),
        op_type: op_type.into(),
        input: operands,
        output: vec![sum.clone()],
        attribute: attributes(node, kept),
        ..NodeProto::default()
    });
    nodes.push(quantize(node, sum, end)?);
    Some(nodes)
}

fn attributes(node: &NodeProto, kept: &[&str]) -> Vec<AttributeProto> {
    let all = node.attribute.iter();
    all.filter(|a| kept.contains(&a.name.as_str()))
        .cloned()
        .collect()
}

/// Dequantizes the codes at an input; the name of their values.
fn dequantize(
    node: &NodeProto,
    names: &mut Names,
    at: usize,
    axis: Option<i64>,
    nodes: &mut Vec<NodeProto>,
) -> Option<String> {
    let value = names.fresh(format!("{}.{at}.real", node.output.first()?));
    let mut inputs = vec![input(node, at)?.to_owned(), input(node, at + 1)?.to_owned()];
    inputs.extend(input(node, at + 2).map(str::to_owned));
    let axis = axis.map(|axis| AttributeProto {
        name: "axis".into(),
        r#type: kind::INT,
        i: Some(axis),
        ..AttributeProto::default()
    });
    nodes.push(NodeProto {
        op_type: "DequantizeLinear".into(),
        input: inputs,
        output: vec![value.clone()],
        attribute: axis.into_iter().collect(),
        ..NodeProto::default()
    });
    Some(value)
}

/// Quantizes a value to the node's output.
fn quantize(node: &NodeProto, value: String, end: usize) -> Option<NodeProto> {
    let mut inputs = vec![value, input(node, end)?.to_owned()];
    inputs.extend(input(node, end + 1).map(str::to_owned));
    Some(NodeProto {
        op_type: "QuantizeLinear".into(),
        input: inputs,
        output: node.output.clone(),
        ..NodeProto::default()
    })
}

/// QGemm: A, B and the bias C, whose scale is the product of theirs; without a
/// scale of the output it is real.
fn gemm(node: &NodeProto, names: &mut Names) -> Option<Vec<NodeProto>> {
    let a = Attributes { file: "", node };
    if a.float("alpha", 1.0).ok()? != 1.0 {
        return None;
    }
    let output = node.output.first()?;
    let mut nodes = Vec::new();
    let turned = int(node, "transB")? != 0;
    let mut operands = vec![
        dequantize(node, names, 0, None, &mut nodes)?,
        dequantize(node, names, 3, Some(i64::from(!turned)), &mut nodes)?,
    ];
    if let Some(bias) = input(node, 6) {
        let scale = names.fresh(format!("{output}.bias_scale"));
        nodes.push(NodeProto {
            op_type: "Mul".into(),
            input: vec![input(node, 1)?.to_owned(), input(node, 4)?.to_owned()],
            output: vec![scale.clone()],
            ..NodeProto::default()
        });
        let real = names.fresh(format!("{output}.bias"));
        nodes.push(NodeProto {
            op_type: "DequantizeLinear".into(),
            input: vec![bias.to_owned(), scale],
            output: vec![real.clone()],
            attribute: vec![AttributeProto {
                name: "axis".into(),
                r#type: kind::INT,
                i: Some(0),
                ..AttributeProto::default()
            }],
            ..NodeProto::default()
        });
        operands.push(real);
    }
    let quantized = input(node, 7).is_some();
    let sum = match quantized {
        true => names.fresh(format!("{output}.real")),
        false => output.clone(),
    };
    nodes.push(NodeProto {
        name: node.name.clone(),
        op_type: "Gemm".into(),
        input: operands,
        output: vec![sum.clone()],
        attribute: attributes(node, &["transA", "transB"]),
        ..NodeProto::default()
    });
    if quantized {
        nodes.push(quantize(node, sum, 7)?);
    }
    Some(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op_type: &str, input: &[&str]) -> NodeProto {
        NodeProto {
            domain: "com.microsoft".into(),
            op_type: op_type.into(),
            input: input.iter().map(|&i| i.to_owned()).collect(),
            output: vec!["y".into()],
            ..NodeProto::default()
        }
    }

    fn types(nodes: &[NodeProto]) -> Vec<&str> {
        nodes.iter().map(|n| n.op_type.as_str()).collect()
    }

    #[test]
    fn sums_joins_and_gemms_are_spelt_out() {
        let mut names = Names::default();
        let add = node(
            "QLinearAdd",
            &["a", "as", "az", "b", "bs", "bz", "ys", "yz"],
        );
        let nodes = spelt_out(add, &mut names);
        assert_eq!(
            types(&nodes),
            [
                "DequantizeLinear",
                "DequantizeLinear",
                "Add",
                "QuantizeLinear"
            ]
        );
        assert_eq!(nodes[1].input, ["b", "bs", "bz"]);
        assert_eq!(
            nodes[2].input,
            [nodes[0].output[0].as_str(), &nodes[1].output[0]]
        );
        assert_eq!(nodes[3].input[1..], ["ys", "yz"]);
        assert_eq!(nodes[3].output, ["y"]);

        let join = node(
            "QLinearConcat",
            &["ys", "yz", "a", "as", "az", "b", "bs", "bz"],
        );
        let nodes = spelt_out(join, &mut names);
        assert_eq!(nodes[1].input, ["b", "bs", "bz"]);
        assert_eq!(nodes[3].input[1..], ["ys", "yz"]);

        let gemm = node("QGemm", &["a", "as", "az", "b", "bs", "bz", "c"]);
        let nodes = spelt_out(gemm, &mut names);
        let expected = [
            "DequantizeLinear",
            "DequantizeLinear",
            "Mul",
            "DequantizeLinear",
            "Gemm",
        ];
        assert_eq!(types(&nodes), expected);
        assert_eq!(nodes[4].output, ["y"]);
    }

    #[test]
    fn what_has_no_form_in_f32_stays() {
        let mut names = Names::default();
        for other in [
            node("QAttention", &["a"]),
            node("QLinearSoftmax", &["x", "xs", "xz", "ys", "yz"]),
            node("QLinearAdd", &["a"]),
        ] {
            assert_eq!(spelt_out(other.clone(), &mut names), [other]);
        }
    }
}
