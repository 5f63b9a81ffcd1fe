"""An ONNX graph built layer by layer, with seeded random weights."""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
# What ONNX Runtime's quantizer and DeepSparse both read.
IR_VERSION = 8

# Keeps the variance of what a layer gives near that of what it takes.
GAINS = {"relu": 2.0, "relu6": 2.0, "silu": 2.8, "gelu": 2.4, None: 1.0}


class Builder:
    """Adds nodes to a graph; every method takes and gives names of values.

    The batch is left open. Images are NCHW and square.
    """

    def __init__(self, name: str, shape: tuple[int, ...], seed: int = 1):
        self.name = name
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.channels: dict[str, int] = {"input": shape[0]}
        self.inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *shape])]

    def constant(self, stem: str, array: np.ndarray) -> str:
        name = f"{stem}_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def scalar(self, value: float) -> str:
        return self.constant("scalar", np.array(value, np.float32))

    def node(self, op: str, inputs: list[str], channels: int | None = None, **attributes) -> str:
        """Adds a node of one output; its channels are the first input's unless said."""
        number = len(self.nodes)
        output = f"{op.lower()}_{number}"
        name = f"{op}_{number}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        self.channels[output] = channels or self.channels[inputs[0]]
        return output

    def weights(self, shape: tuple[int, ...], fan_in: int, gain: float) -> str:
        deviation = math.sqrt(gain / fan_in)
        values = self.random.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
        return self.constant("weight", values)

    def bias(self, count: int) -> str:
        values = self.random.standard_normal(count, dtype=np.float32) * np.float32(0.1)
        return self.constant("bias", values)

    def activation(self, x: str, kind: str | None) -> str:
        if kind is None:
            return x
        if kind == "relu":
            return self.node("Relu", [x])
        if kind == "relu6":
            return self.node("Clip", [x, self.scalar(0), self.scalar(6)])
        if kind == "silu":
            return self.node("Mul", [x, self.node("Sigmoid", [x])])
        if kind == "gelu":
            scaled = self.node("Div", [x, self.scalar(math.sqrt(2))])
            shifted = self.node("Add", [self.node("Erf", [scaled]), self.scalar(1)])
            return self.node("Mul", [self.node("Mul", [x, shifted]), self.scalar(0.5)])
        raise ValueError(kind)

    def conv(
        self,
        x: str,
        outputs: int,
        kernel: int,
        stride: int = 1,
        pads: int | list[int] | None = None,
        groups: int = 1,
        act: str | None = "relu",
        scale: float = 1.0,
    ) -> str:
        """A convolution with its BatchNorm folded, and its activation.

        `pads` is one number for all sides or [top, left, bottom, right]; none means
        half of the kernel. `scale` shrinks the weights, for the ends of residual branches.
        """
        inputs = self.channels[x] // groups
        weight = self.weights(
            (outputs, inputs, kernel, kernel),
            inputs * kernel * kernel,
            GAINS[act] * scale * scale,
        )
        if pads is None:
            pads = kernel // 2
        y = self.node(
            "Conv",
            [x, weight, self.bias(outputs)],
            outputs,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=pads if isinstance(pads, list) else [pads] * 4,
            group=groups,
        )
        return self.activation(y, act)

    def depthwise(self, x: str, kernel: int, stride: int = 1, pads=None, act="relu6") -> str:
        channels = self.channels[x]
        return self.conv(x, channels, kernel, stride, pads, groups=channels, act=act)

    def linear(self, x: str, inputs: int, outputs: int, act: str | None = None) -> str:
        """A fully connected layer on [N, inputs]."""
        weight = self.weights((outputs, inputs), inputs, GAINS[act])
        y = self.node("Gemm", [x, weight, self.bias(outputs)], outputs, transB=1)
        return self.activation(y, act)

    def matmul(self, x: str, outputs: int, act: str | None = None, scale: float = 1.0) -> str:
        """A fully connected layer on the last axis of any rank."""
        inputs = self.channels[x]
        weight = self.weights((inputs, outputs), inputs, GAINS[act] * scale * scale)
        product = self.node("MatMul", [x, weight], outputs)
        return self.activation(self.node("Add", [product, self.bias(outputs)]), act)

    def max_pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        return self.node(
            "MaxPool",
            [x],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
        )

    def global_pool(self, x: str) -> str:
        return self.flatten(self.node("GlobalAveragePool", [x]))

    def flatten(self, x: str) -> str:
        return self.node("Flatten", [x], axis=1)

    def add(self, a: str, b: str) -> str:
        return self.node("Add", [a, b])

    def concat(self, parts: list[str]) -> str:
        return self.node("Concat", parts, sum(self.channels[p] for p in parts), axis=1)

    def layer_norm(self, x: str) -> str:
        channels = self.channels[x]
        gamma = self.constant("gamma", np.ones(channels, np.float32))
        return self.node("LayerNormalization", [x, gamma, self.bias(channels)], axis=-1, epsilon=1e-12)

    def reshape(self, x: str, shape: list[int], channels: int | None = None) -> str:
        return self.node("Reshape", [x, self.constant("shape", np.array(shape))], channels)

    def model(self, outputs: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
        """The finished model; `outputs` gives each output's extents after the batch."""
        infos = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
            for name, shape in outputs.items()
        ]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, infos, self.initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model)
        return model
