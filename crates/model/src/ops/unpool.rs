//! MaxUnpool and Col2Im: values put back where windows took them from.

use super::TypedShape;
use super::args::{FLOATS, NUMBERS, Shapes, Tensors};
use super::element::{Element, Number, match_numbers};
use super::gather::indices;
use super::window::{Placement, advance};
use crate::{DType, Data, ModelError, Shape, Tensor, Window, match_data};

/// The extents from which MaxPool with this window gave x.
fn unpooled(args: &Shapes<'_>, window: &Window, x: &Shape) -> Result<Shape, ModelError> {
    let misfit = || args.wrong(format!("no plane gives {x} by this window"));
    let rank = window.kernel.len();
    let [batch, channels, spatial @ ..] = x.dims() else {
        return Err(misfit());
    };
    let fits = |list: &[usize], count: usize| list.is_empty() || list.len() == count;
    if spatial.len() != rank || !fits(&window.strides, rank) || !fits(&window.pads, 2 * rank) {
        return Err(misfit());
    }
    let mut dims = vec![*batch, *channels];
    for (axis, extent) in spatial.iter().enumerate() {
        let stride = window.strides.get(axis).copied().unwrap_or(1);
        let pad = |at: usize| window.pads.get(at).copied().unwrap_or(0);
        let extent = extent
            .checked_sub(1)
            .and_then(|steps| steps.checked_mul(stride)?.checked_add(window.kernel[axis]))
            .and_then(|all| all.checked_sub(pad(axis))?.checked_sub(pad(axis + rank)));
        dims.push(extent.ok_or_else(misfit)?);
    }
    args.shape(&dims)
}

pub(super) fn infer_max(args: &Shapes<'_>, window: &Window) -> Result<Vec<TypedShape>, ModelError> {
    let (x, at) = (args.typed(0, FLOATS)?, args.typed(1, &[DType::I64])?);
    if at.shape != x.shape {
        return Err(args.wrong(format!("indices {} for {}", at.shape, x.shape)));
    }
    let shape = unpooled(args, window, &x.shape)?;
    let Some(asked) = args.integers(2)? else {
        return Ok(vec![(x.dtype, shape)]);
    };
    let asked: Option<Vec<usize>> = asked.iter().map(|&n| usize::try_from(n).ok()).collect();
    let asked = asked
        .filter(|dims| {
            dims.len() == shape.rank() && dims.iter().zip(shape.iter()).all(|(a, s)| a >= s)
        })
        .ok_or_else(|| args.wrong(format!("the output (input 2) does not hold {shape}")))?;
    Ok(vec![(x.dtype, args.shape(&asked)?)])
}

/// Zeros, with each element where its index (input 1) says; indices count in the
/// extents that follow from the window, which stand at the beginning of the
/// output.
pub(super) fn max(args: &Tensors<'_>, window: &Window) -> Result<Vec<Tensor>, ModelError> {
    fn put<T: Element>(x: &[T], size: usize, places: &[usize]) -> Data {
        let mut y = vec![T::ZERO; size];
        for (&x, &place) in x.iter().zip(places) {
            y[place] = x;
        }
        T::wrap(y)
    }
    let x = args.need(0)?;
    let shapes = Shapes {
        node: args.node,
        inputs: &[],
    };
    let inner = unpooled(&shapes, window, x.shape())?;
    let output = &args.output()?.1;
    let strides = output.strides();
    let places = indices(args, 1)?.into_iter().map(|index| {
        let index = usize::try_from(index).ok();
        let mut index = index
            .filter(|&index| index < inner.elements())
            .ok_or_else(|| args.wrong(format!("an index beyond {inner}")))?;
        let mut place = 0;
        for (&extent, stride) in inner.iter().zip(&strides).rev() {
            place += index % extent * stride;
            index /= extent;
        }
        Ok(place)
    });
    let places = places.collect::<Result<Vec<usize>, ModelError>>()?;
    let size = output.elements();
    let data = match_data!(x.data(), v => put(v, size, &places), other => {
        return Err(args.no_type(0, other.dtype()));
    });
    args.single(data)
}

/// Channels, and the window placed over the image.
fn blocks(args: &Shapes<'_>, window: &Window, x: &Shape) -> Result<(usize, Placement), ModelError> {
    let list = |index: usize| {
        let list = args.integers(index)?.unwrap_or_default();
        let list: Option<Vec<usize>> = list.iter().map(|&n| usize::try_from(n).ok()).collect();
        list.ok_or_else(|| args.wrong(format!("input {index} must not be negative")))
    };
    let (image, block) = (list(1)?, list(2)?);
    args.shape(&image)?;
    let placed = Window {
        kernel: block.clone(),
        ..window.clone()
    };
    let placement = Placement::new(args.node, &placed, &block, &image)?;
    let misfit = || args.wrong(format!("{x} is not made of blocks {block:?} of {image:?}"));
    let &[_, rows, columns] = x.dims() else {
        return Err(misfit());
    };
    let taps: usize = block.iter().product();
    let places = args.shape(&placement.output)?.elements();
    if image.is_empty() || rows % taps != 0 || columns != places {
        return Err(misfit());
    }
    Ok((rows / taps, placement))
}

pub(super) fn infer_col2im(
    args: &Shapes<'_>,
    window: &Window,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, NUMBERS)?;
    args.need(1)?;
    args.need(2)?;
    let (channels, placement) = blocks(args, window, &x.shape)?;
    let dims = [&[x.shape[0], channels], &placement.input[..]].concat();
    Ok(vec![(x.dtype, args.shape(&dims)?)])
}

/// The image whose windows are the columns of x, overlapping ones added up in
/// the order of the windows; f16 and bf16 in f32, rounded once.
pub(super) fn col2im(args: &Tensors<'_>, window: &Window) -> Result<Vec<Tensor>, ModelError> {
    fn add<T: Number>(x: &[T], planes: usize, placement: &Placement, columns: usize) -> Vec<T> {
        let plane: usize = placement.input.iter().product();
        let taps = x.len() / planes.max(1) / columns.max(1);
        let mut y = vec![T::ZERO; planes * plane];
        for p in 0..planes {
            let mut at = vec![0; placement.output.len()];
            for column in 0..columns {
                placement.visit(&at, |tap, position| {
                    let sum = &mut y[p * plane + position];
                    *sum = sum.add(x[(p * taps + tap) * columns + column]);
                });
                advance(&mut at, &placement.output);
            }
        }
        y
    }
    let (known, x) = (args.known(), args.need(0)?);
    let shapes = Shapes {
        node: args.node,
        inputs: &known,
    };
    let (channels, placement) = blocks(&shapes, window, x.shape())?;
    let (planes, columns) = (x.shape()[0] * channels, x.shape()[2]);
    let data = match x.dtype() {
        dtype @ (DType::F16 | DType::BF16) => {
            let y = add(&args.floats(0)?, planes, &placement, columns);
            args.round_floats(dtype, y)?
        }
        _ => {
            match_numbers!(x.data(), v => Element::wrap(add(v, planes, &placement, columns)), other => {
                return Err(args.no_type(0, other.dtype()));
            })
        }
    };
    args.single(data)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{ModelError, Node, Op, Tensor, Window};

    fn list(values: &[i64]) -> Tensor {
        Tensor::i64(&[values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn maxima_return_to_their_place() {
        let run = |indices: [i64; 2], shape: Option<&[i64]>| {
            let window = Window::new(&[2]).stride(&[2]);
            let x = Tensor::f32(&[1, 1, 2], vec![5., 6.]).unwrap();
            let i = Tensor::i64(&[1, 1, 2], indices.to_vec()).unwrap();
            let node = Node::new("u", Op::MaxUnpool { window }, &["x", "i", "s"], &["y"]);
            let y = evaluate(&node, &[Some(&x), Some(&i), shape.map(list).as_ref()])?;
            Ok::<_, ModelError>(y[0].as_f32()?.to_vec())
        };
        assert_eq!(run([1, 2], None).unwrap(), [0., 5., 6., 0.]);
        assert_eq!(run([1, 3], Some(&[1, 1, 5])).unwrap(), [0., 5., 0., 6., 0.]);
        assert!(run([1, 4], None).is_err());
        assert!(run([1, 2], Some(&[1, 1, 3])).is_err());
    }

    #[test]
    fn columns_overlap_in_the_image() {
        let run = |image: &[i64]| {
            let op = Op::Col2Im {
                window: Window::default(),
            };
            let x = Tensor::f32(&[1, 2, 2], vec![1., 2., 10., 20.]).unwrap();
            let node = Node::new("c", op, &["x", "i", "b"], &["y"]);
            evaluate(&node, &[Some(&x), Some(&list(image)), Some(&list(&[2]))])
        };
        let y = run(&[3]).unwrap();
        assert_eq!(y, [Tensor::f32(&[1, 1, 3], vec![1., 12., 20.]).unwrap()]);
        assert!(run(&[4]).is_err());
        assert!(run(&[-1]).is_err());
        assert!(run(&[3, 3]).is_err());
    }
}
