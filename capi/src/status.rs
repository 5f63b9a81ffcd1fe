//! How a call ended.

/// How a call ended; `secateur_last_error` says it in words.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Ok = 0,
    /// A null pointer, an index out of range, an option without meaning.
    Argument = 1,
    /// The system refused to read the file.
    File = 2,
    /// The bytes are no network, or contradict themselves.
    Malformed = 3,
    /// A network that this build does not run.
    Unsupported = 4,
    /// An input is missing or not the network's, or is of another type, extents or size.
    Input = 5,
    /// A buffer is not of its output's size, or there are not as many as outputs.
    Output = 6,
    /// The system does not give the memory or the threads.
    Resources = 7,
    /// A defect of Secateur.
    Internal = 8,
}
