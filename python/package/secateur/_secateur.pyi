"""The part that is written in Rust."""

from collections.abc import Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Callable, Optional, Union

import numpy as np
from numpy.typing import NDArray

__version__: str

class NodeArg:
    """An input or output of a network, as in ONNX Runtime."""

    @property
    def name(self) -> str:
        """Its name."""
    @property
    def shape(self) -> Optional[list[Union[int, str, None]]]:
        """Its extents; a name or ``None`` where one is free, ``None`` where nothing is known."""
    @property
    def type(self) -> str:
        """Its type as ONNX Runtime writes it, such as ``tensor(float)``."""

class Session:
    """A network ready to run; calls from several threads may overlap.

    :param network: an ``.onnx``, ``.sct`` or ``.net`` file, or the bytes of an ``.sct`` or ONNX file.
    :param threads: threads that large steps are shared among; all cores by default.
    """

    def __init__(
        self, network: Union[str, PathLike[str], bytes], *, threads: Optional[int] = None
    ) -> None: ...
    def run(
        self,
        output_names: Optional[Sequence[str]],
        input_feed: Mapping[str, NDArray[Any]],
        run_options: object = None,
    ) -> list[NDArray[Any]]:
        """Runs the network on arrays by input name; gives the outputs asked for, or all.

        C-contiguous arrays are read where they lie; others are copied first. Other threads of
        Python run meanwhile.
        """
    def get_inputs(self) -> list[NodeArg]:
        """The inputs that :meth:`run` needs."""
    def get_outputs(self) -> list[NodeArg]:
        """The outputs, in the order in which :meth:`run` gives them."""
    def close(self) -> None:
        """Frees the network; later calls raise :class:`ValueError`."""
    def __enter__(self) -> Session: ...
    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None: ...

def command(
    arguments: Sequence[str],
    line: Optional[Callable[[str], object]],
    progress: Optional[Callable[[str, int, int, str], object]],
) -> str:
    """Carries out a command; gives its result as JSON."""

def main(arguments: Sequence[str]) -> int:
    """The command line, as in a shell; gives the exit status."""

def recipe(name: str) -> str:
    """A recipe, built in or in a file, as JSON."""

def pack(network: str, output: str, bits: Optional[int], store: str) -> None:
    """Writes an ONNX network, its weights as integers where ``bits`` says how wide."""
