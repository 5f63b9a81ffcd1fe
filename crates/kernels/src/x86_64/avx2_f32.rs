use std::{arch::x86_64::*, ops::Range};

use crate::{
    Clamp, Rows, RowsMut, SparseF32,
    dense_f32::PanelsF32,
    passes::Group,
    sparse_f32::{Indices, WINDOW8},
};

/// Outputs of a dense panel: two registers.
pub(crate) const PANEL: usize = 16;
/// Pixels of a dense tile: 12 accumulators.
pub(crate) const DENSE_PIXELS: usize = 6;
/// Panels that one pixel walks at once, so that 8 chains hide the latency of an FMA.
const DENSE_STREAMS: usize = 4;
/// Pixels of a sparse tile.
pub(crate) const SPARSE_PIXELS: usize = 8;
/// Groups that one pixel walks at once, so that their chains overlap.
const SPARSE_STREAMS: usize = 4;
/// Lanes of a register.
const LANES: usize = 8;

/// Two registers: 16 outputs.
type Pair = [__m256; 2];

#[inline]
#[target_feature(enable = "avx2,fma")]
fn clamped(v: __m256, clamp: Clamp) -> __m256 {
    // The second operand is returned where one is NaN, as in `Clamp::apply`.
    let v = _mm256_max_ps(_mm256_set1_ps(clamp.lo), v);
    _mm256_min_ps(_mm256_set1_ps(clamp.hi), v)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn stored(acc: Pair, clamp: Clamp) -> [f32; PANEL] {
    let mut out = [0.0; PANEL];
    for (acc, out) in acc.into_iter().zip(out.chunks_exact_mut(LANES)) {
        // SAFETY: the chunk has 8 lanes.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), clamped(acc, clamp)) };
    }
    out
}

/// # Safety
/// `from` points to 16 numbers.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load(from: *const f32) -> Pair {
    // SAFETY: the caller's.
    unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(LANES))] }
}

/// # Safety
/// As the table says.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn dense(
    layer: PanelsF32<'_>,
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
    layer: PanelsF32<'a>,
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
    let Indices::Window(indices) = layer.indices() else {
        return;
    };
    let mut groups = layer.passes().groups_of(&outputs);
    let tile = SparseTile {
        layer,
        indices: indices.as_slice(),
        x,
        base: outputs.start,
        clamp,
    };
    while !groups.is_empty() {
        let streams = if x.rows() == 1 { groups.len() } else { 1 };
        // SAFETY: the groups are the layer's, the pixels rows of `x` and `y`.
        groups.start += unsafe {
            match streams {
                SPARSE_STREAMS.. => tile.run::<1, SPARSE_STREAMS>(groups.start, 0, &mut y),
                2.. => tile.run::<1, 2>(groups.start, 0, &mut y),
                _ => tile.pixels(groups.start, &mut y),
            }
        };
    }
}

/// Some groups of 8 rows at several pixels.
struct SparseTile<'a> {
    layer: &'a SparseF32,
    indices: &'a [u8],
    x: Rows<'a, f32>,
    base: usize,
    clamp: Clamp,
}

impl SparseTile<'_> {
    /// # Safety
    /// The group is the layer's.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn pixels(&self, group: usize, y: &mut RowsMut<'_, f32>) -> usize {
        let mut pixel = 0;
        while pixel < self.x.rows() {
            // SAFETY: as many pixels as are left, or fewer.
            unsafe {
                match self.x.rows() - pixel {
                    SPARSE_PIXELS.. => {
                        self.run::<SPARSE_PIXELS, 1>(group, pixel, y);
                        pixel += SPARSE_PIXELS;
                    }
                    4.. => {
                        self.run::<4, 1>(group, pixel, y);
                        pixel += 4;
                    }
                    _ => {
                        self.run::<1, 1>(group, pixel, y);
                        pixel += 1;
                    }
                }
            }
        }
        1
    }

    /// `S` groups from `first` on, pass by pass in turns.
    ///
    /// # Safety
    /// The groups are the layer's; `P` pixels from `pixel` on are rows of `x` and `y`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run<const P: usize, const S: usize>(
        &self,
        first: usize,
        pixel: usize,
        y: &mut RowsMut<'_, f32>,
    ) -> usize {
        let passes = self.layer.passes();
        let tail = tail_mask(self.layer.depth() % WINDOW8.window);
        let mut acc = [[_mm256_setzero_ps(); P]; S];
        let mut common = usize::MAX;
        for s in 0..S {
            common = common.min(passes.group(first + s).origins.len());
            // SAFETY: a group has 8 biases.
            acc[s] = [unsafe { _mm256_loadu_ps(self.layer.group_bias(first + s).as_ptr()) }; P];
        }
        for n in 0..common {
            for s in 0..S {
                // SAFETY: the group has more than `common` passes.
                unsafe { self.pass(passes.group(first + s), n, pixel, tail, &mut acc[s]) };
            }
        }
        for s in 0..S {
            let group = passes.group(first + s);
            for n in common..group.origins.len() {
                // SAFETY: the group has more than `n` passes.
                unsafe { self.pass(group, n, pixel, tail, &mut acc[s]) };
            }
            for p in 0..P {
                let mut out = [0.0; LANES];
                // SAFETY: 8 lanes.
                unsafe { _mm256_storeu_ps(out.as_mut_ptr(), clamped(acc[s][p], self.clamp)) };
                let y = y.row_mut(pixel + p);
                for (&row, out) in group.rows.iter().zip(out) {
                    y[row as usize - self.base] = out;
                }
            }
        }
        S
    }

    /// # Safety
    /// The group has more than `n` passes; `P` pixels from `pixel` on are rows of `x`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn pass<const P: usize>(
        &self,
        group: Group<'_>,
        n: usize,
        pixel: usize,
        tail: __m256i,
        acc: &mut [__m256; P],
    ) {
        let stride = self.x.stride();
        let at = (group.first_pass + n) * LANES;
        // SAFETY: a pass has an origin, 8 indices and 8 values; a window begins below the depth, and the
        // last one's mask ends there.
        unsafe {
            let origin = *group.origins.get_unchecked(n) as usize;
            let whole = origin + WINDOW8.window <= self.layer.depth();
            let index = _mm_loadl_epi64(self.indices.as_ptr().add(at).cast());
            let index = _mm256_cvtepu8_epi32(index);
            let w = _mm256_loadu_ps(self.layer.values().as_ptr().add(at));
            let x = self.x.as_ptr().add(pixel * stride + origin);
            for p in 0..P {
                let x = x.add(p * stride);
                let x = if whole {
                    _mm256_loadu_ps(x)
                } else {
                    _mm256_maskload_ps(x, tail)
                };
                acc[p] = _mm256_fmadd_ps(w, _mm256_permutevar8x32_ps(x, index), acc[p]);
            }
        }
    }
}

/// The first `count` lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn tail_mask(count: usize) -> __m256i {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes)
}
