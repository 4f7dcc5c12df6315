"""Where one patch hands over to the next cannot be seen in the labels, with the bundled model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context
from ps3d_core.geometry.boxes import Box
from ps3d_core.params import Resources
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.plan import SegmentJob, plan_segmentation
from ps3d_core.steps.border_core import BorderCore
from ps3d_core.steps.grey_values import GreyValues
from ps3d_core.store.arrays import open_array, read_box
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

SHAPE = (64, 112, 112)
"""One patch deep, two patches along the other axes."""
NEAR = 4
FACES = 8


def test_labels_are_as_good_on_the_seams_as_elsewhere(tmp_path: Path) -> None:
    dataset = Dataset(Location.parse(tmp_path / "data"))
    write_phantom(PhantomParams(shape=SHAPE, particle_size_voxels=20, seed=5), dataset.root, "ore")
    resources = Resources(workers=2, memory_gib=3)
    plan = plan_segmentation(SegmentJob(dataset, "ore", Location.parse(tmp_path / "out"), resources=resources))
    assert plan.scale.network_shape == SHAPE
    assert plan.prediction.patches.origins == ((0,), (0, 48), (0, 48))
    grey_values = GreyValues(plan)
    border_core = BorderCore(plan, grey_values)
    Engine(plan.work, [grey_values, border_core]).run_all(Context())
    whole = Box.of(SHAPE)
    found = read_box(open_array(border_core.labels), whole) > 0
    wrong = found != (read_box(open_image(dataset.truth("ore")), whole) > 0)

    # Weights of both patches are equal half-way between their centres.
    seam = np.abs(np.arange(112) - (32 + 80 - 1) / 2) < NEAR
    inside = (np.arange(112) >= FACES) & (np.arange(112) < 112 - FACES)
    on = np.ix_(np.ones(64, bool), seam, inside), np.ix_(np.ones(64, bool), inside, seam)
    off = np.ix_(np.ones(64, bool), inside & ~seam, inside & ~seam)
    error_on, error_off = np.mean([wrong[each].mean() for each in on]), wrong[off].mean()
    assert error_off < 0.05
    assert error_on < 1.15 * error_off
