//! Activations as machines see them.

use secateur_kernels::Window2d;
use secateur_model::{Data, Tensor};
use secateur_plan::IntegerLayer;

/// Codes less their zero point, `[n, h, w, c]`: what is zero multiplies nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Images.
    pub batch: usize,
    /// The layer's window over each.
    pub window: Window2d,
    /// The values.
    pub values: Vec<i16>,
}

impl Image {
    /// What a layer reads, for the extents of what it gives. `None` for more than two dimensions, and values that
    /// are no codes.
    pub fn of(layer: &IntegerLayer<'_>, input: &Tensor, output: &[usize]) -> Option<Self> {
        let zero_point = layer.x.zero_point as i16;
        let values: Vec<i16> = match input.data() {
            Data::U8(codes) => codes.iter().map(|&q| i16::from(q) - zero_point).collect(),
            Data::I8(codes) => codes.iter().map(|&q| i16::from(q) - zero_point).collect(),
            _ => return None,
        };
        let dims = input.shape().dims();
        let window = layer.window(dims, output)?;
        let &[batch, c, h, w] = dims else {
            return Some(Self {
                batch: 1,
                window,
                values,
            });
        };
        let mut lasting = vec![0; values.len()];
        for n in 0..batch {
            for channel in 0..c {
                for at in 0..h * w {
                    lasting[(n * h * w + at) * c + channel] =
                        values[(n * c + channel) * h * w + at];
                }
            }
        }
        Some(Self {
            batch,
            window,
            values: lasting,
        })
    }

    /// Output pixels of an image.
    pub fn pixels(&self) -> usize {
        self.window.output[0] * self.window.output[1]
    }

    /// Where the channels under a tap of an output pixel begin; `None` in the padding.
    pub fn under(&self, image: usize, pixel: [usize; 2], tap: [usize; 2]) -> Option<usize> {
        let w = &self.window;
        let place = |axis: usize| {
            let at = pixel[axis] * w.stride[axis] + tap[axis] * w.dilation[axis];
            let at = at.checked_sub(w.pads[axis])?;
            (at < w.input[axis]).then_some(at)
        };
        let (y, x) = (place(0)?, place(1)?);
        Some(((image * w.input[0] + y) * w.input[1] + x) * w.channels)
    }
}
