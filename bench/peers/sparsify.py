"""Seeded random masks over the weights of convolutions and linear layers."""

import math
import re
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from networks import Network


@dataclass(frozen=True)
class Pattern:
    """Which weights stay: a share of all, or so many in each window of inputs."""

    name: str
    density: float
    window: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """`dense`, per cent of zeros as `90`, or `8of64`."""
        if text == "dense":
            return cls(text, 1.0)
        if match := re.fullmatch(r"(\d+)of(\d+)", text):
            kept, window = map(int, match.groups())
            if 0 < kept <= window:
                return cls(text, kept / window, window)
        elif re.fullmatch(r"\d+(\.\d+)?", text) and float(text) < 100:
            return cls(text, 1 - float(text) / 100)
        raise ValueError(f"{text!r} is no pattern: dense, a per cent of zeros below 100, or NofM")

    def mask(self, outputs: int, taps: int, inputs: int, random: np.random.Generator) -> np.ndarray:
        """True where a weight stays, as [outputs, taps, inputs]."""
        ranks = random.random((outputs, taps, inputs), dtype=np.float32)
        if self.window is None:
            return ranks < self.density
        mask = np.zeros(ranks.shape, bool)
        for first in range(0, inputs, self.window):
            part = ranks[..., first : first + self.window]
            kept = math.ceil(part.shape[-1] * self.density)
            chosen = np.argpartition(part, kept - 1, axis=-1)[..., :kept]
            np.put_along_axis(mask[..., first : first + self.window], chosen, True, axis=-1)
        return mask


def sparsify(model: onnx.ModelProto, network: Network, pattern: Pattern, seed: int = 2) -> None:
    """Masks the model's layers in place, the dense ends and depthwise ones apart.

    What stays grows so that each layer gives values as large as before.
    """
    if pattern.density == 1:
        return
    random = np.random.default_rng(seed)
    initializers = {t.name: t for t in model.graph.initializer}
    layers = [n for n in model.graph.node if is_layer(n, initializers)]
    for node in layers[network.dense_first : len(layers) - network.dense_last]:
        if is_grouped(node):
            continue
        tensor = initializers[node.input[1]]
        weight = numpy_helper.to_array(tensor)
        rows = output_major(node, weight)
        masked = rows * pattern.mask(*rows.shape, random) / np.float32(math.sqrt(pattern.density))
        tensor.CopyFrom(numpy_helper.from_array(stored(node, masked, weight.shape), tensor.name))


def is_layer(node: onnx.NodeProto, initializers: dict[str, onnx.TensorProto]) -> bool:
    return node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in initializers


def is_grouped(node: onnx.NodeProto) -> bool:
    return any(a.name == "group" and a.i > 1 for a in node.attribute)


def output_major(node: onnx.NodeProto, weight: np.ndarray) -> np.ndarray:
    """A weight as [outputs, taps, inputs]."""
    if node.op_type == "Conv":
        return weight.reshape(*weight.shape[:2], -1).transpose(0, 2, 1)
    rows = weight.T if node.op_type == "MatMul" else weight
    return rows[:, None, :]


def stored(node: onnx.NodeProto, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The way back from `output_major`."""
    if node.op_type == "Conv":
        rows = rows.transpose(0, 2, 1)
    elif node.op_type == "MatMul":
        rows = rows[:, 0, :].T
    return np.ascontiguousarray(rows.reshape(shape), np.float32)
