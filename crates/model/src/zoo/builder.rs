//! Layers put one behind the other.

use crate::{
    Constant, DType, Dim, Graph, ModelError, Node, Op, Shape, Tensor, ValueInfo, Weight, Window,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Adds layers one behind the other; `value` is the newest value and `shape`
/// its extents without the batch: `[c, h, w]` or `[features]`.
pub(super) struct Builder {
    pub(super) graph: Graph,
    pub(super) value: String,
    pub shape: Vec<usize>,
    pub(super) rng: ChaCha8Rng,
}

impl Builder {
    pub fn new(name: &str, input: [usize; 3], seed: u64) -> Self {
        let dims = [Dim::Named("batch".into())]
            .into_iter()
            .chain(input.map(Dim::Known));
        let graph = Graph {
            name: name.into(),
            opset: 21,
            inputs: vec![ValueInfo {
                name: "input".into(),
                dtype: DType::F32,
                dims: Some(dims.collect()),
            }],
            ..Graph::default()
        };
        Self {
            graph,
            value: "input".into(),
            shape: input.to_vec(),
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    pub(super) fn node(&mut self, name: &str, op: Op, others: &[String]) -> &mut Self {
        let inputs: Vec<&str> = std::iter::once(self.value.as_str())
            .chain(others.iter().map(String::as_str))
            .collect();
        let output = format!("{name}.out");
        let node = Node::new(name, op, &inputs, &[&output]);
        self.graph.nodes.push(node);
        self.value = output;
        self
    }

    pub(super) fn constant(
        &mut self,
        name: String,
        dims: &[usize],
        values: Vec<f32>,
    ) -> Result<String, ModelError> {
        let weight = Weight::dense(Shape::new(dims)?, values)?;
        self.graph
            .constants
            .insert(name.clone(), Constant::Weight(weight));
        Ok(name)
    }

    /// He-normal: standard deviation √(2 / fan-in).
    fn weight(&mut self, name: &str, dims: &[usize]) -> Result<String, ModelError> {
        let shape = Shape::new(dims)?;
        let fan_in: usize = dims[1..].iter().product();
        let deviation = (2.0 / fan_in.max(1) as f64).sqrt();
        let rng = &mut self.rng;
        let values = (0..shape.elements())
            .map(|_| (deviation * normal(rng)) as f32)
            .collect();
        self.constant(format!("{name}.weight"), dims, values)
    }

    pub fn linear(&mut self, name: &str, out: usize) -> Result<&mut Self, ModelError> {
        let features = self.shape.iter().product();
        let weight = self.weight(name, &[out, features])?;
        let bias = self.constant(format!("{name}.bias"), &[out], vec![0.0; out])?;
        self.shape = vec![out];
        Ok(self.node(name, Op::linear(), &[weight, bias]))
    }

    pub fn conv(
        &mut self,
        name: &str,
        out: usize,
        kernel: usize,
        stride: usize,
        pad: usize,
        groups: usize,
    ) -> Result<&mut Self, ModelError> {
        let [channels, h, w] = self.shape[..] else {
            return Err(ModelError::Graph(format!("`{name}` needs an image")));
        };
        if h.min(w) + 2 * pad < kernel {
            return Err(self.too_small(name, kernel));
        }
        let weight = self.weight(name, &[out, channels / groups, kernel, kernel])?;
        let extent = |n: usize| (n + 2 * pad - kernel) / stride + 1;
        self.shape = vec![out, extent(h), extent(w)];
        let window = Window::new(&[kernel, kernel])
            .stride(&[stride, stride])
            .pad(&[pad; 4]);
        Ok(self.node(name, Op::Conv { window, groups }, &[weight]))
    }

    /// Gives the convolution that was added last a bias.
    pub fn bias(&mut self, name: &str) -> Result<&mut Self, ModelError> {
        let out = self.shape[0];
        let bias = self.constant(format!("{name}.bias"), &[out], vec![0.0; out])?;
        if let Some(node) = self.graph.nodes.last_mut() {
            node.inputs.push(bias);
        }
        Ok(self)
    }

    pub fn norm(&mut self, name: &str) -> Result<&mut Self, ModelError> {
        let channels = self.shape[0];
        let name = format!("{name}.norm");
        let parts = [
            ("scale", 1.0),
            ("bias", 0.0),
            ("mean", 0.0),
            ("variance", 1.0),
        ];
        let inputs: Vec<String> = parts
            .into_iter()
            .map(|(part, v)| {
                self.constant(format!("{name}.{part}"), &[channels], vec![v; channels])
            })
            .collect::<Result<_, _>>()?;
        Ok(self.node(&name, Op::BatchNormalization { epsilon: 1e-5 }, &inputs))
    }

    pub fn relu(&mut self) -> &mut Self {
        let name = format!("{}.relu", self.value.trim_end_matches(".out"));
        self.node(&name, Op::Relu, &[])
    }

    pub fn max_pool(&mut self, size: usize) -> Result<&mut Self, ModelError> {
        let name = format!("{}.pool", self.value.trim_end_matches(".out"));
        if self.shape[1].min(self.shape[2]) < size {
            return Err(self.too_small(&name, size));
        }
        self.shape = vec![self.shape[0], self.shape[1] / size, self.shape[2] / size];
        let op = Op::MaxPool {
            window: Window::new(&[size, size]).stride(&[size, size]),
            column_major: false,
        };
        Ok(self.node(&name, op, &[]))
    }

    pub fn global_pool(&mut self) {
        self.node("pool", Op::GlobalAveragePool, &[]);
        self.shape = vec![self.shape[0], 1, 1];
        self.flatten();
    }

    /// The largest value of each plane.
    pub fn global_max_pool(&mut self) {
        self.node("pool", Op::GlobalMaxPool, &[]);
        self.shape = vec![self.shape[0], 1, 1];
        self.flatten();
    }

    /// Drops values with this probability while the layer `before` is trained.
    pub fn dropout(&mut self, before: &str, ratio: f32) -> &mut Self {
        let name = format!("{before}.dropout.ratio");
        let constant = Constant::Tensor(Tensor::scalar_f32(ratio));
        self.graph.constants.insert(name.clone(), constant);
        self.node(&format!("{before}.dropout"), Op::Dropout, &[name])
    }

    /// So many convolutions beside an unchanged shortcut; the activation comes before the
    /// sum, so that the shortcut stays free of it.
    pub fn branch(&mut self, name: &str, convolutions: usize) -> Result<(), ModelError> {
        let (shortcut, channels) = (self.value.clone(), self.shape[0]);
        for index in 1..=convolutions {
            let name = format!("{name}.branch{index}");
            self.conv(&name, channels, 3, 1, 1, 1)?.norm(&name)?.relu();
        }
        self.node(&format!("{name}.add"), Op::Add, &[shortcut]);
        Ok(())
    }

    pub fn flatten(&mut self) {
        self.node("flatten", Op::Flatten { axis: 1 }, &[]);
        self.shape = vec![self.shape.iter().product()];
    }

    /// Two convolutions beside a shortcut, which is a 1x1 convolution where the
    /// shape changes (option B of He et al.).
    pub fn residual(
        &mut self,
        name: &str,
        channels: usize,
        stride: usize,
    ) -> Result<(), ModelError> {
        let (start, shape) = (self.value.clone(), self.shape.clone());
        let [first, second] = [format!("{name}.conv1"), format!("{name}.conv2")];
        self.conv(&first, channels, 3, stride, 1, 1)?
            .norm(&first)?
            .relu();
        self.conv(&second, channels, 3, 1, 1, 1)?.norm(&second)?;
        let mut shortcut = start.clone();
        if shape[0] != channels || stride != 1 {
            let main = std::mem::replace(&mut self.value, start);
            let main_shape = std::mem::replace(&mut self.shape, shape);
            let name = format!("{name}.shortcut");
            self.conv(&name, channels, 1, stride, 0, 1)?.norm(&name)?;
            shortcut = std::mem::replace(&mut self.value, main);
            self.shape = main_shape;
        }
        self.node(&format!("{name}.add"), Op::Add, &[shortcut])
            .relu();
        Ok(())
    }

    fn too_small(&self, name: &str, needed: usize) -> ModelError {
        ModelError::Graph(format!(
            "`{name}` of {} needs at least {needed}x{needed} values, {}x{} are left: \
             the images are too small for this network",
            self.graph.name, self.shape[1], self.shape[2]
        ))
    }

    pub fn finish(mut self, classes: usize) -> Graph {
        if let Some(node) = self.graph.nodes.last_mut() {
            node.outputs = vec!["logits".into()];
        }
        self.graph.outputs = vec![ValueInfo {
            name: "logits".into(),
            dtype: DType::F32,
            dims: Some(vec![Dim::Named("batch".into()), Dim::Known(classes)]),
        }];
        self.graph
    }
}

/// A standard normal number (Box and Muller 1958).
pub(super) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}
