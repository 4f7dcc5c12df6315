"""Types of command-line values. Each checks what it is given and says in one line what would be right."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from ps3d_core.errors import InputError
from ps3d_core.geometry import lengths
from ps3d_core.geometry.spacing import Spacing, StatedSpacing, one_if_equal

Given = TypeVar("Given")
Read = TypeVar("Read")


def length_mm(text: str) -> float:
    """Return a positive length in mm from a number of mm, or one with its unit, like 12.5um.

    Raise `argparse.ArgumentTypeError` when the text is no such length.
    """
    return _told(lengths.length_mm, text)


def size_mm(text: str) -> float | str:
    """Return a length like those of `length_mm`, or the word auto."""
    return text if text == "auto" else length_mm(text)


def voxel_mm(text: str) -> float:
    """Return the edge of a voxel in mm from a text like those of `length_mm`.

    Raise `argparse.ArgumentTypeError` when the text is no such length. An edge that no scanner has must be written with
    its unit.
    """
    return _told(lengths.edges_mm, [text])[0]


def spacing_mm(text: str) -> Spacing:
    """Return the edges of a voxel (z, y, x) in mm from one length for all, or three with commas between them.

    Raise `argparse.ArgumentTypeError` when the text is neither.
    """
    return _told(lengths.voxel_edges_mm, text)


def stated_spacing_mm(text: str) -> StatedSpacing:
    """Return the edges of a voxel as those of `spacing_mm`, one number where all are equal."""
    return one_if_equal(spacing_mm(text))


def whole_number(least: int | None = None) -> Callable[[str], int]:
    """Return what makes a whole number of a text, from `least` on where there is such a limit.

    It raises `argparse.ArgumentTypeError` when the text is none.
    """
    wanted = "a whole number" if least is None else f"a whole number from {least}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or (least is not None and value < least):
            raise argparse.ArgumentTypeError(f"{text}: must be {wanted}")
        return value

    return read


def _told(read: Callable[[Given], Read], given: Given) -> Read:
    """Return what `read` makes of `given`; raise its complaint as one that argparse takes as it is."""
    try:
        return read(given)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
