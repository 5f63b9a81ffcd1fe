#!/usr/bin/env python3
"""Training throughput beside PyTorch's, eager mode, on this machine's CPU.

    python3 bench/throughput/compare.py [NETWORK ...] [--rounds N] [--threads N] [--cpu-time]

Installs PyTorch into bench/throughput/.venv on the first run (a few minutes and
some gigabytes where the package index serves only its GPU build) and builds
the Rust example. The two take turns, round by round, so that what else the
machine does slows both; the figures are medians over the rounds, and the ratio
is the median of each round's own. A ratio above 1 is in our favour.

`--cpu-time` counts the seconds of processor that each used instead of those
that passed (ours with the process's start): with `--threads 1` that compares
the two on a machine that is busy, where threads that wait for one another say
little.

Both do the whole step: gather the batch from memory, forward, cross-entropy,
backward, SGD with Nesterov momentum and weight decay.
"""

import argparse
import os
import pathlib
import platform
import re
import resource
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VENV = HERE / ".venv"


def enter_venv():
    python = VENV / "bin" / "python"
    if pathlib.Path(sys.prefix) == VENV:
        return
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode:
        subprocess.run([python, "-m", "pip", "install", "-q", "torch", "numpy"], check=True)
    os.execv(python, [str(python), __file__, *sys.argv[1:]])


def cpu():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
        return re.search(r"model name\s*:\s*(.*)", text).group(1)
    except (OSError, AttributeError):
        return platform.processor() or platform.machine()


def build():
    command = ["cargo", "build", "--release", "--workspace", "--example", "throughput"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "examples" / "throughput"


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ours(example, name, threads, count, cpu_time):
    """One round: images a second, as the example measures it."""
    before = children_cpu()
    env = {**os.environ, "RAYON_NUM_THREADS": str(threads), "THROUGHPUT_ROUNDS": "1"}
    text = subprocess.run(
        [example, name], env=env, check=True, capture_output=True, text=True
    ).stdout
    if cpu_time:
        return count / (children_cpu() - before)
    return float(re.search(r"(\d+) images/s", text).group(1))


class Theirs:
    def __init__(self, name, clock):
        import torch

        from networks import NETWORKS

        make, shape, self.batch, self.count = NETWORKS[name]
        torch.manual_seed(0)
        self.torch, self.clock = torch, clock
        self.images = torch.rand(self.count, *shape)
        self.labels = torch.arange(self.count) % 10
        self.model = make()
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.001, momentum=0.9, nesterov=True, weight_decay=1e-4
        )
        self.loss = torch.nn.CrossEntropyLoss()

    def round(self):
        order = self.torch.randperm(self.count)
        start = self.clock()
        for first in range(0, self.count, self.batch):
            chosen = order[first : first + self.batch]
            self.optimizer.zero_grad()
            loss = self.loss(self.model(self.images[chosen]), self.labels[chosen])
            loss.backward()
            self.optimizer.step()
            loss.item()
        return self.count / (self.clock() - start)


def main():
    enter_venv()
    import torch

    from networks import NETWORKS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="*", default=list(NETWORKS), help=", ".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    torch.set_num_threads(options.threads)
    example = build()
    print(f"{cpu()}, {options.threads} threads, PyTorch {torch.__version__}")
    second = "CPU second" if options.cpu_time else "second"
    print(f"{'network':16} {'batch':>5} {'ours':>10} {'PyTorch':>10} {'ratio':>6}   images a {second}")
    for name in options.network:
        theirs = Theirs(name, clock)
        theirs.round()
        pairs = [
            (
                ours(example, name, options.threads, theirs.count, options.cpu_time),
                theirs.round(),
            )
            for _ in range(options.rounds)
        ]
        a, b = (statistics.median(side) for side in zip(*pairs))
        ratio = statistics.median(x / y for x, y in pairs)
        print(f"{name:16} {theirs.batch:5} {a:10.0f} {b:10.0f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
