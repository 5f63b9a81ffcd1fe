#!/usr/bin/env python3
"""What a call from Python costs beside the command's own session, and a first answer beside ONNX Runtime.

    pip install ./python onnxruntime
    cargo build --release
    python3 bench/python/calls.py LENET.sct [MOBILENET.onnx MOBILENET.sct]

One thread; medians of rounds by turns. The networks: LeNet-300-100, compressed; and any two files of one
network of MobileNet's size.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import secateur

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ROOT / "target" / "release" / "secateur"

FIRST = """
import sys, time
import numpy as np
kind, path, shape = sys.argv[1], sys.argv[2], eval(sys.argv[3])
x = np.random.default_rng(0).random(shape, np.float32)
if kind == "secateur":
    import secateur
    begin = time.perf_counter()
    session = secateur.Session(path, threads=1)
else:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    begin = time.perf_counter()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
session.run(None, {session.get_inputs()[0].name: x})
print(1e3 * (time.perf_counter() - begin))
"""


def command_us(path, batch):
    """Median of a run by the command, in microseconds."""
    arguments = ["bench", path, "--threads", "1", "--batch", batch, "--repeats", 500, "--json", "-"]
    done = subprocess.run(
        [COMMAND, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return 1e3 * json.loads(done.stdout)["median_ms"]


def picture(shape):
    """The numbers that `secateur bench` runs on: what a layer takes may hang on how many are zero."""
    i = np.arange(np.prod(shape))
    return ((i % 256 * 37 % 256) / 255.0 * (i // 7 % 2)).astype(np.float32).reshape(shape)


def python_us(session, name, x, repeats):
    for _ in range(repeats // 10 + 1):
        session.run(None, {name: x})
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        session.run(None, {name: x})
        times.append(1e6 * (time.perf_counter() - begin))
    return statistics.median(times)


def first_ms(kind, path, shape):
    done = subprocess.run(
        [sys.executable, "-c", FIRST, kind, str(path), repr(shape)],
        check=True, capture_output=True, text=True,
    )
    return float(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("lenet", type=Path)
    parser.add_argument("onnx", type=Path, nargs="?", help="without it and the next, calls only")
    parser.add_argument("sct", type=Path, nargs="?")
    parser.add_argument("--shape", default="1,3,224,224", help="what the larger network takes")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()

    session = secateur.Session(args.lenet, threads=1)
    entry = session.get_inputs()[0]
    for batch, repeats in ((1, 2000), (1000, 500)):
        x = picture((batch, *entry.shape[1:]))
        rounds = [
            (command_us(args.lenet, batch), python_us(session, entry.name, x, repeats))
            for _ in range(args.rounds)
        ]
        command, python = (statistics.median(column) for column in zip(*rounds))
        print(f"batch {batch}: command {command:.2f} us, Python {python:.2f} us, {python - command:+.2f} us")

    if args.sct is None:
        return
    shape = tuple(map(int, args.shape.split(",")))
    rounds = [
        (first_ms("secateur", args.sct, shape), first_ms("onnxruntime", args.onnx, shape))
        for _ in range(args.rounds)
    ]
    ours, theirs = (statistics.median(column) for column in zip(*rounds))
    print(f"first answer: secateur {ours:.1f} ms, onnxruntime {theirs:.1f} ms, {theirs / ours:.2f}x")


if __name__ == "__main__":
    main()
