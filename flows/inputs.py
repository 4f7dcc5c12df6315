"""Checks of what several commands are given, before any work."""

from __future__ import annotations

from ps3d_core.errors import InputError
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_spacing

SAME = 0.01


def existing(text: str) -> Location:
    """The location; `InputError` when nothing is there."""
    location = Location.parse(text)
    if not location.exists():
        raise InputError(f"{location}: nothing there; check the path")
    return location


def array_in(text: str) -> Location:
    """The location of a Zarr array: the one given, or the full resolution of the OME-Zarr image given."""
    location = existing(text)
    full = location / "0"
    return full if any((full / file).exists() for file in ("zarr.json", ".zarray")) else location


def spacing_of(image: Location) -> float:
    """Spacing (mm) that an image's metadata say, equal along all axes."""
    spacing = image_spacing(image)
    if spacing is None:
        raise InputError(f"{image}: does not say its spacing", "give <spacing> in mm")
    if max(spacing) > min(spacing) * (1 + SAME):
        raise InputError(f"{image}: spacing {spacing} mm; must be the same along all axes", "give <spacing> in mm")
    return spacing[0]
