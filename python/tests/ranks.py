"""One of several processes that train together, for `test_torch.py`; run by torchrun.

Usage: ranks.py RECIPE FOLDER
"""

import copy
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from conftest import corners
from secateur.torch import Compression, GradientCompression


def network() -> Any:
    torch.manual_seed(dist.get_rank())
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(64, 512),
        torch.nn.ReLU(),
        torch.nn.Linear(512, 256),
        torch.nn.ReLU(),
        torch.nn.Linear(256, 4),
    )


def train(
    model: Any, steps: int, momentum: float, compression: Any = None, first: int = 0
) -> None:
    images, labels = map(torch.from_numpy, corners(2000, 10 + dist.get_rank()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum)
    for step in range(first, first + steps):
        batch = torch.arange(32) + 32 * (step % 60)
        loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if compression is not None:
            compression.step()


def error_percent(model: Any) -> float:
    images, labels = map(torch.from_numpy, corners(400, 2))
    with torch.no_grad():
        return 100.0 * float((model.eval()(images).argmax(1) != labels).float().mean())


def by_few_gradients(interrupted: bool) -> str:
    """What 120 steps give; interrupted, the last 60 by another hook, from a checkpoint."""
    parts, held = (60, 60) if interrupted else (120,), None
    model, first = network(), 0
    for steps in parts:
        ddp = DistributedDataParallel(model)
        gradients = GradientCompression(steps_per_epoch=20)
        if held is not None:
            gradients.load_state_dict(held, model)
        ddp.register_comm_hook(gradients, GradientCompression.hook)
        train(ddp, steps, 0.0, first=first)
        held, first = copy.deepcopy(gradients.state_dict(model)), first + steps
        after = network()
        after.load_state_dict(model.state_dict())
        model = after
    return digest(model.parameters())


def digest(tensors: Any) -> str:
    state = hashlib.sha256()
    for tensor in tensors:
        state.update(tensor.detach().cpu().numpy().tobytes())
    return state.hexdigest()


def main() -> None:
    recipe, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")

    inner = network()
    compression = Compression(inner, recipe, steps=240)
    train(DistributedDataParallel(inner), 240, 0.9, compression)
    result = {
        "masks": digest(compression.masks.values()),
        "weights": digest(inner.parameters()),
        "density": compression.density,
        "error_percent": error_percent(inner),
    }

    model = DistributedDataParallel(network())
    gradients = GradientCompression(steps_per_epoch=40)
    model.register_comm_hook(gradients, GradientCompression.hook)
    train(model, 240, 0.0)
    result["error_percent_by_few_gradients"] = error_percent(model.module)
    sent, dense = gradients.bytes_sent, gradients.bytes_dense
    train(model, 60, 0.0)
    result["bytes_sent_after_warm_up"] = gradients.bytes_sent - sent
    result["bytes_dense"] = gradients.bytes_dense - dense
    result["by_few_gradients"] = digest(model.parameters())

    result["whole"], result["interrupted"] = by_few_gradients(False), by_few_gradients(True)

    (folder / f"rank{dist.get_rank()}.json").write_text(json.dumps(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
