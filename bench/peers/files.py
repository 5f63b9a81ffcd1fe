"""The files of a network, each made once."""

import os
import pathlib
import subprocess
from dataclasses import dataclass

import onnx

import integers
import quantize
from engines import Missing
from networks import LAYERS, NETWORKS, Network
from sparsify import Pattern, sparsify


@dataclass(frozen=True)
class Files:
    """Where a network's files lie; each method makes its file if it is not there."""

    folder: pathlib.Path
    name: str
    # The `secateur` command.
    command: pathlib.Path

    @property
    def network(self) -> Network:
        return (NETWORKS | LAYERS)[self.name]

    def form(self, form: str, pattern: Pattern) -> pathlib.Path:
        """The file of a form, by its method's name."""
        return getattr(self, form)(pattern)

    def path(self, pattern: Pattern, end: str) -> pathlib.Path:
        return self.folder / f"{self.name}-{pattern.name}-{end}"

    def f32(self, pattern: Pattern) -> pathlib.Path:
        stem = self.name if pattern.density == 1 else f"{self.name}-{pattern.name}"

        def make(path: pathlib.Path) -> None:
            model = self.network.model(self.name)
            sparsify(model, self.network, pattern)
            onnx.save(model, path)

        return made(self.folder / f"{stem}-f32.onnx", make)

    def int8(self, pattern: Pattern) -> pathlib.Path:
        """Pairs of QuantizeLinear and DequantizeLinear, a scale a channel."""
        return self.quantized("int8", pattern, quantize.quantize)

    def per_tensor(self, pattern: Pattern) -> pathlib.Path:
        """Such pairs, a scale a tensor: DeepSparse gains from zeros in no other."""
        return self.quantized("per-tensor", pattern, quantize.per_tensor)

    def quantized(self, form: str, pattern: Pattern, write) -> pathlib.Path:
        operators = quantize.BERT_OPERATORS if self.name == "bert" else None

        def make(path: pathlib.Path) -> None:
            write(self.f32(pattern), path, self.network.shape, operators)

        return made(self.path(pattern, f"{form}.onnx"), make)

    def operators(self, pattern: Pattern) -> pathlib.Path:
        """QLinearConv and MatMulInteger, in which DeepSparse gains as well."""

        def make(path: pathlib.Path) -> None:
            middle = path.with_name(f"middle-{path.name}")
            try:
                quantize.convolutions(self.f32(pattern), middle, self.network.shape)
                self.integers(middle, path, {"Gemm", "MatMul"})
            finally:
                middle.unlink(missing_ok=True)

        return made(self.path(pattern, "operators.onnx"), make)

    def integer(self, pattern: Pattern) -> pathlib.Path:
        """ConvInteger and MatMulInteger."""

        def make(path: pathlib.Path) -> None:
            self.integers(self.f32(pattern), path, set(integers.PRODUCTS))

        return made(self.path(pattern, "integer.onnx"), make)

    def linear(self, pattern: Pattern) -> pathlib.Path:
        """MatMulInteger, convolutions in f32.

        For rten 0.27, whose ConvInteger gives other sums than ONNX Runtime's and tract's
        where there is padding or more than one item.
        """

        def make(path: pathlib.Path) -> None:
            self.integers(self.f32(pattern), path, {"Gemm", "MatMul"})

        return made(self.path(pattern, "linear.onnx"), make)

    def integers(self, source: pathlib.Path, target: pathlib.Path, operators: set[str]) -> None:
        samples = quantize.CALIBRATION_INPUTS
        integers.rewrite(source, target, self.network.shape, operators, samples)

    def sct(self, pattern: Pattern) -> pathlib.Path:
        """Secateur's own file, made anew where the command is newer."""
        source, target = self.int8(pattern), self.path(pattern, "int8.sct")
        if not self.command.exists():
            raise Missing(f"{self.command} is not built")
        if target.exists() and target.stat().st_mtime < self.command.stat().st_mtime:
            target.unlink()

        def make(path: pathlib.Path) -> None:
            export = [self.command, "export", source, "-o", path]
            done = subprocess.run(export, capture_output=True, text=True)
            if done.returncode:
                raise Missing(done.stderr.strip().replace("\n", " "))

        return made(target, make)


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
