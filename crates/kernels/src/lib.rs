//! Slices in, slices out: dense and sparse kernels per instruction set.
