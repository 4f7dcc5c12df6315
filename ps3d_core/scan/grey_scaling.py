"""Grey values that a header scales: value = slope * stored + offset."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError


@dataclass(frozen=True, slots=True)
class GreyScaling:
    """Scaling that changes something."""

    slope: float
    offset: float

    def dtype(self, stored: np.dtype[Any]) -> np.dtype[Any]:
        """Return what scaled values need: float32, or float64 when they are stored in 32 bits or more, but float32."""
        return np.result_type(stored, np.float32)

    def note(self, stored: np.dtype[Any]) -> str:
        """Return what a person should hear of it."""
        return f"values are stored in units of {self.slope:g} above {self.offset:g}: kept as {self.dtype(stored)}"

    def apply(self, slab: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the values of stored ones as a new array."""
        scaled = np.empty(slab.shape, self.dtype(slab.dtype))
        with np.errstate(over="ignore"):  # infinite then, which ingest refuses
            for stored, values in zip(slab, scaled, strict=True):
                values[...] = stored * np.float64(self.slope) + self.offset
        return scaled


def scaling_of(slope: float, offset: float, source: str, names: str) -> GreyScaling | None:
    """Return the scaling by two numbers of a header; None when they change nothing.

    Raise `InputError` for numbers that would change everything into one value, or none; `names` are theirs.
    """
    if not (isfinite(slope) and slope and isfinite(offset)):
        raise InputError(f"{source}: values scaled by {slope} above {offset}; correct {names}")
    return None if (slope, offset) == (1.0, 0.0) else GreyScaling(slope, offset)
