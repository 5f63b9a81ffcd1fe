"""Networks beside the one in f32 on samples, run by ONNX Runtime: bytes, cosine of the
first output, share of equal answers (the place of the largest number; above 0.5 or
not, where there is one number).

    python beside.py dense.onnx samples.npy|npz small.onnx ...
    python beside.py --lines dense.onnx samples.npy small.onnx ...  a recogniser's: lines that are read alike
    python beside.py --static dense.onnx calibration out.onnx     ONNX Runtime's own quantization
"""

import os
import sys

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


def samples(path, names):
    if path.endswith(".npy"):
        return [{names[0]: x[None]} for x in np.load(path)]
    arrays = dict(np.load(path))
    fixed = {k: v for k, v in arrays.items() if k != names[0]}
    return [{names[0]: x, **fixed} for x in arrays[names[0]]]


def names(session):
    return [i.name for i in session.get_inputs()]


def run(path, data):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, x)[0] for x in samples(data, names(session))])


def compare(dense, data, others):
    reference = run(dense, data).astype(np.float64)
    for path in [dense, *others]:
        y = run(path, data).astype(np.float64)
        a, b = (v.reshape(len(v), -1) for v in (y, reference))
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        if y.ndim > 2 and y.shape[-1] > 1:
            same = y.argmax(-1) == reference.argmax(-1)
        else:
            same = (y > 0.5) == (reference > 0.5)
        print(
            f"{path}: {os.path.getsize(path):,} bytes, cosine {cosine.mean():.5f} (least {cosine.min():.5f}), "
            f"same answer {100 * same.mean():.2f} %, largest difference {np.abs(y - reference).max():.4f}"
        )


def read(places):
    """The text of a line, as numbers of characters: the likeliest of each place, without repeats and blanks (0)."""
    best = places.argmax(-1)
    return [int(c) for c, before in zip(best, [0, *best]) if c not in (0, before)]


def edits(a, b):
    """Characters to change, add or leave out (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (x != y))
    return row[-1]


def lines(dense, data, others):
    reference = [read(y[0]) for y in run(dense, data)]
    for path in others:
        differ = [edits(read(y[0]), line) for y, line in zip(run(path, data), reference)]
        print(
            f"{path}: {differ.count(0)} of {len(differ)} lines as {dense}'s, "
            f"{sum(differ)} of {sum(map(len, reference))} characters differ"
        )


class Reader(CalibrationDataReader):
    def __init__(self, data):
        self.data = iter(data)

    def get_next(self):
        return next(self.data, None)


def static(dense, data, out, count=60):
    prepared = out + ".prepared"
    network = onnx.load(dense)
    opset = next(o.version for o in network.opset_import if o.domain in ("", "ai.onnx"))
    if opset < 13:  # which has no scales for channels
        network = onnx.version_converter.convert_version(network, 13)
    onnx.save(network, prepared)
    quant_pre_process(prepared, prepared, skip_symbolic_shape=True)
    session = onnxruntime.InferenceSession(prepared, providers=["CPUExecutionProvider"])
    some = samples(data, names(session))[:count]
    quantize_static(
        prepared, out, Reader(some), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    os.remove(prepared)


if __name__ == "__main__":
    if sys.argv[1] == "--static":
        static(*sys.argv[2:5])
    elif sys.argv[1] == "--lines":
        lines(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        compare(sys.argv[1], sys.argv[2], sys.argv[3:])
