//! One error type for reading and writing models; every message names the file
//! and the place in it.

use secateur_model::ModelError;
use std::path::PathBuf;

/// What can go wrong between bytes and a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IoError {
    /// The operating system refused to read or write a file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes contradict their format.
    #[error("{file}: {place}: {reason}")]
    Malformed {
        /// The file, as the caller named it.
        file: String,
        /// The node, tensor or section.
        place: String,
        /// What was needed and what was there.
        reason: String,
    },
    /// The file is well formed but uses what Secateur does not read.
    #[error("{file}: {place} is not supported: {reason}")]
    Unsupported {
        /// The file, as the caller named it.
        file: String,
        /// The node, tensor or section.
        place: String,
        /// What is not supported.
        reason: String,
    },
    /// The parts are readable but make no valid tensor, weight or graph.
    #[error("{file}: {place}: {source}")]
    Model {
        /// The file, as the caller named it.
        file: String,
        /// The node, tensor or section.
        place: String,
        /// What the model says.
        source: Box<ModelError>,
    },
}

impl IoError {
    /// "Malformed" at a place of a file.
    pub(crate) fn malformed(
        file: &str,
        place: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            place: place.into(),
            reason: reason.into(),
        }
    }

    /// "Not supported" at a place of a file.
    pub(crate) fn unsupported(
        file: &str,
        place: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self::Unsupported {
            file: file.to_owned(),
            place: place.into(),
            reason: reason.into(),
        }
    }

    /// A model's error at a place of a file.
    pub(crate) fn model(file: &str, place: impl Into<String>) -> impl FnOnce(ModelError) -> Self {
        let (file, place) = (file.to_owned(), place.into());
        move |source| Self::Model {
            file,
            place,
            source: Box::new(source),
        }
    }
}
