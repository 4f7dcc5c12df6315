"""Curves, classes, fits and intervals of size distributions: known answers and an independent way to each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ps3d_core.granulometry.analysis import curve_sizes
from ps3d_core.granulometry.classes import classes_for, counted
from ps3d_core.granulometry.curve import Ranking
from ps3d_core.granulometry.fits import fits_of, fitted
from ps3d_core.granulometry.intervals import SINGLE, spread_of
from ps3d_core.granulometry.params import SizeParams
from ps3d_core.granulometry.series import APERTURES, ASTM, apertures_for, designation
from ps3d_core.particles.distribution import passing_curve

SHARES = np.array([0.1, 0.5, 0.9])
sizes_of = st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.5, 1.0, 3.0]), min_size=1, max_size=30).map(np.array)


def curve_of(sizes, weights=None):
    ranking = Ranking.of(np.asarray(sizes, float))
    return ranking.curve(ranking.ranked(None if weights is None else np.asarray(weights, float)))


@given(sizes=sizes_of)
def test_by_number_it_is_the_hazen_quantile_of_numpy(sizes):
    expected = np.quantile(sizes, SHARES, method="hazen")
    assert curve_of(sizes).percentiles(SHARES) == pytest.approx(expected)


@given(voxels=st.lists(st.integers(1, 10**6), min_size=1, max_size=40).map(np.array))
def test_by_volume_it_is_the_curve_of_the_summary(voxels):
    knots, passing = passing_curve(voxels, 0.01, "volume")
    found = curve_of(np.cbrt(6 / np.pi * voxels) * 0.01, voxels).percentiles(SHARES)
    assert found == pytest.approx(np.interp(SHARES, passing, knots), rel=1e-6)


def test_passing_goes_through_the_middle_of_each_particle():
    curve = curve_of([3.0, 1.0, 2.0], [2.0, 1.0, 1.0])
    assert curve.passing(np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0])) == pytest.approx([0, 1 / 8, 2 / 8, 3 / 8, 6 / 8, 1])
    assert curve.finer(np.array([1.0, 1.1, 3.0, 9.0])).tolist() == [0, 1, 2, 4]


def test_particles_of_one_size_share_it_evenly():
    curve = curve_of([1.0, 2.0, 2.0, 2.0, 4.0])
    # The three of 2 mm stand at 0.3, 0.5 and 0.7.
    assert curve.percentiles(np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])) == pytest.approx([1, 1.5, 2, 2, 3, 4])


@given(sizes=sizes_of, seed=st.integers(0, 5))
def test_the_order_of_particles_does_not_matter(sizes, seed):
    weights = np.random.default_rng(7).uniform(1, 2, len(sizes))
    order = np.random.default_rng(seed).permutation(len(sizes))
    one, other = curve_of(sizes, weights), curve_of(sizes[order], weights[order])
    assert other.percentiles(SHARES) == pytest.approx(one.percentiles(SHARES))


def test_a_ranking_of_some_is_that_of_them_alone():
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 9, 50) / 4
    those, weights = generator.random(50) < 0.4, generator.random(50)
    some = Ranking.of(sizes).only(those)
    alone = curve_of(sizes[those], weights[those])
    assert some.curve(some.ranked(weights)).percentiles(SHARES) == pytest.approx(alone.percentiles(SHARES))


@pytest.mark.parametrize("modulus", [0.7, 1.0, 3.2])
def test_the_fit_of_rosin_and_rammler_finds_its_parameters(modulus):
    sizes = stats.weibull_min(modulus, scale=0.4).ppf((np.arange(20000) + 0.5) / 20000)
    fit, other = fits_of(curve_of(sizes))
    assert (fit.name, fit.size_mm, fit.width) == (
        "rosin-rammler",
        pytest.approx(0.4, rel=1e-3),
        pytest.approx(modulus, rel=1e-3),
    )
    assert fit.r2 > 0.99999
    assert fit.distance < 1e-3
    assert other.distance > 20 * fit.distance
    assert fitted(fit, np.array([0.4])) == pytest.approx(1 - np.exp(-1), abs=1e-3)


def test_the_log_normal_fit_finds_its_parameters():
    sizes = np.exp(stats.norm(np.log(0.2), 0.5).ppf((np.arange(20000) + 0.5) / 20000))
    other, fit = fits_of(curve_of(sizes))
    assert (fit.name, fit.size_mm, fit.width) == (
        "log-normal",
        pytest.approx(0.2, rel=1e-3),
        pytest.approx(0.5, rel=1e-3),
    )
    assert fit.r2 > 0.99999
    assert other.r2 < fit.r2
    assert fitted(fit, np.array([0.2])) == pytest.approx(0.5, abs=1e-3)


def test_what_has_one_size_has_no_fit():
    assert fits_of(curve_of([0.3, 0.3, 0.3])) == ()


# ISO 565, table of R 20/3 and R 40/3; ASTM E11, table 1.
@pytest.mark.parametrize(
    ("series", "has", "lacks"),
    [
        ("iso", [0.045, 0.063, 0.09, 0.125, 0.18, 0.25, 0.355, 0.5, 0.71, 1, 1.4, 2, 4, 8, 16, 31.5, 125], [0.1, 0.3]),
        (
            "iso-r20",
            [0.036, 0.04, 0.05, 0.112, 0.14, 0.16, 0.224, 0.315, 0.9, 1.12, 3.15, 12.5, 112],
            [0.075, 0.3, 4.75],
        ),
        (
            "iso-r40-3",
            [0.038, 0.053, 0.075, 0.106, 0.15, 0.212, 0.3, 0.425, 0.6, 0.85, 1.18, 1.7, 4.75, 106],
            [0.05, 0.2],
        ),
        ("astm", [0.02, 0.038, 0.075, 0.15, 0.425, 2.0, 4.75, 6.3, 12.5, 25.0, 50.0], [0.05, 0.4]),
    ],
)
def test_series_have_the_apertures_of_the_standards(series, has, lacks):
    assert set(has) <= set(APERTURES[series])
    assert not set(lacks) & set(APERTURES[series])
    assert list(APERTURES[series]) == sorted(APERTURES[series])


def test_preferred_numbers_are_even_in_their_logarithm():
    steps = {"iso": 20 / 3, "iso-r20": 20, "iso-r40-3": 40 / 3}
    for series, per_decade in steps.items():
        ratios = np.diff(np.log10([each for each in APERTURES[series] if each >= 0.045]))
        assert ratios == pytest.approx(1 / per_decade, rel=0.17)


@pytest.mark.parametrize(
    ("mesh", "aperture"),
    [
        ("No. 200", 0.075),
        ("No. 325", 0.045),
        ("No. 100", 0.15),
        ("No. 40", 0.425),
        ("No. 10", 2.0),
        ("No. 4", 4.75),
        ("1/4 in", 6.3),
    ],
)
def test_mesh_numbers(mesh, aperture):
    assert ASTM[aperture] == mesh
    assert designation("astm", aperture).startswith(mesh)
    assert designation("iso", 0.25) == "250 um"
    assert designation("iso", 1.4) == "1.4 mm"


def test_apertures_hold_all_sizes():
    assert apertures_for("iso", 0.1, 0.4) == (0.09, 0.125, 0.18, 0.25, 0.355, 0.5)
    assert apertures_for("iso", 0.125, 0.125) == (0.125, 0.18)
    assert apertures_for("iso", 0.001, 0.03) == (0.02, 0.025, 0.032)
    assert apertures_for("iso", 90, 500) == (90, 125)


def test_classes_hold_what_is_not_smaller_than_their_lower_end():
    sizes = np.array([0.05, 0.1, 0.15, 0.2, 0.4])
    classes = classes_for(SizeParams(classes=(0.1, 0.2, 0.3)), sizes)
    assert classes.bounds == [(0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, None)]
    assert counted(curve_of(sizes), classes).tolist() == [1, 2, 1, 1]
    assert counted(curve_of(sizes, sizes), classes) == pytest.approx([0.05, 0.25, 0.2, 0.4])
    assert not classes.notes
    assert "outside of the sieves" in classes_for(SizeParams(classes=(1.0, 2.0)), sizes).notes[0]


@pytest.mark.parametrize("edges", [(), (0.2, 0.1), (0.1, 0.1), (0.0, 1.0), (float("nan"),), tuple(range(1, 400))])
def test_edges_are_bounded_and_rise(edges):
    with pytest.raises(ValueError, match="classes"):
        SizeParams(classes=edges)


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.1), (0.1, 0.1001), (0.01, 10.0), (1e-6, 1e6)])
def test_curves_are_given_at_sizes_that_hold_all_and_are_bounded(low, high):
    sizes = curve_sizes(low, high)
    assert sizes[0] < low <= high < sizes[-1]
    assert 2 <= len(sizes) <= 402
    assert np.ptp(np.diff(np.log(sizes))) < 1e-9


def test_intervals_of_few_are_those_of_a_plain_bootstrap():
    sizes = np.exp(np.random.default_rng(3).normal(0, 0.5, 300))
    ranking = Ranking.of(sizes)
    ranked = ranking.ranked(None)
    spread = spread_of(ranking, ranking.curve(ranked), ranked, SHARES, np.array([1.0]), 0.95)
    draws = np.random.default_rng(4).choice(sizes, (4000, 300))
    low, high = np.quantile(np.quantile(draws, SHARES, axis=1, method="hazen"), [0.025, 0.975], axis=1)
    assert spread.low == pytest.approx(low, rel=0.03)
    assert spread.high == pytest.approx(high, rel=0.03)
    half = 1.96 * np.sqrt(0.25 / 300)
    assert [spread.band_low[0], spread.band_high[0]] == pytest.approx([0.5 - half, 0.5 + half], abs=0.04)


def test_intervals_of_many_in_groups_are_as_wide_as_those_of_single_particles():
    n = 6 * SINGLE
    generator = np.random.default_rng(5)
    sizes = np.exp(generator.normal(0, 0.5, n))
    # Weights differ at one size, as volumes do over a Feret diameter.
    weights = sizes**3 * np.exp(generator.normal(0, 0.4, n))
    ranking = Ranking.of(sizes)
    ranked = ranking.ranked(weights)
    spread = spread_of(ranking, ranking.curve(ranked), ranked, SHARES, np.array([1.5]), 0.95)
    draws = []
    for _ in range(300):
        drawn = generator.integers(0, n, n)
        draws.append(curve_of(sizes[drawn], weights[drawn]).percentiles(SHARES))
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    assert (spread.high - spread.low) / (high - low) == pytest.approx(np.ones(3), abs=0.25)
    assert spread.low == pytest.approx(low, rel=0.01)


def test_too_few_have_no_interval_and_the_same_have_the_same():
    ranking = Ranking.of(np.arange(1.0, 60.0))
    ranked = ranking.ranked(None)
    one, other = (spread_of(ranking, ranking.curve(ranked), ranked, SHARES, SHARES, 0.9) for _ in range(2))
    assert (one.low == other.low).all()
    few = Ranking.of(np.arange(1.0, 10.0))
    assert spread_of(few, few.curve(few.ranked(None)), few.ranked(None), SHARES, SHARES, 0.9) is None
