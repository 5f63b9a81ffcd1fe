"""Runs every NAME.onnx of a folder in ONNX Runtime.

Reads NAME.input.bin (f32) of the extents in NAME.shape, checks the model, and
writes for each mode (`default`: all graph optimisations, `plain`: none) the
outputs as MODE.NAME.INDEX.bin and the operators that ran as MODE.NAME.ops.
"""

import collections
import pathlib
import sys

import numpy
import onnx
import onnxruntime

MODES = {
    "default": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "plain": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


def session(model, level, optimized):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(optimized)
    options.log_severity_level = 3
    # Exact products where the processor has no VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(
        str(model), options, providers=["CPUExecutionProvider"]
    )


def run(model):
    onnx.checker.check_model(str(model), full_check=True)
    shape = [int(n) for n in model.with_suffix(".shape").read_text().split()]
    data = numpy.fromfile(model.with_suffix(".input.bin"), "<f4").reshape(shape)
    for mode, level in MODES.items():
        stem = model.with_name(f"{mode}.{model.stem}")
        optimized = stem.with_name(stem.name + ".optimized")
        runtime = session(model, level, optimized)
        outputs = runtime.run(None, {runtime.get_inputs()[0].name: data})
        for index, output in enumerate(outputs):
            output.tofile(stem.with_name(f"{stem.name}.{index}.bin"))
        nodes = onnx.load(optimized).graph.node
        counts = collections.Counter(node.op_type for node in nodes)
        lines = [f"{name} {count}\n" for name, count in sorted(counts.items())]
        stem.with_name(stem.name + ".ops").write_text("".join(lines))


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    run(path)
