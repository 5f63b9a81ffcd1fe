//! Built-in networks, freshly initialised.

mod detector;

use crate::{Constant, DType, Dim, Graph, ModelError, Node, Op, Shape, ValueInfo, Weight, Window};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Names that [`build`] takes, with a line on each.
pub const NETWORKS: [(&str, &str); 6] = [
    (
        "lenet-300-100",
        "three fully connected layers (LeCun et al. 1998)",
    ),
    (
        "lenet-5",
        "Caffe's LeNet: two convolutions, two fully connected layers",
    ),
    (
        "resnet-20",
        "20 layers with residual additions for 32x32 (He et al. 2016)",
    ),
    (
        "mobilenet-small",
        "depthwise separable convolutions for 32x32",
    ),
    (
        "vgg-small",
        "six 3x3 convolutions with batch normalisation for 32x32",
    ),
    (
        "ssd-small",
        "finds objects in one pass: ten 3x3 convolutions, two grids of cells",
    ),
];

/// Builds a network for `[channels, height, width]` images and so many classes,
/// with He-normal weights from the seed.
///
/// ```
/// let net = secateur_model::zoo::build("lenet-300-100", [1, 28, 28], 10, 1)?;
/// assert_eq!(net.parameters(), 266_610);
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
///
/// # Errors
/// An unknown name, images too small for the network.
pub fn build(
    name: &str,
    input: [usize; 3],
    classes: usize,
    seed: u64,
) -> Result<Graph, ModelError> {
    let mut b = Builder::new(name, input, seed);
    match name {
        "lenet-300-100" => {
            b.flatten();
            b.linear("fc1", 300)?.relu();
            b.linear("fc2", 100)?.relu();
            b.linear("fc3", classes)?;
        }
        // Caffe's has no activation after its convolutions; with one, as is
        // common, zeros appear that an engine can skip.
        "lenet-5" => {
            b.conv("conv1", 20, 5, 1, 0, 1)?
                .bias("conv1")?
                .relu()
                .max_pool(2)?;
            b.conv("conv2", 50, 5, 1, 0, 1)?
                .bias("conv2")?
                .relu()
                .max_pool(2)?;
            b.flatten();
            b.linear("fc1", 500)?.relu();
            b.linear("fc2", classes)?;
        }
        "vgg-small" => {
            for (stage, channels) in [64, 128, 256].into_iter().enumerate() {
                for layer in 1..=2 {
                    let name = format!("conv{}_{layer}", stage + 1);
                    b.conv(&name, channels, 3, 1, 1, 1)?.norm(&name)?.relu();
                }
                b.max_pool(2)?;
            }
            b.global_pool();
            b.linear("fc", classes)?;
        }
        "resnet-20" => {
            b.conv("conv1", 16, 3, 1, 1, 1)?.norm("conv1")?.relu();
            for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
                for block in 1..=3 {
                    let stride = if stage > 0 && block == 1 { 2 } else { 1 };
                    b.residual(&format!("stage{}.{block}", stage + 1), channels, stride)?;
                }
            }
            b.global_pool();
            b.linear("fc", classes)?;
        }
        "mobilenet-small" => {
            b.conv("conv1", 32, 3, 1, 1, 1)?.norm("conv1")?.relu();
            let blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1)];
            for (i, (channels, stride)) in blocks.into_iter().enumerate() {
                let depth = format!("block{}.depthwise", i + 1);
                let point = format!("block{}.pointwise", i + 1);
                let groups = b.shape[0];
                b.conv(&depth, groups, 3, stride, 1, groups)?
                    .norm(&depth)?
                    .relu();
                b.conv(&point, channels, 1, 1, 0, 1)?.norm(&point)?.relu();
            }
            b.global_pool();
            b.linear("fc", classes)?;
        }
        "ssd-small" => return b.ssd_small(input, classes),
        _ => {
            let names: Vec<&str> = NETWORKS.iter().map(|(n, _)| *n).collect();
            return Err(ModelError::Graph(format!(
                "no built-in network `{name}`; there are {}",
                names.join(", ")
            )));
        }
    }
    Ok(b.finish(classes))
}

/// Adds layers one behind the other; `value` is the newest value and `shape`
/// its extents without the batch: `[c, h, w]` or `[features]`.
struct Builder {
    graph: Graph,
    value: String,
    shape: Vec<usize>,
    rng: ChaCha8Rng,
}

impl Builder {
    fn new(name: &str, input: [usize; 3], seed: u64) -> Self {
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

    fn node(&mut self, name: &str, op: Op, others: &[String]) -> &mut Self {
        let inputs: Vec<&str> = std::iter::once(self.value.as_str())
            .chain(others.iter().map(String::as_str))
            .collect();
        let output = format!("{name}.out");
        let node = Node::new(name, op, &inputs, &[&output]);
        self.graph.nodes.push(node);
        self.value = output;
        self
    }

    fn constant(
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

    fn linear(&mut self, name: &str, out: usize) -> Result<&mut Self, ModelError> {
        let features = self.shape.iter().product();
        let weight = self.weight(name, &[out, features])?;
        let bias = self.constant(format!("{name}.bias"), &[out], vec![0.0; out])?;
        self.shape = vec![out];
        Ok(self.node(name, Op::linear(), &[weight, bias]))
    }

    fn conv(
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
    fn bias(&mut self, name: &str) -> Result<&mut Self, ModelError> {
        let out = self.shape[0];
        let bias = self.constant(format!("{name}.bias"), &[out], vec![0.0; out])?;
        if let Some(node) = self.graph.nodes.last_mut() {
            node.inputs.push(bias);
        }
        Ok(self)
    }

    fn norm(&mut self, name: &str) -> Result<&mut Self, ModelError> {
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

    fn relu(&mut self) -> &mut Self {
        let name = format!("{}.relu", self.value.trim_end_matches(".out"));
        self.node(&name, Op::Relu, &[])
    }

    fn max_pool(&mut self, size: usize) -> Result<&mut Self, ModelError> {
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

    fn global_pool(&mut self) {
        self.node("pool", Op::GlobalAveragePool, &[]);
        self.shape = vec![self.shape[0], 1, 1];
        self.flatten();
    }

    fn flatten(&mut self) {
        self.node("flatten", Op::Flatten { axis: 1 }, &[]);
        self.shape = vec![self.shape.iter().product()];
    }

    /// Two convolutions beside a shortcut, which is a 1x1 convolution where the
    /// shape changes (option B of He et al.).
    fn residual(&mut self, name: &str, channels: usize, stride: usize) -> Result<(), ModelError> {
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

    fn finish(mut self, classes: usize) -> Graph {
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
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_their_known_sizes() {
        let parameters = |name, input| build(name, input, 10, 1).unwrap().parameters();
        assert_eq!(parameters("lenet-5", [1, 28, 28]), 431_080);
        assert!((268_000..280_000).contains(&parameters("resnet-20", [3, 32, 32])));
        for (name, _) in NETWORKS {
            let mut net = build(name, [3, 32, 32], 10, 7).unwrap();
            net.sort().unwrap();
            assert_eq!(net, build(name, [3, 32, 32], 10, 7).unwrap());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(build("lenet-300-100", [1, 8, 8], 10, 1).is_ok());
        let small = build("lenet-5", [1, 8, 8], 10, 1).unwrap_err().to_string();
        assert!(small.contains("too small"), "{small}");
        assert!(build("lenet-6", [1, 28, 28], 10, 1).is_err());
    }
}
