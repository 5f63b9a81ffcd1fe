//! The frame of a section: tag, length, body, CRC-32 of all three.

use super::bytes::{Damage, Reader, put_varint};

/// The sections of a file, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Graph,
    Tensors,
    Metadata,
}

impl Section {
    fn tag(self) -> u8 {
        match self {
            Self::Graph => b'G',
            Self::Tensors => b'T',
            Self::Metadata => b'M',
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Tensors => "tensors",
            Self::Metadata => "metadata",
        }
    }

    /// Appends the section to a file.
    pub(super) fn write(self, out: &mut Vec<u8>, body: &[u8]) {
        let start = out.len();
        out.push(self.tag());
        put_varint(out, body.len() as u64);
        out.extend_from_slice(body);
        let crc = crc32fast::hash(&out[start..]);
        out.extend(crc.to_le_bytes());
    }

    /// The section's body and its offset in the file, checked against its CRC.
    pub(super) fn read<'a>(self, file: &mut Reader<'a>) -> Result<(&'a [u8], usize), Damage> {
        let mut whole = file.clone();
        let start = file.offset();
        let tag = file.byte()?;
        if tag != self.tag() {
            return Err(Damage {
                offset: start,
                reason: format!("tag {:#04x} is needed, found {tag:#04x}", self.tag()),
            });
        }
        let length = file.size()?;
        let offset = file.offset();
        let body = file.take(length)?;
        let covered = whole.take(file.offset() - start)?;
        let (found, needed) = (file.u32()?, crc32fast::hash(covered));
        if found != needed {
            return Err(Damage {
                offset: start,
                reason: format!("CRC-32 is {needed:08x}, the file says {found:08x}"),
            });
        }
        Ok((body, offset))
    }
}
