"""The axes that a TIFF declares: a volume is read only where they are slices, rows and columns in this order.

Other orders would have to be turned, for which all slices are needed at once; so they are refused by name.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt
from tifffile import TiffPage, TiffPageSeries

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams

# Slices may be Z, T (time, as which some programs store them) or axes without a meaning; then rows, then columns.
_ORDER: Final = re.compile(r"[ZTIQP]*Y?X?")

_TAKEN: Final = {
    "T": "its axis T (time) is taken for slices",
    "C": "its axis C (channels) is taken for slices, as was said",
}


@dataclass(frozen=True, slots=True)
class Planes:
    """Which planes of a series are the slices of the volume.

    Attributes:
        shape: of the volume; more than 3 sides when the series has more axes than a volume.
        chosen: number of each slice among all planes of the series, in their order.
        of: how many planes the series has.
        note: what a person should hear of the choice.

    """

    shape: tuple[int, ...]
    chosen: npt.NDArray[np.intp]
    of: int
    note: str | None = None

    @property
    def is_all(self) -> bool:
        """True when every plane is a slice, in their order."""
        return len(self.chosen) == self.of


def planes_of(series: TiffPageSeries, params: SourceParams, name: str) -> Planes:
    """Return the planes of a series that are slices, of the channel and the time that `params` choose.

    Raise `InputError` for several channels or times among which nobody chose, and axes in another order.
    """
    sides = [(axis, n) for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YX"]
    across = {axis: n for axis, n in zip(series.axes, series.shape, strict=True) if axis in "YX"}
    if any(axis == "S" and n > 1 for axis, n in sides):
        raise InputError(f"{_many(series, name)}; convert to greyscale")
    check_order(series.axes.replace("C", "Z"), series.shape, name, declared=series.axes)
    sides += [(axis, 1) for axis in "CT" if axis not in series.axes]
    numbers = np.arange(prod(n for _, n in sides)).reshape([n for _, n in sides])
    kept, taken_for_slices = [], None
    for axis, n in sides:
        index = _chosen(axis, n, params, name)
        if index is None:
            kept.append((axis, n))
        else:
            numbers = np.take(numbers, index, axis=len(kept))
    stack = [(axis, n) for axis, n in kept if n > 1]
    for axis, n in stack:
        if axis == "C" and not (params.channels_are_slices and len(stack) == 1):
            raise _channels(series, n, is_alone=len(stack) == 1, name=name)
        taken_for_slices = _TAKEN.get(axis, taken_for_slices)
    if len(stack) > 1 and any(axis == "T" for axis, _ in stack):
        raise InputError(
            f"{name}: {len(stack) + 2}-dimensional, axes {series.axes} of {series.shape}; must be one volume (z, y, x)",
            "choose a point in time with <time>",
            "split it first",
        )
    shape = (*([n for _, n in stack] or [1]), across.get("Y", 1), across.get("X", 1))
    return Planes(shape, numbers.reshape(-1), prod(n for _, n in sides), taken_for_slices)


def _chosen(axis: str, n: int, params: SourceParams, name: str) -> int | None:
    """Return which of `n` channels or times is chosen; None where the axis is no such thing, or nothing is chosen."""
    option, what = {"C": ("channel", "channels"), "T": ("time", "points in time")}.get(axis, ("", ""))
    index = getattr(params, option) if option else None
    if index is not None and index >= n:
        raise InputError(f"{name}: no {option} {index} among {n} {what}; must be 0 to {n - 1}", f"correct <{option}>")
    return index


def _channels(series: TiffPageSeries, count: int, *, is_alone: bool, name: str) -> InputError:
    remedy = (
        f"say with <channels_are_slices> that these {count} channels are slices"
        if is_alone
        else ("choose one with <channel>")
    )
    return InputError(_many(series, name), remedy, "split the channels into files of their own")


def _many(series: TiffPageSeries, name: str) -> str:
    return f"{name}: multi-channel, axes {series.axes} of {series.shape}; must be 1 grey value per voxel"


def check_order(axes: str, shape: tuple[int, ...], name: str, *, declared: str | None = None) -> None:
    """Raise `InputError` unless the axes longer than one are slices, then Y, then X; it calls them as `declared`."""
    letters = "".join(axis for axis, n in zip(axes, shape, strict=True) if n > 1)
    if not _ORDER.fullmatch(letters):
        raise InputError(
            f"{name}: axes {declared or axes} of {shape}; must be Z, Y, X in this order; reorder them and save the "
            "file again"
        )


def check_picture(page: TiffPage, name: str) -> None:
    """Raise `InputError` when the description of a single page declares axes in another order than Z, Y, X."""
    if page.shaped_description is None:
        return
    try:
        about = json.loads(page.shaped_description)
        axes, shape = str(about["axes"]), tuple(int(n) for n in about["shape"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return  # it declares no axes
    if len(axes) == len(shape):
        check_order(axes, shape, name)
