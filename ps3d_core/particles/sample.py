"""What is measured: a label image, and images of the same voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ps3d_core.errors import InputError
from ps3d_core.geometry.spacing import Spacing, StatedSpacing
from ps3d_core.memory_model import GREY_BYTES, LABELS_BYTES
from ps3d_core.scan.spacing import checked_spacing
from ps3d_core.store.chunking import require_chunk_fits
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_origin, open_image

GREY: Final = "grey"
"""Name of the scan itself among images."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is measured: a label image (z, y, x), the grey values of the same scan, and the edge of a voxel.

    Attributes:
        labels: whole numbers, 0 is background.
        image: grey values of the same shape; without it the grey columns have no values.
        spacing: edges of a voxel, mm: one, or three (z, y, x).
        others: further images of the same shape, by name, for measures that ask for them.

    """

    labels: Location
    image: Location | None
    spacing: StatedSpacing
    others: tuple[tuple[str, Location], ...] = ()

    @property
    def named_images(self) -> dict[str, Location]:
        """All images by name; the scan itself is `grey`."""
        return ({} if self.image is None else {GREY: self.image}) | dict(self.others)

    @property
    def origin(self) -> Spacing:
        """Position (z, y, x) of the centre of the first voxel, mm."""
        return image_origin(self.labels)

    @property
    def bytes_per_voxel(self) -> float:
        """Peak of memory per voxel of a block: values as they are stored, and what becomes of them."""
        cost = open_image(self.labels).dtype.itemsize + LABELS_BYTES
        return cost if self.image is None else cost + open_image(self.image).dtype.itemsize + GREY_BYTES

    def require_measurable(self, memory_bytes: int) -> None:
        """Raise `InputError` for images that do not fit together or into memory, and a spacing that cannot be."""
        checked_spacing(self.spacing)
        labels = open_image(self.labels)
        require_chunk_fits(labels, memory_bytes)
        for place in self.named_images.values():
            image = open_image(place)
            require_chunk_fits(image, memory_bytes)
            if image.shape != labels.shape:
                raise InputError(
                    f"{place}: shape {image.shape}, labels have {labels.shape}; give the scan that was labelled"
                )
