//! Products of two matrices of codes, neither of which is known beforehand:
//! attention.

use crate::codes::{Codes, CodesOut, Rounding, check_factor};
use crate::{
    Isa, KernelError,
    error::{check_len, product},
};

/// Columns of a panel.
pub(crate) const LANES: usize = 16;

/// Longest sum that fits: 33025 · 255² < 2³¹.
const MAX_DEPTH: usize = 33_025;

/// `acc = Σ (a − za)(b − zb)` over `k`, exact; then `saturate(round_half_even(acc · factor) + zy)` or
/// `acc · factor`. `a: [m, k]`, of unsigned codes, and `b: [k, n]`, give `y: [m, n]`.
///
/// `b` is packed into working memory first: groups of 4 of its rows, 16 columns a panel, as signed
/// bytes; the zero points are taken off by the sums of rows and columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatmulCodes {
    a: Codes,
    b: Codes,
    pub(crate) factor: f32,
    pub(crate) end: Option<Rounding>,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
}

/// Packed columns.
struct Panels<'a> {
    /// `[panel][k / 4][16][4]`.
    codes: &'a [u8],
    /// What the zero points add to the sums of each column, as bytes of i32.
    terms: &'a [u8],
}

impl MatmulCodes {
    /// `(depth, columns)`: `k` and `n`; `factor`: `sa·sb/sy`, or `sa·sb` where `y` is real.
    ///
    /// # Errors
    /// Signed codes of `a`, a factor that is not finite, a sum that might not fit 32 bits.
    pub fn new(
        a: Codes,
        b: Codes,
        factor: f32,
        y: Option<Codes>,
        (depth, columns): (usize, usize),
    ) -> Result<Self, KernelError> {
        check_factor(factor)?;
        if a.flip != 0 {
            return Err(KernelError::Parameter {
                what: "first factor",
                reason: "needed unsigned codes",
            });
        }
        if depth > MAX_DEPTH {
            return Err(KernelError::TooDeep {
                depth,
                max: MAX_DEPTH,
            });
        }
        let all = |y: Codes| (-i32::from(y.flip), 255 - i32::from(y.flip));
        let end = y.map(|y| Rounding::new(y, all(y))).transpose()?;
        let matmul = Self {
            a,
            b,
            factor,
            end,
            depth,
            columns,
        };
        product(
            "packed factor",
            matmul.panels(),
            matmul.panel_bytes() + 4 * LANES,
        )?;
        Ok(matmul)
    }

    /// The same product with real results `by` times as large, if that gives the bits of multiplying them
    /// afterwards: it does by a power of two.
    pub fn scaled(self, by: f32) -> Option<Self> {
        let factor = self.factor * by;
        // Sums are integers, so that no result is smaller than the factor.
        let exact = is_power_of_two(by) && factor.is_normal() && self.factor.is_normal();
        let largest = factor.abs() * (MAX_DEPTH as f32 * 65_025.0);
        (exact && self.end.is_none() && largest.is_finite()).then_some(Self { factor, ..self })
    }

    pub(crate) fn panels(&self) -> usize {
        self.columns.div_ceil(LANES)
    }

    pub(crate) fn panel_bytes(&self) -> usize {
        self.depth.div_ceil(4) * 4 * LANES
    }

    /// Working memory of one product.
    pub fn scratch_bytes(&self) -> usize {
        self.panels() * (self.panel_bytes() + 4 * LANES)
    }

    /// One product, `a` of any number of rows.
    ///
    /// # Errors
    /// When a length does not match or the processor lacks the instruction set.
    pub fn run(
        &self,
        isa: Isa,
        a: &[u8],
        b: &[u8],
        scratch: &mut [u8],
        y: CodesOut<'_>,
    ) -> Result<(), KernelError> {
        y.check(&self.end)?;
        check_len(
            "second factor",
            product("matrix", self.depth, self.columns)?,
            b.len(),
        )?;
        let got = scratch.len();
        let Some(scratch) = scratch.get_mut(..self.scratch_bytes()) else {
            return Err(KernelError::Length {
                what: "working memory",
                needed: self.scratch_bytes(),
                got,
            });
        };
        if self.columns == 0 {
            return check_len("product", 0, y.len());
        }
        let rows = y.len() / self.columns;
        check_len("product", rows * self.columns, y.len())?;
        check_len(
            "first factor",
            product("matrix", rows, self.depth)?,
            a.len(),
        )?;
        match isa.require()? {
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            // SAFETY: `require` found the instruction set on this processor, and the lengths of all
            // operands were checked.
            Isa::Avx512BwVnni | Isa::Avx512Vnni => unsafe {
                crate::x86_64::avx512_matmul_codes::matmul(self, a, b, scratch, y)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `require` found the instruction set on this processor.
            Isa::Avx2 => unsafe { crate::x86_64::codes::matmul_avx2(self, a, b, scratch, y) },
            _ => self.body(a, b, scratch, y, portable_tile),
        }
        Ok(())
    }

    /// All rows, `tile` by tile: it adds the products of up to so many rows and a panel, and says how
    /// many rows it took.
    #[inline(always)]
    pub(crate) fn body<const R: usize>(
        &self,
        a: &[u8],
        b: &[u8],
        scratch: &mut [u8],
        mut y: CodesOut<'_>,
        tile: impl Fn(&[u8], usize, &[u8]) -> [[i32; LANES]; R],
    ) {
        let panels = self.pack(b, scratch);
        let rows = y.len() / self.columns;
        for first in (0..rows).step_by(R) {
            let count = R.min(rows - first);
            let a = &a[first * self.depth..][..count * self.depth];
            let mut terms = [0i32; R];
            for (r, term) in terms.iter_mut().enumerate().take(count) {
                *term = self.row_term(&a[r * self.depth..][..self.depth]);
            }
            for panel in 0..self.panels() {
                let codes = &panels.codes[panel * self.panel_bytes()..][..self.panel_bytes()];
                let acc = tile(a, self.depth, codes);
                let lanes = LANES.min(self.columns - panel * LANES);
                let (columns, _) = panels.terms[panel * 4 * LANES..][..4 * LANES].as_chunks::<4>();
                let columns: [i32; LANES] = std::array::from_fn(|l| i32::from_ne_bytes(columns[l]));
                for r in 0..count {
                    let at = (first + r) * self.columns + panel * LANES;
                    let values = std::array::from_fn(|l| {
                        let acc = acc[r][l].wrapping_add(terms[r]).wrapping_add(columns[l]);
                        acc as f32 * self.factor
                    });
                    y.put_lanes::<LANES>(&self.end, at, values, lanes);
                }
            }
        }
    }

    /// What the second zero point adds to all sums of a row of `a`.
    #[inline(always)]
    pub(crate) fn row_term(&self, row: &[u8]) -> i32 {
        let sum: i32 = row.iter().map(|&a| i32::from(a)).sum();
        (128 - self.b.zero_point) * sum
    }

    /// What makes signed codes of those of `b`, the zero point of `a`, and what both zero points add to
    /// every sum.
    #[inline(always)]
    pub(crate) fn packing(&self) -> (u8, i32, i32) {
        let zero_a = self.a.zero_point;
        let both = self.depth as i32 * zero_a * (self.b.zero_point - 128);
        (self.b.flip ^ 0x80, zero_a, both)
    }

    /// Packs `b`: what lies beyond its rows and columns is 0.
    #[inline(always)]
    fn pack<'s>(&self, b: &[u8], scratch: &'s mut [u8]) -> Panels<'s> {
        let (codes, terms) = scratch.split_at_mut(self.panels() * self.panel_bytes());
        let (to_signed, zero_a, both) = self.packing();
        for panel in 0..self.panels() {
            let first = panel * LANES;
            let lanes = LANES.min(self.columns - first);
            let codes = &mut codes[panel * self.panel_bytes()..][..self.panel_bytes()];
            let (groups, _) = codes.as_chunks_mut::<{ 4 * LANES }>();
            let mut sums = [0i32; LANES];
            for (group, to) in groups.iter_mut().enumerate() {
                let mut four = [[0u8; LANES]; 4];
                for (r, row) in four.iter_mut().enumerate() {
                    let k = 4 * group + r;
                    if k >= self.depth {
                        break;
                    }
                    let from = &b[k * self.columns + first..][..lanes];
                    match from.first_chunk::<LANES>() {
                        Some(from) => *row = from.map(|b| b ^ to_signed),
                        None => row
                            .iter_mut()
                            .zip(from)
                            .for_each(|(y, b)| *y = b ^ to_signed),
                    }
                }
                // As words, each loop of which the compiler vectorises.
                let mut words = [0u32; LANES];
                for (r, row) in four.iter().enumerate() {
                    for (word, &code) in words.iter_mut().zip(row) {
                        *word |= u32::from(code) << (8 * r);
                    }
                }
                let (to, _) = to.as_chunks_mut::<4>();
                for (to, word) in to.iter_mut().zip(words) {
                    *to = word.to_le_bytes();
                }
                for row in four {
                    for (sum, code) in sums.iter_mut().zip(row) {
                        *sum += i32::from(code as i8);
                    }
                }
            }
            let (terms, _) = terms[panel * 4 * LANES..].as_chunks_mut::<4>();
            for (term, sum) in terms.iter_mut().zip(sums) {
                *term = (both - zero_a * sum).to_ne_bytes();
            }
        }
        Panels { codes, terms }
    }
}

/// Whether a number is 1 times a power of two, and normal.
fn is_power_of_two(x: f32) -> bool {
    x.is_normal() && x.to_bits() & 0x007f_ffff == 0
}

/// One row, 16 columns.
#[inline(always)]
pub(crate) fn portable_tile(a: &[u8], depth: usize, codes: &[u8]) -> [[i32; LANES]; 1] {
    let mut acc = [0i32; LANES];
    let (groups, _) = codes.as_chunks::<{ 4 * LANES }>();
    for (a, group) in a[..depth].chunks(4).zip(groups) {
        for (r, &a) in a.iter().enumerate() {
            for (l, acc) in acc.iter_mut().enumerate() {
                *acc += i32::from(a) * i32::from(group[4 * l + r] as i8);
            }
        }
    }
    [acc]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let codes = Codes::unsigned(3).unwrap();
        let signed = Codes::signed(0).unwrap();
        assert!(MatmulCodes::new(signed, codes, 1.0, None, (1, 1)).is_err());
        assert!(MatmulCodes::new(codes, codes, 1.0, None, (40_000, 1)).is_err());
        let matmul = MatmulCodes::new(codes, codes, 1.0, None, (2, 3)).unwrap();
        let (isa, mut y, mut scratch) = (Isa::Generic, [0.0; 3], [0; 128]);
        let mut run = |a: &[u8], b: &[u8], scratch: &mut [u8]| {
            matmul.run(isa, a, b, scratch, CodesOut::Real(&mut y))
        };
        assert!(run(&[0; 2], &[0; 6], &mut scratch).is_ok());
        assert!(run(&[0; 3], &[0; 6], &mut scratch).is_err());
        assert!(run(&[0; 2], &[0; 5], &mut scratch).is_err());
        assert!(run(&[0; 2], &[0; 6], &mut scratch[..127]).is_err());
    }

    #[test]
    fn powers_of_two_go_into_the_factor() {
        let codes = Codes::unsigned(0).unwrap();
        let real = MatmulCodes::new(codes, codes, 0.3, None, (2, 3)).unwrap();
        assert_eq!(real.scaled(0.125).unwrap().factor, 0.3 / 8.0);
        assert!(real.scaled(0.3).is_none() && real.scaled(f32::MIN_POSITIVE).is_none());
        let to_codes = MatmulCodes::new(codes, codes, 0.3, Some(codes), (2, 3)).unwrap();
        assert!(to_codes.scaled(0.5).is_none());
    }

    #[test]
    fn extreme_codes_are_exact() {
        for (a, za, b, zb) in [(255, 0, 255, 0), (255, 0, 0, 255), (0, 255, 0, 255)] {
            let codes = [za, zb].map(|z| Codes::unsigned(z).unwrap());
            let depth = MAX_DEPTH;
            let matmul = MatmulCodes::new(codes[0], codes[1], 1.0, None, (depth, 1)).unwrap();
            let mut scratch = vec![0; matmul.scratch_bytes()];
            for isa in Isa::available() {
                let mut y = [0.0];
                let out = CodesOut::Real(&mut y);
                matmul
                    .run(isa, &vec![a; depth], &vec![b; depth], &mut scratch, out)
                    .unwrap();
                let each = (i64::from(a) - i64::from(za)) * (i64::from(b) - i64::from(zb));
                assert_eq!(y, [(each * depth as i64) as f32], "{isa}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_definition(
            (m, k, n) in (0usize..30, 0usize..40, 0usize..40),
            seed: u64,
            zeros in (0i32..256, -128i32..128, 0i32..256),
        ) {
            let bytes = |len: usize, salt: u64| (0..len as u64)
                .map(|i| ((seed ^ salt).wrapping_add(i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
                .collect::<Vec<_>>();
            let (a, b) = (bytes(m * k, 1), bytes(k * n, 2));
            let matmul = MatmulCodes::new(
                Codes::unsigned(zeros.0).unwrap(),
                Codes::signed(zeros.1).unwrap(),
                1e-3,
                Codes::unsigned(zeros.2).ok(),
                (k, n),
            ).unwrap();
            let mut expected = Vec::new();
            for i in 0..m {
                for j in 0..n {
                    let acc: i32 = (0..k).map(|k_at| {
                        let b = b[k_at * n + j] as i8;
                        (i32::from(a[i * k + k_at]) - zeros.0) * (i32::from(b) - zeros.1)
                    }).sum();
                    let code = (acc as f32 * 1e-3).round_ties_even() as i32 + zeros.2;
                    expected.push(code.clamp(0, 255) as u8);
                }
            }
            let mut scratch = vec![9; matmul.scratch_bytes()];
            for isa in Isa::available() {
                let mut y = vec![0; m * n];
                matmul.run(isa, &a, &b, &mut scratch, CodesOut::Codes(&mut y)).unwrap();
                prop_assert_eq!(&y, &expected, "{}", isa);
            }
        }
    }
}
