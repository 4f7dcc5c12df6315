"""Grey values from one grid to another, the same for any cut of the volume into boxes.

Per axis, the Gaussian that prevents aliasing and the linear interpolation are composed into one banded operator:
every target index has its first source index and a row of weights. The rows are computed from global
coordinates in float64, and every output voxel is summed in one fixed order, so a box resampled alone has the same
bits as that box cut from the whole.

    source = (target + 0.5) * (n_source / n_target) - 0.5      voxel centres, clamped to the volume
    sigma  = max(0, (n_source / n_target - 1) / 2)             source voxels, truncated at 4 sigma
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import ceil, prod
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Box, Shape

TRUNCATE = 4.0
TILE: Final = 128
AT_ONCE: Final = 2**22
"""Source voxels that are read and resampled in one piece; more go tile by tile."""

THREADS: Final = 2
"""Strips that are read at one time: as many requests wait for the store, and a network still has nearly all cores."""

F32 = npt.NDArray[np.float32]
Read = Callable[[Box], npt.NDArray[Any]]


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


class _Strip(NamedTuple):
    """Columns of the source that are read together, and what is there with them.

    source: box of the source, on all slices and rows that are needed.
    first: of the columns that are needed with it, those before its own included.
    start, stop: columns of the target for which all are there, and were not before.
    """

    source: Box
    first: int
    start: int
    stop: int

    @property
    def room(self) -> int:
        """Number of columns before its own."""
        return self.source.start[2] - self.first


class Resampler:
    """Map from a scan grid to a network grid (or back), box by box.

    A box is resampled tile by tile, so that what is held of a source much finer than the target is a few columns along
    z, however large the box:

        z ########   tiles, in y and x          each along z         ->  side by side in y they make a strip
          ########   strips, in x               each along y         ->  wait until all columns of a voxel are there
          ########   columns that are there     along x              ->  the box

    Tiles lie on the source's own grid of shards: no voxel is asked for twice. A small box is one tile. Strips have
    nothing to do with each other, so a few threads make them, each its own, and are asked for them in order.
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

    def __call__(self, read: Read, target: Box) -> F32:
        """Return values of the `target` box, float32.

        `read` gives those of a box of the source, of any real dtype; several threads may call it at a time.
        """
        values = np.empty(target.shape, np.float32)
        waiting = np.empty((*target.shape[:2], 0), np.float32)
        first = 0
        for strip, columns in self._made(read, self._strips(target), target):
            columns[:, :, : strip.room] = waiting[:, :, strip.first - first :]
            ready = slice(strip.start - target.start[2], strip.stop - target.start[2])
            self._along(2, columns, strip.first, strip.start, strip.stop, values[:, :, ready])
            first = max(strip.first, strip.source.stop[2] - self._axes[2].taps)
            waiting = columns[:, :, first - strip.first :].copy()
            del columns  # before the next ones are waited for
        return values

    def _strips(self, target: Box) -> list[_Strip]:
        x, source, strips = self._axes[2], self.source_box(target), list[_Strip]()
        _, tile_x = self._tile(source.shape)
        start = target.start[2]
        for box in _cut(source, 2, tile_x):
            first, _ = x.source_range(min(start, target.stop[2] - 1), target.stop[2])
            stop = max(start, min(x.within(box.stop[2]), target.stop[2]))
            strips.append(_Strip(box, min(first, box.start[2]), start, stop))
            start = stop
        return strips

    def _made(self, read: Read, strips: list[_Strip], target: Box) -> Iterator[tuple[_Strip, F32]]:
        """Yield every strip with its columns, while those of the next ones are made."""
        if len(strips) == 1:
            yield strips[0], self._columns(read, strips[0], target)
            return
        ahead = deque[tuple[_Strip, Future[F32]]]()
        with ThreadPoolExecutor(THREADS, "strips") as pool:
            for strip in strips:
                ahead.append((strip, pool.submit(self._columns, read, strip, target)))
                if len(ahead) > THREADS:
                    yield _taken(ahead)
            while ahead:
                yield _taken(ahead)

    def _columns(self, read: Read, strip: _Strip, target: Box) -> F32:
        """A strip on the target's slices and rows, but still on its own columns, behind room for those before it."""
        source, (tile_y, _) = strip.source, self._tile(self.source_box(target).shape)
        values = np.empty((target.shape[0], *source.shape[1:]), np.float32)
        for tile in _cut(source, 1, tile_y):
            rows = slice(tile.start[1] - source.start[1], tile.stop[1] - source.start[1])
            grey = _float32(read(tile), tile)
            self._along(0, grey, tile.start[0], target.start[0], target.stop[0], values[:, rows])
            del grey  # before the next one is read
        columns = np.empty((*target.shape[:2], strip.room + source.shape[2]), np.float32)
        self._along(1, values, source.start[1], target.start[1], target.stop[1], columns[:, :, strip.room :])
        return columns

    def working_bytes(self, target: Shape, itemsize: int) -> int:
        """Return the most bytes that resampling a box of `target` voxels holds, source and result included.

        `itemsize` are the bytes of a source voxel.
        """
        pairs = list(zip(self._axes, target, strict=True))
        depth, height, width = (min(a.n_source, ceil(n * a.n_source / a.n_target) + a.taps) for a, n in pairs)
        tile_y, tile_x = map(min, self._tile((depth, height, width)), (height, width))
        tile = depth * tile_y * tile_x * (itemsize + 4)
        strip = target[0] * height * tile_x * 4
        waiting = self._axes[2].taps * target[0] * target[1] * 4
        columns = waiting + tile_x * target[0] * target[1] * 4
        at_once = min(THREADS, ceil(width / tile_x))
        return prod(target) * 4 + at_once * (strip + max(tile, columns)) + columns + waiting

    def _along(self, axis: int, values: F32, first: int, start: int, stop: int, into: F32) -> None:
        """Target indices `start` to `stop` along `axis` into `into`; `values` begin at the source's index `first`."""
        operator = self._axes[axis]
        if operator.is_identity:
            np.copyto(into, values)
        else:
            _KERNELS[axis](values, operator.first[start:stop] - first, operator.weights[start:stop], into)

    def _tile(self, source: Shape) -> tuple[int, int]:
        """Sides (y, x) of the tiles of a box of `source` voxels; a small one is a single tile."""
        return self.source_shape[1:] if prod(source) <= AT_ONCE else self.tile


def resample_image(image: npt.NDArray[Any], shape: Shape) -> F32:
    """Return a whole image (z, y, x) in memory on a grid of `shape`, float32."""
    z, y, x = image.shape
    return Resampler((z, y, x), shape)(lambda box: image[box.slices], Box.of(shape))


def _taken(ahead: deque[tuple[_Strip, Future[F32]]]) -> tuple[_Strip, F32]:
    strip, columns = ahead.popleft()
    return strip, columns.result()


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


# Inner loops go over rows of their own: of those the compiler knows that they are contiguous, and uses vectors.
@numba.njit(nogil=True, cache=True)
def _resample_z(source: F32, first: npt.NDArray[np.int64], weights: F32, target: F32) -> None:
    row = np.empty(target.shape[2], np.float32)
    for i in range(target.shape[0]):
        for j in range(target.shape[1]):
            row[:] = 0
            for tap in range(weights.shape[1]):
                _add_row(source[first[i] + tap, j], weights[i, tap], row)
            target[i, j] = row


@numba.njit(nogil=True, cache=True)
def _resample_y(source: F32, first: npt.NDArray[np.int64], weights: F32, target: F32) -> None:
    row = np.empty(target.shape[2], np.float32)
    for i in range(target.shape[0]):
        for j in range(target.shape[1]):
            row[:] = 0
            for tap in range(weights.shape[1]):
                _add_row(source[i, first[j] + tap], weights[j, tap], row)
            target[i, j] = row


@numba.njit(nogil=True, cache=True)
def _resample_x(source: F32, first: npt.NDArray[np.int64], weights: F32, target: F32) -> None:
    row = np.empty(target.shape[2], np.float32)
    by_tap = np.ascontiguousarray(weights.T)
    index = first.astype(np.uint64)  # what may be negative would be looked at for each voxel
    for i in range(target.shape[0]):
        for j in range(target.shape[1]):
            row[:] = 0
            seen = source[i, j]
            for tap in range(by_tap.shape[0]):
                weight = by_tap[tap]
                for k in range(row.shape[0]):
                    row[k] += weight[k] * seen[index[k] + np.uint64(tap)]
            target[i, j] = row


@numba.njit(nogil=True, cache=True)
def _add_row(source: F32, weight: np.float32, target: F32) -> None:
    for k in range(target.shape[0]):
        target[k] += weight * source[k]


_KERNELS: Final = (_resample_z, _resample_y, _resample_x)
