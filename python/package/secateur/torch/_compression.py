"""A recipe beside a training loop."""

from __future__ import annotations

from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._fake import FakeQuantization
from ._masks import Masks
from ._recipe import RecipeArg, plan

#: From there on rounding is felt: what is removed is settled by then.
ROUNDING = 0.75

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)


class Compression:
    """Removes, rounds and distils while a loop of your own trains.

    Make it before the optimiser and before ``DistributedDataParallel`` wraps the model; call
    :meth:`loss` for each loss and :meth:`step` after each step of the optimiser. On the first three
    fifths of the steps connections are removed, from three quarters on rounding is felt.

    :param model: trained in place, on any device.
    :param recipe: a built-in recipe or a TOML file with one ``prune``, one ``quantize``, or both.
    :param steps: optimiser steps in all.
    :param teacher: the network to learn from, where the recipe distils; on the same device.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: RecipeArg,
        *,
        steps: int,
        teacher: Optional[nn.Module] = None,
    ) -> None:
        if steps < 1:
            raise ValueError(f"steps: needed 1 or more, found {steps}")
        self._plan = plan(recipe)
        if self._plan.distill is not None and teacher is None:
            raise ValueError(f"{recipe} distils, and there is no teacher")
        layers: dict[str, nn.Module] = {
            name: m for name, m in model.named_modules() if isinstance(m, LAYERS)
        }
        if not layers:
            raise ValueError("the model has no convolution and no fully connected layer")
        weights = {f"{name}.weight": layer.get_parameter("weight") for name, layer in layers.items()}
        self._steps, self._done = steps, 0
        self._teacher = teacher.eval() if teacher is not None else None
        self._masks: Optional[Masks] = None
        if self._plan.prune is not None:
            named = self._plan.prune.density
            unknown = set(named) - set(weights) if isinstance(named, dict) else set()
            if unknown:
                there = ", ".join(weights)
                raise ValueError(f"no weight {', '.join(sorted(unknown))}; there are {there}")
            self._masks = Masks(weights, self._plan.prune, steps)
        self._fake: Optional[FakeQuantization] = None
        if self._plan.quantize is not None:
            asked = self._plan.quantize
            self._fake = FakeQuantization(layers, asked.weight_bits, asked.activation_bits)
            if self._masks is None:
                self._fake.turn_on()

    @property
    def masks(self) -> dict[str, Tensor]:
        """What is left of each weight, by its parameter's name."""
        return {} if self._masks is None else dict(self._masks.masks)

    @property
    def density(self) -> float:
        """Share of the weights that is left."""
        masks = self.masks.values()
        kept, all_ = sum(int(m.sum()) for m in masks), sum(m.numel() for m in masks)
        return kept / all_ if all_ else 1.0

    @property
    def weight_bits(self) -> Optional[int]:
        """Width of a weight in the end; None where weights stay real."""
        return None if self._plan.quantize is None else self._plan.quantize.weight_bits

    def loss(self, loss: Tensor, inputs: Any, outputs: Tensor) -> Tensor:
        """The loss with the teacher's part in it, if the recipe distils."""
        distill = self._plan.distill
        if distill is None or self._teacher is None:
            return loss
        with torch.no_grad():
            taught = self._teacher(inputs)
        t = distill.temperature
        divergence = F.kl_div(
            F.log_softmax(outputs / t, -1),
            F.log_softmax(taught / t, -1),
            reduction="batchmean",
            log_target=True,
        )
        return distill.alpha * loss + (1.0 - distill.alpha) * t * t * divergence

    def step(self) -> None:
        """What follows each step of the optimiser."""
        self._done += 1
        if self._masks is not None:
            self._masks.step(self._done)
        if self._fake is not None and self._done >= ROUNDING * self._steps:
            self._fake.turn_on()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs beside the model's and the optimiser's."""
        return {"done": self._done, "masks": self.masks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self._done = state["done"]
        if self._masks is not None:
            for name, mask in state["masks"].items():
                self._masks.masks[name].copy_(mask)
        if self._fake is not None and self._done >= ROUNDING * self._steps:
            self._fake.turn_on()
