"""What an engine gives, beside what ONNX Runtime gives for the same file."""

import math
import pathlib
from dataclasses import asdict, dataclass

import numpy as np
import onnx
from onnx import numpy_helper


@dataclass
class Difference:
    """How far two results lie apart.

    Codes are counted where the file's outputs are quantized: `greatest` is then in
    quantization steps, else in shares of the greatest output.
    """

    values: int
    differing: int
    greatest: float
    codes: bool

    def json(self) -> dict:
        return asdict(self)


def difference(model: pathlib.Path, found: pathlib.Path, expected: pathlib.Path) -> Difference:
    a, b = np.fromfile(found, np.float32), np.fromfile(expected, np.float32)
    if a.size != b.size:
        return Difference(max(a.size, b.size), abs(a.size - b.size), math.inf, False)
    graph = onnx.load(model).graph
    steps = output_steps(graph)
    apart = np.abs(a.astype(np.float64) - b)
    apart[~np.isfinite(apart)] = math.inf
    if steps is None:
        scale = float(np.abs(b).max()) or 1.0
        return Difference(a.size, int((apart > 0).sum()), float(apart.max()) / scale, False)
    # Each output is a run of the whole; all have the same batch.
    sizes = [math.prod(extents(o)[1:]) for o in graph.output]
    batch = a.size // sum(sizes)
    unit = np.repeat(steps, [size * batch for size in sizes])
    codes = np.rint(apart / unit)
    return Difference(a.size, int((codes > 0).sum()), float(codes.max()), True)


def output_steps(graph: onnx.GraphProto) -> list[float] | None:
    """The quantization step of each output, if they all have one."""
    producers = {name: node for node in graph.node for name in node.output}
    constants = {t.name: t for t in graph.initializer}
    steps = []
    for output in graph.output:
        node = producers[output.name]
        if node.op_type != "DequantizeLinear" or node.input[1] not in constants:
            return None
        scale = numpy_helper.to_array(constants[node.input[1]])
        if scale.size != 1:
            return None
        steps.append(float(scale.reshape(())))
    return steps


def extents(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]
