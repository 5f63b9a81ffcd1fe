//! Transposed convolutions: outputs that stand at the same phase of the stride are a convolution by the
//! taps that reach them, so that no product is by a zero between elements.

use super::floats::FloatLayer;
use super::{Build, Cost};
use crate::PlanError;
use crate::cost::Load;
use crate::draft::Fused;
use crate::packed::{Depthwise, Filters, Finish, kernel_clamp};
use crate::plan::{Action, Choice, Layout, Operand, Operands};
use secateur_kernels::{After, DepthwiseF32, Im2col, Rearrange, Walk, What, Window2d};
use secateur_model::ops::{self, ConvTranspose, TypedShape};
use secateur_model::{DType, Node, Op, Shape, Tensor};
use std::sync::Arc;

/// Bytes of gathered rows, as for convolutions.
const TILE_BYTES: usize = 64 << 10;

/// Most phases: each is a step.
const MAX_PHASES: usize = 64;

/// Every `stride`-th output along an axis, from one on: a convolution of step 1.
#[derive(Debug, PartialEq, Eq)]
struct Phase {
    /// The first output.
    first: usize,
    /// How many outputs.
    outputs: usize,
    /// The tap that stands at each place of the window; `None` where none does.
    taps: Vec<Option<usize>>,
    /// Elements between places of the window.
    dilation: usize,
    /// Places before the first element, and behind the last one.
    pads: [usize; 2],
}

/// How an axis is spread.
#[derive(Debug, Clone, Copy)]
struct Spread {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    begin: usize,
}

impl Spread {
    /// Output `p` takes element `q` by tap `t` where `p + begin = q·stride + t·dilation`.
    fn phases(&self) -> Vec<Phase> {
        (0..self.stride.min(self.output))
            .map(|first| self.phase(first))
            .collect()
    }

    fn phase(&self, first: usize) -> Phase {
        let stride = self.stride as isize;
        let place = |t: usize| (first + self.begin) as isize - (t * self.dilation) as isize;
        // Elements ascend as taps descend.
        let taps: Vec<usize> = (0..self.kernel)
            .rev()
            .filter(|&t| place(t) % stride == 0)
            .collect();
        let offset = |t: usize| place(t) / stride;
        let outputs = (self.output - first).div_ceil(self.stride);
        let dilation = match taps[..] {
            [a, b, ..] => (offset(b) - offset(a)) as usize,
            _ => 1,
        };
        let lead = taps.first().map_or(0, |&t| offset(t));
        // A window that begins behind its output is longer by places without a tap.
        let empty = match lead > 0 {
            true => (lead as usize).div_ceil(dilation),
            false => usize::from(taps.is_empty()),
        };
        let before = (empty * dilation) as isize - lead;
        let before = if taps.is_empty() { 0 } else { before as usize };
        let places = empty + taps.len();
        let reach = (outputs - 1) + (places - 1) * dilation + 1;
        Phase {
            first,
            outputs,
            taps: std::iter::repeat_n(None, empty)
                .chain(taps.into_iter().map(Some))
                .collect(),
            dilation,
            pads: [before, reach.saturating_sub(before + self.input)],
        }
    }
}

/// A transposed convolution with its parameters.
struct Spreading<'a> {
    conv: &'a ConvTranspose,
    weight: Arc<Tensor>,
    bias: Option<Arc<Tensor>>,
    fused: Fused,
    batch: usize,
    channels: usize,
    input: [usize; 2],
    outputs: usize,
    kernel: [usize; 2],
}

impl Build<'_> {
    /// Adds the steps of a transposed convolution of f32 images whose weight is known; `false` for anything
    /// else.
    pub(super) fn transposed(
        &mut self,
        node: &Node,
        fused: Fused,
        outputs: &[TypedShape],
    ) -> Result<bool, PlanError> {
        let (Op::ConvTranspose(conv), Some(x), Some(y), [(DType::F32, shape)]) =
            (&node.op, node.input(0), node.output(0), outputs)
        else {
            return Ok(false);
        };
        let known = |index: usize| node.input(index).and_then(|name| self.known(name));
        let (Some(weight), bias, source) = (known(1), known(2), self.shape_of_value(x)?) else {
            return Ok(false);
        };
        let (&[batch, channels, h, w], &[_, channels_out, oh, ow], &[_, _, kh, kw]) =
            (source.dims(), shape.dims(), weight.shape().dims())
        else {
            return Ok(false);
        };
        let unknown_bias = node.input(2).is_some() && bias.is_none();
        if unknown_bias || !self.values.contains_key(x) || shape.elements() == 0 {
            return Ok(false);
        }
        let begin = ops::transposed_begin(node, conv, &source, weight.shape())?;
        let spread = |axis: usize| {
            let of = |list: &[usize]| list.get(axis).copied().unwrap_or(1);
            Spread {
                input: [h, w][axis],
                output: [oh, ow][axis],
                kernel: [kh, kw][axis],
                stride: of(&conv.window.strides),
                dilation: of(&conv.window.dilations),
                begin: begin[axis],
            }
        };
        let (down, across) = (spread(0), spread(1));
        let phases = down.stride.min(oh).checked_mul(across.stride.min(ow));
        if phases.is_none_or(|phases| phases > MAX_PHASES) {
            return Ok(false);
        }
        let spreading = Spreading {
            conv,
            weight,
            bias,
            fused,
            batch,
            channels,
            input: [h, w],
            outputs: channels_out,
            kernel: [kh, kw],
        };
        let (from, _) = self.channels_last(x)?;
        let (downs, acrosses) = (down.phases(), across.phases());
        if let ([one], [other]) = (&downs[..], &acrosses[..]) {
            let to = self.define(y, DType::F32, shape, Layout::ChannelsLast)?;
            self.phase(node, &node.name, &spreading, [one, other], [from, to])?;
            return Ok(true);
        }
        let (mut parts, mut walks) = (Vec::new(), Vec::new());
        for one in &downs {
            for other in &acrosses {
                let name = format!("{}: phase {} {}", node.name, one.first, other.first);
                let shape = Shape::new(&[batch, channels_out, one.outputs, other.outputs])?;
                let to = self.buffer(&name, DType::F32, &shape, Layout::ChannelsLast)?;
                self.phase(node, &name, &spreading, [one, other], [from, to])?;
                parts.push(to);
                walks.push(
                    interleaved([one, other], [&down, &across], batch, channels_out)
                        .map_err(|e| Self::kernel_error(node, e))?,
                );
            }
        }
        let to = self.define(y, DType::F32, shape, Layout::ChannelsLast)?;
        self.rearrange(&node.name, parts, walks, None, to);
        Ok(true)
    }

    /// The step of one phase of both axes.
    fn phase(
        &mut self,
        node: &Node,
        name: &str,
        spreading: &Spreading<'_>,
        [down, across]: [&Phase; 2],
        [from, to]: [usize; 2],
    ) -> Result<(), PlanError> {
        let refused = |e| Self::kernel_error(node, e);
        let Spreading {
            conv,
            batch,
            channels,
            outputs,
            ..
        } = *spreading;
        let window = Window2d {
            dilation: [down.dilation, across.dilation],
            pads: [down.pads[0], across.pads[0], down.pads[1], across.pads[1]],
            output: [down.outputs, across.outputs],
            ..Window2d::new(
                spreading.input,
                channels,
                [down.taps.len(), across.taps.len()],
            )
        };
        let weights = spreading.rows([down, across])?;
        let bias = spreading.bias.as_ref().map(|b| b.as_f32()).transpose()?;
        let isa = self.planner.isa();
        let pixels = batch * window.pixels();
        let products = |multiplies: usize| (pixels as u64).saturating_mul(multiplies as u64);
        let nonzero = weights.iter().filter(|w| **w != 0.0).count();
        if conv.groups == channels && conv.groups == outputs && channels > 1 {
            let filters = DepthwiseF32::pack(isa, window, &weights, bias).map_err(refused)?;
            let kernel = filters.kernel();
            let load = Load {
                multiplies: filters.macs(),
                outputs: channels,
                pixels,
                weight_bytes: filters.bytes(),
                moved_bytes: 0,
            };
            let cost = Cost {
                macs: products(filters.macs()),
                nonzero_macs: products(nonzero),
                weight_bytes: filters.bytes(),
                scratch_bytes: 0,
                compute_us: self.planner.costs().predicted_us(What::DepthwiseF32, load),
            };
            let clamp = kernel_clamp(spreading.fused.clamp).map_err(refused)?;
            let action = Action::Depthwise {
                layer: Arc::new(Depthwise {
                    filters: Filters::F32(filters),
                    finish: Finish::Float(clamp),
                }),
                batch,
                pad: 0,
            };
            let choice = Choice {
                kernel: kernel.name.into(),
                reason: "every channel has its own filter".into(),
                refused: Vec::new(),
            };
            let inputs = vec![Operand::Buffer(from)];
            self.step(name, action, inputs, vec![to], choice, cost);
            return Ok(());
        }
        let each = channels / conv.groups;
        let im2col = Im2col::new(window, conv.groups, each).map_err(refused)?;
        let extents = (outputs, im2col.cols(), conv.groups);
        let key = format!("{name} {:?} {:?}", down.taps, across.taps);
        let layer = FloatLayer {
            weights: &weights,
            bias,
            extents,
            clamp: spreading.fused.clamp,
        };
        let chosen = self.choose_f32(node, key, pixels, &layer)?;
        let row_bytes = im2col.cols() * size_of::<f32>();
        let operands = Operands::Rows {
            im2col,
            tile: (TILE_BYTES / row_bytes.max(1))
                .clamp(16, 256)
                .min(window.pixels().max(1)),
        };
        let scratch_bytes = operands
            .scratch()
            .checked_mul(size_of::<f32>())
            .and_then(|bytes| bytes.checked_next_multiple_of(64))
            .and_then(|each| each.checked_mul(self.threads))
            .ok_or(PlanError::ArenaOverflow)?;
        let cost = Cost {
            macs: products(outputs * im2col.cols()),
            nonzero_macs: products(nonzero),
            weight_bytes: chosen.layer.bytes(),
            scratch_bytes,
            compute_us: chosen.predicted_us,
        };
        let action = Action::Conv {
            layer: chosen.layer,
            operands,
            batch,
            pad: 0,
            after: After::Nothing,
        };
        let inputs = vec![Operand::Buffer(from)];
        self.step(name, action, inputs, vec![to], chosen.choice, cost);
        Ok(())
    }
}

impl Spreading<'_> {
    /// The weights of a phase, `[outputs, taps, channels of a group]`.
    fn rows(&self, [down, across]: [&Phase; 2]) -> Result<Vec<f32>, PlanError> {
        let weight = self.weight.as_f32()?;
        let groups = self.conv.groups;
        let (inside, depth) = (self.channels / groups, self.outputs / groups);
        let [kh, kw] = self.kernel;
        let mut rows =
            Vec::with_capacity(self.outputs * down.taps.len() * across.taps.len() * inside);
        for o in 0..self.outputs {
            for ky in &down.taps {
                for kx in &across.taps {
                    for c in o / depth * inside..(o / depth + 1) * inside {
                        let at = |(ky, kx)| ((c * depth + o % depth) * kh + ky) * kw + kx;
                        rows.push(ky.zip(*kx).map_or(0.0, |taps| weight[at(taps)]));
                    }
                }
            }
        }
        Ok(rows)
    }
}

/// Where the outputs of a phase go among all, channels innermost.
fn interleaved(
    phases: [&Phase; 2],
    [down, across]: [&Spread; 2],
    batch: usize,
    channels: usize,
) -> Result<Rearrange, secateur_kernels::KernelError> {
    let [h, w] = phases.map(|phase| phase.outputs);
    let line = across.output * channels;
    let walk = |extent, from: usize, to| Walk {
        extent,
        from: from as isize,
        to,
    };
    let walks = [
        walk(batch, h * w * channels, down.output * line),
        walk(h, w * channels, down.stride * line),
        walk(w, channels, across.stride * channels),
        walk(channels, 1, 1),
    ];
    Rearrange::new(
        &walks,
        0,
        phases[0].first * line + phases[1].first * channels,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every output takes by its phase what it takes by the definition.
    #[test]
    fn phases_take_what_reaches_an_output() {
        for (kernel, stride, dilation) in [
            (4, 2, 1),
            (2, 2, 1),
            (3, 2, 1),
            (1, 3, 1),
            (3, 2, 3),
            (3, 4, 2),
            (5, 1, 2),
        ] {
            for begin in 0..6 {
                for (input, output) in [(1, 3), (4, 9), (5, 2)] {
                    let spread = Spread {
                        input,
                        output,
                        kernel,
                        stride,
                        dilation,
                        begin,
                    };
                    let mut seen = 0;
                    for phase in spread.phases() {
                        for i in 0..phase.outputs {
                            let p = phase.first + i * stride;
                            let found: Vec<(usize, usize)> = (0..phase.taps.len())
                                .filter_map(|place| {
                                    let tap = phase.taps[place]?;
                                    let q =
                                        (i + place * phase.dilation).checked_sub(phase.pads[0])?;
                                    (q < input).then_some((q, tap))
                                })
                                .collect();
                            let meets = |q: usize| {
                                (0..kernel).find(|t| p + begin == q * stride + t * dilation)
                            };
                            let exact: Vec<(usize, usize)> =
                                (0..input).filter_map(|q| Some((q, meets(q)?))).collect();
                            assert_eq!(found, exact, "{spread:?} {p}");
                            seen += 1;
                        }
                    }
                    assert_eq!(seen, output);
                }
            }
        }
    }
}
