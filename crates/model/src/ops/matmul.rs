//! Gemm and MatMul.
//!
//! The order of additions is part of the meaning: every output element is one
//! chain of fused multiply-adds over k ascending, `acc = b.mul_add(a, acc)`.
//! MatMul starts at 0. Gemm starts at `C` (broadcast) when alpha and beta are 1;
//! otherwise the chain starts at 0 and `alpha · chain + beta · C` follows, one
//! rounding an operation. f16 and bf16 accumulate in f32 and round once;
//! integers wrap.

use super::TypedShape;
use super::args::{Shapes, Tensors};
use super::element::{Element, Number};
use super::elementwise::Broadcast;
use crate::{DType, Data, ModelError, Shape, Tensor};

/// The types that MatMul and Gemm take.
const TYPES: &[DType] = &[
    DType::F32,
    DType::F64,
    DType::F16,
    DType::BF16,
    DType::I32,
    DType::U32,
    DType::I64,
    DType::U64,
];

pub(super) fn infer_gemm(
    args: &Shapes<'_>,
    trans_a: bool,
    trans_b: bool,
) -> Result<Vec<TypedShape>, ModelError> {
    let (a, b) = (args.typed(0, TYPES)?, args.need(1)?);
    args.same_type(1)?;
    let (&[a0, a1], &[b0, b1]) = (a.shape.dims(), b.shape.dims()) else {
        return Err(args.wrong(format!(
            "needs two matrices, found {} and {}",
            a.shape, b.shape
        )));
    };
    let (m, k) = if trans_a { (a1, a0) } else { (a0, a1) };
    let (needed, n) = if trans_b { (b1, b0) } else { (b0, b1) };
    if k != needed {
        return Err(args.wrong(format!(
            "inner extents differ: {k} of {} and {needed} of {}",
            a.shape, b.shape
        )));
    }
    let output = args.shape(&[m, n])?;
    if let Some(c) = args.get(2) {
        args.same_type(2)?;
        if c.shape.broadcast(&output).as_ref() != Some(&output) {
            return Err(args.wrong(format!(
                "C of shape {} does not broadcast to {output}",
                c.shape
            )));
        }
    }
    Ok(vec![(a.dtype, output)])
}

/// `y = alpha · a · b + beta · c`.  a: `[m, k]`, b: `[k, n]`, c broadcast to
/// `[m, n]` -> `[m, n]`; a and b may be given transposed.
pub(super) fn gemm(
    args: &Tensors<'_>,
    (alpha, beta): (f32, f32),
    (trans_a, trans_b): (bool, bool),
) -> Result<Vec<Tensor>, ModelError> {
    let (a, b) = (args.need(0)?, args.need(1)?);
    let (dtype, output) = args.output()?;
    let &[m, n] = output.dims() else {
        return Err(args.wrong("output is no matrix"));
    };
    let k = a.shape().dims()[usize::from(!trans_a)];
    let c = args.get(2);
    let add = c.map(|c| Broadcast::new(c.shape(), output));
    let form = Form {
        m,
        n,
        k,
        a_strides: if trans_a { (1, m) } else { (k, 1) },
        b_strides: if trans_b { (1, k) } else { (n, 1) },
    };
    let plain = alpha == 1.0 && (beta == 1.0 || c.is_none());
    if !plain && !dtype.is_float() {
        return Err(args.unsupported(format!("alpha {alpha} or beta {beta} with {dtype}")));
    }
    macro_rules! exact {
        ($a:expr, $b:expr, $c:expr) => {{
            let (a, b, c) = ($a, $b, $c);
            let start = |at: usize| match (&add, c) {
                (Some(add), Some(c)) if plain => c[add.index(at)],
                _ => Element::ZERO,
            };
            form.multiply(a, b, start)
        }};
    }
    macro_rules! scaled {
        ($a:expr, $b:expr, $c:expr, $float:ty) => {{
            let c: Option<Vec<$float>> = $c;
            let mut y: Vec<$float> = exact!($a, $b, c.as_deref());
            if !plain {
                let (alpha, beta) = (<$float>::from(alpha), <$float>::from(beta));
                for (at, y) in y.iter_mut().enumerate() {
                    *y *= alpha;
                    if let (Some(add), Some(c)) = (&add, &c) {
                        *y += beta * c[add.index(at)];
                    }
                }
            }
            y
        }};
    }
    macro_rules! integers {
        ($($variant:ident)*) => {
            match (a.data(), b.data(), c.map(Tensor::data)) {
                $(
                    (Data::$variant(a), Data::$variant(b), None) => {
                        Data::$variant(exact!(a, b, None::<&Vec<_>>))
                    }
                    (Data::$variant(a), Data::$variant(b), Some(Data::$variant(c))) => {
                        Data::$variant(exact!(a, b, Some(c)))
                    }
                )*
                _ => return Err(args.no_type(0, *dtype)),
            }
        };
    }
    let data = match dtype {
        DType::F64 => {
            let c = c.map(|_| args.doubles(2)).transpose()?;
            Data::F64(scaled!(&args.doubles(0)?, &args.doubles(1)?, c, f64))
        }
        d if d.is_float() => {
            let c = c.map(|_| args.floats(2)).transpose()?;
            let y = scaled!(&args.floats(0)?, &args.floats(1)?, c, f32);
            args.round_floats(*dtype, y)?
        }
        _ => integers!(I32 U32 I64 U64),
    };
    args.single(data)
}

/// The matrix product's extents and the strides of row and column of its
/// factors.
struct Form {
    m: usize,
    n: usize,
    k: usize,
    a_strides: (usize, usize),
    b_strides: (usize, usize),
}

impl Form {
    /// `y[i, j] = start(i·n + j) + Σ a[i, k] · b[k, j]`.
    fn multiply<T: Number>(&self, a: &[T], b: &[T], start: impl Fn(usize) -> T) -> Vec<T> {
        let mut y = Vec::with_capacity(self.m * self.n);
        for i in 0..self.m {
            for j in 0..self.n {
                let mut acc = start(i * self.n + j);
                for k in 0..self.k {
                    let a = a[i * self.a_strides.0 + k * self.a_strides.1];
                    acc = b[k * self.b_strides.0 + j * self.b_strides.1].mul_add(a, acc);
                }
                y.push(acc);
            }
        }
        y
    }
}

pub(super) fn infer_matmul(args: &Shapes<'_>) -> Result<Vec<TypedShape>, ModelError> {
    let (a, b) = (args.typed(0, TYPES)?, args.need(1)?);
    args.same_type(1)?;
    let batch = Batched::new(args, &a.shape, &b.shape)?;
    Ok(vec![(a.dtype, batch.output)])
}

/// NumPy's matmul. a: `[…, m, k]`, b: `[…, k, n]` -> `[…, m, n]`; a vector is a
/// row on the left and a column on the right.
pub(super) fn matmul(args: &Tensors<'_>) -> Result<Vec<Tensor>, ModelError> {
    let (a, b) = (args.need(0)?, args.need(1)?);
    let shapes = Shapes {
        node: args.node,
        inputs: &[],
    };
    let batched = Batched::new(&shapes, a.shape(), b.shape())?;
    let data = match (a.data(), b.data()) {
        (Data::F32(a), Data::F32(b)) => Data::F32(batched.multiply(a, b)),
        (Data::F64(a), Data::F64(b)) => Data::F64(batched.multiply(a, b)),
        (Data::I32(a), Data::I32(b)) => Data::I32(batched.multiply(a, b)),
        (Data::U32(a), Data::U32(b)) => Data::U32(batched.multiply(a, b)),
        (Data::I64(a), Data::I64(b)) => Data::I64(batched.multiply(a, b)),
        (Data::U64(a), Data::U64(b)) => Data::U64(batched.multiply(a, b)),
        _ => {
            let y = batched.multiply(&args.floats(0)?, &args.floats(1)?);
            args.round_floats(a.dtype(), y)?
        }
    };
    args.single(data)
}

/// A stack of matrix products, the stacks broadcast.
pub(super) struct Batched {
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub output: Shape,
    stack: Shape,
    a_stack: Shape,
    b_stack: Shape,
}

impl Batched {
    pub fn new(args: &Shapes<'_>, a: &Shape, b: &Shape) -> Result<Self, ModelError> {
        let (a_stack, m, k) = match a.dims() {
            [] => return Err(args.wrong("input 0 is a scalar")),
            [k] => (&[][..], None, *k),
            [stack @ .., m, k] => (stack, Some(*m), *k),
        };
        let (b_stack, needed, n) = match b.dims() {
            [] => return Err(args.wrong("input 1 is a scalar")),
            [k] => (&[][..], *k, None),
            [stack @ .., k, n] => (stack, *k, Some(*n)),
        };
        if k != needed {
            return Err(args.wrong(format!(
                "inner extents differ: {k} of {a} and {needed} of {b}"
            )));
        }
        let (a_stack, b_stack) = (args.shape(a_stack)?, args.shape(b_stack)?);
        let stack = a_stack
            .broadcast(&b_stack)
            .ok_or_else(|| args.wrong(format!("stacks of {a} and {b} do not broadcast")))?;
        let dims: Vec<usize> = stack.iter().copied().chain(m).chain(n).collect();
        Ok(Self {
            m: m.unwrap_or(1),
            k,
            n: n.unwrap_or(1),
            output: args.shape(&dims)?,
            stack,
            a_stack,
            b_stack,
        })
    }

    /// Where the factors of each product of the stack start.
    pub fn starts(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let a = Broadcast::new(&self.a_stack, &self.stack);
        let b = Broadcast::new(&self.b_stack, &self.stack);
        (0..self.stack.elements())
            .map(move |at| (a.index(at) * self.m * self.k, b.index(at) * self.k * self.n))
    }

    fn multiply<T: Number>(&self, a: &[T], b: &[T]) -> Vec<T> {
        let form = Form {
            m: self.m,
            n: self.n,
            k: self.k,
            a_strides: (self.k, 1),
            b_strides: (self.n, 1),
        };
        self.starts()
            .flat_map(|(at_a, at_b)| form.multiply(&a[at_a..], &b[at_b..], |_| T::ZERO))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::{Node, Op, Tensor};

    fn f32(dims: &[usize], values: &[f32]) -> Tensor {
        Tensor::f32(dims, values.to_vec()).unwrap()
    }

    #[test]
    fn a_linear_layer_is_transposed_and_starts_at_its_bias() {
        let node = Node::new("fc", Op::linear(), &["x", "w", "b"], &["y"]);
        let x = f32(&[1, 2], &[1., 2.]);
        let w = f32(&[3, 2], &[1., 0., 0., 1., 1., 1.]);
        let b = f32(&[3], &[10., 20., 30.]);
        let y = evaluate(&node, &[Some(&x), Some(&w), Some(&b)]).unwrap();
        assert_eq!(y, [f32(&[1, 3], &[11., 22., 33.])]);
        assert!(evaluate(&node, &[Some(&x), Some(&w), Some(&x)]).is_err());
    }

    #[test]
    fn scaled_gemm_with_a_column_and_transposed_left() {
        let op = Op::Gemm {
            alpha: 2.0,
            beta: 0.5,
            trans_a: true,
            trans_b: false,
        };
        let node = Node::new("g", op, &["a", "b", "c"], &["y"]);
        let a = f32(&[1, 2], &[1., 2.]);
        let b = f32(&[1, 2], &[3., 4.]);
        let c = f32(&[2, 1], &[10., 20.]);
        let y = evaluate(&node, &[Some(&a), Some(&b), Some(&c)]).unwrap();
        assert_eq!(y, [f32(&[2, 2], &[11., 13., 22., 26.])]);
    }

    #[test]
    fn stacks_broadcast_and_vectors_lose_their_axis() {
        let node = Node::new("m", Op::MatMul, &["a", "b"], &["y"]);
        let a = f32(&[2, 1, 1, 2], &[1., 2., 3., 4.]);
        let b = f32(&[2, 2, 1], &[1., 1., 1., 0.]);
        let y = evaluate(&node, &[Some(&a), Some(&b)]).unwrap();
        assert_eq!(y, [f32(&[2, 2, 1, 1], &[3., 1., 7., 3.])]);
        let v = f32(&[2], &[5., 6.]);
        let y = evaluate(&node, &[Some(&v), Some(&v)]).unwrap();
        assert_eq!(y, [f32(&[], &[61.])]);
    }

    #[test]
    fn integers_multiply_and_wrap() {
        let node = Node::new("m", Op::MatMul, &["a", "b"], &["y"]);
        let a = Tensor::i32(&[1, 2], vec![i32::MAX, 3]).unwrap();
        let b = Tensor::i32(&[2, 1], vec![2, 5]).unwrap();
        let y = evaluate(&node, &[Some(&a), Some(&b)]).unwrap();
        assert_eq!(y, [Tensor::i32(&[1, 1], vec![13]).unwrap()]);
    }

    #[test]
    fn mismatches_are_refused() {
        let node = Node::new("m", Op::MatMul, &["a", "b"], &["y"]);
        let a = f32(&[1, 2], &[1., 2.]);
        let b = f32(&[3, 1], &[1., 2., 3.]);
        let error = evaluate(&node, &[Some(&a), Some(&b)]).unwrap_err();
        assert!(error.to_string().contains("inner extents"), "{error}");
        assert!(evaluate(&node, &[Some(&a)]).is_err());
        let i = Tensor::i8(&[2, 1], vec![1, 2]).unwrap();
        assert!(evaluate(&node, &[Some(&i), Some(&i)]).is_err());
    }
}
