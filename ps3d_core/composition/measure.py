"""Composition of particles, and grey values of further images, as measures of whole particles."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ps3d_core.composition.materials import materials_of
from ps3d_core.geometry.spacing import Spacing, mean_spacing, relative_spacing
from ps3d_core.particles.column import Column
from ps3d_core.particles.surface import CUBES, intercept_weights
from ps3d_core.particles.whole import Cutout, WholeMeasure
from ps3d_core.phases import GREY, Phases

MSPACMAN: Final = "after Godinho et al., Minerals 11:947 (2021), MSPaCMAn; Sereda et al., IEEE TVCG 12:208 (2006)"
_MOVES: Final = np.array([move for move in product((-1, 0, 1), repeat=3) if move > (0, 0, 0)], np.int64)


@dataclass(frozen=True)
class Composition(WholeMeasure):
    """Shares, exposed surface and inclusions of each phase; how voxels get their phases stands in `classify`.

    Attributes:
        phases: by grey values of one image or several.
        image: name, in the cutout, of the image that the phases call grey.

    """

    phases: Phases
    image: str = GREY

    version = 4

    @property
    def bytes_per_voxel(self) -> float:  # type: ignore[override]
        """Peak of memory per voxel of a cutout: grey values of all images as float32, and as much for one particle."""
        images = len(self.phases.images)
        classified = 4.0 * images + 2 * (4 + 8 * images) + 12 + 4 + 12
        refined = 32 + 16 * images + 5 * (1 + len(self.phases.names))
        return classified + refined

    @property
    def columns(self) -> tuple[Column, ...]:
        """Three columns for each phase, in the order of the phases: all shares, all exposed shares, all inclusions."""
        return (
            *(_share_column(name) for name in self.phases.names),
            *(_exposed_column(name) for name in self.phases.names),
            *(_inclusions_column(name) for name in self.phases.names),
        )

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Phases, and the image that they are of."""
        return (self.phases.model_dump(mode="json"), self.image)

    @property
    def images(self) -> tuple[str, ...]:
        """Images that the phases are seen in."""
        return tuple(self.image if name == GREY else name for name in self.phases.images)

    def values(self, cutout: Cutout) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of the particles of a cutout; shares are NaN where a particle shows no phase."""
        from ps3d_core.composition.pieces import compositions

        grey = np.stack([np.asarray(cutout.images[name], np.float32) for name in self.images])
        areas = _areas(cutout.edges)
        shares, exposed, inclusions = compositions(
            cutout.labels, grey, cutout.ids, cutout.low, cutout.high, materials_of(self.phases), _MOVES, areas
        )
        names = self.phases.names
        return (
            {_share_column(name).name: shares[:, p].copy() for p, name in enumerate(names)}
            | {_exposed_column(name).name: exposed[:, p].copy() for p, name in enumerate(names)}
            | {_inclusions_column(name).name: inclusions[:, p].copy() for p, name in enumerate(names)}
        )


def _share_column(name: str) -> Column:
    return Column(
        f"phase_{name}_share",
        "double",
        "1",
        f"share of {name} in the volume of the particle without its pores",
        formula="voxels of the phase / voxels of all phases, which are such that their blurred image is the scan",
        source=MSPACMAN,
        cost="all",
    )


def _exposed_column(name: str) -> Column:
    return Column(
        f"phase_{name}_exposed",
        "double",
        "1",
        f"share of {name} in the particle's surface to the background",
        formula="Crofton's formula in 13 directions, of crossings to background alone",
        source="Legland et al., Image Anal. Stereol. 26:83 (2007)",
        cost="all",
    )


def _inclusions_column(name: str) -> Column:
    return Column(
        f"phase_{name}_inclusions",
        "int64",
        "",
        f"pieces of {name} inside the particle that reach no part of its surface",
        formula="voxels joined by faces, at least 8, no face of them to another label",
        cost="all",
    )


def _areas(edges: Spacing) -> npt.NDArray[np.float64]:
    """Relative area that a crossing along each of the 13 directions stands for, by the edges of a voxel."""
    weights = intercept_weights(relative_spacing(edges) if len(set(edges)) > 1 else (1.0, 1.0, 1.0))
    moved = np.abs(_MOVES)
    if len(weights) == CUBES:
        kinds = moved.sum(axis=1) - 1
    else:
        order = {(1, 0, 0): 0, (0, 1, 0): 1, (0, 0, 1): 2, (0, 1, 1): 3, (1, 0, 1): 4, (1, 1, 0): 5, (1, 1, 1): 6}
        kinds = np.array([order[z, y, x] for z, y, x in moved.tolist()])
    return np.asarray(np.array(weights)[kinds] * mean_spacing(edges) ** 2, np.float64)


@dataclass(frozen=True)
class ImageValues(WholeMeasure):
    """Grey values of a further image inside each particle."""

    name: str

    version = 2
    bytes_per_voxel = 0.0

    @property
    def columns(self) -> tuple[Column, ...]:
        """Mean, standard deviation, smallest and largest grey value."""
        meanings = {
            "mean": "mean grey value",
            "std": "standard deviation of the grey values",
            "min": "smallest grey value",
            "max": "largest grey value",
        }
        return tuple(
            Column(f"{self.name}_grey_{kind}", "double", "grey value", f"{meaning} of image {self.name}", cost="all")
            for kind, meaning in meanings.items()
        )

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Name of the image."""
        return (self.name,)

    @property
    def images(self) -> tuple[str, ...]:
        """Name of the image."""
        return (self.name,)

    def values(self, cutout: Cutout) -> dict[str, npt.NDArray[Any]]:
        """Return the four columns of the particles of a cutout."""
        from ps3d_core.composition.image_values import grey_values

        found = grey_values(cutout.labels, cutout.images[self.name], cutout.ids, cutout.low, cutout.high)
        return {column.name: found[:, k].copy() for k, column in enumerate(self.columns)}
