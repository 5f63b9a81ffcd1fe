#![allow(dead_code)] // each test file uses a part
//! Small networks in QDQ form.

use secateur_model::{
    Constant, DType, Data, Dim, Graph, Node, Op, Shape, Tensor, ValueInfo, Window,
};

/// A network in the making.
pub struct Net {
    pub graph: Graph,
    signed: bool,
    count: usize,
}

pub fn dequantize(axis: i64) -> Op {
    Op::DequantizeLinear {
        axis,
        block_size: 0,
    }
}

impl Net {
    /// Activations have signed codes or unsigned ones.
    pub fn new(signed: bool) -> Self {
        let value = |name: &str| ValueInfo {
            name: name.into(),
            dtype: DType::F32,
            dims: None,
        };
        Self {
            graph: Graph {
                inputs: vec![value("input")],
                outputs: vec![],
                ..Graph::default()
            },
            signed,
            count: 0,
        }
    }

    /// A value that is given back.
    pub fn output(&mut self, name: &str) {
        self.graph.outputs.push(ValueInfo {
            name: name.into(),
            dtype: DType::F32,
            dims: None,
        });
    }

    pub fn name(&mut self, stem: &str) -> String {
        self.count += 1;
        format!("{stem}_{}", self.count)
    }

    pub fn constant(&mut self, tensor: Tensor) -> String {
        let name = self.name("constant");
        self.graph
            .constants
            .insert(name.clone(), Constant::Tensor(tensor));
        name
    }

    pub fn floats(&mut self, values: &[f32]) -> String {
        self.constant(Tensor::f32(&[values.len()], values.to_vec()).unwrap())
    }

    pub fn integers(&mut self, values: &[i64]) -> String {
        self.constant(Tensor::i64(&[values.len()], values.to_vec()).unwrap())
    }

    /// A node; its output.
    pub fn op(&mut self, op: Op, inputs: &[&str]) -> String {
        let name = self.name(op.name());
        self.graph
            .nodes
            .push(Node::new(&name, op, inputs, &[&name]));
        name
    }

    /// A node of two outputs.
    pub fn two(&mut self, op: Op, inputs: &[&str]) -> [String; 2] {
        let name = self.name(op.name());
        let outputs = [format!("{name}.0"), format!("{name}.1")];
        let names = outputs.each_ref().map(String::as_str);
        self.graph.nodes.push(Node::new(&name, op, inputs, &names));
        outputs
    }

    /// The input, quantized.
    pub fn input(&mut self, range: f32) -> String {
        let _ = &mut self.graph.inputs[0].dims.take();
        self.pair("input", range)
    }

    /// One step of what `pair` makes.
    pub fn unit(&self, range: f32) -> f32 {
        range / 128.0
    }

    /// The names of a scale and a zero point that stand for ±`range`.
    pub fn scale(&mut self, range: f32) -> [String; 2] {
        let scale = self.constant(Tensor::scalar_f32(range / 128.0));
        let zero = match self.signed {
            true => Data::I8(vec![-3]),
            false => Data::U8(vec![125]),
        };
        let zero = self.constant(Tensor::new(Shape::scalar(), zero).unwrap());
        [scale, zero]
    }

    /// QuantizeLinear and DequantizeLinear.
    pub fn pair(&mut self, x: &str, range: f32) -> String {
        let [scale, zero] = self.scale(range);
        let quantize = Op::QuantizeLinear {
            axis: 1,
            block_size: 0,
            to: None,
        };
        let codes = self.op(quantize, &[x, &scale, &zero]);
        self.op(dequantize(1), &[&codes, &scale, &zero])
    }

    /// A weight of signed codes, a scale for each output channel; its codes,
    /// scales and values.
    pub fn weight(&mut self, dims: &[usize]) -> [String; 3] {
        let len = dims.iter().product();
        let seed = self.count as u64 + 1;
        let codes = crate::support::noise(len, seed);
        let codes = codes.iter().map(|v| (v * 127.0) as i8).collect();
        let codes = Tensor::new(Shape::new(dims).unwrap(), Data::I8(codes)).unwrap();
        let codes = self.constant(codes);
        let fan_in: usize = dims[1..].iter().product();
        let scales: Vec<f32> = (0..dims[0])
            .map(|o| (0.5 + o as f32 / 16.0) / (127.0 * (fan_in as f32).sqrt()))
            .collect();
        let scales = self.floats(&scales);
        let zeros = self.constant(Tensor::i8(&[dims[0]], vec![0; dims[0]]).unwrap());
        let values = self.op(dequantize(0), &[&codes, &scales, &zeros]);
        [codes, scales, values]
    }

    /// A convolution that keeps the extents, with a bias; its output in f32.
    pub fn bare_conv(&mut self, x: &str, from: usize, to: usize, kernel: usize) -> String {
        let [_, _, weight] = self.weight(&[to, from, kernel, kernel]);
        let bias: Vec<f32> = (0..to).map(|o| o as f32 / 20.0 - 0.2).collect();
        let bias = self.floats(&bias);
        let pad = kernel / 2;
        let window = Window::new(&[kernel, kernel]).pad(&[pad; 4]);
        let conv = Op::Conv { window, groups: 1 };
        self.op(conv, &[x, &weight, &bias])
    }

    /// The same with its output quantized.
    pub fn conv(&mut self, x: &str, from: usize, to: usize, kernel: usize, range: f32) -> String {
        let y = self.bare_conv(x, from, to, kernel);
        self.pair(&y, range)
    }
}

/// Extents that are known.
pub fn known(dims: &[usize]) -> Option<Vec<Dim>> {
    Some(dims.iter().map(|&d| Dim::Known(d)).collect())
}
