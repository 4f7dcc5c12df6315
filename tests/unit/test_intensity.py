"""Per-scan normalisation: the same particles give the same numbers, whatever else the field of view holds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_core.network.intensity import Intensity, per_scan_intensity
from ps3d_core.network.normalisation import PerScan, ZScore
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.render import render

Blocks = npt.NDArray[np.float32]

AIR, EPOXY, GRAIN, WALL = 500.0, 2000.0, 12000.0, 20000.0
NOISE = 300.0


def noise(count: int, level: float, seed: int = 0) -> Blocks:
    return np.random.default_rng(seed).normal(level, NOISE, (count, 16, 16, 16)).astype(np.float32)


def steps(count: int, low: float, high: float, seed: int = 1) -> Blocks:
    """Blocks cut by planes at random distances, so that `high` takes any share of them."""
    rng = np.random.default_rng(seed)
    share = np.arange(16)[None, :] < rng.integers(0, 17, count)[:, None]
    return np.where(share[:, None, None, :], high, low).astype(np.float32) + noise(count, 0.0, seed)


PARTICLES = steps(300, EPOXY, GRAIN)


def corners(count: int) -> Blocks:
    return np.zeros((count, 16, 16, 16), np.float32)


def rims(count: int, fill: float) -> Blocks:
    """Blocks half in a constant corner, half in noisy air."""
    blocks = noise(count, AIR, 7)
    blocks[:, :, :8] = fill
    return blocks


def relative_change(more: Blocks) -> tuple[float, float]:
    """Change of offset and scale, in units of the particles' own scale, when `more` is in the field of view."""
    alone, together = per_scan_intensity(PARTICLES), per_scan_intensity(np.concatenate([PARTICLES, more]))
    return abs(together.offset - alone.offset) / alone.scale, abs(together.scale / alone.scale - 1)


def test_the_step_from_surroundings_to_particles_becomes_two_units() -> None:
    offset, scale, _, _ = per_scan_intensity(PARTICLES)
    assert offset == pytest.approx((EPOXY + GRAIN) / 2, rel=0.1)
    assert (GRAIN - EPOXY) / scale == pytest.approx(2.0, rel=0.2)


@pytest.mark.parametrize(
    ("more", "limit"),
    [
        (noise(1200, AIR, 2), 0.12),
        (corners(1200), 1e-9),
        (noise(1200, GRAIN, 3), 0.12),
        (np.concatenate([corners(200), rims(200, 0.0)]), 0.12),
        (np.concatenate([corners(200) + 300_000, rims(200, 300_000)]), 0.12),
        (steps(30, AIR, WALL, 4), 0.15),
        (np.concatenate([noise(600, AIR, 5), corners(600), steps(30, AIR, WALL, 6)]), 0.15),
    ],
    ids=["air", "black corners", "solid", "rims of corners", "bright corners", "tube wall", "all of them"],
)
def test_what_else_is_in_view_hardly_matters(more: Blocks, limit: float) -> None:
    offset, scale = relative_change(more)
    assert offset < limit
    assert scale < limit


def test_mean_and_standard_deviation_would_not_do() -> None:
    more = np.concatenate([PARTICLES, noise(1200, AIR, 2)])
    assert abs(more.mean() - PARTICLES.mean()) / PARTICLES.std() > 0.5


@settings(max_examples=30)
@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-1e4, 1e4))
def test_follows_the_units_of_the_scan(gain: float, offset: float) -> None:
    blocks = PARTICLES[:50].astype(np.float64)
    known, changed = per_scan_intensity(blocks), per_scan_intensity(blocks * gain + offset)
    assert changed.offset == pytest.approx(known.offset * gain + offset, rel=1e-6, abs=1e-6 * gain * 1e4)
    assert changed.scale == pytest.approx(known.scale * gain, rel=1e-4)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_does_not_depend_on_the_order_of_blocks(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(PARTICLES))
    assert per_scan_intensity(PARTICLES[order])[:2] == pytest.approx(per_scan_intensity(PARTICLES)[:2], rel=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_takes_every_scanner_dtype_and_leaves_it_alone(dtype: type[np.generic]) -> None:
    blocks = np.random.default_rng(0).integers(0, 120, (8, 4, 16, 16)).astype(dtype)
    before = blocks.copy()
    assert per_scan_intensity(blocks).scale > 0
    assert np.array_equal(blocks, before)


def test_nan_padding_is_left_out() -> None:
    padded = PARTICLES.copy()
    padded[:, 10:] = np.nan
    assert per_scan_intensity(padded)[:2] == pytest.approx(per_scan_intensity(PARTICLES[:, :10])[:2], rel=1e-9)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_scan_without_contrast_becomes_zero(value: float) -> None:
    blocks = np.full((5, 8, 8, 8), value)
    assert per_scan_intensity(blocks) == Intensity(value, 1.0)
    assert per_scan_intensity(blocks[:0]) == Intensity(0.0, 1.0)


def test_particles_in_constant_surroundings_keep_their_votes() -> None:
    blocks = np.concatenate([np.where(PARTICLES < (EPOXY + GRAIN) / 2, 0, PARTICLES), corners(200)])
    offset, scale, _, _ = per_scan_intensity(blocks)
    assert offset == pytest.approx(GRAIN / 2, rel=0.1)
    assert GRAIN / scale == pytest.approx(2.0, rel=0.2)


def test_limits_hold_what_is_far_outside_the_step() -> None:
    intensity = PerScan().intensity(PARTICLES)
    normalised = intensity.normalise(np.array([-1e6, EPOXY, GRAIN, 1e6]))
    assert normalised[[0, 3]].tolist() == [PerScan().low, PerScan().high]
    np.testing.assert_allclose(normalised[1:3], [-1, 1], atol=0.2)
    assert intensity[:2] == per_scan_intensity(PARTICLES)[:2]


def test_normalise_gives_float32_and_keeps_the_input() -> None:
    grey = np.array([0, 100, 65535], np.uint16)
    result = ZScore(mean=100, std=50).intensity.normalise(grey)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [-2, 0, 1308.7], rtol=1e-6)
    assert grey.tolist() == [0, 100, 65535]


def test_fixed_numbers_with_limits() -> None:
    grey = np.array([0, 100, 300], np.uint16)
    assert ZScore(mean=100, std=50, low=-1, high=2).intensity.normalise(grey).tolist() == [-1, 0, 2]


def test_mean_and_deviation_of_a_scan_ignore_what_was_filled_up() -> None:
    blocks = np.array([[[[10.0, 20.0], [np.nan, np.nan]]]], np.float32)
    measured = PerScan(method="mean-std", low=None, high=None)
    assert measured.intensity(blocks) == Intensity(15.0, 5.0)
    assert measured.intensity(np.full((2, 4, 4, 4), 7, np.uint8)) == Intensity(7.0, 1.0)
    assert measured.intensity(np.full((1, 4, 4, 4), np.nan)) == Intensity(0.0, 1.0)


@pytest.mark.parametrize("size", [10.0, 20.0, 36.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_crop_of_dense_material_alone_is_measured_as_well(size: float, seed: int) -> None:
    """No air, no wall, no background region: all there is of a step lies between grains that touch."""
    params = PhantomParams(
        shape=(50, 50, 50), particle_size_voxels=size, seed=seed, dtype="float32", fill_fraction=0.62, contact=0.0,
        relaxation_steps=120, gap_fraction=0.0, noise=0.08, noise_correlated=0.8, noise_correlation_voxels=1.2,
    )  # fmt: skip
    grey, labels = render(params)
    starts = np.random.default_rng(seed).integers(0, 50 - 16 + 1, (384, 3))
    blocks = np.stack([grey[z : z + 16, y : y + 16, x : x + 16] for z, y, x in starts])
    low, high = float(grey[labels == 0].mean()), float(grey[labels > 0].mean())
    offset, scale, _, _ = per_scan_intensity(blocks)
    assert 0.35 < (offset - low) / (high - low) < 0.7
    assert 1.3 < (high - low) / scale < 2.4
