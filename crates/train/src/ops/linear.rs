//! The matrix product with its transposes and bias: a fully connected layer.

use super::live::{Live, add_columns, take_columns};
use super::matrix::{Into, Matrix, Parallelism, product};
use super::{elements, tensor_of};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use std::sync::Arc;

/// Extents of `alpha · A · B + bias`, A `[rows, inner]`, B `[inner, columns]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearGeometry {
    /// Rows of A and of the result.
    pub rows: usize,
    /// Columns of A, rows of B.
    pub inner: usize,
    /// Columns of B and of the result.
    pub columns: usize,
    /// Whether A and B are stored with rows and columns exchanged.
    pub exchanged: [bool; 2],
    /// Factor on the product.
    pub alpha: f32,
}

impl LinearGeometry {
    fn a<'a>(&self, values: &'a [f32]) -> Matrix<'a> {
        Matrix::stored(values, [self.rows, self.inner], self.exchanged[0])
    }

    fn b<'a>(&self, values: &'a [f32]) -> Matrix<'a> {
        Matrix::stored(values, [self.inner, self.columns], self.exchanged[1])
    }

    /// Columns of A and of the result that have a part in the product.
    fn parts<'a>(&self, live: &'a Live) -> [&'a [usize]; 2] {
        match self.exchanged[1] {
            true => [&live.columns, &live.rows],
            false => [&live.rows, &live.columns],
        }
    }

    /// The extents of what is left, B stored as it was.
    fn left(&self, live: &Live) -> Self {
        let [inner, columns] = self.parts(live).map(<[usize]>::len);
        Self {
            inner,
            columns,
            ..*self
        }
    }

    fn y<'a>(&self, values: &'a [f32]) -> Matrix<'a> {
        Matrix::new(values, self.rows, self.columns)
    }
}

/// The tensor library's entry to the product.
#[backend_extension(Flex, Autodiff)]
pub trait LinearOps: Backend {
    /// `[rows, columns]`; the bias has one element for each column.
    fn multiply_add(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: LinearGeometry,
        live: Option<Arc<Live>>,
    ) -> FloatTensor<Self>;
}

/// `alpha · A · B + bias`, flat. Only the `live` rows and columns of B are not zero, and have
/// gradients; A is then not exchanged.
pub(crate) fn linear(
    a: Tensor<1>,
    b: Tensor<1>,
    bias: Tensor<1>,
    geometry: LinearGeometry,
    live: Option<Arc<Live>>,
) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as LinearOps>::multiply_add(
        a.into_dispatch(),
        b.into_dispatch(),
        bias.into_dispatch(),
        geometry,
        live,
    ))
}

impl LinearOps for Flex {
    fn multiply_add(
        a: FlexTensor,
        b: FlexTensor,
        bias: FlexTensor,
        g: LinearGeometry,
        live: Option<Arc<Live>>,
    ) -> FlexTensor {
        let (a, b, bias) = (elements(&a), elements(&b), elements(&bias));
        let mut y = bias.repeat(g.rows);
        match live {
            None => product(&mut y, Into::Add, g.alpha, g.a(&a), g.b(&b), threads()),
            Some(live) => {
                let ([from, to], left) = (g.parts(&live), g.left(&live));
                let (a, b) = (take_columns(&a, g.inner, from), live.gather(&b));
                let mut part = vec![0.0; left.rows * left.columns];
                let (a, b) = (left.a(&a), left.b(&b));
                product(&mut part, Into::Set, g.alpha, a, b, threads());
                add_columns(&mut y, g.columns, to, &part);
            }
        }
        tensor_of(y, &[g.rows * g.columns])
    }
}

/// All of the pool's.
fn threads() -> Parallelism {
    Parallelism::Rayon(0)
}

impl<C: CheckpointStrategy> LinearOps for Autodiff<Flex, C> {
    fn multiply_add(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: LinearGeometry,
        live: Option<Arc<Live>>,
    ) -> FloatTensor<Self> {
        let nodes = [a.node(), b.node(), bias.node()];
        let (a, b) = (a.into_primitive(), b.into_primitive());
        let (bias, kept) = (bias.into_primitive(), live.clone());
        let output = Flex::multiply_add(a.clone(), b.clone(), bias, geometry, kept);
        match Linear.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((a, b, geometry, live), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct Linear;

impl Backward<Flex, 3> for Linear {
    type State = (FlexTensor, FlexTensor, LinearGeometry, Option<Arc<Live>>);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [a_node, b_node, bias_node] = ops.parents;
        let (a, b, g, live) = ops.state;
        let dy = grads.consume::<Flex>(&ops.node);
        let (a, b, dy) = (elements(&a), elements(&b), elements(&dy));
        if let Some(node) = bias_node {
            let mut sums = vec![0.0; g.columns];
            for row in dy.chunks_exact(g.columns.max(1)) {
                sums.iter_mut().zip(row).for_each(|(s, d)| *s += d);
            }
            grads.register::<Flex>(node.id, tensor_of(sums, &[g.columns]));
        }
        if let Some(live) = live {
            let ([from, to], left) = (g.parts(&live), g.left(&live));
            let part = take_columns(&dy, g.columns, to);
            let dy = left.y(&part);
            if let Some(node) = a_node {
                let b = live.gather(&b);
                let mut part = vec![0.0; left.rows * left.inner];
                let turned = left.b(&b).transposed();
                product(&mut part, Into::Set, g.alpha, dy, turned, threads());
                let mut da = vec![0.0; g.rows * g.inner];
                add_columns(&mut da, g.inner, from, &part);
                grads.register::<Flex>(node.id, tensor_of(da, &[g.rows * g.inner]));
            }
            if let Some(node) = b_node {
                let a = take_columns(&a, g.inner, from);
                let a = left.a(&a);
                let mut part = vec![0.0; left.inner * left.columns];
                let (x, y) = match g.exchanged[1] {
                    true => (dy.transposed(), a),
                    false => (a.transposed(), dy),
                };
                product(&mut part, Into::Set, g.alpha, x, y, threads());
                let db = live.scatter(&part, g.inner * g.columns);
                grads.register::<Flex>(node.id, tensor_of(db, &[g.inner * g.columns]));
            }
            return;
        }
        let dy = g.y(&dy);
        // Each gradient is written as its matrix is stored: an exchanged one as
        // the product of the transposes in the other order.
        let gradient = |left: Matrix<'_>, right: Matrix<'_>, exchanged: bool| {
            let mut out = vec![0.0; left.rows * right.columns];
            let (left, right) = match exchanged {
                true => (right.transposed(), left.transposed()),
                false => (left, right),
            };
            product(&mut out, Into::Set, g.alpha, left, right, threads());
            let elements = out.len();
            tensor_of(out, &[elements])
        };
        if let Some(node) = a_node {
            let da = gradient(dy, g.b(&b).transposed(), g.exchanged[0]);
            grads.register::<Flex>(node.id, da);
        }
        if let Some(node) = b_node {
            let db = gradient(g.a(&a).transposed(), dy, g.exchanged[1]);
            grads.register::<Flex>(node.id, db);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Value, to_vec};

    /// Result, and gradients of A, B and bias.
    fn all(exchanged: bool, live: Option<Arc<Live>>) -> [Vec<f32>; 4] {
        let g = LinearGeometry {
            rows: 3,
            inner: 5,
            columns: 4,
            exchanged: [false, exchanged],
            alpha: 0.5,
        };
        let noise = |n: usize, seed: usize| -> Vec<f32> {
            (0..n)
                .map(|i| ((i * 37 + seed) % 11) as f32 - 5.0)
                .collect()
        };
        let (height, width) = if exchanged { (4, 5) } else { (5, 4) };
        let kept = kept(width);
        let b = kept.scatter(&kept.gather(&noise(20, 2)), height * width);
        let [a, b, bias] = [noise(15, 1), b, noise(4, 3)].map(|v| {
            let dims = [v.len()];
            Value::parameter(v, &dims).flat
        });
        let y = linear(a.clone(), b.clone(), bias.clone(), g, live);
        let weights = Value::new(noise(12, 5), &[12]).flat.autodiff();
        let mut gradients = (y.clone() * weights).sum().backward();
        let [a, b, bias] = [a, b, bias].map(|t| to_vec(t.grad_remove(&mut gradients).unwrap()));
        [to_vec(y.inner()), a, b, bias]
    }

    fn kept(width: usize) -> Live {
        Live {
            rows: vec![0, 2],
            columns: vec![1, 3],
            width,
        }
    }

    #[test]
    fn what_is_left_out_is_what_is_zero() {
        for exchanged in [false, true] {
            let live = kept(if exchanged { 5 } else { 4 });
            let [y, a, b, bias] = all(exchanged, None);
            let [live_y, live_a, live_b, live_bias] = all(exchanged, Some(Arc::new(live.clone())));
            assert_eq!((y, a, bias), (live_y, live_a, live_bias));
            assert_eq!(live_b, live.scatter(&live.gather(&b), 20));
        }
    }
}
