"""Border-core volumes on a store, and what the library makes of them."""

from __future__ import annotations

import numpy as np

from ps3d_core.border_core.labels import run_instances
from ps3d_core.border_core.plan import HALO, Certainties, plan_instances
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.geometry.boxes import Box
from ps3d_core.invalid import made
from ps3d_core.params import InstancesParams
from ps3d_core.store.arrays import create_array, open_array, read_box, write_box

MEMORY = 8 * 2**30
_PARAMS = ("min_rel_particle_size", "smallest_core", "least_certainty", "greatest_length", "greatest_neck")


def stored(place, border_core, name="border_core"):
    """`border_core` as an array on the store."""
    array = create_array(place / name, border_core.shape, border_core.dtype)
    write_box(array, Box.of(border_core.shape), border_core)
    return place / name


def planned(place, source, **options):
    """A plan that keeps everything below `place`; nothing is pruned unless asked for."""
    params = {"min_rel_particle_size": 0.0} | {key: options.pop(key) for key in _PARAMS if key in options}
    options = {"input_fingerprint": "test", "params": made(InstancesParams, **params)} | options
    if known := options.pop("certainty", None):
        options["certainty"] = Certainties(known, place / "certainties.npz")
    context = Context(Runner(workers=options.pop("workers", 1)), options.pop("memory_bytes", MEMORY))
    halo = options.pop("halo", HALO)
    return plan_instances(source, place / "labels", place / "work", context=context, **options).with_halo(halo)


def labels_of(plan, runner=None, **options):
    """Run a plan; the ids of the whole volume."""
    run_instances(plan, runner=runner or Runner(), **options)
    return read_box(open_array(plan.output), Box.of(plan.shape))


def blobs(rng, shape, particles, thickness=1.0):
    """Touching balls of random sizes with borders: border-core labels that look like a network's, of any shape."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    depth = np.full(shape, -np.inf)
    owner = np.zeros(shape, int)
    for particle in range(1, particles + 1):
        centre = rng.uniform(0, shape)
        inside = rng.uniform(1.0, 6.0) - np.sqrt(((grid - centre) ** 2).sum(-1))
        owner = np.where(inside > depth, particle, owner)
        depth = np.maximum(depth, inside)
    border_core = np.where(depth <= 0, 0, np.where(depth > thickness, 1, 2)).astype(np.uint8)
    # Cores of different balls stay apart, as far as a network would keep them apart.
    for axis in range(3):
        border_core[(border_core == 1) & (np.roll(owner, 1, axis) != owner)] = 2
    noise = rng.random(shape)
    border_core[noise > 0.995] = rng.integers(0, 3)
    return border_core
