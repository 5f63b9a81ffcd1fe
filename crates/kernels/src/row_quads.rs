use crate::{Window2d, buffer::Aligned};

/// Channels of a block: a vector of bytes.
pub(crate) const BLOCK: usize = 64;
/// Rows whose bytes are interleaved, so that one dot product takes four taps of a channel.
pub(crate) const QUAD: usize = 4;
/// Bytes of a quad of rows at one column: four rows of a block.
pub(crate) const QUAD_BYTES: usize = QUAD * BLOCK;
/// Quads that one output pixel may span; they are interleaved on the stack.
pub(crate) const MAX_QUADS: usize = 256;

/// Weights of a depthwise convolution whose image is interleaved by quads of rows.
///
/// At one column, the bytes of four rows (unpacked to bytes, then to words) are four vectors; vector
/// `j` holds in lanes `4l..4l + 4` the rows of channels `16l + 4j..16l + 4j + 4`.  Consecutive rows of
/// the output that read the same quads share them: each has its own copy of the weights, moved down,
/// zeros around.
#[derive(Debug, Clone)]
pub(crate) struct RowQuads {
    window: Window2d,
    quads: usize,
    shared: usize,
    /// Rows of the image from one output row to the next, in dilated rows.
    step: usize,
    /// `[blocks][shared][columns of the window][quads][QUAD_BYTES]`.
    weights: Aligned<i8>,
    /// `[blocks][BLOCK]` in the order of the vectors.
    bias: Aligned<i32>,
    /// No sum of the channel is larger, `[blocks][BLOCK]` in their own order.
    largest: Aligned<f32>,
}

/// Where channel `c` of a block lies in the four vectors of 16 lanes.
fn lane(c: usize) -> usize {
    c % 16 / 4 * 16 + c / 16 * 4 + c % 4
}

/// A row as a column: where the image, its window and its result are one row high, the taps of a
/// quad can only be neighbours along the row.
fn upright(window: Window2d) -> Window2d {
    let Window2d {
        input,
        kernel,
        stride,
        dilation,
        pads: [top, left, bottom, right],
        output,
        channels,
    } = window;
    if (input[0], kernel[0], output[0], top) != (1, 1, 1, 0) {
        return window;
    }
    let swap = |[y, x]: [usize; 2]| [x, y];
    Window2d {
        input: swap(input),
        kernel: swap(kernel),
        stride: swap(stride),
        dilation: swap(dilation),
        pads: [left, top, right, bottom],
        output: swap(output),
        channels,
    }
}

impl RowQuads {
    /// Packs `weights`, `[channels, kh, kw]`; nothing where a pixel spans more than [`MAX_QUADS`].
    pub(crate) fn pack(window: Window2d, weights: &[i8], bias: Option<&[i32]>) -> Option<Self> {
        let window = upright(window);
        let [rows, columns] = window.kernel;
        let quads = rows.div_ceil(QUAD);
        let span = (columns - 1) * window.dilation[1] + 1;
        if quads.saturating_mul(span) > MAX_QUADS {
            return None;
        }
        let step = window.stride[0] / window.dilation[0];
        let shared = if step * window.dilation[0] == window.stride[0] {
            (quads * QUAD - rows) / step + 1
        } else {
            1
        };
        let (taps, blocks) = (rows * columns, window.channels.div_ceil(BLOCK));
        let each = columns * quads * QUAD_BYTES;
        let mut packed = Aligned::zeros(blocks * shared * each);
        let mut ordered = Aligned::zeros(blocks * BLOCK);
        let mut largest = Aligned::zeros(blocks * BLOCK);
        for (c, weights) in weights.chunks_exact(taps).enumerate() {
            let (block, lane) = (c / BLOCK, lane(c % BLOCK));
            let bias = bias.map_or(0, |bias| bias[c]);
            let sum: u64 = weights.iter().map(|w| u64::from(w.unsigned_abs())).sum();
            ordered.as_mut_slice()[block * BLOCK + lane] = bias;
            largest.as_mut_slice()[c] = (sum * 255 + u64::from(bias.unsigned_abs())) as f32;
            for (tap, &w) in weights.iter().enumerate() {
                let (ky, kx) = (tap / columns, tap % columns);
                for r in 0..shared {
                    let row = r * step + ky;
                    let at = (block * shared + r) * each
                        + (kx * quads + row / QUAD) * QUAD_BYTES
                        + lane * QUAD
                        + row % QUAD;
                    packed.as_mut_slice()[at] = w;
                }
            }
        }
        Some(Self {
            window,
            quads,
            shared,
            step,
            weights: packed,
            bias: ordered,
            largest,
        })
    }

    /// The geometry, upright.
    pub(crate) fn window(&self) -> &Window2d {
        &self.window
    }

    /// Quads of rows that an output row reads.
    pub(crate) fn quads(&self) -> usize {
        self.quads
    }

    /// Output rows that can share their quads.
    pub(crate) fn shared(&self) -> usize {
        self.shared
    }

    /// Rows that `outputs` output rows read from the first one's on, dilated.
    pub(crate) fn rows(&self, outputs: usize) -> usize {
        self.window.kernel[0] + (outputs - 1) * self.step
    }

    /// Weights of `block` for the `r`-th of the rows that share quads, a vector of four a quad.
    pub(crate) fn weights(&self, block: usize, r: usize) -> &[i8] {
        let each = self.window.kernel[1] * self.quads * QUAD_BYTES;
        &self.weights.as_slice()[(block * self.shared + r) * each..][..each]
    }

    /// Biases of `block` in the order of the vectors.
    pub(crate) fn bias(&self, block: usize) -> &[i32] {
        &self.bias.as_slice()[block * BLOCK..][..BLOCK]
    }

    /// What no sum of a channel of `block` exceeds.
    pub(crate) fn largest(&self, block: usize) -> &[f32] {
        &self.largest.as_slice()[block * BLOCK..][..BLOCK]
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.weights.bytes() + self.bias.bytes() + self.largest.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_a_permutation() {
        let mut lanes: Vec<_> = (0..BLOCK).map(lane).collect();
        assert_eq!(lanes[..5], [0, 1, 2, 3, 16]);
        lanes.sort_unstable();
        assert!(lanes.iter().copied().eq(0..BLOCK));
    }

    #[test]
    fn rows_share_what_their_stride_allows() {
        let shared = |kernel, stride, dilation| {
            let window = Window2d {
                stride: [stride, 1],
                dilation: [dilation, 1],
                ..Window2d::new([40, 40], 1, [kernel, 1])
            };
            RowQuads::pack(window, &vec![1; kernel], None)
                .unwrap()
                .shared
        };
        assert_eq!(shared(3, 1, 1), 2);
        assert_eq!(shared(3, 2, 1), 1);
        assert_eq!(shared(5, 1, 1), 4);
        assert_eq!(shared(5, 2, 1), 2);
        assert_eq!(shared(3, 1, 2), 1);
        assert_eq!(shared(3, 2, 2), 2);
    }

    #[test]
    fn one_row_stands_up_and_giants_are_left() {
        let row = Window2d {
            pads: [0, 4, 0, 4],
            ..Window2d::new([1, 50], 3, [1, 9])
        };
        let packed = RowQuads::pack(row.fitted().unwrap(), &[1; 27], None).unwrap();
        assert_eq!((packed.quads, packed.window.output), (3, [50, 1]));
        let giant = Window2d::new([1, 300], 1, [2, 300]);
        assert!(RowQuads::pack(giant, &[1; 600], None).is_none());
    }
}
