"""Which device computes: chosen automatically, overridable by name."""

from __future__ import annotations

from typing import Final

import torch

from ps3d_core.errors import InputError

DEVICES: Final = ("auto", "cuda", "mps", "cpu")

# Measured on Linux with torch 2.13, 160 and 510 MiB, and more just after an installation, when Linux maps more of the
# files (plan.WORKER_BYTES). A build for CUDA loads its libraries on any machine.
_LIBRARY_BYTES: Final = 200 * 2**20
_CUDA_LIBRARY_BYTES: Final = 600 * 2**20


def library_bytes() -> int:
    """Memory that torch itself takes in every process that imports it."""
    return _LIBRARY_BYTES if torch.version.cuda is None else _CUDA_LIBRARY_BYTES


def choose_device(name: str = "auto") -> torch.device:
    """The device to compute on: the named one, or for "auto" the first of cuda, mps and cpu that is there.

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
