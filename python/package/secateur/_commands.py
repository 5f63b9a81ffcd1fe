"""The command's work as functions. What each does, and its options, is the command's own help."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Callable, Optional, Union

from ._data import Array, Data, on_disk
from ._progress import Progress, bars
from ._results import Result
from ._secateur import command as _command

PathArg = Union[str, "os.PathLike[str]"]
Log = Optional[Callable[[str], object]]
PerChannel = Union[None, float, Sequence[float]]


def compress(
    network: PathArg,
    data: Data,
    *,
    output: Optional[PathArg] = None,
    test: Optional[Data] = None,
    recipe: Optional[PathArg] = None,
    minimise: Optional[str] = None,
    machine: Optional[str] = None,
    max_drop: Optional[float] = None,
    max_bytes: Optional[int] = None,
    max_ms: Optional[float] = None,
    budget: Optional[str] = None,
    validation: Optional[int] = None,
    seed: Optional[int] = None,
    store: Optional[str] = None,
    mean: PerChannel = None,
    std: PerChannel = None,
    save_recipe: Optional[PathArg] = None,
    html: Optional[PathArg] = None,
    run: Optional[PathArg] = None,
    resume: bool = False,
    progress: Progress = None,
    log: Log = None,
) -> Result:
    """Makes a trained network small: finds out how far it can go, or follows a recipe.

    :param network: an ``.onnx``, ``.sct`` or ``.net`` file.
    :param data: a known set's name or a path; ``(images, labels)``; images alone, for recipes that
        need no labels; or an iterator of batches such as a PyTorch ``DataLoader``, of which one
        pass is taken into memory. Bytes are pixels, floats are taken as they are.
    :param output: the ``.sct`` file to write; by default the network's name with ``.sct``, in the
        current folder.
    :param test: test images with labels, where the data are arrays; by default a sixth is taken.
    :param recipe: a built-in recipe or a TOML file; without one, a recipe is searched.
    :param minimise: ``"bytes"``, ``"latency"`` or ``"energy"``.
    :param max_drop: percentage points that the error on held-out images may rise by.
    :param progress: ``tqdm.tqdm`` or alike, or ``True`` for ``tqdm.auto.tqdm``.
    :param log: takes the lines that the command would print, such as ``print``.
    :returns: figures before and after, ``ratio``, ``steps``, and ``output``, the file's path.
    :raises ValueError: data or settings that do not fit.
    :raises RuntimeError: work that failed; what was kept is told.

    The other options are those of ``python -m secateur compress --help``.
    """
    target = Path(output) if output is not None else Path(Path(network).stem + ".sct")
    with on_disk(data, test, target) as place:
        options: dict[str, Any] = {
            "data": place,
            "output": target,
            "recipe": recipe,
            "minimise": minimise,
            "machine": machine,
            "max-drop": max_drop,
            "max-bytes": max_bytes,
            "max-ms": max_ms,
            "budget": budget,
            "validation": validation,
            "seed": seed,
            "store": store,
            "mean": mean,
            "std": std,
            "save-recipe": save_recipe,
            "html": html,
            "run": run,
            "resume": resume,
        }
        values = _values("compress", network, options, progress, log)
    return Result(f"compressed {Path(network).name}", {"output": str(target), **values})


def evaluate(
    network: PathArg,
    data: Data,
    *,
    task: Optional[str] = None,
    mean: PerChannel = None,
    std: PerChannel = None,
    progress: Progress = None,
    log: Log = None,
) -> Result:
    """Scores a classifier or a detector.

    On a set or a path its test images are scored; on arrays or batches, all of them.
    """
    is_path = isinstance(data, (str, os.PathLike))
    # Arrays are the test images; the others are not looked at.
    test = None if is_path else data
    with TemporaryDirectory() as folder, on_disk(data, test, Path(folder) / "test") as place:
        options = {"data": place, "task": task, "mean": mean, "std": std}
        values = _values("eval", network, options, progress, log)
    return Result(f"score of {Path(network).name}", values)


def inspect(network: PathArg, *, shape: Optional[Sequence[int]] = None) -> Result:
    """What is in a network's file: layers, weights that are left, bytes."""
    values = _values("inspect", network, {"shape": shape}, None, None)
    return Result(Path(network).name, values)


def simulate(
    network: PathArg,
    *,
    machine: Optional[PathArg] = None,
    compare: Optional[Sequence[str]] = None,
    sweep: Sequence[str] = (),
    input: Union[None, PathArg, Array, Mapping[str, Array]] = None,
    invert: bool = False,
    mean: PerChannel = None,
    std: PerChannel = None,
    shape: Optional[Sequence[int]] = None,
    html: Optional[PathArg] = None,
    layer: Optional[str] = None,
    progress: Progress = None,
    log: Log = None,
) -> Result:
    """Runs a network on the model of a machine, cycle by cycle.

    :param input: a picture's path, an array, or an array for each input by its name; of several samples the first.
    """
    options: dict[str, Any] = {
        "machine": machine,
        "compare": compare,
        "sweep": list(sweep),
        "invert": invert,
        "mean": mean,
        "std": std,
        "shape": shape,
        "html": html,
        "layer": layer,
    }
    with TemporaryDirectory() as folder:
        seen = nullcontext(None) if input is None else on_disk(input, None, Path(folder) / "input")
        with seen as options["input"]:
            values = _values("simulate", network, options, progress, log)
    return Result(f"{Path(network).name} on {machine or 'secateur-1tops'}", values)


def export(network: PathArg, output: PathArg, *, store: Optional[str] = None) -> Path:
    """Writes a network as ONNX or ``.sct``, as the output's name says; gives its path."""
    _run("export", network, {"output": output, "store": store}, None, None)
    return Path(output)


def _values(
    name: str, network: PathArg, options: dict[str, Any], progress: Progress, log: Log
) -> dict[str, Any]:
    values = json.loads(_run(name, network, options, progress, log))
    return values if isinstance(values, dict) else {"results": values}


def _run(name: str, network: PathArg, options: dict[str, Any], progress: Progress, log: Log) -> str:
    arguments = ["secateur", name, os.fspath(network)]
    for option, value in options.items():
        arguments += _written(option, value)
    shown = bars(progress)
    try:
        return _command(arguments, log, shown)
    finally:
        if shown is not None:
            shown.close()


def _written(option: str, value: Any) -> list[str]:
    """An option as it is typed; a list of strings is the option once for each."""
    if value is None or value is False:
        return []
    if value is True:
        return [f"--{option}"]
    if option == "sweep":
        return [f"--sweep={axis}" for axis in value]
    if isinstance(value, (list, tuple)):
        return [f"--{option}={','.join(map(str, value))}"]
    return [f"--{option}={value}"]
