//! The network around the weights.

use super::layer::{CLASSES, Layer};
use super::stored::Stored;
use secateur_model::{Constant, DType, Dim, Graph, Node, Op, ValueInfo, Window};
use std::collections::BTreeMap;

/// Height and width of the pictures.
const SIDE: usize = 227;
/// What was taken from red, green and blue, of 255, while the network was trained.
const MEAN: [f32; 3] = [123.0, 117.0, 104.0];
/// The fire modules behind which pictures are made smaller.
const POOLED: [usize; 2] = [4, 8];

/// The network of these layers.
pub(super) fn graph(layers: &[Layer], stored: Vec<Stored>) -> Graph {
    let [first, fires @ .., last] = layers else {
        return Graph::default();
    };
    let mut net = Network::new();
    net.convolution(first);
    net.pool(&first.name);
    for (number, fire) in (2..).zip(fires.chunks_exact(3)) {
        let name = format!("fire{number}");
        net.fire(&name, fire);
        if POOLED.contains(&number) {
            net.pool(&name);
        }
    }
    net.convolution(last);
    net.answer();
    net.graph.constants = layers
        .iter()
        .zip(stored)
        .flat_map(|(layer, Stored { weight, bias, .. })| {
            let constants = [(layer.weight(), weight), (layer.bias(), bias)];
            constants.map(|(name, weight)| (name, Constant::Weight(weight)))
        })
        .collect();
    net.graph
}

/// Operators one behind the other; `value` is what the last of them gives.
struct Network {
    graph: Graph,
    value: String,
}

impl Network {
    fn new() -> Self {
        let value = |name: &str, dims: &[usize]| ValueInfo {
            name: name.into(),
            dtype: DType::F32,
            dims: Some(
                std::iter::once(Dim::Named("batch".into()))
                    .chain(dims.iter().map(|&n| Dim::Known(n)))
                    .collect(),
            ),
        };
        Self {
            graph: Graph {
                name: "squeezenet".into(),
                opset: 21,
                inputs: vec![value("input", &[MEAN.len(), SIDE, SIDE])],
                outputs: vec![value("probabilities", &[CLASSES])],
                metadata: scaling(),
                ..Graph::default()
            },
            value: "input".into(),
        }
    }

    fn node(&mut self, name: &str, op: Op, inputs: &[&str]) {
        let output = format!("{name}.out");
        let node = Node::new(name, op, inputs, &[&output]);
        self.graph.nodes.push(node);
        self.value = output;
    }

    /// Applies an operator to what there is.
    fn then(&mut self, name: &str, op: Op) {
        let value = std::mem::take(&mut self.value);
        self.node(name, op, &[&value]);
    }

    fn convolution(&mut self, layer: &Layer) {
        let op = Op::Conv {
            window: layer.window.clone(),
            groups: 1,
        };
        let value = std::mem::take(&mut self.value);
        self.node(&layer.name, op, &[&value, &layer.weight(), &layer.bias()]);
        self.then(&format!("{}.relu", layer.name), Op::Relu);
    }

    /// Few channels, then many again, by kernels of two sizes side by side.
    fn fire(&mut self, name: &str, layers: &[Layer]) {
        let [squeeze, expand @ ..] = layers else {
            return;
        };
        self.convolution(squeeze);
        let squeezed = self.value.clone();
        let expanded: Vec<String> = expand
            .iter()
            .map(|layer| {
                self.value.clone_from(&squeezed);
                self.convolution(layer);
                self.value.clone()
            })
            .collect();
        let expanded: Vec<&str> = expanded.iter().map(String::as_str).collect();
        self.node(&format!("{name}.concat"), Op::Concat { axis: 1 }, &expanded);
    }

    /// Caffe's pooling: a last window may reach beyond the border.
    fn pool(&mut self, behind: &str) {
        let mut window = Window::new(&[3, 3]).stride(&[2, 2]);
        window.ceil_mode = true;
        let column_major = false;
        let op = Op::MaxPool {
            window,
            column_major,
        };
        self.then(&format!("{behind}.pool"), op);
    }

    fn answer(&mut self) {
        self.then("pool", Op::GlobalAveragePool);
        self.then("flatten", Op::Flatten { axis: 1 });
        let softmax = Op::Softmax {
            axis: 1,
            flattened: false,
        };
        self.then("softmax", softmax);
        let last = self.graph.nodes.last_mut().zip(self.graph.outputs.first());
        if let Some((node, output)) = last {
            node.outputs = vec![output.name.clone()];
        }
    }
}

/// `mean` and `std` such that `(pixel / 255 - mean) / std` is the pixel without [`MEAN`].
fn scaling() -> BTreeMap<String, String> {
    let text = |figures: [f32; 3]| figures.map(|f| (f / 255.0).to_string()).join(" ");
    [("mean", text(MEAN)), ("std", text([1.0; 3]))]
        .map(|(key, figures)| (key.to_owned(), figures))
        .into()
}
