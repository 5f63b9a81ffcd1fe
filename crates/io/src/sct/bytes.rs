//! Numbers and names as bytes: little-endian, LEB128 lengths, zigzag integers.

use super::names::{NameTable, Names};

/// What is wrong with the bytes, and where in the file.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) offset: usize,
    pub(super) reason: String,
}

/// The body of a section while it is written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    pub(super) names: Names,
    /// A coded plane, and where among the bytes it belongs.
    pub(super) plane: Option<(usize, Vec<u8>)>,
}

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn varint(&mut self, value: u64) {
        put_varint(&mut self.bytes, value);
    }

    pub(super) fn size(&mut self, value: usize) {
        self.varint(value as u64);
    }

    pub(super) fn signed(&mut self, value: i64) {
        self.varint((value << 1 ^ value >> 63) as u64);
    }

    pub(super) fn f32(&mut self, value: f32) {
        self.bytes.extend(value.to_le_bytes());
    }

    pub(super) fn sizes(&mut self, values: &[usize]) {
        self.size(values.len());
        values.iter().for_each(|&v| self.size(v));
    }

    /// Bytes behind their count.
    pub(super) fn blob(&mut self, bytes: &[u8]) {
        self.size(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// The coded plane of the weight that is written.
    pub(super) fn plane(&mut self, plane: Vec<u8>) {
        self.plane = Some((self.bytes.len(), plane));
    }

    /// A reference to a string that is kept once in the file.
    pub(super) fn name(&mut self, name: &str) {
        let id = self.names.id(name);
        self.size(id);
    }

    pub(super) fn names(&mut self, names: &[String]) {
        self.size(names.len());
        names.iter().for_each(|name| self.name(name));
    }
}

/// Appends an unsigned LEB128 number.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A place in the bytes of a section; every read is checked.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offset of `bytes` in the file.
    base: usize,
    names: &'a NameTable,
    /// Elements that tensors may still have.
    elements_left: usize,
    /// Coded planes, where they stand apart, and the offset of the first of them.
    planes: Option<(&'a [u8], usize)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], base: usize, names: &'a NameTable) -> Self {
        Self {
            bytes,
            at: 0,
            base,
            names,
            elements_left: 0,
            planes: None,
        }
    }

    /// The same, for planes that stand apart, from `offset` of the file.
    pub(super) fn with_planes(self, planes: &'a [u8], offset: usize) -> Self {
        Self {
            planes: Some((planes, offset)),
            ..self
        }
    }

    /// The same, for tensors of at most so many elements in sum.
    pub(super) fn with_elements(self, elements_left: usize) -> Self {
        Self {
            elements_left,
            ..self
        }
    }

    /// Counts a tensor's elements, before anything is allocated for them.
    pub(super) fn count_elements(&mut self, elements: usize) -> Result<(), Damage> {
        let left = self.elements_left.checked_sub(elements).ok_or_else(|| {
            self.damage(format!(
                "a tensor of {elements} elements, where a file of this size may have {} more",
                self.elements_left
            ))
        })?;
        self.elements_left = left;
        Ok(())
    }

    /// Offset in the file.
    pub(super) fn offset(&self) -> usize {
        self.base + self.at
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn damage(&self, reason: impl Into<String>) -> Damage {
        Damage {
            offset: self.offset(),
            reason: reason.into(),
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(taken) = rest.get(..count) else {
            return Err(self.damage(format!("{count} bytes are needed, {} are left", rest.len())));
        };
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Damage> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn flag(&mut self) -> Result<bool, Damage> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.damage(format!("a flag must be 0 or 1, found {other}"))),
        }
    }

    pub(super) fn u32(&mut self) -> Result<u32, Damage> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn f32(&mut self) -> Result<f32, Damage> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    pub(super) fn varint(&mut self) -> Result<u64, Damage> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7F);
            if part << shift >> shift != part {
                break;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.damage("a number is longer than 64 bits"))
    }

    pub(super) fn size(&mut self) -> Result<usize, Damage> {
        let value = self.varint()?;
        usize::try_from(value).map_err(|_| self.damage(format!("{value} is no size")))
    }

    pub(super) fn signed(&mut self) -> Result<i64, Damage> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A count, then as many items, each at least one byte.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Damage>,
    ) -> Result<Vec<T>, Damage> {
        let count = self.size()?;
        if count > self.remaining() {
            return Err(self.damage(format!(
                "a list of {count} entries, {} bytes are left",
                self.remaining()
            )));
        }
        (0..count).map(|_| item(self)).collect()
    }

    pub(super) fn sizes(&mut self) -> Result<Vec<usize>, Damage> {
        self.list(Self::size)
    }

    pub(super) fn blob(&mut self) -> Result<&'a [u8], Damage> {
        let count = self.size()?;
        self.take(count)
    }

    /// Whether planes stand apart.
    pub(super) fn has_planes(&self) -> bool {
        self.planes.is_some()
    }

    /// A coded plane and its offset in the file.
    pub(super) fn plane(&mut self) -> Result<(&'a [u8], usize), Damage> {
        let Some((planes, at)) = self.planes else {
            let count = self.size()?;
            let at = self.offset();
            return Ok((self.take(count)?, at));
        };
        let count = self.size()?;
        let Some((plane, rest)) = planes.split_at_checked(count) else {
            return Err(Damage {
                offset: at,
                reason: format!("{count} bytes are needed, {} are left", planes.len()),
            });
        };
        self.planes = Some((rest, at + count));
        Ok((plane, at))
    }

    /// Bytes that count as a constant's: its own, or where planes stand apart, of its plane.
    pub(super) fn spent(&self) -> usize {
        self.planes.map_or(self.offset(), |(_, at)| at)
    }

    pub(super) fn text(&mut self) -> Result<String, Damage> {
        let bytes = self.blob()?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.damage("a text is not UTF-8"))
    }

    pub(super) fn name(&mut self) -> Result<String, Damage> {
        let id = self.size()?;
        self.names.get(id).map_err(|reason| self.damage(reason))
    }

    pub(super) fn names(&mut self) -> Result<Vec<String>, Damage> {
        self.list(Self::name)
    }

    pub(super) fn end(&self) -> Result<(), Damage> {
        let planes = self.planes.map_or(0, |(planes, _)| planes.len());
        match self.remaining() + planes {
            0 => Ok(()),
            left => Err(self.damage(format!("{left} bytes are left over"))),
        }
    }
}
