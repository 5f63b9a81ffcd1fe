#![allow(clippy::unwrap_used)] // helpers of tests
//! Inputs and outputs in the form of ONNX's tests: `input_0.pb`, `output_0.pb`, and so on.

use secateur_io::onnx;
use secateur_model::{Data, Tensor};
use std::path::{Path, PathBuf};

/// The largest difference of real numbers by their range; integers must agree.
pub fn distance(found: &Tensor, expected: &Tensor) -> Result<f64, String> {
    if found.shape() != expected.shape() || found.dtype() != expected.dtype() {
        return Err(format!(
            "{}{} for {}{}",
            found.dtype(),
            found.shape(),
            expected.dtype(),
            expected.shape()
        ));
    }
    let (Some(found), Some(expected)) = (reals(found), reals(expected)) else {
        return (found == expected)
            .then_some(0.0)
            .ok_or_else(|| "other integers".into());
    };
    let finite = expected.iter().filter(|v| v.is_finite());
    let range = finite.fold(1e-6f64, |m, v| m.max(v.abs()));
    let same = |f: f64, e: f64| f == e || f.is_nan() && e.is_nan();
    let pairs = found.iter().zip(&expected);
    let pairs = pairs.filter(|(f, e)| !same(**f, **e));
    let far = pairs.fold(0.0f64, |far, (f, e)| {
        let apart = (f - e).abs() / range;
        if apart.is_nan() {
            f64::INFINITY
        } else {
            far.max(apart)
        }
    });
    Ok(far)
}

/// The elements of a tensor of real numbers.
fn reals(tensor: &Tensor) -> Option<Vec<f64>> {
    Some(match tensor.data() {
        Data::F32(v) => v.iter().map(|&v| v.into()).collect(),
        Data::F64(v) => v.clone(),
        Data::F16(v) => v.iter().map(|&v| v.into()).collect(),
        Data::BF16(v) => v.iter().map(|&v| v.into()).collect(),
        _ => return None,
    })
}

/// The tensors of a stem, in order; `None` where one is no tensor.
pub fn tensors(set: &Path, stem: &str) -> Option<Vec<Tensor>> {
    (0..)
        .map(|i| set.join(format!("{stem}_{i}.pb")))
        .take_while(|path| path.is_file())
        .map(|path| onnx::read_tensor(&std::fs::read(&path).unwrap(), &name(&path)).ok())
        .collect()
}

pub fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

pub fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
