//! What the cells compute, exactly.

use crate::Image;
use secateur_plan::IntegerLayer;

/// Pixels at a time.
const LANES: usize = 32;

/// `acc[n, pixel, o] = bias[o] + Σ w[o, k] · x[pixel, k]`, by the weights that are not zero: `[n · pixels · outputs]`.
pub fn sums(layer: &IntegerLayer<'_>, image: &Image) -> Vec<i32> {
    let outputs = layer.weights.rows();
    let width = image.window.output[1].max(1);
    let of_group = image.window.channels / layer.groups.max(1);
    let of_conv_group = (outputs / layer.groups.max(1)).max(1);
    let pixels = image.pixels();
    let mut sums = vec![0; image.batch * pixels * outputs];
    let mut under = vec![[0i16; LANES]; layer.weights.cols()];
    for n in 0..image.batch {
        for first in (0..pixels).step_by(LANES) {
            let lanes = LANES.min(pixels - first);
            for conv_group in 0..layer.groups {
                gather(
                    image,
                    n,
                    first,
                    lanes,
                    width,
                    conv_group * of_group,
                    of_group,
                    &mut under,
                );
                for o in conv_group * of_conv_group..(conv_group + 1) * of_conv_group {
                    let mut acc = [layer.numbers.bias[o]; LANES];
                    let (places, weights) = layer.weights.row(o);
                    for (&k, &w) in places.iter().zip(weights) {
                        for (acc, &x) in acc.iter_mut().zip(&under[k as usize]) {
                            *acc += i32::from(w) * i32::from(x);
                        }
                    }
                    for (lane, acc) in acc.into_iter().take(lanes).enumerate() {
                        sums[(n * pixels + first + lane) * outputs + o] = acc;
                    }
                }
            }
        }
    }
    sums
}

/// What lies under some pixels, by place in the depth.
#[allow(clippy::too_many_arguments)] // one loop of `sums`
fn gather(
    image: &Image,
    n: usize,
    first: usize,
    lanes: usize,
    width: usize,
    channel: usize,
    channels: usize,
    under: &mut [[i16; LANES]],
) {
    under.fill([0; LANES]);
    let [kh, kw] = image.window.kernel;
    for lane in 0..lanes {
        let pixel = [(first + lane) / width, (first + lane) % width];
        for (tap, places) in under.chunks_mut(channels.max(1)).take(kh * kw).enumerate() {
            if let Some(at) = image.under(n, pixel, [tap / kw, tap % kw]) {
                let values = &image.values[at + channel..][..channels];
                places
                    .iter_mut()
                    .zip(values)
                    .for_each(|(p, &v)| p[lane] = v);
            }
        }
    }
}
