"""SqueezeNet on foolbox's 20 labelled ImageNet photographs, beside ONNX Runtime.

    pip install numpy pillow onnxruntime foolbox==3.3.4
    secateur export compressed_SqueezeNet.net -o squeezenet.onnx
    python beside.py pictures test                photographs as PNG, and test.npz for `secateur eval`
    python beside.py agree squeezenet.onnx test compressed_SqueezeNet.net small.sct ...
    python beside.py time squeezenet.onnx

Photographs are scaled to 256x256 and cut to the middle 227x227, as the network's makers did.
`agree` runs `secateur run` (on the PATH) for each network and photograph.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import onnxruntime
from PIL import Image

SIDE, WHOLE = 227, 256
MEAN = np.array([123, 117, 104], np.float32)


def pictures(folder):
    out = pathlib.Path(folder)
    out.mkdir(exist_ok=True)
    start = (WHOLE - SIDE) // 2
    data = pathlib.Path(importlib.util.find_spec("foolbox").origin).parent / "data"
    for path in sorted(data.glob("imagenet_*")):
        image = Image.open(path).convert("RGB").resize((WHOLE, WHOLE), Image.BILINEAR)
        image.crop((start, start, start + SIDE, start + SIDE)).save(out / f"{path.stem}.png")
    paths, labels = found(folder)
    x = np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in paths])
    y = labels.astype(np.int64)
    np.savez(f"{folder}.npz", x_train=x, y_train=y, x_test=x, y_test=y)


def found(folder):
    paths = sorted(pathlib.Path(folder).glob("imagenet_*.png"))
    return paths, np.array([int(path.stem.split("_")[-1]) for path in paths])


def session(path, threads=0):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def secateur(network, path):
    run = ["secateur", "run", network, "--input", str(path), "--json", "-"]
    return json.loads(subprocess.run(run, capture_output=True, check=True).stdout)["scores"]


def agree(dense, folder, *networks):
    paths, labels = found(folder)
    runtime = session(dense)
    pixels = [np.asarray(Image.open(path), np.float32) - MEAN for path in paths]
    reference = np.concatenate([runtime.run(None, {"input": x.transpose(2, 0, 1)[None]})[0] for x in pixels])
    answers = {f"ONNX Runtime, {dense}": reference}
    for network in networks:
        answers[network] = np.array([secateur(network, path) for path in paths])
    for name, y in answers.items():
        order = np.argsort(-y, axis=1)
        print(
            f"{name}: top-1 {(order[:, 0] == labels).sum()}/{len(y)}, "
            f"top-5 {(order[:, :5] == labels[:, None]).any(1).sum()}/{len(y)}, "
            f"same answer {(order[:, 0] == reference.argmax(1)).sum()}/{len(y)}, "
            f"largest difference of a probability {np.abs(y - reference).max():.2e}"
        )


def clock(path, repeats=100):
    runtime = session(path, threads=1)
    x = np.random.default_rng(1).normal(0, 50, (1, 3, SIDE, SIDE)).astype(np.float32)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        runtime.run(None, {"input": x})
        times.append(time.perf_counter() - start)
    print(f"{path}: {os.path.getsize(path):,} bytes, median {1e3 * np.median(times):.2f} ms, least {1e3 * min(times):.2f} ms")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"pictures": pictures, "agree": agree, "time": clock}[command](*arguments)
