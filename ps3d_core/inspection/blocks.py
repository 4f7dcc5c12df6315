"""Blocks of a scan as the network sees them, at any scale: as large as a patch, spread evenly over the scan.

Scales much coarser than the scan are read from its coarser levels where it has any, so that a look at particles of
hundreds of voxels costs what one at small ones does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import floor, log2, prod
from typing import cast

import numpy as np
import numpy.typing as npt

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.geometry.patches import PatchGrid, fitted_patch
from ps3d_core.geometry.resample import F32
from ps3d_core.geometry.scale import network_grid
from ps3d_core.geometry.spacing import PerAxis, per_axis
from ps3d_core.inference.sample import NetworkView, spread
from ps3d_core.network.bundle import Bundle
from ps3d_core.network.intensity import Intensity
from ps3d_core.network.normalisation import ZScore
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_levels, open_image

SAMPLE: int = 16
"""Side of the pieces of blocks by which grey values are measured."""


@dataclass(frozen=True)
class Blocks:
    """Blocks of a scan on one network grid.

    grey: (n, z, y, x) float32, in the scanner's units.
    places: first voxel of each in the network grid, (n, 3).
    shape: of the network grid.
    inside: what of each block lies in the scan: blocks are filled up by reflection along axes that are thinner.
    """

    grey: F32
    places: npt.NDArray[np.int64]
    shape: Shape
    inside: Box

    def intensity(self, bundle: Bundle) -> Intensity:
        """Return offset and scale of the grey values, by the model's rule, measured on pieces of the blocks."""
        rule = bundle.info.normalisation
        if isinstance(rule, ZScore):
            return rule.intensity
        return rule.intensity(_pieces(self.grey[(slice(None), *self.inside.slices)]))


def read_blocks(image: Location, zoom: PerAxis, bundle: Bundle, count: int) -> Blocks:
    """Return at most `count` blocks of a scan at `zoom` network voxels per voxel; fewer where these cover it."""
    scan = cast(Shape, open_image(image).shape)
    shape = network_grid(scan, zoom)
    patch = fitted_patch(shape, bundle.info.patch_size, bundle.info.architecture.downsampling)
    grid = PatchGrid(shape, patch, patch, even=True)
    view = NetworkView(open_image(_level(image, scan, per_axis(zoom))), shape)
    corners = list(islice(_spread_corners(grid), count))
    grey = np.stack([_read(view, grid, Box.of(patch).shift(corner)) for corner in corners])
    before = np.array([grid.padding_before(axis) for axis in range(3)])
    inside = Box(tuple(before), tuple(before + np.minimum(shape, patch)))
    return Blocks(grey, np.array(corners) - before, shape, inside)


def _level(image: Location, scan: Shape, zoom: tuple[float, float, float]) -> Location:
    """The coarsest level of an image that is still as fine as the network grid."""
    levels = image_levels(image)
    wanted = min(len(levels) - 1, max(0, floor(log2(1 / max(zoom)))))
    for level in reversed(levels[1 : wanted + 1]):
        try:
            shape = open_image(level).shape
        except (MissingDataError, InputError):  # what the metadata of others promise need not be there
            continue
        if all(coarse >= n * each * 0.99 for coarse, n, each in zip(shape, scan, zoom, strict=True)):
            return level
    return levels[0]


def _read(view: NetworkView, grid: PatchGrid, box: Box) -> F32:
    """Grey values of a box of the padded grid; axes thinner than a patch continue by reflection."""
    shown, indices = grid.reflection(box)
    return view.read(shown)[np.ix_(*indices)]


def _spread_corners(grid: PatchGrid) -> Iterator[Shape]:
    """Corners of patches, each once, in an order whose beginnings are spread evenly over the volume."""
    origins, met = grid.origins, set[Shape]()
    z, y, x = map(len, origins)
    total = prod((z, y, x))
    for offset in spread(16 * total) if total <= 4096 else spread(65536):
        at = tuple(int(o * n) for o, n in zip(offset, (z, y, x), strict=True))
        corner = (origins[0][at[0]], origins[1][at[1]], origins[2][at[2]])
        if corner not in met:
            met.add(corner)
            yield corner


def _pieces(grey: F32) -> F32:
    """Cut blocks (n, z, y, x) into cubes; what is left at their ends is not used, unless it is all there is."""
    n, *sides = grey.shape
    cut = [min(SAMPLE, side) for side in sides]
    whole = [side // c * c for side, c in zip(sides, cut, strict=True)]
    trimmed = grey[:, : whole[0], : whole[1], : whole[2]]
    split = trimmed.reshape(n, whole[0] // cut[0], cut[0], whole[1] // cut[1], cut[1], whole[2] // cut[2], cut[2])
    return split.transpose(0, 1, 3, 5, 2, 4, 6).reshape(-1, *cut)
