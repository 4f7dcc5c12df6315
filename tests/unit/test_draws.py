"""Random voxels: the interval holds although voxels of one chunk are alike, and a seed is an answer."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import numpy as np
import pytest

from ps3d_core.scan.draws import LEVEL, Draw, DrawPlan, estimate

Array = np.ndarray[Any, Any]
CHUNK = (8, 8, 8)


def alike(shape: tuple[int, int, int], seed: int) -> Array:
    """Grey values that differ between chunks far more than within."""
    rng = np.random.default_rng(seed)
    level = rng.choice([500.0, 2000.0, 9000.0], [-(-n // c) for n, c in zip(shape, CHUNK, strict=True)])
    for axis, side in enumerate(CHUNK):
        level = np.repeat(level, side, axis)
    z, y, x = shape
    return level[:z, :y, :x] + rng.normal(0, 100, shape)


SCANS = [alike((60, 44, 52), 1), alike((40, 64, 36), 2)]
SHAPES = tuple((60, 44, 52) if index == 0 else (40, 64, 36) for index in range(2))
VALUES = np.concatenate([scan.ravel() for scan in SCANS])


def drawn(samples: int, seed: int) -> list[Draw]:
    plan = DrawPlan(SHAPES, samples, seed)
    found = []
    for index, scan in enumerate(SCANS):
        for position, draws in plan.chunks(index, CHUNK).items():
            box = tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, CHUNK, strict=True))
            found += [plan.evaluate(draw, scan[box]) for draw in draws]
    assert len(found) == plan.count
    return found


def test_intervals_hold_as_often_as_they_say() -> None:
    runs, held_mean, held_std, held_naive = 400, 0, 0, 0
    for seed in range(runs):
        draws = drawn(6400, seed)
        found = estimate(draws)
        held_mean += found.mean_interval[0] <= VALUES.mean() <= found.mean_interval[1]
        held_std += found.std_interval[0] <= VALUES.std() <= found.std_interval[1]
        # As if all voxels were independent of one another.
        held_naive += abs(found.mean - VALUES.mean()) <= 1.96 * found.std / sqrt(6400)
    # Three standard deviations of a count of 400 at 95 % are 13.
    assert abs(held_mean - LEVEL * runs) <= 14
    assert abs(held_std - LEVEL * runs) <= 20
    assert held_naive < 0.5 * runs


def test_estimates_are_unbiased() -> None:
    found = [estimate(drawn(1000, seed)) for seed in range(400)]
    for estimates, truth in (([f.mean for f in found], VALUES.mean()), ([f.std**2 for f in found], VALUES.var())):
        assert np.mean(estimates) == pytest.approx(truth, abs=3.5 * np.std(estimates) / 20)


def test_more_samples_narrow_the_interval() -> None:
    widths = [np.ptp(estimate(drawn(samples, 0)).mean_interval) for samples in (2_000, 400_000)]
    assert widths[1] < widths[0] / 1.5


def test_a_seed_is_an_answer() -> None:
    draws = drawn(5000, 7)
    assert estimate(draws) == estimate(drawn(5000, 7)) == estimate(draws[::-1])
    assert estimate(draws) != estimate(drawn(5000, 8))


@pytest.mark.parametrize("samples", [1000, 5000, 65_536, 65_537, 1_000_000, 10**9])
def test_samples_are_split_into_draws(samples: int) -> None:
    plan = DrawPlan(((4000, 4000, 4000),), samples, 0)
    assert 64 <= plan.count <= 4096
    assert samples <= plan.voxels < samples + plan.per_draw


def test_every_voxel_has_the_same_chance() -> None:
    shapes = ((5, 6, 7), (3, 11, 13))
    counts = np.zeros(2)
    met: set[tuple[int, tuple[int, int, int]]] = set()
    for seed in range(40):
        plan = DrawPlan(shapes, 4096, seed)
        for scan in range(2):
            chunks = plan.chunks(scan, (2, 4, 8))
            assert all(p * c < n for place in chunks for p, c, n in zip(place, (2, 4, 8), shapes[scan], strict=True))
            counts[scan] += sum(map(len, chunks.values()))
            met |= {(scan, place) for place in chunks}
    sizes = np.array([prod(shape) for shape in shapes])
    assert counts / counts.sum() == pytest.approx(sizes / sizes.sum(), abs=0.03)
    assert len(met) == 3 * 2 * 1 + 2 * 3 * 2  # every chunk, the small ones at the faces too


def test_equal_voxels_have_an_interval_of_no_width() -> None:
    found = estimate([Draw(number, 5.0, 0.0) for number in range(9)])
    assert found == (5.0, 0.0, (5.0, 5.0), (0.0, 0.0))
