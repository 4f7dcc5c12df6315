"""Verdicts: which results are good, doubtful or not understood, and why."""

from __future__ import annotations

import numpy as np
import pytest

from ps3d_core.particles.verdict import Evidence, verdict_on

SIZE = 0.2
BALL = 4189  # voxels of a ball of 20 voxels, which is 0.2 mm


def judged(n=60, *, confidence=0.99, diameter=1.0, dropped=0, cut=0.5, merged=0.01, split=0.0):
    """The verdict on n particles of one size and confidence, with this share of all voxels dropped as uncertain."""
    voxels = np.full(n, round(BALL * diameter**3), np.int64)
    kept = int(voxels.sum())
    evidence = Evidence(
        dropped_voxels=round(kept * dropped / (1 - dropped)) if dropped < 1 else 1000,
        kept_voxels=kept,
        cut=round(cut * n),
        particle_size=SIZE,
        spacing=0.01,
    )
    columns = (np.broadcast_to(np.asarray(each, float), n).copy() for each in (confidence, merged, split))
    return verdict_on(voxels, *columns, evidence)


def test_what_a_model_knows_is_good():
    verdict = judged()
    assert (verdict.grade, verdict.reasons) == ("good", ())
    assert verdict.right == pytest.approx(0.99)
    low, high = verdict.right_interval
    assert low < 0.95 < 0.99 < high == 1
    assert (verdict.doubtful, verdict.dropped_volume) == (0, 0)
    assert verdict.merged == pytest.approx(0.6)
    assert "can be used" in verdict.sentence


@pytest.mark.parametrize(
    ("case", "grade", "reason"),
    [
        ({"dropped": 0.02}, "good", None),
        ({"dropped": 0.1}, "doubtful", "of 10 % of what looked like particles the network was not sure"),
        ({"dropped": 0.3}, "not understood", "of 30 % of what looked like particles"),
        ({"confidence": 0.85}, "doubtful", "only 85 % of the particles are expected to be right"),
        ({"confidence": 0.6}, "not understood", "only 60 % of the particles are expected to be right"),
        ({"diameter": 0.5}, "doubtful", "the median particle is 0.50 times as large as was stated, 0.2 mm"),
        ({"diameter": 1.7}, "doubtful", "the median particle is 1.70 times as large as was stated"),
        ({"diameter": 0.8}, "good", None),
        ({"diameter": 0.5, "cut": 1.0}, "good", None),
        ({"n": 19}, "doubtful", "19 particles are too few for a size distribution"),
        ({"n": 0}, "not understood", "no particle was found: nothing that looks like a particle"),
        ({"n": 0, "dropped": 1}, "not understood", "no particle was found: only what the network is not sure of"),
    ],
)
def test_grades_and_reasons(case, grade, reason):
    verdict = judged(**case)
    assert verdict.grade == grade
    assert (reason is None) == (not verdict.reasons)
    assert reason is None or verdict.reasons[0].startswith(reason)


def test_doubtful_particles_are_counted_and_left_out_of_the_sizes():
    voxels = np.array([BALL] * 30 + [8 * BALL] * 10)
    confidence = np.array([0.99] * 30 + [0.5] * 10)
    evidence = Evidence(dropped_voxels=0, kept_voxels=int(voxels.sum()), cut=0, particle_size=SIZE, spacing=0.01)
    verdict = verdict_on(voxels, confidence, np.zeros(40), np.zeros(40), evidence)
    assert (verdict.doubtful, verdict.grade) == (10, "doubtful")
    assert verdict.doubtful_volume == pytest.approx(80 / 110)
    assert verdict.sizes_without.d90 == pytest.approx(SIZE, rel=1e-3)


def test_chance_widens_the_interval_of_few_particles():
    widths = [np.ptp(judged(n, confidence=0.9).right_interval) for n in (20, 200, 2000)]
    assert widths[0] > widths[1] > widths[2] > 0.1


def test_a_model_without_calibration_gives_no_grade():
    verdict = judged(confidence=np.nan)
    assert (verdict.grade, verdict.right, verdict.doubtful) == ("unknown", None, 0)
    assert judged(confidence=np.nan, diameter=0.4).reasons
