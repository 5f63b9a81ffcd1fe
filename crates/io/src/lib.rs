//! Bytes to model and back: ONNX, the .sct container and its codecs.

pub mod codec;
