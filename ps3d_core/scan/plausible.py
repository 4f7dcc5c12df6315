"""Lengths that are possible and hardly meant: what a scan is told, or told of, in the wrong unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

LARGEST_VOXEL: Final = 0.2  # mm; scanners for samples hardly have larger ones
SMALLEST_VOXEL: Final = 2e-5  # mm; nor smaller ones
MOST_STRETCHED: Final = 20  # longest edge of a voxel to its shortest


def spacing_note(spacing: Sequence[float]) -> str | None:
    """Return a note about a spacing in mm that no laboratory scanner has; None where there is nothing to say."""
    longest, shortest = max(spacing), min(spacing)
    if longest > LARGEST_VOXEL:
        return f"voxels of {longest:g} mm, {longest:g} millimetres; are micrometres meant?"
    if shortest < SMALLEST_VOXEL:
        return f"voxels of {shortest:g} mm, {shortest * 1e6:g} nanometres; are metres meant?"
    if longest > MOST_STRETCHED * shortest:
        return f"voxels of {longest:g} by {shortest:g} mm; are both in the same unit?"
    return None
