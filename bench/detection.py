#!/usr/bin/env python3
"""Times a detector on the engine and, dense, on ONNX Runtime: batch 1, one thread, by turns.

    python3 bench/detection.py secateur dense.onnx small.sct [--rounds 5]

Needs onnxruntime and numpy. Prints the medians of the rounds' medians.
"""

import argparse
import json
import statistics
import subprocess
import time

import numpy
import onnxruntime


def secateur(command, network, repeats):
    words = [command, "bench", network, "--threads", "1", "--batch", "1"]
    words += ["--repeats", str(repeats), "--json", "-"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["median_ms"]


def onnx_runtime(session, repeats):
    given = session.get_inputs()[0]
    shape = [1] + given.shape[1:]
    picture = numpy.random.default_rng(1).random(shape, dtype=numpy.float32)
    times = []
    for _ in range(repeats + 5):
        start = time.perf_counter()
        session.run(None, {given.name: picture})
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[5:])


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("command")
    arguments.add_argument("dense")
    arguments.add_argument("small")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--repeats", type=int, default=100)
    asked = arguments.parse_args()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(asked.dense, options, providers=["CPUExecutionProvider"])
    rows = {"ONNX Runtime, dense f32": [], "secateur, dense f32": [], "secateur, .sct": []}
    for _ in range(asked.rounds):
        rows["ONNX Runtime, dense f32"].append(onnx_runtime(session, asked.repeats))
        rows["secateur, dense f32"].append(secateur(asked.command, asked.dense, asked.repeats))
        rows["secateur, .sct"].append(secateur(asked.command, asked.small, asked.repeats))
    print(f"onnxruntime {onnxruntime.__version__}, {asked.rounds} rounds of {asked.repeats}")
    for name, times in rows.items():
        each = " ".join(f"{t:.2f}" for t in times)
        print(f"{name:<26} {statistics.median(times):7.3f} ms   ({each})")


if __name__ == "__main__":
    main()
