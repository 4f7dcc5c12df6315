"""Units that a page speaks in: lengths in µm for fine particles and in mm for coarse ones, one for the whole page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import pi
from typing import Any, Final

from ps3d_core.particles.rounding import significant

COARSE_MM: Final = 1.0
"""Diameter of a typical particle, mm, from which on lengths are given in mm."""
_LARGE_MM3: Final = 1e-3
"""Volume of a typical particle, mm³, from which on volumes are given in mm³."""


@dataclass(frozen=True, slots=True)
class Units:
    """Names of the units of length and volume of a page, and how many of them a mm and a mm³ are."""

    length: str = "mm"
    per_mm: float = 1.0
    volume: str = "mm³"
    per_mm3: float = 1.0

    @classmethod
    def for_diameter(cls, diameter_mm: float) -> Units:
        """Return the units for particles of this typical diameter, mm."""
        fine, small = diameter_mm < COARSE_MM, pi / 6 * diameter_mm**3 < _LARGE_MM3
        return cls(*(("µm", 1e3) if fine else ("mm", 1.0)), *(("µm³", 1e9) if small else ("mm³", 1.0)))

    def length_of(self, mm: Any) -> Any:
        """Return a length, or an array of them, in the unit of the page; given in mm."""
        return mm * self.per_mm

    def length_text(self, mm: float) -> str:
        """Return three significant digits of a length in the unit of the page, without its name; given in mm."""
        return significant(mm * self.per_mm)

    def volume_text(self, mm3: float) -> str:
        """Return three significant digits of a volume in the unit of the page, without its name; given in mm³."""
        return significant(mm3 * self.per_mm3)

    def lengths_text(self, mm: Iterable[float]) -> str:
        """Return several lengths with x between them, in the unit of the page, without its name; given in mm."""
        return " x ".join(map(self.length_text, mm))


MILLIMETRES: Final = Units()
"""Units of pages that show coarse particles, and of all tables."""
