"""What tells one format of slices from another: how a file is opened, what it says that it holds, and its values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Protocol

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import shape_text

_SMALL: Final = 64 * 2**20
"""Bytes that a slice may have however small its file is: an empty slice packs to nearly nothing."""


class SliceKind(Protocol):
    """Properties that all slices of one scan have in common; equal where slices are alike, and said as a text."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts about the values that a person should hear of."""


class OpenSlice(ABC):
    """A slice whose header has been read and found to be usable."""

    kind: SliceKind

    @abstractmethod
    def decode(self) -> npt.NDArray[Any]:
        """Return the values (rows, columns) in native byte order. Raise `InputError` when they are damaged."""


@dataclass(frozen=True, slots=True)
class SliceFormat:
    """A format of slices.

    Attributes:
        name: of the format, for messages.
        suffixes: of its files, in lower case.
        opened: opens a file and names it in errors; raises `InputError` for what is no usable slice.

    """

    name: str
    suffixes: tuple[str, ...]
    opened: Callable[[BinaryIO, str], AbstractContextManager[OpenSlice]]


@dataclass(frozen=True, slots=True)
class PictureKind:
    """Kind of a slice that is a picture.

    Attributes:
        shape: rows and columns.
        dtype: of a value, in native byte order.
        stored: how values are stored, where that is not as plain grey values: "RGB", "a table of greys".
        lossy: True when packing has changed the values.

    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    stored: str | None = None
    lossy: bool = False

    def __str__(self) -> str:
        odd = [self.stored and f"stored as {self.stored}", "lossy" if self.lossy else None]
        return ", ".join([f"{shape_text(self.shape)} {self.dtype}", *filter(None, odd)])

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts about the values that a person should hear of."""
        said = []
        if self.stored == RGB:
            said.append("grey values are stored as RGB, three times the same; they are read once")
        if self.lossy:
            said.append("its slices were packed with loss: grey values are near those of the scanner, not the same")
        return tuple(said)


RGB: Final = "RGB"


def check_packed_size(shape: tuple[int, int], item_bytes: int, file_bytes: int, most_ratio: int, name: str) -> None:
    """Raise `InputError` when a file of `file_bytes` cannot, or should not, unpack to a picture of this shape.

    `most_ratio` is how many bytes a packed byte stands for at most.
    """
    rows, columns = shape
    if rows < 1 or columns < 1:
        raise InputError(f"{name}: a picture of {shape_text(shape)}; damaged? restore the file or export it again")
    if rows * columns * item_bytes > max(_SMALL, most_ratio * file_bytes):
        raise InputError(
            f"{name}: {file_bytes} bytes for a picture of {shape_text(shape)}; truncated or damaged? restore the file "
            "or export it again"
        )


def grey_of_rgb(values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return the grey values of a picture (rows, columns, 3) whose channels are equal.

    Raise `InputError` for one that has colours.
    """
    grey = values[..., 0]
    if not (np.array_equal(grey, values[..., 1]) and np.array_equal(grey, values[..., 2])):
        raise InputError(f"{name}: RGB with colours; must be 1 grey value per pixel; convert to greyscale")
    return np.ascontiguousarray(grey)
