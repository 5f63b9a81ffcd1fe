//! Graphs executed with gradients: losses, optimisers, masks, fake quantization.
