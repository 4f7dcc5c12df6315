"""How much each voxel of a patch counts: most in the centre, where the network has seen all around."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.boxes import Shape


def gaussian_weights(patch: Shape, sigma: float) -> npt.NDArray[np.float32]:
    """Return a separable Gaussian of shape `patch`, float32, maximum 1, never zero.

    `sigma` is a share of the patch. Values that underflow are replaced by the smallest non-zero one, so that a voxel
    seen by one patch alone still has a result.
    """
    z, y, x = (_axis(side, sigma) for side in patch)
    weights = (z[:, None, None] * y[None, :, None] * x[None, None, :]).astype(np.float32)
    weights /= weights.max()
    weights[weights == 0] = weights[weights > 0].min()
    return weights


def _axis(side: int, sigma: float) -> npt.NDArray[np.float64]:
    offset = np.arange(side) - (side - 1) / 2
    return np.asarray(np.exp(-0.5 * (offset / (side * sigma)) ** 2))
