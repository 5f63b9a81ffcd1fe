"""Static quantization by ONNX Runtime."""

import logging
import pathlib

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from inputs import sample

CALIBRATION_INPUTS = 4

# What lies between the products of an encoder stays f32.
BERT_OPERATORS = ["MatMul"]


class RandomInputs(CalibrationDataReader):
    """A few random inputs, other than the one that is compared."""

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
    operators: list[str] | None = None,
) -> None:
    """Writes `target` in QDQ form, a scale a channel; all operators unless some are named."""
    static(source, target, shape, QuantFormat.QDQ, operators, per_channel=True)


def per_tensor(
    source: pathlib.Path,
    target: pathlib.Path,
    shape: tuple[int, ...],
    operators: list[str] | None = None,
) -> None:
    """As `quantize`, but a scale a tensor."""
    static(source, target, shape, QuantFormat.QDQ, operators, per_channel=False)


def convolutions(source: pathlib.Path, target: pathlib.Path, shape: tuple[int, ...]) -> None:
    """Writes `target` with each convolution as QLinearConv, a scale a tensor.

    No other operators: as QLinear ones they are of a domain that DeepSparse does not know,
    and it hands whole networks that have one to ONNX Runtime.
    """
    static(source, target, shape, QuantFormat.QOperator, ["Conv"], per_channel=False)


def static(
    source, target, shape, form: QuantFormat, operators: list[str] | None, per_channel: bool
) -> None:
    """i8 weights without zero point, u8 activations."""
    logging.getLogger().setLevel(logging.ERROR)
    quantize_static(
        source,
        target,
        RandomInputs(shape),
        quant_format=form,
        op_types_to_quantize=operators,
        per_channel=per_channel,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={
            "WeightSymmetric": True,
            "OpTypesToExcludeOutputQuantization": ["MatMul"],
        },
    )
