"""Faults of a scan, in figures: contrast, edges, rings, slices that repeat or jump, drift, saturation, resolution."""

from __future__ import annotations

from itertools import product
from math import ceil, prod
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import zarr
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import distance_transform_edt, median_filter
from scipy.special import ndtr

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.geometry.spacing import Spacing
from ps3d_core.inspection.sighting import Floats, Sighting
from ps3d_core.network.bundle import BundleInfo
from ps3d_core.store.arrays import read_box
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

COLUMN: Final = 32
"""Voxels across a column through all slices."""
WIDEST: Final = 2**18
"""Voxels of a slice of a chunk beyond which columns are not read: they would be most of the scan."""
GROUPS: Final = 16
"""Groups of slices in which rings are looked for."""
FINE: Final = 0.7
"""Network voxels per voxel from which the sharpness of edges shows on the network grid."""
_EDGE: Final = 4
_SMALLEST: Final = 5.0
_JUMP: Final = 2.5
_FEW: Final = 200
_AT_LIMIT: Final = 1e-3


class ScanQuality(BaseModel):
    """Faults of a scan; None where there was not enough to tell."""

    model_config = ConfigDict(frozen=True)

    contrast: float | None = Field(
        description="grey of particles less that of surroundings, in standard deviations within both, as the network "
        "sees them"
    )
    blur: float | None = Field(description="standard deviation of edges, in voxels")
    saturated: float = Field(description="share of voxels at the least or greatest grey value, where many are")
    drift: float | None = Field(description="change of the surroundings' grey over all slices, in steps of contrast")
    rings: float | None = Field(description="standard deviation of rings, in steps of contrast")
    repeated: tuple[int, ...] = Field(description="slices that repeat the one before")
    jumps: tuple[int, ...] = Field(description="slices before which some may be missing")
    smallest: float = Field(description="diameter in voxels below which particles are not to be trusted")
    below: float = Field(description="share of the found particles, by number, that is smaller")


def scan_quality(
    image: Location, sighting: Sighting, info: BundleInfo, edges: Spacing = (1.0, 1.0, 1.0)
) -> ScanQuality:
    """Return the faults of a scan that was looked at closely, at the size of its particles.

    `edges` are those of a voxel (z, y, x) in units of their geometric mean.
    """
    array = open_image(image)
    step = 2 * abs(sighting.intensity.scale)
    repeated, jumps = _slices(array)
    smallest = max(_SMALLEST, _smallest_seen(info) / sighting.zoom)
    return ScanQuality(
        contrast=_contrast(sighting),
        blur=_blur(sighting) if sighting.zoom >= FINE else None,
        saturated=_saturated(array),
        drift=_drift(sighting, array.shape[0] * edges[0]),
        rings=_rings(array, step),
        repeated=repeated,
        jumps=jumps,
        smallest=smallest,
        below=_below(sighting, smallest * sighting.zoom, info),
    )


def _smallest_seen(info: BundleInfo) -> float:
    """Diameter in network voxels of a particle whose core is just large enough."""
    core = float(np.cbrt(6 * (info.smallest_core or 8) / np.pi))
    return core + 2 * info.border_thickness


def _below(sighting: Sighting, smallest: float, info: BundleInfo) -> float:
    weight = np.where(sighting.kept(info), sighting.weight, 0)
    total = float(weight.sum())
    return float(weight[sighting.diameter < smallest].sum()) / total if total else 0.0


def _contrast(sighting: Sighting) -> float | None:
    particles, around = sighting.blocks[sighting.classes == 1], sighting.blocks[sighting.classes == 0]
    if min(len(particles), len(around)) < _FEW:
        return None
    noise = float(np.sqrt((particles.var() + around.var()) / 2))
    return float(particles.mean() - around.mean()) / noise if noise > 0 else None


def _blur(sighting: Sighting) -> float | None:
    """Standard deviation in scan voxels of the edge between particles and surroundings: the best error function."""
    sums, counts = np.zeros(2 * _EDGE * 2 + 1), np.zeros(2 * _EDGE * 2 + 1)
    for grey, classes in zip(sighting.blocks, sighting.classes, strict=True):
        solid = classes > 0
        if solid.all() or not solid.any():
            continue
        depth = np.where(solid, distance_transform_edt(solid) - 0.5, 0.5 - distance_transform_edt(~solid))
        near = np.abs(depth) <= _EDGE
        bins = np.rint(2 * (depth[near] + _EDGE)).astype(np.int64)
        sums += np.bincount(bins, grey[near], minlength=len(sums))
        counts += np.bincount(bins, minlength=len(sums))
    known = counts >= _FEW
    if known.sum() < 2 * _EDGE:
        return None
    at, profile = (np.arange(len(sums)) / 2 - _EDGE)[known], sums[known] / counts[known]
    return _edge_width(at, profile) / sighting.zoom


def _edge_width(at: Floats, profile: Floats) -> float:
    def misfit(width: float, middle: float) -> float:
        shape = np.stack([np.ones_like(at), ndtr((at - middle) / width)], axis=1)
        _, rest, *_ = np.linalg.lstsq(shape, profile, rcond=None)
        return float(rest[0]) if len(rest) else np.inf

    tries = product(np.geomspace(0.2, 4, 40).tolist(), np.linspace(-2, 2, 21).tolist())
    return float(min(tries, key=lambda each: misfit(*each))[0])


def _drift(sighting: Sighting, depth: float) -> float | None:
    """Slope of the surroundings' grey over z, over all slices, in steps; blocks are normalised to steps of 2.

    `depth` is that of the scan, in voxels.
    """
    heights, greys = [], []
    for place, grey, classes in zip(sighting.places, sighting.blocks, sighting.classes, strict=True):
        around = grey[classes == 0]
        if len(around) >= _FEW:
            heights.append((place[0] + grey.shape[0] / 2) / (depth * sighting.zoom))
            greys.append(float(np.median(around)) / 2)
    if len(set(heights)) < 3:
        return None
    slopes = [
        (b - a) / (v - u)
        for i, (u, a) in enumerate(zip(heights, greys, strict=True))
        for v, b in zip(heights[i + 1 :], greys[i + 1 :], strict=True)
        if abs(v - u) > 0.1
    ]
    return float(np.median(slopes)) if slopes else None  # Theil and Sen: a few odd blocks do not matter


def _saturated(array: zarr.Array[Any]) -> float:
    """Share of voxels at the extremes of some columns, of those extremes at which more than one in a thousand are."""
    values = np.concatenate([column.ravel() for column in _columns(array)])
    if not values.size or values.min() == values.max():
        return 0.0
    shares = [float((values == extreme).mean()) for extreme in (values.min(), values.max())]
    return sum(share for share in shares if share > _AT_LIMIT)


def _slices(array: zarr.Array[Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Slices that repeat the one before, and those that differ from it far more than others near them do.

    A single step stands out where slices are missing; where particles end, steps are large several times in a row.
    """
    columns = [column.astype(np.float32) for column in _columns(array)]
    columns = [column for column in columns if len(column) > 2 and column.std() > 0]
    if not columns:
        return (), ()
    steps = np.stack([np.abs(np.diff(column, axis=0)).mean(axis=(1, 2)) for column in columns])
    varied = np.stack([column[1:].std(axis=(1, 2)) > 0 for column in columns])
    repeated = (np.where(varied, steps, 0) == 0).all(axis=0) & varied.any(axis=0)
    padded = np.pad(steps, ((0, 0), (1, 1)))
    beside = np.maximum(padded[:, :-2], padded[:, 2:])
    usual = np.maximum(median_filter(steps, size=(1, min(21, steps.shape[1]))), beside)
    jumps = (steps > _JUMP * np.maximum(usual, 1e-12)).mean(axis=0) > 0.5
    return _numbers(repeated), _numbers(jumps & ~repeated)


def _numbers(flags: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple((np.flatnonzero(flags) + 1).tolist())


def _columns(array: zarr.Array[Any]) -> list[npt.NDArray[Any]]:
    """Columns through all slices: in the middle and half-way to the corners; none where chunks are too wide."""
    depth, height, width = cast(Shape, array.shape)
    if prod(array.chunks[1:]) > WIDEST:
        return []
    places = [(0.5, 0.5), *product((0.3, 0.7), (0.3, 0.7))]
    sides = min(COLUMN, height), min(COLUMN, width)
    starts = {(int(v * (height - sides[0])), int(u * (width - sides[1]))) for v, u in places}
    return [read_box(array, Box((0, y, x), (depth, y + sides[0], x + sides[1]))) for y, x in sorted(starts)]


def _rings(array: zarr.Array[Any], step: float) -> float | None:
    """Standard deviation of what repeats at the same place of many slices and is a few voxels wide, in steps.

    Grey values on a line through the middle of slices far apart are compared: rings are in all of them, particles are
    not. What they have in common is (var(a + b) - var(a - b)) / 4.
    """
    depth, height, width = cast(Shape, array.shape)
    if depth < 4 * GROUPS or width < 64 or prod(array.chunks[1:]) > WIDEST or not step:
        return None
    rows = ceil(depth / GROUPS)
    profiles = []
    for group in range(GROUPS):
        start = min(group * rows, depth - 4)
        box = Box((start, height // 2 - 4, 0), (min(start + 16, depth), height // 2 + 4, width))
        line = read_box(array, box).astype(np.float32).mean(axis=(0, 1))
        profiles.append(line - median_filter(line, size=9))
    even, odd = np.mean(profiles[::2], axis=0), np.mean(profiles[1::2], axis=0)
    centre = slice(width // 2 - 16, width // 2 + 16)
    together, apart = (np.delete(each, centre) for each in (even + odd, even - odd))
    common = (_robust_variance(together) - _robust_variance(apart)) / 4
    return float(np.sqrt(max(0.0, common))) / step


def _robust_variance(values: Floats) -> float:
    """Variance of a normal distribution with the same median of absolute deviations."""
    return float((1.4826 * np.median(np.abs(values - np.median(values)))) ** 2)
