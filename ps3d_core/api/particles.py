"""Single steps on arrays, paths and URLs: particles from border-core labels, their table, how well they agree."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import zarr

from ps3d_core.border_core.labels import border_core_to_instances
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.evaluation.evaluate import evaluate as evaluate_images
from ps3d_core.evaluation.metrics import Evaluation
from ps3d_core.geometry.spacing import StatedSpacing, one_if_equal
from ps3d_core.measuring.measure import Foreign, measure_sample
from ps3d_core.params import InstancesParams, MeasureParams, Resources
from ps3d_core.particles.sample import Sample
from ps3d_core.particles.table import read_table
from ps3d_core.progress import SILENT, Progress
from ps3d_core.scan.given import spacing_of, volumes_in
from ps3d_core.scan.sources import Source
from ps3d_core.scan.spacing import checked_spacing
from ps3d_core.store.arrays import open_array
from ps3d_core.store.scratch import fresh_place, remove_with, temporary


def instances(
    border_core: Source,
    *,
    min_rel_particle_size: float = 0.005,
    smallest_core: int | None = None,
    greatest_length: float | None = None,
    greatest_neck: float | None = None,
    resources: Resources | None = None,
    progress: Progress = SILENT,
) -> zarr.Array[Any]:
    """Turn border-core labels (z, y, x) of 0 background, 1 core, 2 border into particles.

    Every connected core becomes a particle and grows through the border voxels around it; particles with fewer voxels
    than `min_rel_particle_size` of the mean are dropped, and those longer than `greatest_length` equivalent diameters.
    Cores of fewer voxels than `smallest_core` become border, by ParticleSeg3D's rule of depth when it is left out, and
    are split at necks that are at most `greatest_neck` times as wide as the narrower part beside them. Return ids
    1..N, uint32, in a temporary folder that goes with the array; `array[...]` is all of it in memory. Raise
    `InputError` when there are other values, or no volume.
    """
    params = InstancesParams(
        min_rel_particle_size=min_rel_particle_size,
        smallest_core=smallest_core,
        greatest_length=greatest_length,
        greatest_neck=greatest_neck,
    )
    resources = resources or Resources()
    place = fresh_place(in_memory=False)
    with temporary() as work, volumes_in(work, progress, memory_bytes=resources.memory_bytes) as volumes:
        border_core_to_instances(
            volumes.array(border_core),
            place / "particles.zarr",
            work,
            context=Context(Runner.of(resources), resources.memory_bytes, progress),
            params=params,
        )
        particles = open_array(place / "particles.zarr")
        remove_with(particles, place)
        return particles


def measure(
    labels: Source,
    *,
    spacing: StatedSpacing | None = None,
    image: Source | None = None,
    any_labels: bool = False,
    params: MeasureParams | None = None,
    resources: Resources | None = None,
    progress: Progress = SILENT,
) -> pa.Table:
    """Measure the particles of a label image (z, y, x): one row per label, in order of the labels.

    Args:
        labels: whole numbers, 0 is background.
        spacing: edge of a voxel, mm, or three (z, y, x); what `labels` say of themselves when absent.
        image: grey values of the same shape, for their mean, deviation and range in every particle.
        params: which columns the table has, and what they need to know; the core ones when absent.
        any_labels: measure what hardly can be particles, too: a mask, classes, a numbered background.
        resources: memory, workers and runner; the whole machine when absent.
        progress: is told how the work goes on.

    Returns:
        The table of `particles.parquet`; the metadata of its fields have unit and meaning.

    Raises:
        InputError: for what are no labels, and where no spacing is known.

    """
    resources = resources or Resources()
    spacing = spacing_of(labels) if spacing is None else checked_spacing(spacing)
    with temporary() as work, volumes_in(work, progress, memory_bytes=resources.memory_bytes) as volumes:
        grey = None if image is None else volumes.image(image)
        measure_sample(
            Sample(volumes.labels(labels), grey, one_if_equal(spacing)),
            work / "table",
            work=work,
            params=params,
            foreign=Foreign("labels", any_labels),
            context=Context(Runner.of(resources), resources.memory_bytes, progress),
        )
        return read_table(work / "table" / "particles.parquet")


def evaluate(labels: Source, truth: Source, *, progress: Progress = SILENT) -> Evaluation:
    """Compare two label images (z, y, x) of one shape; 0 is background.

    Particles match when their intersection over union exceeds a threshold. Raise `InputError` when the shapes differ or
    an image holds no labels.
    """
    with temporary() as work, volumes_in(work, progress) as volumes:
        return evaluate_images(
            volumes.labels(labels), volumes.labels(truth), work=work, context=Context(progress=progress)
        )
