//! Steps whose inputs and outputs are codes: sums, means, tables.

use super::products::{Side, matrices};
use super::{Build, Cost, following};
use crate::PlanError;
use crate::draft::{Arithmetic, Clamp, Fused, OnCodes, Quantization};
use crate::geometry::{touches_image, window2d};
use crate::plan::{Action, Choice, Layout, Operand};
use secateur_kernels::{AddCodes, Codes, KernelError, MatmulCodes, MeanCodes, PadCount, What};
use secateur_model::ops::TypedShape;
use secateur_model::{DType, Data, ModelError, Node, Op, Shape};
use std::sync::Arc;

impl Build<'_> {
    /// Adds the steps of a node that computes on codes; `false` where it does
    /// not.
    pub(super) fn codes(
        &mut self,
        node: &Node,
        fused: Fused,
        outputs: &[TypedShape],
    ) -> Result<bool, PlanError> {
        let ([(_, shape)], Some(x), Some(y)) = (outputs, node.input(0), node.output(0)) else {
            return Ok(false);
        };
        match fused.arithmetic {
            Arithmetic::Float | Arithmetic::Integer { .. } => return Ok(false),
            Arithmetic::Codes(OnCodes::Sum { a, b, y }) => {
                self.sum(node, [a, b, y], fused.clamp, shape)?
            }
            Arithmetic::Codes(OnCodes::Mean { x, y }) => self.mean(node, x, y, shape)?,
            Arithmetic::Codes(OnCodes::Product { a, b, y }) => {
                self.code_product(node, [a, b], y, shape)?;
            }
            Arithmetic::Codes(OnCodes::Table) => {
                let (dtype, table) = self.table(node)?;
                let layout = self.present_layout(x);
                let from = self.in_layout(x, layout)?;
                let result = following::Result {
                    node,
                    name: y,
                    dtype,
                    shape,
                    layout,
                };
                if !self.look_up_behind_layer(result, &table, from) {
                    let to = self.define(y, dtype, shape, layout)?;
                    self.simple(&node.name, Action::Lookup(table), &[from], to, "lookup");
                }
            }
        }
        Ok(true)
    }

    fn sum(
        &mut self,
        node: &Node,
        [a, b, y]: [Quantization; 3],
        clamp: Clamp,
        shape: &Shape,
    ) -> Result<(), PlanError> {
        let refused = |e| Self::kernel_error(node, e);
        let add = AddCodes::new(
            (codes_of(a).map_err(refused)?, a.scale / y.scale),
            (codes_of(b).map_err(refused)?, b.scale / y.scale),
            codes_of(y).map_err(refused)?,
            (y.code(clamp.lo), y.code(clamp.hi)),
        );
        let add = add.map_err(refused)?;
        let (Some(first), Some(second), Some(output)) =
            (node.input(0), node.input(1), node.output(0))
        else {
            return Err(incomplete(node));
        };
        let layout = match (self.layout_of_images(first), self.layout_of_images(second)) {
            (Layout::Plain, Layout::Plain) => Layout::Plain,
            _ if shape.rank() == 4 => Layout::ChannelsLast,
            _ => Layout::Plain,
        };
        let mut from = [0; 2];
        for (place, name) in from.iter_mut().zip([first, second]) {
            *place = match self.shape_of_value(name)? == *shape {
                true => self.in_layout(name, layout)?,
                false => self.repeated(name, shape, layout)?,
            };
        }
        let result = following::Result {
            node,
            name: output,
            dtype: y.dtype,
            shape,
            layout,
        };
        if self.add_behind_layer(result, add, from) {
            return Ok(());
        }
        let to = self.define(output, y.dtype, shape, layout)?;
        self.simple(&node.name, Action::AddCodes(add), &from, to, "add_codes");
        Ok(())
    }

    /// The layout in which whole images are to be had; of anything else, plain.
    pub(super) fn layout_of_images(&self, name: &str) -> Layout {
        match self.values.get(name) {
            Some(value) if value.shape.rank() == 4 => self.present_layout(name),
            _ => Layout::Plain,
        }
    }

    fn mean(
        &mut self,
        node: &Node,
        x: Quantization,
        y: Option<Quantization>,
        shape: &Shape,
    ) -> Result<(), PlanError> {
        let refused = |e| Self::kernel_error(node, e);
        let factor = y.map_or(x.scale, |y| x.scale / y.scale);
        let end = y.map(codes_of).transpose().map_err(refused)?;
        let mean = codes_of(x).and_then(|codes| MeanCodes::new(codes, factor, end));
        let mean = mean.map_err(refused)?;
        let dtype = y.map_or(DType::F32, |y| y.dtype);
        let (Some(from), Some(output)) = (node.input(0), node.output(0)) else {
            return Err(incomplete(node));
        };
        if let Op::AveragePool {
            window,
            count_include_pad,
        } = &node.op
        {
            let (&[batch, channels, h, w], &[_, _, oh, ow], &[kh, kw]) = (
                self.shape_of_value(from)?.dims(),
                shape.dims(),
                &window.kernel[..],
            ) else {
                return Err(unsupported(
                    node,
                    "only pools of images have kernels on codes",
                ));
            };
            let placed = window2d(window, [kh, kw], channels, [h, w], [oh, ow]);
            let Some(window) = placed.filter(touches_image) else {
                return Err(unsupported(node, "a window lies wholly in the padding"));
            };
            let count = match count_include_pad {
                true => PadCount::Include,
                false => PadCount::Exclude,
            };
            let (from, _) = self.channels_last(from)?;
            let to = self.define(output, dtype, shape, Layout::ChannelsLast)?;
            let action = Action::AverageCodes {
                mean,
                window,
                batch,
                count,
            };
            self.simple(&node.name, action, &[from], to, "average_codes");
            return Ok(());
        }
        let dims = self.shape_of_value(from)?.dims().to_vec();
        let axes = self.mean_axes(node, dims.len())?;
        let images = self.layout_of_images(from) == Layout::ChannelsLast;
        let count = dims[axes.clone()].iter().product();
        // Of images with their channels innermost, the plane lies between.
        let (layout, inner) = match images && axes == (2..4) {
            true => (Layout::ChannelsLast, dims[1]),
            false => (Layout::Plain, dims[axes.end..].iter().product()),
        };
        let from = self.in_layout(from, layout)?;
        let to = self.define(output, dtype, shape, layout)?;
        let action = Action::MeanCodes { mean, count, inner };
        self.simple(&node.name, action, &[from], to, "mean_codes");
        Ok(())
    }

    /// The axes that a node takes the mean over, which are neighbours.
    fn mean_axes(&self, node: &Node, rank: usize) -> Result<std::ops::Range<usize>, PlanError> {
        if matches!(node.op, Op::GlobalAveragePool) {
            return Ok(2..rank.max(2));
        }
        let axes = node.input(1).and_then(|name| self.known(name));
        let Some(Data::I64(axes)) = axes.as_ref().map(|t| t.data()) else {
            return Err(unsupported(node, "its axes are not known"));
        };
        let place = |a: i64| if a < 0 { a + rank as i64 } else { a };
        let places = || axes.iter().map(|&a| place(a));
        match (places().min(), places().max()) {
            (Some(first), Some(last)) if first >= 0 && last < rank as i64 => {
                Ok(first as usize..last as usize + 1)
            }
            _ => Err(unsupported(node, "its axes are not of its input")),
        }
    }

    fn code_product(
        &mut self,
        node: &Node,
        [a, b]: [Quantization; 2],
        y: Option<Quantization>,
        shape: &Shape,
    ) -> Result<(), PlanError> {
        let refused = |e| Self::kernel_error(node, e);
        let (Some(first), Some(second), Some(output)) =
            (node.input(0), node.input(1), node.output(0))
        else {
            return Err(incomplete(node));
        };
        let shapes = [self.shape_of_value(first)?, self.shape_of_value(second)?];
        let (batch_a, [m, k]) = matrices(shapes[0].dims(), Side::Left);
        let (batch_b, [_, n]) = matrices(shapes[1].dims(), Side::Right);
        let end = y.map(codes_of).transpose().map_err(refused)?;
        let factor = OnCodes::product_factor(a, b, y);
        let codes = [codes_of(a).map_err(refused)?, codes_of(b).map_err(refused)?];
        let matmul = MatmulCodes::new(codes[0], codes[1], factor, end, (k, n)).map_err(refused)?;

        let rank = batch_a.len().max(batch_b.len());
        let batch = &shape.dims()[..rank];
        let mut from = [0; 2];
        let parts = [(first, batch_a, [m, k]), (second, batch_b, [k, n])];
        for (place, (name, own, ends)) in from.iter_mut().zip(parts) {
            *place = match own == batch {
                true => self.plain(name)?,
                false => {
                    let whole: Vec<usize> = batch.iter().copied().chain(ends).collect();
                    self.repeated(name, &Shape::new(&whole)?, Layout::Plain)?
                }
            };
        }
        let count: usize = batch.iter().product();
        let extents = [count, m, n, k];
        let macs = extents
            .iter()
            .fold(1u64, |all, &n| all.saturating_mul(n as u64));
        let cost = Cost {
            macs,
            nonzero_macs: macs,
            weight_bytes: 0,
            scratch_bytes: matmul.scratch_bytes().next_multiple_of(64) * self.threads,
            compute_us: macs as f64 / self.planner.costs().peak_gmacs(What::DenseI8) / 1e3,
        };
        let dtype = y.map_or(DType::F32, |y| y.dtype);
        let to = self.define(output, dtype, shape, Layout::Plain)?;
        let action = Action::MatMulCodes {
            matmul,
            batch: count,
            rows: m,
            columns: n,
            depth: k,
        };
        let inputs = from.map(Operand::Buffer).to_vec();
        let choice = Choice::only("u8i8i32_matmul_codes");
        self.step(&node.name, action, inputs, vec![to], choice, cost);
        Ok(())
    }

    fn table(&self, node: &Node) -> Result<(DType, Arc<[u8; 256]>), PlanError> {
        let table = node.input(1).and_then(|name| self.known(name));
        let bytes: Option<Vec<u8>> = table.as_ref().and_then(|t| match t.data() {
            Data::U8(v) => Some(v.clone()),
            Data::I8(v) => Some(v.iter().map(|&c| c as u8).collect()),
            _ => None,
        });
        let array = bytes.and_then(|b| <[u8; 256]>::try_from(b).ok());
        match (table, array) {
            (Some(table), Some(array)) => Ok((table.dtype(), Arc::new(array))),
            _ => Err(unsupported(node, "its table has not 256 codes")),
        }
    }
}

/// The codes of a quantization, as kernels take them.
fn codes_of(q: Quantization) -> Result<Codes, KernelError> {
    match q.dtype {
        DType::I8 => Codes::signed(q.zero_point),
        _ => Codes::unsigned(q.zero_point),
    }
}

fn unsupported(node: &Node, why: &str) -> PlanError {
    ModelError::unsupported(node, why).into()
}

fn incomplete(node: &Node) -> PlanError {
    ModelError::at(node, "an input or its output is missing").into()
}
