"""The sweep over levels of quality finds what prediction itself would find, and goes on where it was stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.inference.forward import PatchEvaluator
from ps3d_core.quality import PAIRS, PLAIN, Quality
from ps3d_core.steps.border_core import BorderCore
from ps3d_core.steps.grey_values import GreyScale, GreyValues
from ps3d_core.store.arrays import open_array, read_box
from ps3d_core.training.sweep import known_by_quality, means, read_rows, sweep_scan
from tests.tiny_plan import planned

pytestmark = pytest.mark.usefixtures("one_torch_thread")

QUALITIES = [Quality(0.75, sigma, mirrorings) for sigma in (0.125, 0.3) for mirrorings in (PLAIN, PAIRS)]


@pytest.mark.parametrize("shape", [(40, 30, 20), (9, 24, 40)])
def test_classes_and_certainty_are_those_of_prediction(tmp_path: Path, shape: Shape) -> None:
    plan = planned(tmp_path, shape)
    grey = Engine(plan.work, [GreyValues(plan)]).run_all(Context()).of(GreyValues)
    assert isinstance(grey, GreyScale)
    found = known_by_quality(plan, grey.intensity, QUALITIES)
    assert len({known.tobytes() for known in found.values()}) == len(QUALITIES)
    for quality, known in found.items():
        patches = replace(plan.prediction.patches, stride=quality.strides((16, 16, 16)))
        alone = replace(plan, prediction=replace(plan.prediction, quality=quality, patches=patches))
        grey_values = GreyValues(alone)
        step = BorderCore(alone, grey_values)
        Engine(plan.work, [grey_values, step]).run_all(Context())
        for output, values in zip((step.labels, step.certainty), known, strict=True):
            assert np.array_equal(read_box(open_array(output), Box.of(shape)), values)


def test_it_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, file = planned(tmp_path, (20, 20, 20)), tmp_path / "sweep.jsonl"
    sweep_scan(plan, file, QUALITIES)
    whole = file.read_text()
    file.write_text(whole[: len(whole) - 10])
    sweep_scan(plan, file, QUALITIES)
    assert file.read_text() == whole

    def never(self: PatchEvaluator, *_: object) -> None:
        raise AssertionError("nothing was missing")

    monkeypatch.setattr(PatchEvaluator, "__call__", never)
    sweep_scan(plan, file, QUALITIES)
    assert file.read_text() == whole


def test_means_are_over_scans_the_cheapest_first(tmp_path: Path) -> None:
    numbers = {"model": "m", "stride": 0.75, "sigma": 0.25}
    scores = {"f1_at_0.5": 0.5, "f1_at_0.75": 0.25, "splits": 1, "merges": 2}
    rows = [
        {"scan": "a", **numbers, "mirrorings": 8, "passes": 18.96, **scores},
        {"scan": "a", **numbers, "mirrorings": 1, "passes": 2.37, **scores},
        {"scan": "b", **numbers, "mirrorings": 1, "passes": 2.37, **scores, "f1_at_0.5": 0.7},
    ]
    (tmp_path / "rows").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    first, second = means(read_rows(tmp_path / "rows"))
    assert (first["mirrorings"], first["scans"], first["f1_at_0.5"], first["merges"]) == (1, 2, 0.6, 2)
    assert (second["mirrorings"], second["scans"]) == (8, 1)
    assert read_rows(tmp_path / "none") == []
