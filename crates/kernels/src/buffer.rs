//! Packed weights start on a cache line, so that a vector load never straddles two.

use std::marker::PhantomData;

const LINE: usize = 64;

/// One cache line.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy)]
struct Line([u8; LINE]);

mod sealed {
    /// # Safety
    /// Every bit pattern is a value, and the type has no padding and an alignment of at most 64.
    pub unsafe trait Plain: Copy {}
    // SAFETY: integers and floats have neither padding nor invalid patterns.
    unsafe impl Plain for u8 {}
    // SAFETY: as above.
    unsafe impl Plain for i8 {}
    // SAFETY: as above.
    unsafe impl Plain for u32 {}
    // SAFETY: as above.
    unsafe impl Plain for i32 {}
    // SAFETY: as above.
    unsafe impl Plain for f32 {}
}
pub(crate) use sealed::Plain;

/// A fixed-length slice of plain numbers whose first element is 64-byte aligned.
#[derive(Debug, Clone)]
pub(crate) struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    plain: PhantomData<T>,
}

impl<T: Plain> Aligned<T> {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let bytes = len.saturating_mul(size_of::<T>());
        Self {
            lines: vec![Line([0; LINE]); bytes.div_ceil(LINE)],
            len,
            plain: PhantomData,
        }
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: `lines` owns at least `len` elements of initialised bytes, aligned to 64, and any
        // bytes are a `T`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() * LINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_line_and_keeps_its_values() {
        let mut buffer = Aligned::<f32>::zeros(17);
        buffer.as_mut_slice()[16] = 3.0;
        assert_eq!(buffer.as_slice().as_ptr() as usize % LINE, 0);
        assert_eq!(buffer.as_slice()[16], 3.0);
        assert_eq!(buffer.bytes(), 128);
        assert!(Aligned::<u8>::zeros(0).as_slice().is_empty());
    }
}
