"""Networks with what ONNX Runtime computes for them.

Writes NAME/model.onnx and NAME/SET/input_N.pb, output_N.pb under a folder: networks
that wheels hold (the second folder is where they are unpacked) and small ones
built here of the operators that detectors, encoders and mobile networks use.
"""

import pathlib
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OUT, WHEELS = map(pathlib.Path, sys.argv[1:3])
FLOAT, INT64, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32


def write(folder, kind, arrays):
    for index, array in enumerate(arrays):
        tensor = numpy_helper.from_array(np.asarray(array, order="C"))
        (folder / f"{kind}_{index}.pb").write_bytes(tensor.SerializeToString())


def compare_with_runtime(name, model, sets):
    """Stores a network, and the runtime's outputs for sets of inputs."""
    folder = OUT / name
    folder.mkdir(parents=True)
    if isinstance(model, pathlib.Path):
        shutil.copy(model, folder / "model.onnx")
    else:
        onnx.save(model, folder / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]
    for index, inputs in enumerate(sets):
        data = folder / str(index)
        data.mkdir()
        write(data, "input", inputs)
        write(data, "output", session.run(None, dict(zip(names, inputs))))


class Net:
    """A graph in the making; every call gives the name of a value."""

    def __init__(self, opset, inputs, seed=1):
        self.opset = opset
        self.random = np.random.default_rng(seed)
        self.inputs = [helper.make_tensor_value_info(*value) for value in inputs]
        self.nodes, self.constants = [], []

    def const(self, value):
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *dims):
        fan_in = max(1, int(np.prod(dims[1:])))
        return self.const(self.random.normal(0, fan_in**-0.5, dims).astype(np.float32))

    def op(self, op_type, *inputs, outputs=1, **attributes):
        names = [f"{op_type.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        inputs = [i if isinstance(i, str) else self.const(i) for i in inputs]
        self.nodes.append(helper.make_node(op_type, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def subgraph(self, name, build, inputs, outputs):
        """The graph of what `build` adds; values from outside may be read."""
        outer, self.nodes = self.nodes, []
        given = build(*[value[0] for value in inputs])
        nodes, self.nodes = self.nodes, outer
        infos = [
            helper.make_tensor_value_info(value, dtype, dims)
            for value, (dtype, dims) in zip(given, outputs)
        ]
        # Names are counted over all nodes; those of a subgraph must stay taken.
        for node in nodes:
            node.output[:] = [f"{name}.{o}" for o in node.output]
            node.input[:] = [
                f"{name}.{i}" if f"{name}.{i}" in {o for n in nodes for o in n.output} else i
                for i in node.input
            ]
        for info, value in zip(infos, given):
            if any(f"{name}.{value}" in n.output for n in nodes):
                info.name = f"{name}.{value}"
        formal = [helper.make_tensor_value_info(*value) for value in inputs]
        return helper.make_graph(nodes, name, formal, infos)

    def model(self, *outputs):
        infos = [helper.make_tensor_value_info(*value) for value in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, infos, self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    def conv(self, x, into, out, kernel=3, stride=1, groups=1, act=None, **attributes):
        attributes.setdefault("pads", [kernel // 2] * 4)
        if "auto_pad" in attributes:
            del attributes["pads"]
        y = self.op(
            "Conv", x, self.weight(out, into // groups, kernel, kernel),
            self.random.normal(0, 0.1, out).astype(np.float32),
            kernel_shape=[kernel] * 2, strides=[stride] * 2, group=groups, **attributes,
        )  # fmt: skip
        if act == "silu":
            return self.op("Mul", y, self.op("Sigmoid", y))
        if act == "relu6":
            return self.op("Clip", y, np.float32(0), np.float32(6))
        return self.op(act, y) if act else y

    def norm(self, x, channels):
        scale = self.random.uniform(0.5, 1.5, channels).astype(np.float32)
        bias, mean = self.random.normal(0, 0.1, (2, channels)).astype(np.float32)
        variance = self.random.uniform(0.5, 1.5, channels).astype(np.float32)
        return self.op("BatchNormalization", x, scale, bias, mean, variance)

    def extent(self, x, axis):
        return self.op("Gather", self.op("Shape", x), np.int64(axis), axis=0)

    def dims(self, *extents):
        """A list of extents, some of them computed."""
        parts = [
            self.op("Unsqueeze", e, np.array([0])) if isinstance(e, str) else np.array([e])
            for e in extents
        ]
        return self.op("Concat", *parts, axis=0)


def images(*dims, seed=7):
    return np.random.default_rng(seed).uniform(0, 1, dims).astype(np.float32)


def page(count, channels, height, width):
    """White pages with lines of black figures; noise would leave a detector silent."""
    random = np.random.default_rng(11)
    pages = np.ones((count, 1, height, width), np.float32)
    for top in range(8, height - 16, 24):
        for left in range(8, width - 16, 10):
            for single in pages[:, 0]:
                inked = random.uniform(0, 1, (5, 3)) < 0.6
                figure = np.where(np.kron(inked, np.ones((3, 2))), -1, 1)
                single[top : top + 15, left : left + 6] = figure
    return np.repeat(pages, channels, axis=1)


def light():
    """ONNX's own networks with constant weights, and the outputs that are stored."""
    source = pathlib.Path(onnx.__file__).parent / "backend/test/data/light"
    for model in sorted(source.glob("*.onnx")):
        data = OUT / model.stem / "0"
        data.mkdir(parents=True)
        shutil.copy(model, data.parent / "model.onnx")
        shutil.copy(source / f"{model.stem}_output_0.pb", data / "output_0.pb")
        graph = onnx.load(model).graph
        constants = {c.name for c in graph.initializer}
        inputs = []
        for value in graph.input:
            if value.name in constants:
                continue
            dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
            count = np.prod(dims)
            inputs.append((np.arange(count).reshape(dims) / count).astype(np.float32))
        write(data, "input", inputs)


def wheels():
    silero = WHEELS / "silero_vad/data"
    sound = np.random.default_rng(3)

    def speech(*dims):
        return sound.normal(0, 0.2, dims).astype(np.float32)

    rates = {16000: 576, 8000: 288}
    for rate, samples in rates.items():
        sets = [
            [speech(b, samples), speech(2, b, 128), np.array(rate, np.int64)] for b in (1, 3)
        ]
        compare_with_runtime(f"silero-vad-{rate}", silero / "silero_vad.onnx", sets)
        sets = [[x, rate, state] for x, state, rate in sets]
        compare_with_runtime(f"silero-vad-ifless-{rate}", silero / "silero_vad_op18_ifless.onnx", sets)
    compare_with_runtime(
        "silero-vad-sequence", silero / "silero_vad_16k_sequence.onnx",
        [[speech(n, 576), speech(1, 1, 128), speech(1, 1, 128)] for n in (1, 4)],
    )  # fmt: skip
    for name in ["openvino_16k", "half", "16k_op15"]:
        inputs = [speech(1, 576), speech(2, 1, 128), np.array(16000, np.int64)]
        count = len(onnx.load(silero / f"silero_vad_{name}.onnx").graph.input)
        compare_with_runtime(
            f"silero-vad-{name}", silero / f"silero_vad_{name}.onnx", [inputs[:count]]
        )
    ocr = WHEELS / "rapidocr_onnxruntime/models"
    sizes = {
        "ch_PP-OCRv4_det_infer": [(1, 3, 64, 96), (2, 3, 96, 64)],
        "ch_PP-OCRv4_rec_infer": [(1, 3, 48, 64), (2, 3, 48, 96)],
        "ch_ppocr_mobile_v2.0_cls_infer": [(1, 3, 48, 192), (2, 3, 48, 192)],
    }
    for name, shapes in sizes.items():
        compare_with_runtime(name, ocr / f"{name}.onnx", [[page(*s)] for s in shapes])
    magika = next((WHEELS / "magika/models").glob("*/model.onnx"))
    text = np.random.default_rng(5).integers(0, 257, (3, 2048)).astype(np.int32)
    compare_with_runtime("magika", magika, [[text[:1]], [text]])


def mobile():
    """MobileNetV2 and EfficientNet-Lite: inverted residuals, bounds of 6, SAME padding."""
    for name, auto_pad in [("mobilenet-v2", None), ("efficientnet-lite", "SAME_UPPER")]:
        net = Net(13, [("x", FLOAT, ["batch", 3, "height", "width"])])
        padding = {"auto_pad": auto_pad} if auto_pad else {}
        x = net.conv("x", 3, 8, stride=2, act="relu6", **padding)
        channels = 8
        for out, stride, kernel in [(8, 1, 3), (12, 2, 3), (12, 1, 5), (16, 2, 5)]:
            y = net.conv(x, channels, channels * 4, kernel=1)
            y = net.op("Clip", net.norm(y, channels * 4), np.float32(0), np.float32(6))
            y = net.conv(
                y, channels * 4, channels * 4, kernel, stride, channels * 4, "relu6", **padding
            )
            y = net.norm(net.conv(y, channels * 4, out, kernel=1), out)
            x = net.op("Add", x, y) if stride == 1 and out == channels else y
            channels = out
        x = net.op("Flatten", net.op("GlobalAveragePool", x))
        y = net.op("Gemm", x, net.weight(10, channels), net.weight(10), transB=1)
        model = net.model((y, FLOAT, ["batch", 10]))
        compare_with_runtime(name, model, [[images(1, 3, 33, 32)], [images(3, 3, 48, 40)]])


def mobile_v3():
    """MobileNetV3: HardSwish, squeeze and excitation, channels by ReduceMean."""
    net = Net(14, [("x", FLOAT, ["batch", 3, 32, 32])])
    x = net.conv("x", 3, 16, stride=2, act="HardSwish")
    for _ in range(2):
        y = net.conv(x, 16, 16, 5, groups=16, act="HardSwish")
        s = net.op("ReduceMean", y, axes=[2, 3], keepdims=1)
        s = net.conv(net.conv(s, 16, 4, 1, act="Relu"), 4, 16, 1)
        y = net.op("Mul", y, net.op("HardSigmoid", s, alpha=1 / 6, beta=0.5))
        x = net.op("Add", x, net.conv(y, 16, 16, 1))
    x = net.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    y = net.op("LogSoftmax", net.op("MatMul", x, net.weight(16, 10)), axis=-1)
    compare_with_runtime(
        "mobilenet-v3", net.model((y, FLOAT, ["batch", 10])),
        [[images(1, 3, 32, 32)], [images(5, 3, 32, 32)]],
    )  # fmt: skip


def shuffle_v2():
    """ShuffleNetV2: channels split, shuffled by extents that are computed, concatenated."""
    net = Net(13, [("x", FLOAT, ["batch", 3, 32, 32])])
    x = net.op("MaxPool", net.conv("x", 3, 16, stride=2, act="Relu"),
               kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])  # fmt: skip
    for _ in range(3):
        left, right = net.op("Split", x, np.array([8, 8]), outputs=2, axis=1)
        y = net.conv(right, 8, 8, 1, act="Relu")
        y = net.norm(net.conv(y, 8, 8, groups=8), 8)
        y = net.op("Concat", left, net.conv(y, 8, 8, 1, act="Relu"), axis=1)
        n, c, h, w = [net.extent(y, axis) for axis in range(4)]
        half = net.op("Div", c, np.int64(2))
        grouped = net.op("Reshape", y, net.dims(n, 2, half, h, w))
        grouped = net.op("Transpose", grouped, perm=[0, 2, 1, 3, 4])
        x = net.op("Reshape", grouped, net.dims(n, -1, h, w))
    x = net.op("GlobalAveragePool", x)
    y = net.op("Reshape", x, net.dims(net.extent(x, 0), -1))
    compare_with_runtime(
        "shufflenet-v2", net.model((y, FLOAT, ["batch", 16])),
        [[images(1, 3, 32, 32)], [images(4, 3, 32, 32)]],
    )  # fmt: skip


def resnet():
    """ResNet-18's blocks, and an Inception block with pools whose pads count."""
    net = Net(11, [("x", FLOAT, ["batch", 3, "height", "width"])])
    x = net.op("Relu", net.norm(net.conv("x", 3, 16, 7, 2), 16))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for into, out, stride in [(16, 16, 1), (16, 24, 2)]:
        y = net.op("Relu", net.norm(net.conv(x, into, out, 3, stride), out))
        y = net.norm(net.conv(y, out, out), out)
        skip = x if stride == 1 else net.norm(net.conv(x, into, out, 1, 2), out)
        x = net.op("Relu", net.op("Add", y, skip))
    pool = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}
    branches = [
        net.conv(x, 24, 8, 1, act="Relu"),
        net.conv(net.conv(x, 24, 8, 1, act="Relu"), 8, 12, 3, act="Relu"),
        net.conv(net.op("AveragePool", x, count_include_pad=1, **pool), 24, 4, 1, act="Relu"),
        net.op("MaxPool", x, ceil_mode=1, **pool),
    ]
    x = net.op("Concat", *branches, axis=1)
    x = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    y = net.op("Softmax", net.op("Gemm", x, net.weight(10, 48), net.weight(10), transB=1), axis=1)
    compare_with_runtime(
        "resnet-inception", net.model((y, FLOAT, ["batch", 10])),
        [[images(1, 3, 64, 64)], [images(2, 3, 51, 77)]],
    )  # fmt: skip


def box_corners(net, boxes):
    """Corners of boxes that are given by centre and extents."""
    x, y, w, h = net.op("Split", boxes, np.array([1, 1, 1, 1]), outputs=4, axis=-1)
    w, h = net.op("Mul", w, np.float32(0.5)), net.op("Mul", h, np.float32(0.5))
    parts = [net.op("Sub", x, w), net.op("Sub", y, h), net.op("Add", x, w), net.op("Add", y, h)]
    return net.op("Concat", *parts, axis=-1)


def yolo():
    """YOLOv5's shape: CSP block, SPP, upsampling, three-part heads, then suppression."""
    anchors, classes = 3, 4
    net = Net(13, [("x", FLOAT, [1, 3, "height", "width"])], seed=4)
    x = net.conv("x", 3, 8, 6, 2, act="silu", pads=[2, 2, 2, 2])
    x = net.conv(x, 8, 16, 3, 2, act="silu")
    left, right = net.conv(x, 16, 8, 1, act="silu"), net.conv(x, 16, 8, 1, act="silu")
    left = net.op("Add", left, net.conv(net.conv(left, 8, 8, 1, act="silu"), 8, 8, act="silu"))
    p1 = net.conv(net.op("Concat", left, right, axis=1), 16, 16, 1, act="silu")
    y = net.conv(p1, 16, 16, 3, 2, act="silu")
    pools = [y]
    for _ in range(3):
        pools.append(
            net.op("MaxPool", pools[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2])
        )
    p2 = net.conv(net.op("Concat", *pools, axis=1), 64, 16, 1, act="silu")
    up = net.op(
        "Resize", p2, "", np.array([1, 1, 2, 2], np.float32), mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
    p1 = net.conv(net.op("Concat", up, p1, axis=1), 32, 16, act="silu")
    found = []
    for level, stride in [(p1, 4), (p2, 8)]:
        head = net.conv(level, 16, anchors * (5 + classes), 1)
        n, _, h, w = [net.extent(head, axis) for axis in range(4)]
        head = net.op("Reshape", head, net.dims(n, anchors, 5 + classes, h, w))
        head = net.op("Sigmoid", net.op("Transpose", head, perm=[0, 1, 3, 4, 2]))
        xy, wh, rest = net.op(
            "Split", head, np.array([2, 2, 1 + classes]), outputs=3, axis=4
        )
        rows = net.op("Range", np.int64(0), h, np.int64(1))
        columns = net.op("Range", np.int64(0), w, np.int64(1))
        size = net.dims(1, 1, h, w, 1)
        rows = net.op("Expand", net.op("Reshape", rows, np.array([1, 1, -1, 1, 1])), size)
        columns = net.op("Expand", net.op("Reshape", columns, np.array([1, 1, 1, -1, 1])), size)
        grid = net.op("Cast", net.op("Concat", columns, rows, axis=4), to=FLOAT)
        xy = net.op("Add", net.op("Mul", xy, np.float32(2)), net.op("Sub", grid, np.float32(0.5)))
        xy = net.op("Mul", xy, np.float32(stride))
        scale = net.random.uniform(4, 16, (1, anchors, 1, 1, 2)).astype(np.float32)
        wh = net.op("Mul", net.op("Pow", net.op("Mul", wh, np.float32(2)), np.float32(2)), scale)
        level = net.op("Concat", xy, wh, rest, axis=-1)
        found.append(net.op("Reshape", level, net.dims(n, -1, 5 + classes)))
    found = net.op("Concat", *found, axis=1)
    raw = found

    def part(first, last):
        return net.op("Slice", found, np.array([first]), np.array([last]), np.array([2]))

    boxes = box_corners(net, part(0, 4))
    scores = net.op("Mul", part(4, 5), part(5, 5 + classes))
    turned = net.op("Transpose", scores, perm=[0, 2, 1])
    kept = net.op(
        "NonMaxSuppression", boxes, turned, np.array([6]), np.array([0.4], np.float32),
        np.array([0.27], np.float32),
    )  # fmt: skip
    index = net.op("Gather", kept, np.int64(2), axis=1)
    kind = net.op("Gather", kept, np.int64(1), axis=1)
    chosen = net.op("Gather", net.op("Squeeze", boxes, np.array([0])), index, axis=0)
    pair = net.op("Concat", net.op("Unsqueeze", kind, np.array([1])),
                  net.op("Unsqueeze", index, np.array([1])), axis=1)  # fmt: skip
    score = net.op("GatherND", net.op("Squeeze", turned, np.array([0])), pair)
    table = net.op(
        "Concat", chosen, net.op("Unsqueeze", score, np.array([1])),
        net.op("Unsqueeze", net.op("Cast", kind, to=FLOAT), np.array([1])), axis=1,
    )  # fmt: skip
    model = net.model((table, FLOAT, ["found", 6]), (raw, FLOAT, [1, "boxes", 5 + classes]))
    sets = [[images(1, 3, 64, 64)], [images(1, 3, 96, 32)], [images(1, 3, 64, 64, seed=8)]]
    compare_with_runtime("yolo", model, sets)


def ssd():
    """SSD: boxes around priors, Softmax over classes, suppression, the best few by TopK."""
    classes, per = 4, 2
    net = Net(13, [("x", FLOAT, [1, 3, 32, 32])], seed=2)
    x = net.conv(net.conv("x", 3, 8, 3, 2, act="Relu"), 8, 16, 3, 2, act="Relu")
    levels = [x, net.conv(x, 16, 16, 3, 2, act="Relu")]
    scores, offsets = [], []
    for level in levels:
        for parts, width in [(scores, classes), (offsets, 4)]:
            head = net.op("Transpose", net.conv(level, 16, per * width), perm=[0, 2, 3, 1])
            parts.append(net.op("Reshape", head, np.array([0, -1, width])))
    scores = net.op("Softmax", net.op("Concat", *scores, axis=1), axis=-1)
    offsets = net.op("Concat", *offsets, axis=1)
    count = per * (8 * 8 + 4 * 4)
    priors = net.random.uniform(0.1, 0.9, (1, count, 4)).astype(np.float32)
    priors[..., 2:] *= 0.3
    shift = net.op("Slice", offsets, np.array([0]), np.array([2]), np.array([2]))
    growth = net.op("Slice", offsets, np.array([2]), np.array([4]), np.array([2]))
    centre = net.op("Add", net.op("Mul", shift, priors[..., 2:] * 0.1), priors[..., :2])
    extent = net.op("Mul", net.op("Exp", net.op("Mul", growth, np.float32(0.2))), priors[..., 2:])
    boxes = box_corners(net, net.op("Concat", centre, extent, axis=2))
    boxes = net.op("Clip", boxes, np.float32(0), np.float32(1))
    turned = net.op("Transpose", scores, perm=[0, 2, 1])
    object_scores = net.op("Slice", turned, np.array([1]), np.array([9999]), np.array([1]))
    kept = net.op(
        "NonMaxSuppression", boxes, object_scores, np.array([20]), np.array([0.45], np.float32),
        np.array([0.3], np.float32),
    )  # fmt: skip
    value = net.op("GatherND", object_scores, kept)
    limit = net.op("Concat", np.array([10]), net.op("Shape", value), axis=0)
    limit = net.op("ReduceMin", limit, axes=[0], keepdims=1)
    best, order = net.op("TopK", value, limit, outputs=2, axis=0)
    kept = net.op("Gather", kept, order, axis=0)
    kind, index = [net.op("Gather", kept, np.int64(c), axis=1) for c in (1, 2)]
    chosen = net.op("Gather", boxes, index, axis=1)
    kind = net.op("Add", kind, np.int64(1))
    model = net.model(
        (chosen, FLOAT, [1, "found", 4]), (best, FLOAT, ["found"]), (kind, INT64, ["found"])
    )
    compare_with_runtime("ssd", model, [[images(1, 3, 32, 32)], [images(1, 3, 32, 32, seed=9)]])


def ssd_by_image():
    """The same end in TensorFlow's form: a Loop over images, padded by ones that are kept."""
    net = Net(13, [("boxes", FLOAT, ["batch", 9, 4]), ("scores", FLOAT, ["batch", 2, 9])])

    def image(index, going):
        at = net.op("Unsqueeze", index, np.array([0]))
        boxes = net.op("Gather", "boxes", at, axis=0)
        scores = net.op("Gather", "scores", at, axis=0)
        kept = net.op("NonMaxSuppression", boxes, scores, np.array([5]),
                      np.array([0.5], np.float32), np.array([0.6], np.float32))  # fmt: skip
        count = net.op("Gather", net.op("Shape", kept), np.int64(0), axis=0)
        index = net.op("Gather", kept, np.int64(2), axis=1)
        missing = net.op("Sub", np.int64(12), count)
        ends = net.op("Concat", np.array([0]), net.op("Unsqueeze", missing, np.array([0])), axis=0)
        padded = net.op("Pad", index, ends, np.int64(-1))
        return [net.op("Identity", going), padded, count]

    body = net.subgraph(
        "image", image, [("i", INT64, []), ("going", TensorProto.BOOL, [])],
        [(TensorProto.BOOL, []), (INT64, [12]), (INT64, [])],
    )  # fmt: skip
    found, counts = net.op("Loop", net.extent("boxes", 0), np.array(True), outputs=2, body=body)
    model = net.model((found, INT64, ["batch", 12]), (counts, INT64, ["batch"]))
    random = np.random.default_rng(6)

    def case(batch):
        corner = random.uniform(0, 0.6, (batch, 9, 2))
        boxes = np.concatenate([corner, corner + random.uniform(0.1, 0.4, (batch, 9, 2))], axis=2)
        return [boxes.astype(np.float32), random.uniform(0, 1, (batch, 2, 9)).astype(np.float32)]

    compare_with_runtime("ssd-by-image", model, [case(2), case(3)])


def bert():
    """An encoder for any batch and sequence, in the forms of an old and of a new export."""
    width, heads, vocabulary = 16, 4, 30
    for name, opset in [("bert", 11), ("bert-17", 17)]:
        dims = ["batch", "sequence"]
        net = Net(13 if opset < 13 else opset,
                  [(n, INT64, dims) for n in ["ids", "mask", "kinds"]], seed=3)  # fmt: skip

        def layer_norm(x):
            scale, bias = net.weight(width), net.weight(width)
            if opset >= 17:
                return net.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)
            centred = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1]))
            square = net.op("Pow", centred, np.float32(2))
            deviation = net.op("Add", net.op("ReduceMean", square, axes=[-1]), np.float32(1e-5))
            x = net.op("Div", centred, net.op("Sqrt", deviation))
            return net.op("Add", net.op("Mul", x, scale), bias)

        def linear(x, into, out):
            return net.op("Add", net.op("MatMul", x, net.weight(into, out)), net.weight(out))

        length = net.extent("ids", 1)
        batch = net.extent("ids", 0)
        positions = net.op("Slice", np.arange(40)[None], np.array([0]),
                           net.op("Unsqueeze", length, np.array([0])), np.array([1]))  # fmt: skip
        x = net.op("Gather", net.weight(vocabulary, width), "ids")
        x = net.op("Add", x, net.op("Gather", net.weight(2, width), "kinds"))
        x = layer_norm(net.op("Add", x, net.op("Gather", net.weight(40, width), positions)))
        mask = net.op("Unsqueeze", "mask", np.array([1, 2]))
        mask = net.op("Sub", np.float32(1), net.op("Cast", mask, to=FLOAT))
        mask = net.op("Mul", mask, np.float32(-10000))
        for _ in range(2):
            q, k, v = [
                net.op("Transpose",
                       net.op("Reshape", linear(x, width, width),
                              net.dims(batch, length, heads, width // heads)),
                       perm=[0, 2, 3, 1] if part == 1 else [0, 2, 1, 3])
                for part in range(3)
            ]  # fmt: skip
            scores = net.op("Div", net.op("MatMul", q, k), np.float32((width // heads) ** 0.5))
            weights = net.op("Softmax", net.op("Add", scores, mask), axis=-1)
            y = net.op("Transpose", net.op("MatMul", weights, v), perm=[0, 2, 1, 3])
            y = net.op("Reshape", y, net.dims(batch, length, width))
            x = layer_norm(net.op("Add", linear(y, width, width), x))
            y = linear(x, width, 32)
            erf = net.op("Erf", net.op("Div", y, np.float32(2**0.5)))
            y = net.op("Mul", net.op("Mul", y, net.op("Add", erf, np.float32(1))), np.float32(0.5))
            x = layer_norm(net.op("Add", linear(y, 32, width), x))
        first = net.op("Gather", x, np.int64(0), axis=1)
        pooled = net.op("Tanh", net.op("Gemm", first, net.weight(width, width), net.weight(width)))
        model = net.model((x, FLOAT, [*dims, width]), (pooled, FLOAT, ["batch", width]))
        random = np.random.default_rng(1)
        sets = []
        for batch_size, size in [(1, 8), (3, 5), (2, 17), (1, 1)]:
            ids = random.integers(0, vocabulary, (batch_size, size))
            kinds = random.integers(0, 2, (batch_size, size))
            mask = (np.arange(size) < random.integers(1, size + 1, (batch_size, 1))).astype(np.int64)
            sets.append([ids, mask, kinds])
        compare_with_runtime(name, model, sets)


def audio():
    """Convolution along time, then LSTM and GRU whose state goes in and comes out."""
    net = Net(14, [("x", FLOAT, ["batch", 1, "time"]), ("h", FLOAT, [2, "batch", 6])])
    x = net.op("Relu", net.op("Conv", "x", net.weight(8, 1, 5), strides=[2], pads=[2, 2]))
    x = net.op("Transpose", x, perm=[2, 0, 1])
    weights = [net.weight(2, 24, 8), net.weight(2, 24, 6), net.weight(2, 48)]
    y, h, _ = net.op("LSTM", x, *weights, "", "h", hidden_size=6, direction="bidirectional",
                     outputs=3)  # fmt: skip
    y = net.op("Transpose", y, perm=[0, 2, 1, 3])
    y = net.op("Reshape", y, np.array([0, 0, -1]))
    z, _ = net.op("GRU", y, net.weight(1, 15, 12), net.weight(1, 15, 5), net.weight(1, 30),
                  hidden_size=5, linear_before_reset=1, outputs=2)  # fmt: skip
    z = net.op("Squeeze", z, np.array([1]))
    model = net.model((z, FLOAT, ["frames", "batch", 5]), (h, FLOAT, [2, "batch", 6]))
    sets = [[images(b, 1, t), images(2, b, 6)] for b, t in [(1, 40), (2, 31)]]
    compare_with_runtime("audio", model, sets)


def groups():
    """GroupNormalization with scales of channels (opset 21)."""
    net = Net(21, [("x", FLOAT, ["batch", 6, 5, 4])])
    y = net.op("GroupNormalization", "x", net.weight(6), net.weight(6), num_groups=2)
    model = net.model((y, FLOAT, ["batch", 6, 5, 4]))
    compare_with_runtime("group-norm", model, [[images(2, 6, 5, 4)]])


def segment():
    """A decoder: transposed convolution and Resize to the extents of an earlier value."""
    net = Net(13, [("x", FLOAT, ["batch", 3, "height", "width"])])
    a = net.conv("x", 3, 8, 3, 2, act="Relu")
    b = net.conv(a, 8, 12, 3, 2, act="Relu")
    up = net.op("ConvTranspose", b, net.weight(12, 8, 2, 2), kernel_shape=[2, 2], strides=[2, 2])
    size = net.op("Slice", net.op("Shape", a), np.array([2]), np.array([4]))
    whole = net.op("Concat", net.op("Shape", up), np.array([], np.int64), axis=0)
    whole = net.op("Slice", whole, np.array([0]), np.array([2]))
    up = net.op("Resize", up, "", "", net.op("Concat", whole, size, axis=0), mode="linear")
    x = net.op("LeakyRelu", net.op("Concat", a, up, axis=1), alpha=0.1)
    y = net.op("InstanceNormalization", net.conv(x, 16, 4), np.ones(4, np.float32),
               np.zeros(4, np.float32))  # fmt: skip
    # Scales that are computed: twice the extents of the input by those of the value.
    whole = net.op("Cast", net.op("Shape", "x"), to=FLOAT)
    here = net.op("Cast", net.op("Shape", y), to=FLOAT)
    ratio = net.op("Slice", net.op("Div", whole, here), np.array([2]), np.array([4]))
    scales = net.op("Concat", np.ones(2, np.float32), ratio, axis=0)
    y = net.op("Resize", y, "", scales, mode="nearest", nearest_mode="floor")
    y = net.op("ArgMax", y, axis=1, keepdims=0)
    model = net.model((y, INT64, ["batch", "height", "width"]))
    compare_with_runtime("segment", model, [[images(1, 3, 32, 48)], [images(2, 3, 30, 28)]])


def chosen():
    """Values whose extents hang on values: NonZero, Compress, Unique, a computed Slice."""
    net = Net(13, [("x", FLOAT, ["rows", 6])])
    x = net.op("Relu", net.op("MatMul", "x", net.weight(6, 6)))
    total = net.op("ReduceSum", x, np.array([1]), keepdims=0)
    rows = net.op("Compress", x, net.op("Greater", total, np.float32(0.8)), axis=0)
    y = net.op("MatMul", rows, net.weight(6, 4))
    places = net.op("Transpose", net.op("NonZero", x), perm=[1, 0])
    values = net.op("GatherND", x, places)
    rounded = net.op("Floor", net.op("Mul", values, np.float32(4)))
    levels, _, _, counts = net.op("Unique", rounded, outputs=4)
    most = net.op("ArgMax", counts, axis=0)
    some = net.op("Slice", levels, np.array([0]), net.op("Add", most, np.int64(1)))
    model = net.model(
        (y, FLOAT, ["kept", 4]), (places, INT64, ["places", 2]), (some, FLOAT, ["levels"])
    )
    compare_with_runtime("chosen", model, [[images(5, 6)], [images(9, 6, seed=2)], [images(5, 6, seed=3)]])


def control():
    """If with branches of other extents, and Loops that end by their condition."""
    net = Net(16, [("x", FLOAT, ["rows", 4])])
    total = net.op("ReduceSum", "x", np.array([0, 1]), keepdims=0)
    large = net.op("Greater", total, np.float32(8))

    def double():
        return [net.op("Concat", net.op("MatMul", "x", net.weight(4, 4)), "x", axis=0)]

    def halve():
        return [net.op("Mul", "x", np.float32(0.5))]

    branches = {
        f"{name}_branch": net.subgraph(name, build, [], [(FLOAT, ["any", 4])])
        for name, build in [("then", double), ("else", halve)]
    }
    y = net.op("If", large, **branches)

    def step(index, going, state):
        state = net.op("Add", net.op("MatMul", state, net.weight(4, 4)), "x")
        norm = net.op("ReduceMax", state, axes=[0, 1], keepdims=0)
        going = net.op("Less", norm, np.float32(2.5))
        return [going, state, net.op("Add", norm, net.op("Cast", index, to=FLOAT))]

    body = net.subgraph(
        "step", step,
        [("i", INT64, []), ("going", TensorProto.BOOL, []), ("state", FLOAT, ["rows", 4])],
        [(TensorProto.BOOL, []), (FLOAT, ["rows", 4]), (FLOAT, [])],
    )  # fmt: skip
    last, norms = net.op("Loop", np.int64(7), np.array(True), "x", outputs=2, body=body)
    z = net.op("MatMul", y, net.weight(4, 3))
    model = net.model(
        (z, FLOAT, ["any", 3]), (last, FLOAT, ["rows", 4]), (norms, FLOAT, ["steps"])
    )
    compare_with_runtime("control", model, [[images(3, 4)], [images(6, 4, seed=4)], [images(1, 4)]])


for build in [
    light, wheels, mobile, mobile_v3, shuffle_v2, resnet, yolo, ssd, ssd_by_image, bert, audio,
    groups, segment, chosen, control,
]:  # fmt: skip
    build()
