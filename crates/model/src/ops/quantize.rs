//! QuantizeLinear and DequantizeLinear: per tensor, per axis, and in blocks
//! along an axis. The arithmetic is `quant`'s, in f32.

use super::TypedShape;
use super::args::{Shapes, Tensors};
use crate::quant;
use crate::{DType, Data, ModelError, Shape, Tensor};

const HALF_TO_SINGLE: &[DType] = &[DType::F32, DType::F16, DType::BF16];
const CODES: &[DType] = &[DType::I8, DType::U8, DType::I16, DType::U16];

pub(super) fn infer_quantize(
    args: &Shapes<'_>,
    axis: i64,
    block_size: i64,
    to: Option<DType>,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, HALF_TO_SINGLE)?;
    let scale = args.typed(1, HALF_TO_SINGLE)?;
    let zero_point = args.get(2);
    Grid::new(args, axis, block_size, &x.shape, &scale.shape)?;
    if let Some(zero_point) = zero_point {
        check_zero_point(args, 2, &zero_point.shape, &scale.shape)?;
    }
    let output = match (to, zero_point.map(|z| z.dtype)) {
        (Some(to), Some(found)) if to != found => {
            return Err(args.wrong(format!("`output_dtype` is {to}, the zero point's {found}")));
        }
        (Some(dtype), _) | (None, Some(dtype)) => dtype,
        (None, None) => DType::U8,
    };
    if !CODES.contains(&output) {
        return Err(args.unsupported(format!("quantization to {output}")));
    }
    Ok(vec![(output, x.shape.clone())])
}

/// `y = saturate(round_half_even(x / scale) + zero_point)`.
pub(super) fn quantize(
    args: &Tensors<'_>,
    axis: i64,
    block_size: i64,
) -> Result<Vec<Tensor>, ModelError> {
    let (grid, scales, zero_points) = parts(args, axis, block_size)?;
    let dtype = args.output()?.0;
    let (lo, hi) = code_range(dtype).ok_or_else(|| args.no_type(2, dtype))?;
    let codes = args
        .floats(0)?
        .into_iter()
        .enumerate()
        .map(|(at, x)| {
            let i = grid.index(at);
            let zero_point = zero_points.as_ref().map_or(0, |z| z[i]);
            quant::quantize(x, scales[i], zero_point, lo, hi)
        })
        .collect();
    args.single(args.round_integers(dtype, codes)?)
}

pub(super) fn infer_dequantize(
    args: &Shapes<'_>,
    axis: i64,
    block_size: i64,
) -> Result<Vec<TypedShape>, ModelError> {
    const WIDE: &[DType] = &[DType::I8, DType::U8, DType::I16, DType::U16, DType::I32];
    let x = args.typed(0, WIDE)?;
    let scale = args.typed(1, HALF_TO_SINGLE)?;
    Grid::new(args, axis, block_size, &x.shape, &scale.shape)?;
    if let Some(zero_point) = args.get(2) {
        args.same_type(2)?;
        check_zero_point(args, 2, &zero_point.shape, &scale.shape)?;
    }
    Ok(vec![(scale.dtype, x.shape.clone())])
}

/// `y = (x − zero_point) · scale`; the zero point of i32 must be 0.
pub(super) fn dequantize(
    args: &Tensors<'_>,
    axis: i64,
    block_size: i64,
) -> Result<Vec<Tensor>, ModelError> {
    let (grid, scales, zero_points) = parts(args, axis, block_size)?;
    let x = args.need(0)?;
    let shifted = zero_points
        .as_ref()
        .is_some_and(|z| z.iter().any(|&z| z != 0));
    if shifted && matches!(x.data(), Data::I32(_)) {
        return Err(args.wrong("the zero point of i32 values must be 0"));
    }
    let values = args
        .integers(0)?
        .into_iter()
        .enumerate()
        .map(|(at, q)| {
            let i = grid.index(at);
            let zero_point = zero_points.as_ref().map_or(0, |z| z[i]);
            quant::dequantize(q, scales[i], zero_point)
        })
        .collect();
    args.single(args.round_floats(args.output()?.0, values)?)
}

/// The least and the largest code of a type.
pub(super) fn code_range(dtype: DType) -> Option<(i32, i32)> {
    Some(match dtype {
        DType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DType::U8 => (0, u8::MAX.into()),
        DType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DType::U16 => (0, u16::MAX.into()),
        _ => return None,
    })
}

/// A zero point has its scale's shape; one value may be a scalar or a list.
pub(super) fn check_zero_point(
    args: &Shapes<'_>,
    index: usize,
    zero_point: &Shape,
    scale: &Shape,
) -> Result<(), ModelError> {
    let both_single = zero_point.elements() == 1 && scale.elements() == 1;
    if both_single || zero_point == scale {
        return Ok(());
    }
    Err(args.wrong(format!(
        "zero point (input {index}) must be {scale} like its scale, found {zero_point}"
    )))
}

type Parts = (Grid, Vec<f32>, Option<Vec<i32>>);

fn parts(args: &Tensors<'_>, axis: i64, block_size: i64) -> Result<Parts, ModelError> {
    let shapes = Shapes {
        node: args.node,
        inputs: &[],
    };
    let (x, scale) = (args.need(0)?, args.need(1)?);
    let grid = Grid::new(&shapes, axis, block_size, x.shape(), scale.shape())?;
    let zero_points = args.get(2).map(|_| args.integers(2)).transpose()?;
    Ok((grid, args.floats(1)?, zero_points))
}

/// Which scale belongs to an element.
struct Grid {
    /// Elements behind one position of the axis.
    run: usize,
    /// Extent of the axis.
    extent: usize,
    /// Positions of the axis that share a scale.
    block: usize,
    /// Scales along the axis; 0: one scale for everything.
    scales: usize,
    /// Whether the axes before have their own scales.
    blocked: bool,
}

impl Grid {
    fn new(
        args: &Shapes<'_>,
        axis: i64,
        block_size: i64,
        x: &Shape,
        scale: &Shape,
    ) -> Result<Self, ModelError> {
        let block = usize::try_from(block_size)
            .map_err(|_| args.wrong(format!("`block_size` is {block_size}")))?;
        if block == 0 && scale.rank() <= 1 && scale.elements() == 1 {
            return Ok(Self {
                run: 1,
                extent: 1,
                block: 1,
                scales: 0,
                blocked: false,
            });
        }
        let axis = args.axis(axis, x.rank())?;
        let mut needed = x.dims().to_vec();
        if block > 0 {
            needed[axis] = needed[axis].div_ceil(block);
        } else {
            needed = vec![x[axis]];
        }
        if scale.dims() != needed {
            return Err(args.wrong(format!(
                "scale must be {needed:?} for an input {x}, axis {axis} and blocks of {block}, \
                 found {scale}"
            )));
        }
        Ok(Self {
            run: x.iter().skip(axis + 1).product(),
            extent: x[axis],
            block: block.max(1),
            scales: x[axis].div_ceil(block.max(1)),
            blocked: block > 0,
        })
    }

    fn index(&self, at: usize) -> usize {
        if self.scales == 0 {
            return 0;
        }
        let (outer, rest) = (at / self.run / self.extent, at % self.run);
        let along = at / self.run % self.extent / self.block;
        match self.blocked {
            true => (outer * self.scales + along) * self.run + rest,
            false => along,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{DType, Data, Node, Op, Shape, Tensor};
    use half::f16;

    fn quantize(axis: i64, block_size: i64, to: Option<DType>) -> Node {
        let op = Op::QuantizeLinear {
            axis,
            block_size,
            to,
        };
        Node::new("q", op, &["x", "s", "z"], &["y"])
    }

    fn dequantize(axis: i64, block_size: i64) -> Node {
        let op = Op::DequantizeLinear { axis, block_size };
        Node::new("d", op, &["x", "s", "z"], &["y"])
    }

    #[test]
    fn one_scale_rounds_to_even_and_saturates() {
        let x = Tensor::f32(&[4], vec![1.0, 3.0, -1.0, 1e9]).unwrap();
        let s = Tensor::scalar_f32(2.0);
        let z = Tensor::u8(&[], vec![1]).unwrap();
        let y = evaluate(&quantize(1, 0, None), &[Some(&x), Some(&s), Some(&z)]).unwrap();
        assert_eq!(y, [Tensor::u8(&[4], vec![1, 3, 1, 255]).unwrap()]);
        let y = evaluate(&quantize(1, 0, Some(DType::I16)), &[Some(&x), Some(&s)]).unwrap();
        assert_eq!(y[0].data(), &Data::I16(vec![0, 2, 0, i16::MAX]));
    }

    #[test]
    fn an_axis_has_its_scales() {
        let x = Tensor::i8(&[2, 2], vec![1, 2, 3, 4]).unwrap();
        let s = Tensor::f32(&[2], vec![1.0, 10.0]).unwrap();
        let z = Tensor::i8(&[2], vec![0, 1]).unwrap();
        let run = |axis| {
            let y = evaluate(&dequantize(axis, 0), &[Some(&x), Some(&s), Some(&z)]).unwrap();
            y[0].as_f32().unwrap().to_vec()
        };
        assert_eq!(run(0), [1., 2., 20., 30.]);
        assert_eq!(run(-1), [1., 10., 3., 30.]);
    }

    #[test]
    fn blocks_share_a_scale() {
        let x = Tensor::i8(&[2, 3], vec![1, 1, 1, 1, 1, 1]).unwrap();
        let s = Tensor::f32(&[2, 2], vec![1., 2., 3., 4.]).unwrap();
        let y = evaluate(&dequantize(1, 2), &[Some(&x), Some(&s)]).unwrap();
        assert_eq!(y[0].as_f32().unwrap(), [1., 1., 2., 3., 3., 4.]);
        let s = Tensor::f32(&[1, 3], vec![1., 2., 3.]).unwrap();
        let y = evaluate(&dequantize(0, 2), &[Some(&x), Some(&s)]).unwrap();
        assert_eq!(y[0].as_f32().unwrap(), [1., 2., 3., 1., 2., 3.]);
    }

    #[test]
    fn what_is_not_taken_is_named() {
        let x = Tensor::f32(&[2], vec![0.0; 2]).unwrap();
        let s = Tensor::f32(&[3], vec![1.0; 3]).unwrap();
        let error = |node: &Node, x: &Tensor, s: &Tensor, z: Option<&Tensor>| {
            let error = evaluate(node, &[Some(x), Some(s), z]).unwrap_err();
            error.to_string()
        };
        assert!(error(&quantize(0, 0, None), &x, &s, None).contains("scale must be"));
        assert!(error(&quantize(0, -1, None), &x, &s, None).contains("block_size"));
        let one = Tensor::scalar_f32(1.0);
        let float8 = quantize(0, 0, Some(DType::Opaque(17)));
        assert!(error(&float8, &x, &one, None).contains("onnx-type-17"));
        let i = Tensor::i32(&[1], vec![i32::MIN]).unwrap();
        let z = Tensor::i32(&[], vec![1]).unwrap();
        assert!(error(&dequantize(0, 0), &i, &one, Some(&z)).contains("must be 0"));
    }

    #[test]
    fn half_scales_give_half_values() {
        let s = Tensor::new(Shape::scalar(), Data::F16(vec![f16::from_f32(0.5)])).unwrap();
        let x = Tensor::u8(&[1], vec![3]).unwrap();
        let y = evaluate(&dequantize(0, 0), &[Some(&x), Some(&s)]).unwrap();
        assert_eq!(y[0].data(), &Data::F16(vec![f16::from_f32(1.5)]));
    }
}
