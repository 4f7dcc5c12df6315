"""The training loop: cross-entropy and Dice, AdamW, a running mean of the weights, and a checkpoint to go on from.

The learning rate is steady, so that training has no end that must be known before: it can go on from its last
checkpoint as long as a machine is free, and a short cool-down, in which the rate falls to nothing, makes a model of it
at any time. The exponential mean of the weights serves as the model in between. AdamW takes a network of this size to
its plateau in a few thousand steps where SGD with nnU-Net's polynomial schedule needs many more.

A batch is a function of its step, and a checkpoint holds everything else, so that training that was killed continues as
if nothing had happened.

On a CPU every pair of patches has a thread of its own, instead of all threads sharing every convolution: they meet
once per step and not a few hundred times, which on a busy machine is the difference between half and double speed.
Pairs, because torch has slower convolutions for single small patches (1.7 times, measured at 48 voxels).
"""

from __future__ import annotations

import copy
import io
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pickle import UnpicklingError
from typing import Final, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from ps3d_core.errors import CorruptDataError, InputError, MissingDataError
from ps3d_core.network.architecture import CLASSES
from ps3d_core.store.location import Location
from ps3d_core.training.patches import Batch

PATCHES_PER_THREAD: Final = 2

BatchOf = Callable[[int], Batch]
"""Makes the batch of a step; called from another thread, while the step before is computed."""


class LoopParams(BaseModel):
    """Parameters of the training loop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=4000, ge=1)
    """Steps at the steady learning rate."""
    cool_down: int = Field(default=0, ge=0)
    """Steps after them, in which the learning rate falls to nothing."""
    learning_rate: float = Field(default=1e-3, gt=0)
    warm_up_steps: int = Field(default=100, ge=1)
    weight_decay: float = Field(default=1e-2, ge=0)
    gradient_norm: float = Field(default=2.0, gt=0)
    mean_decay: float = Field(default=0.998, gt=0, lt=1)
    bfloat16: bool = True
    report_every: int = Field(default=50, ge=1)

    @property
    def last_step(self) -> int:
        """Number of the last step."""
        return self.steps + self.cool_down

    def rate(self, step: int) -> float:
        """Return the learning rate of `step`; the first is 1."""
        if step > self.steps:
            return self.learning_rate * (self.last_step - step + 1) / (self.cool_down + 1)
        return self.learning_rate * min(1.0, step / self.warm_up_steps)


@dataclass
class Training:
    """A network in training: itself, the running mean of its weights, its optimiser, steps and seconds so far."""

    network: nn.Module
    mean: nn.Module
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, network: nn.Module, params: LoopParams, device: torch.device) -> Self:
        """Begin to train `network`, which moves to `device`."""
        network.to(device=device, memory_format=torch.channels_last_3d).train()  # type: ignore[call-overload]
        mean = copy.deepcopy(network).eval().requires_grad_(False)
        return cls(network, mean, torch.optim.AdamW(network.parameters(), weight_decay=params.weight_decay))

    def save(self, file: Location) -> None:
        """Write a checkpoint, whole or not at all."""
        buffer = io.BytesIO()
        states = {
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(states, buffer)
        file.write_bytes(buffer.getvalue())

    def load(self, file: Location) -> bool:
        """Continue from a checkpoint; return False when there is none.

        Raise `InputError` for one that cannot be read or is of another network.
        """
        try:
            stored = torch.load(io.BytesIO(file.read_bytes()), weights_only=True)
            self.network.load_state_dict(stored["network"])
            self.mean.load_state_dict(stored["mean"])
            self.optimizer.load_state_dict(stored["optimizer"])
            self.step, self.seconds = int(stored["step"]), float(stored["seconds"])
        except MissingDataError:
            return False
        except (CorruptDataError, UnpicklingError, RuntimeError, KeyError, ValueError, EOFError) as error:
            first = str(error).strip().partition("\n")[0]
            raise InputError(
                f"checkpoint {file}: not one of this training ({first}); remove it to begin anew"
            ) from error
        return True


def train(
    training: Training,
    batch_of: BatchOf,
    params: LoopParams,
    *,
    report: Callable[[int, float, float], None],
    after_step: Callable[[Training], None],
) -> None:
    """Take `training` from the step it is at to the last one.

    Args:
        training: what is trained, in place.
        batch_of: makes the batch of a step.
        params: of the loop.
        report: called now and then with step, mean loss since the last report, and seconds of training so far.
        after_step: called after every step, for checkpoints and snapshots.

    """
    device = next(training.network.parameters()).device
    parameters = list(training.network.parameters())
    gradients = _PatchGradients(training.network, device, params)
    started, losses = time.monotonic() - training.seconds, []
    with ThreadPoolExecutor() as pool:
        for step, batch in _read_ahead(batch_of, range(training.step + 1, params.last_step + 1), pool):
            loss = gradients(batch, parameters, pool)
            nn.utils.clip_grad_norm_(parameters, params.gradient_norm)
            for group in training.optimizer.param_groups:
                group["lr"] = params.rate(step)
            training.optimizer.step()
            _follow(training.mean, training.network, min(params.mean_decay, step / (step + 10)))
            training.step, training.seconds = step, time.monotonic() - started
            losses.append(loss)
            if step % params.report_every == 0 or step == params.last_step:
                report(step, sum(losses) / len(losses), training.seconds)
                losses.clear()
            after_step(training)


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


def _read_ahead(batch_of: BatchOf, steps: range, pool: ThreadPoolExecutor) -> Iterator[tuple[int, Batch]]:
    """Each step with its batch; while one is used, the next is made."""
    if not steps:
        return
    ahead = pool.submit(batch_of, steps[0])
    for step in steps:
        batch = ahead.result()
        if step != steps[-1]:
            ahead = pool.submit(batch_of, step + 1)
        yield step, batch


@torch.no_grad()
def _follow(mean: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, new in zip(mean.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for buffer, latest in zip(mean.buffers(), network.buffers(), strict=True):
        buffer.copy_(latest)
