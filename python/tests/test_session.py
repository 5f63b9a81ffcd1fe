"""Sessions: ONNX Runtime's calls, arrays of every kind, errors in Python's way."""

import threading
from pathlib import Path

import numpy as np
import pytest

import secateur

from conftest import Arrays


def test_it_is_called_as_onnx_runtime_is(dense: Path, data: Arrays) -> None:
    session = secateur.Session(dense)
    (entry,) = session.get_inputs()
    (exit_,) = session.get_outputs()
    assert entry.type == "tensor(float)"
    assert entry.shape is not None and entry.shape[1:] == [1, 8, 8]
    assert isinstance(entry.shape[0], str)
    images, labels = data
    (all_at_once,) = session.run(None, {entry.name: images})
    (by_name,) = session.run([exit_.name], {entry.name: images}, None)
    assert all_at_once.dtype == np.float32 and all_at_once.shape == (600, 4)
    np.testing.assert_array_equal(all_at_once, by_name)
    assert (all_at_once.argmax(1) == labels).mean() > 0.9
    assert entry.name in repr(entry)


def test_every_layout_of_memory_gives_the_same(dense: Path, data: Arrays) -> None:
    session = secateur.Session(str(dense))
    name = session.get_inputs()[0].name
    images = data[0][:10]
    read_only = images.copy()
    read_only.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + images.tobytes(), np.uint8)[1:].view(np.float32)
    forms = [
        np.asfortranarray(images),
        np.repeat(images, 2, axis=0)[::2],
        images[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1],
        read_only,
        unaligned.reshape(images.shape),
    ]
    (expected,) = session.run(None, {name: images})
    for form in forms:
        np.testing.assert_array_equal(session.run(None, {name: form})[0], expected)


def test_what_does_not_fit_is_told(dense: Path, data: Arrays) -> None:
    session = secateur.Session(dense)
    name = session.get_inputs()[0].name
    images = data[0][:2]
    with pytest.raises(TypeError, match="needed elements of type f32, found f64"):
        session.run(None, {name: images.astype(np.float64)})
    with pytest.raises(TypeError, match="not taken"):
        session.run(None, {name: np.array(["a"])})
    with pytest.raises(ValueError, match="8"):
        session.run(None, {name: images[:, :, :4]})
    with pytest.raises(ValueError, match="is missing"):
        session.run(None, {})
    with pytest.raises(ValueError, match="`other` is not an input"):
        session.run(None, {name: images, "other": images})
    with pytest.raises(ValueError, match="no output `other`"):
        session.run(["other"], {name: images})
    with pytest.raises(TypeError):
        session.run(None, [images])  # type: ignore[arg-type]


def test_a_closed_session_says_so(dense: Path, data: Arrays) -> None:
    with secateur.Session(dense, threads=1) as session:
        name = session.get_inputs()[0].name
    with pytest.raises(ValueError, match="closed"):
        session.run(None, {name: data[0]})


def test_files_that_hold_no_network(tmp_path: Path, dense: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.sct"):
        secateur.Session(tmp_path / "nowhere.sct")
    damaged = tmp_path / "damaged.sct"
    damaged.write_bytes(dense.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged.sct"):
        secateur.Session(damaged)
    with pytest.raises(ValueError):
        secateur.Session(b"neither")
    with pytest.raises(ValueError, match="threads"):
        secateur.Session(dense, threads=0)


def test_bytes_are_as_good_as_a_file(dense: Path, data: Arrays) -> None:
    session = secateur.Session(dense.read_bytes())
    name = session.get_inputs()[0].name
    expected = secateur.Session(dense).run(None, {name: data[0]})[0]
    np.testing.assert_array_equal(session.run(None, {name: data[0]})[0], expected)


def test_threads_of_python_share_a_session(dense: Path, data: Arrays) -> None:
    session = secateur.Session(dense)
    name = session.get_inputs()[0].name
    (expected,) = session.run(None, {name: data[0]})
    results = []

    def work() -> None:
        for _ in range(20):
            results.append(session.run(None, {name: data[0]})[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 80
    for result in results:
        np.testing.assert_array_equal(result, expected)
