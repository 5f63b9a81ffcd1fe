use std::{arch::x86_64::*, mem::MaybeUninit, ops::Range};

use super::avx512_bytes::{Band, Bytes, GROUPS, Pair};
use super::avx512_floats::FloatBand;
use crate::{
    DenseI8, IntOut, Patches, SparseI8,
    dense_i8::{PANEL, QUAD},
    epilogue::LANES,
    passes::{BAND, Group},
    patches::Tile,
    sparse_i8::{GATHER64, PASS64},
};

/// Pixels of a dense tile of two panels: 20 accumulators, and room for what the compiler fetches ahead of
/// them; with 24 it spills.
const DENSE_PIXELS: usize = 10;
/// Pixels of a sparse tile; more would not leave registers for indices and weights.
const SPARSE_PIXELS: usize = 14;
/// Panels of a dense tile, so that one broadcast activation feeds two products.
const DENSE_PANELS: usize = 2;
/// Panels that one pixel walks at once.
const DENSE_STREAMS: usize = 8;
/// Accumulators of a group at one pixel, so that `vpdpbusd` does not wait for itself.
const CHAINS: usize = 4;

/// Calls a method for the `P` that the tile counts, once compiled for each.
macro_rules! of_count {
    ($count:expr, $call:ident $(, $more:tt)*; $args:tt) => {
        match $count {
            14 => of_count!(@ $call, 14 $(, $more)*; $args),
            13 => of_count!(@ $call, 13 $(, $more)*; $args),
            12 => of_count!(@ $call, 12 $(, $more)*; $args),
            11 => of_count!(@ $call, 11 $(, $more)*; $args),
            10 => of_count!(@ $call, 10 $(, $more)*; $args),
            9 => of_count!(@ $call, 9 $(, $more)*; $args),
            8 => of_count!(@ $call, 8 $(, $more)*; $args),
            7 => of_count!(@ $call, 7 $(, $more)*; $args),
            6 => of_count!(@ $call, 6 $(, $more)*; $args),
            5 => of_count!(@ $call, 5 $(, $more)*; $args),
            4 => of_count!(@ $call, 4 $(, $more)*; $args),
            3 => of_count!(@ $call, 3 $(, $more)*; $args),
            2 => of_count!(@ $call, 2 $(, $more)*; $args),
            _ => of_count!(@ $call, 1 $(, $more)*; $args),
        }
    };
    (@ $call:ident, $p:literal; ($tile:expr, $($arg:expr),*)) => {
        $tile.$call::<$p>($($arg),*)
    };
    (@ $call:ident, $p:literal, $n:tt; ($tile:expr, $($arg:expr),*)) => {
        $tile.$call::<$p, $n>($($arg),*)
    };
}

/// # Safety
/// As the table says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) unsafe fn dense(
    layer: &DenseI8,
    x: Patches<'_, u8>,
    outputs: Range<usize>,
    mut out: IntOut<'_>,
) {
    let mut first = outputs.start;
    while first < outputs.end {
        let panels = (outputs.end - first).div_ceil(PANEL);
        let tile = DenseTile {
            layer,
            x,
            outputs: &outputs,
            first,
        };
        // SAFETY: the panels exist.
        first += PANEL
            * unsafe {
                match (x.pixels(), panels) {
                    (1, DENSE_STREAMS..) => tile.run::<1, DENSE_STREAMS>(x.tile(0, 1), &mut out),
                    (1, 4..) => tile.run::<1, 4>(x.tile(0, 1), &mut out),
                    (_, DENSE_PANELS..) => tile.pixels::<DENSE_PANELS>(&mut out),
                    _ => tile.pixels::<1>(&mut out),
                }
            };
    }
}

/// Some panels, from output `first` on.
struct DenseTile<'a> {
    layer: &'a DenseI8,
    x: Patches<'a, u8>,
    outputs: &'a Range<usize>,
    first: usize,
}

impl DenseTile<'_> {
    /// # Safety
    /// `N` panels exist.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn pixels<const N: usize>(&self, out: &mut IntOut<'_>) -> usize {
        let mut pixel = 0;
        while pixel < self.x.pixels() {
            let tile = self.x.tile(pixel, DENSE_PIXELS);
            // SAFETY: the tile has as many pixels.
            unsafe { of_count!(tile.count, run, N; (self, tile, out)) };
            pixel += tile.count;
        }
        N
    }

    /// # Safety
    /// The tile has `P` pixels; `N` panels exist.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run<const P: usize, const N: usize>(
        &self,
        tile: Tile<u8>,
        out: &mut IntOut<'_>,
    ) -> usize {
        const VECTOR: usize = PANEL * QUAD;
        let line = self.layer.line();
        let whole = match self.x.is_roomy {
            true => line.div_ceil(QUAD),
            false => line / QUAD,
        };
        let stride = self.x.pixel_stride;
        let mut acc = [[_mm512_setzero_si512(); P]; N];
        let mut w = [std::ptr::null(); N];
        for n in 0..N {
            let panel = self.first / PANEL + n;
            w[n] = self.layer.panel(panel).as_ptr();
            // SAFETY: a panel has 16 biases.
            acc[n] =
                [unsafe { _mm512_loadu_si512(self.layer.panel_bias(panel).as_ptr().cast()) }; P];
        }
        // SAFETY: the pixels have as many lines, read in quads that lie within them or in the room
        // behind them; a panel has a vector a quad.
        unsafe {
            // One loop over all lines: sums that live across two nested ones do not stay in registers.
            let mut left = whole;
            let mut from = 0;
            for q in 0..self.x.lines * whole {
                let mut weights = [_mm512_setzero_si512(); N];
                for n in 0..N {
                    weights[n] = _mm512_loadu_si512(w[n].add(q * VECTOR).cast());
                }
                for p in 0..P {
                    let x = at::<P>(&tile.halves, p, stride).add(from);
                    let x = _mm512_set1_epi32(x.cast::<i32>().read_unaligned());
                    for n in 0..N {
                        acc[n][p] = _mm512_dpbusd_epi32(acc[n][p], x, weights[n]);
                    }
                }
                from += QUAD;
                left -= 1;
                if left == 0 {
                    left = whole;
                    from = from.wrapping_add(self.x.line_pitch.wrapping_sub(whole * QUAD));
                }
            }
        }
        if whole * QUAD < line {
            // Only a row has no room behind it, and a row is one line. What is left is fetched first: sums
            // in a loop that is too long to unroll would live in memory.
            let mut tails = [0; P];
            for p in 0..P {
                // SAFETY: a pixel has a line.
                let x =
                    unsafe { std::slice::from_raw_parts(at::<P>(&tile.halves, p, stride), line) };
                tails[p] = last_quad(x);
            }
            for n in 0..N {
                // SAFETY: the last vector of a panel holds the tail, padded with zeros.
                let w = unsafe { _mm512_loadu_si512(w[n].add(whole * VECTOR).cast()) };
                for p in 0..P {
                    acc[n][p] = _mm512_dpbusd_epi32(acc[n][p], _mm512_set1_epi32(tails[p]), w);
                }
            }
        }
        // A copy, so that the sums themselves have no address and stay in registers.
        let sums = acc;
        self.finish(&sums, tile, out);
        N
    }

    /// Writes the sums of a tile.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn finish<const P: usize, const N: usize>(
        &self,
        sums: &[[__m512i; P]; N],
        tile: Tile<u8>,
        out: &mut IntOut<'_>,
    ) {
        if let [a, b] = &sums[..]
            && let end = self.outputs.end.min(self.first + 2 * PANEL)
            && let Some(pair) = Pair::of(out, self.first..end)
            && let Some((y, stride)) = out.byte_rows()
        {
            let y = y.wrapping_add(tile.pixel * stride + self.first - self.outputs.start);
            // SAFETY: the output has the tile's pixels and the range's outputs.
            unsafe { pair.store([a, b], y, stride) };
            return;
        }
        for (n, sums) in sums.iter().enumerate() {
            let first = self.first + n * PANEL;
            let count = PANEL.min(self.outputs.end - first);
            let Some(bytes) = Bytes::of(out, first..first + count) else {
                out.put(&lanes(sums), tile.pixel, self.outputs.start, first, count);
                continue;
            };
            let Some((y, stride)) = out.byte_rows() else {
                return;
            };
            let y = y.wrapping_add(tile.pixel * stride + first - self.outputs.start);
            for (p, &sums) in sums.iter().enumerate() {
                // SAFETY: the output has the tile's pixels and the range's outputs.
                unsafe { bytes.store(sums, y.wrapping_add(p * stride)) };
            }
        }
    }
}

/// Where pixel `p` of a tile begins.
///
/// # Safety
/// The tile has `P` pixels, and `p` is one of them.
#[inline(always)]
unsafe fn at<const P: usize>(halves: &[*const u8; 2], p: usize, stride: usize) -> *const u8 {
    let half = P.div_ceil(2);
    // SAFETY: the caller's.
    unsafe { halves[p / half].add(p % half * stride) }
}

/// What is left of a row behind its whole quads, zeros behind it: the row's last four bytes, moved
/// to the front, so that no length has to be looked at byte by byte.
#[inline(always)]
fn last_quad(row: &[u8]) -> i32 {
    let tail = row.len() % QUAD;
    match row.last_chunk::<QUAD>() {
        Some(quad) => (u32::from_le_bytes(*quad) >> (8 * (QUAD - tail))) as i32,
        None => {
            let mut quad = [0; QUAD];
            quad[..tail].copy_from_slice(row);
            i32::from_le_bytes(quad)
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lanes<const P: usize>(acc: &[__m512i; P]) -> [[i32; LANES]; P] {
    let mut lanes = [[0; LANES]; P];
    for (lanes, acc) in lanes.iter_mut().zip(acc) {
        // SAFETY: 16 lanes.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), *acc) };
    }
    lanes
}

/// Bands that are worked through tile by tile.
const BLOCK_BANDS: usize = 8;
/// Bytes of their passes, if there is more than one: they and a tile's inputs stay in the first cache.
const BLOCK_BYTES: usize = 16 << 10;

/// # Safety
/// As the table says.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) unsafe fn sparse(
    layer: &SparseI8,
    x: Patches<'_, u8>,
    outputs: Range<usize>,
    mut out: IntOut<'_>,
) {
    if x.pixels() == 1 {
        for first in outputs.clone().step_by(BAND) {
            let range = first..outputs.end.min(first + BAND);
            let band = SparseBand::new(layer, &x, &out, outputs.start, range);
            // SAFETY: the tile has one pixel.
            unsafe { band.run::<1>(x.tile(0, 1), &mut out) };
        }
        return;
    }
    let mut first = outputs.start;
    while first < outputs.end {
        // Not options: of so many bytes, even those that are not there would be written.
        let mut bands = [const { MaybeUninit::uninit() }; BLOCK_BANDS];
        let (mut count, mut bytes) = (0, 0);
        while first < outputs.end && count < BLOCK_BANDS {
            let range = first..outputs.end.min(first + BAND);
            bytes += layer.passes().passes_of(&range) * PASS64;
            if count > 0 && bytes > BLOCK_BYTES {
                break;
            }
            first = range.end;
            bands[count].write(SparseBand::new(layer, &x, &out, outputs.start, range));
            count += 1;
        }
        let mut pixel = 0;
        while pixel < x.pixels() {
            let tile = x.tile(pixel, SPARSE_PIXELS);
            for band in &bands[..count] {
                // SAFETY: so many are written; the tile has as many pixels.
                unsafe {
                    let band: &SparseBand<'_> = band.assume_init_ref();
                    of_count!(tile.count, run; (band, tile, &mut out));
                }
            }
            pixel += tile.count;
        }
    }
}

/// One band of rows at all pixels.
struct SparseBand<'a> {
    layer: &'a SparseI8,
    x: &'a Patches<'a, u8>,
    base: usize,
    range: Range<usize>,
    finish: Finish,
}

/// How the sums of a band are finished.
#[allow(
    clippy::large_enum_variant,
    reason = "one for each band that is worked through, on the stack"
)]
enum Finish {
    /// To codes, all together.
    Bytes(Band),
    /// To real numbers, all together.
    Floats(FloatBand),
    /// Group by group.
    Scatter,
}

impl Finish {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn of(out: &IntOut<'_>, layer: &SparseI8, outputs: &Range<usize>) -> Self {
        if let Some(band) = Band::of(out, layer, outputs) {
            return Self::Bytes(band);
        }
        FloatBand::of(out, layer, outputs).map_or(Self::Scatter, Self::Floats)
    }
}

impl<'a> SparseBand<'a> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    fn new(
        layer: &'a SparseI8,
        x: &'a Patches<'a, u8>,
        out: &IntOut<'_>,
        base: usize,
        range: Range<usize>,
    ) -> Self {
        Self {
            layer,
            x,
            base,
            finish: Finish::of(out, layer, &range),
            range,
        }
    }

    /// # Safety
    /// The tile has `P` pixels, which `out` has.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn run<const P: usize>(&self, tile: Tile<u8>, out: &mut IntOut<'_>) {
        let passes = self.layer.passes();
        let groups = passes.groups_of(&self.range);
        let mut sums = [const { MaybeUninit::<[__m512i; P]>::uninit() }; GROUPS];
        for sums in sums.iter_mut().skip(groups.len()) {
            sums.write([_mm512_setzero_si512(); P]);
        }
        for (g, sums) in groups.zip(&mut sums) {
            let (group, bias) = (passes.group(g), self.layer.group_bias(g));
            // SAFETY: the group is the layer's, the tile has `P` pixels.
            let acc = unsafe {
                match self.mask() {
                    None => self.group::<P>(tile, group, bias, |x| _mm512_loadu_si512(x.cast())),
                    Some(mask) => self.group::<P>(tile, group, bias, |x| {
                        _mm512_maskz_loadu_epi8(mask, x.cast())
                    }),
                }
            };
            if matches!(self.finish, Finish::Scatter) {
                out.scatter(&lanes(&acc), tile.pixel, self.base, group.rows);
            }
            sums.write(acc);
        }
        let first = self.range.start - self.base;
        // SAFETY: all groups are written; the output has the tile's pixels and the range's outputs.
        unsafe {
            let sums = &*sums.as_ptr().cast::<[[__m512i; P]; GROUPS]>();
            match &self.finish {
                Finish::Bytes(band) => {
                    if let Some((y, stride)) = out.byte_rows() {
                        let y = y.wrapping_add(tile.pixel * stride + first);
                        band.store::<P>(sums, y, stride);
                    }
                }
                Finish::Floats(band) => {
                    if let Some((y, stride)) = out.float_rows() {
                        let y = y.wrapping_add(tile.pixel * stride + first);
                        band.store::<P>(sums, y, stride);
                    }
                }
                Finish::Scatter => {}
            }
        }
    }

    /// The sums of a group, by chains where there is one pixel.
    ///
    /// # Safety
    /// The tile has `P` pixels; `group` is the layer's; `load` reads no more of a window than may be.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn group<const P: usize>(
        &self,
        tile: Tile<u8>,
        group: Group<'_>,
        bias: &[i32],
        load: impl Fn(*const u8) -> __m512i,
    ) -> [__m512i; P] {
        // SAFETY: the caller's.
        unsafe {
            match P {
                1 => [self.one(tile, group, bias, load); P],
                _ => self.tile::<P>(tile, group, bias, load),
            }
        }
    }

    /// The inputs of a window that may be read, where those are not all: a masked load is one
    /// operation more.
    #[inline(always)]
    fn mask(&self) -> Option<__mmask64> {
        let line = self.layer.line();
        (line < GATHER64.window && !self.x.is_roomy).then(|| (1 << line) - 1)
    }

    /// How much further than in the layer a line begins than the one before it.
    #[inline(always)]
    fn gap(&self) -> usize {
        let line = self.layer.line();
        self.x.pitch_of(line).wrapping_sub(line)
    }

    /// # Safety
    /// The tile has `P` pixels; `group` is the layer's; `load` reads no more of a window than may be.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn tile<const P: usize>(
        &self,
        tile: Tile<u8>,
        group: Group<'_>,
        bias: &[i32],
        load: impl Fn(*const u8) -> __m512i,
    ) -> [__m512i; P] {
        let (stride, gap) = (self.x.pixel_stride, self.gap());
        // SAFETY: a window ends with its line or in the room behind it; a pass has 64 indices and 64
        // weights; a group has 16 biases.
        unsafe {
            let mut pass = self.layer.data().as_ptr().add(group.first_pass * PASS64);
            let mut acc = [_mm512_loadu_si512(bias.as_ptr().cast()); P];
            for (&origin, &line) in group.origins.iter().zip(group.lines) {
                let from = (origin as usize).wrapping_add((line as usize).wrapping_mul(gap));
                let halves = tile.halves.map(|x| x.wrapping_add(from));
                let pick = _mm512_loadu_si512(pass.cast());
                let w = _mm512_loadu_si512(pass.add(PASS64 / 2).cast());
                for p in 0..P {
                    let x = load(at::<P>(&halves, p, stride));
                    let x = _mm512_permutexvar_epi8(pick, x);
                    acc[p] = _mm512_dpbusd_epi32(acc[p], x, w);
                }
                pass = pass.add(PASS64);
            }
            acc
        }
    }

    /// # Safety
    /// As for `tile`, with one pixel.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn one(
        &self,
        tile: Tile<u8>,
        group: Group<'_>,
        bias: &[i32],
        load: impl Fn(*const u8) -> __m512i,
    ) -> __m512i {
        let gap = self.gap();
        // SAFETY: as for `tile`.
        unsafe {
            let mut pass = self.layer.data().as_ptr().add(group.first_pass * PASS64);
            let mut acc = [_mm512_setzero_si512(); CHAINS];
            acc[0] = _mm512_loadu_si512(bias.as_ptr().cast());
            let mut step = |acc: &mut __m512i, origin: u32, line: u32| {
                let from = (origin as usize).wrapping_add((line as usize).wrapping_mul(gap));
                let x = load(tile.halves[0].wrapping_add(from));
                let pick = _mm512_loadu_si512(pass.cast());
                let w = _mm512_loadu_si512(pass.add(PASS64 / 2).cast());
                let x = _mm512_permutexvar_epi8(pick, x);
                *acc = _mm512_dpbusd_epi32(*acc, x, w);
                pass = pass.add(PASS64);
            };
            let (origins, last_origins) = group.origins.as_chunks::<CHAINS>();
            let (lines, last_lines) = group.lines.as_chunks::<CHAINS>();
            for (origins, lines) in origins.iter().zip(lines) {
                for n in 0..CHAINS {
                    step(&mut acc[n], origins[n], lines[n]);
                }
            }
            for ((acc, &origin), &line) in acc.iter_mut().zip(last_origins).zip(last_lines) {
                step(acc, origin, line);
            }
            let [a, b, c, d] = acc;
            _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d))
        }
    }
}
