"""Regions: which voxels are inside, what a person may say, and what a segmentation makes of them."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from ps3d_core.engine.step import Outcomes
from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.inference.plan import plan_prediction
from ps3d_core.inference.predict import Predicted
from ps3d_core.params import PredictParams, SegmentParams
from ps3d_core.pipeline import run_of
from ps3d_core.plan import SegmentPlan, plan_segmentation
from ps3d_core.progress import SILENT
from ps3d_core.region.inside import GridRegion
from ps3d_core.region.region import Cylinder, HalfSpace, Mask, Region
from ps3d_core.region.settled import settle_region, settled_region
from ps3d_core.region.stated import stated_cylinder
from ps3d_core.steps.border_core import BorderCore
from ps3d_core.store.arrays import open_array, write_box
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, open_image
from tests.tiny_plan import planned

SCAN: Shape = (20, 30, 40)
TILTED = Region(
    cylinders=(Cylinder(kind="wall", centre=(12.0, 17.0), tilt=(0.3, -0.2), radius=9.5),),
    planes=(HalfSpace(kind="wall", normal=(0.6, 0.0, 0.8), offset=24.0),),
)


def image_of(place: Path, values: npt.NDArray[Any]) -> Location:
    image = Location.parse(place)
    z, y, x = values.shape
    write_box(create_image(image, (z, y, x), values.dtype, spacing=0.01, name="mask"), Box.of((z, y, x)), values)
    return image


def masked(folder: Path) -> Region:
    values = np.random.default_rng(1).integers(0, 2, (10, 15, 20)).astype(np.uint8)
    place = image_of(folder / "mask.zarr", values)
    return Region(mask=Mask(place=place.url, identity="m", sides=(10, 15, 20), name="mask.zarr"))


def test_a_region_is_what_its_numbers_say() -> None:
    z, y, x = np.meshgrid(*map(np.arange, SCAN), indexing="ij")
    axis = np.array([1, 0.3, -0.2]) / np.linalg.norm([1, 0.3, -0.2])
    points = np.stack([z, y - 12.0, x - 17.0], axis=-1)
    distance = np.linalg.norm(np.cross(points, axis), axis=-1)
    expected = (distance <= 9.5) & (0.6 * z + 0.8 * x <= 24.0)
    assert np.array_equal(GridRegion(TILTED, SCAN, SCAN).inside(Box.of(SCAN)), expected)


def test_a_mask_covers_as_many_voxels_as_it_is_coarser(tmp_path: Path) -> None:
    region = masked(tmp_path)
    values = open_image(Location.parse(tmp_path / "mask.zarr"))[...]
    expected = np.asarray(values).repeat(2, 0).repeat(2, 1).repeat(2, 2) > 0
    assert np.array_equal(GridRegion(region, SCAN, SCAN).inside(Box.of(SCAN)), expected)


@pytest.mark.parametrize("grid", [SCAN, (31, 47, 62), (9, 14, 19)])
@pytest.mark.parametrize("kind", ["numbers", "mask"])
def test_the_inside_does_not_depend_on_the_box(kind: str, grid: Shape, tmp_path: Path) -> None:
    region = GridRegion(TILTED if kind == "numbers" else masked(tmp_path), SCAN, grid)
    whole = region.inside(Box.of(grid), margin=1.5)
    region = pickle.loads(pickle.dumps(region))
    for box in (Box((0, 0, 0), (1, 1, 1)), Box((3, 5, 7), (9, 14, 19)), Box((2, 0, 4), (5, 14, 5))):
        assert np.array_equal(region.inside(box, margin=1.5), whole[box.slices])


def test_what_is_taken_to_be_outside_is_outside() -> None:
    region, found = GridRegion(TILTED, SCAN, SCAN), 0
    for z in range(0, 20, 4):
        for y in range(0, 30, 5):
            for x in range(0, 40, 5):
                box = Box((z, y, x), (z + 4, y + 5, x + 5))
                outside, empty = region.is_outside(box), not region.inside(box).any()
                assert empty or not outside
                found += outside
    assert found > 100


@pytest.mark.parametrize("wrong", ["cylinder:1,2", "cylinder:1,2,0", "cylinder:a,b,c", "cylinder:1,2,3,4", "cylinder:"])
def test_a_cylinder_that_is_none_is_refused_with_its_value(wrong: str) -> None:
    with pytest.raises(ValidationError, match=r"radius|give cylinder"):
        PredictParams(roi=wrong)


def test_a_cylinder_in_mm_is_that_in_voxels() -> None:
    said = stated_cylinder("cylinder:14,18,6", SCAN, 0.5)
    assert said == stated_cylinder("cylinder:7,9,3mm", SCAN, 0.5)
    assert said is not None
    assert said.cylinders[0].cuts
    tilted = stated_cylinder("cylinder:10,18,14,20,6", SCAN, 1)
    assert tilted is not None
    assert tilted.cylinders[0].tilt == pytest.approx((4 / 19, 2 / 19))
    with pytest.raises(InputError, match="nothing of it lies in the scan"):
        stated_cylinder("cylinder:140,180,6", SCAN, 0.5)


def with_region(plan: SegmentPlan, roi: str, output: str, **predict: Any) -> SegmentPlan:
    params = SegmentParams(predict=plan.job.params.predict.model_copy(update={"roi": roi, **predict}))
    job = replace(plan.job, params=params, output=plan.job.output / output)
    settle_region(job.dataset, job.scan, roi)
    return plan_segmentation(job)


def border_core(plan: SegmentPlan) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Predicted]:
    """Labels, certainty and cost of prediction."""
    run, done = run_of(plan), Outcomes()
    for step in run.steps[:2]:
        done[step.name] = run.engine.run(step, done, run.context(SILENT))
    core = run.step(BorderCore)
    labels, certainty = (np.asarray(open_array(place)[...]) for place in (core.labels, core.certainty))
    return labels, certainty, done.of(BorderCore)


def test_outside_is_background_for_certain_and_inside_is_as_without_region(tmp_path: Path) -> None:
    plan = planned(tmp_path, (40, 56, 60))
    labels, certainty, found = border_core(plan)
    for output, roi in (("straight", "cylinder:20,22,14"), ("tilted", "cylinder:20,22,30,26,14")):
        here = with_region(plan, roi, output)
        assert here.on_network_grid is not None
        inside = here.on_network_grid.inside(Box.of(here.scale.network_shape))
        own, sure, spared = border_core(here)
        assert np.array_equal(own[inside], labels[inside])
        assert np.array_equal(sure[inside], certainty[inside])
        assert not own[~inside].any()
        assert (sure[~inside] == 255).all()
        assert spared.patches_outside > 0
        assert spared.patches_evaluated + spared.patches_outside == found.patches_evaluated
        assert "lie outside and are not evaluated" in "\n".join(here.describe())


def test_bytes_do_not_depend_on_blocks(tmp_path: Path) -> None:
    plan = with_region(planned(tmp_path, (40, 56, 150)), "cylinder:20,22,30,60,24", "one")
    small = with_region(plan, "cylinder:20,22,30,60,24", "many")
    cut = plan_prediction(
        plan.scale.network_shape,
        plan.prediction.patches.patch,
        quality=plan.prediction.quality,
        memory_bytes=2**40,
        workers=2,
        shards=(64, 64, 64),
    )
    small = replace(small, prediction=cut)
    assert len(small.prediction.blocks) > len(plan.prediction.blocks) == 1
    for one, many in zip(border_core(plan)[:2], border_core(small)[:2], strict=True):
        assert np.array_equal(one, many)


def test_a_region_is_part_of_what_a_result_is_known_by_only_where_there_is_one(tmp_path: Path) -> None:
    plan = planned(tmp_path, (32, 40, 40))
    known = run_of(plan).fingerprint
    found = with_region(plan, "auto", "found")
    assert not found.region
    assert run_of(found).fingerprint == known
    assert len({known, *(run_of(with_region(plan, f"cylinder:20,20,{r}", "x")).fingerprint for r in (9, 10))}) == 3


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    plan = planned(tmp_path, (32, 40, 40))
    good = image_of(tmp_path / "good.zarr", np.ones((16, 20, 20), np.uint8))
    assert with_region(plan, str(good), "good").region.mask is not None
    wrong = image_of(tmp_path / "wrong.zarr", np.ones((16, 21, 20), np.uint8))
    with pytest.raises(InputError, match="16 x 21 x 20 voxels, the scan has 32 x 40 x 40"):
        settle_region(plan.job.dataset, plan.job.scan, str(wrong))
    with pytest.raises(InputError, match="nothing there"):
        settle_region(plan.job.dataset, plan.job.scan, str(tmp_path / "none.zarr"))


def test_a_region_that_was_found_is_answered_until_the_scan_changes(tmp_path: Path) -> None:
    plan = planned(tmp_path, (32, 40, 40))
    dataset, scan = plan.job.dataset, plan.job.scan
    with pytest.raises(InputError, match="has not been looked for"):
        settled_region(dataset, scan, "auto", 0.01)
    settle_region(dataset, scan, "auto")
    file = dataset.inspections(scan) / "region.json"
    kept = file.read_json() | {"region": TILTED.model_dump(mode="json")}
    file.write_json(kept)
    settle_region(dataset, scan, "auto")
    assert settled_region(dataset, scan, "auto", 0.01) == TILTED
    write_box(open_image(dataset.image(scan), writable=True), Box.of((32, 40, 40)), np.ones((32, 40, 40), np.uint16))
    settle_region(dataset, scan, "auto")
    assert settled_region(dataset, scan, "auto", 0.01) == Region()
