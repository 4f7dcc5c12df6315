"""Grey values from one grid to another, the same for any cut of the volume into boxes.

Per axis, the Gaussian that prevents aliasing and the linear interpolation are composed into one banded operator:
every target index has its first source index and a row of weights. The rows are computed from global
coordinates in float64, and every output voxel is summed in one fixed order, so a box resampled alone has the same
bits as that box cut from the whole.

    source = (target + 0.5) * (n_source / n_target) - 0.5      voxel centres, clamped to the volume
    sigma  = max(0, (n_source / n_target - 1) / 2)             source voxels, truncated at 4 sigma
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Box, Shape

TRUNCATE = 4.0

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
    def is_identity(self) -> bool:
        """True when both grids are the same."""
        return self.n_source == self.n_target

    def source_range(self, start: int, stop: int) -> tuple[int, int]:
        """Source indices that target indices start..stop read."""
        if self.is_identity:
            return start, stop
        return int(self.first[start]), int(self.first[stop - 1]) + self.weights.shape[1]


def axis_operator(n_source: int, n_target: int) -> AxisOperator:
    """Operator for one axis; see the module docstring for its definition."""
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
    """Map from a scan grid to a network grid (or back), box by box."""

    def __init__(self, source_shape: Shape, target_shape: Shape) -> None:
        self.source_shape = source_shape
        self.target_shape = target_shape

    @cached_property
    def _axes(self) -> tuple[AxisOperator, AxisOperator, AxisOperator]:
        z, y, x = (axis_operator(s, t) for s, t in zip(self.source_shape, self.target_shape, strict=True))
        return z, y, x

    def source_box(self, target: Box) -> Box:
        """The voxels of the source that `target` needs."""
        ranges = [a.source_range(s, e) for a, s, e in zip(self._axes, target.start, target.stop, strict=True)]
        (z0, z1), (y0, y1), (x0, x1) = ranges
        return Box((z0, y0, x0), (z1, y1, x1))

    def __call__(self, source: npt.NDArray[Any], target: Box) -> F32:
        """Values of the `target` box, float32, from `source`, the array of `source_box(target)`, any real dtype."""
        box = self.source_box(target)
        if source.shape != box.shape:
            raise ValueError(f"source has shape {source.shape}, box {target} needs {box.shape}")
        values = np.ascontiguousarray(source, dtype=np.float32)
        for axis, kernel in enumerate((_resample_z, _resample_y, _resample_x)):
            operator = self._axes[axis]
            if not operator.is_identity:
                rows = slice(target.start[axis], target.stop[axis])
                values = kernel(values, operator.first[rows] - box.start[axis], operator.weights[rows])
        return values


def resample_image(image: npt.NDArray[Any], shape: Shape) -> F32:
    """A whole image (z, y, x) in memory on a grid of `shape`, float32."""
    z, y, x = image.shape
    return Resampler((z, y, x), shape)(image, Box.of(shape))


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
