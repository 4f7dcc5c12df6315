"""Columns of the size and shape of whole particles, each with what it is."""

from __future__ import annotations

from typing import Final

from ps3d_core.particles.column import Column

_ISO_6: Final = "ISO 9276-6:2008"


def _shape(name: str, unit: str, meaning: str, formula: str, source: str, type: str = "double") -> Column:
    return Column(name, type, unit, meaning, formula, source, "shape")


def _direction(name: str, of: str) -> tuple[Column, ...]:
    return tuple(
        _shape(f"{name}_{a}", "1", f"direction of {of}, {a}", "unit vector; its first component but 0 is above 0", "")
        for a in "zyx"
    )


COLUMNS: Final = (
    _shape("feret_max_mm", "mm", "largest Feret diameter", "largest distance of two planes that touch it", _ISO_6),
    *_direction("feret_max", "the largest Feret diameter"),
    _shape(
        "feret_max90_mm",
        "mm",
        "largest Feret diameter perpendicular to the largest",
        "largest over directions perpendicular to feret_max",
        _ISO_6,
    ),
    _shape(
        "feret_third_mm",
        "mm",
        "Feret diameter perpendicular to both",
        "along the cross product of the directions of feret_max and feret_max90",
        "",
    ),
    _shape("feret_min_mm", "mm", "smallest Feret diameter, x_Fe,min", "least over all directions", _ISO_6),
    *_direction("feret_min", "the smallest Feret diameter"),
    _shape(
        "sieve_mm",
        "mm",
        "side of the smallest square hole that it passes",
        "min over perpendicular p, q of max(Feret diameter along p, along q)",
        "",
    ),
    _shape("hull_volume_mm3", "mm3", "volume of the convex hull", "voxels whose centre is in the hull of centres", ""),
    _shape("solidity", "1", "share of its convex hull that it fills", "volume / hull volume", _ISO_6),
    _shape(
        "corey",
        "1",
        "shape factor of Corey",
        "S / sqrt(L I) with L = feret_max, I = feret_max90, S = feret_third",
        "Corey, Influence of shape on the fall velocity of sand grains, Colorado A & M College, 1949",
    ),
    _shape(
        "roundness",
        "1",
        "share of the ball around feret_max that it fills; 1 is a ball",
        "volume / (pi / 6 feret_max^3): the roundness 4 A / (pi x_Fe,max^2) carried over to volumes",
        _ISO_6,
    ),
    _shape(
        "inscribed_diameter_mm",
        "mm",
        "diameter of the largest ball inside",
        "of the largest ball without centres of voxels from outside, less 11 n^(-2/3) voxels with n centres next to it",
        _ISO_6,
    ),
    _shape(
        "pores",
        "1",
        "closed pores inside",
        "parts of background, connected by faces, that no path by faces beside the particle leads out of",
        "",
        "int64",
    ),
    _shape("pore_volume_mm3", "mm3", "volume of the closed pores", "voxels * volume of a voxel", ""),
)
"""In the order of what the kernel writes."""

NAMES: Final = tuple(each.name for each in COLUMNS)
POWERS: Final = tuple({"mm": 1, "mm3": 3}.get(each.unit, 0) for each in COLUMNS)
"""By which power of the unit of length each scales."""
