//! One block of bytes for all activations of a run, and typed views of it.

use crate::{EngineError, memory};
use half::{bf16, f16};
use secateur_model::{DType, Data, ModelError, Shape, Tensor};
use secateur_plan::memory::ALIGNMENT;
use std::ops::Range;

/// A block that begins on a cache line.
#[derive(Debug)]
pub struct Arena {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Arena {
    /// `len` zero bytes.
    ///
    /// # Errors
    /// [`EngineError::Memory`] where the system does not give so many.
    pub fn new(len: usize) -> Result<Self, EngineError> {
        let mut memory = Vec::new();
        let whole = len.saturating_add(ALIGNMENT);
        if !memory::may_have(whole as u64) {
            return Err(EngineError::Memory { bytes: len });
        }
        memory
            .try_reserve_exact(whole)
            .map_err(|_| EngineError::Memory { bytes: len })?;
        memory.resize(whole, 0);
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Ok(Self { memory, start, len })
    }

    /// All bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.len]
    }
}

/// Ranges of the arena that do not overlap.
pub fn views<'a, const N: usize>(
    arena: &'a mut [u8],
    ranges: [Range<usize>; N],
    step: &str,
) -> Result<[&'a mut [u8]; N], EngineError> {
    arena
        .get_disjoint_mut(ranges)
        .map_err(|_| EngineError::Buffers { step: step.into() })
}

/// What is left of an arena to read while two ranges are written.
pub struct Reads<'a> {
    /// Pieces with where they begin.
    pieces: [(usize, &'a [u8]); 3],
}

impl<'a> Reads<'a> {
    /// A range that lies in none of those that are written.
    pub fn get(&self, range: Range<usize>) -> Option<&'a [u8]> {
        self.pieces.iter().find_map(|(start, bytes)| {
            let at = range.start.checked_sub(*start)?;
            bytes.get(at..at.checked_add(range.len())?)
        })
    }
}

/// Two ranges to write, either of which may be empty, and the rest to read, in which inputs may be the
/// same.
pub fn apart(arena: &mut [u8], [a, b]: [Range<usize>; 2]) -> Option<([&mut [u8]; 2], Reads<'_>)> {
    let swapped = (b.start, b.end) < (a.start, a.end);
    let (first, second) = if swapped { (b, a) } else { (a, b) };
    let (before, rest) = arena.split_at_mut_checked(first.start)?;
    let (first_bytes, rest) = rest.split_at_mut_checked(first.len())?;
    let (between, rest) = rest.split_at_mut_checked(second.start.checked_sub(first.end)?)?;
    let (second_bytes, after) = rest.split_at_mut_checked(second.len())?;
    let pieces = [(0, &*before), (first.end, &*between), (second.end, &*after)];
    let written = match swapped {
        true => [second_bytes, first_bytes],
        false => [first_bytes, second_bytes],
    };
    Some((written, Reads { pieces }))
}

/// A tensor's bytes, of the types that steps read.
pub fn bytes_of(tensor: &Tensor) -> Option<&[u8]> {
    Some(match tensor.data() {
        Data::F32(v) => bytemuck::cast_slice(v),
        Data::F64(v) => bytemuck::cast_slice(v),
        Data::I8(v) => bytemuck::cast_slice(v),
        Data::U8(v) => v,
        Data::I16(v) => bytemuck::cast_slice(v),
        Data::U16(v) => bytemuck::cast_slice(v),
        Data::I32(v) => bytemuck::cast_slice(v),
        Data::U32(v) => bytemuck::cast_slice(v),
        Data::I64(v) => bytemuck::cast_slice(v),
        Data::U64(v) => bytemuck::cast_slice(v),
        Data::Bool(v) => bytemuck::cast_slice(v),
        Data::F16(_) | Data::BF16(_) | Data::Opaque { .. } => return None,
    })
}

/// Copies elements out of their bytes, of this machine's order, as a tensor.
///
/// # Errors
/// Another number of elements than the shape's, a type that is only carried.
pub fn read(bytes: &[u8], dtype: DType, shape: &Shape) -> Result<Tensor, ModelError> {
    macro_rules! elements {
        ($type:ty) => {
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|&b| <$type>::from_ne_bytes(b))
                .collect()
        };
    }
    let data = match dtype {
        DType::F32 => Data::F32(elements!(f32)),
        DType::F64 => Data::F64(elements!(f64)),
        DType::F16 => Data::F16(elements!(f16)),
        DType::BF16 => Data::BF16(elements!(bf16)),
        DType::I8 => Data::I8(elements!(i8)),
        DType::U8 => Data::U8(bytes.to_vec()),
        DType::I16 => Data::I16(elements!(i16)),
        DType::U16 => Data::U16(elements!(u16)),
        DType::I32 => Data::I32(elements!(i32)),
        DType::U32 => Data::U32(elements!(u32)),
        DType::I64 => Data::I64(elements!(i64)),
        DType::U64 => Data::U64(elements!(u64)),
        DType::Bool => Data::Bool(bytes.iter().map(|&b| b != 0).collect()),
        DType::Opaque(_) => {
            return Err(ModelError::Type {
                what: "buffer".into(),
                needed: DType::F32,
                found: dtype,
            });
        }
    };
    Tensor::new(shape.clone(), data)
}

/// Copies a tensor into a buffer of as many bytes; `false` where it has
/// another size.
pub fn write(tensor: &Tensor, bytes: &mut [u8]) -> bool {
    if tensor.bytes() != bytes.len() {
        return false;
    }
    macro_rules! elements {
        ($values:expr) => {
            for (to, value) in bytes.as_chunks_mut().0.iter_mut().zip($values) {
                *to = value.to_ne_bytes();
            }
        };
    }
    match tensor.data() {
        Data::F32(v) => bytes.copy_from_slice(bytemuck::cast_slice(v)),
        Data::U8(v) => bytes.copy_from_slice(v),
        Data::F64(v) => elements!(v),
        Data::F16(v) => elements!(v),
        Data::BF16(v) => elements!(v),
        Data::I8(v) => elements!(v),
        Data::I16(v) => elements!(v),
        Data::U16(v) => elements!(v),
        Data::I32(v) => elements!(v),
        Data::U32(v) => elements!(v),
        Data::I64(v) => elements!(v),
        Data::U64(v) => elements!(v),
        Data::Bool(v) => {
            for (to, &value) in bytes.iter_mut().zip(v) {
                *to = u8::from(value);
            }
        }
        Data::Opaque { .. } => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_come_back_as_they_went() {
        let tensors = [
            Tensor::f32(&[3], vec![1.0, -2.5, f32::MAX]).unwrap(),
            Tensor::i64(&[2], vec![i64::MIN, 7]).unwrap(),
            Tensor::new(Shape::new(&[2]).unwrap(), Data::Bool(vec![true, false])).unwrap(),
            Tensor::i8(&[0], vec![]).unwrap(),
        ];
        for tensor in tensors {
            let mut arena = Arena::new(tensor.bytes()).unwrap();
            assert!(write(&tensor, arena.bytes()));
            assert_eq!(
                read(arena.bytes(), tensor.dtype(), tensor.shape()).unwrap(),
                tensor
            );
            assert!(!write(&tensor, &mut [0; 99]));
        }
    }

    #[test]
    fn what_is_not_written_is_read() {
        let mut arena: Vec<u8> = (0..10).collect();
        for [a, b] in [[2..4, 6..7], [6..7, 2..4], [2..2, 2..4], [2..4, 2..2]] {
            let (lens, outside) = ([a.len(), b.len()], [0..2, 4..6, 7..10]);
            let (written, reads) = apart(&mut arena, [a.clone(), b]).unwrap();
            assert_eq!(written.map(|w| w.len()), lens);
            assert!(a.is_empty() || reads.get(a.start..a.start + 1).is_none());
            for range in outside {
                let expected: Vec<u8> = range.clone().map(|i| i as u8).collect();
                assert_eq!(reads.get(range).unwrap(), expected);
            }
        }
        assert!(apart(&mut arena, [2..5, 4..6]).is_none());
        assert!(apart(&mut arena, [2..5, 9..11]).is_none());
    }

    #[test]
    fn arenas_begin_on_a_line() {
        let huge = Arena::new(usize::MAX / 2).unwrap_err();
        assert!(matches!(huge, EngineError::Memory { .. }), "{huge}");
        assert_eq!(
            Arena::new(10).unwrap().bytes().as_ptr() as usize % ALIGNMENT,
            0
        );
    }
}
