"""The peer that the bundled model is compared with: a threshold and a watershed of the distance transform.

It is what an expert does with such scans through scikit-image, with the same settings for every scan, in units of the
true particle size, which it is told. What is no specimen is set aside first: black corners and walls along z, which
a projection along z shows, since no particle reaches through the scan. Grey values are smoothed
in proportion to the particles and flattened against what is dark around each place, so that shading does no harm;
Otsu's threshold then tells solid from matrix. Markers are the h-maxima of the smoothed distance transform; crumbs are
pruned as the pipeline prunes them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

# in units of the mean particle diameter
_BLUR: Final = 0.03
_LEAST_BLUR: Final = 0.6  # voxels
_DARK_WINDOW: Final = 2.0
_DEPTH_BLUR: Final = 0.05
_MARKER_HEIGHT: Final = 0.02
_WALL_SHARE: Final = 0.9  # of a line along z is solid: a wall

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def watershed_particles(
    scan: npt.NDArray[Any], particle_size_voxels: float, min_rel_particle_size: float = 0.005
) -> npt.NDArray[np.uint32]:
    """Return the particles of a scan (z, y, x), any numeric type, as labels 1..N, uint32; 0 is background."""
    solid = _solid(scan, particle_size_voxels)
    if not solid.any():
        return np.zeros(scan.shape, np.uint32)
    blur = max(_LEAST_BLUR, _DEPTH_BLUR * particle_size_voxels)
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(solid).astype(np.float32), blur)
    peaks = h_maxima(depth, _MARKER_HEIGHT * particle_size_voxels)  # type: ignore[no-untyped-call]
    markers, _ = ndimage.label(peaks & solid, np.ones((3, 3, 3)))
    basins = watershed(-depth, markers, mask=solid)  # type: ignore[no-untyped-call]
    return _pruned(basins, min_rel_particle_size)


def _solid(scan: npt.NDArray[Any], size: float) -> Mask:
    """Where there is a particle."""
    seen = _field_of_view(scan)
    values = scan[seen]
    if not values.size or values.min() == values.max():
        return np.zeros(scan.shape, np.bool_)
    filled = np.where(seen, scan, np.median(values)).astype(np.float32)
    smooth = ndimage.gaussian_filter(filled, max(_LEAST_BLUR, _BLUR * size))
    flat = smooth - _dark(smooth, size)
    solid = (flat > threshold_otsu(flat[seen])) & seen  # type: ignore[no-untyped-call]
    return np.asarray(solid & ~_walls(solid, size))


def _field_of_view(scan: npt.NDArray[Any]) -> Mask:
    """All but black corners: lines along z that hold one value only."""
    corner = ndimage.binary_dilation(scan.min(axis=0) == scan.max(axis=0))
    return np.broadcast_to(~corner, scan.shape)


def _dark(smooth: Floats, size: float) -> Floats:
    """Grey value of the matrix around each place: the lowest ones within some diameters."""
    window = 2 * round(_DARK_WINDOW * size / 2) + 1
    lowest = ndimage.minimum_filter(smooth, window)
    return np.asarray(ndimage.gaussian_filter(lowest, window / 2), dtype=np.float32)


def _walls(solid: Mask, size: float) -> Mask:
    """What is solid along z from end to end, in scans of several diameters."""
    if solid.shape[0] < 3 * size:
        return np.zeros(solid.shape, np.bool_)
    through = solid.mean(axis=0) > _WALL_SHARE
    return np.broadcast_to(ndimage.binary_dilation(through, iterations=2), solid.shape)


def _pruned(labels: npt.NDArray[np.int32], min_rel_particle_size: float) -> npt.NDArray[np.uint32]:
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    if not sizes.any():
        return labels.astype(np.uint32)
    kept = sizes >= min_rel_particle_size * sizes[sizes > 0].mean()
    kept &= sizes > 0
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.uint32)
    return np.asarray(numbers[labels])
