//! Layers as matrices: each output is a row of weights times a column of inputs.

use crate::CompressError;
use secateur_model::ops::Placement;
use secateur_model::weight::windows;
use secateur_model::{
    Constant, Graph, ModelError, Node, Op, Shape, Tensor, Values, Weight, Window,
};
use std::collections::HashMap;
use std::ops::Range;

/// Columns whose moments are kept together; those of a longer row are taken as
/// independent from block to block (as in SparseGPT), so that memory is bounded.
pub const MAX_COLUMNS: usize = 4096;

/// The widest window of an n:m pattern that blocks of columns leave whole.
const WINDOW: usize = 64;

/// How a layer's weight lies in its tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Layout {
    /// `[outputs, inputs / groups, k…]`
    Conv {
        /// The window.
        window: Window,
        /// Groups of channels.
        groups: usize,
    },
    /// `[outputs, depth]`
    Rows,
    /// `[depth, outputs]`
    Columns,
}

/// Where a layer's bias is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bias {
    /// A constant of this name, one value for each output.
    Constant(String),
    /// Nowhere yet: the node takes one as its third input.
    Missing,
    /// Nowhere, and the node takes none.
    None,
}

/// A convolution or fully connected layer with a weight of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Place of its node in the graph.
    pub node: usize,
    /// The value it reads.
    pub input: String,
    /// Its weight's name.
    pub weight: String,
    /// Where its bias is.
    pub bias: Bias,
    /// How its weight lies.
    pub layout: Layout,
    /// Rows.
    pub outputs: usize,
    /// Columns: products of one output.
    pub depth: usize,
    /// Columns of one channel.
    taps: usize,
}

/// Rows that read the same inputs, and a block of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which group of channels.
    pub group: usize,
    /// Its rows.
    pub rows: Range<usize>,
    /// Its columns.
    pub columns: Range<usize>,
}

/// The layers of a graph whose weight one node reads and is f32, in its order.
pub fn layers(graph: &Graph) -> Vec<Layer> {
    layers_where(graph, |values| matches!(values, Values::F32(_)))
}

/// The layers of a graph whose weight one node reads and has such values, in its order.
pub(super) fn layers_where(graph: &Graph, fits: impl Fn(&Values) -> bool) -> Vec<Layer> {
    let mut readers: HashMap<&str, usize> = HashMap::new();
    let reads = graph.nodes.iter().flat_map(Node::reads);
    reads.for_each(|name| *readers.entry(name).or_default() += 1);
    let nodes = graph.nodes.iter().enumerate();
    nodes
        .filter_map(|(index, node)| Layer::of(graph, index, node, &readers))
        .filter(|layer| {
            graph
                .weight(&layer.weight)
                .is_some_and(|w| fits(w.values()))
        })
        .collect()
}

impl Layer {
    fn of(
        graph: &Graph,
        index: usize,
        node: &Node,
        readers: &HashMap<&str, usize>,
    ) -> Option<Self> {
        let (name, weight) = graph.kernel_of(node)?;
        if readers.get(name) != Some(&1) {
            return None;
        }
        let dims = weight.shape().dims();
        let taps = dims.get(2..).unwrap_or_default().iter().product();
        let (layout, outputs, depth) = match (&node.op, dims) {
            (Op::Conv { window, groups }, [outputs, rest @ ..])
                if rest.len() >= 2 && *groups > 0 && outputs % groups == 0 =>
            {
                let (window, groups) = (window.clone(), *groups);
                let layout = Layout::Conv { window, groups };
                (layout, *outputs, rest.iter().product())
            }
            (
                Op::Gemm {
                    alpha: 1.0,
                    beta: 1.0,
                    trans_a: false,
                    trans_b,
                },
                &[a, b],
            ) => match trans_b {
                true => (Layout::Rows, a, b),
                false => (Layout::Columns, b, a),
            },
            (Op::MatMul, &[depth, outputs]) => (Layout::Columns, outputs, depth),
            _ => return None,
        };
        let own = |name: &str| readers.get(name) == Some(&1);
        let bias = match (node.input(2), &node.op) {
            (Some(name), _) if own(name) && is_vector(graph, name, outputs) => {
                Bias::Constant(name.to_owned())
            }
            (Some(_), _) => Bias::None,
            (None, Op::MatMul) => match added(graph, node).filter(|n| own(n)) {
                Some(name) if is_vector(graph, name, outputs) => Bias::Constant(name.to_owned()),
                _ => Bias::None,
            },
            (None, _) => Bias::Missing,
        };
        Some(Self {
            node: index,
            input: node.input(0)?.to_owned(),
            weight: name.to_owned(),
            bias,
            layout,
            outputs,
            depth,
            taps,
        })
    }

    /// Groups of channels; 1 where every output reads every input.
    pub fn groups(&self) -> usize {
        match self.layout {
            Layout::Conv { groups, .. } => groups,
            Layout::Rows | Layout::Columns => 1,
        }
    }

    /// Whether every output reads one channel only.
    pub fn is_depthwise(&self) -> bool {
        self.groups() > 1 && self.groups() == self.outputs
    }

    /// The parts that are solved apart. Where channels are a multiple of 64, no cut goes through a
    /// window of as many.
    pub fn parts(&self) -> Vec<Part> {
        let rows = self.outputs / self.groups();
        let together = WINDOW * self.taps;
        let most = match self.depth > MAX_COLUMNS && together <= MAX_COLUMNS {
            true => MAX_COLUMNS / together * together,
            false => MAX_COLUMNS,
        };
        let blocks = move |group: usize| {
            (0..self.depth).step_by(most).map(move |start| Part {
                group,
                rows: group * rows..(group + 1) * rows,
                columns: start..self.depth.min(start + most),
            })
        };
        (0..self.groups()).flat_map(blocks).collect()
    }

    /// The window of `m` that each column is in.
    pub(super) fn windows(&self, shape: &Shape, m: usize) -> Vec<usize> {
        match self.layout {
            Layout::Columns => (0..self.depth).map(|column| column / m.max(1)).collect(),
            Layout::Conv { .. } | Layout::Rows => windows(shape, m),
        }
    }

    /// Whether a part has some columns of a window of `m`, and not all.
    pub(super) fn cuts_windows(&self, graph: &Graph, m: usize) -> bool {
        let parts = self.parts();
        let Some(weight) = graph
            .weight(&self.weight)
            .filter(|_| parts.len() > self.groups())
        else {
            return false;
        };
        let mut part_of: HashMap<usize, usize> = HashMap::new();
        let windows = self.windows(weight.shape(), m);
        let blocks = parts.iter().filter(|part| part.group == 0).enumerate();
        blocks
            .flat_map(|(block, part)| part.columns.clone().map(move |column| (block, column)))
            .any(|(block, column)| *part_of.entry(windows[column]).or_insert(block) != block)
    }

    /// Elements of `[outputs, depth]` in place of those of the weight's tensor,
    /// or back: the exchange of rows and columns is its own inverse but for the
    /// extents.
    pub fn to_rows<T: Copy>(&self, stored: &[T]) -> Vec<T> {
        match self.layout {
            Layout::Columns => exchanged(stored, self.depth, self.outputs),
            _ => stored.to_vec(),
        }
    }

    /// The inverse of [`Self::to_rows`].
    pub fn to_stored<T: Copy>(&self, rows: &[T]) -> Vec<T> {
        match self.layout {
            Layout::Columns => exchanged(rows, self.outputs, self.depth),
            _ => rows.to_vec(),
        }
    }

    /// The weights, `[outputs, depth]`.
    pub fn rows(&self, weight: &Weight) -> Vec<f32> {
        self.to_rows(&weight.to_f32())
    }

    /// What the layer multiplies: for each group a matrix `[samples, depth]`, with
    /// at most `positions` outputs of each image. The same ones for values of the
    /// same extents.
    ///
    /// # Errors
    /// A value that does not fit the layer.
    pub fn gather(
        &self,
        node: &Node,
        weight: &Weight,
        x: &Tensor,
        positions: usize,
    ) -> Result<Vec<Vec<f32>>, CompressError> {
        let values = x.as_f32()?;
        let dims = x.shape().dims();
        let misfit = || ModelError::Graph(format!("layer `{}` reads {}", node.name, x.shape()));
        let Layout::Conv { window, groups } = &self.layout else {
            let [images, .., depth] = dims else {
                return Err(misfit().into());
            };
            // A vector without a batch is one sample.
            let rows = values.len() / (*depth).max(1);
            let images = (*images).clamp(1, rows.max(1));
            if *depth != self.depth {
                return Err(misfit().into());
            }
            let each = rows / images;
            let picked = (0..images)
                .flat_map(|image| picks(image, each, positions).map(move |at| image * each + at));
            let row = |at: usize| &values[at * self.depth..(at + 1) * self.depth];
            return Ok(vec![
                picked.flat_map(|at| row(at).iter().copied()).collect(),
            ]);
        };
        let [images, channels, plane @ ..] = dims else {
            return Err(misfit().into());
        };
        let kernel = &weight.shape().dims()[2..];
        let taps: usize = kernel.iter().product();
        if channels * taps != self.depth * groups {
            return Err(misfit().into());
        }
        let placement = Placement::new(node, window, kernel, plane)?;
        let (area, outputs): (usize, usize) =
            (plane.iter().product(), placement.output.iter().product());
        let inputs = channels / groups;
        let mut samples = vec![Vec::new(); *groups];
        for image in 0..*images {
            let image_values = &values[image * channels * area..(image + 1) * channels * area];
            for at in picks(image, outputs, positions) {
                let mut seen = Vec::with_capacity(taps);
                let place = unravel(at, &placement.output);
                placement.visit(&place, |tap, position| seen.push((tap, position)));
                for (group, samples) in samples.iter_mut().enumerate() {
                    let start = samples.len();
                    samples.resize(start + self.depth, 0.0);
                    for c in 0..inputs {
                        let plane = &image_values[(group * inputs + c) * area..];
                        let row = &mut samples[start + c * taps..];
                        seen.iter()
                            .for_each(|&(tap, position)| row[tap] = plane[position]);
                    }
                }
            }
        }
        Ok(samples)
    }

    /// Adds to the bias, making one where there is none. Nothing happens where the
    /// layer takes none.
    ///
    /// # Errors
    /// A sum that is not finite.
    pub fn shift_bias(&self, graph: &mut Graph, shift: &[f64]) -> Result<(), CompressError> {
        let (name, mut values) = match &self.bias {
            Bias::Constant(name) => {
                let old = graph.constants.get(name).map(Constant::to_tensor);
                let values = old.and_then(|t| t.as_f32().ok().map(<[f32]>::to_vec));
                (name.clone(), values.unwrap_or_default())
            }
            Bias::Missing => {
                let name = graph.fresh_name(&format!("{}.bias", self.weight));
                let node = &mut graph.nodes[self.node];
                node.inputs.resize(3, String::new());
                node.inputs[2].clone_from(&name);
                (name, vec![0.0; self.outputs])
            }
            Bias::None => return Ok(()),
        };
        let sums = values.iter_mut().zip(shift);
        sums.for_each(|(b, s)| *b = (f64::from(*b) + s) as f32);
        let old = graph.constants.get(&name);
        let shape = match old {
            Some(Constant::Weight(weight)) => weight.shape().clone(),
            Some(Constant::Tensor(tensor)) => tensor.shape().clone(),
            None => Shape::new(&[values.len()])?,
        };
        let bias = Weight::dense(shape, values)?;
        graph.constants.insert(name, Constant::Weight(bias));
        Ok(())
    }
}

/// The constant that is added to a MatMul's output, if that is all that reads it.
fn added<'a>(graph: &'a Graph, node: &'a Node) -> Option<&'a str> {
    let product = node.output(0)?;
    let sum = &graph.nodes[graph.only_reader(product)?];
    let other = usize::from(sum.input(0) == Some(product));
    sum.input(other).filter(|_| matches!(sum.op, Op::Add))
}

fn is_vector(graph: &Graph, name: &str, length: usize) -> bool {
    let tensor = graph.constants.get(name).map(Constant::to_tensor);
    let is_row =
        |dims: &[usize]| dims.last() == Some(&length) && dims.iter().product::<usize>() == length;
    tensor.is_some_and(|t| is_row(t.shape().dims()) && t.as_f32().is_ok())
}

fn exchanged<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    let column = |c: usize| (0..rows).map(move |r| values[r * columns + c]);
    (0..columns).flat_map(column).collect()
}

/// At most `wanted` of `all` places, spread evenly: steps of the golden ratio,
/// begun elsewhere in each image.
fn picks(image: usize, all: usize, wanted: usize) -> impl Iterator<Item = usize> {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    const SILVER: f64 = 0.414_213_562_373_095;
    let begin = (image as f64 * SILVER).fract();
    (0..all.min(wanted)).map(move |i| match wanted < all {
        true => ((begin + i as f64 * GOLDEN).fract() * all as f64) as usize,
        false => i,
    })
}

fn unravel(mut at: usize, extents: &[usize]) -> Vec<usize> {
    let mut place = vec![0; extents.len()];
    for (p, &extent) in place.iter_mut().zip(extents).rev() {
        *p = at % extent.max(1);
        at /= extent.max(1);
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::{DType, ValueInfo, eval};

    fn network(op: Op, weight: Weight, input: &[usize]) -> (Graph, Tensor) {
        let value = |name: &str| ValueInfo {
            name: name.into(),
            dtype: DType::F32,
            dims: None,
        };
        let mut graph = Graph {
            inputs: vec![value("x")],
            outputs: vec![value("y")],
            nodes: vec![Node::new("layer", op, &["x", "w"], &["y"])],
            ..Graph::default()
        };
        graph.constants.insert("w".into(), Constant::Weight(weight));
        let n: usize = input.iter().product();
        let x = (0..n).map(|i| ((i * 37 + 11) % 23) as f32 - 11.0).collect();
        (graph, Tensor::f32(input, x).unwrap())
    }

    fn weight(dims: &[usize]) -> Weight {
        let shape = Shape::new(dims).unwrap();
        let values = (0..shape.elements()).map(|i| ((i * 7) % 13) as f32 - 6.0);
        Weight::dense(shape, values.collect()).unwrap()
    }

    #[test]
    fn no_cut_goes_through_a_window() {
        let conv = Op::Conv {
            window: Window::default(),
            groups: 1,
        };
        let wide = [2, 576, 3, 3];
        let (graph, _) = network(conv, weight(&wide), &[1, 576, 3, 3]);
        let parts = layers(&graph).remove(0).parts();
        assert!(parts.len() > 1);
        let conv = graph.nodes[0].op.clone();
        let (narrow, _) = network(conv, weight(&[2, 160, 5, 5]), &[1, 160, 5, 5]);
        assert_eq!(layers(&narrow).remove(0).parts().len(), 1);
        let cut = |graph: &Graph, m| layers(graph).remove(0).cuts_windows(graph, m);
        assert!([2, 4, 64].into_iter().all(|m| !cut(&graph, m)));
        assert!(cut(&graph, 5));
        assert!(!cut(&narrow, 5));
    }

    /// Every gathered column times every row is an output of the reference.
    fn check(op: Op, dims: &[usize], input: &[usize]) {
        let (graph, x) = network(op, weight(dims), input);
        let layer = layers(&graph).remove(0);
        let w = graph.weight("w").unwrap();
        let samples = layer.gather(&graph.nodes[0], w, &x, usize::MAX).unwrap();
        let y = eval(&graph, &[("x", x)]).unwrap().remove(0);
        let (rows, per_group) = (layer.rows(w), layer.outputs / layer.groups());
        let conv = matches!(layer.layout, Layout::Conv { .. });
        let area: usize = match conv {
            true => y.shape().dims()[2..].iter().product(),
            false => 1,
        };
        let mut found = Vec::new();
        for image in 0..y.shape().elements() / layer.outputs / area {
            for o in 0..layer.outputs {
                for at in 0..area {
                    let column = &samples[o / per_group][(image * area + at) * layer.depth..];
                    let row = &rows[o * layer.depth..(o + 1) * layer.depth];
                    found.push(row.iter().zip(column).map(|(a, b)| a * b).sum::<f32>());
                }
            }
        }
        assert_eq!(found, y.as_f32().unwrap());
    }

    #[test]
    fn columns_times_rows_are_the_outputs() {
        let window = Window::new(&[3, 3]).stride(&[2, 1]).pad(&[1, 0, 1, 2]);
        for groups in [1, 2] {
            let op = Op::Conv {
                window: window.clone(),
                groups,
            };
            check(op, &[4, 4 / groups, 3, 3], &[2, 4, 5, 6]);
        }
        let op = Op::Conv {
            window: Window::new(&[3]),
            groups: 4,
        };
        check(op, &[4, 1, 3], &[2, 4, 9]);
        check(Op::linear(), &[3, 5], &[4, 5]);
        check(Op::MatMul, &[5, 3], &[2, 4, 5]);
    }

    #[test]
    fn places_are_spread_and_repeat() {
        let some: Vec<usize> = picks(3, 1000, 50).collect();
        assert_eq!(some, picks(3, 1000, 50).collect::<Vec<_>>());
        assert!(some.iter().all(|&p| p < 1000));
        let quarters: Vec<usize> = (0..4)
            .map(|q| some.iter().filter(|&&p| p / 250 == q).count())
            .collect();
        assert!(
            quarters.iter().all(|&n| (11..=14).contains(&n)),
            "{quarters:?}"
        );
        assert_eq!(picks(3, 4, 50).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_bias_is_made_where_there_is_none() {
        let (mut graph, x) = network(Op::linear(), weight(&[3, 5]), &[4, 5]);
        let before = eval(&graph, &[("x", x.clone())]).unwrap().remove(0);
        let layer = layers(&graph).remove(0);
        assert_eq!(layer.bias, Bias::Missing);
        layer.shift_bias(&mut graph, &[1.0, 2.0, 3.0]).unwrap();
        let layer = layers(&graph).remove(0);
        assert!(matches!(layer.bias, Bias::Constant(_)));
        layer.shift_bias(&mut graph, &[1.0, 0.0, 0.0]).unwrap();
        let after = eval(&graph, &[("x", x)]).unwrap().remove(0);
        for (i, (a, b)) in after
            .as_f32()
            .unwrap()
            .iter()
            .zip(before.as_f32().unwrap())
            .enumerate()
        {
            assert_eq!(a - b, [2.0, 2.0, 3.0][i % 3]);
        }
    }
}
