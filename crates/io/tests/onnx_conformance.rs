//! ONNX's own operator tests (`backend/test/data/node` of the wheel
//! `onnx==1.19.1`) through the importer and the reference evaluation, once as
//! they are and once exported and imported again.
//!
//! The wheel comes through pip on the first run; without pip or a network the
//! test says so and passes.

use secateur_io::{IoError, onnx};
use secateur_model::{Data, Graph, ModelError, Op, Tensor, eval};
use std::path::{Path, PathBuf};
use std::process::Command;

const WHEEL: &str = "onnx==1.19.1";

/// Cases whose expected outputs wrap around where the operator's text says
/// "saturate": 20 where the exact result is -235.7.
/// Saturated elements are not compared there.
const WRAPPED: [&str; 4] = [
    "test_qlinearmatmul_2D_int8_float16",
    "test_qlinearmatmul_2D_int8_float32",
    "test_qlinearmatmul_3D_int8_float16",
    "test_qlinearmatmul_3D_int8_float32",
];

/// Cases whose expected outputs hold the rounding of f32 (2e-7 beside values up
/// to 54) where the exact result is 0.
const ROUNDED: [&str; 2] = ["test_dft_inverse", "test_dft_inverse_opset19"];

/// What became of a case.
enum Outcome {
    Passed,
    Failed(String),
    Unsupported,
}

#[test]
fn operators_agree_with_onnx() {
    let Some(cases) = cases() else {
        let why = format!("{WHEEL} cannot be fetched with pip; no operator was checked");
        assert!(std::env::var_os("CI").is_none(), "{why}");
        eprintln!("SKIPPED: {why}");
        return;
    };
    let (mut passed, mut unsupported, mut failed) = (0, 0, Vec::new());
    for case in &cases {
        match run(case) {
            Outcome::Passed => passed += 1,
            Outcome::Unsupported => unsupported += 1,
            Outcome::Failed(why) => failed.push(format!("{}: {why}", name(case))),
        }
    }
    println!(
        "{} cases of {WHEEL}: {passed} passed ({} of them but for \
         saturated elements), {} failed, {unsupported} unsupported",
        cases.len(),
        WRAPPED.len(),
        failed.len()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(passed >= 1000, "only {passed} cases passed");
}

/// The folders of all cases, in order of name; `None` where there are none.
fn cases() -> Option<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(WHEEL);
    let node = folder.join("onnx/backend/test/data/node");
    if !node.is_dir() {
        let pip = ["-m", "pip", "download", "--no-deps", "-q", WHEEL, "-d"];
        python(&pip, &[&folder])?;
        let wheel = std::fs::read_dir(&folder)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|e| e == "whl"))?;
        python(&["-m", "zipfile", "-e"], &[&wheel, &folder])?;
    }
    let mut cases: Vec<PathBuf> = std::fs::read_dir(node)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    cases.sort();
    Some(cases)
}

fn python(arguments: &[&str], paths: &[&Path]) -> Option<()> {
    let status = Command::new("python3")
        .args(arguments)
        .args(paths)
        .status()
        .ok()?;
    status.success().then_some(())
}

fn name(case: &Path) -> String {
    case.file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn run(case: &Path) -> Outcome {
    let graph = match onnx::load(case.join("model.onnx")) {
        Ok(graph) => graph,
        Err(IoError::Unsupported { .. }) => return Outcome::Unsupported,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let carried = graph.nodes.iter().any(|n| matches!(n.op, Op::Unknown(_)));
    let opaque = |t: &Tensor| matches!(t.data(), Data::Opaque { .. });
    let set = case.join("test_data_set_0");
    let (Some(inputs), Some(expected)) = (tensors(&set, "input"), tensors(&set, "output")) else {
        return if carried {
            Outcome::Unsupported
        } else {
            Outcome::Failed("its data cannot be read".into())
        };
    };
    let again = onnx::write(&graph).and_then(|bytes| onnx::read(&bytes, None, "again"));
    let again = match again {
        Ok(again) => again,
        Err(error) => return Outcome::Failed(format!("exported and read again: {error}")),
    };
    if carried || inputs.iter().chain(&expected).any(opaque) {
        return Outcome::Unsupported;
    }
    let saturates = !WRAPPED.contains(&name(case).as_str());
    let absolute = if ROUNDED.contains(&name(case).as_str()) {
        1e-6
    } else {
        1e-7
    };
    for (graph, form) in [(&graph, "as it is"), (&again, "exported")] {
        match evaluate(graph, &inputs) {
            Ok(found) => {
                if let Some(why) = difference(&found, &expected, saturates, absolute) {
                    return Outcome::Failed(format!("{form}: {why}"));
                }
            }
            Err(ModelError::Unsupported { .. }) => return Outcome::Unsupported,
            Err(error) => return Outcome::Failed(format!("{form}: {error}")),
        }
    }
    Outcome::Passed
}

/// `input_0.pb`, `input_1.pb`, …; `None` where one is no tensor.
fn tensors(set: &Path, stem: &str) -> Option<Vec<Tensor>> {
    (0..)
        .map(|i| set.join(format!("{stem}_{i}.pb")))
        .take_while(|path| path.is_file())
        .map(|path| onnx::read_tensor(&std::fs::read(&path).ok()?, &name(&path)).ok())
        .collect()
}

fn evaluate(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
    let named: Vec<(&str, Tensor)> = graph
        .inputs
        .iter()
        .map(|v| v.name.as_str())
        .zip(inputs.iter().cloned())
        .collect();
    eval(graph, &named)
}

/// What differs by more than ONNX's own tolerance: 1e-3 relative, 1e-7 absolute
/// (`absolute`).
/// Where `saturates` is false, elements at int8's limits are not compared.
fn difference(
    found: &[Tensor],
    expected: &[Tensor],
    saturates: bool,
    absolute: f64,
) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("{} outputs for {}", found.len(), expected.len()));
    }
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        if found.shape() != expected.shape() || found.dtype() != expected.dtype() {
            return Some(format!(
                "output {index}: {}{} for {}{}",
                found.dtype(),
                found.shape(),
                expected.dtype(),
                expected.shape()
            ));
        }
        let pairs = numbers(found).into_iter().zip(numbers(expected));
        for (at, (f, e)) in pairs.enumerate() {
            let clipped = !saturates && (f == -128.0 || f == 127.0);
            let same = f == e || clipped || (f.is_nan() && e.is_nan());
            if !same && ((f - e).abs() > absolute + 1e-3 * e.abs() || !f.is_finite()) {
                return Some(format!("output {index}, element {at}: {f} for {e}"));
            }
        }
    }
    None
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    match tensor.data() {
        Data::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Data::F64(v) => v.clone(),
        Data::F16(v) => v.iter().map(|x| x.to_f64()).collect(),
        Data::BF16(v) => v.iter().map(|x| x.to_f64()).collect(),
        Data::I8(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Data::U8(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Data::I16(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Data::U16(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Data::I32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Data::U32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Data::I64(v) => v.iter().map(|&x| x as f64).collect(),
        Data::U64(v) => v.iter().map(|&x| x as f64).collect(),
        Data::Bool(v) => v.iter().map(|&x| f64::from(u8::from(x))).collect(),
        Data::Opaque { .. } => Vec::new(),
    }
}
