//! Gemm's constant weights as `[out, in]`, so that a weight's rows are output
//! channels, as criteria, scales and kernels take them to be.

use secateur_model::{Constant, Data, Graph, Node, Op, Shape, Tensor};
use std::collections::{BTreeSet, HashSet};

/// A weight that is turned, and who says so.
struct Turn {
    /// The constant: the weight, or its codes.
    constant: String,
    /// The node that dequantizes it.
    dequantize: Option<usize>,
    /// The nodes that multiply by it.
    gemms: Vec<usize>,
}

/// Turns every constant weight that only Gemms read, and all as `[in, out]`.
pub(super) fn turn_weights(graph: &mut Graph) {
    for turn in turns(graph) {
        let Some(Constant::Tensor(tensor)) = graph.constants.get_mut(&turn.constant) else {
            continue;
        };
        let Some(turned) = transposed(tensor) else {
            continue;
        };
        *tensor = turned;
        for index in turn.gemms {
            if let Op::Gemm { trans_b, .. } = &mut graph.nodes[index].op {
                *trans_b = true;
            }
        }
        if let Some(index) = turn.dequantize
            && let Op::DequantizeLinear { axis, .. } = &mut graph.nodes[index].op
        {
            *axis = if matches!(axis, 0 | -2) { 1 } else { 0 };
        }
    }
}

fn turns(graph: &Graph) -> Vec<Turn> {
    let (producers, consumers) = (graph.producers(), graph.consumers());
    let outputs: HashSet<&str> = graph.outputs.iter().map(|o| o.name.as_str()).collect();
    let multiplies = |node: &Node, name: &str| {
        matches!(node.op, Op::Gemm { trans_b: false, .. })
            && node.input(1) == Some(name)
            && [0, 2].iter().all(|&i| node.input(i) != Some(name))
    };
    let names: BTreeSet<&str> = graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op, Op::Gemm { .. }))
        .filter_map(|n| n.input(1))
        .collect();
    let turn = |name: &str| {
        let gemms = consumers.get(name)?;
        let all = gemms.iter().all(|&g| multiplies(&graph.nodes[g], name));
        if !all || outputs.contains(name) {
            return None;
        }
        let gemms = gemms.clone();
        let Some(&dequantize) = producers.get(name) else {
            return Some(Turn {
                constant: name.to_owned(),
                dequantize: None,
                gemms,
            });
        };
        let node = &graph.nodes[dequantize];
        let codes = node.input(0)?;
        let alone = consumers.get(codes).is_some_and(|c| c.len() == 1) && !outputs.contains(codes);
        let whole = matches!(
            node.op,
            Op::DequantizeLinear {
                axis: -2..=1,
                block_size: 0
            }
        );
        (alone && whole).then(|| Turn {
            constant: codes.to_owned(),
            dequantize: Some(dequantize),
            gemms,
        })
    };
    names.into_iter().filter_map(turn).collect()
}

/// A matrix of f32 or int8, rows and columns exchanged.
fn transposed(tensor: &Tensor) -> Option<Tensor> {
    fn turn<T: Copy>(values: &[T], columns: usize) -> Vec<T> {
        (0..columns)
            .flat_map(|column| values.iter().skip(column).step_by(columns).copied())
            .collect()
    }
    let [rows, columns] = *tensor.shape().dims() else {
        return None;
    };
    let data = match tensor.data() {
        Data::F32(values) => Data::F32(turn(values, columns)),
        Data::I8(values) => Data::I8(turn(values, columns)),
        _ => return None,
    };
    Tensor::new(Shape::new(&[columns, rows]).ok()?, data).ok()
}
