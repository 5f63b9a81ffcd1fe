"""The files of a network, each made once."""

import os
import pathlib
from dataclasses import dataclass

import onnx

import quantize
from networks import NETWORKS, Network
from sparsify import Pattern, sparsify


@dataclass(frozen=True)
class Files:
    """Where a network's files lie; each method makes its file if it is not there."""

    folder: pathlib.Path
    name: str

    @property
    def network(self) -> Network:
        return NETWORKS[self.name]

    def f32(self, pattern: Pattern) -> pathlib.Path:
        stem = self.name if pattern.density == 1 else f"{self.name}-{pattern.name}"
        return made(self.folder / f"{stem}-f32.onnx", lambda path: self.build(path, pattern))

    def int8(self, pattern: Pattern) -> pathlib.Path:
        return self.quantized(f"{self.name}-{pattern.name}-int8.onnx", pattern, qdq=True)

    def per_tensor(self, pattern: Pattern) -> pathlib.Path:
        """The only int8 form in which DeepSparse gains from zeros."""
        return self.quantized(f"{self.name}-{pattern.name}-deepsparse.onnx", pattern, qdq=False)

    def quantized(self, file: str, pattern: Pattern, qdq: bool) -> pathlib.Path:
        if not qdq:
            # It hands whole networks with operators of other domains to ONNX Runtime.
            operators = ["Conv", "MatMul"]
        else:
            operators = quantize.BERT_OPERATORS if self.name == "bert" else None

        def make(path: pathlib.Path) -> None:
            quantize.quantize(self.f32(pattern), path, self.network.shape, operators, qdq)

        return made(self.folder / file, make)

    def build(self, path: pathlib.Path, pattern: Pattern) -> None:
        model = self.network.model(self.name)
        sparsify(model, self.network, pattern)
        onnx.save(model, path)


def made(path: pathlib.Path, make) -> pathlib.Path:
    """The path; what is half made never bears its name."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{os.getpid()}-{path.name}")
        try:
            make(partial)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
    return path
