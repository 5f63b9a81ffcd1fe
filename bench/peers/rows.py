"""What is compared: which engine runs which file."""

from dataclasses import dataclass

from sparsify import Pattern


@dataclass(frozen=True)
class Row:
    """An engine with a network in one form; `form` is a method of `Files`."""

    engine: str
    form: str
    pattern: str


ROWS = {
    "secateur": Row("secateur", "sct", "90"),
    "secateur-onnx": Row("secateur", "int8", "90"),
    "secateur-8of64": Row("secateur", "sct", "8of64"),
    "secateur-dense": Row("secateur", "int8", "dense"),
    "secateur-f32": Row("secateur", "f32", "90"),
    "onnxruntime": Row("onnxruntime", "int8", "90"),
    "onnxruntime-f32": Row("onnxruntime", "f32", "dense"),
    "openvino": Row("openvino", "int8", "90"),
    "deepsparse": Row("deepsparse", "operators", "90"),
    "deepsparse-qdq": Row("deepsparse", "per_tensor", "90"),
    "deepsparse-f32": Row("deepsparse", "f32", "90"),
    "tract": Row("tract", "int8", "90"),
    "tract-integer": Row("tract", "integer", "90"),
    "tract-f32": Row("tract", "f32", "dense"),
    "rten": Row("rten", "linear", "90"),
    "rten-qdq": Row("rten", "int8", "90"),
    "rten-f32": Row("rten", "f32", "dense"),
}
# An engine whose fastest form differs from network to network is shown in the faster.
ALTERNATIVES = {"deepsparse": "deepsparse-qdq", "tract": "tract-integer", "rten": "rten-qdq"}


def pattern(row: Row) -> Pattern:
    return Pattern.parse(row.pattern)


@dataclass(frozen=True)
class Setting:
    batch: int
    threads: int

    @classmethod
    def parse(cls, text: str) -> "Setting":
        batch, threads = map(int, text.split("x"))
        return cls(batch, threads)

    @property
    def name(self) -> str:
        return f"{self.batch}x{self.threads}"

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.threads} thread{'s' * (self.threads > 1)}"


LATENCY, THROUGHPUT = Setting(1, 1), Setting(16, 2)
