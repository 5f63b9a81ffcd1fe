"""Training loops of one's own."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import numpy as np
import pytest

import secateur

from conftest import corners

torch = pytest.importorskip("torch")

from secateur.torch import Compression, GradientCompression, export  # noqa: E402

PRUNE = """
[[step]]
kind = "prune"
allocation = { global = 0.1 }
retrain = { epochs = 1, learning_rate = 0.1 }
"""
QUANTIZE = """
[[step]]
kind = "quantize"
weight_bits = 4
activation_range = "min-max"
"""
DISTIL = PRUNE.replace(
    "learning_rate = 0.1", "learning_rate = 0.1, distill = { alpha = 0.5, temperature = 2.0 }"
)


def recipe(folder: Path, *steps: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text('name = "loop"\n' + "".join(steps))
    return path


def network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1),
        torch.nn.BatchNorm2d(16),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(144, 4),
    )


def train(
    model: Any,
    steps: int,
    compression: Optional[Compression] = None,
    optimizer: Any = None,
    begin: int = 0,
) -> Any:
    """A loop as a user writes it; the same batches for the same step."""
    images, labels = map(torch.from_numpy, corners(600, 1))
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(begin, steps):
        batch = torch.arange(64) + 64 * (step % 9)
        outputs = model(images[batch])
        loss = torch.nn.functional.cross_entropy(outputs, labels[batch])
        if compression is not None:
            loss = compression.loss(loss, images[batch], outputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if compression is not None:
            compression.step()
    return optimizer


def error(model: Any) -> float:
    images, labels = map(torch.from_numpy, corners(400, 2))
    with torch.no_grad():
        wrong = model.eval()(images).argmax(1) != labels
    return 100.0 * float(wrong.float().mean())


def answers(path: Path, images: Any) -> Any:
    return secateur.Session(path).run(None, {"input": images.numpy()})[0]


def test_a_pruned_rounded_network_becomes_a_small_file(tmp_path: Path) -> None:
    model = network()
    compression = Compression(model, recipe(tmp_path, PRUNE, QUANTIZE), steps=300)
    train(model, 300, compression)
    assert compression.density == pytest.approx(0.1, abs=0.01)
    for name, mask in compression.masks.items():
        weight = model.get_submodule(name.rsplit(".", 1)[0]).weight
        assert not weight[~mask].any(), name
    assert error(model) < 5

    images = torch.from_numpy(corners(50, 3)[0])
    small = export(model, images[:1], tmp_path / "small.sct", compression)
    with torch.no_grad():
        expected = model.eval()(images).numpy()
    found = answers(small, images)
    # Codes may fall to either side of a half.
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
    assert (found.argmax(1) == expected.argmax(1)).all()

    dense = export(network(), images[:1], tmp_path / "dense.sct")
    assert small.stat().st_size < dense.stat().st_size / 8
    shown = secateur.inspect(small)
    kept = sum(int(m.sum()) for m in compression.masks.values())
    assert shown.nonzeros <= kept + 16 + 16 + 4


def test_real_weights_are_exported_as_they_are(tmp_path: Path) -> None:
    model = network()
    train(model, 30)
    images = torch.from_numpy(corners(20, 3)[0])
    with torch.no_grad():
        expected = model.eval()(images).numpy()
    for name in ("net.sct", "net.onnx"):
        path = export(model, images[:1], tmp_path / name)
        np.testing.assert_allclose(answers(path, images), expected, rtol=1e-3, atol=1e-4)


def test_a_teacher_is_learned_from(tmp_path: Path) -> None:
    teacher = network(1)
    train(teacher, 200)
    model = network(2)
    with pytest.raises(ValueError, match="teacher"):
        Compression(model, recipe(tmp_path, DISTIL), steps=100)
    compression = Compression(model, recipe(tmp_path, DISTIL), steps=200, teacher=teacher)
    train(model, 200, compression)
    assert error(model) < 5


def test_a_checkpoint_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    path = recipe(tmp_path, PRUNE, QUANTIZE)

    def made() -> Tuple[Any, Compression, Any]:
        model = network()
        compression = Compression(model, path, steps=200)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        return model, compression, optimizer

    whole, compression, optimizer = made()
    train(whole, 200, compression, optimizer)

    model, compression, optimizer = made()
    train(model, 160, compression, optimizer)
    parts = (model, compression, optimizer)
    kept: Dict[int, Any] = {i: copy.deepcopy(p.state_dict()) for i, p in enumerate(parts)}
    model, compression, optimizer = made()
    for i, part in enumerate((model, compression, optimizer)):
        part.load_state_dict(kept[i])
    train(model, 200, compression, optimizer, begin=160)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_what_a_loop_has_no_part_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`share` here has no part"):
        Compression(network(), "deep-compression", steps=10)
    blocks = PRUNE.replace("retrain", 'pattern = "1x4"\nretrain')
    with pytest.raises(ValueError, match="prune.pattern"):
        Compression(network(), recipe(tmp_path, blocks), steps=10)
    wider = QUANTIZE.replace("weight_bits = 4", "weight_bits = 4\nfirst_last_bits = 8")
    with pytest.raises(ValueError, match="quantize.first_last_bits"):
        Compression(network(), recipe(tmp_path, wider), steps=10)
    named = PRUNE.replace("global = 0.1", 'per_layer = { "fc9.weight" = 0.1 }')
    with pytest.raises(ValueError, match="no weight fc9.weight; there are 0.weight"):
        Compression(network(), recipe(tmp_path, named), steps=10)
    with pytest.raises(FileNotFoundError, match="nowhere.toml"):
        Compression(network(), "nowhere.toml", steps=10)
    with pytest.raises(ValueError, match="density"):
        GradientCompression(density=0.0)


def test_ranks_agree_and_send_little(tmp_path: Path) -> None:
    worker = Path(__file__).with_name("ranks.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(worker), str(recipe(tmp_path, PRUNE + QUANTIZE))]
    done = subprocess.run(
        [*command, str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{r}.json").read_text()) for r in (0, 1))
    assert first["masks"] == second["masks"] and first["weights"] == second["weights"]
    assert first["density"] == pytest.approx(0.1, abs=0.01)
    assert first["error_percent"] < 5
    # The other half: gradients. One in a thousand is sent, with its place.
    assert first["bytes_dense"] >= 100 * first["bytes_sent_after_warm_up"]
    assert first["error_percent_by_few_gradients"] < 5
    # What is held back goes on from a checkpoint.
    assert first["whole"] == first["interrupted"] == second["interrupted"]


def test_places_of_half_precision_are_whole(tmp_path: Path) -> None:
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        layer = torch.nn.Linear(5000, 1).to(torch.bfloat16)
        ddp = torch.nn.parallel.DistributedDataParallel(layer)
        gradients = GradientCompression(density=1 / 5000)
        ddp.register_comm_hook(gradients, GradientCompression.hook)
        image = torch.ones(1, 5000, dtype=torch.bfloat16)
        image[0, 4001] = 8.0
        ddp(image).sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    # The largest of the weights' at its place, and the bias whole.
    assert layer.weight.grad.nonzero().tolist() == [[0, 4001]]
    assert layer.weight.grad[0, 4001] == 8.0 and layer.bias.grad == 1.0


def test_a_loader_is_data(dense: Path) -> None:
    images, labels = map(torch.from_numpy, corners(300, 4))
    dataset = torch.utils.data.TensorDataset(images, labels)
    loader = torch.utils.data.DataLoader(dataset, batch_size=64)
    assert secateur.evaluate(dense, loader).samples == 300


# PyTorch tells of a killed worker from a signal's handler, wherever the program then is.
KILLED = """
import os, signal, sys
import secateur, torch

class Killed(torch.utils.data.Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        if index == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(1, 8, 8), 0

loader = torch.utils.data.DataLoader(Killed(), batch_size=2, num_workers=1)
secateur.compress(sys.argv[1], loader, recipe="int8", output=sys.argv[2])
"""


def test_a_killed_worker_is_an_error(dense: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(dense), str(tmp_path / "small.sct")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    # An exception that ends Python, and no crash; which and how it is told is PyTorch's: the worker's
    # end may cut off what it was sending.
    assert done.returncode == 1 and done.stderr
    assert not list(tmp_path.iterdir())
