//! Sessions, called as ONNX Runtime's are.

use crate::errors::{of_engine, of_file};
use crate::tensors::{array_of, in_place, tensor_of};
use numpy::{
    PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMapping};
use secateur::engine::{Session as Engine, SessionOptions};
use secateur::model::{DType, Dim, Shape, Tensor, ValueInfo};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// An input or output of a network.
#[pyclass(frozen, module = "secateur")]
pub struct NodeArg {
    value: ValueInfo,
}

#[pymethods]
impl NodeArg {
    #[getter]
    fn name(&self) -> &str {
        &self.value.name
    }

    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let Some(dims) = &self.value.dims else {
            return Ok(None);
        };
        let list = PyList::empty(py);
        for dim in dims {
            match dim {
                Dim::Known(extent) => list.append(extent)?,
                Dim::Named(name) if name.is_empty() => list.append(py.None())?,
                Dim::Named(name) => list.append(name)?,
            }
        }
        Ok(Some(list))
    }

    #[getter(r#type)]
    fn onnx_type(&self) -> String {
        format!("tensor({})", onnx_name(self.value.dtype))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shape = match self.shape(py)? {
            Some(list) => list.repr()?.to_string(),
            None => "None".into(),
        };
        let (name, kind) = (&self.value.name, self.onnx_type());
        Ok(format!(
            "NodeArg(name='{name}', type='{kind}', shape={shape})"
        ))
    }
}

/// Element types as ONNX Runtime writes them.
fn onnx_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float",
        DType::F64 => "double",
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::I8 => "int8",
        DType::U8 => "uint8",
        DType::I16 => "int16",
        DType::U16 => "uint16",
        DType::I32 => "int32",
        DType::U32 => "uint32",
        DType::I64 => "int64",
        DType::U64 => "uint64",
        DType::Bool => "bool",
        DType::Opaque(_) => "opaque",
    }
}

/// A network ready to run.
#[pyclass(frozen, module = "secateur")]
pub struct Session {
    /// None once it is closed.
    engine: RwLock<Option<Arc<Engine>>>,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
}

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (network, *, threads = None))]
    fn new(network: &Bound<'_, PyAny>, threads: Option<usize>) -> PyResult<Self> {
        let py = network.py();
        let graph = match network.cast::<PyBytes>() {
            Ok(bytes) => secateur::io::read(bytes.as_bytes(), "the network"),
            Err(_) => {
                let path: PathBuf = network.extract()?;
                py.detach(|| secateur::io::load(path))
            }
        };
        let graph = graph.map_err(|e| of_file(&e))?;
        let options = SessionOptions {
            threads,
            ..SessionOptions::default()
        };
        let engine = py.detach(|| Engine::new(&graph, &options));
        let engine = engine.map_err(|e| of_engine(&e))?;
        let declared = &engine.planner().draft().graph;
        Ok(Self {
            inputs: declared.inputs.clone(),
            outputs: declared.outputs.clone(),
            engine: RwLock::new(Some(Arc::new(engine))),
        })
    }

    #[pyo3(signature = (output_names, input_feed, run_options = None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        output_names: Option<Vec<String>>,
        input_feed: &Bound<'py, PyMapping>,
        run_options: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        // ONNX Runtime's calls pass it; there is nothing to set.
        let _ = run_options;
        let engine = self.open()?;
        let wanted = self.positions(output_names)?;
        let fed = fed(input_feed)?;
        let all = match self.in_place(py, &engine, &fed)? {
            Some(outputs) => outputs,
            None => by_tensors(py, &engine, &fed)?,
        };
        Ok(match wanted {
            None => all,
            Some(positions) => positions.iter().map(|&p| all[p].clone()).collect(),
        })
    }

    fn get_inputs(&self) -> Vec<NodeArg> {
        nodes(&self.inputs)
    }

    fn get_outputs(&self) -> Vec<NodeArg> {
        nodes(&self.outputs)
    }

    fn close(&self) {
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        *engine = None;
    }

    fn __enter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __exit__(
        &self,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) {
        self.close();
    }
}

/// Arrays by input name.
type Fed<'py> = Vec<(String, Bound<'py, PyUntypedArray>)>;

impl Session {
    fn open(&self) -> PyResult<Arc<Engine>> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || PyValueError::new_err("the session is closed");
        engine.clone().ok_or_else(closed)
    }

    /// Where the outputs that are asked for stand.
    fn positions(&self, names: Option<Vec<String>>) -> PyResult<Option<Vec<usize>>> {
        let position = |name: String| {
            let found = self.outputs.iter().position(|o| o.name == name);
            found.ok_or_else(|| {
                let there: Vec<_> = self.outputs.iter().map(|o| o.name.as_str()).collect();
                let there = there.join("`, `");
                PyValueError::new_err(format!("no output `{name}`; the network gives `{there}`"))
            })
        };
        let names = names.map(|names| names.into_iter().map(position).collect());
        names.transpose()
    }

    /// Runs on the arrays where they lie, if all are floats and the plan holds the outputs.
    fn in_place<'py>(
        &self,
        py: Python<'py>,
        engine: &Engine,
        fed: &Fed<'py>,
    ) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
        let mut arrays: Vec<PyReadonlyArrayDyn<'py, f32>> = Vec::with_capacity(fed.len());
        for input in &self.inputs {
            let found = fed.iter().find(|(name, _)| *name == input.name);
            match found.map(|(_, array)| array.cast::<PyArrayDyn<f32>>()) {
                Some(Ok(array)) if input.dtype == DType::F32 => arrays.push(array.try_readonly()?),
                _ => return Ok(None),
            }
        }
        if fed.len() != self.inputs.len() {
            return Ok(None);
        }
        let shapes: Result<Vec<Shape>, _> = arrays.iter().map(|a| Shape::new(a.shape())).collect();
        let Ok(shapes) = shapes else {
            return Ok(None);
        };
        let slices: Option<Vec<&[f32]>> = arrays.iter().map(in_place).collect();
        let Some(slices) = slices else {
            return Ok(None);
        };
        let bound = py.detach(|| engine.bind(&shapes));
        let bound = bound.map_err(|e| of_engine(&e))?;
        let plan = bound.plan();
        if plan.tail.is_some() || plan.outputs.iter().any(|o| o.dtype != DType::F32) {
            return Ok(None);
        }
        let made = plan.outputs.iter();
        let made: Vec<_> = made
            .map(|o| PyArrayDyn::<f32>::zeros(py, o.shape.dims(), false))
            .collect();
        let mut writable: Vec<_> = made.iter().map(|array| array.readwrite()).collect();
        let targets: Result<Vec<&mut [f32]>, _> =
            writable.iter_mut().map(|w| w.as_slice_mut()).collect();
        let mut targets = targets?;
        let done = py.detach(|| bound.run_into(&slices, &mut targets));
        done.map_err(|e| of_engine(&e))?;
        drop(writable);
        Ok(Some(made.into_iter().map(Bound::into_any).collect()))
    }
}

/// Runs on copies, of any type and layout; wrong names and types are the engine's to tell.
fn by_tensors<'py>(
    py: Python<'py>,
    engine: &Engine,
    fed: &Fed<'py>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let tensors = fed.iter().map(|(name, array)| tensor_of(name, array));
    let tensors: Vec<Tensor> = tensors.collect::<PyResult<_>>()?;
    let names = fed.iter().map(|(name, _)| name.as_str());
    let inputs: Vec<(&str, &Tensor)> = names.zip(&tensors).collect();
    let outputs = py.detach(|| engine.run(&inputs));
    let outputs = outputs.map_err(|e| of_engine(&e))?;
    outputs.into_iter().map(|t| array_of(py, t)).collect()
}

/// The arrays of a mapping; what is no array is made one, as by `numpy.asarray`.
fn fed<'py>(feed: &Bound<'py, PyMapping>) -> PyResult<Fed<'py>> {
    let py = feed.py();
    let items = feed.items()?;
    let mut fed = Vec::with_capacity(items.len());
    for item in items {
        let (name, value): (String, Bound<'py, PyAny>) = item.extract()?;
        let array = match value.cast_into::<PyUntypedArray>() {
            Ok(array) => array,
            Err(other) => {
                let numpy = py.import("numpy")?;
                let array = numpy.call_method1("asarray", (other.into_inner(),))?;
                let wrong = |_| PyTypeError::new_err(format!("input `{name}` is no array"));
                array.cast_into::<PyUntypedArray>().map_err(wrong)?
            }
        };
        fed.push((name, array));
    }
    Ok(fed)
}

fn nodes(values: &[ValueInfo]) -> Vec<NodeArg> {
    let values = values.iter().cloned();
    values.map(|value| NodeArg { value }).collect()
}
