"""The networks of the comparison: their real shapes, seeded random weights.

BatchNorm is folded, the batch is left open. Speed does not depend on the values.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from builder import Builder


@dataclass(frozen=True)
class Network:
    """How to build a network, and what its input is beside the batch."""

    build: Callable[[Builder], dict[str, tuple[int, ...]]]
    shape: tuple[int, ...]
    # Layers with weights at either end that no mask touches.
    dense_first: int = 1
    dense_last: int = 1

    def model(self, name: str) -> onnx.ModelProto:
        builder = Builder(name, self.shape)
        return builder.model(self.build(builder))


def classify(b: Builder, x: str, inputs: int, classes: int = 1000) -> dict[str, tuple[int, ...]]:
    return {b.linear(x, inputs, classes): (classes,)}


def lenet_300_100(b: Builder):
    x = b.linear(b.flatten("input"), 784, 300, "relu")
    x = b.linear(x, 300, 100, "relu")
    return classify(b, x, 100, 10)


def lenet_5(b: Builder):
    x = b.max_pool(b.conv("input", 20, 5, pads=0), 2, 2)
    x = b.max_pool(b.conv(x, 50, 5, pads=0), 2, 2)
    x = b.linear(b.flatten(x), 800, 500, "relu")
    return classify(b, x, 500, 10)


def alexnet(b: Builder):
    x = b.max_pool(b.conv("input", 64, 11, stride=4, pads=2), 3, 2)
    x = b.max_pool(b.conv(x, 192, 5), 3, 2)
    for channels in (384, 256, 256):
        x = b.conv(x, channels, 3)
    x = b.flatten(b.max_pool(x, 3, 2))
    x = b.linear(x, 9216, 4096, "relu")
    x = b.linear(x, 4096, 4096, "relu")
    return classify(b, x, 4096)


def vgg16(b: Builder):
    x = "input"
    for channels, layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(layers):
            x = b.conv(x, channels, 3)
        x = b.max_pool(x, 2, 2)
    x = b.linear(b.flatten(x), 25088, 4096, "relu")
    x = b.linear(x, 4096, 4096, "relu")
    return classify(b, x, 4096)


def bottleneck(b: Builder, x: str, width: int, stride: int) -> str:
    outputs = 4 * width
    shortcut = x
    if b.channels[x] != outputs:
        shortcut = b.conv(x, outputs, 1, stride, act=None)
    y = b.conv(x, width, 1)
    y = b.conv(y, width, 3, stride)
    y = b.conv(y, outputs, 1, act=None, scale=0.5)
    return b.activation(b.add(y, shortcut), "relu")


def resnet50(b: Builder):
    x = b.max_pool(b.conv("input", 64, 7, stride=2), 3, 2, 1)
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            x = bottleneck(b, x, width, 2 if stage > 0 and block == 0 else 1)
    return classify(b, b.global_pool(x), 2048)


def mobilenet_v1(b: Builder):
    x = b.conv("input", 32, 3, stride=2, act="relu6")
    widths = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    widths += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for channels, stride in widths:
        x = b.depthwise(x, 3, stride)
        x = b.conv(x, channels, 1, act="relu6")
    return classify(b, b.global_pool(x), 1024)


def inverted_residual(
    b: Builder, x: str, outputs: int, kernel: int, stride: int, expand: int, same: bool = False
) -> str:
    """Expand, depthwise, project; `same` pads as TensorFlow does."""
    inputs = b.channels[x]
    pads = same_pads(kernel, stride) if same else None
    y = b.conv(x, inputs * expand, 1, act="relu6") if expand > 1 else x
    y = b.depthwise(y, kernel, stride, pads)
    residual = stride == 1 and inputs == outputs
    y = b.conv(y, outputs, 1, act=None, scale=0.5 if residual else 1.0)
    return b.add(x, y) if residual else y


def same_pads(kernel: int, stride: int) -> list[int]:
    """TensorFlow's SAME for even extents: what is left over goes below and right."""
    total = kernel - stride if stride > 1 else kernel - 1
    before = total // 2
    return [before, before, total - before, total - before]


def mobilenet_v2(b: Builder):
    x = b.conv("input", 32, 3, stride=2, act="relu6")
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
    stages += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expand, channels, blocks, stride in stages:
        for block in range(blocks):
            x = inverted_residual(b, x, channels, 3, stride if block == 0 else 1, expand)
    x = b.conv(x, 1280, 1, act="relu6")
    return classify(b, b.global_pool(x), 1280)


def efficientnet_lite0(b: Builder):
    x = b.conv("input", 32, 3, stride=2, pads=same_pads(3, 2), act="relu6")
    stages = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)]
    stages += [(6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]
    for expand, channels, blocks, stride, kernel in stages:
        for block in range(blocks):
            step = stride if block == 0 else 1
            x = inverted_residual(b, x, channels, kernel, step, expand, same=True)
    x = b.conv(x, 1280, 1, act="relu6")
    return classify(b, b.global_pool(x), 1280)


def c3(b: Builder, x: str, outputs: int, blocks: int, shortcut: bool = True) -> str:
    """YOLOv5's cross-stage block: half of the channels take the detour."""
    half = outputs // 2
    y = b.conv(x, half, 1, act="silu")
    for _ in range(blocks):
        z = b.conv(b.conv(y, half, 1, act="silu"), half, 3, act="silu")
        y = b.add(y, z) if shortcut else z
    return b.conv(b.concat([y, b.conv(x, half, 1, act="silu")]), outputs, 1, act="silu")


def pyramid_pool(b: Builder, x: str) -> str:
    y = b.conv(x, b.channels[x] // 2, 1, act="silu")
    parts = [y]
    for _ in range(3):
        parts.append(b.max_pool(parts[-1], 5, 1, 2))
    return b.conv(b.concat(parts), b.channels[x], 1, act="silu")


def upsample(b: Builder, x: str) -> str:
    scales = b.constant("scales", np.array([1, 1, 2, 2], np.float32))
    return b.node(
        "Resize",
        [x, "", scales],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def yolov5n(b: Builder):
    x = b.conv("input", 16, 6, stride=2, pads=2, act="silu")
    levels = []
    for channels, blocks in ((32, 1), (64, 2), (128, 3), (256, 1)):
        x = c3(b, b.conv(x, channels, 3, 2, act="silu"), channels, blocks)
        levels.append(x)
    _, p3, p4, _ = levels
    top = b.conv(pyramid_pool(b, x), 128, 1, act="silu")
    x = c3(b, b.concat([upsample(b, top), p4]), 128, 1, shortcut=False)
    middle = b.conv(x, 64, 1, act="silu")
    small = c3(b, b.concat([upsample(b, middle), p3]), 64, 1, shortcut=False)
    x = b.conv(small, 64, 3, 2, act="silu")
    medium = c3(b, b.concat([x, middle]), 128, 1, shortcut=False)
    x = b.conv(medium, 128, 3, 2, act="silu")
    large = c3(b, b.concat([x, top]), 256, 1, shortcut=False)
    heads = zip((small, medium, large), (80, 40, 20))
    return {b.conv(x, 255, 1, act=None): (255, side, side) for x, side in heads}


SEQUENCE, HIDDEN, HEADS = 128, 768, 12


def attention(b: Builder, x: str) -> str:
    size = HIDDEN // HEADS

    def heads(perm: list[int], scale: float = 1.0) -> str:
        y = b.reshape(b.matmul(x, HIDDEN, scale=scale), [0, SEQUENCE, HEADS, size], size)
        return b.node("Transpose", [y], perm=perm)

    queries, keys = heads([0, 2, 1, 3]), heads([0, 2, 3, 1])
    values = heads([0, 2, 1, 3])
    scores = b.node("MatMul", [queries, keys], SEQUENCE)
    scores = b.node("Div", [scores, b.scalar(size**0.5)])
    mixed = b.node("MatMul", [b.node("Softmax", [scores], axis=-1), values], size)
    mixed = b.node("Transpose", [mixed], perm=[0, 2, 1, 3])
    return b.matmul(b.reshape(mixed, [0, SEQUENCE, HIDDEN], HIDDEN), HIDDEN)


def bert(b: Builder):
    """BERT-base's encoder from embeddings, with the head that marks answers."""
    b.channels["input"] = HIDDEN
    x = b.layer_norm("input")
    for _ in range(12):
        x = b.layer_norm(b.add(x, attention(b, x)))
        wide = b.matmul(x, 4 * HIDDEN, "gelu")
        x = b.layer_norm(b.add(x, b.matmul(wide, HIDDEN)))
    return {b.matmul(x, 2): (SEQUENCE, 2)}


def fully_connected(inputs: int, outputs: int) -> Network:
    """One layer of AlexNet's or VGG's classifier on its own."""
    return Network(lambda b: classify(b, "input", inputs, outputs), (inputs,), 0, 0)


IMAGE = (3, 224, 224)
NETWORKS = {
    "resnet50": Network(resnet50, IMAGE),
    "mobilenetv1": Network(mobilenet_v1, IMAGE),
    "mobilenetv2": Network(mobilenet_v2, IMAGE),
    "efficientnet-lite0": Network(efficientnet_lite0, IMAGE),
    "alexnet": Network(alexnet, IMAGE),
    "vgg16": Network(vgg16, IMAGE),
    "yolov5n": Network(yolov5n, (3, 640, 640), dense_last=3),
    # Its first layer is the embedding, which lies before the encoder.
    "bert": Network(bert, (SEQUENCE, HIDDEN), dense_first=0),
    "lenet-300-100": Network(lenet_300_100, (1, 28, 28)),
    "lenet-5": Network(lenet_5, (1, 28, 28)),
}
LAYERS = {
    "vgg16-fc6": fully_connected(25088, 4096),
    "alexnet-fc6": fully_connected(9216, 4096),
    "both-fc7": fully_connected(4096, 4096),
    "both-fc8": fully_connected(4096, 1000),
}
