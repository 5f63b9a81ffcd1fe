//! Integer layers as they are, for whatever else may run them than a plan of this processor.

use crate::PlanError;
use crate::draft::{Arithmetic, Clamp, Draft, Quantization};
use crate::geometry::window2d;
use crate::integer::Integers;
use crate::layer::{Kind, Linear};
use secateur_kernels::{Nonzeros, Window2d};
use secateur_model::{ModelError, Node, Window};

/// A convolution or matrix product on codes:
/// `acc[o] = bias[o] + Σ w[o,k] · (x[k] − zero_point)`, then as [`Integers`] says.
#[derive(Debug, Clone, PartialEq)]
pub struct IntegerLayer<'a> {
    /// The node of the lowered graph.
    pub node: &'a Node,
    /// `[outputs, depth]`; depth is `(ky, kx, c)`, the channels of a group innermost.
    pub weights: Nonzeros<i8>,
    /// Groups of channels.
    pub groups: usize,
    /// Biases and what becomes of the sums.
    pub numbers: Integers,
    /// The input's codes.
    pub x: Quantization,
    /// The output's codes; it is f32 where there are none.
    pub y: Option<Quantization>,
    /// Bounds on the output, where it is f32; those of codes are in `numbers`.
    pub clamp: Clamp,
    /// Where a convolution's kernel is put, and its extents.
    window: Option<(&'a Window, [usize; 2])>,
}

impl<'a> IntegerLayer<'a> {
    /// A node of a draft as such a layer; `None` where it is none.
    ///
    /// # Errors
    /// Weights or biases that integer sums cannot hold.
    pub fn of(draft: &'a Draft, node: &'a Node) -> Result<Option<Self>, PlanError> {
        let fused = draft.fused(node);
        let Arithmetic::Integer { x, y } = fused.arithmetic else {
            return Ok(None);
        };
        let refused = |why: String| ModelError::unsupported(node, why);
        let linear = Linear::of(draft, node).map_err(refused)?;
        let (groups, window) = match (linear.kind, linear.weight.shape().dims()) {
            (Kind::Conv { window, groups }, &[_, _, kh, kw]) => (groups, Some((window, [kh, kw]))),
            _ => (1, None),
        };
        Ok(Some(Self {
            node,
            numbers: Integers::derive(&linear, x, y, fused.clamp).map_err(refused)?,
            weights: linear.nonzeros_i8().map_err(|source| PlanError::Kernel {
                node: node.name.clone(),
                source,
            })?,
            groups,
            clamp: fused.clamp,
            x,
            y,
            window,
        }))
    }

    /// Whether images are `[n, c, h, w]`: of a convolution, not of a matrix product.
    pub fn is_conv(&self) -> bool {
        self.window.is_some()
    }

    /// The window over one image for extents of input and output. A matrix product is a kernel of one tap over an
    /// image of one column, its rows the batch.
    pub fn window(&self, input: &[usize], output: &[usize]) -> Option<Window2d> {
        match (self.window, input, output) {
            (Some((window, kernel)), &[_, c, h, w], &[_, _, oh, ow]) => {
                window2d(window, kernel, c, [h, w], [oh, ow])
            }
            (None, [rows @ .., depth], _) => {
                let extent = [rows.iter().product(), 1];
                let window = Window2d::new(extent, *depth, [1, 1]);
                Some(Window2d {
                    output: extent,
                    ..window
                })
            }
            _ => None,
        }
    }
}
