"""From a module to a file."""

from __future__ import annotations

import copy
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, Optional, Union

import torch
from torch import nn

from .._secateur import pack as _pack
from ._compression import Compression
from ._fake import bake


def export(
    model: nn.Module,
    example: Any,
    path: Union[str, "os.PathLike[str]"],
    compression: Optional[Compression] = None,
    *,
    store: str = "small",
) -> Path:
    """Writes a module as ``.sct`` (or ``.onnx``); gives the path.

    PyTorch's exporter needs the package ``onnx``: ``pip install "secateur[torch]"``.

    :param example: inputs that the module is traced with; their first extent is left open.
    :param compression: what it was trained under; its weights become integers of that width.
    :param store: what the file goes for: ``smallest``, ``small`` or ``fast``.
    """
    inner = getattr(model, "module", model)
    plain = copy.deepcopy(inner).cpu().eval()
    bake(plain)
    inputs = example if isinstance(example, tuple) else (example,)
    inputs = tuple(x.cpu() if isinstance(x, torch.Tensor) else x for x in inputs)
    names = ["input"] if len(inputs) == 1 else [f"input{i}" for i in range(len(inputs))]
    target = Path(path)
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / f"{target.stem}.onnx"
        with warnings.catch_warnings():
            # That it is the older exporter: the newer one takes fake quantization apart.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                plain,
                inputs,
                str(onnx),
                input_names=names,
                output_names=["output"],
                dynamic_axes={name: {0: "batch"} for name in (*names, "output")},
                opset_version=17,
                dynamo=False,
            )
        bits = None if compression is None else compression.weight_bits
        _pack(str(onnx), str(target), bits, store)
    return target
