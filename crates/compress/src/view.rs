//! A layer's weight as outputs and the inputs that each of them sums.

use secateur_model::{Graph, Node, Op, Weight};

/// How the outputs of a layer and their inputs lie in its stored weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Output channels.
    pub outputs: usize,
    /// Inputs of an output: `c / groups · kh · kw` for a convolution.
    pub depth: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether the weight lies as `[depth, outputs]` (MatMul), not as `[outputs, depth]`.
    pub columns: bool,
}

impl View {
    /// The weight of a convolution or fully connected node, and how it lies.
    pub fn of_node<'a>(graph: &'a Graph, node: &'a Node) -> Option<(&'a str, Self)> {
        let (name, weight) = graph.kernel_of(node)?;
        let view = match node.op {
            Op::Conv { groups, .. } => Self::rows(weight, groups),
            Op::Gemm { trans_b: false, .. } | Op::MatMul if weight.shape().rank() == 2 => {
                let (depth, outputs) = weight.matrix();
                Self {
                    outputs,
                    depth,
                    groups: 1,
                    columns: true,
                }
            }
            _ => Self::rows(weight, 1),
        };
        Some((name, view))
    }

    /// A weight whose outputs are the rows of its matrix.
    pub fn rows(weight: &Weight, groups: usize) -> Self {
        let (outputs, depth) = weight.matrix();
        Self {
            outputs,
            depth,
            groups: groups.max(1),
            columns: false,
        }
    }

    /// The stored position of one output's weight for one of its inputs.
    pub fn position(&self, output: usize, input: usize) -> usize {
        match self.columns {
            true => input * self.outputs + output,
            false => output * self.depth + input,
        }
    }

    /// The output and input of a stored position.
    pub fn place(&self, position: usize) -> (usize, usize) {
        match self.columns {
            true => (position % self.outputs, position / self.outputs),
            false => (position / self.depth, position % self.depth),
        }
    }

    /// The group of an output.
    pub fn group(&self, output: usize) -> usize {
        output / (self.outputs / self.groups).max(1)
    }

    /// One output's weights out of all.
    pub fn row<T: Copy>(&self, values: &[T], output: usize) -> Vec<T> {
        (0..self.depth)
            .map(|input| values[self.position(output, input)])
            .collect()
    }
}
