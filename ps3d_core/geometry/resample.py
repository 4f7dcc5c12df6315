"""Grey values from one grid to another, the same for any cut of the volume into boxes.

Per axis, the Gaussian that prevents aliasing and the linear interpolation are composed into one banded operator:
every target index has its first source index and a row of weights. The rows are computed from global
coordinates in float64, and every output voxel is summed in one fixed order, so a box resampled alone has the same
bits as that box cut from the whole.

    source = (target + 0.5) * (n_source / n_target) - 0.5      voxel centres, clamped to the volume
    sigma  = max(0, (n_source / n_target - 1) / 2)             source voxels, truncated at 4 sigma
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil, prod
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Box, Shape

TRUNCATE = 4.0
TILE: Final = 128
AT_ONCE: Final = 2**22
"""Source voxels that are read and resampled in one piece; more go tile by tile."""

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AxisOperator:
    """Banded linear map from `n_source` to `n_target` samples along one axis.

    `first` (n_target,) int64 is the first source index of each row, `weights` (n_target, taps) float32 sum to 1.
    """

    n_source: int
    n_target: int
    first: npt.NDArray[np.int64]
    weights: F32

    @property
    def taps(self) -> int:
        """Number of source samples in each row."""
        return int(self.weights.shape[1])

    @property
    def is_identity(self) -> bool:
        """Flag that is true when both grids are the same, so that no value changes."""
        return self.n_source == self.n_target

    def source_range(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range of source indices that target indices start..stop read."""
        if self.is_identity:
            return start, stop
        return int(self.first[start]), int(self.first[stop - 1]) + self.taps

    def within(self, stop: int) -> int:
        """Return how many target indices, from the first one on, read only source indices below `stop`."""
        return stop if self.is_identity else int(np.searchsorted(self.first + self.taps, stop, side="right"))


def axis_operator(n_source: int, n_target: int) -> AxisOperator:
    """Return the operator for one axis; see the module docstring for its definition."""
    ratio = n_source / n_target
    centre = np.clip((np.arange(n_target) + 0.5) * ratio - 0.5, 0, n_source - 1)
    lower = np.floor(centre).astype(np.int64)
    fraction = centre - lower
    kernel = _gaussian(max(0.0, (ratio - 1) / 2))
    radius = len(kernel) // 2

    # Source offsets lower - radius ... lower + 1 + radius; the Gaussian seen from both linear neighbours.
    rows = np.zeros((n_target, 2 * radius + 2))
    rows[:, :-1] += (1 - fraction)[:, None] * kernel
    rows[:, 1:] += fraction[:, None] * kernel
    index = np.clip(lower[:, None] + np.arange(-radius, radius + 2), 0, n_source - 1)

    taps = min(rows.shape[1], n_source)
    first = np.clip(lower - radius, 0, n_source - taps)
    weights = np.zeros((n_target, taps))
    np.add.at(weights, (np.arange(n_target)[:, None], index - first[:, None]), rows)
    return AxisOperator(n_source, n_target, first, weights.astype(np.float32))


class Resampler:
    """Map from a scan grid to a network grid (or back), box by box.

    A box is resampled tile by tile, so that what is held of a source much finer than the target is a column along z,
    however large the box:

        z ########   tiles, in y and x          each along z         ->  side by side in y they make a strip
          ########   strips, in x               each along y         ->  wait until all columns of a voxel are there
          ########   columns that are there     along x              ->  the box

    Tiles lie on the source's own grid of shards: no voxel is asked for twice. A small box is one tile.
    """

    def __init__(self, source_shape: Shape, target_shape: Shape, tile: tuple[int, int] = (TILE, TILE)) -> None:
        """Map a grid of `source_shape` to one of `target_shape`; `tile` are the sides (y, x) of tiles, in voxels."""
        self.source_shape = source_shape
        self.target_shape = target_shape
        self.tile = tile

    @cached_property
    def _axes(self) -> tuple[AxisOperator, AxisOperator, AxisOperator]:
        z, y, x = (axis_operator(s, t) for s, t in zip(self.source_shape, self.target_shape, strict=True))
        return z, y, x

    def source_box(self, target: Box) -> Box:
        """Return the voxels of the source that `target` needs."""
        ranges = [a.source_range(s, e) for a, s, e in zip(self._axes, target.start, target.stop, strict=True)]
        (z0, z1), (y0, y1), (x0, x1) = ranges
        return Box((z0, y0, x0), (z1, y1, x1))

    def __call__(self, read: Callable[[Box], npt.NDArray[Any]], target: Box) -> F32:
        """Return values of the `target` box, float32.

        `read` gives those of a box of the source, of any real dtype.
        """
        source, x = self.source_box(target), self._axes[2]
        tile_y, tile_x = self._tile(source.shape)
        values = np.empty(target.shape, np.float32)
        start = target.start[2]
        waiting = np.empty((*target.shape[:2], 0), np.float32)
        for strip in _cut(source, 2, tile_x):
            waiting = np.concatenate((waiting, self._strip(read, strip, tile_y, target)), axis=2)
            first = strip.stop[2] - waiting.shape[2]
            stop = max(start, min(x.within(strip.stop[2]), target.stop[2]))
            columns = slice(start - target.start[2], stop - target.start[2])
            values[:, :, columns] = self._along(2, waiting, first, start, stop)
            start = stop
            needed, _ = x.source_range(min(start, target.stop[2] - 1), target.stop[2])
            waiting = waiting[:, :, needed - first :].copy()
        return values

    def _strip(self, read: Callable[[Box], npt.NDArray[Any]], source: Box, tile_y: int, target: Box) -> F32:
        """`source` on the target's slices and rows, but still on its own columns."""
        values = np.empty((target.shape[0], *source.shape[1:]), np.float32)
        for tile in _cut(source, 1, tile_y):
            rows = slice(tile.start[1] - source.start[1], tile.stop[1] - source.start[1])
            grey = _float32(read(tile), tile)
            values[:, rows] = self._along(0, grey, tile.start[0], target.start[0], target.stop[0])
            del grey  # before the next one is read
        return self._along(1, values, source.start[1], target.start[1], target.stop[1])

    def working_bytes(self, target: Shape, itemsize: int) -> int:
        """Return the most bytes that resampling a box of `target` voxels holds, source and result included.

        `itemsize` are the bytes of a source voxel.
        """
        pairs = list(zip(self._axes, target, strict=True))
        depth, height, width = (min(a.n_source, ceil(n * a.n_source / a.n_target) + a.taps) for a, n in pairs)
        tile_y, tile_x = map(min, self._tile((depth, height, width)), (height, width))
        tile = depth * tile_y * tile_x * (itemsize + 4) + target[0] * tile_y * tile_x * 4
        strip = target[0] * height * tile_x * 4
        column = target[0] * target[1] * 4
        waiting = (tile_x + self._axes[2].taps) * column
        return prod(target) * 4 + waiting + max(strip + tile, strip + tile_x * column, waiting)

    def _along(self, axis: int, values: F32, first: int, start: int, stop: int) -> F32:
        """Target indices `start` to `stop` along `axis`; `values` begin at the source's index `first`."""
        operator = self._axes[axis]
        if operator.is_identity:
            return values
        return _KERNELS[axis](values, operator.first[start:stop] - first, operator.weights[start:stop])

    def _tile(self, source: Shape) -> tuple[int, int]:
        """Sides (y, x) of the tiles of a box of `source` voxels; a small one is a single tile."""
        return self.source_shape[1:] if prod(source) <= AT_ONCE else self.tile


def resample_image(image: npt.NDArray[Any], shape: Shape) -> F32:
    """Return a whole image (z, y, x) in memory on a grid of `shape`, float32."""
    z, y, x = image.shape
    return Resampler((z, y, x), shape)(lambda box: image[box.slices], Box.of(shape))


def _cut(box: Box, axis: int, side: int) -> Iterator[Box]:
    """`box` cut along `axis` at the multiples of `side`."""
    first, last = box.start[axis], box.stop[axis]
    for a, b in pairwise((first, *range(first - first % side + side, last, side), last)):
        (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
        yield Box((z0, a, x0), (z1, b, x1)) if axis == 1 else Box((z0, y0, a), (z1, y1, b))


def _float32(values: npt.NDArray[Any], box: Box) -> F32:
    if values.shape != box.shape:
        raise ValueError(f"{box} was read as an array of shape {values.shape}")
    return np.ascontiguousarray(values, dtype=np.float32)


def _gaussian(sigma: float) -> npt.NDArray[np.float64]:
    radius = int(TRUNCATE * sigma + 0.5)
    if radius == 0:
        return np.ones(1)
    offsets = np.arange(-radius, radius + 1)
    values = np.exp(-0.5 * (offsets / sigma) ** 2)
    return np.asarray(values / values.sum())


@numba.njit(nogil=True, cache=True)
def _resample_z(source: F32, first: npt.NDArray[np.int64], weights: F32) -> F32:
    _, ny, nx = source.shape
    target = np.zeros((len(first), ny, nx), np.float32)
    for i in range(len(first)):
        for j in range(ny):
            for tap in range(weights.shape[1]):
                weight = weights[i, tap]
                for k in range(nx):
                    target[i, j, k] += weight * source[first[i] + tap, j, k]
    return target


@numba.njit(nogil=True, cache=True)
def _resample_y(source: F32, first: npt.NDArray[np.int64], weights: F32) -> F32:
    nz, _, nx = source.shape
    target = np.zeros((nz, len(first), nx), np.float32)
    for i in range(nz):
        for j in range(len(first)):
            for tap in range(weights.shape[1]):
                weight = weights[j, tap]
                for k in range(nx):
                    target[i, j, k] += weight * source[i, first[j] + tap, k]
    return target


@numba.njit(nogil=True, cache=True)
def _resample_x(source: F32, first: npt.NDArray[np.int64], weights: F32) -> F32:
    nz, ny, _ = source.shape
    target = np.zeros((nz, ny, len(first)), np.float32)
    for i in range(nz):
        for j in range(ny):
            for k in range(len(first)):
                total = np.float32(0)
                for tap in range(weights.shape[1]):
                    total += weights[k, tap] * source[i, j, first[k] + tap]
                target[i, j, k] = total
    return target


_KERNELS: Final = (_resample_z, _resample_y, _resample_x)
