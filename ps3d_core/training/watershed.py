"""The peer that the bundled model is compared with: Otsu's threshold and a watershed of the distance transform.

It is what most people do with such scans today, through scikit-image. It gets what helps it: a light blur against
noise, the true particle size for the distance between markers, and the same pruning of crumbs as the pipeline.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

_BLUR_VOXELS = 1.0
_MARKER_DISTANCE = 0.25  # of the mean particle diameter


def watershed_particles(
    scan: npt.NDArray[Any], particle_size_voxels: float, min_rel_particle_size: float = 0.005
) -> npt.NDArray[np.uint32]:
    """Return the particles of a scan (z, y, x), any numeric type, as labels 1..N, uint32; 0 is background."""
    smooth = ndimage.gaussian_filter(scan.astype(np.float32), _BLUR_VOXELS)
    solid = smooth > threshold_otsu(smooth)  # type: ignore[no-untyped-call]
    if not solid.any():
        return np.zeros(scan.shape, np.uint32)
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(solid).astype(np.float32), _BLUR_VOXELS)
    distance = max(1, round(_MARKER_DISTANCE * particle_size_voxels))
    peaks = peak_local_max(  # type: ignore[no-untyped-call]
        depth, min_distance=distance, labels=solid.astype(np.int32), exclude_border=False
    )
    markers = np.zeros(scan.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    basins = watershed(-depth, markers, mask=solid)  # type: ignore[no-untyped-call]
    return _pruned(basins, min_rel_particle_size)


def _pruned(labels: npt.NDArray[np.int32], min_rel_particle_size: float) -> npt.NDArray[np.uint32]:
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    if not sizes.any():
        return labels.astype(np.uint32)
    kept = sizes >= min_rel_particle_size * sizes[sizes > 0].mean()
    kept &= sizes > 0
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.uint32)
    return np.asarray(numbers[labels])
