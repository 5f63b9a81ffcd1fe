"""Rounding that a network feels while it trains (Jacob et al. 2018)."""

from __future__ import annotations

from typing import Any, Optional

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import parametrize

#: How slowly the range of an activation follows its batches.
MEMORY = 0.99


class FakeWeight(nn.Module):
    """Symmetric integers with a scale for each output channel, straight through."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.limit = 2 ** (bits - 1) - 1
        self.on = False

    def forward(self, weight: Tensor) -> Tensor:
        if not self.on:
            return weight
        rows = weight.detach().flatten(1).abs().amax(1)
        scales = (rows / self.limit).clamp_min(torch.finfo(weight.dtype).tiny)
        zeros = torch.zeros(len(scales), dtype=torch.int32, device=weight.device)
        return torch.fake_quantize_per_channel_affine(
            weight, scales, zeros, 0, -self.limit, self.limit
        )


class FakeActivation(nn.Module):
    """Unsigned codes of a layer's input, in the range of its recent batches."""

    low: Tensor
    high: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.most = 2**bits - 1
        self.on = False
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self._follow(x.detach())
        if not self.on:
            return x
        scale, zero_point = self.codes()
        return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, self.most)

    def codes(self) -> tuple[float, int]:
        """Scale and zero point; zero is a code."""
        low, high = min(float(self.low), 0.0), max(float(self.high), 0.0)
        scale = max((high - low) / self.most, 1e-8)
        return scale, min(self.most, round(-low / scale))

    def _follow(self, x: Tensor) -> None:
        low, high = x.amin().float(), x.amax().float()
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(low, dist.ReduceOp.MIN)
            dist.all_reduce(high, dist.ReduceOp.MAX)
        fresh = bool(self.low == self.high)
        memory = 0.0 if fresh else MEMORY
        self.low.mul_(memory).add_(low * (1.0 - memory))
        self.high.mul_(memory).add_(high * (1.0 - memory))


class FakeQuantization:
    """Rounding of the weights, and of the inputs, of these layers."""

    def __init__(
        self, layers: dict[str, nn.Module], weight_bits: int, activation_bits: Optional[int]
    ) -> None:
        self.weights: dict[str, FakeWeight] = {}
        self.activations: dict[str, FakeActivation] = {}
        for name, layer in layers.items():
            self.weights[name] = FakeWeight(weight_bits)
            parametrize.register_parametrization(layer, "weight", self.weights[name])
            if activation_bits is not None:
                fake = FakeActivation(activation_bits)
                self.activations[name] = fake
                # A part of the layer, so that it moves, trains and is kept with it.
                layer.add_module("secateur_input", fake)
                layer.register_forward_pre_hook(_round_input)

    def turn_on(self) -> None:
        """From here on the network feels it."""
        for weight in self.weights.values():
            weight.on = True
        for activation in self.activations.values():
            activation.on = True


def bake(model: nn.Module) -> None:
    """Puts rounded weights in the place of those they are rounded from."""
    for layer in model.modules():
        if not parametrize.is_parametrized(layer, "weight"):
            continue
        stack: Any = layer.parametrizations
        for fake in stack.weight:
            if isinstance(fake, FakeWeight) and fake.on:
                with torch.no_grad():
                    stack.weight.original.copy_(layer.weight)
                fake.on = False


def _round_input(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    fake: Any = layer.secateur_input
    return (fake(inputs[0]), *inputs[1:])
