use std::path::PathBuf;

/// What can go wrong with a data set. Every message names the place (a file, or
/// what the bytes were called), what was needed and what was there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The bytes end before the format says they should.
    #[error("{place}: truncated at byte {at}: needed {needed} bytes of {what}, only {there} there")]
    Truncated {
        /// File or member name.
        place: String,
        /// Offset at which `what` begins.
        at: usize,
        /// The part of the file that is cut.
        what: &'static str,
        /// Bytes needed from `at`.
        needed: usize,
        /// Bytes there are from `at`.
        there: usize,
    },
    /// The bytes are all there but say something that cannot be right.
    #[error("{place}: {what}: needed {needed}, found {there}")]
    Malformed {
        /// File, member or array name, with a position where there is one.
        place: String,
        /// The part that is wrong.
        what: &'static str,
        /// What it should have been.
        needed: String,
        /// What it was.
        there: String,
    },
    /// A well-formed file in a variant that is not read.
    #[error("{place}: unsupported {what} {there}; supported: {supported}")]
    Unsupported {
        /// File or member name.
        place: String,
        /// The kind of variant, such as a data type.
        what: &'static str,
        /// The variant found.
        there: String,
        /// The variants that are read.
        supported: &'static str,
    },
    /// A set, or one part of it, with no image in it.
    #[error("{place}: the data set is empty: needed at least one image")]
    Empty {
        /// Set or file name.
        place: String,
    },
    /// A label that is not the number of a class.
    #[error("{place}: label {label} of image {index} is out of range: needed 0..{classes}")]
    Label {
        /// Set or file name.
        place: String,
        /// Position of the image in the set.
        index: usize,
        /// The label found.
        label: i64,
        /// Number of classes.
        classes: usize,
    },
    /// A NaN or an infinity among float pixels.
    #[error("{place}: value {index} is {value}: needed finite numbers")]
    NotFinite {
        /// Set or file name.
        place: String,
        /// Position of the value in the array.
        index: usize,
        /// The value found.
        value: f32,
    },
    /// A picture that cannot be decoded.
    #[error("{place}: cannot decode the image: {source}")]
    Image {
        /// File name.
        place: String,
        /// The decoder's reason.
        source: image::ImageError,
    },
    /// A zip archive that cannot be read.
    #[error("{place}: cannot read the zip archive: {reason}")]
    Zip {
        /// File name.
        place: String,
        /// The reader's reason.
        reason: String,
    },
    /// A file or folder that cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Neither a set's name nor an existing path.
    #[error("no data set or path {name:?}: needed one of {known}, or a file or folder that exists")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that are known.
        known: &'static str,
    },
    /// A known set that is not in the cache yet.
    #[error("{set} is not in {cache}: run `secateur data fetch {set}` first", cache = cache.display())]
    NotFetched {
        /// The set's name.
        set: String,
        /// The cache folder looked in.
        cache: PathBuf,
    },
    /// A file whose SHA-256 is not the pinned one.
    #[error("{path}: SHA-256 needed {needed}, found {there}", path = path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// The pinned digest, in hexadecimal.
        needed: &'static str,
        /// The file's digest, in hexadecimal.
        there: String,
    },
    /// Every client that could have fetched a set failed.
    #[error("could not fetch {set}; tried:{tried}")]
    Fetch {
        /// The set's name.
        set: String,
        /// One line for each client and why it failed.
        tried: String,
    },
    /// A folder in which no known layout is found.
    #[error("{path}: no data set found: needed {needed}", path = path.display())]
    Layout {
        /// The file or folder.
        path: PathBuf,
        /// The layouts looked for.
        needed: &'static str,
    },
}

impl DataError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn malformed(
        place: impl Into<String>,
        what: &'static str,
        needed: impl ToString,
        there: impl ToString,
    ) -> Self {
        Self::Malformed {
            place: place.into(),
            what,
            needed: needed.to_string(),
            there: there.to_string(),
        }
    }
}
