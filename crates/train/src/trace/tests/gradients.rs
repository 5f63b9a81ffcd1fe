//! Gradients against central differences of the same forward pass.

use super::{Input, Single, float, list, number};
use crate::trace::{Value, to_vec};
use secateur_model::{
    Activation, AutoPad, Family, Math, Op, PadMode, Reduction, Tensor, Variadic, Window,
};

/// Central differences step so far: no kink of [`super::spread`] inputs lies
/// that near, and a rounding of the sum is still small beside it.
const STEP: f32 = 0.02;

/// Weights of the output elements in the sum that is differentiated.
fn weighting(elements: usize) -> Vec<f32> {
    (0..elements)
        .map(|i| ((i * 7 + 3) % 11) as f32 / 5.0 - 1.0)
        .collect()
}

fn loss(single: &Single, inputs: &[(Vec<f32>, Vec<usize>)], training: bool) -> f64 {
    let values: Vec<Value> = inputs
        .iter()
        .map(|(v, d)| Value::new(v.clone(), d))
        .collect();
    let y = single.run(&values, training).unwrap().to_vec();
    let weights = weighting(y.len());
    y.iter().zip(weights).map(|(y, w)| f64::from(y * w)).sum()
}

/// Checks the gradient of every input, at up to 24 elements of each.
fn check(what: &str, single: &Single, training: bool, tolerance: f64) {
    let mut inputs = single.inputs();
    let values: Vec<Value> = inputs
        .iter()
        .map(|(v, d)| Value::parameter(v.clone(), d))
        .collect();
    let y = single
        .run(&values, training)
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    let weights = Value::new(weighting(y.dims.iter().product()), &y.dims);
    let mut gradients = (y.flat * weights.flat).sum().backward();
    for (index, value) in values.iter().enumerate() {
        let gradient = to_vec(value.flat.grad_remove(&mut gradients).unwrap());
        assert_eq!(
            gradient.len(),
            inputs[index].0.len(),
            "{what}: input {index}"
        );
        let stride = gradient.len().div_ceil(24).max(1);
        for at in (0..gradient.len()).step_by(stride) {
            let old = inputs[index].0[at];
            let mut at_step = |step: f32| {
                inputs[index].0[at] = old + step;
                loss(single, &inputs, training)
            };
            let slope = (at_step(STEP) - at_step(-STEP)) / (2.0 * f64::from(STEP));
            inputs[index].0[at] = old;
            let error = (f64::from(gradient[at]) - slope).abs() / (1.0 + slope.abs());
            assert!(
                error <= tolerance,
                "{what}: input {index}, element {at}: {} for {slope}",
                gradient[at]
            );
        }
    }
}

fn operator(what: &str, op: Op, inputs: &[Input]) {
    let single = Single::new(op, inputs);
    single.agrees(what);
    check(what, &single, false, 2e-3);
}

fn conv(what: &str, window: Window, groups: usize, x: &[usize], w: &[usize], bias: bool) {
    let mut inputs = vec![float(x), float(w)];
    if bias {
        inputs.push(float(&w[..1]));
    }
    operator(what, Op::Conv { window, groups }, &inputs);
}

#[test]
fn convolutions() {
    let plain = Window::default;
    conv("plain", plain(), 1, &[2, 3, 5, 6], &[4, 3, 3, 3], true);
    // Enough small images that several are multiplied at once, the last of a group alone.
    let many = plain().pad(&[1, 1, 1, 1]);
    conv("many", many, 1, &[37, 2, 4, 3], &[3, 2, 3, 3], true);
    conv(
        "many points",
        plain(),
        1,
        &[37, 3, 2, 2],
        &[4, 3, 1, 1],
        true,
    );
    conv(
        "many groups",
        plain(),
        2,
        &[37, 4, 3, 3],
        &[4, 2, 2, 2],
        true,
    );
    conv("no bias", plain(), 1, &[2, 2, 4, 4], &[3, 2, 2, 3], false);
    conv("pointwise", plain(), 1, &[3, 4, 3, 3], &[5, 4, 1, 1], true);
    let strided = plain().stride(&[2, 2]);
    conv(
        "strided pointwise",
        strided.clone(),
        1,
        &[1, 3, 5, 5],
        &[2, 3, 1, 1],
        true,
    );
    conv(
        "strides",
        plain().stride(&[2, 3]),
        1,
        &[2, 2, 7, 8],
        &[3, 2, 3, 3],
        true,
    );
    conv(
        "pads",
        plain().pad(&[1, 1, 1, 1]),
        1,
        &[2, 2, 4, 4],
        &[3, 2, 3, 3],
        true,
    );
    let uneven = plain().pad(&[0, 2, 1, 0]).stride(&[2, 1]);
    conv("uneven pads", uneven, 1, &[1, 2, 5, 4], &[2, 2, 3, 3], true);
    let wide = plain().pad(&[3, 3, 3, 3]);
    conv(
        "pads beyond the kernel",
        wide,
        1,
        &[1, 1, 2, 2],
        &[2, 1, 2, 2],
        true,
    );
    let dilated = Window {
        dilations: vec![2, 1],
        ..plain().pad(&[1, 1, 1, 1])
    };
    conv("dilation", dilated, 1, &[1, 2, 6, 5], &[2, 2, 3, 2], true);
    conv("groups", plain(), 2, &[2, 4, 4, 4], &[6, 2, 3, 3], true);
    let pad = plain().pad(&[1, 1, 1, 1]);
    conv(
        "depthwise",
        pad.clone(),
        4,
        &[2, 4, 5, 5],
        &[4, 1, 3, 3],
        true,
    );
    // Lines shorter than the kernel, and kernels of another width.
    for (h, w) in [(1, 1), (2, 1), (1, 2), (3, 2)] {
        let what = format!("depthwise on {h}x{w}");
        conv(&what, pad.clone(), 2, &[2, 2, h, w], &[2, 1, 3, 3], true);
    }
    conv(
        "depthwise, no pads",
        plain(),
        2,
        &[1, 2, 5, 12],
        &[2, 1, 3, 3],
        true,
    );
    conv(
        "depthwise 2x4",
        pad.clone(),
        2,
        &[1, 2, 5, 6],
        &[2, 1, 2, 4],
        true,
    );
    let apart = Window {
        dilations: vec![1, 2],
        ..pad.clone()
    };
    conv(
        "dilated depthwise",
        apart,
        2,
        &[1, 2, 4, 6],
        &[2, 1, 3, 3],
        true,
    );
    let outside = Window {
        dilations: vec![1, 3],
        pads: vec![0, 2, 0, 2],
        ..pad.clone()
    };
    conv(
        "depthwise with a tap in the padding",
        outside,
        2,
        &[1, 2, 3, 3],
        &[2, 1, 3, 3],
        true,
    );
    let both = strided.pad(&[1, 1, 0, 1]);
    conv(
        "strided depthwise",
        both,
        3,
        &[2, 3, 6, 6],
        &[3, 1, 3, 3],
        false,
    );
    conv(
        "depthwise, multiplied",
        pad,
        2,
        &[1, 2, 4, 4],
        &[6, 1, 3, 3],
        true,
    );
    for auto_pad in [AutoPad::SameUpper, AutoPad::SameLower, AutoPad::Valid] {
        let window = Window {
            auto_pad,
            ..plain().stride(&[2, 2])
        };
        let what = format!("{auto_pad:?}");
        conv(&what, window, 1, &[1, 2, 5, 6], &[2, 2, 3, 2], true);
    }
    // More images than groups of them.
    conv("a batch", plain(), 1, &[35, 1, 3, 3], &[2, 1, 2, 2], true);
}

#[test]
fn pools() {
    let x = [float(&[2, 3, 6, 7])];
    let windows = [
        ("plain", Window::new(&[2, 2]).stride(&[2, 2])),
        ("overlapping", Window::new(&[3, 3]).stride(&[2, 2])),
        ("step 1", Window::new(&[2, 3])),
        ("wide steps", Window::new(&[2, 2]).stride(&[3, 3])),
        (
            "pads",
            Window::new(&[3, 3]).stride(&[2, 2]).pad(&[1, 1, 1, 1]),
        ),
        ("uneven pads", Window::new(&[3, 2]).pad(&[2, 0, 1, 1])),
        (
            "ceil",
            Window {
                ceil_mode: true,
                ..Window::new(&[3, 3]).stride(&[2, 2]).pad(&[0, 1, 0, 1])
            },
        ),
        (
            "dilation",
            Window {
                dilations: vec![2, 2],
                ..Window::new(&[2, 3])
            },
        ),
        (
            "same",
            Window {
                auto_pad: AutoPad::SameUpper,
                ..Window::new(&[3, 3]).stride(&[2, 2])
            },
        ),
    ];
    for (what, window) in windows {
        let max = Op::MaxPool {
            window: window.clone(),
            column_major: false,
        };
        operator(&format!("max, {what}"), max, &x);
        for count_include_pad in [false, true] {
            let mean = Op::AveragePool {
                window: window.clone(),
                count_include_pad,
            };
            operator(&format!("mean, {what}, {count_include_pad}"), mean, &x);
        }
    }
    operator("global mean", Op::GlobalAveragePool, &x);
    operator("global max", Op::GlobalMaxPool, &x);
}

#[test]
fn batch_normalisation() {
    let op = Op::BatchNormalization { epsilon: 1e-3 };
    let variance = Tensor::f32(&[3], vec![0.5, 1.0, 2.0]).unwrap();
    let mean = Tensor::f32(&[3], vec![0.1, -0.2, 0.3]).unwrap();
    let inputs = [
        float(&[4, 3, 2, 3]),
        float(&[3]),
        float(&[3]),
        Input::Fixed(mean),
        Input::Fixed(variance),
    ];
    operator("running statistics", op.clone(), &inputs);

    let single = Single::new(op, &inputs);
    check("batch statistics", &single, true, 5e-3);
    // The output itself: mean and deviation of each channel are the affine's.
    let y = single.forward(true).unwrap().to_vec();
    let (scale, bias) = (&single.parameters[0].1, &single.parameters[1].1);
    for channel in 0..3 {
        let of_channel = |v: &[f32]| -> Vec<f64> {
            let planes = v.chunks(6).skip(channel).step_by(3);
            planes.flatten().map(|&v| f64::from(v)).collect()
        };
        let (x, y) = (of_channel(&single.batch), of_channel(&y));
        let mean = x.iter().sum::<f64>() / 24.0;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 24.0;
        for (x, y) in x.iter().zip(y) {
            let normal = (x - mean) / (variance + 1e-3).sqrt();
            let wanted = normal * f64::from(scale[channel]) + f64::from(bias[channel]);
            assert!((y - wanted).abs() < 1e-5, "{y} for {wanted}");
        }
    }
}

#[test]
fn products() {
    for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
        for (alpha, beta) in [(1.0, 1.0), (0.5, -2.0)] {
            let op = Op::Gemm {
                alpha,
                beta,
                trans_a,
                trans_b,
            };
            let a = float(if trans_a { &[3, 4] } else { &[4, 3] });
            let b = float(if trans_b { &[5, 3] } else { &[3, 5] });
            for c in [&[5][..], &[1, 5], &[4, 1], &[4, 5], &[1], &[]] {
                let what = format!("{trans_a} {trans_b} {alpha} {c:?}");
                operator(&what, op.clone(), &[a.clone(), b.clone(), float(c)]);
            }
            operator("no bias", op, &[a, b]);
        }
    }
    for (a, b) in [
        (&[4, 3][..], &[3, 5][..]),
        (&[2, 4, 3], &[3, 5]),
        (&[2, 4, 3], &[2, 3, 5]),
        (&[2, 1, 4, 3], &[3, 3, 2]),
        (&[3], &[3, 5]),
        (&[4, 3], &[3]),
        (&[2, 4, 3], &[3]),
    ] {
        operator(&format!("{a:?} {b:?}"), Op::MatMul, &[float(a), float(b)]);
    }
}

#[test]
fn broadcasting() {
    for op in [Op::Add, Op::Sub, Op::Mul, Op::Div] {
        for (a, b) in [
            (&[2, 3][..], &[2, 3][..]),
            (&[2, 3], &[3]),
            (&[2, 3, 2, 2], &[3, 1, 1]),
            (&[2, 1, 3], &[4, 1]),
            (&[3], &[2, 3]),
            (&[2, 3], &[]),
        ] {
            // Quotients bend too much near zero for a step of this size.
            let single = Single::new(op.clone(), &[float(a), float(b)]);
            single.agrees(op.name());
            let mut single = single;
            if matches!(op, Op::Div) {
                let divisor = &mut single.parameters[0].1;
                divisor.iter_mut().for_each(|d| *d = d.abs() + 1.0);
            }
            check(&format!("{} {a:?} {b:?}", op.name()), &single, false, 2e-3);
        }
    }
    let minuend = Tensor::f32(&[3], vec![1.0, 2.0, 3.0]).unwrap();
    let inputs = [Input::Fixed(minuend), float(&[2, 3])];
    operator("a constant on the left", Op::Sub, &inputs);
}

#[test]
fn activations() {
    let x = float(&[3, 4]);
    for op in [Op::Relu, Op::Sigmoid, Op::Tanh, Op::Identity] {
        operator(op.name(), op.clone(), std::slice::from_ref(&x));
    }
    operator(
        "leaky",
        Op::LeakyRelu { alpha: 0.1 },
        std::slice::from_ref(&x),
    );
    operator("clip", Op::Clip, &[x.clone(), number(-0.3), number(0.2)]);
    operator(
        "clip above",
        Op::Clip,
        &[x.clone(), Input::Absent, number(0.2)],
    );
    operator("clip below", Op::Clip, &[x, number(-0.3)]);
}

#[test]
fn functions() {
    let x = float(&[3, 4]);
    for &(kind, name) in Activation::MEMBERS {
        if matches!(kind, Activation::Shrink | Activation::ThresholdedRelu) {
            continue;
        }
        let parameters = [0.7, 0.4];
        let op = Op::Activation { kind, parameters };
        operator(name, op, std::slice::from_ref(&x));
    }
    for kind in [
        Math::Abs,
        Math::Cos,
        Math::Erf,
        Math::Exp,
        Math::Neg,
        Math::Sin,
    ] {
        operator(kind.name(), Op::Math(kind), std::slice::from_ref(&x));
    }
    operator("slope a channel", Op::PRelu, &[x, float(&[4])]);
}

#[test]
fn extremes_and_sums_of_several() {
    let inputs = [float(&[2, 3]), float(&[3]), float(&[2, 1])];
    operator("Sum", Op::Variadic(Variadic::Sum), &inputs);
    // Between those of the input: no two are equal.
    let constant = Tensor::f32(&[3], vec![0.1, -0.1, 0.0]).unwrap();
    for kind in [Variadic::Max, Variadic::Min] {
        let inputs = [float(&[2, 3]), Input::Fixed(constant.clone())];
        operator(kind.name(), Op::Variadic(kind), &inputs);
    }
}

#[test]
fn reductions() {
    let x = float(&[2, 3, 4]);
    for kind in [
        Reduction::Max,
        Reduction::Mean,
        Reduction::Min,
        Reduction::Sum,
    ] {
        for keep_dims in [false, true] {
            let op = Op::Reduce {
                kind,
                keep_dims,
                noop_with_empty_axes: false,
            };
            operator(kind.name(), op.clone(), &[x.clone(), list(&[-1, 1])]);
            operator(kind.name(), op, std::slice::from_ref(&x));
        }
    }
    // Without axes, the same as it came; what has another meaning there is not taken for it.
    let alone = |kind| Op::Reduce {
        kind,
        keep_dims: true,
        noop_with_empty_axes: true,
    };
    operator("none", alone(Reduction::Sum), std::slice::from_ref(&x));
    Single::new(alone(Reduction::SumSquare), std::slice::from_ref(&x)).agrees("squares");
}

#[test]
fn layer_normalisation() {
    for (axis, width) in [(-1, vec![4]), (1, vec![3, 4])] {
        let epsilon = 1e-3;
        let op = Op::LayerNormalization { axis, epsilon };
        let inputs = [float(&[2, 3, 4]), float(&width), float(&width)];
        operator("with a bias", op.clone(), &inputs);
        operator("without", op, &inputs[..2]);
    }
}

#[test]
fn softmax_over_every_axis() {
    for axis in [0, 1, 2, -1, -2] {
        for flattened in [false, true] {
            let op = Op::Softmax { axis, flattened };
            operator(&format!("{axis} {flattened}"), op, &[float(&[2, 3, 4])]);
        }
    }
}

#[test]
fn moved_elements() {
    let x = float(&[2, 3, 4]);
    operator(
        "reversed",
        Op::Transpose { perm: None },
        std::slice::from_ref(&x),
    );
    let perm = Some(vec![1, 2, 0]);
    operator("permuted", Op::Transpose { perm }, std::slice::from_ref(&x));
    operator(
        "flattened",
        Op::Flatten { axis: 1 },
        std::slice::from_ref(&x),
    );
    let reshape = Op::Reshape { allow_zero: false };
    operator("reshaped", reshape, &[x.clone(), list(&[0, -1, 2])]);
    operator("squeezed", Op::Squeeze, &[float(&[2, 1, 3]), list(&[1])]);
    operator("unsqueezed", Op::Unsqueeze, &[x.clone(), list(&[0, -1])]);
    for axis in [0, 1, -1] {
        let parts = [float(&[2, 3, 2]), float(&[2, 3, 2]), float(&[2, 3, 2])];
        operator(&format!("joined {axis}"), Op::Concat { axis }, &parts);
    }
    let pad = Op::Pad {
        mode: PadMode::Constant,
    };
    let pads = list(&[0, 1, 2, 1, 0, 1]);
    operator("padded", pad.clone(), &[x.clone(), pads.clone()]);
    operator("filled", pad.clone(), &[x.clone(), pads, number(1.5)]);
    operator(
        "cut",
        pad.clone(),
        &[x.clone(), list(&[0, -1, 1, 0, 0, -2])],
    );
    let inputs = [x, list(&[1, 2]), Input::Absent, list(&[-1])];
    operator("padded along one axis", pad, &inputs);

    let x = float(&[2, 3, 4]);
    let inputs = [
        x.clone(),
        list(&[1, -3]),
        list(&[i64::MAX, -1]),
        list(&[1, 2]),
    ];
    operator("a part", Op::Slice, &inputs);
    operator(
        "of the first axes",
        Op::Slice,
        &[x, list(&[0, 1]), list(&[1, 3])],
    );
}

#[test]
fn dropout_drops_the_same_for_a_seed() {
    let single = Single::new(Op::Dropout, &[float(&[40, 50]), number(0.25)]);
    single.agrees("evaluated");
    check("dropout", &single, true, 2e-3);
    let y = single.forward(true).unwrap().to_vec();
    assert_eq!(y, single.forward(true).unwrap().to_vec());
    let dropped = y.iter().filter(|&&y| y == 0.0).count();
    assert!((400..600).contains(&dropped), "{dropped}");
    let kept = |(x, y): (&f32, &f32)| *y == 0.0 || (y - x / 0.75).abs() < 1e-5 * (1.0 + x.abs());
    assert!(single.batch.iter().zip(&y).all(kept));
    let all = Single::new(Op::Dropout, &[float(&[4]), number(1.0)]);
    assert!(all.forward(true).is_err());
}

#[test]
fn a_rounding_passes_gradients_inside_its_range() {
    let op = Op::QuantizeLinear {
        axis: 1,
        block_size: 0,
        to: None,
    };
    let zero = Input::Fixed(Tensor::u8(&[], vec![128]).unwrap());
    let single = Single::new(op, &[float(&[5, 8]), number(0.01), zero]);
    let x = Value::parameter(single.batch.clone(), &single.batch_dims);
    let y = single.run(std::slice::from_ref(&x), true).unwrap();
    let rounded = y.to_vec();
    let weights = weighting(40);
    let weighted = y.flat * Value::new(weights.clone(), &[40]).flat;
    let mut gradients = weighted.sum().backward();
    let gradient = to_vec(x.flat.grad_remove(&mut gradients).unwrap());
    for (i, &x) in single.batch.iter().enumerate() {
        let inside = (-1.28..=1.27).contains(&x);
        let clipped = x.clamp(-1.28, 1.27);
        assert!(
            (rounded[i] - clipped).abs() <= 0.00501,
            "{x}: {}",
            rounded[i]
        );
        let steps = rounded[i] / 0.01;
        assert!((steps - steps.round()).abs() < 1e-3, "{x}: {}", rounded[i]);
        assert_eq!(gradient[i], if inside { weights[i] } else { 0.0 }, "{x}");
    }
}
