//! A network, ready to run.

use secateur_engine::{Bound, Session, SessionOptions};
use secateur_io::{Form, IoError, onnx, sct, squeezenet};
use secateur_model::{Dim, Graph, Shape, Tensor, ValueInfo};
use secateur_plan::Planner;
use std::collections::BTreeMap;

/// Extent of pictures where a network leaves it open: most of those take this.
const OPEN_SIDE: usize = 224;
/// What readers call the file, whose name the page knows.
const PLACE: &str = "file";

/// A network, what its file holds, and a session where it can be run.
pub struct Network {
    /// The network.
    pub graph: Graph,
    /// Bytes of its file, or of its f32 parameters where it has none.
    pub bytes: usize,
    /// What each weight takes in the file, where that is known.
    pub weight_bytes: BTreeMap<String, usize>,
    /// The session and the extents of the input, or why it cannot be run here.
    pub ready: Result<Ready, String>,
}

/// A session and the extents of its input.
pub struct Ready {
    session: Session,
    /// Extents of the input.
    pub shape: Shape,
    name: String,
}

impl Network {
    /// Reads a file's bytes.
    pub fn open(bytes: &[u8], form: &Form) -> Result<Self, String> {
        let read = match form {
            _ if bytes.is_empty() => return Err("the file is empty".into()),
            Form::Sct => sct::read_and_inspect(bytes, PLACE),
            Form::Net => squeezenet::read_and_inspect(bytes, PLACE),
            Form::Onnx => {
                let graph = onnx::read(bytes, None, PLACE).map_err(reason)?;
                return Ok(Self::new(graph, bytes.len(), BTreeMap::new(), false));
            }
        };
        let (graph, summary) = read.map_err(reason)?;
        let weights = summary.weights.into_iter();
        let weight_bytes = weights.map(|w| (w.name, w.bytes)).collect();
        Ok(Self::new(graph, bytes.len(), weight_bytes, false))
    }

    /// A network of so many bytes; `dense` ones multiply by every zero.
    pub fn new(
        graph: Graph,
        bytes: usize,
        weight_bytes: BTreeMap<String, usize>,
        dense: bool,
    ) -> Self {
        let ready = Ready::new(&graph, dense);
        Self {
            graph,
            bytes,
            weight_bytes,
            ready,
        }
    }

    /// The first output for the f32 numbers of the input, as bytes.
    pub fn run(&self, input: &[u8]) -> Result<Vec<f32>, String> {
        self.ready.as_ref().map_err(Clone::clone)?.run(input)
    }
}

impl Ready {
    fn new(graph: &Graph, dense: bool) -> Result<Self, String> {
        let input = only_input(graph)?;
        let shape = shape(input)?;
        let session = session(graph, dense).map_err(|e| e.to_string())?;
        session
            .bind(std::slice::from_ref(&shape))
            .map_err(|e| e.to_string())?;
        Ok(Self {
            session,
            shape,
            name: input.name.clone(),
        })
    }

    /// The session with the plan for the extents.
    pub fn bound(&self) -> Result<Bound<'_>, String> {
        let shapes = std::slice::from_ref(&self.shape);
        self.session.bind(shapes).map_err(|e| e.to_string())
    }

    /// The numbers of an input from their bytes.
    pub fn numbers(&self, input: &[u8]) -> Result<Vec<f32>, String> {
        let (words, rest) = input.as_chunks();
        if words.len() != self.shape.elements() || !rest.is_empty() {
            return Err(format!(
                "the input has {} bytes, needed 4 for each of {} numbers",
                input.len(),
                self.shape.elements()
            ));
        }
        Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    fn run(&self, input: &[u8]) -> Result<Vec<f32>, String> {
        let tensor = Tensor::f32(self.shape.dims(), self.numbers(input)?);
        let tensor = tensor.map_err(|e| e.to_string())?;
        let outputs = self.session.run(&[(&self.name, &tensor)]);
        let outputs = outputs.map_err(|e| e.to_string())?;
        let first = outputs.first().ok_or("the network has no output")?;
        let numbers = first.as_f32().map_err(|e| e.to_string())?;
        Ok(numbers.to_vec())
    }
}

/// Why a file was not read; its name goes before that anyway.
fn reason(error: IoError) -> String {
    let text = error.to_string();
    match text
        .strip_prefix(PLACE)
        .and_then(|rest| rest.strip_prefix(": "))
    {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

fn session(graph: &Graph, dense: bool) -> Result<Session, Box<dyn std::error::Error>> {
    let options = SessionOptions {
        threads: Some(1),
        calibrate: Some(false),
        ..SessionOptions::default()
    };
    let isa = options.resolved_isa()?;
    let costs = options.resolved_costs(isa)?;
    let costs = match dense {
        true => costs.without_sparse_forms(),
        false => costs,
    };
    let planner = Planner::new(graph, isa)?.with_costs(costs);
    Ok(Session::from_planner(planner, &options)?)
}

/// The only input that has to be given.
fn only_input(graph: &Graph) -> Result<&ValueInfo, String> {
    let given = |input: &&ValueInfo| !graph.constants.contains_key(&input.name);
    let mut inputs = graph.inputs.iter().filter(given);
    match (inputs.next(), inputs.count()) {
        (Some(input), 0) => Ok(input),
        (None, _) => Err("the network has no input".into()),
        (Some(_), more) => Err(format!(
            "the network has {} inputs; the page gives one",
            more + 1
        )),
    }
}

/// The extents of one input: a batch of one, pictures of the usual size where that is open.
fn shape(input: &ValueInfo) -> Result<Shape, String> {
    let open = |what: &str| format!("{what} of input `{}` is open", input.name);
    let dims = input.dims.as_deref().ok_or_else(|| open("the rank"))?;
    let extent = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Known(n) => Ok(*n),
        Dim::Named(_) if axis == 0 => Ok(1),
        Dim::Named(_) if dims.len() == 4 && axis >= 2 => Ok(OPEN_SIDE),
        Dim::Named(name) => Err(open(&format!("extent `{name}`"))),
    };
    let extents: Result<Vec<usize>, String> = dims.iter().enumerate().map(extent).collect();
    Shape::new(&extents?).map_err(|e| e.to_string())
}
