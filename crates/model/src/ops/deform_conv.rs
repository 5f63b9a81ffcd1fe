//! DeformConv in two dimensions (Dai et al. 2017): taps stand where offsets move
//! them. Computed in f64 and rounded once.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors};
use super::conv::check_bias;
use super::window::Placement;
use crate::{ModelError, Node, Shape, Tensor, Window};

struct Geometry {
    batch: usize,
    channels: usize,
    out_channels: usize,
    /// Channels of a group.
    depth: usize,
    kernel: [usize; 2],
    placement: Placement,
}

impl Geometry {
    fn new(
        node: &Node,
        (window, groups, offset_groups): (&Window, usize, usize),
        x: &Shape,
        w: &Shape,
    ) -> Result<Self, ModelError> {
        let wrong = |reason: String| Err(ModelError::at(node, reason));
        let (&[batch, channels, height, width], &[out_channels, depth, rows, columns]) =
            (x.dims(), w.dims())
        else {
            return Err(ModelError::unsupported(
                node,
                format!("input {x} and weight {w}, other than planes"),
            ));
        };
        let divides = |n: usize, by: usize| by > 0 && n.is_multiple_of(by);
        if depth.checked_mul(groups) != Some(channels)
            || !divides(out_channels, groups)
            || !divides(channels, offset_groups)
        {
            return wrong(format!(
                "{groups} groups and {offset_groups} groups of offsets of input {x} and weight {w}"
            ));
        }
        let kernel = [rows, columns];
        if !window.kernel.is_empty() && window.kernel != kernel {
            return wrong(format!("`kernel_shape` is {:?}", window.kernel));
        }
        Ok(Self {
            batch,
            channels,
            out_channels,
            depth,
            kernel,
            placement: Placement::new(node, window, &kernel, &[height, width])?,
        })
    }
}

pub(super) fn infer(
    args: &Shapes<'_>,
    window: &Window,
    groups: usize,
    offset_groups: usize,
) -> Result<Vec<TypedShape>, ModelError> {
    let (x, w) = (args.typed(0, FLOATS)?, args.need(1)?);
    let g = Geometry::new(
        args.node,
        (window, groups, offset_groups),
        &x.shape,
        &w.shape,
    )?;
    let &[rows, columns] = g.placement.output.as_slice() else {
        return Err(args.wrong("needs planes"));
    };
    let taps = g.kernel[0] * g.kernel[1];
    let moved = offset_groups.checked_mul(taps);
    let check = |index: usize, channels: Option<usize>| {
        args.same_type(index)?;
        let found = &args.need(index)?.shape;
        match channels.map(|c| [g.batch, c, rows, columns]) {
            Some(dims) if found.dims() == dims => Ok(()),
            _ => Err(args.wrong(format!("input {index} of shape {found} does not fit"))),
        }
    };
    args.same_type(1)?;
    check(2, moved.and_then(|n| n.checked_mul(2)))?;
    if let Some(bias) = args.get(3) {
        args.same_type(3)?;
        check_bias(args, 3, &bias.shape, g.out_channels)?;
    }
    if args.get(4).is_some() {
        check(4, moved)?;
    }
    Ok(vec![(
        x.dtype,
        args.shape(&[g.batch, g.out_channels, rows, columns])?,
    )])
}

/// Conv whose tap t reads at its place plus `offset[t]` (row, column), between
/// pixels by lines and zero beyond the edge, times `mask[t]`.
pub(super) fn evaluate(
    args: &Tensors<'_>,
    window: &Window,
    groups: usize,
    offset_groups: usize,
) -> Result<Vec<Tensor>, ModelError> {
    let attributes = (window, groups, offset_groups);
    let (shape_x, shape_w) = (args.need(0)?.shape(), args.need(1)?.shape());
    let g = Geometry::new(args.node, attributes, shape_x, shape_w)?;
    let (x, w, offset) = (args.doubles(0)?, args.doubles(1)?, args.doubles(2)?);
    let optional = |index: usize| args.get(index).map(|_| args.doubles(index)).transpose();
    let (bias, mask) = (optional(3)?, optional(4)?);
    let (dtype, output) = args.output()?;
    let (height, width) = (g.placement.input[0], g.placement.input[1]);
    let (taps, places) = (g.kernel[0] * g.kernel[1], output[2] * output[3]);
    let mut y = Vec::new();
    for i in 0..output.elements() {
        let (place, o, n) = (
            i % places,
            i / places % g.out_channels,
            i / places / g.out_channels,
        );
        let (row, column) = (place / output[3], place % output[3]);
        let first = o / (g.out_channels / groups) * g.depth;
        let mut sum = bias.as_ref().map_or(0.0, |b| b[o]);
        for c in 0..g.depth {
            let channel = first + c;
            let group = channel / (g.channels / offset_groups);
            let plane = &x[(n * g.channels + channel) * height * width..][..height * width];
            for tap in 0..taps {
                let moved = (n * offset_groups + group) * taps + tap;
                let (down, across) = (moved * 2 * places, (moved * 2 + 1) * places);
                let at = (
                    g.placement.position(0, row, tap / g.kernel[1]) + offset[down + place],
                    g.placement.position(1, column, tap % g.kernel[1]) + offset[across + place],
                );
                let share = mask.as_ref().map_or(1.0, |m| m[moved * places + place]);
                let w = w[(o * g.depth + c) * taps + tap];
                sum += w * share * between(plane, (height, width), at);
            }
        }
        y.push(sum);
    }
    args.single(args.round_doubles(*dtype, y)?)
}

/// The value between pixels; zero beyond the edge.
fn between(x: &[f64], (height, width): (usize, usize), (row, column): (f64, f64)) -> f64 {
    let corner = |down: f64, across: f64| {
        let (r, c) = (row.floor() + down, column.floor() + across);
        let inside = (0.0..height as f64).contains(&r) && (0.0..width as f64).contains(&c);
        let weight = (1.0 - (row - r).abs()) * (1.0 - (column - c).abs());
        match inside {
            true => weight * x[r as usize * width + c as usize],
            false => 0.0,
        }
    };
    corner(0.0, 0.0) + corner(0.0, 1.0) + corner(1.0, 0.0) + corner(1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{ModelError, Node, Op, Tensor, Window};

    #[test]
    fn taps_move_by_their_offset() {
        let run = |offsets: &[f32], groups| {
            let op = Op::DeformConv {
                window: Window::default(),
                groups,
                offset_groups: 1,
            };
            let x = Tensor::f32(&[1, 1, 2, 2], vec![1., 2., 3., 4.]).unwrap();
            let w = Tensor::f32(&[1, 1, 1, 2], vec![1., 10.]).unwrap();
            let offset = Tensor::f32(&[1, 4, 2, 1], offsets.to_vec())?;
            let b = Tensor::f32(&[1], vec![0.5]).unwrap();
            let mask = Tensor::f32(&[1, 2, 2, 1], vec![1., 1., 1., 0.]).unwrap();
            let node = Node::new("d", op, &["x", "w", "o", "b", "m"], &["y"]);
            let parts = [&x, &w, &offset, &b, &mask].map(Some);
            let y = evaluate(&node, &parts)?;
            Ok::<_, ModelError>(y[0].as_f32()?.to_vec())
        };
        assert_eq!(run(&[0.; 8], 1).unwrap(), [21.5, 3.5]);
        // The first tap of the first place is half a row down, of the second
        // one column to the right.
        let moved = [0.5, 0., 0., 1., 0., 0., 0., 0.];
        assert_eq!(run(&moved, 1).unwrap(), [22.5, 4.5]);
        assert!(run(&[0.; 8], 2).is_err());
        assert!(run(&[0.; 8], 0).is_err());
    }
}
