"""Levels of quality: what each means, which results stay valid, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_core.errors import StoreError
from ps3d_core.geometry.boxes import Box
from ps3d_core.geometry.patches import PatchGrid
from ps3d_core.inference.estimate import Pace
from ps3d_core.network.bundle import load_bundle
from ps3d_core.network.measured import (
    accuracy_text,
    bundled_accuracy,
    level_row,
    levels_text,
    rows_of_levels,
    rows_of_scans,
    with_level,
)
from ps3d_core.params import PredictParams, SegmentParams
from ps3d_core.plan import plan_segmentation
from ps3d_core.quality import EVERY, LEVELS, PAIRS, PLAIN, REFERENCE, Quality
from ps3d_core.record import RunRecord
from ps3d_core.steps.border_core import identity
from ps3d_core.store.arrays import read_box
from ps3d_core.store.ome import open_image
from ps3d_core.training.validate import Row, _record
from tests.tiny_plan import planned

PATCH = (64, 64, 64)
SCAN: Row = {"scan": "a", "model_f1_at_0.5": 0.9}


def test_reference_is_what_it_always_was() -> None:
    axes = ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))
    assert LEVELS["reference"] == Quality(0.5, 0.125, axes, adaptive=False) == REFERENCE
    assert REFERENCE.passes == 64


def test_every_level_weighs_whole_patches_and_mirrors_to_itself() -> None:
    for level in LEVELS.values():
        assert 0 < level.stride <= 1
        assert level.sigma > 0
        assert set(level.mirrorings) <= set(EVERY)
        assert () in level.mirrorings


def test_mirrorings_treat_all_axes_alike() -> None:
    for mirrorings in (PLAIN, PAIRS, EVERY):
        for order in permutations(range(3)):
            assert {tuple(sorted(order[axis] for axis in axes)) for axes in mirrorings} == set(mirrorings)


@given(st.integers(1, 512))
def test_the_stride_of_the_reference_is_half_a_patch(side: int) -> None:
    assert REFERENCE.strides((side, side, side)) == (max(1, side // 2),) * 3


@given(share=st.floats(0.01, 1), side=st.integers(1, 512))
def test_strides_are_shares_of_a_patch(share: float, side: int) -> None:
    (stride, _, _) = Quality(share, 0.25, PLAIN).strides((side, 1, 1))
    assert 1 <= stride <= side
    assert abs(stride - share * side) <= 0.5 or stride == 1


def test_mirroring_can_be_chosen_apart() -> None:
    assert PredictParams().level == LEVELS["standard"]
    assert PredictParams(mirror=False).level == replace(LEVELS["standard"], mirrorings=PLAIN)
    assert PredictParams(quality="fast", mirror=True).level == replace(LEVELS["fast"], mirrorings=EVERY)
    assert PredictParams(quality="reference", mirror=True).level == REFERENCE


def test_results_of_earlier_releases_are_those_of_the_reference() -> None:
    assert identity(PredictParams(quality="reference").level, PATCH) is True
    assert identity(PredictParams(quality="reference", mirror=False).level, PATCH) is False


def test_results_know_numbers_and_not_names() -> None:
    standard = LEVELS["standard"]
    changed = [replace(standard, stride=0.7), replace(standard, sigma=0.2), replace(standard, mirrorings=PLAIN)]
    known = [identity(level, PATCH) for level in (standard, *changed, replace(REFERENCE, sigma=0.25))]
    assert all(known.count(each) == 1 for each in known)
    assert identity(replace(REFERENCE, adaptive=True), PATCH) not in (True, False)
    assert identity(Quality(standard.stride, standard.sigma, standard.mirrorings), PATCH) == known[0]
    assert identity(standard, (32, 64, 64)) != known[0]


@pytest.mark.parametrize("mirror", [True, False])
def test_records_of_earlier_releases_are_of_the_reference(mirror: bool) -> None:
    parts = ("software", "input", "model", "grids", "counts", "seconds", "results")
    about: dict[str, Any] = {"scan": "ore", "fingerprint": "f", "finished": "2026"} | {name: {} for name in parts}
    old = RunRecord.model_validate(about | {"parameters": {"predict": {"mirror": mirror}, "instances": {}}})
    assert old.parameters == SegmentParams(predict=PredictParams(quality="reference", mirror=mirror))
    assert RunRecord.model_validate(old.model_dump()) == old
    new = RunRecord.model_validate(about | {"parameters": SegmentParams().model_dump()})
    assert new.parameters.predict.quality == "standard"


def test_only_the_reference_leaves_patches_as_they_are(tmp_path: Path) -> None:
    standard = planned(tmp_path / "a", (9, 40, 24))
    assert standard.prediction.patches == PatchGrid((9, 40, 24), (10, 16, 16), (7, 12, 12), even=True)
    assert standard.skips_empty
    assert standard.prediction.patches.origins == ((0,), (0, 12, 24), (0, 8))
    reference = planned(tmp_path / "b", (9, 40, 24), PredictParams(quality="reference"))
    assert reference.prediction.patches == PatchGrid((9, 40, 24), (16, 16, 16), (8, 8, 8))
    assert not reference.skips_empty
    # As many seconds per voxel that the network sees: 6 patches 10 deep in 4 mirrorings, 8 patches 16 deep.
    pace = Pace(alone=16, together=16)
    assert standard.seconds(pace)[0] == 6 * 10
    assert reference.seconds(pace)[0] == 8 * 16
    assert not planned(tmp_path / "c", (9, 40, 24), PredictParams(zscore=(1, 2))).skips_empty


def test_a_scan_that_cannot_be_read_is_no_matter_of_its_plan(tmp_path: Path) -> None:
    plan = planned(tmp_path, (20, 20, 20))
    rmtree(f"{plan.image}/0/c")
    with pytest.raises(StoreError):
        read_box(open_image(plan.image), Box.of((20, 20, 20)))
    assert plan.empty_share() == 0


def test_a_measured_level_is_quoted_as_long_as_its_numbers_hold() -> None:
    row = level_row("standard", LEVELS["standard"], {0.5: 0.91, 0.75: 0.8512})
    accuracy = with_level([SCAN], row)
    assert accuracy_text(accuracy, LEVELS["standard"]) == "F1 0.910 at IoU 0.5, 0.851 at IoU 0.75"
    assert accuracy_text(accuracy, replace(LEVELS["standard"], sigma=0.2)) is None
    assert accuracy_text([SCAN], LEVELS["standard"]) is None
    assert accuracy_text([{"quality": "standard"}], LEVELS["standard"]) is None
    assert "(F1 0.910" in levels_text(accuracy).split("standard")[1].split("reference")[0]
    assert levels_text([]).count("passes") == len(LEVELS)


def test_a_level_has_one_row_and_scans_keep_theirs() -> None:
    first = level_row("fast", LEVELS["fast"], {0.5: 0.8, 0.75: 0.7})
    second = level_row("fast", LEVELS["fast"], {0.5: 0.9, 0.75: 0.8})
    accuracy = with_level(with_level([SCAN], first), second)
    assert rows_of_levels(accuracy) == [second]
    assert rows_of_scans(accuracy) == [SCAN]
    assert second["passes"] == pytest.approx(LEVELS["fast"].passes, abs=0.005)


def test_validation_records_a_level_and_scans_of_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned(tmp_path, (16, 16, 16))
    place = plan.job.model
    first: list[Row] = [
        SCAN | {"model_f1_at_0.75": 0.8},
        {"scan": "mean", "model_f1_at_0.5": 0.9, "model_f1_at_0.75": 0.8},
    ]
    _record(place, "standard", first)
    second: list[Row] = [{"scan": "mean", "model_f1_at_0.5": 0.95, "model_f1_at_0.75": 0.85}]
    _record(place, "reference", second)
    info = load_bundle(place).info
    assert info.digest == plan.bundle.info.digest
    assert rows_of_scans(info.accuracy) == first
    assert accuracy_text(info.accuracy, LEVELS["standard"]) == "F1 0.900 at IoU 0.5, 0.800 at IoU 0.75"
    assert accuracy_text(info.accuracy, LEVELS["reference"]) == "F1 0.950 at IoU 0.5, 0.850 at IoU 0.75"
    assert "| reference | 0.5 | 0.125 | 8 | 64.0 | 0.95 | 0.85 |" in capsys.readouterr().out
    assert "F1 0.900 at IoU 0.5" in plan_segmentation(plan.job).quality_text
    assert "F1" not in plan.quality_text


def test_the_bundled_model_has_a_record() -> None:
    assert rows_of_scans(bundled_accuracy())
