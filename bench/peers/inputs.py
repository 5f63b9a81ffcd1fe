"""The inputs of the comparison: seeded, the same file for every engine."""

import pathlib

import numpy as np

# Apart from those that calibrate.
SEED = 100


def sample(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A normalised random input."""
    return np.random.default_rng(1000 + seed).standard_normal(shape, dtype=np.float32)


def written(folder: pathlib.Path, name: str, shape: tuple[int, ...]) -> pathlib.Path:
    """The file with a network's input as raw f32."""
    path = folder / f"{name}-{'x'.join(map(str, shape))}-input.f32"
    path.parent.mkdir(parents=True, exist_ok=True)
    sample(shape, SEED).tofile(path)
    return path
