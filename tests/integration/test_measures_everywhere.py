"""All measures there are give the same files wherever blocks are worked on and wherever they lie."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.geometry.boxes import Box
from ps3d_core.measuring.measure import measure_sample
from ps3d_core.params import MeasureParams
from ps3d_core.particles.sample import Sample
from ps3d_core.store.arrays import create_array, write_box
from ps3d_core.store.location import Location
from tests.memory_held import NAN, memory_held

SHAPE = (150, 140, 130)
PARAMS = MeasureParams.model_validate(
    {
        "columns": "all",
        "find_phases": 2,
        "images": ("high=elsewhere.zarr",),
        "sizes": {"densities": {"p1": 2.65, "p2": 5.0}},
    }
)
FILES = (
    *("particles.parquet", "particles.csv", "contacts.parquet", "contacts.csv", "packing.csv"),
    *("phases.json", "phases.svg", "composition.csv"),
)


def written(place):
    """Label image of touching cells with gaps between some, two minerals in grey, and another image."""
    rng = np.random.default_rng(5)
    z, y, x = SHAPE
    coarse = zoom(rng.integers(0, 3, (6, 6, 5)).astype(np.uint32), (25, 24, 26), order=0)[:z, :y, :x]
    cell = np.indices(SHAPE) // 20
    labels = (np.ravel_multi_index(tuple(cell), (8, 7, 7)) + 1).astype(np.uint32)
    offset = np.indices(SHAPE) % 20 - 9.5
    radius = rng.uniform(6, 11, labels.max() + 1)
    labels[(offset**2).sum(axis=0) > radius[labels] ** 2] = 0
    mineral = np.where(labels == 0, 20, np.where(coarse == 0, 200, 110)).astype(np.float32)
    grey = (gaussian_filter(mineral, 0.8) + rng.normal(0, 4, SHAPE)).clip(0, 255).astype(np.uint8)
    high = (mineral * 7 + rng.normal(0, 30, SHAPE)).astype(np.float32)
    for name, values in (("labels", labels), ("grey", grey), ("high", high)):
        write_box(create_array(place / name, SHAPE, values.dtype), Box.of(SHAPE), values)
    return place


def measured(place, output, **options):
    """Bytes of all files of one measurement."""
    sample = Sample(place / "labels", place / "grey", (0.02, 0.01, 0.01), (("high", place / "high"),))
    measure_sample(sample, output, work=output / "work", params=PARAMS, **options)
    return {name: (output / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return written(Location.parse(tmp_path_factory.mktemp("measures")))


@pytest.fixture(scope="module")
def reference(place, tmp_path_factory):
    """Of one block, in memory that held no numbers before: other runs must not differ in that either."""
    with memory_held(NAN):
        files = measured(place, Location.parse(tmp_path_factory.mktemp("reference")), block_shape=SHAPE)
    assert files["particles.csv"].count(b"\n") > 300
    assert all(map(len, files.values()))
    return files


@pytest.mark.parametrize("kind", ["threads", "processes", "dask"])
def test_runners_and_blocks(place, reference, tmp_path, kind, request):
    address = request.getfixturevalue("dask_cluster") if kind == "dask" else None
    context = Context(Runner(kind=kind, workers=2, address=address), 2**31)
    assert measured(place, Location.parse(tmp_path), block_shape=(128, 64, 64), context=context) == reference


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_stores(reference, kind, request):
    root = request.getfixturevalue("s3") if kind == "s3" else Location.parse("memory://measures-everywhere")
    written(root / "in")
    context = Context(Runner(workers=2), 2**31)
    assert measured(root / "in", root / "out", block_shape=(64, 128, 64), context=context) == reference
    root.remove_tree()


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from ps3d_core.store.location import Location
from tests.integration.test_measures_everywhere import measured
measured(Location.parse(sys.argv[1]), Location.parse(sys.argv[2]), block_shape=(32, 32, 32))
"""


def test_a_run_that_was_killed_among_whole_particles_goes_on(place, reference, tmp_path):
    root = str(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    output = Location.parse(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(place), str(tmp_path), root])
    shapes = tmp_path / "work" / "shapes"
    until = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < until:
        if len(list(shapes.rglob("[0-9]*.npz"))) >= 3:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    left = set(shapes.rglob("[0-9]*.npz"))
    stamps = {file: file.stat().st_mtime_ns for file in left}
    assert measured(place, output, block_shape=(32, 32, 32)) == reference
    kept = [file for file in left if file.exists() and file.stat().st_mtime_ns == stamps[file]]
    assert len(kept) >= len(left) - 1  # all but the one that was in its hands
