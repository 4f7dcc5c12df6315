"""Labelled volumes for tests: solids with known answers, and random ones."""

import numpy as np

from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.particles.sums import LabelSums, merge
from ps3d_core.particles.voxel_sums import block_sums
from ps3d_core.store.arrays import create_array


def ellipsoid(semi_axes, rotation=None, margin=2):
    """Mask of an ellipsoid in the middle of its own array; semi-axes (z, y, x) in voxels."""
    n = int(2 * np.ceil(max(semi_axes)) + 2 * margin + 1)
    points = np.indices((n, n, n)).reshape(3, -1) - (n - 1) / 2
    if rotation is not None:
        points = rotation.T @ points
    inside = ((points / np.array(semi_axes, float)[:, None]) ** 2).sum(axis=0) <= 1
    return inside.reshape(n, n, n)


def rotation(seed):
    """A random rotation matrix."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


def voronoi(shape, particles, seed, filled=0.6):
    """Touching particles with labels 1..particles (some may be empty) and background, uint32."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, shape, (particles, 3))
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    distance = np.linalg.norm(points[..., None, :] - centres, axis=-1)
    labels = distance.argmin(axis=-1) + 1
    labels[distance.min(axis=-1) > np.quantile(distance.min(axis=-1), filled)] = 0
    return labels.astype(np.uint32)


def sums_of(labels, image=None, block_shape=None):
    """Sums over a whole volume, measured in blocks of `block_shape`."""
    padded = np.pad(labels.astype(np.uint32), 1)
    parts = []
    for block in BlockGrid(labels.shape, block_shape or labels.shape):
        (z, y, x), stop = block.core.start, block.core.stop
        outer = padded[z : stop[0] + 2, y : stop[1] + 2, x : stop[2] + 2]
        part = block_sums(outer, block.core.start, None if image is None else image[block.core.slices])
        parts.append(LabelSums.from_arrays(part.to_arrays()))
    return merge(parts).normalised()


def stored(location, array, chunks=(8, 8, 8)):
    """`array` as a Zarr array at `location`."""
    chunks = tuple(min(c, n) for c, n in zip(chunks, array.shape, strict=True))
    created = create_array(location, array.shape, array.dtype, chunks=chunks, shards=chunks)
    created[...] = array
    return location
