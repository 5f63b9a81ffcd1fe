//! Pruning, sharing, quantization, and the recipes that order them.
