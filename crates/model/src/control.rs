//! Operators that hold graphs: If and Loop.

use crate::eval::{Scope, run};
use crate::ops::{ShapeInput, TypedShape};
use crate::{DType, Data, Graph, ModelError, Node, Op, Shape, Tensor, UnknownOp, infer, ops};
use std::borrow::Cow;

/// An operator that runs graphs of its own, as values say.
///
/// A node's inputs are the operator's own ([`Flow::parameters`]), then the
/// values of the graph around it that the inner graphs read.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// What is run.
    pub flow: Flow,
    /// The names by which the inner graphs read the node's further inputs.
    pub captures: Vec<String>,
    /// The operator as it came, which is what is written.
    pub carried: UnknownOp,
}

/// Inner graphs. Beside their inputs they read what is captured.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // it is only ever held in the box of `Op::Control`
pub enum Flow {
    /// One of two graphs without inputs, as input 0 says.
    If {
        /// What is run where it is true.
        then: Graph,
        /// What is run where it is false.
        otherwise: Graph,
    },
    /// A graph of the turn's number, whether this turn is run, and values that are handed from turn
    /// to turn; it gives whether there is a next turn, those values, and slices of the other outputs.
    Loop {
        /// What is run in a turn.
        body: Graph,
    },
}

impl Flow {
    /// Inputs of the operator itself.
    pub fn parameters(&self) -> usize {
        match self {
            Self::If { .. } => 1,
            Self::Loop { body } => body.inputs.len().max(2),
        }
    }

    /// The inner graphs.
    pub fn graphs(&self) -> impl Iterator<Item = &Graph> {
        match self {
            Self::If { then, otherwise } => [Some(then), Some(otherwise)],
            Self::Loop { body } => [Some(body), None],
        }
        .into_iter()
        .flatten()
    }
}

impl Control {
    /// The graph that a condition chooses; `None` for a Loop.
    pub fn branch(&self, condition: bool) -> Option<&Graph> {
        match &self.flow {
            Flow::If { then, otherwise } => Some(if condition { then } else { otherwise }),
            Flow::Loop { .. } => None,
        }
    }
}

/// A Loop's count of turns and its values between two of them, whoever runs the turns.
#[derive(Debug, Clone)]
pub struct Turns {
    limit: Option<i64>,
    going: bool,
    next: i64,
    state: Vec<Tensor>,
    slices: Vec<Vec<Tensor>>,
}

impl Turns {
    /// Before the first turn, from a node's inputs.
    ///
    /// # Errors
    /// A limit or a condition that is not one value, a carried value that is missing.
    pub fn new(node: &Node, body: &Graph, inputs: &[Option<&Tensor>]) -> Result<Self, ModelError> {
        let limit = match inputs.first().copied().flatten().map(Tensor::data) {
            None => None,
            Some(Data::I64(v)) if v.len() == 1 => Some(v[0]),
            Some(_) => return Err(ModelError::at(node, "the number of turns must be one i64")),
        };
        let going = match inputs.get(1).copied().flatten() {
            None => true,
            Some(condition) => truth(node, condition)?,
        };
        let carried = body.inputs.len().saturating_sub(2);
        if body.inputs.len() < 2 || body.outputs.len() <= carried {
            return Err(ModelError::at(
                node,
                format!(
                    "a body of {} inputs and {} outputs",
                    body.inputs.len(),
                    body.outputs.len()
                ),
            ));
        }
        let state: Option<Vec<Tensor>> = (0..carried)
            .map(|i| inputs.get(2 + i).copied().flatten().cloned())
            .collect();
        let state = state.ok_or_else(|| ModelError::at(node, "a carried value is missing"))?;
        Ok(Self {
            limit,
            going,
            next: 0,
            state,
            slices: vec![Vec::new(); body.outputs.len() - 1 - carried],
        })
    }

    /// The inputs of the next turn; `None` where there is none.
    ///
    /// # Errors
    /// None that can be met: scalars have a shape.
    pub fn next(&self) -> Result<Option<Vec<Tensor>>, ModelError> {
        if !self.going || self.limit.is_some_and(|limit| self.next >= limit) {
            return Ok(None);
        }
        let mut inputs = vec![
            Tensor::new(Shape::scalar(), Data::I64(vec![self.next]))?,
            Tensor::new(Shape::scalar(), Data::Bool(vec![true]))?,
        ];
        inputs.extend(self.state.iter().cloned());
        Ok(Some(inputs))
    }

    /// Takes what a turn gave.
    ///
    /// # Errors
    /// A condition that is not one value.
    pub fn take(&mut self, node: &Node, outputs: Vec<Tensor>) -> Result<(), ModelError> {
        let mut outputs = outputs.into_iter();
        let condition = outputs.next();
        let missing = || ModelError::at(node, "the body gives no condition");
        self.going = truth(node, &condition.ok_or_else(missing)?)?;
        for (state, value) in self.state.iter_mut().zip(outputs.by_ref()) {
            *state = value;
        }
        for (slices, value) in self.slices.iter_mut().zip(outputs) {
            slices.push(value);
        }
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    /// The node's outputs after the last turn: the carried values, then each
    /// list of slices along a new first axis.
    ///
    /// # Errors
    /// Slices of other types or extents than each other.
    pub fn finish(mut self, node: &Node, body: &Graph) -> Result<Vec<Tensor>, ModelError> {
        let carried = self.state.len();
        for (index, slices) in self.slices.iter().enumerate() {
            let declared = body.outputs.get(1 + carried + index);
            let dtype = declared.map_or(DType::F32, |value| value.dtype);
            self.state.push(stacked(node, slices, dtype)?);
        }
        Ok(self.state)
    }
}

/// Slices along a new first axis; none are an empty list of scalars.
fn stacked(node: &Node, slices: &[Tensor], dtype: DType) -> Result<Tensor, ModelError> {
    let unjoined = || ModelError::at(node, "its slices cannot be joined");
    let Some(first) = slices.first() else {
        let cast = Node::new(
            node.name.clone(),
            Op::Cast { to: dtype },
            &["none"],
            &["slices"],
        );
        let none = ops::evaluate(&cast, &[Some(&Tensor::f32(&[0], Vec::new())?)])?;
        return none.into_iter().next().ok_or_else(unjoined);
    };
    let one: Vec<usize> = std::iter::once(1)
        .chain(first.shape().iter().copied())
        .collect();
    let one = Shape::new(&one)?;
    let rows = slices
        .iter()
        .map(|slice| match slice.shape() == first.shape() {
            true => slice.clone().reshaped(one.clone()),
            false => Err(ModelError::at(
                node,
                format!("turns give {} and {}", first.shape(), slice.shape()),
            )),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let concat = Node::new(
        node.name.clone(),
        Op::Concat { axis: 0 },
        &vec!["slice"; rows.len()],
        &["slices"],
    );
    let rows: Vec<Option<&Tensor>> = rows.iter().map(Some).collect();
    let joined = ops::evaluate(&concat, &rows)?;
    joined.into_iter().next().ok_or_else(unjoined)
}

/// A condition's value.
///
/// # Errors
/// A tensor that is not one boolean.
pub fn truth(node: &Node, condition: &Tensor) -> Result<bool, ModelError> {
    match condition.data() {
        Data::Bool(v) if v.len() == 1 => Ok(v[0]),
        other => Err(ModelError::at(
            node,
            format!(
                "the condition must be one boolean, found {}{}",
                other.dtype(),
                condition.shape()
            ),
        )),
    }
}

/// Types and extents of what a chosen branch gives.
pub(crate) fn infer_control(
    node: &Node,
    control: &Control,
    inputs: &[Option<ShapeInput<'_>>],
) -> Result<Vec<TypedShape>, ModelError> {
    let condition = inputs.first().and_then(|i| i.as_ref()?.value);
    let branch = match (condition, &control.flow) {
        (Some(condition), Flow::If { .. }) => control.branch(truth(node, condition)?),
        // How many slices a Loop gives is known when it has run.
        _ => None,
    };
    let branch = branch.ok_or_else(|| ModelError::ValueNeeded {
        node: node.name.clone(),
        op: node.op.name().to_owned(),
        input: 0,
    })?;
    let captured = captured(control, inputs);
    let captured = captured.filter_map(|(name, input)| Some((name, input.clone()?)));
    infer::outputs(branch, captured)
}

/// Computes what the values say.
pub(crate) fn evaluate(
    node: &Node,
    control: &Control,
    inputs: &[Option<&Tensor>],
) -> Result<Vec<Tensor>, ModelError> {
    let scope = || -> Scope<'_> {
        captured(control, inputs)
            .filter_map(|(name, value)| Some((name, Cow::Borrowed((*value)?))))
            .collect()
    };
    let mut outputs = match &control.flow {
        Flow::If { then, otherwise } => {
            let condition = inputs.first().copied().flatten();
            let missing = || ModelError::at(node, "its condition is missing");
            let branch = match truth(node, condition.ok_or_else(missing)?)? {
                true => then,
                false => otherwise,
            };
            run(branch, scope())?
        }
        Flow::Loop { body } => {
            let mut turns = Turns::new(node, body, inputs)?;
            while let Some(parameters) = turns.next()? {
                let mut values = scope();
                let names = body.inputs.iter().map(|input| input.name.as_str());
                values.extend(names.zip(parameters.into_iter().map(Cow::Owned)));
                let outputs = run(body, values)?;
                turns.take(node, outputs)?;
            }
            turns.finish(node, body)?
        }
    };
    if outputs.len() < node.outputs.len() {
        return Err(ModelError::at(
            node,
            format!(
                "{} outputs are named, {} are there",
                node.outputs.len(),
                outputs.len()
            ),
        ));
    }
    outputs.truncate(node.outputs.len());
    Ok(outputs)
}

/// The captured values of a node's inputs by the names that the inner graphs have for them.
fn captured<'a, T>(
    control: &'a Control,
    inputs: &'a [T],
) -> impl Iterator<Item = (&'a str, &'a T)> {
    let names = control.captures.iter().map(String::as_str);
    names.zip(inputs.iter().skip(control.flow.parameters()))
}
