//! Operators on f32 that have kernels: no step is left to the reference, results
//! are within the declared tolerance of it (moved elements are the same), and every
//! instruction set and number of threads gives the same bits.

#![allow(clippy::unwrap_used)] // helpers of tests

mod support;

use secateur_engine::{Session, SessionOptions};
use secateur_kernels::Isa;
use secateur_model::{
    Activation, Binary, Constant, DType, Data, Graph, Math, Node, Op, Reduction, Shape, Tensor,
    ValueInfo, Variadic, Window,
};
use secateur_plan::Action;

/// Of the largest magnitude of the result.
const TOLERANCE: f32 = 1e-5;

/// How an input reaches the operator.
#[derive(Debug, Clone, Copy, PartialEq)]
enum From {
    /// As it is given.
    Input,
    /// Through a step that leaves images with their channels innermost.
    Images,
    /// As a constant.
    Constant,
}

/// One operator on some inputs.
struct Case {
    op: Op,
    inputs: Vec<(Tensor, From)>,
    tolerance: f32,
}

impl Case {
    fn new(op: Op, inputs: Vec<(Tensor, From)>) -> Self {
        Self {
            op,
            inputs,
            tolerance: TOLERANCE,
        }
    }

    fn exact(self) -> Self {
        Self {
            tolerance: 0.0,
            ..self
        }
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph {
            outputs: vec![value("y", DType::F32)],
            ..Graph::default()
        };
        let mut names = Vec::new();
        for (index, (tensor, from)) in self.inputs.iter().enumerate() {
            let mut name = format!("x{index}");
            if *from == From::Constant {
                let constant = Constant::Tensor(tensor.clone());
                graph.constants.insert(name.clone(), constant);
                names.push(name);
                continue;
            }
            graph.inputs.push(value(&name, tensor.dtype()));
            if *from == From::Images {
                let pooled = format!("{name}.pooled");
                let pool = Op::MaxPool {
                    window: Window::new(&[1, 1]),
                    column_major: false,
                };
                let node = Node::new(&pooled, pool, &[&name], &[&pooled]);
                graph.nodes.push(node);
                name = pooled;
            }
            names.push(name);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let node = Node::new("operator", self.op.clone(), &names, &["y"]);
        graph.nodes.push(node);
        graph
    }

    fn check(&self) {
        let graph = self.graph();
        let names: Vec<String> = (0..self.inputs.len()).map(|i| format!("x{i}")).collect();
        let given: Vec<(&str, &Tensor)> = names
            .iter()
            .zip(&self.inputs)
            .filter(|(_, (_, from))| *from != From::Constant)
            .map(|(name, (tensor, _))| (name.as_str(), tensor))
            .collect();
        let owned: Vec<(&str, Tensor)> = given.iter().map(|(n, t)| (*n, (*t).clone())).collect();
        let expected = secateur_model::eval(&graph, &owned).unwrap().remove(0);
        let shapes: Vec<String> = self
            .inputs
            .iter()
            .map(|(t, from)| format!("{} {from:?}", t.shape()))
            .collect();
        let what = format!("{:?} of {}", self.op, shapes.join(", "));
        let mut first: Option<Tensor> = None;
        for isa in Isa::available() {
            for threads in [1, 3] {
                let options = SessionOptions {
                    threads: Some(threads),
                    isa: Some(isa),
                    ..SessionOptions::default()
                };
                let session = Session::new(&graph, &options).unwrap();
                let shapes: Vec<Shape> = given.iter().map(|(_, t)| t.shape().clone()).collect();
                let bound = session.bind(&shapes).unwrap();
                for step in &bound.plan().steps {
                    let reference = matches!(step.action, Action::Reference(_));
                    assert!(!reference, "{what}: {}", step.choice.reason);
                }
                let found = session.run(&given).unwrap().remove(0);
                match &first {
                    Some(first) => assert_eq!(bits(&found), bits(first), "{what} {isa} {threads}"),
                    None => {
                        compare(&found, &expected, self.tolerance, &what);
                        first = Some(found);
                    }
                }
            }
        }
    }
}

fn value(name: &str, dtype: DType) -> ValueInfo {
    ValueInfo {
        name: name.into(),
        dtype,
        dims: None,
    }
}

/// The bits, so that NaN is itself.
fn bits(tensor: &Tensor) -> Vec<u64> {
    match tensor.data() {
        Data::F32(v) => v.iter().map(|v| v.to_bits().into()).collect(),
        Data::I64(v) => v.iter().map(|&v| v as u64).collect(),
        Data::I32(v) => v.iter().map(|&v| v as u64).collect(),
        _ => Vec::new(),
    }
}

fn compare(found: &Tensor, expected: &Tensor, tolerance: f32, what: &str) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let (Data::F32(found), Data::F32(expected)) = (found.data(), expected.data()) else {
        assert_eq!(found, expected, "{what}");
        return;
    };
    let finite = expected.iter().filter(|v| v.is_finite());
    let range = finite.fold(1e-6f32, |m, v| m.max(v.abs()));
    for (at, (f, e)) in found.iter().zip(expected).enumerate() {
        let same = f == e || f.is_nan() && e.is_nan();
        let near = (f - e).abs() <= tolerance * range;
        assert!(same || near, "{what}: {f} for {e} at {at}");
    }
}

/// Numbers between `-scale` and `scale`.
fn real(dims: &[usize], scale: f32, seed: u64) -> Tensor {
    let noise = support::noise(dims.iter().product(), seed);
    Tensor::f32(dims, noise.iter().map(|v| v * scale).collect()).unwrap()
}

fn integers(list: &[i64]) -> (Tensor, From) {
    let tensor = Tensor::i64(&[list.len()], list.to_vec()).unwrap();
    (tensor, From::Constant)
}

/// Large enough that threads share it.
const LARGE: [usize; 4] = [2, 12, 64, 130];
const SMALL: [usize; 4] = [2, 3, 5, 7];

#[test]
fn functions_of_one_number() {
    let activation = |kind, parameters| Op::Activation { kind, parameters };
    let ops = [
        Op::Sigmoid,
        Op::Tanh,
        Op::Relu,
        Op::LeakyRelu { alpha: 0.1 },
        activation(Activation::Elu, [0.5, 0.0]),
        activation(Activation::Gelu, [0.0; 2]),
        activation(Activation::GeluTanh, [0.0; 2]),
        activation(Activation::HardSigmoid, [0.2, 0.5]),
        activation(Activation::HardSwish, [0.0; 2]),
        activation(Activation::Swish, [1.5, 0.0]),
        Op::Math(Math::Abs),
        Op::Math(Math::Ceil),
        Op::Math(Math::Erf),
        Op::Math(Math::Exp),
        Op::Math(Math::Floor),
        Op::Math(Math::Neg),
        Op::Math(Math::Reciprocal),
        Op::Math(Math::Round),
        Op::Math(Math::Sqrt),
    ];
    for op in ops {
        for (dims, from) in [(SMALL, From::Input), (SMALL, From::Images)] {
            Case::new(op.clone(), vec![(real(&dims, 6.0, 3), from)]).check();
        }
        let ends = vec![0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        let ends = Tensor::f32(&[5], ends).unwrap();
        Case::new(op, vec![(ends, From::Input)]).check();
    }
    let large = real(&LARGE, 6.0, 3);
    Case::new(Op::Sigmoid, vec![(large, From::Input)]).check();
}

#[test]
fn functions_of_two_numbers_broadcast() {
    let ops = [
        Op::Add,
        Op::Sub,
        Op::Mul,
        Op::Div,
        Op::Variadic(Variadic::Max),
        Op::Variadic(Variadic::Min),
        Op::Variadic(Variadic::Sum),
    ];
    let others: [&[usize]; 6] = [&SMALL, &[], &[7], &[3, 1, 1], &[2, 1, 5, 1], &[1, 3, 1, 1]];
    for op in &ops {
        for dims in others {
            for from in [From::Input, From::Images] {
                let second = match dims.len() {
                    4 => from,
                    _ => From::Input,
                };
                for other in [second, From::Constant] {
                    let a = (real(&SMALL, 2.0, 1), from);
                    let b = (real(dims, 2.0, 2), other);
                    Case::new(op.clone(), vec![a.clone(), b.clone()])
                        .exact()
                        .check();
                    Case::new(op.clone(), vec![b, a]).exact().check();
                }
            }
        }
    }
    for dims in [&LARGE[..], &LARGE[3..], &[12, 1, 1], &[]] {
        let inputs = vec![
            (real(&LARGE, 2.0, 1), From::Input),
            (real(dims, 2.0, 2), From::Input),
        ];
        Case::new(Op::Add, inputs).exact().check();
    }
    for power in [2.0, 0.5, 3.0, -1.5] {
        let power = (Tensor::scalar_f32(power), From::Constant);
        let inputs = vec![(real(&SMALL, 2.0, 1), From::Images), power];
        Case::new(Op::Binary(Binary::Pow), inputs).check();
    }
    let slope = (real(&[3, 1, 1], 0.3, 9), From::Constant);
    let inputs = vec![(real(&SMALL, 2.0, 1), From::Images), slope];
    Case::new(Op::PRelu, inputs).exact().check();
}

#[test]
fn choices_and_casts() {
    let shape = Shape::new(&[2, 1, 5, 7]).unwrap();
    let bits = support::noise(shape.elements(), 5);
    let bits = Data::Bool(bits.iter().map(|&v| v > 0.0).collect());
    let condition = Tensor::new(shape, bits).unwrap();
    for from in [From::Input, From::Constant] {
        let inputs = vec![
            (condition.clone(), from),
            (real(&SMALL, 2.0, 1), From::Images),
            (Tensor::scalar_f32(f32::NEG_INFINITY), From::Constant),
        ];
        Case::new(Op::Where, inputs).exact().check();
    }
    let cast = |to| Op::Cast { to };
    let whole = Tensor::i64(&[4], vec![-3, 0, 7, i64::MAX]).unwrap();
    Case::new(cast(DType::F32), vec![(whole.clone(), From::Input)]).check();
    let narrow = Tensor::i64(&[3], vec![-3, 0, 7]).unwrap();
    Case::new(cast(DType::I32), vec![(narrow, From::Input)]).check();
    let truth = (condition, From::Input);
    Case::new(cast(DType::F32), vec![truth.clone()]).check();
    Case::new(cast(DType::I64), vec![truth]).check();
    let parts = real(&LARGE, 9.0, 8);
    Case::new(cast(DType::I32), vec![(parts, From::Input)]).check();
}

#[test]
fn lanes() {
    for axis in [-1, 0, 1, 2] {
        for from in [From::Input, From::Images] {
            for flattened in [false, true] {
                let op = Op::Softmax { axis, flattened };
                Case::new(op, vec![(real(&SMALL, 8.0, 1), from)]).check();
            }
        }
    }
    let op = Op::Softmax {
        axis: -1,
        flattened: false,
    };
    Case::new(op, vec![(real(&LARGE, 8.0, 1), From::Input)]).check();
    let parameters = |width| {
        [
            (real(&[width], 2.0, 4), From::Constant),
            (real(&[width], 2.0, 5), From::Input),
        ]
    };
    for dims in [SMALL, LARGE] {
        let op = Op::LayerNormalization {
            axis: -1,
            epsilon: 1e-5,
        };
        let [scale, bias] = parameters(dims[3]);
        let x = (real(&dims, 3.0, 6), From::Input);
        let inputs = vec![x.clone(), scale.clone(), bias];
        Case::new(op.clone(), inputs).check();
        Case::new(op, vec![x.clone(), scale.clone()]).check();
        let op = Op::RMSNormalization {
            axis: -1,
            epsilon: 1e-5,
        };
        Case::new(op, vec![x, scale]).check();
    }
}

#[test]
fn reductions() {
    let kinds = [
        Reduction::L2,
        Reduction::Max,
        Reduction::Mean,
        Reduction::Min,
        Reduction::Sum,
        Reduction::SumSquare,
    ];
    let lists: [&[i64]; 6] = [&[-1], &[0], &[1], &[2, 3], &[1, 2, 3], &[]];
    for kind in kinds {
        for axes in lists {
            for keep_dims in [false, true] {
                for from in [From::Input, From::Images] {
                    let op = Op::Reduce {
                        kind,
                        keep_dims,
                        noop_with_empty_axes: false,
                    };
                    let x = (real(&SMALL, 3.0, 6), from);
                    Case::new(op, vec![x, integers(axes)]).check();
                }
            }
        }
        let op = Op::Reduce {
            kind,
            keep_dims: true,
            noop_with_empty_axes: false,
        };
        let x = (real(&LARGE, 3.0, 6), From::Input);
        Case::new(op, vec![x, integers(&[2])]).check();
    }
    for op in [Op::GlobalMaxPool, Op::GlobalAveragePool] {
        for from in [From::Input, From::Images] {
            Case::new(op.clone(), vec![(real(&SMALL, 3.0, 6), from)]).check();
        }
    }
}

#[test]
fn products_of_computed_matrices() {
    let pairs: [(&[usize], &[usize]); 9] = [
        (&[5, 7], &[7, 3]),
        (&[7], &[7, 3]),
        (&[5, 7], &[7]),
        (&[7], &[7]),
        (&[2, 3, 5, 7], &[2, 3, 7, 4]),
        (&[2, 3, 5, 7], &[3, 7, 4]),
        (&[5, 7], &[2, 1, 7, 4]),
        (&[2, 1, 5, 7], &[1, 3, 7, 33]),
        (&[1, 12, 96, 40], &[1, 12, 40, 96]),
    ];
    for (a, b) in pairs {
        let (a, b) = (real(a, 1.0, 1), real(b, 1.0, 2));
        for (from_a, from_b) in [
            (From::Input, From::Input),
            (From::Constant, From::Input),
            (From::Input, From::Constant),
        ] {
            let inputs = vec![(a.clone(), from_a), (b.clone(), from_b)];
            Case::new(Op::MatMul, inputs).check();
        }
    }
}

#[test]
fn elements_that_move() {
    for dims in [SMALL, LARGE] {
        for perm in [[0, 2, 1, 3], [0, 2, 3, 1], [3, 2, 1, 0], [1, 0, 3, 2]] {
            for from in [From::Input, From::Images] {
                let perm = Some(perm.to_vec());
                let inputs = vec![(real(&dims, 1.0, 1), from)];
                Case::new(Op::Transpose { perm }, inputs).exact().check();
            }
        }
    }
    let table = real(&[40, 96], 1.0, 1);
    let chosen: Vec<i64> = (0..2400).map(|i| (i * 29) % 80 - 40).collect();
    for from in [From::Input, From::Constant] {
        for (axis, limit) in [(0, 40), (1, 96)] {
            let at: Vec<i64> = chosen.iter().map(|i| i % limit).collect();
            let at = Tensor::i64(&[12, 200], at).unwrap();
            for at_from in [From::Input, From::Constant] {
                if (from, at_from) == (From::Constant, From::Constant) {
                    continue;
                }
                let inputs = vec![(table.clone(), from), (at.clone(), at_from)];
                Case::new(Op::Gather { axis }, inputs).exact().check();
            }
        }
    }
}

#[test]
fn resized_tensors() {
    use secateur_model::ops::{Aspect, Coordinates, Interpolation, Resize, Rounding};
    let resize = |interpolation, coordinates| Resize {
        interpolation,
        coordinates,
        axes: vec![],
        aspect: Aspect::Stretch,
        antialias: false,
        exclude_outside: false,
        extrapolation: 9.0,
    };
    let check = |resize: &Resize, x: &Tensor, from, sizes: &[i64]| {
        let rank = sizes.len();
        let roi: Vec<f32> = (0..2 * rank)
            .map(|i| if i < rank { 0.1 } else { 1.2 })
            .collect();
        let roi = Tensor::f32(&[2 * rank], roi).unwrap();
        let none = (Tensor::f32(&[0], vec![]).unwrap(), From::Constant);
        let op = Op::Resize(Box::new(resize.clone()));
        let inputs = vec![
            (x.clone(), from),
            (roi, From::Constant),
            none,
            integers(sizes),
        ];
        Case::new(op, inputs).check();
    };
    let kinds = [
        Interpolation::Linear,
        Interpolation::Cubic(-0.75),
        Interpolation::Nearest(Rounding::Floor),
        Interpolation::Nearest(Rounding::PreferCeil),
    ];
    let coordinates = [
        Coordinates::HalfPixel,
        Coordinates::HalfPixelSymmetric,
        Coordinates::PytorchHalfPixel,
        Coordinates::AlignCorners,
        Coordinates::Asymmetric,
        Coordinates::CropAndResize,
    ];
    let small = real(&SMALL, 1.0, 1);
    for kind in kinds {
        for coordinates in coordinates {
            let plain = resize(kind, coordinates);
            for from in [From::Input, From::Images] {
                for sizes in [[2, 3, 11, 15], [2, 3, 2, 3], [2, 3, 5, 9], [2, 3, 1, 7]] {
                    check(&plain, &small, from, &sizes);
                }
            }
            check(&plain, &small, From::Images, &[3, 3, 5, 9]);
            check(&plain, &small, From::Input, &[2, 5, 8, 9]);
            let cube = real(&[1, 2, 3, 4, 5], 1.0, 2);
            check(&plain, &cube, From::Input, &[1, 2, 5, 7, 4]);
        }
    }
    for kind in [Interpolation::Linear, Interpolation::Cubic(-0.5)] {
        for (antialias, exclude_outside) in [(true, false), (false, true), (true, true)] {
            let smooth = Resize {
                antialias,
                exclude_outside,
                ..resize(kind, Coordinates::HalfPixel)
            };
            for sizes in [[2, 3, 2, 3], [2, 3, 9, 20]] {
                check(&smooth, &small, From::Images, &sizes);
            }
        }
    }
    let large = real(&LARGE, 1.0, 3);
    let linear = resize(Interpolation::Linear, Coordinates::HalfPixel);
    for from in [From::Input, From::Images] {
        check(&linear, &large, from, &[2, 12, 150, 170]);
    }
}

#[test]
fn recurrent_layers() {
    use secateur_model::ops::{Cell, CellActivation as F, Direction, Recurrent};
    let base = Recurrent {
        cell: Cell::Lstm,
        direction: Direction::Forward,
        activations: vec![],
        clip: None,
        hidden: None,
        batch_first: false,
        linear_before_reset: false,
    };
    let check = |layer: &Recurrent, [steps, batch, hidden]: [usize; 3], optional: bool| {
        let gates = match layer.cell {
            Cell::Rnn => 1,
            Cell::Gru => 3,
            Cell::Lstm => 4,
        };
        let directions = 1 + usize::from(layer.direction == Direction::Bidirectional);
        let rows = gates * hidden;
        let (x, state) = match layer.batch_first {
            true => ([batch, steps, 7], [batch, directions, hidden]),
            false => ([steps, batch, 7], [directions, batch, hidden]),
        };
        let mut inputs = vec![
            (real(&x, 1.0, 1), From::Input),
            (real(&[directions, rows, 7], 0.5, 2), From::Constant),
            (real(&[directions, rows, hidden], 0.5, 3), From::Constant),
        ];
        if optional {
            let lengths = (0..batch).map(|b| (steps - b % steps) as i32).collect();
            inputs.extend([
                (real(&[directions, 2 * rows], 0.3, 4), From::Constant),
                (Tensor::i32(&[batch], lengths).unwrap(), From::Input),
                (real(&state, 1.0, 5), From::Input),
            ]);
            if layer.cell == Cell::Lstm {
                inputs.extend([
                    (real(&state, 1.0, 6), From::Constant),
                    (real(&[directions, 3 * hidden], 0.5, 7), From::Constant),
                ]);
            }
        }
        Case::new(Op::Recurrent(Box::new(layer.clone())), inputs).check();
    };
    for cell in [Cell::Rnn, Cell::Gru, Cell::Lstm] {
        for direction in [
            Direction::Forward,
            Direction::Reverse,
            Direction::Bidirectional,
        ] {
            for flags in 0..8 {
                let layer = Recurrent {
                    cell,
                    direction,
                    batch_first: flags & 1 > 0,
                    linear_before_reset: flags & 2 > 0,
                    clip: (flags & 4 > 0).then_some(0.5),
                    ..base.clone()
                };
                check(&layer, [5, 3, 9], flags & 1 > 0);
                check(&layer, [4, 1, 17], flags & 1 == 0);
            }
        }
    }
    let both = Recurrent {
        cell: Cell::Gru,
        direction: Direction::Bidirectional,
        activations: vec![F::Sigmoid, F::Relu, F::Softsign, F::Tanh],
        ..base.clone()
    };
    check(&both, [5, 3, 9], true);
    // Large enough that threads share rows and directions.
    let large = Recurrent {
        direction: Direction::Bidirectional,
        ..base.clone()
    };
    check(&large, [40, 5, 130], true);

    // A pruned one.
    let pruned = |dims: [usize; 3], seed| {
        let weights = real(&dims, 0.5, seed).as_f32().unwrap().to_vec();
        let kept = weights
            .iter()
            .map(|&w| if w.abs() > 0.48 { w } else { 0.0 });
        (Tensor::f32(&dims, kept.collect()).unwrap(), From::Constant)
    };
    for cell in [Cell::Gru, Cell::Lstm] {
        let layer = Recurrent {
            cell,
            ..base.clone()
        };
        let rows = if cell == Cell::Gru { 3 * 256 } else { 4 * 256 };
        let inputs = vec![
            (real(&[6, 1, 64], 1.0, 1), From::Input),
            pruned([1, rows, 64], 2),
            pruned([1, rows, 256], 3),
        ];
        Case::new(Op::Recurrent(Box::new(layer)), inputs).check();
    }
}

#[test]
fn transposed_convolutions() {
    use secateur_model::ops::ConvTranspose;
    let check = |conv: &ConvTranspose, x: &[usize], w: &[usize], bias: bool| {
        let mut inputs = vec![
            (real(x, 1.0, 1), From::Input),
            (real(w, 1.0, 2), From::Constant),
        ];
        if bias {
            inputs.push((real(&[w[1] * conv.groups], 1.0, 3), From::Constant));
        }
        let op = Op::ConvTranspose(Box::new(conv.clone()));
        Case::new(op, inputs).exact().check();
    };
    let spread = |strides: &[usize], dilations: &[usize], pads: &[usize], groups| ConvTranspose {
        window: Window {
            dilations: dilations.to_vec(),
            ..Window::default().stride(strides).pad(pads)
        },
        groups,
        ..ConvTranspose::default()
    };
    for strides in [[1, 1], [2, 2], [3, 2], [2, 5]] {
        for dilations in [[1, 1], [2, 3]] {
            for pads in [[0; 4], [1, 0, 0, 1], [2, 3, 1, 0]] {
                for groups in [1, 2, 4] {
                    let conv = spread(&strides, &dilations, &pads, groups);
                    check(&conv, &[2, 4, 5, 6], &[4, 8 / groups, 3, 4], groups > 1);
                    check(&conv, &[1, 4, 3, 3], &[4, 1, 3, 2], groups == 1);
                }
            }
        }
    }
    let shaped = ConvTranspose {
        output_padding: vec![1, 0],
        ..spread(&[2, 2], &[1, 1], &[1; 4], 1)
    };
    check(&shaped, &[1, 3, 4, 4], &[3, 17, 3, 3], true);
    let asked = ConvTranspose {
        output_shape: vec![11, 6],
        ..spread(&[2, 2], &[], &[], 1)
    };
    check(&asked, &[1, 3, 4, 4], &[3, 17, 3, 3], true);
    check(
        &spread(&[2, 2], &[], &[1; 4], 1),
        &[1, 32, 40, 40],
        &[32, 16, 4, 4],
        true,
    );
    check(
        &spread(&[3], &[2], &[1, 2], 1),
        &[2, 5, 9],
        &[5, 4, 4],
        true,
    );
    check(&spread(&[2], &[], &[], 5), &[2, 5, 9], &[5, 1, 4], false);
}

/// Convolutions of lines one behind the other, with what stands between them.
#[test]
fn lines_stay_images_from_layer_to_layer() {
    let mut graph = Graph {
        inputs: vec![value("x", DType::F32)],
        outputs: vec![value("y", DType::F32)],
        ..Graph::default()
    };
    let window = || Window::new(&[3]).pad(&[1, 1]);
    let conv = || Op::Conv {
        window: window(),
        groups: 1,
    };
    for (name, dims) in [("v", [8, 6, 3]), ("w", [5, 8, 3])] {
        let weight = Constant::Tensor(real(&dims, 0.5, 2));
        graph.constants.insert(name.into(), weight);
    }
    graph.nodes = vec![
        Node::new("first", conv(), &["x", "v"], &["a"]),
        Node::new("relu", Op::Relu, &["a"], &["b"]),
        Node::new("sigmoid", Op::Sigmoid, &["b"], &["c"]),
        Node::new("second", conv(), &["c", "w"], &["d"]),
        Node::new("last", Op::Relu, &["d"], &["y"]),
    ];
    let x = real(&[2, 6, 37], 1.0, 1);
    let session = Session::new(&graph, &SessionOptions::default()).unwrap();
    let bound = session.bind(&[x.shape().clone()]).unwrap();
    let kernels: Vec<&str> = bound
        .plan()
        .steps
        .iter()
        .map(|s| &s.choice.kernel[..])
        .collect();
    let turns = kernels
        .iter()
        .filter(|k| k.starts_with("nchw") || k.starts_with("nhwc"));
    assert_eq!((turns.count(), kernels.len()), (2, 5), "{kernels:?}");
    let expected = secateur_model::eval(&graph, &[("x", x.clone())])
        .unwrap()
        .remove(0);
    let found = session.run(&[("x", &x)]).unwrap().remove(0);
    compare(&found, &expected, TOLERANCE, "lines");
}

#[test]
fn layers_and_pools_of_lines() {
    let window = |k: usize| Window::new(&[k]).stride(&[2]).pad(&[1, 0]);
    let x = || (real(&[2, 6, 37], 1.0, 1), From::Input);
    for groups in [1, 2, 6] {
        let w = (real(&[12, 6 / groups, 3], 1.0, 2), From::Constant);
        let b = (real(&[12], 1.0, 3), From::Constant);
        let op = Op::Conv {
            window: window(3),
            groups,
        };
        Case::new(op, vec![x(), w, b]).exact().check();
    }
    let op = Op::MaxPool {
        window: window(3),
        column_major: false,
    };
    Case::new(op, vec![x()]).exact().check();
    for count_include_pad in [false, true] {
        let op = Op::AveragePool {
            window: window(3),
            count_include_pad,
        };
        Case::new(op, vec![x()]).exact().check();
    }
}

#[test]
fn borders_of_what_is_there() {
    use secateur_model::PadMode;
    for mode in [PadMode::Reflect, PadMode::Edge, PadMode::Wrap] {
        for from in [From::Input, From::Images] {
            for pads in [[0, 0, 1, 2, 0, 0, 3, 0], [1, 0, 4, 6, 0, 2, 4, 6], [0; 8]] {
                let inputs = vec![(real(&SMALL, 1.0, 1), from), integers(&pads)];
                Case::new(Op::Pad { mode }, inputs).exact().check();
            }
        }
        let inputs = vec![
            (real(&[2, 9], 1.0, 1), From::Input),
            integers(&[0, 8, 0, 3]),
        ];
        Case::new(Op::Pad { mode }, inputs).exact().check();
    }
}
