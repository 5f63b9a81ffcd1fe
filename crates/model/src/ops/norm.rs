//! Normalizations over some axes, channels or neighbours. Computed in f64, each
//! sum in row-major order, and rounded once.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors, resolve_axis};
use super::elementwise::Broadcast;
use super::lanes::Lanes;
use crate::{DType, ModelError, Shape, Tensor};

pub(super) fn infer_layer(args: &Shapes<'_>, axis: i64) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, FLOATS)?;
    let axis = args.axis(axis, x.shape.rank())?;
    args.need(1)?;
    for index in 1..=2 {
        let Some(factor) = args.get(index) else {
            continue;
        };
        if factor.dtype != x.dtype {
            return Err(args.unsupported(format!("{} beside {}", factor.dtype, x.dtype)));
        }
        if x.shape.broadcast(&factor.shape).as_ref() != Some(&x.shape) {
            return Err(args.wrong(format!(
                "input {index} of shape {} does not broadcast to {}",
                factor.shape, x.shape
            )));
        }
    }
    let mut dims = x.shape.to_vec();
    dims[axis..].fill(1);
    let moments = args.shape(&dims)?;
    Ok(vec![
        (x.dtype, x.shape.clone()),
        (DType::F32, moments.clone()),
        (DType::F32, moments),
    ])
}

pub(super) fn infer_root_mean_square(
    args: &Shapes<'_>,
    axis: i64,
) -> Result<Vec<TypedShape>, ModelError> {
    if args.get(2).is_some() {
        return Err(args.wrong("it has no bias"));
    }
    let mut outputs = infer_layer(args, axis)?;
    outputs.truncate(1);
    Ok(outputs)
}

/// `y = (x − mean) / √(variance + epsilon) · scale + bias` over the axes from
/// `axis` on; the second and third output are the mean and `1 / √…`.
///
/// Ba, Kiros, Hinton: Layer Normalization, <https://arxiv.org/abs/1607.06450>.
pub(super) fn layer(
    args: &Tensors<'_>,
    axis: i64,
    epsilon: f32,
) -> Result<Vec<Tensor>, ModelError> {
    let mut x = args.doubles(0)?;
    let lanes = trailing(args, axis)?;
    let (mut means, mut inverses) = (Vec::new(), Vec::new());
    for at in lanes.filled() {
        let (mean, variance) = moments(&x, &lanes, at);
        let inverse = (variance + f64::from(epsilon)).sqrt().recip();
        for i in lanes.group(at) {
            x[i] = (x[i] - mean) * inverse;
        }
        means.push(mean);
        inverses.push(inverse);
    }
    let mut outputs = scaled(args, x)?;
    for ((dtype, shape), mut values) in args.outputs.iter().skip(1).zip([means, inverses]) {
        // Groups without elements have no mean.
        values.resize(shape.elements(), f64::NAN);
        let data = args.round_doubles(*dtype, values)?;
        outputs.push(Tensor::new(shape.clone(), data)?);
    }
    Ok(outputs)
}

/// `y = x / √(mean of x² + epsilon) · scale` over the axes from `axis` on.
///
/// Zhang, Sennrich: Root Mean Square Layer Normalization,
/// <https://arxiv.org/abs/1910.07467>.
pub(super) fn root_mean_square(
    args: &Tensors<'_>,
    axis: i64,
    epsilon: f32,
) -> Result<Vec<Tensor>, ModelError> {
    let mut x = args.doubles(0)?;
    let lanes = trailing(args, axis)?;
    for at in lanes.filled() {
        let squares: f64 = lanes.group(at).map(|i| x[i] * x[i]).sum();
        let root = (squares / lanes.len() as f64 + f64::from(epsilon)).sqrt();
        lanes.group(at).for_each(|i| x[i] /= root);
    }
    scaled(args, x)
}

/// Groups of the axes from `axis` on.
fn trailing(args: &Tensors<'_>, axis: i64) -> Result<Lanes, ModelError> {
    let shape = args.need(0)?.shape();
    let axes: Vec<usize> = (place(args, axis, shape)?..shape.rank()).collect();
    Ok(Lanes::new(shape, &axes))
}

fn place(args: &Tensors<'_>, axis: i64, shape: &Shape) -> Result<usize, ModelError> {
    resolve_axis(axis, shape.rank())
        .ok_or_else(|| args.wrong(format!("axis {axis} is outside the rank")))
}

/// Mean and variance of a group.
fn moments(x: &[f64], lanes: &Lanes, at: usize) -> (f64, f64) {
    let count = lanes.len() as f64;
    let mean = lanes.group(at).map(|i| x[i]).sum::<f64>() / count;
    let squares: f64 = lanes.group(at).map(|i| (x[i] - mean).powi(2)).sum();
    (mean, squares / count)
}

/// Output 0: times input 1, plus input 2 if there is one, both broadcast.
fn scaled(args: &Tensors<'_>, mut y: Vec<f64>) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, shape) = args.output()?;
    let (scale, at) = (
        args.doubles(1)?,
        Broadcast::new(args.need(1)?.shape(), shape),
    );
    for (i, y) in y.iter_mut().enumerate() {
        *y *= scale[at.index(i)];
    }
    if let Some(bias) = args.get(2) {
        let (at, bias) = (Broadcast::new(bias.shape(), shape), args.doubles(2)?);
        for (i, y) in y.iter_mut().enumerate() {
            *y += bias[at.index(i)];
        }
    }
    args.single(args.round_doubles(*dtype, y)?)
}

/// GroupNormalization, or InstanceNormalization (`groups` is `None`): `x` is
/// `[n, c, spatial…]`, scale and bias are `[c]`.
pub(super) fn infer_group(
    args: &Shapes<'_>,
    groups: Option<usize>,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, FLOATS)?;
    let Some(&channels) = x.shape.get(1) else {
        return Err(args.wrong(format!("channels are axis 1, found shape {}", x.shape)));
    };
    for index in 1..=2 {
        args.same_type(index)?;
        let found = &args.need(index)?.shape;
        if found.dims() != [channels] {
            return Err(args.wrong(format!(
                "input {index} must hold {channels} values, found shape {found}"
            )));
        }
    }
    if groups.is_some_and(|groups| groups == 0 || channels % groups != 0) {
        return Err(args.wrong(format!("{channels} channels do not make {groups:?} groups")));
    }
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// `y = (x − mean) / √(variance + epsilon) · scale + bias`, the moments of each
/// image's groups of channels.
///
/// Wu, He: Group Normalization, <https://arxiv.org/abs/1803.08494>.
pub(super) fn group(
    args: &Tensors<'_>,
    groups: Option<usize>,
    epsilon: f32,
) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, shape) = args.output()?;
    let mut x = args.doubles(0)?;
    let (scale, bias) = (args.doubles(1)?, args.doubles(2)?);
    let channels = scale.len();
    let plane: usize = shape.iter().skip(2).product();
    let each = channels / groups.unwrap_or(channels).max(1);
    for group in x.chunks_mut((each * plane).max(1)) {
        let count = group.len() as f64;
        let mean = group.iter().sum::<f64>() / count;
        let squares: f64 = group.iter().map(|x| (x - mean).powi(2)).sum();
        let root = (squares / count + f64::from(epsilon)).sqrt();
        group.iter_mut().for_each(|x| *x = (*x - mean) / root);
    }
    for (image, plane) in x.chunks_mut(plane.max(1)).enumerate() {
        let channel = image % channels.max(1);
        plane
            .iter_mut()
            .for_each(|x| *x = *x * scale[channel] + bias[channel]);
    }
    args.single(args.round_doubles(*dtype, x)?)
}

pub(super) fn infer_mean_variance(
    args: &Shapes<'_>,
    axes: &[i64],
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, FLOATS)?;
    for &axis in axes {
        args.axis(axis, x.shape.rank())?;
    }
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// `y = (x − mean) / (√variance + 10⁻⁹)` over `axes`.
pub(super) fn mean_variance(args: &Tensors<'_>, axes: &[i64]) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, shape) = args.output()?;
    let mut x = args.doubles(0)?;
    let axes = axes
        .iter()
        .map(|&axis| place(args, axis, shape))
        .collect::<Result<Vec<usize>, _>>()?;
    let lanes = Lanes::new(shape, &axes);
    for at in lanes.filled() {
        let (mean, variance) = moments(&x, &lanes, at);
        let root = variance.sqrt() + 1e-9;
        lanes.group(at).for_each(|i| x[i] = (x[i] - mean) / root);
    }
    args.single(args.round_doubles(*dtype, x)?)
}

pub(super) fn infer_lp(
    args: &Shapes<'_>,
    axis: i64,
    p: i64,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, FLOATS)?;
    args.axis(axis, x.shape.rank())?;
    if !matches!(p, 1 | 2) {
        return Err(args.unsupported(format!("a norm with p = {p}")));
    }
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// `y = x / ‖x‖` along `axis`; NaN where the norm is 0.
pub(super) fn lp(args: &Tensors<'_>, axis: i64, p: i64) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, shape) = args.output()?;
    let mut x = args.doubles(0)?;
    let lanes = Lanes::new(shape, &[place(args, axis, shape)?]);
    for at in lanes.filled() {
        let group = lanes.group(at).map(|i| x[i]);
        let norm = match p {
            1 => group.map(f64::abs).sum(),
            _ => group.map(|x| x * x).sum::<f64>().sqrt(),
        };
        lanes.group(at).for_each(|i| x[i] /= norm);
    }
    args.single(args.round_doubles(*dtype, x)?)
}

pub(super) fn infer_local(args: &Shapes<'_>, size: usize) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, FLOATS)?;
    if x.shape.rank() < 2 || size == 0 {
        return Err(args.wrong(format!(
            "{size} channels are added up, of a shape {}",
            x.shape
        )));
    }
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// LRN: `y = x / (bias + alpha / size · Σ x²)^beta`, the sum over `size`
/// channels around each.
///
/// Krizhevsky, Sutskever, Hinton: `ImageNet` Classification with Deep
/// Convolutional Neural Networks, 2012.
pub(super) fn local(
    args: &Tensors<'_>,
    size: usize,
    [alpha, beta, bias]: [f32; 3],
) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, shape) = args.output()?;
    let x = args.doubles(0)?;
    let channels = shape.get(1).copied().unwrap_or(1);
    let plane: usize = shape.iter().skip(2).product();
    let y = x.iter().enumerate().map(|(i, &value)| {
        let channel = i / plane % channels;
        let first = channel.saturating_sub((size - 1) / 2);
        let end = channel.saturating_add(size / 2 + 1).min(channels);
        let at = |c: usize| x[i + c * plane - channel * plane];
        let squares: f64 = (first..end).map(|c| at(c).powi(2)).sum();
        let base = f64::from(bias) + f64::from(alpha) / size as f64 * squares;
        value / base.powf(beta.into())
    });
    args.single(args.round_doubles(*dtype, y.collect())?)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Node, Op, Tensor};

    fn run(op: Op, inputs: &[&Tensor], outputs: &[&str]) -> Vec<Tensor> {
        let inputs: Vec<Option<&Tensor>> = inputs.iter().map(|t| Some(*t)).collect();
        evaluate(&Node::new("n", op, &[], outputs), &inputs).unwrap()
    }

    fn floats(dims: &[usize], values: &[f32]) -> Tensor {
        Tensor::f32(dims, values.to_vec()).unwrap()
    }

    #[test]
    fn rows_have_mean_zero_and_variance_one() {
        let x = floats(&[2, 2], &[1., 3., 10., 30.]);
        let (scale, bias) = (floats(&[2], &[1., 2.]), floats(&[2], &[0., 5.]));
        let op = Op::LayerNormalization {
            axis: -1,
            epsilon: 0.0,
        };
        let y = run(op, &[&x, &scale, &bias], &["y", "mean", "inverse"]);
        assert_eq!(y[0].as_f32().unwrap(), [-1., 7., -1., 7.]);
        assert_eq!(y[1], floats(&[2, 1], &[2., 20.]));
        assert_eq!(y[2], floats(&[2, 1], &[1., 0.1]));
        let op = Op::RMSNormalization {
            axis: 1,
            epsilon: 0.0,
        };
        let x = floats(&[1, 2], &[1., 7.]);
        let y = run(op.clone(), &[&x, &scale], &["y"]);
        assert_eq!(y[0].as_f32().unwrap(), [0.2, 2.8]);
        let wide = floats(&[3], &[1.; 3]);
        let node = Node::new("n", op, &[], &["y"]);
        assert!(evaluate(&node, &[Some(&x), Some(&wide)]).is_err());
    }

    #[test]
    fn groups_of_channels_have_their_moments() {
        let x = floats(&[1, 2, 2], &[1., 3., 10., 30.]);
        let (scale, bias) = (floats(&[2], &[1., 2.]), floats(&[2], &[0., 5.]));
        let op = Op::InstanceNormalization { epsilon: 0.0 };
        let y = run(op, &[&x, &scale, &bias], &["y"]);
        assert_eq!(y[0].as_f32().unwrap(), [-1., 1., 3., 7.]);
        let x = floats(&[1, 2, 1], &[1., 3.]);
        let op = |groups| Op::GroupNormalization {
            groups,
            epsilon: 0.0,
        };
        let y = run(op(1), &[&x, &scale, &bias], &["y"]);
        assert_eq!(y[0].as_f32().unwrap(), [-1., 7.]);
        for groups in [0, 3] {
            let node = Node::new("n", op(groups), &[], &["y"]);
            assert!(evaluate(&node, &[Some(&x), Some(&scale), Some(&bias)]).is_err());
        }
    }

    #[test]
    fn norms_along_an_axis() {
        let x = floats(&[2, 2], &[3., 1., -4., 1.]);
        let y = |p| run(Op::LpNormalization { axis: 0, p }, &[&x], &["y"]);
        assert_eq!(y(2)[0].as_f32().unwrap()[0], 0.6);
        assert_eq!(y(2)[0].as_f32().unwrap()[2], -0.8);
        assert_eq!(y(1)[0].as_f32().unwrap()[1], 0.5);
        let axes = vec![0];
        let y = run(Op::MeanVarianceNormalization { axes }, &[&x], &["y"]);
        assert_eq!(y[0].as_f32().unwrap(), [1., 0., -1., 0.]);
    }

    #[test]
    fn neighbouring_channels_are_added_up() {
        let x = floats(&[1, 4, 1], &[1., 2., 3., 4.]);
        let op = |size| Op::Lrn {
            alpha: size as f32,
            beta: 1.0,
            bias: 0.0,
            size,
        };
        let y = run(op(3), &[&x], &["y"]);
        assert_eq!(
            y[0].as_f32().unwrap(),
            [1. / 5., 2. / 14., 3. / 29., 4. / 25.]
        );
        // Of an even number, one more stands behind.
        let y = run(op(2), &[&x], &["y"]);
        assert_eq!(
            y[0].as_f32().unwrap(),
            [1. / 5., 2. / 13., 3. / 25., 4. / 16.]
        );
    }
}
