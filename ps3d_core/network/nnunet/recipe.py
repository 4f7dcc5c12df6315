"""What reading a folder of nnU-Net yields: a network in this project's terms, and what the folder says of its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from pydantic import ValidationError

from ps3d_core.errors import InputError
from ps3d_core.invalid import first_problem
from ps3d_core.network.architecture import CLASSES, Architecture
from ps3d_core.network.normalisation import Normalisation

Weights = Mapping[str, torch.Tensor]

UNMIRRORED: Final = "it was trained without mirroring: segment without mirroring (test-time augmentation)"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A trained network without its weights."""

    architecture: Architecture
    patch_size: tuple[int, int, int]
    normalisation: Normalisation | None
    """None when the folder plans one that cannot be applied."""
    doubt: str
    """Why `normalisation` is missing or a guess; empty when it is neither."""
    trainer: str
    remarks: tuple[str, ...] = ()
    """What a person should know: one sentence each."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """For the bundle's record of its training."""


def three(value: Any, what: str) -> tuple[int, int, int]:
    """Return a whole number per axis, from a number for all axes or a list of three.

    Raises:
        InputError: naming `what`.

    """
    values = [value] * 3 if isinstance(value, int) else value
    if not isinstance(values, list) or len(values) != 3 or not all(_is_whole(size) for size in values):
        raise InputError(f"{what} {str(value)[:100]}: not a whole number for each of three axes; give a 3d model")
    z, y, x = (int(size) for size in values)
    return z, y, x


def make_architecture(what: str, **sizes: Any) -> Architecture:
    """Return an `Architecture`. Raise `InputError` in one line about `what` when its validation fails."""
    try:
        return Architecture(**sizes)
    except ValidationError as error:
        raise InputError(f"{what}: {first_problem(error).text}; such a network is not supported") from error


def check_ends(channels: int, classes: int, what: str) -> None:
    """Raise `InputError` when a network does not fit border-core labels.

    Its input must be one grey value, its output background, core, border.
    """
    if channels != 1:
        raise InputError(f"{what}: the network takes {channels} channels, not 1; give one for grey values alone")
    if classes != CLASSES:
        raise InputError(
            f"{what}: the network tells {classes} classes apart, not {CLASSES} (background, core, border); "
            "give a border-core model"
        )


def check_axes(plans: Mapping[str, Any], what: str) -> None:
    """Raise `InputError` when a network was trained on transposed axes.

    nnU-Net transposes them for spacings that differ.
    """
    order = plans.get("transpose_forward")
    if order not in (None, [0, 1, 2]):
        raise InputError(
            f"{what}: transpose_forward {str(order)[:50]}: trained on other axes than z y x; not supported"
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
