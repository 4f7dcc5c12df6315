"""Which device computes: chosen automatically, overridable by name; of several GPUs another for every worker."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch

from ps3d_core.errors import InputError

DEVICES: Final = ("auto", "cuda", "mps", "cpu")
GPU_SHARE: Final = 0.5
"""Of the free memory of a GPU that a batch may take; libraries and the sums of a block need the rest."""
LARGEST_BATCH: Final = 32
"""Patches; a GPU is no faster with more."""

_held: Counter[int] = Counter()
_holding: Final = threading.Lock()


def choose_device(name: str = "auto") -> torch.device:
    """Return the device to compute on: the named one, or for "auto" the first of cuda, mps and cpu that is there.

    Raises:
        InputError: for an unknown name, or a device that this machine does not have.

    """
    if name not in DEVICES:
        raise InputError(f"device {name}: it is none of {', '.join(DEVICES)}; choose one of them")
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, there in present.items() if there))
    if not present[name]:
        there = ", ".join(device for device, is_there in present.items() if is_there)
        raise InputError(f"device {name}: PyTorch sees none on this machine, only {there}", "give auto as <device>")
    return torch.device(name)


def gpu_count(kind: str) -> int:
    """Return how many devices of a kind can compute side by side here: the visible GPUs for "cuda", else 1."""
    return max(1, torch.cuda.device_count()) if kind == "cuda" else 1


@contextmanager
def held_device(kind: str, worker: int = 0) -> Iterator[torch.device]:
    """Hold a device of a kind ("cuda", "mps", "cpu") while the body runs.

    Of several GPUs it is one that the fewest threads of this process hold, the first of these from the number of the
    `worker` process on: every worker has its own as long as there are enough.
    """
    if kind != "cuda":
        yield torch.device(kind)
        return
    with _holding:
        number = least_held([_held[gpu] for gpu in range(gpu_count(kind))], worker)
        _held[number] += 1
    try:
        yield torch.device(kind, number)
    finally:
        with _holding:
            _held[number] -= 1


def least_held(held: Sequence[int], worker: int) -> int:
    """Return the index of the smallest number in `held`; of equal ones the first from index `worker` on, round about.

    `held` has at least one number; indices beyond the last one count round, too.
    """
    return min(range(len(held)), key=lambda gpu: (held[gpu], (gpu - worker) % len(held)))


def free_batch(free_bytes: int, patch_bytes: float) -> int:
    """Return how many patches of `patch_bytes` a batch has on a GPU with `free_bytes` of free memory.

    A power of two, 1 to `LARGEST_BATCH`, so that a run that is continued beside a few more or fewer megabytes of others
    has the same batches, and with them the same bits.
    """
    fitting = max(1, min(LARGEST_BATCH, int(GPU_SHARE * free_bytes / patch_bytes)))
    return 1 << fitting.bit_length() - 1
