"""Size distribution: known samples, numpy's Hazen quantiles, and invariances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_core.particles.distribution import equivalent_diameter, passing_curve, size_distribution

samples = st.lists(st.integers(1, 10**9), min_size=1, max_size=50).map(np.array)
weightings = st.sampled_from(["volume", "number"])


def test_ball_of_known_diameter():
    assert equivalent_diameter(4 / 3 * np.pi * 5**3, 0.1) == pytest.approx(1.0)


def test_nothing_has_no_distribution():
    assert size_distribution(np.empty(0, np.int64), 1.0, "volume") is None


def test_equal_particles_have_one_size():
    found = size_distribution(np.full(7, 1000), 0.5, "volume")
    assert found.d10 == found.d50 == found.d90 == equivalent_diameter(1000, 0.5)
    assert found.span == 0


@given(voxels=samples)
def test_by_number_it_is_the_hazen_quantile_of_numpy(voxels):
    found = size_distribution(voxels, 2.0, "number")
    expected = np.quantile(equivalent_diameter(voxels, 2.0), [0.1, 0.5, 0.9], method="hazen")
    assert [found.d10, found.d50, found.d90] == pytest.approx(expected, rel=1e-6)


def test_by_volume_a_coarse_particle_outweighs_many_fine_ones():
    voxels = np.array([8] * 100 + [8000])
    found = size_distribution(voxels, 1.0, "volume")
    # 800 of 8800 voxels are fine; the middle of the coarse one stands at (800 + 4000) / 8800.
    fine, coarse = equivalent_diameter([8, 8000], 1.0)
    last_fine, first_coarse = (800 - 4) / 8800, (800 + 4000) / 8800
    between = np.interp([0.1, 0.5], [last_fine, first_coarse], [fine, coarse])
    assert [found.d10, found.d50] == pytest.approx(between)
    assert found.d90 == coarse
    assert size_distribution(voxels, 1.0, "number").d90 == fine


@given(voxels=samples, weighting=weightings)
def test_curve_rises_between_the_extremes(voxels, weighting):
    diameters, passing = passing_curve(voxels, 0.01, weighting)
    assert (np.diff(diameters) >= 0).all()
    assert (np.diff(passing) >= 0).all()
    assert passing[0] > 0
    assert passing[-1] < 1
    assert passing[0] == pytest.approx(1 - passing[-1]) or weighting == "volume"


@given(voxels=samples, weighting=weightings, scale=st.sampled_from([0.001, 0.5, 3.0]))
def test_order_does_not_matter_and_lengths_scale(voxels, weighting, scale):
    found = size_distribution(voxels, 1.0, weighting)
    assert size_distribution(np.random.default_rng(0).permutation(voxels), 1.0, weighting) == found
    scaled = size_distribution(voxels, scale, weighting)
    assert [scaled.d10, scaled.d50, scaled.d90] == pytest.approx([scale * d for d in (found.d10, found.d50, found.d90)])


@given(voxels=samples, weighting=weightings)
def test_doubling_every_particle_keeps_the_middle(voxels, weighting):
    once, twice = (size_distribution(v, 1.0, weighting) for v in (voxels, np.repeat(voxels, 2)))
    low, high = equivalent_diameter([voxels.min(), voxels.max()], 1.0)
    assert low <= twice.d10 <= twice.d50 <= twice.d90 <= high
    assert low <= once.d10 <= once.d50 <= once.d90 <= high
