"""How certain the network is of each particle, by the ids that the label image has."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ps3d_core.border_core.to_scan_grid import ids_on_target, plan_resampling, resample_labels
from ps3d_core.engine.step import Context, Outcomes
from ps3d_core.errors import CorruptDataError
from ps3d_core.geometry.boxes import Box
from ps3d_core.steps.certainty import ParticleCertainty
from ps3d_core.store.arrays import create_array, open_array, read_box, write_box
from ps3d_core.store.layout import Result
from ps3d_core.store.location import Location


@pytest.fixture
def place(tmp_path):
    return Location.parse(tmp_path)


def step_of(place, ids):
    """The step for four particles of 10, 20, 30, 40 voxels, with these ids in the label image."""
    known = place / "known.npz"
    known.write_arrays(voxels=np.array([10, 20, 30, 40]), certainty=np.array([10, 20, 30, 20]) * 255)
    plan = SimpleNamespace(job=SimpleNamespace(result=Result(place, "ore")))
    image = SimpleNamespace(ids=lambda done, context: np.array(ids, np.uint32))
    return ParticleCertainty(plan, SimpleNamespace(certainties=known), image)


def test_it_is_kept_by_label(place):
    step = step_of(place, [0, 1, 2, 3, 4])
    found = step.make(Outcomes(), Context())
    assert found.certainty == pytest.approx(80 / 100)
    np.testing.assert_array_equal(step.by_label(), [np.nan, 1, 1, 1, 0.5])


def test_particles_that_vanished_have_none(place):
    step = step_of(place, [0, 1, 0, 0, 2])
    assert step.make(Outcomes(), Context()).certainty == pytest.approx(30 / 50)
    np.testing.assert_array_equal(step.by_label(), [np.nan, 1, 0.5])


def test_no_particles(place):
    step = step_of(place, [0, 0, 0, 0, 0])
    assert step.make(Outcomes(), Context()).certainty is None
    assert len(step.by_label()) == 1


def test_a_damaged_file_is_named(place):
    step = step_of(place, [0, 1, 2, 3, 4])
    step.make(Outcomes(), Context())
    (place / "ore" / "certainty.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(CorruptDataError, match=r"certainty\.parquet: not a Parquet file"):
        step.by_label()


@pytest.mark.parametrize("kept", [True, False])
def test_ids_are_found_again_without_the_work_folder(place, kept):
    rng = np.random.default_rng(0)
    labels = np.zeros((24, 24, 24), np.uint32)
    for label, corner in enumerate(rng.permutation(8**3)[:60], 1):
        z, y, x = 3 * np.array(np.unravel_index(corner, (8, 8, 8)))
        side = int(rng.integers(1, 4))
        labels[z : z + side, y : y + side, x : x + side] = label
    write_box(create_array(place / "source", labels.shape, np.uint32), Box.of(labels.shape), labels)
    create_array(place / "target", (9, 9, 9), np.uint32)
    options = {"particles": 60, "context": Context(), "source_fingerprint": "source"}
    plan = plan_resampling(place / "source", place / "target", place / "work", (9, 9, 9), **options)
    found = resample_labels(plan)
    assert 0 < found.vanished < 60
    if not kept:
        (place / "work").remove_tree()
    ids = ids_on_target(plan)
    assert len(ids) == 61
    assert ids.max() == np.count_nonzero(ids) == found.particles
    target = read_box(open_array(place / "target"), Box.of((9, 9, 9)))
    centres = (np.arange(9) * 24 + 12) // 9
    nearest = labels[np.ix_(centres, centres, centres)]
    right = ids[nearest] == target
    assert right.mean() > 0.9  # a vote of eight is not the nearest voxel, but mostly the same
