"""CPU time of measuring particles, beside scikit-image's regionprops on the same volume (one core, in memory).

    python tests/benchmarks/measure_particles.py [SIDE]

regionprops is asked for what it has of our columns (no surface area, no second moments of voxel cubes).
"""

import sys
import time

import numpy as np
from skimage.measure import regionprops_table

from ps3d_core.particles.shape import particle_columns
from ps3d_core.particles.voxel_sums import block_sums

PROPERTIES = ("label", "area", "bbox", "centroid", "inertia_tensor_eigvals", "intensity_mean", "intensity_max")


def volume(side: int) -> np.ndarray:
    """Balls of different sizes on a grid of 20 voxels, about half the volume."""
    cell = 20
    points = np.indices((side,) * 3)
    number = np.ravel_multi_index(tuple(points // cell), (side // cell + 1,) * 3) + 1
    radius = np.random.default_rng(0).uniform(6, 11, number.max() + 1)
    inside = ((points % cell - (cell - 1) / 2) ** 2).sum(axis=0) < radius[number] ** 2
    return np.where(inside, number, 0).astype(np.uint32)


def cpu_seconds(work, repeats=3):
    """Least CPU time of several calls, which other work on the machine disturbs least."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    labels = volume(side)
    padded = np.pad(labels, 1)
    image = np.random.default_rng(1).normal(30_000, 3_000, labels.shape).astype(np.uint16)
    print(f"{side} cubed, {len(np.unique(labels)) - 1} particles, {100 * (labels > 0).mean():.0f} % particles")

    def ours(grey):
        particle_columns(block_sums(padded, (0, 0, 0), grey), labels.shape, 0.01, grey=grey is not None)

    ours(image)
    shape_only, with_grey = cpu_seconds(lambda: ours(None)), cpu_seconds(lambda: ours(image))
    peer = cpu_seconds(lambda: regionprops_table(labels.astype(np.int32), image, properties=PROPERTIES), repeats=1)
    for name, seconds in (("shape only", shape_only), ("with grey values", with_grey), ("regionprops", peer)):
        print(f"{name:18s} {seconds:7.2f} s  {labels.size / seconds / 1e6:7.1f} Mvoxel/s  ratio {peer / seconds:6.1f}")


if __name__ == "__main__":
    main()
