"""The definition of particles, word for word, on a whole volume in memory: slow, and independent of the library.

Where a core has a neck is the library's own answer, which tests of its own hold.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ps3d_core.border_core.cores import SMALLEST_WITH_NECK
from ps3d_core.border_core.necks import part_at_necks

FACES = ndimage.generate_binary_structure(3, 1)
ALL = ndimage.generate_binary_structure(3, 3)


def naive_instances(border_core, min_rel_particle_size=0.0, greatest_neck=0.0, cores=None):
    """Ids of the particles of a border-core volume; `cores` are numbered ones where not those of the usual rule."""
    foreground = border_core > 0
    labels = remaining_cores(border_core) if cores is None else cores
    if greatest_neck:
        labels = split_cores(labels, greatest_neck)
    while True:
        # One step: the highest label among the 26 neighbours.
        reached = foreground & (labels == 0)
        step = np.where(reached, ndimage.grey_dilation(labels, footprint=ALL, mode="constant", cval=0), 0)
        if not step.any():
            break
        labels = labels + step
    coreless, _ = ndimage.label(foreground & (labels == 0), ALL)
    labels = np.where(coreless > 0, coreless + labels.max(initial=0), labels)
    return prune(labels, min_rel_particle_size)


def remaining_cores(border_core):
    """Cores 1, 2, ... in C order of their first voxel, without the small ones."""
    core = border_core == 1
    cores, count = ndimage.label(core, FACES)
    # The distance transform of the bare volume: what lies beyond its faces is no background. Without any background
    # there is no distance, and nothing is near.
    distance = np.full(core.shape, np.inf) if core.all() else ndimage.distance_transform_edt(core)
    numbers = np.zeros(count + 1, np.int64)
    for number in range(1, count + 1):
        distances = distance[cores == number]
        small = np.mean(distances <= 1) >= 0.95 and not (distances >= 3).any()
        numbers[number] = 0 if small else numbers.max() + 1
    return numbers[cores]


def split_cores(cores, greatest_neck):
    """Cores split at their necks: first parts keep the number of their core, the others follow after all cores."""
    labels, last = cores.copy(), cores.max(initial=0)
    for core in range(1, cores.max(initial=0) + 1):
        if np.count_nonzero(cores == core) < SMALLEST_WITH_NECK:
            continue  # at the faces of a volume, beyond which nothing is outside, fewer voxels could have one
        parts, count = part_at_necks(cores == core, greatest_neck)
        for part in range(2, count + 1):
            labels[parts == part] = last = last + 1
    return labels


def prune(labels, min_rel_particle_size):
    """Dense ids of the labels that are large enough, in their order."""
    voxels = np.bincount(labels.ravel())[1:]
    kept = voxels >= min_rel_particle_size * (voxels.sum() / max(1, len(voxels)))
    ids = np.concatenate(([0], np.where(kept, np.cumsum(kept), 0)))
    return ids[labels].astype(np.uint32)
