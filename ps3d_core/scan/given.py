"""Volumes as people give them: checked before any work, and brought to a form that is computed on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ps3d_core.errors import InputError, Ps3dError
from ps3d_core.geometry.spacing import StatedSpacing
from ps3d_core.progress import Progress
from ps3d_core.scan.as_image import as_image
from ps3d_core.scan.sources import Source, is_zarr, open_scan, place_of
from ps3d_core.scan.spacing import nearly_one
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_levels, image_spacing, is_scan

MEMORY = 2**31  # as measure and evaluate use at most


def existing(source: str | Location) -> Location:
    """Return where `source` lies, of a volume in a file that is the file; raise `InputError` when nothing is there."""
    location = place_of(source) or Location.parse(source)
    if not location.exists():
        raise InputError(f"{location}: nothing there; check the path")
    return location


@contextmanager
def volumes_in(work: Location, progress: Progress, *, memory_bytes: int = MEMORY) -> Iterator[Volumes]:
    """Hold the volumes that a command is given while the body runs, whose errors name them as they were given."""
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
        self._given: dict[Location, str] = {}

    def image(self, source: Source) -> Location:
        """Return the place of any volume as Zarr: its own, or that of a copy below the work folder.

        Raise `InputError` when nothing is there.
        """
        if (given := place_of(source)) is not None:
            existing(given)
        image = as_image(source, self._work, memory_bytes=self._memory_bytes, progress=self._progress)
        if image != given:
            self._given[image] = str(given or "array")
        return image

    def labels(self, source: Source) -> Location:
        """Return the place of a label image as Zarr; raise `InputError` for a scan, whose grey values are no labels."""
        image = self.image(source)
        if is_scan(image):
            raise InputError(f"{image}: a scan of grey values, its metadata say; give a label image")
        return image

    def array(self, source: Source) -> Location:
        """Return the Zarr array of labels: the one given, or the full resolution of the image given."""
        return image_levels(self.labels(source))[0]

    def as_given(self, message: str) -> str:
        """Return the message with the volume as it was given in place of its copy, or of an array in the copy."""
        for copy, given in self._given.items():
            name = given.replace("\\", r"\\")
            message = re.sub(rf"{re.escape(str(copy))}(/\d+)?(?!\w)", name, message)
        return message


def spacing_of(source: Source) -> StatedSpacing:
    """Return the spacing (mm) that the metadata of an image of any format say: one number for cubes, else (z, y, x).

    Raise `InputError` when they say none.
    """
    place = place_of(source)
    name = "array" if place is None else str(place)
    if place is not None and is_zarr(place):
        spacing, problem = image_spacing(place), "the source does not say its spacing"
    else:
        with open_scan(source) as reader:
            spacing, problem = reader.spacing, reader.without_spacing
    if spacing is None:
        raise InputError(f"{name}: {problem}", "give <spacing> in mm")
    return nearly_one(spacing)
