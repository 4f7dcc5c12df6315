"""The axes that a TIFF declares: a volume is read only where they are slices, rows and columns in this order.

Other orders would have to be turned, for which all slices are needed at once; so they are refused by name.
"""

from __future__ import annotations

import json
import re
from typing import Final

from tifffile import TiffPage, TiffPageSeries

from ps3d_core.errors import InputError

# Slices may be Z, T (time, as which some programs store them) or axes without a meaning; then rows, then columns.
_ORDER: Final = re.compile(r"[ZTIQP]*Y?X?")


def volume_shape(series: TiffPageSeries, name: str) -> tuple[int, ...]:
    """Return the shape of the series without axes of length 1, always with rows and columns.

    It has more than 3 sides when the series has more. Raise `InputError` for channels, or axes in another order.
    """
    # In pairs: axes without a meaning all have the same letter.
    sides = list(zip(series.axes, series.shape, strict=True))
    if any(axis in "CS" and n > 1 for axis, n in sides):
        raise InputError(
            f"{name}: multi-channel, axes {series.axes} of {series.shape}; must be 1 grey value per voxel; split the "
            "channels, or reorder them to slices when they are slices"
        )
    check_order(series.axes, series.shape, name)
    stack = [n for axis, n in sides if axis not in "YX" and n > 1]
    across = dict(sides)
    return (*(stack or [1]), across.get("Y", 1), across.get("X", 1))


def check_order(axes: str, shape: tuple[int, ...], name: str) -> None:
    """Raise `InputError` unless the axes longer than one are slices, then Y, then X."""
    letters = "".join(axis for axis, n in zip(axes, shape, strict=True) if n > 1)
    if not _ORDER.fullmatch(letters):
        raise InputError(
            f"{name}: axes {axes} of {shape}; must be Z, Y, X in this order; reorder them and save the file again"
        )


def check_picture(page: TiffPage, name: str) -> None:
    """Raise `InputError` when the description of a single page declares axes in another order than Z, Y, X."""
    if page.shaped_description is None:
        return
    try:
        about = json.loads(page.shaped_description)
        axes, shape = str(about["axes"]), tuple(int(n) for n in about["shape"])
    except (ValueError, LookupError, TypeError):
        return  # it declares no axes
    if len(axes) == len(shape):
        check_order(axes, shape, name)


def axes_note(series: TiffPageSeries) -> str | None:
    """Return a note about a volume whose slices are declared as something else; None for any other."""
    times = any(axis == "T" and n > 1 for axis, n in zip(series.axes, series.shape, strict=True))
    return "its axis T (time) is taken for slices" if times else None
