"""Few gradients over slow links: Deep Gradient Compression (Lin et al. 2018)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

#: Density of what is sent in the epochs before the last density is reached, as in the paper.
WARM_UP = (0.25, 0.0625, 0.015625, 0.004)


class GradientCompression:
    """Sends the largest gradients only; the others wait, with their momentum, until they are large.

    Biases and other parameters of one dimension are few, and are sent whole in every step.

    For ``DistributedDataParallel``::

        gradients = GradientCompression(steps_per_epoch=len(loader))
        ddp.register_comm_hook(gradients, GradientCompression.hook)
        optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)       # momentum is here, not there

    :param density: share of the gradients that is sent in the end.
    :param momentum: of the optimiser; corrected for what is held back.
    :param clip: greatest norm of a gradient, of all ranks together; 0 clips none.
    :param steps_per_epoch: length of each stage of the warm-up; 0 has none.
    :param warm_up: densities of its stages.
    """

    def __init__(
        self,
        *,
        density: float = 0.001,
        momentum: float = 0.9,
        clip: float = 0.0,
        steps_per_epoch: int = 0,
        warm_up: Sequence[float] = WARM_UP,
    ) -> None:
        if not 0.0 < density <= 1.0:
            raise ValueError(f"density: needed above 0, to 1, found {density}")
        self.density, self.momentum, self.clip = density, momentum, clip
        self._stage, self._warm_up = steps_per_epoch, tuple(warm_up)
        self._held: dict[int, tuple[Tensor, Tensor]] = {}
        #: Steps that were taken.
        self.steps = 0
        #: What this rank sent, in all, and what it would have sent without compression.
        self.bytes_sent = 0
        self.bytes_dense = 0

    def density_now(self) -> float:
        """Share of the gradients that this step sends."""
        stage = self.steps // self._stage if self._stage else len(self._warm_up)
        return self._warm_up[stage] if stage < len(self._warm_up) else self.density

    def state_dict(self, model: nn.Module) -> dict[str, Any]:
        """What this rank holds back of the model's gradients, by parameter: each rank's checkpoint needs its own."""
        named = {name: self._held.get(id(p)) for name, p in model.named_parameters()}
        held = {name: pair for name, pair in named.items() if pair is not None}
        return {"steps": self.steps, "held": held}

    def load_state_dict(self, state: dict[str, Any], model: nn.Module) -> None:
        """Goes on from this rank's checkpoint."""
        parameters = dict(model.named_parameters())
        held: dict[int, tuple[Tensor, Tensor]] = {}
        for name, (velocity, waiting) in state["held"].items():
            parameter = parameters[name]
            held[id(parameter)] = (
                velocity.to(parameter.device, copy=True),
                waiting.to(parameter.device, copy=True),
            )
        self._held, self.steps = held, state["steps"]

    # PyTorch looks at the annotation of `bucket`, whose class its stubs lack.
    @staticmethod
    def hook(state: "GradientCompression", bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
        """The communication hook of a bucket of gradients."""
        density, world = state.density_now(), dist.get_world_size()
        buffer: Tensor = bucket.buffer()
        values, places, whole = [], [], []
        offset = 0
        for parameter, gradient in zip(bucket.parameters(), bucket.gradients()):
            gradient = state._clipped(gradient.flatten() / world)
            here = range(offset, offset + gradient.numel())
            offset = here.stop
            if parameter.dim() < 2:
                whole.append((here, state._with_momentum(parameter, gradient)))
                continue
            sent, at = state._take(parameter, gradient, density)
            values.append(sent)
            places.append(at + here.start)
        nothing = buffer.new_empty(0)
        sent = torch.cat([nothing, *values, *(velocity for _, velocity in whole)]).float()
        # Places pass through no float type, which would round them.
        place = torch.cat([nothing.to(torch.int64), *places]).to(torch.int32)
        state.bytes_sent += 4 * (sent.numel() + place.numel())
        state.bytes_dense += buffer.element_size() * buffer.numel()
        all_sent = [torch.empty_like(sent) for _ in range(world)]
        all_places = [torch.empty_like(place) for _ in range(world)]
        dist.all_gather(all_sent, sent)
        dist.all_gather(all_places, place)
        buffer.zero_()
        for s, p in zip(all_sent, all_places):
            behind = p.numel()
            buffer.index_add_(0, p, s[:behind].to(buffer.dtype))
            for here, _ in whole:
                buffer[here.start : here.stop] += s[behind : behind + len(here)].to(buffer.dtype)
                behind += len(here)
        if bucket.is_last():
            state.steps += 1
        done: torch.futures.Future[Tensor] = torch.futures.Future()
        done.set_result(buffer)
        return done

    def _clipped(self, gradient: Tensor) -> Tensor:
        if self.clip <= 0.0:
            return gradient
        # Each rank clips its part of the sum, as if gradients were independent.
        most = self.clip / dist.get_world_size() ** 0.5
        factor: Tensor = (most / gradient.norm().clamp_min(1e-12)).clamp_max(1.0)
        return gradient * factor

    def _with_momentum(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        """What a step sends of a parameter that is not compressed."""
        velocity, _ = self._held.setdefault(
            id(parameter), (torch.zeros_like(gradient), torch.empty(0))
        )
        return velocity.mul_(self.momentum).add_(gradient)

    def _take(self, parameter: Tensor, gradient: Tensor, density: float) -> tuple[Tensor, Tensor]:
        """Adds a gradient to what is held back of a parameter and takes the largest out."""
        velocity, held = self._held.setdefault(
            id(parameter), (torch.zeros_like(gradient), torch.zeros_like(gradient))
        )
        velocity.mul_(self.momentum).add_(gradient)
        held.add_(velocity)
        count = max(1, round(density * held.numel()))
        places = held.abs().topk(count, sorted=False).indices
        values = held[places].clone()
        held[places] = 0.0
        velocity[places] = 0.0
        return values, places
