"""A small network and its data, made here."""

from pathlib import Path
from typing import Tuple

import numpy as np
import pytest
from numpy.typing import NDArray

from secateur._secateur import command

Arrays = Tuple[NDArray[np.float32], NDArray[np.int64]]


def corners(count: int, seed: int) -> Arrays:
    """Noise in which one corner of four is bright."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, count)
    images = random.normal(0.0, 0.4, (count, 1, 8, 8)).astype(np.float32)
    for image, label in zip(images, labels):
        row, column = divmod(int(label), 2)
        image[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1.0
    return images, labels


@pytest.fixture(scope="session")
def data() -> Arrays:
    return corners(600, 1)


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory, data: Arrays) -> Path:
    folder = tmp_path_factory.mktemp("dense")
    np.savez(folder / "corners.npz", x=data[0], y=data[1])
    path = folder / "dense.onnx"
    arguments = ["secateur", "train", "lenet-300-100", "--data", str(folder / "corners.npz")]
    command([*arguments, "--epochs", "3", "--output", str(path)], None, None)
    return path
