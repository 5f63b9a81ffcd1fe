"""How far networks agree with the one in f32 on foolbox's 20 pictures.

    python agree.py lite0.onnx test small.onnx ...

Each network is an ONNX file (`secateur export small.sct -o small.onnx`), run by
ONNX Runtime. Cosines are of logits, image by image.
"""

import pathlib
import sys

import numpy as np
import onnxruntime
from PIL import Image


def pixels(folder):
    paths = sorted(pathlib.Path(folder).glob("imagenet_*.png"))
    images = [np.asarray(Image.open(path), np.float32) for path in paths]
    labels = np.array([int(path.stem.split("_")[-1]) for path in paths])
    return (np.stack(images).transpose(0, 3, 1, 2) - 127) / 128, labels


def logits(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": image[None]})[0] for image in x])


if __name__ == "__main__":
    dense, folder, *others = sys.argv[1:]
    x, labels = pixels(folder)
    reference = logits(dense, x)
    for path in [dense, *others]:
        y = logits(path, x)
        cosine = (y * reference).sum(1) / np.linalg.norm(y, axis=1) / np.linalg.norm(reference, axis=1)
        order = np.argsort(-y, axis=1)
        print(
            f"{path}: top-1 {(order[:, 0] == labels).sum()}/{len(x)}, "
            f"top-5 {(order[:, :5] == labels[:, None]).any(1).sum()}/{len(x)}, "
            f"same as dense {(order[:, 0] == reference.argmax(1)).sum()}/{len(x)}, "
            f"cosine mean {cosine.mean():.4f}, least {cosine.min():.4f}"
        )
