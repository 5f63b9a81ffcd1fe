"""Layers as integer products: ConvInteger or MatMulInteger, Cast, Mul, Add.

One scale a tensor, u8 inputs measured on a few samples, i8 weights without zero
point. It is the form in which DeepSparse gains from zeros in linear layers, and the
only int8 form that tract and rten have kernels for.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from inputs import sample

PRODUCTS = {"Conv": "ConvInteger", "Gemm": "MatMulInteger", "MatMul": "MatMulInteger"}


def rewrite(
    source: pathlib.Path,
    target: pathlib.Path,
    shape: tuple[int, ...],
    operators: set[str],
    samples: int,
) -> None:
    """Writes `target` with the layers of these operators whose weights are f32 constants."""
    graph = Rewriter(onnx.load(source), operators)
    graph.apply(ranges(source, graph.inputs(), shape, samples))
    onnx.checker.check_model(graph.model)
    onnx.save(graph.model, target)


def ranges(
    source: pathlib.Path, names: list[str], shape: tuple[int, ...], samples: int
) -> dict[str, tuple[float, float]]:
    """The least and greatest value that each tensor takes."""
    model = onnx.load(source)
    shown = {o.name for o in model.graph.output} | {"input"}
    for name in names:
        if name not in shown:
            model.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found = {name: (0.0, 0.0) for name in names}
    wanted = [name for name in names if name != "input"]
    for seed in range(samples):
        x = sample((1, *shape), seed)
        values = dict(zip(wanted, session.run(wanted, {"input": x}))) if wanted else {}
        for name, (low, high) in found.items():
            value = x if name == "input" else values[name]
            found[name] = (min(low, float(value.min())), max(high, float(value.max())))
    return found


class Rewriter:
    """A model whose layers become integer products."""

    def __init__(self, model: onnx.ModelProto, operators: set[str]):
        self.model = model
        self.constants = {t.name: t for t in model.graph.initializer}
        self.layers = {
            id(node): node
            for node in model.graph.node
            if node.op_type in operators and node.input[1] in self.constants
        }
        self.nodes: list[onnx.NodeProto] = []
        self.codes: dict[str, tuple[str, str, float]] = {}

    def inputs(self) -> list[str]:
        return list(dict.fromkeys(node.input[0] for node in self.layers.values()))

    def apply(self, found: dict[str, tuple[float, float]]) -> None:
        graph = self.model.graph
        for node in graph.node:
            if id(node) in self.layers:
                self.layer(node, found)
            else:
                self.nodes.append(node)
        nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in self.nodes]
        del graph.node[:]
        graph.node.extend(nodes)
        used = {name for node in nodes for name in node.input}
        kept = [t for t in self.constants.values() if t.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        del graph.value_info[:]

    def layer(self, node: onnx.NodeProto, found: dict[str, tuple[float, float]]) -> None:
        stem = node.output[0]
        codes, zero, step = self.quantized(node.input[0], *found[node.input[0]])
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        weight = numpy_helper.to_array(self.constants[node.input[1]])
        if node.op_type == "Gemm":
            weight = weight.T if attributes.get("transB") else weight
            attributes = {}
        weight_step = float(np.abs(weight).max()) / 127 or 1.0
        weight_codes = np.rint(weight / np.float32(weight_step)).astype(np.int8)
        product = [
            codes,
            self.constant(f"{stem}_weight", np.ascontiguousarray(weight_codes)),
            zero,
            self.constant("weight_zero", np.array(0, np.int8)),
        ]
        self.add(PRODUCTS[node.op_type], product, f"{stem}_sums", **attributes)
        self.add("Cast", [f"{stem}_sums"], f"{stem}_f32", to=TensorProto.FLOAT)
        scale = self.constant(f"{stem}_scale", np.array(step * weight_step, np.float32))
        bias = node.input[2] if len(node.input) > 2 else None
        self.add("Mul", [f"{stem}_f32", scale], f"{stem}_product" if bias else stem)
        if bias:
            values = numpy_helper.to_array(self.constants[bias])
            if node.op_type == "Conv":
                values = values.reshape(1, -1, 1, 1)
            addend = self.constant(f"{stem}_bias", values)
            self.add("Add", [f"{stem}_product", addend], stem)

    def quantized(self, name: str, low: float, high: float) -> tuple[str, str, float]:
        """A tensor's codes, their zero point and their step; made once a tensor."""
        if name not in self.codes:
            step = float(np.float32((high - low) / 255)) or 1.0
            zero = self.constant(f"{name}_zero", np.array(round(-low / step), np.uint8))
            scale = self.constant(f"{name}_step", np.array(step, np.float32))
            self.add("QuantizeLinear", [name, scale, zero], f"{name}_codes")
            self.codes[name] = (f"{name}_codes", zero, step)
        return self.codes[name]

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes) -> None:
        node = helper.make_node(operator, inputs, [output], name=output, **attributes)
        self.nodes.append(node)
