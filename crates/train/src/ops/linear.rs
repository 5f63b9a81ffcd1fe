//! The matrix product with its transposes and bias: a fully connected layer.

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
    ) -> FloatTensor<Self>;
}

/// `alpha · A · B + bias`, flat.
pub(crate) fn linear(
    a: Tensor<1>,
    b: Tensor<1>,
    bias: Tensor<1>,
    geometry: LinearGeometry,
) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as LinearOps>::multiply_add(
        a.into_dispatch(),
        b.into_dispatch(),
        bias.into_dispatch(),
        geometry,
    ))
}

impl LinearOps for Flex {
    fn multiply_add(
        a: FlexTensor,
        b: FlexTensor,
        bias: FlexTensor,
        g: LinearGeometry,
    ) -> FlexTensor {
        let (a, b, bias) = (elements(&a), elements(&b), elements(&bias));
        let mut y = bias.repeat(g.rows);
        product(&mut y, Into::Add, g.alpha, g.a(&a), g.b(&b), threads());
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
    ) -> FloatTensor<Self> {
        let nodes = [a.node(), b.node(), bias.node()];
        let (a, b) = (a.into_primitive(), b.into_primitive());
        let output = Flex::multiply_add(a.clone(), b.clone(), bias.into_primitive(), geometry);
        match Linear.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((a, b, geometry), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct Linear;

impl Backward<Flex, 3> for Linear {
    type State = (FlexTensor, FlexTensor, LinearGeometry);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [a_node, b_node, bias_node] = ops.parents;
        let (a, b, g) = ops.state;
        let dy = grads.consume::<Flex>(&ops.node);
        let (a, b, dy) = (elements(&a), elements(&b), elements(&dy));
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
        if let Some(node) = bias_node {
            let mut sums = vec![0.0; g.columns];
            for row in dy.values.chunks_exact(g.columns.max(1)) {
                sums.iter_mut().zip(row).for_each(|(s, d)| *s += d);
            }
            grads.register::<Flex>(node.id, tensor_of(sums, &[g.columns]));
        }
    }
}
