//! The strings of a file, each kept once and front-coded: the bytes shared with
//! the string before are only counted.

use super::bytes::{Damage, Reader, put_varint};
use indexmap::IndexSet;
use std::cell::Cell;

/// Most bytes of names that one file may unfold to. References are short and
/// names may be long, so the file's length alone does not bound them.
const MAX_UNFOLDED: usize = 1 << 28;

/// Collects names while a file is written.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: IndexSet<String>,
}

impl Names {
    pub(super) fn id(&mut self, name: &str) -> usize {
        match self.names.get_index_of(name) {
            Some(id) => id,
            None => self.names.insert_full(name.to_owned()).0,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, self.names.len() as u64);
        let mut before: &[u8] = &[];
        for name in &self.names {
            let name = name.as_bytes();
            let shared = name.iter().zip(before).take_while(|(a, b)| a == b).count();
            put_varint(out, shared as u64);
            put_varint(out, (name.len() - shared) as u64);
            out.extend_from_slice(&name[shared..]);
            before = name;
        }
    }
}

/// The names of a file that is read.
#[derive(Debug, Default)]
pub(super) struct NameTable {
    names: Vec<String>,
    unfolded: Cell<usize>,
}

impl NameTable {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Damage> {
        let mut unfolded = 0;
        let mut before: Vec<u8> = Vec::new();
        let names = reader.list(|reader| {
            let shared = reader.size()?;
            if shared > before.len() {
                return Err(reader.damage("a name shares more than the name before has"));
            }
            before.truncate(shared);
            before.extend_from_slice(reader.blob()?);
            unfolded += before.len();
            if unfolded > MAX_UNFOLDED {
                return Err(reader.damage("names of more than 256 MiB"));
            }
            String::from_utf8(before.clone()).map_err(|_| reader.damage("a name is not UTF-8"))
        })?;
        Ok(Self {
            names,
            unfolded: Cell::new(unfolded),
        })
    }

    /// The name of a reference, or what is wrong with it.
    pub(super) fn get(&self, id: usize) -> Result<String, String> {
        let name = self
            .names
            .get(id)
            .ok_or_else(|| format!("name {id} of a table of {}", self.names.len()))?;
        self.unfolded.set(self.unfolded.get() + name.len());
        if self.unfolded.get() > MAX_UNFOLDED {
            return Err("names of more than 256 MiB".into());
        }
        Ok(name.clone())
    }
}
