//! If and Loop: their inner graphs stand in a file as ONNX has them.

#[cfg(feature = "onnx")]
pub(crate) use crate::onnx::{revive, spell_out};
#[cfg(not(feature = "onnx"))]
pub(crate) use without::{revive, spell_out};

/// Without ONNX they stay as they are: carried, and refused by whoever would run them.
#[cfg(not(feature = "onnx"))]
mod without {
    use crate::IoError;
    use secateur_model::{Graph, Op};
    use std::borrow::Cow;

    pub fn revive(_: &str, _: &mut Graph) -> Result<(), IoError> {
        Ok(())
    }

    pub fn spell_out(graph: &Graph) -> Result<Cow<'_, Graph>, IoError> {
        let control = graph.nodes.iter().find(|n| matches!(n.op, Op::Control(_)));
        match control {
            Some(node) => Err(IoError::unsupported(
                &graph.name,
                format!("node `{}`", node.name),
                "its inner graphs are written with ONNX, which this was built without",
            )),
            None => Ok(Cow::Borrowed(graph)),
        }
    }
}
