"""The command's work as functions."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import numpy as np
import pytest

import secateur

from conftest import Arrays, corners

RECIPE = """
name = "short"

[[step]]
kind = "prune"
allocation = { global = 0.2 }
retrain = { epochs = 2, learning_rate = 0.01 }

[[step]]
kind = "encode"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "short.toml"
    path.write_text(RECIPE)
    return path


class Bar:
    """What is used of tqdm."""

    made: List["Bar"] = []

    def __init__(self, total: int, desc: str) -> None:
        self.total, self.desc, self.done, self.closed = total, desc, 0, False
        Bar.made.append(self)

    def update(self, n: int) -> None:
        self.done += n

    def close(self) -> None:
        self.closed = True


def test_arrays_are_compressed(dense: Path, data: Arrays, recipe: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.sct"
    lines: List[str] = []
    Bar.made = []
    result = secateur.compress(
        dense,
        data,
        test=corners(200, 2),
        output=small,
        recipe=recipe,
        progress=Bar,
        log=lines.append,
    )
    assert result.output == str(small) and small.exists()
    assert result.ratio > 3 and result.after.bytes == small.stat().st_size
    assert result["after"]["top1_error_percent"] < 20
    assert any("prune" in line for line in lines)
    assert Bar.made and all(bar.closed and bar.done <= bar.total for bar in Bar.made)
    assert "ratio" in repr(result) and "<table>" in result._repr_html_()
    with pytest.raises(AttributeError, match="there are .*ratio"):
        result.ration
    # Nothing but the result and the run's folder is left.
    assert not list(tmp_path.glob("*.data.*"))

    score = secateur.evaluate(small, corners(200, 2))
    assert score.top1_error_percent == pytest.approx(result.after.top1_error_percent)
    assert secateur.inspect(small).nonzeros < secateur.inspect(dense).nonzeros
    exported = secateur.export(small, tmp_path / "small.onnx")
    images = data[0][:5]
    answers = [
        secateur.Session(path).run(None, {"input": images})[0] for path in (small, exported)
    ]
    np.testing.assert_allclose(*answers, rtol=1e-5, atol=1e-5)


def test_batches_are_data(dense: Path, data: Arrays, recipe: Path, tmp_path: Path) -> None:
    def batches() -> Iterator[Tuple[Any, Any]]:
        for start in range(0, len(data[0]), 100):
            yield data[0][start : start + 100], data[1][start : start + 100]

    by_batches = secateur.compress(dense, batches(), recipe=recipe, output=tmp_path / "a.sct")
    by_arrays = secateur.compress(dense, data, recipe=recipe, output=tmp_path / "b.sct")
    assert by_batches.after.bytes == by_arrays.after.bytes
    assert (tmp_path / "a.sct").read_bytes() == (tmp_path / "b.sct").read_bytes()
    assert secateur.evaluate(dense, batches()).top1_error_percent < 20


def test_samples_need_no_labels(dense: Path, data: Arrays, tmp_path: Path) -> None:
    small = tmp_path / "small.sct"
    secateur.compress(dense, data[0], recipe="one-shot", output=small)
    score = secateur.evaluate(small, data)
    assert score.top1_error_percent < 20
    machine = secateur.simulate(small, machine="secateur-1tops", compare=["systolic-32x32"])
    assert len(machine) > 0
    seen = secateur.simulate(small, input=data[0][:1].astype(np.float32) / 255.0)
    assert seen["results"][0]["microseconds"] > 0
    with pytest.raises(RuntimeError, match="nameless"):
        secateur.simulate(small, input={"nameless": data[0][:1], "x": data[0][:1]})


def test_what_a_callback_raises_stops_the_work(
    dense: Path, data: Arrays, recipe: Path, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stop(line: str) -> None:
        raise Stop

    small = tmp_path / "small.sct"
    with pytest.raises(Stop):
        secateur.compress(dense, data, recipe=recipe, output=small, log=stop)
    assert not small.exists() and not list(tmp_path.glob("*.data.*"))

    def broken() -> Iterator[Any]:
        yield data[0][:10], data[1][:10]
        raise RuntimeError("a worker was killed")

    with pytest.raises(RuntimeError, match="a worker was killed"):
        secateur.compress(dense, broken(), recipe=recipe, output=small)


def test_what_does_not_fit_is_told(dense: Path, data: Arrays, tmp_path: Path) -> None:
    out = tmp_path / "small.sct"
    with pytest.raises(ValueError, match="600 images and 3 labels"):
        secateur.compress(dense, (data[0], data[1][:3]), output=out)
    with pytest.raises(ValueError, match="no batch"):
        secateur.compress(dense, iter([]), output=out)
    with pytest.raises(ValueError, match="--max-drop"):
        secateur.compress(dense, data, recipe="int8", max_drop=1.0, output=out)
    with pytest.raises(FileNotFoundError, match="nowhere.onnx"):
        secateur.compress("nowhere.onnx", data, output=out)
    with pytest.raises(ValueError, match="in one dimension|shape|input"):
        secateur.evaluate(dense, (np.zeros((4, 2, 2, 2, 2), np.float32), np.zeros(4, np.int64)))


def test_the_command_is_there() -> None:
    def said(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "secateur", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert said("--version").stdout.split() == ["secateur", secateur.__version__]
    assert "Examples" in said("compress", "--help").stdout
    wrong = said("inspect", "nowhere.sct")
    assert wrong.returncode == 1 and "nowhere.sct" in wrong.stderr
    assert said("comprss").returncode == 2


def test_the_types_hold() -> None:
    pytest.importorskip("mypy")
    folder = Path(__file__).parent
    command = [sys.executable, "-m", "mypy", "--strict", "-m", "secateur", "-m", "secateur.__main__"]
    if importlib.util.find_spec("torch"):
        command += ["-p", "secateur.torch"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert checked.returncode == 0, checked.stdout
