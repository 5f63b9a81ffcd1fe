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
    /// What a layer reads, for the extents of what it gives. `None` for convolutions of other than two dimensions, and
    /// values that are no codes.
    pub fn of(layer: &IntegerLayer<'_>, input: &Tensor, output: &[usize]) -> Option<Self> {
        let zero_point = layer.x.zero_point as i16;
        let values: Vec<i16> = match input.data() {
            Data::U8(codes) => codes.iter().map(|&q| i16::from(q) - zero_point).collect(),
            Data::I8(codes) => codes.iter().map(|&q| i16::from(q) - zero_point).collect(),
            _ => return None,
        };
        let dims = input.shape().dims();
        let window = layer.window(dims, output)?;
        let (true, &[batch, c, h, w]) = (layer.is_conv(), dims) else {
            return Some(Self {
                batch: 1,
                window,
                values,
            });
        };
        let mut last = vec![0; values.len()];
        for n in 0..batch {
            for channel in 0..c {
                for at in 0..h * w {
                    last[(n * h * w + at) * c + channel] = values[(n * c + channel) * h * w + at];
                }
            }
        }
        Some(Self {
            batch,
            window,
            values: last,
        })
    }

    /// Output pixels of an image.
    pub fn pixels(&self) -> usize {
        self.window.output[0] * self.window.output[1]
    }

    /// The channels under a tap of an output pixel; `None` in the padding.
    pub fn under(&self, image: usize, pixel: [usize; 2], tap: [usize; 2]) -> Option<&[i16]> {
        let w = &self.window;
        let place = |axis: usize| {
            let at = pixel[axis] * w.stride[axis] + tap[axis] * w.dilation[axis];
            let at = at.checked_sub(w.pads[axis])?;
            (at < w.input[axis]).then_some(at)
        };
        let (y, x) = (place(0)?, place(1)?);
        let start = ((image * w.input[0] + y) * w.input[1] + x) * w.channels;
        Some(&self.values[start..start + w.channels])
    }

    /// The only input vector there is, zeros where it is padded; `None` for several output pixels or groups.
    pub fn vector(&self, layer: &IntegerLayer<'_>) -> Option<Vec<i16>> {
        if self.batch * self.pixels() != 1 || layer.groups != 1 {
            return None;
        }
        let [kh, kw] = self.window.kernel;
        let mut vector = Vec::with_capacity(layer.weights.cols());
        for tap in 0..kh * kw {
            match self.under(0, [0, 0], [tap / kw, tap % kw]) {
                Some(values) => vector.extend(values),
                None => vector.resize(vector.len() + self.window.channels, 0),
            }
        }
        Some(vector)
    }
}
