"""The surroundings of a sample, the whole way: with the bundled network, from scan to table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ps3d_core.geometry.boxes import Box
from ps3d_core.params import PredictParams, Resources, SegmentParams
from ps3d_core.particles.table import read_columns
from ps3d_core.phantom.params import PhantomParams, Tube
from ps3d_core.phantom.write import write_phantom
from ps3d_core.pipeline import segment
from ps3d_core.plan import SegmentJob
from ps3d_core.record import RunRecord
from ps3d_core.region.inside import GridRegion
from ps3d_core.region.region import Cylinder, Region
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

Labels = npt.NDArray[np.uint32]

PARAMS = PhantomParams(
    shape=(56, 76, 80),
    particle_size_voxels=12,
    seed=4,
    tube=Tube(radius_voxels=26, wall_voxels=5, centre_offset_voxels=(1, -2), grey=0.75),
)
TRUE = Region(cylinders=(Cylinder(kind="wall", centre=PARAMS.tube_axis, radius=26.0),))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    found = Dataset(Location.parse(tmp_path_factory.mktemp("region")))
    write_phantom(PARAMS, found.root, "ore")
    return found


def segmented(dataset: Dataset, roi: str, output: Path) -> tuple[Labels, RunRecord, SegmentJob]:
    predict = PredictParams(roi=roi, quality="fast", device="cpu")
    params, resources = SegmentParams(predict=predict), Resources(workers=2)
    job = SegmentJob(dataset, "ore", Location.parse(output), params=params, resources=resources)
    record = segment(job)
    return np.asarray(open_image(job.result.labels)[...]), record, job


def matches(labels: Labels, truth: Labels) -> set[int]:
    """True particles of which half is found as one, IoU 0.5 or more."""
    pairs, counts = np.unique(np.stack([truth.ravel(), labels.ravel()]), axis=1, return_counts=True)
    of_truth, of_labels = np.bincount(truth.ravel()), np.bincount(labels.ravel())
    union = of_truth[pairs[0]] + of_labels[pairs[1]] - counts
    return set(pairs[0][(pairs > 0).all(axis=0) & (counts >= 0.5 * union)].tolist())


def test_nothing_is_found_outside_of_the_tube_and_nothing_inside_is_lost(dataset: Dataset, tmp_path: Path) -> None:
    truth = np.asarray(open_image(dataset.truth("ore"))[...])
    everything, _, _ = segmented(dataset, "none", tmp_path / "all")
    inside, record, job = segmented(dataset, "auto", tmp_path / "inside")
    assert matches(inside, truth) == matches(everything, truth)
    assert len(matches(inside, truth)) > 40
    outside = ~GridRegion(TRUE, PARAMS.shape, PARAMS.shape).inside(Box.of(PARAMS.shape))
    assert (inside[outside] > 0).sum() < 0.005 * (inside > 0).sum()
    assert "a tube of radius 26" in record.input["region"]["text"]
    assert "a tube of radius 26" in job.result.report.read_bytes().decode()
    # The tube holds the particles, it does not cut them.
    table = read_columns(job.result.table_parquet, ["label", "bbox_z_start", "bbox_z_stop", "touches_border"])
    at_faces = (table["bbox_z_start"] == 0) | (table["bbox_z_stop"] == PARAMS.shape[0])
    assert np.array_equal(table["touches_border"], at_faces)


def test_particles_that_a_given_cylinder_cuts_touch_the_border(dataset: Dataset, tmp_path: Path) -> None:
    inside, record, job = segmented(dataset, "cylinder:39,37,18", tmp_path / "cut")
    y, x = np.ogrid[: PARAMS.shape[1], : PARAMS.shape[2]]
    beyond = np.hypot(y - 39, x - 37) - 18
    assert not inside[:, beyond > 1.5].any()
    table = read_columns(job.result.table_parquet, ["label", "touches_border"])
    touching = set(table["label"][table["touches_border"].astype(bool)].tolist())
    assert set(np.unique(inside[:, beyond > -0.5]).tolist()) - {0} <= touching
    assert touching < set(table["label"].tolist())
    assert record.counts["size"]["touching_border"] == len(touching)
