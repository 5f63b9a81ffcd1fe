use std::{arch::x86_64::*, ops::Range};

use crate::{
    Clamp, Rows, RowsMut, SparseF32, dense_f32::PanelsF32, passes::Group, sparse_f32::Indices,
};

/// Lanes of a register.
const LANES: usize = 16;
/// Outputs of a dense panel: two registers.
pub(crate) const PANEL: usize = 32;
/// Pixels of a dense tile: 24 accumulators.
pub(crate) const DENSE_PIXELS: usize = 12;
/// Panels that one pixel walks at once, so that 8 chains hide the latency of an FMA.
const DENSE_STREAMS: usize = 4;
/// Pixels of a sparse tile: 8 accumulators and 16 registers of activations.
pub(crate) const SPARSE_PIXELS: usize = 8;

/// Lanes below `count`.
#[inline(always)]
fn mask(count: usize) -> __mmask16 {
    if count >= LANES {
        return !0;
    }
    (1 << count) - 1
}

#[inline]
#[target_feature(enable = "avx512f")]
fn clamped(v: __m512, clamp: Clamp) -> __m512 {
    // The second operand is returned where one is NaN, as in `Clamp::apply`.
    let v = _mm512_max_ps(_mm512_set1_ps(clamp.lo), v);
    _mm512_min_ps(_mm512_set1_ps(clamp.hi), v)
}

/// # Safety
/// As the table says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) unsafe fn dense(
    layer: PanelsF32<'_>,
    x: Rows<'_, f32>,
    outputs: Range<usize>,
    clamp: Clamp,
    mut y: RowsMut<'_, f32>,
) {
    if x.rows() == 1 {
        let x = x.row(0);
        let y = y.row_mut(0);
        let panels = outputs.start / PANEL..outputs.end.div_ceil(PANEL);
        let mut panel = panels.start;
        while panel < panels.end {
            let at = panel * PANEL - outputs.start;
            panel += match panels.end - panel {
                DENSE_STREAMS.. => dense_row::<DENSE_STREAMS>(layer, x, panel, clamp, &mut y[at..]),
                2.. => dense_row::<2>(layer, x, panel, clamp, &mut y[at..]),
                _ => dense_row::<1>(layer, x, panel, clamp, &mut y[at..]),
            };
        }
        return;
    }
    for first in outputs.clone().step_by(PANEL) {
        let at = first - outputs.start;
        let count = PANEL.min(outputs.end - first);
        let mut pixel = 0;
        while pixel < x.rows() {
            let tile = DenseTile {
                layer,
                panel: first / PANEL,
                x,
                pixel,
                at,
                count,
                clamp,
            };
            // SAFETY: the tile's pixels are rows of `x` and `y`.
            pixel += unsafe {
                match x.rows() - pixel {
                    DENSE_PIXELS.. => tile.run::<DENSE_PIXELS>(&mut y),
                    11 => tile.run::<11>(&mut y),
                    10 => tile.run::<10>(&mut y),
                    9 => tile.run::<9>(&mut y),
                    8 => tile.run::<8>(&mut y),
                    7 => tile.run::<7>(&mut y),
                    6 => tile.run::<6>(&mut y),
                    5 => tile.run::<5>(&mut y),
                    4 => tile.run::<4>(&mut y),
                    3 => tile.run::<3>(&mut y),
                    2 => tile.run::<2>(&mut y),
                    _ => tile.run::<1>(&mut y),
                }
            };
        }
    }
}

/// `S` panels from `panel` on at one pixel; `y` begins at the first one's first output.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dense_row<const S: usize>(
    layer: PanelsF32<'_>,
    x: &[f32],
    panel: usize,
    clamp: Clamp,
    y: &mut [f32],
) -> usize {
    let mut acc = [[_mm512_setzero_ps(); 2]; S];
    let mut w = [std::ptr::null(); S];
    for s in 0..S {
        w[s] = layer.panel(panel + s).as_ptr();
        let bias = layer.panel_bias(panel + s);
        // SAFETY: a panel has 32 biases.
        acc[s] = unsafe {
            [
                _mm512_loadu_ps(bias.as_ptr()),
                _mm512_loadu_ps(bias.as_ptr().add(LANES)),
            ]
        };
    }
    for (k, &x) in x.iter().enumerate() {
        let x = _mm512_set1_ps(x);
        for s in 0..S {
            // SAFETY: a panel has 32 weights for each of the `x.len()` depth steps.
            unsafe {
                let w = w[s].add(k * PANEL);
                acc[s][0] = _mm512_fmadd_ps(_mm512_loadu_ps(w), x, acc[s][0]);
                acc[s][1] = _mm512_fmadd_ps(_mm512_loadu_ps(w.add(LANES)), x, acc[s][1]);
            }
        }
    }
    for (lanes, y) in acc.as_flattened().iter().zip(y.chunks_mut(LANES)) {
        // SAFETY: the mask covers the chunk.
        unsafe { _mm512_mask_storeu_ps(y.as_mut_ptr(), mask(y.len()), clamped(*lanes, clamp)) };
    }
    S
}

/// One panel at several pixels.
struct DenseTile<'a> {
    layer: PanelsF32<'a>,
    panel: usize,
    x: Rows<'a, f32>,
    pixel: usize,
    /// Column of `y` and outputs that exist.
    at: usize,
    count: usize,
    clamp: Clamp,
}

impl DenseTile<'_> {
    /// # Safety
    /// `P` pixels from `self.pixel` on are rows of `x` and `y`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run<const P: usize>(&self, y: &mut RowsMut<'_, f32>) -> usize {
        let depth = self.layer.depth();
        let bias = self.layer.panel_bias(self.panel).as_ptr();
        let w = self.layer.panel(self.panel).as_ptr();
        let stride = self.x.stride();
        // SAFETY: the pixels are rows of `x`, a panel has 32 weights a depth step and 32 biases.
        let acc = unsafe {
            let x = self.x.as_ptr().add(self.pixel * stride);
            let bias = [_mm512_loadu_ps(bias), _mm512_loadu_ps(bias.add(LANES))];
            let mut acc = [bias; P];
            for k in 0..depth {
                let w0 = _mm512_loadu_ps(w.add(k * PANEL));
                let w1 = _mm512_loadu_ps(w.add(k * PANEL + LANES));
                for p in 0..P {
                    let x = _mm512_set1_ps(*x.add(p * stride + k));
                    acc[p][0] = _mm512_fmadd_ps(w0, x, acc[p][0]);
                    acc[p][1] = _mm512_fmadd_ps(w1, x, acc[p][1]);
                }
            }
            acc
        };
        for (p, lanes) in acc.iter().enumerate() {
            let y = &mut y.row_mut(self.pixel + p)[self.at..self.at + self.count];
            for (lanes, y) in lanes.iter().zip(y.chunks_mut(LANES)) {
                let lanes = clamped(*lanes, self.clamp);
                // SAFETY: the mask covers the chunk.
                unsafe { _mm512_mask_storeu_ps(y.as_mut_ptr(), mask(y.len()), lanes) };
            }
        }
        P
    }
}

/// # Safety
/// As the table says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
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
    let passes = layer.passes();
    for g in passes.groups_of(&outputs) {
        let tile = SparseTile {
            layer,
            indices: indices.as_slice(),
            group: passes.group(g),
            bias: layer.group_bias(g),
            x,
            base: outputs.start,
            clamp,
        };
        let mut pixel = 0;
        while pixel < x.rows() {
            // SAFETY: the tile's pixels are rows of `x` and `y`.
            pixel += unsafe {
                match x.rows() - pixel {
                    SPARSE_PIXELS.. => tile.run::<SPARSE_PIXELS>(pixel, &mut y),
                    4.. => tile.run::<4>(pixel, &mut y),
                    2.. => tile.run::<2>(pixel, &mut y),
                    _ => tile.run::<1>(pixel, &mut y),
                }
            };
        }
    }
}

/// Writes a group's lanes to their outputs.
#[inline]
#[target_feature(enable = "avx512f")]
fn scatter(lanes: __m512, clamp: Clamp, rows: &[u32], base: usize, y: &mut [f32]) {
    let mut out = [0.0; LANES];
    // SAFETY: 16 lanes.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), clamped(lanes, clamp)) };
    for (&row, out) in rows.iter().zip(out) {
        y[row as usize - base] = out;
    }
}

/// One group of rows at several pixels.
struct SparseTile<'a> {
    layer: &'a SparseF32,
    indices: &'a [u8],
    group: Group<'a>,
    bias: &'a [f32],
    x: Rows<'a, f32>,
    base: usize,
    clamp: Clamp,
}

impl SparseTile<'_> {
    /// # Safety
    /// `P` pixels from `pixel` on are rows of `x` and `y`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run<const P: usize>(&self, pixel: usize, y: &mut RowsMut<'_, f32>) -> usize {
        let depth = self.layer.depth();
        let stride = self.x.stride();
        // SAFETY: the pixels are rows of `x`; windows begin below `depth` and the masks end there;
        // a pass has 16 indices and 16 values.
        let acc = unsafe {
            let x = self.x.as_ptr().add(pixel * stride);
            let mut index = self.indices.as_ptr().add(self.group.first_pass * LANES);
            let mut value = self
                .layer
                .values()
                .as_ptr()
                .add(self.group.first_pass * LANES);
            let mut acc = [_mm512_loadu_ps(self.bias.as_ptr()); P];
            for run in self.group.runs {
                let first = run.origin as usize;
                let left = depth - first;
                let (low, high) = (mask(left), mask(left.saturating_sub(LANES)));
                let mut window = [[_mm512_setzero_ps(); 2]; P];
                for p in 0..P {
                    let x = x.add(p * stride + first);
                    window[p] = [
                        _mm512_maskz_loadu_ps(low, x),
                        _mm512_maskz_loadu_ps(high, x.wrapping_add(LANES)),
                    ];
                }
                for _ in 0..run.passes {
                    let at = _mm512_cvtepu8_epi32(_mm_loadu_si128(index.cast()));
                    let w = _mm512_loadu_ps(value);
                    for p in 0..P {
                        let x = _mm512_permutex2var_ps(window[p][0], at, window[p][1]);
                        acc[p] = _mm512_fmadd_ps(w, x, acc[p]);
                    }
                    index = index.add(LANES);
                    value = value.add(LANES);
                }
            }
            acc
        };
        for (p, &lanes) in acc.iter().enumerate() {
            scatter(
                lanes,
                self.clamp,
                self.group.rows,
                self.base,
                y.row_mut(pixel + p),
            );
        }
        P
    }
}
