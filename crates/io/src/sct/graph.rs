//! The graph section: names, inputs, outputs and nodes.

use super::bytes::{Damage, Reader, Writer};
use super::put_op::put_op;
use super::read_op::read_op;
use super::tensor::{put_dtype, read_dtype};
use secateur_model::{Dim, Graph, Node, ValueInfo};

/// Everything but constants and metadata.
pub(super) fn put_graph(w: &mut Writer, graph: &Graph) {
    w.name(&graph.name);
    w.signed(graph.opset);
    w.size(graph.other_opsets.len());
    for (domain, &opset) in &graph.other_opsets {
        w.name(domain);
        w.signed(opset);
    }
    for values in [&graph.inputs, &graph.outputs] {
        w.size(values.len());
        values.iter().for_each(|value| put_value(w, value));
    }
    w.size(graph.nodes.len());
    for node in &graph.nodes {
        w.name(&node.name);
        put_op(w, &node.op);
        w.names(&node.inputs);
        w.names(&node.outputs);
    }
}

pub(super) fn read_graph(r: &mut Reader<'_>) -> Result<Graph, Damage> {
    Ok(Graph {
        name: r.name()?,
        opset: r.signed()?,
        other_opsets: r
            .list(|r| Ok((r.name()?, r.signed()?)))?
            .into_iter()
            .collect(),
        inputs: r.list(read_value)?,
        outputs: r.list(read_value)?,
        nodes: r.list(read_node)?,
        ..Graph::default()
    })
}

fn read_node(r: &mut Reader<'_>) -> Result<Node, Damage> {
    Ok(Node {
        name: r.name()?,
        op: read_op(r)?,
        inputs: r.names()?,
        outputs: r.names()?,
    })
}

/// Extents are `0` for a named one, then its name, or one more than a fixed
/// one; the rank is one more than itself, `0` where it is open.
fn put_value(w: &mut Writer, value: &ValueInfo) {
    w.name(&value.name);
    put_dtype(w, value.dtype);
    let Some(dims) = &value.dims else {
        return w.size(0);
    };
    w.size(dims.len() + 1);
    for dim in dims {
        match dim {
            Dim::Known(extent) => w.varint((*extent as u64).saturating_add(1)),
            Dim::Named(name) => {
                w.size(0);
                w.name(name);
            }
        }
    }
}

fn read_value(r: &mut Reader<'_>) -> Result<ValueInfo, Damage> {
    let (name, dtype) = (r.name()?, read_dtype(r)?);
    let dims = match r.size()?.checked_sub(1) {
        None => None,
        Some(rank) => Some((0..rank).map(|_| read_dim(r)).collect::<Result<_, _>>()?),
    };
    Ok(ValueInfo { name, dtype, dims })
}

fn read_dim(r: &mut Reader<'_>) -> Result<Dim, Damage> {
    Ok(match r.size()?.checked_sub(1) {
        None => Dim::Named(r.name()?),
        Some(extent) => Dim::Known(extent),
    })
}
