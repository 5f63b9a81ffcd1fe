//! The steps of multiplying layers.

use super::packing::{Lie, Packing, products};
use super::{Build, Cost};
use crate::PlanError;
use crate::cost::Load;
use crate::draft::{Arithmetic, Fused};
use crate::geometry::window2d;
use crate::integer::Integers;
use crate::layer::{Kind, Linear};
use crate::packed::{Depthwise, Filters, IntegerLayer, kernel_clamp};
use crate::plan::{Action, Choice, Layout, Operand, Operands};
use crate::weights::row_sums;
use secateur_kernels::{After, DepthwiseF32, DepthwiseI8, Im2col, KernelError, Slab, Window2d};
use secateur_model::{DType, ModelError, Node, Shape, Window};
use std::sync::Arc;

/// Bytes of gathered rows that stay in the first or second cache while every
/// output channel reads them.
const TILE_BYTES: usize = 64 << 10;

/// Bytes of a slab: it is read once a tap, and by all output channels.
const SLAB_BYTES: usize = 128 << 10;

impl<'p> Build<'p> {
    /// Adds the steps of a multiplying layer; `false` where its input has no
    /// kernel.
    pub(super) fn linear(
        &mut self,
        node: &'p Node,
        linear: Linear<'p>,
        fused: Fused,
        output: (DType, &Shape),
    ) -> Result<bool, PlanError> {
        let x_type = match fused.arithmetic {
            Arithmetic::Float | Arithmetic::Codes(_) => DType::F32,
            Arithmetic::Integer { x, .. } => x.dtype,
        };
        let Some(x) = node.input(0) else {
            return Ok(false);
        };
        if self.value(x)?.dtype != x_type {
            return Ok(false);
        }
        match linear.kind {
            Kind::Rows | Kind::Columns => self.matrix(node, linear, fused, output),
            Kind::Conv { window, groups } => {
                self.convolution(node, linear, fused, output, (window, groups))
            }
        }
    }

    fn matrix(
        &mut self,
        node: &'p Node,
        linear: Linear<'p>,
        fused: Fused,
        (dtype, shape): (DType, &Shape),
    ) -> Result<bool, PlanError> {
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
            return Ok(false);
        };
        let integer = matches!(fused.arithmetic, Arithmetic::Integer { .. });
        // Integer sums are exact in any order, so flattened images need no
        // transposition; f32 sums keep the reference's order.
        let flattened = self.value(x)?.last.filter(|_| integer);
        let (from, image) = match flattened {
            Some((buffer, [_, c, h, w])) if c * h * w == linear.depth() => {
                (buffer, Some([c, h, w]))
            }
            _ => (self.plain(x)?, None),
        };
        let rows = shape.elements() / linear.outputs().max(1);
        let to = self.define(y, dtype, shape, Layout::Plain)?;
        self.packings.push(Packing {
            step: self.steps.len(),
            node,
            fused,
            image,
            groups: 1,
            pixels: rows,
            operands: None,
            linear,
        });
        let action = Action::MatMul {
            layer: Arc::default(),
            rows,
            after: After::Nothing,
        };
        self.unpacked(node, action, from, to);
        Ok(true)
    }

    fn convolution(
        &mut self,
        node: &'p Node,
        linear: Linear<'p>,
        fused: Fused,
        (dtype, shape): (DType, &Shape),
        (window, groups): (&Window, usize),
    ) -> Result<bool, PlanError> {
        let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
            return Ok(false);
        };
        let (&[batch, channels, h, w], &[_, _, oh, ow], &[_, _, kh, kw]) = (
            self.value(x)?.shape.dims(),
            shape.dims(),
            linear.weight.shape().dims(),
        ) else {
            return Ok(false);
        };
        let Some(placed) = window2d(window, [kh, kw], channels, [h, w], [oh, ow]) else {
            return Ok(false);
        };
        let refused = |e| Self::kernel_error(node, e);
        let (item, pad) = match fused.arithmetic {
            Arithmetic::Float | Arithmetic::Codes(_) => (4, 0),
            Arithmetic::Integer { x, .. } => (1, x.zero_point as u8),
        };
        let (from, _) = self.channels_last(x)?;
        let pixels = batch * oh * ow;

        if groups > 1 && groups == channels && groups == linear.outputs() {
            let layer = self.depthwise(node, &linear, fused, placed)?;
            let (kernel, weight_bytes) = match &layer.filters {
                Filters::F32(f) => (f.kernel(), f.bytes()),
                Filters::I8(f) => (f.kernel(), f.bytes()),
            };
            let load = Load {
                multiplies: channels.saturating_mul(kh * kw),
                outputs: channels,
                pixels,
                weight_bytes,
                moved_bytes: 0,
            };
            let cost = Cost {
                macs: products(&[pixels, channels, kh, kw]),
                nonzero_macs: products(&[pixels, linear.nonzeros()]),
                weight_bytes,
                scratch_bytes: 0,
                compute_us: self.planner.costs().predicted_us(kernel.what, load),
            };
            let to = self.define(y, dtype, shape, Layout::ChannelsLast)?;
            let action = Action::Depthwise {
                layer: Arc::new(layer),
                batch,
                pad,
            };
            let choice = Choice {
                kernel: kernel.name.into(),
                reason: "every channel has its own filter".into(),
                refused: Vec::new(),
            };
            self.step(
                &node.name,
                action,
                vec![Operand::Buffer(from)],
                vec![to],
                choice,
                cost,
            );
            return Ok(true);
        }

        let im2col = Im2col::new(placed, groups, channels / groups.max(1)).map_err(refused)?;
        let integer = matches!(fused.arithmetic, Arithmetic::Integer { .. });
        let slab = Slab::new(placed).filter(|_| groups == 1 && integer && !im2col.is_identity());
        let rows = Operands::Rows {
            im2col,
            tile: (TILE_BYTES / (im2col.cols() * item).max(1))
                .clamp(16, 256)
                .min((oh * ow).max(1)),
        };
        let lines = slab.map(|slab| Operands::Lines {
            slab,
            rows: slab_rows(&slab, self.threads),
        });
        let to = self.define(y, dtype, shape, Layout::ChannelsLast)?;
        self.packings.push(Packing {
            step: self.steps.len(),
            node,
            fused,
            image: None,
            groups,
            pixels,
            operands: Some(Lie { rows, lines, item }),
            linear,
        });
        let action = Action::Conv {
            layer: Arc::default(),
            operands: rows,
            batch,
            pad,
            after: After::Nothing,
        };
        self.unpacked(node, action, from, to);
        Ok(true)
    }

    /// Adds the step of a layer that is yet to be packed.
    fn unpacked(&mut self, node: &Node, action: Action, from: usize, to: usize) {
        let choice = Choice::only("none");
        let (inputs, outputs) = (vec![Operand::Buffer(from)], vec![to]);
        self.step(&node.name, action, inputs, outputs, choice, Cost::default());
    }

    fn depthwise(
        &self,
        node: &Node,
        linear: &Linear<'_>,
        fused: Fused,
        window: Window2d,
    ) -> Result<Depthwise, PlanError> {
        let isa = self.planner.isa();
        let refused = |e: KernelError| Self::kernel_error(node, e);
        match fused.arithmetic {
            Arithmetic::Float | Arithmetic::Codes(_) => {
                let filters =
                    DepthwiseF32::pack(isa, window, &linear.rows_f32(), linear.bias.as_deref())
                        .map_err(refused)?;
                Ok(Depthwise {
                    filters: Filters::F32(filters),
                    finish: crate::packed::Finish::Float(
                        kernel_clamp(fused.clamp).map_err(refused)?,
                    ),
                })
            }
            Arithmetic::Integer { x, y } => {
                let integers = Integers::derive(linear, x, y, fused.clamp)
                    .map_err(|why| ModelError::unsupported(node, why))?;
                let rows = linear.rows_i8();
                let sums = row_sums(&rows, linear.outputs());
                let bias = integers.shifted_bias(&sums, x.zero_point);
                let filters =
                    DepthwiseI8::pack(isa, window, &rows, Some(&bias)).map_err(refused)?;
                let numbers = IntegerLayer {
                    integers: &integers,
                    x,
                    y,
                    clamp: fused.clamp,
                };
                Ok(Depthwise {
                    filters: Filters::I8(filters),
                    finish: numbers.finish(0..linear.outputs()).map_err(refused)?,
                })
            }
        }
    }
}

/// Rows of the output whose slab fits the cache, some for every thread.
fn slab_rows(slab: &Slab, threads: usize) -> usize {
    let all = slab.window().output[0].max(1);
    let most = all.div_ceil(threads.max(1));
    let one = slab.len(1);
    let more = (slab.len(2) - one).max(1);
    (1 + SLAB_BYTES.saturating_sub(one) / more).min(most)
}
