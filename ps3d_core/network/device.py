"""Which device computes: chosen automatically, overridable by name."""

from __future__ import annotations

from typing import Final

import torch

from ps3d_core.errors import InputError

DEVICES: Final = ("auto", "cuda", "mps", "cpu")


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
