#!/usr/bin/env python3
"""Deep Gradient Compression beside all gradients: LeNet-300-100 on MNIST, two processes over gloo.

    pip install "./python[torch]"
    secateur data fetch mnist
    python3 bench/python/gradients.py --seeds 3

Prints bytes that a rank sends in a step, and the test error, mean and standard deviation over seeds.
With `--validate` the error is that of 5000 training images held out: for choosing settings.
"""

import argparse
import os
import statistics
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from secateur.torch import GradientCompression

RANKS = 2
HELD_OUT = 5000

# The course of the learning rate over so many steps: what is held back while it is high is added when it is lower.
SCHEDULES = {
    "cosine": torch.optim.lr_scheduler.CosineAnnealingLR,
    "step": lambda optimizer, steps: torch.optim.lr_scheduler.MultiStepLR(
        optimizer, [steps // 2, 3 * steps // 4]
    ),
}


def mnist(folder, part):
    """Images in [0, 1] and labels of an IDX pair."""
    images = np.fromfile(folder / f"{part}-images-idx3-ubyte", np.uint8, offset=16)
    labels = np.fromfile(folder / f"{part}-labels-idx1-ubyte", np.uint8, offset=8)
    images = torch.from_numpy(images.reshape(-1, 784).astype(np.float32) / 255.0)
    return images, torch.from_numpy(labels.astype(np.int64))


def pictures(folder, validate):
    """What is learned, and what scores."""
    images, labels = mnist(folder, "train")
    if not validate:
        return (images, labels), mnist(folder, "t10k")
    return (images[:-HELD_OUT], labels[:-HELD_OUT]), (images[-HELD_OUT:], labels[-HELD_OUT:])


def train(rank, args, seed, compressed, results):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(29500 + seed + 100 * compressed))
    dist.init_process_group("gloo", rank=rank, world_size=RANKS)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )
    ddp = DistributedDataParallel(model)
    (images, labels), (unseen, answers) = pictures(args.data, args.validate)
    each = len(images) // RANKS
    steps = each // args.batch
    gradients = GradientCompression(steps_per_epoch=steps)
    if compressed:
        ddp.register_comm_hook(gradients, GradientCompression.hook)
    # With the hook, momentum is the hook's.
    momentum = 0.0 if compressed else 0.9
    optimizer = torch.optim.SGD(ddp.parameters(), lr=args.learning_rate, momentum=momentum)
    schedule = SCHEDULES[args.schedule](optimizer, args.epochs * steps)
    shuffle = torch.Generator().manual_seed(seed)
    before_last = (0, 0)
    for _ in range(args.epochs):
        before_last = (gradients.bytes_sent, gradients.bytes_dense)
        order = torch.randperm(len(images), generator=shuffle)[rank * each : (rank + 1) * each]
        for step in range(steps):
            batch = order[step * args.batch : (step + 1) * args.batch]
            loss = nn.functional.cross_entropy(ddp(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    if rank == 0:
        with torch.no_grad():
            error = 100.0 * (model(unseen).argmax(1) != answers).float().mean().item()
        parameters = sum(p.numel() for p in model.parameters())
        sent = (gradients.bytes_sent - before_last[0]) / steps if compressed else 4.0 * parameters
        results.put((error, sent, gradients.bytes_sent / (args.epochs * steps)))
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path.home() / ".cache/secateur/mnist")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=64, help="images of a rank in a step")
    parser.add_argument("--learning-rate", type=float, default=0.05, help="at first")
    parser.add_argument("--schedule", choices=SCHEDULES, default="cosine")
    parser.add_argument("--validate", action="store_true", help="score 5000 training images that are held out")
    args = parser.parse_args()
    context = mp.get_context("spawn")
    for compressed in (False, True):
        rows = []
        for seed in range(1, args.seeds + 1):
            results = context.SimpleQueue()
            mp.spawn(
                train,
                (args, seed, compressed, results),
                nprocs=RANKS,
            )
            rows.append(results.get())
            print("one in a thousand" if compressed else "all gradients", seed, rows[-1], flush=True)
        errors, sent, _ = zip(*rows)
        deviation = statistics.stdev(errors) if len(errors) > 1 else 0.0
        print(
            f"{'one in a thousand' if compressed else 'all gradients'}: error "
            f"{statistics.mean(errors):.2f} +- {deviation:.2f} %, "
            f"{statistics.mean(sent):.0f} bytes a step in the last epoch"
        )


if __name__ == "__main__":
    main()
