"""Mean, spread and extremes of an image inside each particle of a cutout."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.particles.label_index import Labels


@njit(nogil=True, cache=True)
def grey_values(
    labels: Labels,
    image: npt.NDArray[Any],
    ids: Labels,
    low: npt.NDArray[np.int32],
    high: npt.NDArray[np.int32],
) -> npt.NDArray[np.float64]:
    """Return mean, standard deviation, minimum and maximum (n, 4) of `image` (z, y, x) in particles `ids` (n,).

    `low` and `high` (n, 3) are the first and last voxel of each one's box. Deviations are from the mean, in a second
    walk, so that large values lose no digits. A particle with a voxel that is not a number or infinite has no values.
    """
    out = np.full((ids.size, 4), np.nan)
    for i in range(ids.size):
        n, total, least, most = 0, 0.0, np.inf, -np.inf
        for z in range(low[i, 0], high[i, 0] + 1):
            for y in range(low[i, 1], high[i, 1] + 1):
                for x in range(low[i, 2], high[i, 2] + 1):
                    if labels[z, y, x] == ids[i]:
                        value = float(image[z, y, x])
                        n, total = n + 1, total + value
                        least, most = min(least, value), max(most, value)
        if n == 0 or not np.isfinite(total):
            continue
        mean, squares = total / n, 0.0
        for z in range(low[i, 0], high[i, 0] + 1):
            for y in range(low[i, 1], high[i, 1] + 1):
                for x in range(low[i, 2], high[i, 2] + 1):
                    if labels[z, y, x] == ids[i]:
                        squares += (float(image[z, y, x]) - mean) ** 2
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = mean, np.sqrt(squares / n), least, most
    return out
