//! NonMaxSuppression and RoiAlign: boxes of a detector.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors};
use super::gather::indices;
use crate::{DType, Data, ModelError, Tensor};

/// Most samples along a side of the output of RoiAlign.
const MAX_SAMPLES: usize = 1 << 20;

/// How RoiAlign computes.
#[derive(Debug, Clone, PartialEq)]
pub struct RoiAlign {
    /// Whether the maximum is taken of the samples' weighted corners, instead of
    /// the mean of the samples.
    pub max: bool,
    /// Rows and columns of the output.
    pub output: [usize; 2],
    /// Samples along a side of a bin; as many as cells when 0.
    pub samples: usize,
    /// From positions of a box to cells.
    pub scale: f32,
    /// Whether cells have their centres at halves.
    pub half_pixel: bool,
}

pub(super) fn infer_nms(args: &Shapes<'_>, centered: bool) -> Result<Vec<TypedShape>, ModelError> {
    let (boxes, scores) = (args.typed(0, &[DType::F32])?, args.typed(1, &[DType::F32])?);
    let (&[batch, count, 4], &[also_batch, _, also_count]) =
        (boxes.shape.dims(), scores.shape.dims())
    else {
        return Err(args.wrong(format!("boxes {} and scores {}", boxes.shape, scores.shape)));
    };
    if batch != also_batch || count != also_count {
        return Err(args.wrong(format!("boxes {} and scores {}", boxes.shape, scores.shape)));
    }
    for (index, dtype) in [(2, DType::I64), (3, DType::F32), (4, DType::F32)] {
        if args.get(index).is_some() {
            let input = args.typed(index, &[dtype])?;
            args.value(index)?;
            if input.shape.elements() != 1 {
                return Err(args.wrong(format!("input {index} must be one value")));
            }
        }
    }
    args.value(0)?;
    args.value(1)?;
    let values: Vec<Option<&Tensor>> = (0..args.inputs.len())
        .map(|index| args.get(index).and_then(|input| input.value))
        .collect();
    let tensors = Tensors {
        node: args.node,
        inputs: &values,
        outputs: &[],
    };
    let selected = select(&tensors, centered)?.len();
    Ok(vec![(DType::I64, args.shape(&[selected, 3])?)])
}

/// Batch, class and box of the boxes that stay: the best scores of each class
/// that overlap with no better one.
pub(super) fn nms(args: &Tensors<'_>, centered: bool) -> Result<Vec<Tensor>, ModelError> {
    let selected = select(args, centered)?;
    args.single(Data::I64(
        selected.into_iter().flatten().map(|i| i as i64).collect(),
    ))
}

fn select(args: &Tensors<'_>, centered: bool) -> Result<Vec<[usize; 3]>, ModelError> {
    let (boxes, scores) = (args.floats(0)?, args.floats(1)?);
    let &[batch, classes, count] = args.need(1)?.shape().dims() else {
        return Err(args.wrong("scores (input 1) must be [n, classes, boxes]"));
    };
    let one = |index: usize| match args.get(index) {
        Some(_) => Ok::<_, ModelError>(args.floats(index)?.first().copied()),
        None => Ok(None),
    };
    let most = match args.get(2) {
        Some(_) => indices(args, 2)?.first().copied().unwrap_or(0),
        None => 0,
    };
    let most = usize::try_from(most).unwrap_or(0);
    let (overlap, threshold) = (one(3)?.unwrap_or(0.0), one(4)?);
    let mut selected = Vec::new();
    if scores.is_empty() || most == 0 {
        return Ok(selected);
    }
    let corners: Vec<[f32; 4]> = boxes
        .chunks_exact(4)
        .map(|b| corners([b[0], b[1], b[2], b[3]], centered))
        .collect();
    for n in 0..batch {
        for class in 0..classes {
            let scores = &scores[(n * classes + class) * count..][..count];
            let wanted = |i: &usize| threshold.is_none_or(|least| scores[*i] > least);
            let mut order: Vec<usize> = (0..count).filter(wanted).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let mut kept: Vec<usize> = Vec::new();
            for i in order {
                if kept.len() == most {
                    break;
                }
                let corner = |i: usize| corners[n * count + i];
                let meets = |&k: &usize| overlaps(corner(i), corner(k), overlap);
                if !kept.iter().any(meets) {
                    kept.push(i);
                    selected.push([n, class, i]);
                }
            }
        }
    }
    Ok(selected)
}

/// Lower and upper bounds of both axes.
fn corners(b: [f32; 4], centered: bool) -> [f32; 4] {
    if centered {
        let [x, y, width, height] = b;
        return [
            x - width / 2.0,
            y - height / 2.0,
            x + width / 2.0,
            y + height / 2.0,
        ];
    }
    [
        b[0].min(b[2]),
        b[1].min(b[3]),
        b[0].max(b[2]),
        b[1].max(b[3]),
    ]
}

/// Whether the intersection is more than a share of the union.
fn overlaps(a: [f32; 4], b: [f32; 4], share: f32) -> bool {
    let area = |c: [f32; 4]| (c[2] - c[0]) * (c[3] - c[1]);
    let side = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
    let meet = side(0) * side(1);
    let union = area(a) + area(b) - meet;
    meet > 0.0 && union > 0.0 && meet / union > share
}

pub(super) fn infer_align(
    args: &Shapes<'_>,
    align: &RoiAlign,
) -> Result<Vec<TypedShape>, ModelError> {
    let (x, rois) = (args.typed(0, FLOATS)?, args.need(1)?);
    args.same_type(1)?;
    let rows = args.typed(2, &[DType::I64])?;
    let (&[_, channels, height, width], &[count, 4]) = (x.shape.dims(), rois.shape.dims()) else {
        return Err(args.wrong(format!("input {} and boxes {}", x.shape, rois.shape)));
    };
    if rows.shape.dims() != [count] || height == 0 || width == 0 {
        return Err(args.wrong(format!(
            "input {}, boxes {}, batch indices {}",
            x.shape, rois.shape, rows.shape
        )));
    }
    let [rows, columns] = align.output;
    if rows == 0 || columns == 0 {
        return Err(args.wrong("an output without cells"));
    }
    Ok(vec![(
        x.dtype,
        args.shape(&[count, channels, rows, columns])?,
    )])
}

/// For each box, bins of samples between cells (He et al. 2017), computed in f64
/// and rounded once.
pub(super) fn align(args: &Tensors<'_>, align: &RoiAlign) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, output) = args.output()?;
    let (&[batch, channels, height, width], [rows, columns]) =
        (args.need(0)?.shape().dims(), align.output)
    else {
        return Err(args.wrong("needs [n, c, h, w]"));
    };
    let (x, rois, batches) = (args.doubles(0)?, args.doubles(1)?, indices(args, 2)?);
    let plane = height * width;
    let mut y = Vec::new();
    if output.elements() > 0 {
        for (roi, &n) in rois.chunks_exact(4).zip(&batches) {
            let n = usize::try_from(n)
                .ok()
                .filter(|&n| n < batch)
                .ok_or_else(|| args.wrong(format!("batch index {n} of {batch}")))?;
            let vertical = samples(args, align, (roi[1], roi[3]), rows, height)?;
            let horizontal = samples(args, align, (roi[0], roi[2]), columns, width)?;
            for c in 0..channels {
                let x = &x[(n * channels + c) * plane..][..plane];
                for row in &vertical {
                    for column in &horizontal {
                        y.push(bin(align, x, width, row, column));
                    }
                }
            }
        }
    }
    args.single(args.round_doubles(*dtype, y)?)
}

/// A sample along one axis: the cells before and behind, and the share of the
/// latter; `None` outside.
type Sample = Option<(usize, usize, f64)>;

fn samples(
    args: &Tensors<'_>,
    align: &RoiAlign,
    bounds: (f64, f64),
    bins: usize,
    extent: usize,
) -> Result<Vec<Vec<Sample>>, ModelError> {
    let offset = if align.half_pixel { 0.5 } else { 0.0 };
    let scale = f64::from(align.scale);
    let (begin, end) = (bounds.0 * scale - offset, bounds.1 * scale - offset);
    let length = match align.half_pixel {
        true => end - begin,
        // Boxes of no size are one cell.
        false => (end - begin).max(1.0),
    };
    let bin = length / bins as f64;
    let count = match align.samples {
        0 => bin.ceil().max(0.0) as usize,
        given => given,
    };
    if bins.saturating_mul(count.max(1)) > MAX_SAMPLES {
        return Err(args.unsupported(format!("{bins} bins of {count} samples")));
    }
    let last = extent - 1;
    let sample = |at: f64| {
        if !(-1.0..=extent as f64).contains(&at) {
            return None;
        }
        let at = at.max(0.0);
        let before = at as usize;
        match before >= last {
            true => Some((last, last, 0.0)),
            false => Some((before, before + 1, at - before as f64)),
        }
    };
    let of_bin = |i: usize| {
        let start = begin + i as f64 * bin;
        let at = |k: usize| start + (k as f64 + 0.5) * bin / count as f64;
        (0..count).map(|k| sample(at(k))).collect()
    };
    Ok((0..bins).map(of_bin).collect())
}

fn bin(align: &RoiAlign, x: &[f64], width: usize, rows: &[Sample], columns: &[Sample]) -> f64 {
    let (mut sum, mut most) = (0.0, None::<f64>);
    for row in rows {
        for column in columns {
            let corners = match (row, column) {
                (Some((top, bottom, down)), Some((left, right, across))) => [
                    (1.0 - down) * (1.0 - across) * x[top * width + left],
                    (1.0 - down) * across * x[top * width + right],
                    down * (1.0 - across) * x[bottom * width + left],
                    down * across * x[bottom * width + right],
                ],
                _ => [0.0; 4],
            };
            sum += corners.iter().sum::<f64>();
            let largest = corners.into_iter().fold(f64::NEG_INFINITY, f64::max);
            most = Some(most.map_or(largest, |most| most.max(largest)));
        }
    }
    match align.max {
        true => most.unwrap_or(0.0),
        false => sum / (rows.len() * columns.len()).max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::RoiAlign;
    use crate::{ModelError, Node, Op, Tensor};

    #[test]
    fn the_best_of_overlapping_boxes_stay() {
        let run = |centered, boxes: &[f32], most: i64| {
            let op = Op::NonMaxSuppression {
                center_point_box: centered,
            };
            let count = boxes.len() / 4;
            let boxes = Tensor::f32(&[1, count, 4], boxes.to_vec()).unwrap();
            let scores = [0.3f32, 0.9, 0.5, 0.1];
            let scores = Tensor::f32(&[1, 1, count], scores[..count].to_vec()).unwrap();
            let most = Tensor::i64(&[1], vec![most]).unwrap();
            let share = Tensor::f32(&[1], vec![0.5]).unwrap();
            let least = Tensor::f32(&[1], vec![0.2]).unwrap();
            let node = Node::new("n", op, &["b", "s", "m", "o", "t"], &["y"]);
            let inputs = [&boxes, &scores, &most, &share, &least].map(Some);
            evaluate(&node, &inputs).unwrap().remove(0)
        };
        let corners = [
            0., 0., 1., 1., 1.1, 1.1, 0.1, 0.1, 5., 5., 6., 6., 9., 9., 8., 8.,
        ];
        // 0 overlaps 1 by .81 / 1.19; 3 scores too little.
        let y = Tensor::i64(&[2, 3], vec![0, 0, 1, 0, 0, 2]).unwrap();
        assert_eq!(run(false, &corners, 9), y);
        assert_eq!(run(false, &corners, 1).shape().dims(), [1, 3]);
        assert_eq!(run(false, &corners, 0).shape().dims(), [0, 3]);
        let centers = [0., 0., 2., 2., 1., 0., 2., 2.];
        // A third of the union is shared.
        assert_eq!(run(true, &centers, 9).shape().dims(), [2, 3]);
    }

    #[test]
    fn bins_of_a_ramp() {
        let run = |max, roi: &[f32], row: i64| {
            let op = Op::RoiAlign(Box::new(RoiAlign {
                max,
                output: [1, 2],
                samples: 1,
                scale: 1.0,
                half_pixel: false,
            }));
            let x = Tensor::f32(&[1, 1, 2, 4], vec![0., 1., 2., 3., 0., 1., 2., 3.]).unwrap();
            let rois = Tensor::f32(&[1, 4], roi.to_vec()).unwrap();
            let rows = Tensor::i64(&[1], vec![row]).unwrap();
            let node = Node::new("r", op, &["x", "r", "b"], &["y"]);
            let y = evaluate(&node, &[Some(&x), Some(&rois), Some(&rows)])?;
            Ok::<_, ModelError>(y[0].as_f32()?.to_vec())
        };
        assert_eq!(run(false, &[0., 0., 3., 1.], 0).unwrap(), [0.75, 2.25]);
        assert_eq!(run(true, &[0., 0., 4., 0.], 0).unwrap(), [0.5, 1.5]);
        assert!(run(false, &[0., 0., 3., 1.], 1).is_err());
        assert_eq!(run(false, &[90., 90., 93., 91.], 0).unwrap(), [0., 0.]);
    }
}
