"""More particles than 16 bits can number, in one block and in many: none is merged, none is lost."""

import numpy as np
import pytest

from ps3d_core.border_core.labels import run_instances
from ps3d_core.border_core.plan import plan_instances
from ps3d_core.border_core.to_scan_grid import plan_resampling, resample_labels
from ps3d_core.engine.step import Context
from ps3d_core.evaluation.evaluate import evaluate
from ps3d_core.geometry.boxes import Box
from ps3d_core.measuring.measure import measure_particles
from ps3d_core.particles.table import read_columns
from ps3d_core.store.arrays import create_array, open_array, read_box, write_box
from ps3d_core.store.location import Location

CELLS = 48
CELL = 5
SIDE = CELLS * CELL
PARTICLES = CELLS**3


@pytest.fixture(scope="module")
def grains(tmp_path_factory):
    """110,592 touching cubes of 5 voxels: cores of 4 and a border that keeps them apart."""
    axis = np.arange(SIDE)
    inside = axis % CELL < CELL - 1
    core = inside[:, None, None] & inside[:, None] & inside
    place = Location.parse(tmp_path_factory.mktemp("scale")) / "border_core"
    array = create_array(place, core.shape, np.uint8)
    write_box(array, Box.of(core.shape), np.where(core, 1, 2).astype(np.uint8))
    return place


@pytest.mark.parametrize("block", [None, (80, 240, 112)], ids=["one-block", "blocks"])
def test_a_hundred_thousand_particles(grains, tmp_path, block):
    place = Location.parse(tmp_path)
    plan = plan_instances(
        grains, place / "network", place / "work", context=Context(), block_shape=block, input_fingerprint="grains"
    )
    summary = run_instances(plan)
    assert (summary.particles, summary.cores, summary.dropped) == (PARTICLES, PARTICLES, 0)
    ids = read_box(open_array(plan.output), Box.of(plan.shape))

    # Cores are numbered in C order, so the id of every cube is known, whatever happens at its borders.
    number = np.arange(1, PARTICLES + 1, dtype=np.uint32).reshape((CELLS,) * 3)
    cores = ids.reshape(CELLS, CELL, CELLS, CELL, CELLS, CELL)[:, :4, :, :4, :, :4]
    assert (cores == number[:, None, :, None, :, None]).all()
    assert np.array_equal(np.unique(ids), np.arange(1, PARTICLES + 1))

    resampling = plan_resampling(
        plan.output,
        place / "labels",
        place / "work",
        plan.shape,
        particles=PARTICLES,
        context=Context(),
        block_shape=block,
    )
    assert resample_labels(resampling).particles == PARTICLES
    measured = measure_particles(place / "labels", place, spacing=0.01, work=place / "work")
    assert measured.particles == PARTICLES
    columns = read_columns(place / "particles.parquet", ["label", "voxels"])
    assert columns["label"].tolist() == list(range(1, PARTICLES + 1))
    assert columns["voxels"].tolist() == np.bincount(ids.ravel())[1:].tolist()
    assert evaluate(place / "labels", plan.output, work=place / "work").f1 == 1.0
