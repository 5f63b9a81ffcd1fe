"""Networks beside the one in f32 on samples, run by ONNX Runtime: bytes, cosine of the
first output, share of equal answers (the place of the largest number; above 0.5 or
not, where there is one number).

    python beside.py dense.onnx samples.npy|npz small.onnx ...
    python beside.py --static dense.onnx calibration out.onnx     ONNX Runtime's own quantization
"""

import os
import sys

import numpy as np
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


class Reader(CalibrationDataReader):
    def __init__(self, data):
        self.data = iter(data)

    def get_next(self):
        return next(self.data, None)


def static(dense, data, out, count=60):
    prepared = out + ".prepared"
    quant_pre_process(dense, prepared, skip_symbolic_shape=True)
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
    else:
        compare(sys.argv[1], sys.argv[2], sys.argv[3:])
