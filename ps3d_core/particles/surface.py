"""Surface area by counting the intercepts of straight lines with a particle (Crofton's formula).

An intercept is a stretch of a line inside the particle. Over lines of all directions, the mean number of intercepts per
unit of area across the line is S / 4 for a surface of area S. Lines through a voxel grid run along 13 directions to
neighbours: 3 axes, 6 face diagonals, 4 body diagonals. Along one of them, an intercept ends at a voxel of the particle
whose next voxel is not of the particle, and the lines of that direction stand 1 / length apart (length of the step, in
voxels):

    S = 4 * sum over directions of  share * intercepts / length          [voxel edges squared]

where `share` is the part of the sphere of directions that is nearest to this one (its Voronoi cell). See Legland,
Kieu and Devaux, Image Analysis & Stereology 26:83-92 (2007); Ohser and Muecklich, Statistical Analysis of
Microstructures in Materials Science (2000), chapter 3. Their ends are counted per voxel, so counts of blocks add up.

The estimate is unbiased over random orientations. Balls, wherever between voxels their centre lies, read 1.9 % low on
average at a radius of 3 voxels (-6.0 to +1.4 %), 0.4 % at 7 (-3.6 to +0.5 %), 0.1 % at 15 (-0.4 to +0.4 %). A flat
face is off by -7 % when it lies along the grid, at most +2 % otherwise (standard deviation over orientations 1.6 %),
and a particle of a few voxels has hardly a surface to speak of. Where the scan's edge cuts a particle, the cut
counts as surface.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt


def surface_area(intercepts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return areas (n,) in voxel edges squared from intercepts (n, 3) along axes, face diagonals and body diagonals."""
    axes, faces, bodies = intercept_weights()
    area: npt.NDArray[np.float64] = axes * intercepts[:, 0] + faces * intercepts[:, 1] + bodies * intercepts[:, 2]
    return area


@cache
def intercept_weights() -> tuple[float, float, float]:
    """Return the area that one intercept stands for, in voxel edges squared, by kind of direction.

    The kinds are axes, face diagonals and body diagonals.
    """
    from scipy.spatial import SphericalVoronoi

    steps = np.array([step for step in product((-1, 0, 1), repeat=3) if any(step)], np.float64)
    length = np.linalg.norm(steps, axis=1)
    cell = SphericalVoronoi(steps / length[:, None]).calculate_areas()
    # A direction and its opposite are one line; only one of the two is counted.
    weight = 4 * (2 * cell / (4 * np.pi)) / length
    kind = np.abs(steps).sum(axis=1)
    axes, faces, bodies = (float(weight[kind == k].mean()) for k in (1, 2, 3))
    return axes, faces, bodies
