"""The training loop: cross-entropy and Dice, AdamW with a cosine schedule, a running mean of the weights.

nnU-Net's recipe shortened to what a CPU does in half an hour. AdamW takes a network of this size to its plateau in a
few thousand steps where SGD with nnU-Net's polynomial schedule needs many more; the exponential mean of the weights
stands in for the long tail of small steps.

On a CPU every pair of patches has a thread of its own, instead of all threads sharing every convolution: they meet
once per step and not a few hundred times, which on a busy machine is the difference between half and double speed.
Pairs, because torch has slower convolutions for single small patches (1.7 times, measured at 48 voxels).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from ps3d_core.network.architecture import CLASSES
from ps3d_core.training.patches import Batch

PATCHES_PER_THREAD: Final = 2

Report = Callable[[int, float, float], None]
"""Called with step, mean loss since the last report, and seconds so far."""


class LoopParams(BaseModel):
    """Parameters of the training loop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=4000, ge=1)
    """Length of the learning rate's schedule; training ends there, or when the batches do."""
    learning_rate: float = Field(default=2e-3, gt=0)
    warm_up_steps: int = Field(default=100, ge=1)
    weight_decay: float = Field(default=1e-2, ge=0)
    gradient_norm: float = Field(default=2.0, gt=0)
    mean_decay: float = Field(default=0.998, gt=0, lt=1)
    bfloat16: bool = True
    report_every: int = Field(default=50, ge=1)
    snapshot_every: int = Field(default=500, ge=1)


def train(
    network: nn.Module,
    batches: Iterable[Batch],
    params: LoopParams,
    device: torch.device,
    *,
    report: Report,
    snapshot: Callable[[int, nn.Module], None],
) -> nn.Module:
    """Train `network` in place and return the running mean of it, in evaluation mode.

    `snapshot` is called now and then, and at the end, with the step and the running mean.
    """
    network.to(device=device, memory_format=torch.channels_last_3d).train()  # type: ignore[call-overload]
    mean = copy.deepcopy(network).eval().requires_grad_(False)
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, params.learning_rate, weight_decay=params.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rate, params=params))
    gradients = _PatchGradients(network, device, params)
    started, losses, step = time.monotonic(), [], 0

    with ThreadPoolExecutor() as pool:
        for step, batch in enumerate(_read_ahead(batches, pool), start=1):
            loss = gradients(batch, parameters, pool)
            nn.utils.clip_grad_norm_(parameters, params.gradient_norm)
            optimizer.step()
            schedule.step()
            _follow(mean, network, min(params.mean_decay, step / (step + 10)))
            losses.append(loss)
            if step % params.report_every == 0:
                report(step, sum(losses) / len(losses), time.monotonic() - started)
                losses.clear()
            if step % params.snapshot_every == 0:
                snapshot(step, mean)
            if step == params.steps:
                break
    if step % params.snapshot_every:
        snapshot(step, mean)
    return mean


def dice_and_cross_entropy(logits: torch.Tensor, classes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean cross-entropy minus mean soft Dice of core and border, over the whole batch.

    Args:
        logits: (B, 3, z, y, x) float32.
        classes: (B, z, y, x) int64.
        weights: (B, z, y, x) float32, how much each voxel matters in the cross-entropy.

    """
    cross_entropy = (functional.cross_entropy(logits, classes, reduction="none") * weights).sum() / weights.sum()
    probabilities = logits.softmax(1)
    truth = functional.one_hot(classes, CLASSES).movedim(-1, 1)
    axes = (0, 2, 3, 4)
    both = (probabilities * truth).sum(axes)
    size = probabilities.sum(axes) + truth.sum(axes)
    dice = (2 * both + 1) / (size + 1)
    return cross_entropy - dice[1:].mean()


class _PatchGradients:
    """Mean loss and gradient of a batch, from parts of it that are computed side by side."""

    def __init__(self, network: nn.Module, device: torch.device, params: LoopParams) -> None:
        self._network, self._device, self._params = network, device, params

    def __call__(self, batch: Batch, parameters: Sequence[nn.Parameter], pool: ThreadPoolExecutor) -> float:
        """Set the gradients of `parameters`; return the loss. A GPU takes the batch whole, a CPU in pairs."""
        size = PATCHES_PER_THREAD if self._device.type == "cpu" else len(batch.images)
        parts = (torch.from_numpy(array).split(size) for array in batch)  # type: ignore[no-untyped-call]
        results = list(pool.map(partial(self._part, parameters), *parts))
        for parameter, gradients in zip(parameters, zip(*(g for _, g in results), strict=True), strict=True):
            parameter.grad = torch.stack(gradients).mean(0) if len(results) > 1 else gradients[0]
        return sum(loss for loss, _ in results) / len(results)

    def _part(
        self, parameters: Sequence[nn.Parameter], images: torch.Tensor, classes: torch.Tensor, weights: torch.Tensor
    ) -> tuple[float, tuple[torch.Tensor, ...]]:
        x = images.to(self._device).contiguous(memory_format=torch.channels_last_3d)
        # Parts must not share the casts of weights that autocast would keep.
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._params.bfloat16, cache_enabled=False):
            logits = self._network(x)
        loss = dice_and_cross_entropy(logits.float(), classes.to(self._device), weights.to(self._device))
        return float(loss.detach()), torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)


def _read_ahead(batches: Iterable[Batch], pool: ThreadPoolExecutor) -> Iterator[Batch]:
    """The batches in their order; while one is used, the next is made."""
    source = iter(batches)
    ahead = pool.submit(next, source, None)
    while (batch := ahead.result()) is not None:
        ahead = pool.submit(next, source, None)
        yield batch


def _rate(step: int, *, params: LoopParams) -> float:
    if step < params.warm_up_steps:
        return (step + 1) / params.warm_up_steps
    done = (step - params.warm_up_steps) / max(1, params.steps - params.warm_up_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@torch.no_grad()
def _follow(mean: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, new in zip(mean.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for buffer, latest in zip(mean.buffers(), network.buffers(), strict=True):
        buffer.copy_(latest)
