"""Quantizes every NAME.onnx of a folder with ONNX Runtime's own quantizer.

Calibrates on, and runs, the f32 images of NAME.input.bin ([N, 1, 28, 28]);
writes NAME.FORM.quantized for each form, and its output as NAME.FORM.bin.
"""

import pathlib
import sys

import numpy
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization import QuantType

FORMS = {
    "u8-channels": (QuantType.QUInt8, True),
    "u8-tensor": (QuantType.QUInt8, False),
    "i8-channels": (QuantType.QInt8, True),
}


class Images(quantization.CalibrationDataReader):
    def __init__(self, images):
        self.batches = iter([{"input": images}])

    def get_next(self):
        return next(self.batches, None)


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    images = numpy.fromfile(path.with_suffix(".input.bin"), "<f4").reshape(-1, 1, 28, 28)
    for form, (activations, per_channel) in FORMS.items():
        stem = path.with_name(f"{path.stem}.{form}")
        quantized = stem.with_name(stem.name + ".quantized")
        quantization.quantize_static(
            str(path),
            str(quantized),
            Images(images),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=activations,
            weight_type=QuantType.QInt8,
        )
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", "1")
        session = onnxruntime.InferenceSession(
            str(quantized), options, providers=["CPUExecutionProvider"]
        )
        output = session.run(None, {"input": images})[0]
        output.tofile(stem.with_name(stem.name + ".bin"))
