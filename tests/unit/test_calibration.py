"""Calibration: two numbers that are found again, and what a confidence is worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_core.doubt.calibration import Calibration, fit_calibration
from ps3d_core.evaluation.contingency import count_pairs
from ps3d_core.evaluation.metrics import evaluate_arrays, right_particles
from ps3d_core.evaluation.reliability import area_under_curve, reliability

KNOWN = Calibration(slope=4.0, offset=-5.0, particles=100, right=80)


def drawn(n, seed=0):
    """Certainties, and particles that are right as often as KNOWN says."""
    rng = np.random.default_rng(seed)
    certainty = rng.uniform(0.55, 0.98, n)
    return certainty, rng.random(n) < KNOWN.confidence(certainty)


def test_numbers_are_found_again():
    found = fit_calibration(*drawn(100_000))
    assert (found.slope, found.offset) == pytest.approx((KNOWN.slope, KNOWN.offset), rel=0.03)
    assert found.particles == 100_000


def test_a_confidence_is_what_happens():
    certainty, right = drawn(20_000, seed=1)
    found = reliability(fit_calibration(certainty, right).confidence(certainty), right)
    assert found.calibration_error < 0.01
    assert found.expected == pytest.approx(found.right, abs=1e-3)
    assert found.auc > 0.9
    assert found.right_without_tenth > found.right
    assert sum(group.particles for group in found.groups) == found.particles


@pytest.mark.parametrize("all_right", [True, False])
def test_particles_that_are_all_alike_give_finite_numbers(all_right):
    found = fit_calibration(np.linspace(0.6, 0.9, 40), np.full(40, all_right))
    assert np.isfinite([found.slope, found.offset]).all()
    assert (found.confidence(np.array([0.75])) > 0.5) == all_right


def test_limits():
    assert KNOWN.confidence(np.array([0.0, 1.0, np.nan]))[:2] == pytest.approx([0, 1], abs=1e-6)
    assert np.isnan(KNOWN.confidence(np.array([np.nan])))
    with pytest.raises(ValueError, match="19 particles"):
        fit_calibration(np.full(19, 0.9), np.ones(19, bool))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_area_under_curve_is_the_share_of_pairs_in_order(cases):
    score, holds = np.array([s for s, _ in cases], float), np.array([h for _, h in cases], bool)
    pairs = [(a > b) + (a == b) / 2 for a in score[holds] for b in score[~holds]]
    found = area_under_curve(score, holds)
    assert found is None if not pairs else found == pytest.approx(np.mean(pairs))


def test_nothing_is_said_of_particles_without_a_confidence():
    assert reliability(np.full(5, np.nan), np.ones(5, bool)) is None
    found = reliability(np.array([np.nan, 0.9, 0.2]), np.array([False, True, False]))
    assert (found.particles, found.right, found.auc) == (2, 0.5, 1.0)


@given(st.integers(0, 2**32 - 1))
def test_right_particles_are_those_that_match(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, (4, 5, 6))
    prediction = np.where(rng.random(truth.shape) < 0.7, truth * 3, rng.integers(0, 9, truth.shape))
    labels, right = right_particles(count_pairs(prediction, truth))
    assert labels.tolist() == sorted({*prediction.ravel().tolist()} - {0})
    assert right.sum() == evaluate_arrays(prediction, truth).matched
    for label, is_right in zip(labels, right, strict=True):
        ious = [
            ((prediction == label) & (truth == t)).sum() / ((prediction == label) | (truth == t)).sum()
            for t in (1, 2, 3)
        ]
        assert is_right == (max(ious) > 0.5)
