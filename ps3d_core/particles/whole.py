"""What a measure gets, and gives, that needs all voxels of a particle at once.

A hull, a distance transform or the inclusions of a particle do not add up over blocks. Such measures see cutouts: parts
of the label image that hold some particles whole. A particle is measured from its own box and the voxels next to it
alone, so its values do not depend on which others share its cutout.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import Spacing
from ps3d_core.particles.column import Column
from ps3d_core.particles.label_index import Labels

MARGIN: Final = 2
"""Voxels around the box of every particle that a cutout holds."""


@dataclass(frozen=True, slots=True)
class Cutout:
    """A part of a label image that holds n particles whole.

    Attributes:
        labels: uint32 (z, y, x), with at least `MARGIN` voxels around the box of each of the particles; 0 beyond the
            faces of the scan. Others than these particles may be in it, whole or cut.
        ids: (n,) labels of the particles, rising.
        low: int32 (n, 3), first voxel of the box of each, as indices into `labels`.
        high: int32 (n, 3), last voxel of the box of each.
        edges: of a voxel (z, y, x), mm.
        start: index in the scan of the first voxel of `labels`, which may lie beyond its faces.
        images: further images by name, each real, of the shape of `labels`; beyond the faces of the scan their nearest
            voxels. The scan itself is `grey`.

    """

    labels: Labels
    ids: Labels
    low: npt.NDArray[np.int32]
    high: npt.NDArray[np.int32]
    edges: Spacing = (1.0, 1.0, 1.0)
    start: Shape = (0, 0, 0)
    images: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


class WholeMeasure(ABC):
    """Base of measures of whole particles; subclasses are frozen dataclasses, and small: workers get them pickled."""

    version: int = 1
    """Raise when a change of the code changes values: finished work of older code is then redone."""

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """Columns of the table that it makes."""

    @property
    def parameters(self) -> tuple[Any, ...]:
        """What decides its values beside the voxels, JSON-able."""
        return ()

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the images that it looks at beside the labels."""
        return ()

    bytes_per_voxel: float = 0.0
    """Peak of memory that it takes per voxel of a cutout, beside the labels and images."""

    @abstractmethod
    def values(self, cutout: Cutout) -> dict[str, npt.NDArray[Any]]:
        """Return the values (n,) of each of its columns, in the order of the particles; NaN is no value.

        Called by several threads at once: what takes time lies in kernels without the interpreter's lock.
        """
