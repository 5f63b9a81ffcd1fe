"""Connections that are removed while a network trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union

import torch
import torch.distributed as dist
from torch import Tensor

from ._recipe import Prune

#: By then the last connection is removed, as in the command's `cubic`.
LAST_CUT = 0.6

#: Cuts until then.
CUTS = 60


class Masks:
    """A mask for each weight of a convolution or fully connected layer.

    Densities fall along a cubic (Zhu & Gupta 2017); what is removed has a value and a gradient of
    zero from then on. All ranks of a process group have the masks of the first.
    """

    def __init__(self, weights: Mapping[str, Tensor], prune: Prune, steps: int) -> None:
        self._weights = weights
        self._prune = prune
        self._every = max(1, int(steps * LAST_CUT) // CUTS)
        self._last = self._every * max(1, int(steps * LAST_CUT) // self._every)
        self._density = {name: _density(prune.density, name) for name in weights}
        self.masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
        for name, weight in weights.items():
            hook = lambda gradient, name=name: gradient * self.masks[name]  # noqa: E731
            weight.register_hook(hook)  # type: ignore[no-untyped-call]

    def step(self, step: int) -> None:
        """After optimiser step number ``step``, from 1."""
        if step <= self._last and step % self._every == 0:
            self._cut(step / self._last)
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.mul_(self.masks[name])

    def _cut(self, part: float) -> None:
        """Removes the smallest weights until so much of the way is gone."""
        left = (1.0 - part) ** 3
        sizes = {name: w.detach().abs() for name, w in self._weights.items()}
        if self._prune.is_global:
            goal = next(iter(self._density.values()))
            keep = goal + (1.0 - goal) * left
            threshold = _threshold(torch.cat([s.flatten() for s in sizes.values()]), keep)
            thresholds = dict.fromkeys(sizes, threshold)
        else:
            keeps = {name: goal + (1.0 - goal) * left for name, goal in self._density.items()}
            thresholds = {name: _threshold(size, keeps[name]) for name, size in sizes.items()}
        for name, size in sizes.items():
            # What is removed stays so, even where a threshold of zero would keep it.
            mask = (size >= thresholds[name]) & self.masks[name]
            if dist.is_available() and dist.is_initialized():
                shared = mask.to(torch.uint8)
                dist.broadcast(shared, 0)
                mask = shared.to(torch.bool)
            self.masks[name] = mask


def _density(density: Union[float, dict[str, float]], name: str) -> float:
    if isinstance(density, dict):
        return density.get(name, 1.0)
    return density


def _threshold(sizes: Tensor, keep: float) -> Tensor:
    """The size of the smallest that stays."""
    flat = sizes.flatten()
    count = min(flat.numel(), max(1, round(keep * flat.numel())))
    return flat.topk(count, sorted=True).values[-1]
