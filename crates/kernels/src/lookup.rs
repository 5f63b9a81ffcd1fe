//! Functions of one code: a table with an entry for each.

use crate::{Isa, KernelError, error::check_len};

/// `y[i] = table[x[i]]`. Signed codes are looked up by their bits.
///
/// # Errors
/// When the lengths differ or the processor lacks the instruction set.
pub fn lookup(isa: Isa, table: &[u8; 256], x: &[u8], y: &mut [u8]) -> Result<(), KernelError> {
    check_len("looked up", x.len(), y.len())?;
    match isa.require()? {
        #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
        // SAFETY: `require` found the instruction set on this processor.
        Isa::Avx512Vnni => unsafe { crate::x86_64::codes::lookup_avx512(table, x, y) },
        _ => body(table, x, y),
    }
    Ok(())
}

/// Codes that are looked up in place at once.
const BLOCK: usize = 1024;

/// As [`lookup`], each code replaced by what the table has at its bits.
///
/// # Errors
/// When the processor lacks the instruction set.
pub(crate) fn look_up_in_place(
    isa: Isa,
    table: &[u8; 256],
    codes: &mut [u8],
) -> Result<(), KernelError> {
    let mut block = [0; BLOCK];
    for codes in codes.chunks_mut(BLOCK) {
        let block = &mut block[..codes.len()];
        block.copy_from_slice(codes);
        lookup(isa, table, block, codes)?;
    }
    Ok(())
}

/// One load for each code: without a permutation of 256 bytes, nothing is faster.
#[inline(always)]
pub(crate) fn body(table: &[u8; 256], x: &[u8], y: &mut [u8]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = table[usize::from(x)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_at_every_length() {
        let table: [u8; 256] = std::array::from_fn(|i| (i as u8).wrapping_mul(37) ^ 0x5a);
        let x: Vec<u8> = (0..1000).map(|i| (i * 7 % 256) as u8).collect();
        for isa in Isa::available() {
            for len in [0, 1, 63, 64, 65, 127, 256, 1000] {
                let mut y = vec![0; len];
                lookup(isa, &table, &x[..len], &mut y).unwrap();
                let expected: Vec<u8> = x[..len].iter().map(|&x| table[usize::from(x)]).collect();
                assert_eq!(y, expected, "{isa} {len}");
                y.copy_from_slice(&x[..len]);
                look_up_in_place(isa, &table, &mut y).unwrap();
                assert_eq!(y, expected, "{isa} {len}");
            }
            assert!(lookup(isa, &table, &[0; 2], &mut [0; 3]).is_err());
        }
    }
}
