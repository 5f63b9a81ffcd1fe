//! A network from a file of any of the forms that are read.

#[cfg(feature = "onnx")]
use crate::onnx;
use crate::{IoError, sct, squeezenet};
use secateur_model::Graph;
use std::path::Path;

/// What the bytes of a network's file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// ONNX.
    Onnx,
    /// The project's own container.
    Sct,
    /// SqueezeNet as Deep Compression's authors published it; only read.
    Net,
}

impl Form {
    /// By the file's extension; ONNX where it is none that is known.
    pub fn of(path: &Path) -> Self {
        let extension = path.extension().and_then(|e| e.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("sct") => Self::Sct,
            Some("net") => Self::Net,
            _ => Self::Onnx,
        }
    }
}

/// Reads a network by its file's extension.
///
/// # Errors
/// A file that cannot be read or holds no such network.
pub fn load(path: impl AsRef<Path>) -> Result<Graph, IoError> {
    let path = path.as_ref();
    match Form::of(path) {
        Form::Sct => sct::load(path),
        Form::Net => squeezenet::load(path),
        #[cfg(feature = "onnx")]
        Form::Onnx => onnx::load(path),
        #[cfg(not(feature = "onnx"))]
        Form::Onnx => Err(without_onnx(&path.display().to_string())),
    }
}

/// Reads a network from bytes that begin as an `.sct` file does, or else are ONNX without external
/// data. `name` is what errors call it.
///
/// # Errors
/// Bytes that hold no network.
pub fn read(bytes: &[u8], name: &str) -> Result<Graph, IoError> {
    if sct::is_sct(bytes) {
        return sct::read(bytes, name);
    }
    #[cfg(feature = "onnx")]
    return onnx::read(bytes, None, name);
    #[cfg(not(feature = "onnx"))]
    Err(without_onnx(name))
}

#[cfg(not(feature = "onnx"))]
fn without_onnx(name: &str) -> IoError {
    IoError::unsupported(name, "ONNX", "this was built to read .sct alone")
}

#[cfg(all(test, feature = "onnx"))]
mod tests {
    use super::*;
    use crate::codec::Store;
    use secateur_model::zoo;

    #[test]
    fn bytes_tell_what_they_are() {
        let graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        let forms = [
            sct::write(&graph, Store::Fast).unwrap(),
            onnx::write(&graph).unwrap(),
        ];
        for bytes in forms {
            assert_eq!(
                read(&bytes, "bytes").unwrap().parameters(),
                graph.parameters()
            );
        }
        assert!(read(b"neither", "bytes").is_err());
        assert_eq!(Form::of(Path::new("a/b.sct")), Form::Sct);
        assert_eq!(Form::of(Path::new("model")), Form::Onnx);
    }
}
