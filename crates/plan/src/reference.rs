//! A draft evaluated by the slow reference, node by node: what every plan of
//! the draft must give, bit for bit.

mod codes;

use crate::PlanError;
use crate::draft::{Arithmetic, Draft, Fused, OnCodes, Quantization};
use crate::integer::Integers;
use crate::layer::{Kind, Linear};
use secateur_model::{DType, Data, ModelError, Node, Shape, Tensor, ops, quant};
use std::collections::{HashMap, HashSet};

impl Draft {
    /// Evaluates the draft. Slow on purpose; integer sums are taken in f64,
    /// which holds every 32-bit integer.
    ///
    /// # Errors
    /// A missing input, and whatever an operator refuses.
    pub fn evaluate(&self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, PlanError> {
        let values = inputs
            .iter()
            .map(|(name, tensor)| ((*name).to_owned(), (*tensor).clone()))
            .collect();
        self.evaluate_nodes(&self.graph.nodes, values)
    }

    /// Evaluates some nodes, in their order, and gives the graph's outputs; `values` has what the nodes
    /// read that neither they compute nor a constant is, and the outputs that they do not compute.
    ///
    /// # Errors
    /// A missing value, and whatever an operator refuses.
    pub fn evaluate_nodes(
        &self,
        nodes: &[Node],
        mut values: HashMap<String, Tensor>,
    ) -> Result<Vec<Tensor>, PlanError> {
        self.evaluate_into(nodes, &mut values)?;
        self.graph
            .outputs
            .iter()
            .map(|o| {
                let found = values.get(&o.name).cloned();
                found.ok_or_else(|| missing(&o.name).into())
            })
            .collect()
    }

    /// Evaluates the draft and gives every value by its name, constants that nodes read included.
    ///
    /// # Errors
    /// As [`Draft::evaluate`].
    pub fn evaluate_all(
        &self,
        inputs: &[(&str, &Tensor)],
    ) -> Result<HashMap<String, Tensor>, PlanError> {
        let given = inputs.iter().map(|&(name, t)| (name.to_owned(), t.clone()));
        let mut values = given.collect();
        self.evaluate_into(&self.graph.nodes, &mut values)?;
        Ok(values)
    }

    fn evaluate_into(
        &self,
        nodes: &[Node],
        values: &mut HashMap<String, Tensor>,
    ) -> Result<(), PlanError> {
        let given = self.graph.outputs.iter().map(|o| o.name.as_str());
        let read: HashSet<&str> = nodes.iter().flat_map(|n| n.reads()).chain(given).collect();
        for name in read {
            if let Some(constant) = self.graph.constants.get(name) {
                values.insert(name.to_owned(), constant.to_tensor());
            }
        }
        for node in nodes {
            let results = self.evaluate_node(node, values)?;
            for (output, tensor) in node.outputs.iter().zip(results) {
                values.insert(output.clone(), tensor);
            }
        }
        Ok(())
    }

    fn evaluate_node(
        &self,
        node: &Node,
        values: &HashMap<String, Tensor>,
    ) -> Result<Vec<Tensor>, PlanError> {
        let inputs = (0..node.inputs.len())
            .map(|i| match node.input(i) {
                None => Ok(None),
                Some(name) => values.get(name).map(Some).ok_or_else(|| missing(name)),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let Fused { clamp, arithmetic } = self.fused(node);
        match arithmetic {
            Arithmetic::Float => {
                let mut results = ops::evaluate(node, &inputs)?;
                if clamp != crate::draft::Clamp::NONE
                    && let Some(first) = results.first_mut()
                {
                    let bounded = first.as_f32()?.iter().map(|&v| clamp.apply(v)).collect();
                    *first = Tensor::new(first.shape().clone(), Data::F32(bounded))?;
                }
                Ok(results)
            }
            Arithmetic::Codes(OnCodes::Sum { a, b, y }) => {
                Ok(vec![codes::sum(node, &inputs, [a, b, y], clamp)?])
            }
            Arithmetic::Codes(OnCodes::Mean { x, y }) => {
                Ok(vec![codes::mean(node, &inputs, x, y)?])
            }
            Arithmetic::Codes(OnCodes::Product { a, b, y }) => {
                Ok(vec![codes::product(node, &inputs, [a, b], y)?])
            }
            Arithmetic::Codes(OnCodes::Table) => Ok(vec![codes::table(node, &inputs)?]),
            Arithmetic::Integer { x, y } => {
                let unsupported = |why: String| ModelError::unsupported(node, why);
                let linear = Linear::of(self, node).map_err(unsupported)?;
                let numbers = Integers::derive(&linear, x, y, clamp).map_err(unsupported)?;
                let codes = inputs
                    .first()
                    .copied()
                    .flatten()
                    .ok_or_else(|| missing("x"))?;
                let (shape, sums) = exact_sums(node, &linear, codes, x)?;
                let channel = channels(&shape, linear.kind);
                let accumulators = sums
                    .iter()
                    .enumerate()
                    .map(|(at, &sum)| (channel(at), sum as i32 + numbers.bias[channel(at)]));
                let data = match y {
                    None => Data::F32(
                        accumulators
                            .map(|(o, acc)| clamp.apply(acc as f32 * numbers.factor[o]))
                            .collect(),
                    ),
                    Some(y) => {
                        let (lo, hi) = numbers.bounds;
                        let codes = accumulators.map(|(o, acc)| {
                            quant::requantize(acc, numbers.factor[o], y.zero_point, lo, hi)
                        });
                        match y.dtype {
                            DType::I8 => Data::I8(codes.map(|c| c as i8).collect()),
                            _ => Data::U8(codes.map(|c| c as u8).collect()),
                        }
                    }
                };
                Ok(vec![Tensor::new(shape, data)?])
            }
        }
    }
}

/// `Σ w · (x − zero_point)` over the codes, without bias.
fn exact_sums(
    node: &Node,
    linear: &Linear<'_>,
    codes: &Tensor,
    x: Quantization,
) -> Result<(Shape, Vec<f64>), ModelError> {
    let centred = |q: i32| f64::from(q - x.zero_point);
    let values = match codes.data() {
        Data::U8(v) => v.iter().map(|&q| centred(q.into())).collect(),
        Data::I8(v) => v.iter().map(|&q| centred(q.into())).collect(),
        other => {
            return Err(ModelError::Type {
                what: format!("node `{}`", node.name),
                needed: x.dtype,
                found: other.dtype(),
            });
        }
    };
    let x = Tensor::new(codes.shape().clone(), Data::F64(values))?;
    let weights = linear
        .codes_as_stored()
        .into_iter()
        .map(f64::from)
        .collect();
    let w = Tensor::new(linear.weight.shape().clone(), Data::F64(weights))?;
    let mut bare = node.clone();
    bare.inputs.truncate(2);
    let sums = ops::evaluate(&bare, &[Some(&x), Some(&w)])?;
    match sums.into_iter().next().map(Tensor::into_parts) {
        Some((shape, Data::F64(sums))) => Ok((shape, sums)),
        _ => Err(ModelError::at(node, "it gave no f64 output")),
    }
}

/// The output channel of an element.
fn channels(shape: &Shape, kind: Kind<'_>) -> impl Fn(usize) -> usize + use<> {
    let (inner, channels) = match (kind, shape.dims()) {
        (Kind::Conv { .. }, [_, c, plane @ ..]) => (plane.iter().product::<usize>(), *c),
        (_, dims) => (1, dims.last().copied().unwrap_or(1)),
    };
    move |at| at / inner.max(1) % channels.max(1)
}

fn missing(name: &str) -> ModelError {
    ModelError::Input {
        name: name.into(),
        needed: "a tensor".into(),
        found: "nothing".into(),
    }
}
