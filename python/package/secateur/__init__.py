"""Makes trained neural networks small and fast, and runs them.

>>> import secateur
>>> small = secateur.compress("dense.onnx", "mnist", output="small.sct")  # doctest: +SKIP
>>> session = secateur.Session("small.sct")                               # doctest: +SKIP
>>> logits, = session.run(None, {"input": images})                        # doctest: +SKIP
"""

from ._commands import compress, evaluate, export, inspect, simulate
from ._results import Result
from ._secateur import NodeArg, Session, __version__

__all__ = [
    "NodeArg",
    "Result",
    "Session",
    "__version__",
    "compress",
    "evaluate",
    "export",
    "inspect",
    "simulate",
]
