"""Compares exported networks with the originals of ONNX's operator tests.

For each CASE.onnx of a folder and the case of that name in the `onnx` package:
what ONNX's checker takes must still pass it, and what ONNX Runtime runs must
give the same outputs.  Prints what does not hold; fails where anything does not.
"""

import collections
import pathlib
import sys

import numpy
import onnx
import onnxruntime

CASES = pathlib.Path(onnx.__file__).parent / "backend/test/data/node"
counts = collections.Counter()
wrong = []


def refused(model):
    try:
        onnx.checker.check_model(str(model), full_check=True)
    except Exception as error:
        return str(error)
    return None


def outputs(model, data):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(model), options, providers=["CPUExecutionProvider"]
    )
    feeds = {}
    for index, value in enumerate(session.get_inputs()):
        tensor = onnx.TensorProto()
        tensor.ParseFromString((data / f"input_{index}.pb").read_bytes())
        feeds[value.name] = onnx.numpy_helper.to_array(tensor)
    return session.run(None, feeds)


def same(a, b):
    a, b = numpy.asarray(a), numpy.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind == "f":
        return numpy.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True)
    return numpy.array_equal(a, b)


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    case = CASES / path.stem
    if refused(case / "model.onnx") is None:
        counts["valid"] += 1
        if reason := refused(path):
            wrong.append(f"{path.stem}: {reason}")
    data = case / "test_data_set_0"
    try:
        expected = outputs(case / "model.onnx", data)
    except Exception:
        continue  # what ONNX Runtime does not run
    counts["run"] += 1
    try:
        found = outputs(path, data)
    except Exception as error:
        wrong.append(f"{path.stem}: {error}")
        continue
    if not all(map(same, expected, found)):
        wrong.append(f"{path.stem}: other outputs")

print(
    f"{counts['valid']} valid networks exported, {counts['run']} of them run in ONNX Runtime: "
    f"{len(wrong)} are not what they were"
)
print("\n".join(wrong), end="")
sys.exit(bool(wrong) or counts["run"] < 1000)
