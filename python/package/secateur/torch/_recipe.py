"""What a recipe asks of a training loop."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Optional, Union

from .._secateur import recipe as _read

RecipeArg = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Prune:
    """Connections to remove."""

    #: Share of the weights that stay, over all layers or in each; or by the parameter's name.
    density: Union[float, dict[str, float]]
    #: Whether one threshold serves all layers.
    is_global: bool


@dataclass(frozen=True)
class Quantize:
    """Integers to compute with."""

    weight_bits: int
    #: None where activations stay real.
    activation_bits: Optional[int]


@dataclass(frozen=True)
class Distill:
    """What is learned from a teacher: ``alpha`` of the loss is the labels', the rest is its answers'."""

    alpha: float
    temperature: float


@dataclass(frozen=True)
class Plan:
    """A recipe for a loop: each part at most once, in this order."""

    prune: Optional[Prune]
    quantize: Optional[Quantize]
    distill: Optional[Distill]


def plan(recipe: RecipeArg) -> Plan:
    """Reads a recipe, and refuses what a loop of one's own has no part in."""
    prune: Optional[Prune] = None
    quantize: Optional[Quantize] = None
    distill: Optional[Distill] = None
    for step in json.loads(_read(os.fspath(recipe)))["step"]:
        kind = step["kind"]
        if kind == "prune" and prune is None and quantize is None:
            prune = _prune(step)
        elif kind == "quantize" and quantize is None:
            quantize = _quantize(step)
        elif kind not in ("train", "encode"):
            raise ValueError(
                f"{recipe}: `{kind}` here has no part in a training loop of your own; "
                "one `prune` and then one `quantize` have"
            )
        found = (step.get("retrain") or {}).get("distill")
        if found is not None:
            distill = Distill(found["alpha"], found.get("temperature", 1.0))
    return Plan(prune, quantize, distill)


def _only(step: dict[str, Any], **known: Any) -> None:
    """Refuses settings that would otherwise be passed over in silence."""
    for setting, needed in known.items():
        found = step.get(setting, needed)
        if found != needed:
            place = f"{step['kind']}.{setting}"
            raise ValueError(f"{place}: a loop of your own knows {needed!r}, found {found!r}")


def _prune(step: dict[str, Any]) -> Prune:
    _only(step, pattern="unstructured", criterion="magnitude", shadow=False)
    allocation = step.get("allocation") or {}
    for way in ("global", "uniform", "per_layer"):
        if way in allocation:
            return Prune(allocation[way], way == "global")
    raise ValueError("prune.allocation: a loop of your own knows global, uniform and per_layer")


def _quantize(step: dict[str, Any]) -> Quantize:
    _only(
        step,
        bits={},
        first_last_bits=None,
        depthwise_bits=None,
        activation_bits=8,
        activation_error=None,
        rounding="nearest",
        equalize=False,
    )
    bits = step["weight_bits"]
    if not 2 <= bits <= 8:
        raise ValueError(f"quantize.weight_bits: a loop of your own knows 2 to 8, found {bits}")
    return Quantize(bits, None if step.get("activation_range") is None else 8)
