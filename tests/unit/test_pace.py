"""How long patches take, from the pace of a few."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.inference.estimate import Pace
from ps3d_core.inference.plan import plan_prediction


@pytest.mark.parametrize(
    ("patches", "seconds"),
    [(0, 0), (1, 2), (3, 2), (4, 2.5), (8, 5), (9, 7), (16, 10)],
)
def test_fewer_patches_than_fit_have_more_of_the_machine(patches: int, seconds: float) -> None:
    """Eight threads on cores that are faster alone."""
    assert Pace(alone=2.0, together=5.0, at_once=8).seconds(patches) == seconds


def test_rows_are_those_of_the_walk() -> None:
    plan = plan_prediction((100, 40, 70), (16, 16, 16), memory_bytes=2**32)
    assert plan.rows == [(12, 4 * 8)]
    assert plan_prediction((20, 40, 100), (16, 16, 16), memory_bytes=2**32).rows == [(12, 2 * 4)], "along x"
    cut = replace(plan, blocks=BlockGrid(plan.patches.shape, (64, 64, 64)))
    assert len(cut.rows) == len(cut.blocks) == 4
    assert sum(rows * patches for rows, patches in cut.rows) == cut.evaluated > plan.evaluated
