"""Checks of what several commands are given, before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ps3d_core.errors import InputError
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_levels, image_spacing, is_scan

if TYPE_CHECKING:
    from ps3d_core.progress import Progress

SAME = 0.01
MEMORY = 2**31  # as measure and evaluate use at most


def existing(text: str) -> Location:
    """The location; `InputError` when nothing is there."""
    location = Location.parse(text)
    if not location.exists():
        raise InputError(f"{location}: nothing there; check the path")
    return location


def image_in(text: str, work: Location, progress: Progress, *, memory_bytes: int = MEMORY) -> Location:
    """The Zarr given, or a copy below `work` of a scan of another format: TIFF or NIfTI."""
    from ps3d_core.scan.as_image import as_image

    return as_image(existing(text), work, memory_bytes=memory_bytes, progress=progress)


def labels_in(text: str, work: Location, progress: Progress, *, memory_bytes: int = MEMORY) -> Location:
    """The same for a label image; `InputError` for a scan, whose grey values are no labels."""
    image = image_in(text, work, progress, memory_bytes=memory_bytes)
    if is_scan(image):
        raise InputError(f"{image}: a scan of grey values, its metadata say; give a label image")
    return image


def array_in(text: str, work: Location, progress: Progress, *, memory_bytes: int) -> Location:
    """The location of a Zarr array: the one given, or the full resolution of the image given."""
    return image_levels(labels_in(text, work, progress, memory_bytes=memory_bytes))[0]


def spacing_of(source: Location) -> float:
    """Spacing (mm) that the metadata of an image of any format say, equal along all axes."""
    from ps3d_core.scan.sources import is_zarr, open_scan

    if is_zarr(source):
        spacing, problem = image_spacing(source), "the source does not say its spacing"
    else:
        with open_scan(source) as reader:
            spacing, problem = reader.spacing, reader.without_spacing
    if spacing is None:
        raise InputError(f"{source}: {problem}", "give <spacing> in mm")
    if max(spacing) > min(spacing) * (1 + SAME):
        raise InputError(f"{source}: spacing {spacing} mm; must be the same along all axes", "give <spacing> in mm")
    return spacing[0]
