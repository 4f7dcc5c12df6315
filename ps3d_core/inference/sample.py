"""The scan as the network sees it: read, resampled to the network grid, padded, normalised; box by box."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil, prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zarr

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box, Shape, turned
from ps3d_core.geometry.patches import PatchGrid
from ps3d_core.geometry.resample import F32, TILE, Resampler
from ps3d_core.network.intensity import Intensity
from ps3d_core.network.normalisation import Normalisation, ZScore
from ps3d_core.store.arrays import array_name, object_shape, read_box

VERSION: Final = 1
"""Raise when a change of the code changes what is sampled: finished work of older code is then redone."""

FARTHEST: Final = 1e6
"""Normalised grey values beyond are those of another scan than mean and standard deviation; sums of them overflow."""
SAMPLES = 384
SAMPLE_SIDE = 16
REQUESTS_AT_ONCE = 8
SMALL = 2**24  # voxels


class NetworkView:
    """A scan on its network grid: grey values of any box of it, float32, in the scanner's units.

    With a `first_axis` other than z, scan and grid are turned (`boxes.turned`): slices are those across that axis.
    """

    def __init__(self, image: zarr.Array[Any], network_shape: Shape, first_axis: int = 0) -> None:
        """Open a view of `image`; `network_shape` is in the scan's own order of axes."""
        self._image = image
        self._axis = first_axis
        z, y, x = image.shape
        self.shape = turned(network_shape, first_axis)
        self.scan_shape = turned((z, y, x), first_axis)
        _, *sides = turned(object_shape(image), first_axis)
        tile_y, tile_x = (side * ceil(TILE / side) for side in sides)
        self._resampler = Resampler(self.scan_shape, self.shape, (tile_y, tile_x))

    def read(self, box: Box) -> F32:
        """Return the grey values of `box` (network grid), float32, in the scanner's units."""
        return self._resampler(self._source, box)

    def read_bytes(self, shape: Shape) -> int:
        """Return the most bytes that reading a box of `shape` holds."""
        return self._resampler.working_bytes(shape, self._image.dtype.itemsize)

    def origin(self, box: Box) -> str:
        """Return where the values of `box` come from, for a person."""
        source = self._resampler.source_box(box).turned(self._axis)
        return f"{array_name(self._image)}, slices {source.start[0]} to {source.stop[0] - 1}"

    def _source(self, box: Box) -> npt.NDArray[Any]:
        return read_box(self._image, box.turned(self._axis)).swapaxes(0, self._axis)


@dataclass(frozen=True)
class PaddedView:
    """A `NetworkView` in padded coordinates, normalised: what patches are cut from."""

    view: NetworkView
    grid: PatchGrid
    intensity: Intensity

    def read(self, box: Box) -> F32:
        """Return normalised values of `box` (padded grid), float32; axes thinner than a patch continue by reflection.

        Raise `InputError` when some are not finite, or too far out: a network would spread a single one over its whole
        patch.
        """
        unique, indices = self.grid.reflection(box)
        values = self.view.read(unique)
        extremes = np.array([values.min(), values.max()])  # NaN if there is one
        if not np.isfinite(extremes).all():
            raise InputError(
                f"{self.view.origin(unique)}: grey values that are infinite, not a number, or too large; replace them, "
                "for example with the value of air"
            )
        self._require_near(extremes, unique)
        for axis, index in enumerate(indices):
            if values.shape[axis] != len(index) or (np.diff(index) != 1).any():
                values = values.take(index, axis=axis)
        self.intensity.normalise_in_place(values)
        return values

    def _require_near(self, extremes: F32, box: Box) -> None:
        with np.errstate(all="ignore"):
            farthest = np.abs(self.intensity.normalise(extremes)).max()
        if not farthest <= FARTHEST:
            offset, scale, *_ = self.intensity
            raise InputError(
                f"{self.view.origin(box)}: grey values of {extremes[0]:g} to {extremes[1]:g} are up to {farthest:.3g} "
                f"standard deviations of {abs(scale):g} from a mean of {offset:g} (limit {FARTHEST:g})",
                "give mean and standard deviation of such scans as <zscore>",
            )


def scan_intensity(view: NetworkView, normalisation: Normalisation, *, dark: bool = False) -> Intensity:
    """Return offset and scale of a scan's grey values.

    They are those that the rule says, or measured on blocks of the scan. Where particles are `dark`, grey values are
    turned round, so that the network sees them bright.
    """
    if isinstance(normalisation, ZScore):
        intensity = normalisation.intensity
    else:
        intensity = normalisation.intensity(sample_blocks(view))
    return intensity.turned() if dark else intensity


def sample_blocks(view: NetworkView, count: int = SAMPLES, side: int = SAMPLE_SIDE) -> F32:
    """Return small blocks spread evenly over a scan, (n, side, side, side) float32, for intensity statistics.

    The places follow a low-discrepancy sequence (additive recurrence in three dimensions, M. Roberts 2018), so the
    same scan always gives the same blocks. Blocks at thin axes are filled up with NaN.
    """
    blocks = np.full((count, side, side, side), np.nan, np.float32)
    read = _once(view) if max(prod(view.shape), prod(view.scan_shape)) <= SMALL else view.read

    def fill(block: F32, offset: npt.NDArray[np.float64]) -> None:
        sides = [min(side, n) for n in view.shape]
        start = [round(o * (n - s)) for o, n, s in zip(offset, view.shape, sides, strict=True)]
        stop = [a + s for a, s in zip(start, sides, strict=True)]
        z, y, x = sides
        block[:z, :y, :x] = read(Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])))

    # Each is a few small requests: on an object store nearly all of the time is waiting for answers.
    with ThreadPoolExecutor(REQUESTS_AT_ONCE, "sample") as pool:
        list(pool.map(fill, blocks, spread(count)))
    return blocks


def _once(view: NetworkView) -> Callable[[Box], F32]:
    # The samples of a small scan lie so close together that most of its chunks would be asked for several times.
    whole = view.read(Box.of(view.shape))
    return lambda box: whole[box.slices]


def spread(count: int) -> npt.NDArray[np.float64]:
    """Return places spread evenly over a unit cube, (n, 3): the first of more places are the same.

    Additive recurrence in three dimensions (M. Roberts 2018).
    """
    # The root of g^4 = g + 1 gives the most even recurrence in three dimensions.
    g = 1.2207440846057596
    steps = np.array([1 / g, 1 / g**2, 1 / g**3])
    return np.asarray((0.5 + np.arange(1, count + 1)[:, None] * steps) % 1.0)
