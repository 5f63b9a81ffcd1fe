"""Data as a command reads it: a path, made of arrays where arrays are given."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: A known set's name or a path; images and labels; images alone; arrays by name; or batches of
#: images with labels or alone, as a PyTorch ``DataLoader`` gives them.
Data = Union[str, "os.PathLike[str]", Array, tuple[Any, Any], Mapping[str, Any], Iterable[Any]]


@contextmanager
def on_disk(data: Data, test: Optional[Data], beside: Path) -> Iterator[str]:
    """The data as an argument of a command.

    Arrays lie in a file ``beside`` the result while the command runs. Its name hangs on nothing
    else, so that a run which is resumed finds the data where they were.
    """
    if isinstance(data, (str, os.PathLike)):
        if test is not None:
            raise ValueError("data at a path bring their test images along: `test` is for arrays")
        yield os.fspath(data)
        return
    arrays = _arrays(data)
    if test is not None:
        # An iterator gives its batches once.
        arrays = _in_two_parts(arrays, arrays if test is data else _arrays(test))
    unlabelled = set(arrays) == {"x"}
    path = beside.with_name(beside.name + (".data.npy" if unlabelled else ".data.npz"))
    try:
        if unlabelled:
            np.save(path, arrays["x"])
        else:
            np.savez(path, **arrays)  # type: ignore[arg-type]
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


def _arrays(data: Data) -> dict[str, Array]:
    if isinstance(data, Mapping):
        return {name: np.asarray(array) for name, array in data.items()}
    if isinstance(data, np.ndarray):
        return {"x": data}
    if isinstance(data, tuple) and len(data) == 2:
        return _labelled(*map(np.asarray, data))
    if isinstance(data, (str, os.PathLike)):
        raise ValueError(f"{os.fspath(data)}: a path beside arrays")
    return _joined(data)


def _labelled(images: Array, labels: Array) -> dict[str, Array]:
    if len(images) != len(labels):
        raise ValueError(f"there are {len(images)} images and {len(labels)} labels")
    return {"x": images, "y": labels}


def _joined(batches: Iterable[Any]) -> dict[str, Array]:
    """All batches of a pass, in memory."""
    images: list[Array] = []
    labels: list[Array] = []
    for batch in batches:
        labelled = isinstance(batch, (tuple, list)) and len(batch) == 2
        images.append(np.asarray(batch[0] if labelled else batch))
        if labelled:
            labels.append(np.asarray(batch[1]))
    if not images:
        raise ValueError("the data hold no batch")
    if not labels:
        return {"x": np.concatenate(images)}
    if len(labels) != len(images):
        raise ValueError(f"{len(images)} batches of images, {len(labels)} of them with labels")
    return _labelled(np.concatenate(images), np.concatenate(labels))


def _in_two_parts(train: dict[str, Array], test: dict[str, Array]) -> dict[str, Array]:
    if not set(train) == set(test) == {"x", "y"}:
        raise ValueError("`test` is for images with labels, as the data must then be")
    return {
        "x_train": train["x"],
        "y_train": train["y"],
        "x_test": test["x"],
        "y_test": test["y"],
    }
