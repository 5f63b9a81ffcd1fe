//! A node's attributes, with their defaults and checks.

use super::proto::{AttributeProto, NodeProto, SparseTensorProto, TensorProto};
use crate::IoError;

/// `AttributeProto.AttributeType` numbers.
pub(super) mod kind {
    pub(in super::super) const FLOAT: i32 = 1;
    pub(in super::super) const INT: i32 = 2;
    pub(in super::super) const STRING: i32 = 3;
    pub(in super::super) const TENSOR: i32 = 4;
    pub(in super::super) const FLOATS: i32 = 6;
    pub(in super::super) const INTS: i32 = 7;
    pub(in super::super) const STRINGS: i32 = 8;
    pub(in super::super) const SPARSE_TENSOR: i32 = 11;
}

/// Reads a node's attributes; errors name the node and the attribute.
pub(super) struct Attributes<'a> {
    pub(super) file: &'a str,
    pub(super) node: &'a NodeProto,
}

impl<'a> Attributes<'a> {
    /// "Malformed" at this node.
    pub(super) fn malformed(&self, reason: impl Into<String>) -> IoError {
        let node = self.node;
        let name = match (&node.name, node.output.first()) {
            (name, Some(output)) if name.is_empty() => format!("computing `{output}`"),
            (name, _) => format!("`{name}`"),
        };
        IoError::malformed(self.file, format!("node {name} ({})", node.op_type), reason)
    }

    /// Whether the attribute is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.node.attribute.iter().any(|a| a.name == name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, IoError> {
        let found = self.find(name, kind::INT)?;
        Ok(found.map_or(default, |a| a.i.unwrap_or_default()))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, IoError> {
        Ok(self.int(name, 0)? != 0)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, IoError> {
        let found = self.find(name, kind::FLOAT)?;
        Ok(found.map_or(default, |a| a.f.unwrap_or_default()))
    }

    pub(super) fn floats(&self, name: &str) -> Result<Option<&'a [f32]>, IoError> {
        Ok(self.find(name, kind::FLOATS)?.map(|a| a.floats.as_slice()))
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<&'a [i64]>, IoError> {
        Ok(self.find(name, kind::INTS)?.map(|a| a.ints.as_slice()))
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<&'a str>, IoError> {
        self.find(name, kind::STRING)?
            .map(|a| std::str::from_utf8(a.s.as_deref().unwrap_or_default()))
            .transpose()
            .map_err(|_| self.malformed(format!("attribute `{name}` is no UTF-8 text")))
    }

    /// A list of texts; none when the attribute is absent.
    pub(super) fn strings(&self, name: &str) -> Result<Vec<&'a str>, IoError> {
        let found = self.find(name, kind::STRINGS)?;
        let list = found.map_or(&[][..], |a| a.strings.as_slice());
        list.iter()
            .map(|text| std::str::from_utf8(text))
            .collect::<Result<_, _>>()
            .map_err(|_| self.malformed(format!("attribute `{name}` is no UTF-8 text")))
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<&'a TensorProto>, IoError> {
        Ok(self.find(name, kind::TENSOR)?.and_then(|a| a.t.as_ref()))
    }

    pub(super) fn sparse_tensor(
        &self,
        name: &str,
    ) -> Result<Option<&'a SparseTensorProto>, IoError> {
        let found = self.find(name, kind::SPARSE_TENSOR)?;
        Ok(found.and_then(|a| a.sparse_tensor.as_ref()))
    }

    /// Non-negative integers; none when the attribute is absent.
    pub(super) fn extents(&self, name: &str) -> Result<Vec<usize>, IoError> {
        let ints = self.ints(name)?.unwrap_or_default();
        ints.iter()
            .map(|&i| {
                usize::try_from(i).map_err(|_| {
                    self.malformed(format!(
                        "attribute `{name}` must not be negative, found {i}"
                    ))
                })
            })
            .collect()
    }

    fn find(&self, name: &str, needed: i32) -> Result<Option<&'a AttributeProto>, IoError> {
        let Some(found) = self.node.attribute.iter().find(|a| a.name == name) else {
            return Ok(None);
        };
        // Files before IR version 2 leave the type out.
        match found.r#type {
            0 => Ok(Some(found)),
            kind if kind == needed => Ok(Some(found)),
            kind => Err(self.malformed(format!(
                "attribute `{name}` needs attribute type {needed}, found {kind}"
            ))),
        }
    }
}
