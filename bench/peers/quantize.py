"""Static quantization by ONNX Runtime: QDQ for all, per-tensor integers for DeepSparse."""

import logging
import pathlib

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from worker import sample

CALIBRATION_INPUTS = 4

# What lies between the products of an encoder stays f32.
BERT_OPERATORS = ["MatMul"]


class RandomInputs(CalibrationDataReader):
    """The first few of the inputs that the comparison draws from."""

    def __init__(self, shape: tuple[int, ...]):
        self.left = (
            {"input": sample((1, *shape), seed)} for seed in range(CALIBRATION_INPUTS)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


def quantize(
    source: pathlib.Path,
    target: pathlib.Path,
    shape: tuple[int, ...],
    operators: list[str] | None,
    qdq: bool,
) -> None:
    """Writes `target`: i8 weights without zero point, u8 activations.

    In QDQ form weights have a scale a channel, else one a tensor.
    """
    logging.getLogger().setLevel(logging.ERROR)
    quantize_static(
        source,
        target,
        RandomInputs(shape),
        quant_format=QuantFormat.QDQ if qdq else QuantFormat.QOperator,
        op_types_to_quantize=operators,
        per_channel=qdq,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={
            "WeightSymmetric": True,
            "OpTypesToExcludeOutputQuantization": ["MatMul"],
        },
    )
