//! Sessions: a network ready to run, for any batch, from any thread.

mod values;

use crate::arena::{Arena, read, write};
use crate::profile::{StepProfile, measure};
use crate::run::{run, run_step};
use crate::team::{Team, shares};
use crate::{EngineError, SessionOptions};
use secateur_kernels::Crew;
use secateur_model::{DType, Graph, Shape, Tensor};
use secateur_plan::{Plan, Planner, Port};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Plans that a session keeps at a time.
const MAX_PLANS: usize = 32;

/// A network ready to run. Plans are made once for each set of input shapes;
/// runs may overlap, each with an arena of its own.
///
/// ```
/// # use secateur_engine::{Session, SessionOptions};
/// # use secateur_model::{Tensor, zoo};
/// let net = zoo::build("lenet-300-100", [1, 28, 28], 10, 1)?;
/// let session = Session::new(&net, &SessionOptions::default())?;
/// let image = Tensor::f32(&[1, 1, 28, 28], vec![0.5; 784])?;
/// let logits = session.run(&[("input", &image)])?;
/// assert_eq!(logits[0].shape().dims(), [1, 10]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    planner: Planner,
    /// All threads, if there are several.
    crew: Option<Crew>,
    reference: bool,
    plans: Mutex<HashMap<Vec<Shape>, Arc<Prepared>>>,
    /// Plans for values of small inputs, where they leave less to the reference.
    valued: Mutex<HashMap<values::Key, Option<Arc<Prepared>>>>,
}

/// A plan and the arenas of the runs that are not running.
#[derive(Debug)]
struct Prepared {
    plan: Plan,
    /// The planner that made it, where it is not the session's.
    planner: Option<Planner>,
    /// Whether any step is worth more than one thread.
    shared: bool,
    arenas: Mutex<Vec<Arena>>,
}

/// A session bound to input shapes: runs on slices, without allocation once
/// it has run. Made by [`Session::bind`].
#[derive(Debug, Clone)]
pub struct Bound<'s> {
    session: &'s Session,
    prepared: Arc<Prepared>,
}

impl Session {
    /// Lowers the network and starts the threads.
    ///
    /// # Errors
    /// A graph that is not well formed, an operator that is not known, an
    /// instruction set that the processor lacks, a setting without meaning.
    pub fn new(graph: &Graph, options: &SessionOptions) -> Result<Self, EngineError> {
        let isa = options.resolved_isa()?;
        let costs = options.resolved_costs(isa)?;
        let planner = Planner::new(graph, isa)?.with_costs(costs);
        Self::from_planner(planner, options)
    }

    /// A session over a graph that is lowered already; the planner's
    /// instruction set and costs count.
    ///
    /// # Errors
    /// A setting without meaning, threads that cannot be started.
    pub fn from_planner(planner: Planner, options: &SessionOptions) -> Result<Self, EngineError> {
        let threads = options.resolved_threads()?;
        let crew = (threads > 1).then(|| Crew::new(threads)).transpose();
        let crew = crew.map_err(|e| EngineError::Threads {
            threads,
            reason: e.to_string(),
        })?;
        Ok(Self {
            planner,
            crew,
            reference: options.reference,
            plans: Mutex::default(),
            valued: Mutex::default(),
        })
    }

    /// The lowered graph and what was done to it.
    pub fn planner(&self) -> &Planner {
        &self.planner
    }

    /// Threads that large steps are shared among.
    pub fn threads(&self) -> usize {
        self.crew.as_ref().map_or(1, Crew::members)
    }

    /// Runs the network on tensors, by input name; gives the outputs in the
    /// graph's order. Nodes whose extents hang on values that are computed, so that no
    /// plan holds them, are evaluated by the reference behind the others.
    ///
    /// # Errors
    /// An input that is missing or not the network's, of another type or of
    /// extents that the network does not take; an operator that cannot run.
    pub fn run(&self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, EngineError> {
        let ordered = self.ordered(inputs)?;
        let shapes: Vec<Shape> = ordered.iter().map(|t| t.shape().clone()).collect();
        if self.reference {
            return Ok(self.planner.draft().evaluate(inputs)?);
        }
        let mut bound = self.bind(&shapes)?;
        if let Some(prepared) = self.valued(&ordered, bound.plan()) {
            bound.prepared = prepared;
        }
        bound.with_arena(|plan, arena| {
            for (port, tensor) in plan.inputs.iter().zip(&ordered) {
                let to = place(plan, arena, port)?;
                if !write(tensor, to) {
                    return Err(length(port, tensor.shape().elements()));
                }
            }
            run(plan, arena, self.team(&bound.prepared))?;
            let mut tensor = |port: &Port| {
                let bytes = place(plan, arena, port)?;
                Ok(read(bytes, port.dtype, &port.shape)?)
            };
            let Some(tail) = &plan.tail else {
                return plan.outputs.iter().map(tensor).collect();
            };
            let values = tail
                .reads
                .iter()
                .chain(&plan.outputs)
                .map(|port| Ok((port.name.clone(), tensor(port)?)))
                .collect::<Result<_, EngineError>>()?;
            let planner = bound.prepared.planner.as_ref().unwrap_or(&self.planner);
            Ok(planner.draft().evaluate_nodes(&tail.nodes, values)?)
        })
    }

    /// Makes, or finds, the plan for the extents of the inputs, in the graph's
    /// order.
    ///
    /// # Errors
    /// Extents that the network does not take, an operator that cannot run.
    pub fn bind(&self, shapes: &[Shape]) -> Result<Bound<'_>, EngineError> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let prepared = match plans.get(shapes) {
            Some(found) => found.clone(),
            None => {
                let plan = self.planner.plan(shapes, self.threads())?;
                let made = self.prepare(plan, None);
                // Whoever sends ever new extents shall not fill the memory.
                if plans.len() >= MAX_PLANS {
                    plans.clear();
                }
                plans.insert(shapes.to_vec(), made.clone());
                made
            }
        };
        Ok(Bound {
            session: self,
            prepared,
        })
    }

    fn prepare(&self, plan: Plan, planner: Option<Planner>) -> Arc<Prepared> {
        let shared = plan.steps.iter().any(|step| shares(&plan, step) > 1);
        Arc::new(Prepared {
            plan,
            planner,
            shared,
            arenas: Mutex::default(),
        })
    }

    /// The threads that a plan has work for, awake.
    fn team(&self, prepared: &Prepared) -> Team<'_> {
        match &self.crew {
            Some(crew) if prepared.shared => {
                crew.wake();
                Team::of(crew)
            }
            _ => Team::ALONE,
        }
    }

    /// The tensors in the graph's order of inputs, names and types checked.
    fn ordered<'t>(&self, inputs: &[(&str, &'t Tensor)]) -> Result<Vec<&'t Tensor>, EngineError> {
        let declared = &self.planner.draft().graph.inputs;
        let wrong = |name: &str, problem| {
            let names: Vec<String> = declared.iter().map(|d| format!("`{}`", d.name)).collect();
            EngineError::InputName {
                name: name.into(),
                problem,
                declared: names.join(", "),
            }
        };
        for (index, (name, _)) in inputs.iter().enumerate() {
            if !declared.iter().any(|d| d.name == *name) {
                return Err(wrong(name, "is not an input"));
            }
            if inputs[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(wrong(name, "is given twice"));
            }
        }
        declared
            .iter()
            .map(|d| {
                let (_, tensor) = inputs
                    .iter()
                    .find(|(name, _)| *name == d.name)
                    .ok_or_else(|| wrong(&d.name, "is missing"))?;
                if tensor.dtype() != d.dtype {
                    return Err(EngineError::InputType {
                        name: d.name.clone(),
                        needed: d.dtype,
                        found: tensor.dtype(),
                    });
                }
                Ok(*tensor)
            })
            .collect()
    }
}

impl Bound<'_> {
    /// The plan that is run.
    pub fn plan(&self) -> &Plan {
        &self.prepared.plan
    }

    /// Runs on f32 slices, inputs and outputs in the graph's order.
    ///
    /// # Errors
    /// A slice of another length than its value, a value that is not f32, an
    /// output whose extents hang on values that are computed.
    pub fn run_into(
        &self,
        inputs: &[&[f32]],
        outputs: &mut [&mut [f32]],
    ) -> Result<(), EngineError> {
        self.with_arena(|plan, arena| {
            if let Some(node) = plan.tail.iter().flat_map(|tail| &tail.nodes).next() {
                return Err(EngineError::Extents {
                    node: node.name.clone(),
                });
            }
            self.load(plan, arena, inputs)?;
            run(plan, arena, self.session.team(&self.prepared))?;
            for (index, port) in plan.outputs.iter().enumerate() {
                needs_f32(port)?;
                let found = outputs.get(index).map_or(0, |o| o.len());
                let bytes = place(plan, arena, port)?;
                match outputs.get_mut(index) {
                    Some(to) if size_of_val(&**to) == bytes.len() => {
                        bytemuck::cast_slice_mut(to).copy_from_slice(bytes);
                    }
                    _ => return Err(length(port, found)),
                }
            }
            Ok(())
        })
    }

    /// Times every step: the median of `repeats` runs after a warm-up.
    ///
    /// # Errors
    /// As [`Self::run_into`].
    pub fn profile(
        &self,
        inputs: &[&[f32]],
        repeats: usize,
    ) -> Result<Vec<StepProfile>, EngineError> {
        self.with_arena(|plan, arena| {
            // Inputs share memory with later buffers, so every run loads them.
            let mut load = |arena: &mut [u8]| self.load(plan, arena, inputs);
            let team = self.session.team(&self.prepared);
            measure(plan, arena, team, repeats, &mut load)
        })
    }

    /// Runs once and tells after every step which of the plan's it was, for who has a clock where
    /// the standard library has none, as in a browser.
    ///
    /// # Errors
    /// As [`Self::run_into`].
    pub fn watch(
        &self,
        inputs: &[&[f32]],
        after: &mut dyn FnMut(usize),
    ) -> Result<(), EngineError> {
        self.with_arena(|plan, arena| {
            self.load(plan, arena, inputs)?;
            let team = self.session.team(&self.prepared);
            for (index, step) in plan.steps.iter().enumerate() {
                run_step(plan, step, arena, team)?;
                after(index);
            }
            Ok(())
        })
    }

    fn load(&self, plan: &Plan, arena: &mut [u8], inputs: &[&[f32]]) -> Result<(), EngineError> {
        for (index, port) in plan.inputs.iter().enumerate() {
            needs_f32(port)?;
            let from = inputs.get(index).copied().unwrap_or(&[]);
            let to = place(plan, arena, port)?;
            if size_of_val(from) != to.len() {
                return Err(length(port, from.len()));
            }
            to.copy_from_slice(bytemuck::cast_slice(from));
        }
        Ok(())
    }

    /// Lends an arena that no other run has.
    fn with_arena<T>(
        &self,
        work: impl FnOnce(&Plan, &mut [u8]) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let plan = &self.prepared.plan;
        let arenas = &self.prepared.arenas;
        let free = arenas.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut arena = match free {
            Some(arena) => arena,
            None => Arena::new(plan.arena_bytes)?,
        };
        let result = work(plan, arena.bytes());
        arenas
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(arena);
        result
    }
}

/// The bytes of a port.
fn place<'a>(plan: &Plan, arena: &'a mut [u8], port: &Port) -> Result<&'a mut [u8], EngineError> {
    let misplaced = || EngineError::Buffers {
        step: port.name.clone(),
    };
    let buffer = plan.buffers.get(port.buffer).ok_or_else(misplaced)?;
    arena
        .get_mut(buffer.offset..buffer.offset + buffer.bytes)
        .ok_or_else(misplaced)
}

fn needs_f32(port: &Port) -> Result<(), EngineError> {
    match port.dtype {
        DType::F32 => Ok(()),
        found => Err(EngineError::InputType {
            name: port.name.clone(),
            needed: DType::F32,
            found,
        }),
    }
}

fn length(port: &Port, found: usize) -> EngineError {
    EngineError::Length {
        name: port.name.clone(),
        needed: port.shape.elements(),
        found,
    }
}
