use std::{arch::x86_64::*, ops::Range};

use crate::{
    Clamp, DenseF32, Rows, RowsMut, SparseF32,
    sparse_f32::{Indices, LANES},
};

/// Outputs of a dense panel: two registers.
pub(crate) const PANEL: usize = 16;
/// Pixels of a dense tile: 12 accumulators.
pub(crate) const DENSE_PIXELS: usize = 6;
/// Panels that one pixel walks at once, so that 8 chains hide the latency of an FMA.
const DENSE_STREAMS: usize = 4;
/// Lanes of a register.
const HALF: usize = LANES / 2;

/// Two registers: 16 outputs.
type Pair = [__m256; 2];

#[inline]
#[target_feature(enable = "avx2,fma")]
fn stored(acc: Pair, clamp: Clamp) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    for (acc, out) in acc.into_iter().zip(out.chunks_exact_mut(HALF)) {
        // The second operand is returned where one is NaN, as in `Clamp::apply`.
        let v = _mm256_max_ps(_mm256_set1_ps(clamp.lo), acc);
        let v = _mm256_min_ps(_mm256_set1_ps(clamp.hi), v);
        // SAFETY: the chunk has 8 lanes.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) };
    }
    out
}

/// # Safety
/// `from` points to 16 numbers.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load(from: *const f32) -> Pair {
    // SAFETY: the caller's.
    unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(HALF))] }
}

/// # Safety
/// As the table says.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn dense(
    layer: &DenseF32,
    x: Rows<'_, f32>,
    outputs: Range<usize>,
    clamp: Clamp,
    mut y: RowsMut<'_, f32>,
) {
    let panels = outputs.start / PANEL..outputs.end.div_ceil(PANEL);
    let mut panel = panels.start;
    while panel < panels.end {
        let mut tile = DenseTile {
            layer,
            panel,
            x,
            at: panel * PANEL - outputs.start,
            clamp,
            y: &mut y,
        };
        // SAFETY: the panels exist.
        panel += unsafe {
            match (x.rows(), panels.end - panel) {
                (1, DENSE_STREAMS..) => tile.run::<1, DENSE_STREAMS>(0),
                (1, 2..) => tile.run::<1, 2>(0),
                _ => tile.pixels(),
            }
        };
    }
}

/// Some panels, from `panel` on.
struct DenseTile<'a, 'y> {
    layer: &'a DenseF32,
    panel: usize,
    x: Rows<'a, f32>,
    /// Column of `y`.
    at: usize,
    clamp: Clamp,
    y: &'a mut RowsMut<'y, f32>,
}

impl DenseTile<'_, '_> {
    /// # Safety
    /// The panel exists.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn pixels(&mut self) -> usize {
        let mut pixel = 0;
        while pixel < self.x.rows() {
            let left = self.x.rows() - pixel;
            // SAFETY: at most `left` pixels.
            unsafe {
                match left {
                    DENSE_PIXELS.. => self.run::<DENSE_PIXELS, 1>(pixel),
                    5 => self.run::<5, 1>(pixel),
                    4 => self.run::<4, 1>(pixel),
                    3 => self.run::<3, 1>(pixel),
                    2 => self.run::<2, 1>(pixel),
                    _ => self.run::<1, 1>(pixel),
                }
            };
            pixel += left.min(DENSE_PIXELS);
        }
        1
    }

    /// # Safety
    /// `P` pixels from `pixel` on are rows of `x` and `y`; `N` panels exist.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run<const P: usize, const N: usize>(&mut self, pixel: usize) -> usize {
        let stride = self.x.stride();
        // SAFETY: the pixels are rows of `x`; a panel has 16 weights a depth step and 16 biases.
        let acc = unsafe {
            let x = self.x.as_ptr().add(pixel * stride);
            let mut acc = [[[_mm256_setzero_ps(); 2]; P]; N];
            let mut w = [std::ptr::null(); N];
            for n in 0..N {
                w[n] = self.layer.panel(self.panel + n).as_ptr();
                acc[n] = [load(self.layer.panel_bias(self.panel + n).as_ptr()); P];
            }
            for k in 0..self.layer.depth() {
                for n in 0..N {
                    let w = load(w[n].add(k * PANEL));
                    for p in 0..P {
                        let x = _mm256_broadcast_ss(&*x.add(p * stride + k));
                        acc[n][p][0] = _mm256_fmadd_ps(w[0], x, acc[n][p][0]);
                        acc[n][p][1] = _mm256_fmadd_ps(w[1], x, acc[n][p][1]);
                    }
                }
            }
            acc
        };
        for (n, acc) in acc.iter().enumerate() {
            for (p, &acc) in acc.iter().enumerate() {
                let y = &mut self.y.row_mut(pixel + p)[self.at + n * PANEL..];
                let count = y.len().min(PANEL);
                y[..count].copy_from_slice(&stored(acc, self.clamp)[..count]);
            }
        }
        N
    }
}

/// # Safety
/// As the table says.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn sparse(
    layer: &SparseF32,
    x: Rows<'_, f32>,
    outputs: Range<usize>,
    clamp: Clamp,
    mut y: RowsMut<'_, f32>,
) {
    let Indices::Depth(indices) = layer.indices() else {
        return;
    };
    let passes = layer.passes();
    for g in passes.groups_of(&outputs) {
        let group = passes.group(g);
        for p in 0..x.rows() {
            let x = x.row(p).as_ptr();
            // SAFETY: every index is below the row's length; a pass has 16 indices and 16 values.
            let acc = unsafe {
                let index = indices.as_slice().as_ptr().add(group.first_pass * LANES);
                let value = layer.values().as_ptr().add(group.first_pass * LANES);
                let mut acc = load(layer.group_bias(g).as_ptr());
                for s in 0..group.origins.len() {
                    let w = load(value.add(s * LANES));
                    for half in 0..2 {
                        let at = index.add(s * LANES + half * HALF).cast();
                        let x = _mm256_i32gather_ps::<4>(x, _mm256_loadu_si256(at));
                        acc[half] = _mm256_fmadd_ps(w[half], x, acc[half]);
                    }
                }
                acc
            };
            let y = y.row_mut(p);
            for (&row, out) in group.rows.iter().zip(stored(acc, clamp)) {
                y[row as usize - outputs.start] = out;
            }
        }
    }
}
