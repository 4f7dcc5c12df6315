"""Checks of what several commands are given, before any work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ps3d_core.errors import InputError, Ps3dError
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


@contextmanager
def volumes_in(work: Location, progress: Progress, *, memory_bytes: int = MEMORY) -> Iterator[Volumes]:
    """The volumes that a command is given, in a block whose errors name them as they were given."""
    volumes = Volumes(work, progress, memory_bytes)
    try:
        yield volumes
    except Ps3dError as error:
        error.args = tuple(volumes.as_given(str(text)) for text in error.args)
        raise


class Volumes:
    """Volumes as Zarr: those given, or copies below a work folder of scans of other formats, TIFF or NIfTI."""

    def __init__(self, work: Location, progress: Progress, memory_bytes: int) -> None:
        self._work, self._progress, self._memory_bytes = work, progress, memory_bytes
        self._given: dict[Location, Location] = {}

    def image(self, text: str) -> Location:
        """Any volume."""
        from ps3d_core.scan.as_image import as_image

        given = existing(text)
        image = as_image(given, self._work, memory_bytes=self._memory_bytes, progress=self._progress)
        if image != given:
            self._given[image] = given
        return image

    def labels(self, text: str) -> Location:
        """A label image; `InputError` for a scan, whose grey values are no labels."""
        image = self.image(text)
        if is_scan(image):
            raise InputError(f"{image}: a scan of grey values, its metadata say; give a label image")
        return image

    def array(self, text: str) -> Location:
        """The Zarr array of labels: the one given, or the full resolution of the image given."""
        return image_levels(self.labels(text))[0]

    def as_given(self, message: str) -> str:
        """The message about what was given, which may be told of its copy, or of an array in the copy."""
        for copy, given in self._given.items():
            name = str(given).replace("\\", r"\\")
            message = re.sub(rf"{re.escape(str(copy))}(/\d+)?(?!\w)", name, message)
        return message


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
