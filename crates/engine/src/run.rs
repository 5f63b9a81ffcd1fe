//! The steps of a plan over an arena.

mod blocks;
mod codes;
mod elementwise;
mod lanes;
mod layers;
mod movement;
mod products;
mod recurrent;
mod resample;
mod simple;

use crate::EngineError;
use crate::arena::{Reads, apart, bytes_of, read, views, write};
use crate::team::{ByRows, Flat, Team, Units, blocks};
use secateur_kernels::{KernelError, RowsMut};
use secateur_model::{Node, Tensor, ops};
use secateur_plan::{Action, Buffer, Operand, Operands, Plan, Step};
use std::ops::Range;

/// Runs every step in order.
pub fn run(plan: &Plan, arena: &mut [u8], team: Team<'_>) -> Result<(), EngineError> {
    plan.steps
        .iter()
        .try_for_each(|step| run_step(plan, step, arena, team))
}

/// Runs one step.
pub fn run_step(
    plan: &Plan,
    step: &Step,
    arena: &mut [u8],
    team: Team<'_>,
) -> Result<(), EngineError> {
    let call = Call {
        plan,
        step,
        team: team.for_step(plan, step),
    };
    match &step.action {
        Action::MatMul { layer, rows, after } => call.matmul(arena, layer, *rows, after),
        Action::Conv {
            layer,
            operands,
            batch,
            pad,
            after,
        } => match operands {
            Operands::Rows { im2col, tile } => {
                call.conv(arena, layer, im2col, (*batch, *tile, *pad), after)
            }
            Operands::Lines { slab, rows } => {
                call.conv_lines(arena, layer, slab, (*batch, *rows, *pad), after)
            }
        },
        Action::Depthwise { layer, batch, pad } => call.depthwise(arena, layer, *batch, *pad),
        Action::MaxPool { window, batch } => call.max_pool(arena, window, *batch),
        Action::AveragePool {
            window,
            batch,
            count,
        } => call.average_pool(arena, window, *batch, *count),
        Action::GlobalAveragePool { batch } => call.global_average_pool(arena, *batch),
        Action::Map { function, codes } => call.map(arena, *function, *codes),
        Action::Binary {
            function,
            nest,
            clamp,
        } => call.binary(arena, *function, nest, *clamp),
        Action::Select(nest) => call.select(arena, nest),
        Action::Cast => call.cast(arena),
        Action::Softmax { axis, codes } => call.softmax(arena, *axis, *codes),
        Action::Normalize {
            moments,
            epsilon,
            width,
            addend,
            codes,
        } => call.normalize(arena, (*moments, *epsilon, *width), *addend, *codes),
        Action::Reduce { kind, axis } => call.reduce(arena, *kind, *axis),
        Action::Gather { extent, bytes } => call.gather(arena, *extent, *bytes),
        Action::Product(product) => call.product(arena, product),
        Action::AddCodes(add) => call.add_codes(arena, add),
        Action::Lookup(table) => call.lookup(arena, table),
        Action::MatMulCodes {
            matmul,
            batch,
            rows,
            columns,
            depth,
        } => call.matmul_codes(arena, matmul, *batch, [*rows, *columns, *depth]),
        Action::MeanCodes { mean, count, inner } => call.mean_codes(arena, mean, (*count, *inner)),
        Action::AverageCodes {
            mean,
            window,
            batch,
            count,
        } => call.average_codes(arena, mean, window, (*batch, *count)),
        Action::Rearrange { walks, fill } => call.rearrange(arena, walks, fill.as_deref()),
        Action::Recurrent(layer) => call.recurrent(arena, layer),
        Action::Resample(pass) => call.resample(arena, pass),
        Action::Quantize(affine) => call.quantize(arena, *affine),
        Action::Dequantize(affine) => call.dequantize(arena, *affine),
        Action::ToChannelsLast { batch, channels } => {
            call.transpose(arena, *batch, *channels, true)
        }
        Action::ToChannelsFirst { batch, channels } => {
            call.transpose(arena, *batch, *channels, false)
        }
        Action::Load(tensor) => call.load(arena, tensor),
        Action::Reference(node) => call.reference(arena, node),
    }
}

/// The arena as one step sees it.
struct Parts<'a> {
    out: &'a mut [u8],
    scratch: &'a mut [u8],
    reads: Reads<'a>,
}

/// A step with what it needs to find its buffers.
struct Call<'a> {
    plan: &'a Plan,
    step: &'a Step,
    team: Team<'a>,
}

impl<'a> Call<'a> {
    fn kernel<T>(&self, result: Result<T, KernelError>) -> Result<T, EngineError> {
        result.map_err(|source| EngineError::Kernel {
            step: self.step.name.clone(),
            source,
        })
    }

    fn misplaced(&self) -> EngineError {
        EngineError::Buffers {
            step: self.step.name.clone(),
        }
    }

    fn buffer(&self, index: usize) -> Result<&'a Buffer, EngineError> {
        self.plan.buffers.get(index).ok_or_else(|| self.misplaced())
    }

    fn range(buffer: &Buffer) -> Range<usize> {
        buffer.offset..buffer.offset + buffer.bytes
    }

    fn input(&self, index: usize) -> Result<&'a Buffer, EngineError> {
        match self.step.inputs.get(index) {
            Some(Operand::Buffer(buffer)) => self.buffer(*buffer),
            _ => Err(self.misplaced()),
        }
    }

    fn output(&self) -> Result<&'a Buffer, EngineError> {
        self.buffer(*self.step.outputs.first().ok_or_else(|| self.misplaced())?)
    }

    /// The first input, the output and the working memory.
    fn unary<'b>(&self, arena: &'b mut [u8]) -> Result<[&'b mut [u8]; 3], EngineError> {
        let scratch = self.step.scratch.map_or(0..0, |(at, len)| at..at + len);
        let ranges = [
            Self::range(self.input(0)?),
            Self::range(self.output()?),
            scratch,
        ];
        views(arena, ranges, &self.step.name)
    }

    /// The output, the working memory, and everything that is read.
    fn apart<'b>(&self, arena: &'b mut [u8]) -> Result<Parts<'b>, EngineError> {
        let scratch = self.step.scratch.map_or(0..0, |(at, len)| at..at + len);
        let ranges = [Self::range(self.output()?), scratch];
        let ([out, scratch], reads) = apart(arena, ranges).ok_or_else(|| self.misplaced())?;
        Ok(Parts {
            out,
            scratch,
            reads,
        })
    }

    /// The bytes of an input: of its buffer, or of a constant; none of an absent one.
    fn operand<'b>(&self, reads: &Reads<'b>, index: usize) -> Result<&'b [u8], EngineError>
    where
        'a: 'b,
    {
        let bytes = match self.step.inputs.get(index) {
            Some(Operand::Buffer(buffer)) => reads.get(Self::range(self.buffer(*buffer)?)),
            Some(Operand::Constant(tensor)) => bytes_of(tensor),
            Some(Operand::Absent) => Some(&[][..]),
            None => None,
        };
        bytes.ok_or_else(|| self.misplaced())
    }

    /// Shares units of the output among the threads, in multiples of a granule.
    fn share(
        &self,
        out: &mut [u8],
        units: usize,
        granule: usize,
        work: impl Fn(Range<usize>, &mut [u8]) -> Result<(), EngineError> + Sync,
    ) -> Result<(), EngineError> {
        let all = Units {
            range: 0..units,
            granule,
            out: Flat {
                each: out.len() / units.max(1),
                bytes: out,
            },
            scratch: &mut [],
            scratch_each: 0,
        };
        all.share(self.team, &|range, out, _| work(range, out.bytes))
    }

    /// Shares the pixels of all images, rows of `row_bytes` of `y`: `work(image, pixels, rows)`.
    fn share_pixels(
        &self,
        [batch, pixels]: [usize; 2],
        row_bytes: usize,
        y: &mut [u8],
        work: impl Fn(usize, Range<usize>, RowsMut<'_, u8>) -> Result<(), EngineError> + Sync,
    ) -> Result<(), EngineError> {
        /// Pixels that a thread takes at once.
        const GRANULE: usize = 16;
        let all = Units {
            range: 0..batch * pixels,
            granule: GRANULE,
            out: ByRows {
                out: self.kernel(RowsMut::new(y, batch * pixels, row_bytes))?,
                each: 1,
            },
            scratch: &mut [],
            scratch_each: 0,
        };
        all.share(self.team, &|range, part, _| {
            let mut rest = part.out;
            for (image, pixels) in blocks(range, pixels, pixels) {
                let (now, later) = rest.split_rows(pixels.len());
                rest = later;
                work(image, pixels, now)?;
            }
            Ok(())
        })
    }

    /// Elements of a view.
    fn elements<'b, T: bytemuck::Pod>(&self, bytes: &'b [u8]) -> Result<&'b [T], EngineError> {
        // Nothing need not lie where elements could.
        if bytes.is_empty() {
            return Ok(&[]);
        }
        bytemuck::try_cast_slice(bytes).map_err(|_| self.misplaced())
    }

    /// Elements of a view that is written.
    fn elements_mut<'b, T: bytemuck::Pod>(
        &self,
        bytes: &'b mut [u8],
    ) -> Result<&'b mut [T], EngineError> {
        if bytes.is_empty() {
            return Ok(&mut []);
        }
        bytemuck::try_cast_slice_mut(bytes).map_err(|_| self.misplaced())
    }

    /// f32 elements of a view.
    fn floats<'b>(&self, bytes: &'b [u8]) -> Result<&'b [f32], EngineError> {
        self.elements(bytes)
    }

    /// f32 elements of a view that is written.
    fn floats_mut<'b>(&self, bytes: &'b mut [u8]) -> Result<&'b mut [f32], EngineError> {
        self.elements_mut(bytes)
    }

    fn load(&self, arena: &mut [u8], tensor: &Tensor) -> Result<(), EngineError> {
        let [to] = views(arena, [Self::range(self.output()?)], &self.step.name)?;
        write(tensor, to)
            .then_some(())
            .ok_or_else(|| self.misplaced())
    }

    fn reference(&self, arena: &mut [u8], node: &Node) -> Result<(), EngineError> {
        let mut owned = Vec::with_capacity(self.step.inputs.len());
        for operand in &self.step.inputs {
            owned.push(match operand {
                Operand::Buffer(index) => {
                    let buffer = self.buffer(*index)?;
                    let [bytes] = views(arena, [Self::range(buffer)], &self.step.name)?;
                    Some(read(bytes, buffer.dtype, &buffer.shape)?)
                }
                Operand::Constant(_) | Operand::Absent => None,
            });
        }
        let inputs: Vec<Option<&Tensor>> = self
            .step
            .inputs
            .iter()
            .zip(&owned)
            .map(|(operand, owned)| match operand {
                Operand::Constant(tensor) => Some(tensor.as_ref()),
                _ => owned.as_ref(),
            })
            .collect();
        let results = ops::evaluate(node, &inputs)?;
        for (result, &index) in results.iter().zip(&self.step.outputs) {
            let range = Self::range(self.buffer(index)?);
            let [to] = views(arena, [range], &self.step.name)?;
            if !write(result, to) {
                return Err(self.misplaced());
            }
        }
        Ok(())
    }
}
