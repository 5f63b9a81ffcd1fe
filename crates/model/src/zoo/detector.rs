//! A small single-shot detector.

use super::builder::{Builder, normal};
use crate::detection::{Head, Level};
use crate::{Constant, DType, Dim, Graph, ModelError, Node, Op, Tensor, ValueInfo};

/// Where a grid of cells is told from.
struct Branch {
    value: String,
    /// `[channels, rows, columns]`.
    shape: Vec<usize>,
}

/// Two objects of a class may overlap by this much (intersection over union).
const OVERLAP: f32 = 0.5;

/// Share of the cells that are taken to lie in an object of a class before anything is learned
/// (Lin et al., *Focal Loss*, 2017).
const PRIOR: f32 = 0.01;

impl Builder {
    /// SSD's plan (Liu et al. 2016) without anchors: a backbone of 3x3 convolutions down to
    /// 1/16, grids at 1/8 for small objects and at 1/16 for large ones. What fits both is learned
    /// by both, so that no size falls between them.
    pub(super) fn ssd_small(
        mut self,
        input: [usize; 3],
        classes: usize,
    ) -> Result<Graph, ModelError> {
        let [_, height, width] = input;
        let level = |stride: usize, smallest: f32, largest: f32| Level {
            stride,
            smallest: smallest * stride as f32,
            largest: largest * stride as f32,
        };
        let levels = vec![level(8, 0.0, 7.0), level(16, 2.5, f32::INFINITY)];
        let head = Head::new([height, width], classes, levels, OVERLAP)?;

        for (name, channels, stride) in [
            ("conv1", 16, 2),
            ("conv2", 32, 2),
            ("conv3_1", 64, 2),
            ("conv3_2", 64, 1),
            ("conv3_3", 64, 1),
        ] {
            self.layer(name, channels, stride)?;
        }
        let fine = self.fork();
        for (name, channels, stride) in [
            ("conv4_1", 128, 2),
            ("conv4_2", 128, 1),
            ("conv4_3", 128, 1),
        ] {
            self.layer(name, channels, stride)?;
        }
        let coarse = self.fork();
        let mut rows = Vec::new();
        for (name, branch, channels) in [("fine", fine, 64), ("coarse", coarse, 128)] {
            self.value = branch.value;
            self.shape = branch.shape;
            self.layer(&format!("{name}.conv"), channels, 1)?;
            rows.push(self.cells(name, classes)?);
        }
        let parts: Vec<&str> = rows.iter().map(String::as_str).collect();
        let node = Node::new("cells", Op::Concat { axis: 1 }, &parts, &["found"]);
        self.graph.nodes.push(node);
        let dims = [
            Dim::Named("batch".into()),
            Dim::Known(head.cell_count()),
            Dim::Known(head.width()),
        ];
        self.graph.outputs = vec![ValueInfo {
            name: "found".into(),
            dtype: DType::F32,
            dims: Some(dims.to_vec()),
        }];
        head.store(&mut self.graph.metadata);
        Ok(self.graph)
    }

    fn fork(&self) -> Branch {
        Branch {
            value: self.value.clone(),
            shape: self.shape.clone(),
        }
    }

    fn layer(&mut self, name: &str, channels: usize, stride: usize) -> Result<(), ModelError> {
        self.conv(name, channels, 3, stride, 1, 1)?
            .norm(name)?
            .relu();
        Ok(())
    }

    /// What each cell says: `[batch, rows · columns, classes + 4]`.
    fn cells(&mut self, name: &str, classes: usize) -> Result<String, ModelError> {
        let layer = format!("{name}.cells");
        let width = classes + 4;
        let channels = self.shape[0];
        self.conv(&layer, width, 3, 1, 1, 1)?.bias(&layer)?;
        // Cells that agree at first: what they say is then learned from what they see.
        let rng = &mut self.rng;
        let values = (0..width * channels * 9).map(|_| (0.01 * normal(rng)) as f32);
        let values: Vec<f32> = values.collect();
        self.constant(format!("{layer}.weight"), &[width, channels, 3, 3], values)?;
        let mut bias = vec![0.0; width];
        bias[..classes].fill(-((1.0 - PRIOR) / PRIOR).ln());
        self.constant(format!("{layer}.bias"), &[width], bias)?;

        let (rows, columns) = (self.shape[1], self.shape[2]);
        let last = Op::Transpose {
            perm: Some(vec![0, 2, 3, 1]),
        };
        self.node(&format!("{name}.last"), last, &[]);
        let extents = format!("{name}.extents");
        let dims = [0, (rows * columns) as i64, width as i64];
        let tensor = Tensor::i64(&[3], dims.to_vec())?;
        let constant = Constant::Tensor(tensor);
        self.graph.constants.insert(extents.clone(), constant);
        let rows = Op::Reshape { allow_zero: false };
        self.node(&format!("{name}.rows"), rows, &[extents]);
        Ok(self.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::*;
    use crate::eval;

    #[test]
    fn there_is_a_row_for_every_cell() {
        let graph = build("ssd-small", [3, 40, 56], 2, 1).unwrap();
        let head = Head::stored(&graph.metadata).unwrap().unwrap();
        assert_eq!(head.cell_count(), 5 * 7 + 3 * 4);
        let pictures = Tensor::f32(&[2, 3, 40, 56], vec![0.5; 2 * 3 * 40 * 56]).unwrap();
        let found = eval(&graph, &[("input", pictures)]).unwrap().remove(0);
        assert_eq!(found.shape().dims(), [2, head.cell_count(), head.width()]);
        // At first no cell is sure of anything.
        let values = found.as_f32().unwrap();
        assert!(head.decode(values, 0.5).is_empty());
        let size = build("ssd-small", [3, 192, 256], 3, 1)
            .unwrap()
            .parameters();
        assert!((600_000..800_000).contains(&size), "{size}");
    }
}
