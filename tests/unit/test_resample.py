"""Resampling between grids: known values, and bits that do not depend on how the volume is cut."""

import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d, map_coordinates

from ps3d_core.geometry.boxes import Box
from ps3d_core.geometry.resample import Resampler, axis_operator, resample_image


def of(image):
    """What reads boxes of an image in memory."""
    return lambda box: image[box.slices]


def _box(draw, shape):
    bounds = [sorted((draw(st.integers(0, n)), draw(st.integers(0, n)))) for n in shape]
    return Box(
        tuple(min(a, n - 1) for (a, _), n in zip(bounds, shape, strict=True)),
        tuple(max(b, min(a, n - 1) + 1) for (a, b), n in zip(bounds, shape, strict=True)),
    )


@st.composite
def cases(draw):
    source = draw(st.tuples(*[st.integers(1, 24)] * 3))
    target = draw(st.tuples(*[st.integers(1, 24)] * 3))
    return source, target, _box(draw, target), draw(st.integers(0, 2**31))


@given(cases())
@settings(max_examples=60)
def test_a_box_alone_has_the_bits_of_the_whole(case):
    source, target, box, seed = case
    image = np.random.default_rng(seed).normal(size=source).astype(np.float32)
    resampler = Resampler(source, target)
    whole = resampler(of(image), Box.of(target))
    part = resampler(of(image), box)
    assert part.tobytes() == np.ascontiguousarray(whole[box.slices]).tobytes()


@given(cases(), st.tuples(st.integers(1, 9), st.integers(1, 9)))
@settings(max_examples=60)
def test_tiles_change_no_bit_and_ask_for_every_voxel_once(case, tile):
    source, target, box, seed = case
    image = np.random.default_rng(seed).integers(0, 2**16, source).astype(np.uint16)
    at_once = Resampler(source, target)(of(image), box)
    asked = np.zeros(source, int)

    def read(part):
        asked[part.slices] += 1
        assert all(part.shape[a] <= tile[a - 1] for a in (1, 2))
        return image[part.slices]

    resampler = Resampler(source, target, tile)
    with mock.patch("ps3d_core.geometry.resample.AT_ONCE", 0):
        assert resampler(read, box).tobytes() == at_once.tobytes()
    expected = np.zeros(source, int)
    expected[resampler.source_box(box).slices] = 1
    assert (asked == expected).all()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_no_bit(threads):
    source, target = (9, 20, 61), (7, 24, 50)
    image = np.random.default_rng(3).integers(0, 2**16, source).astype(np.uint16)
    at_once = resample_image(image, target)
    with mock.patch.multiple("ps3d_core.geometry.resample", AT_ONCE=0, THREADS=threads):
        assert Resampler(source, target, (8, 5))(of(image), Box.of(target)).tobytes() == at_once.tobytes()


def test_what_a_thread_cannot_read_reaches_the_caller():
    def read(box):
        if box.start[2] >= 10:
            raise OSError("gone")
        return np.zeros(box.shape, np.uint16)

    with mock.patch("ps3d_core.geometry.resample.AT_ONCE", 0), pytest.raises(OSError, match="gone"):
        Resampler((4, 4, 40), (8, 8, 30), (4, 5))(read, Box.of((8, 8, 30)))


@pytest.mark.parametrize("zoom", [(1 / 3, 1 / 3, 1 / 3), (1, 1, 1), (1, 0.5, 2), (2, 2, 2), (0.1, 1, 0.3)])
def test_no_more_memory_than_said(zoom):
    target = (32, 160, 192)
    source = tuple(round(n / f) for n, f in zip(target, zoom, strict=True))
    resampler = Resampler(source, target)
    resampler(lambda box: np.ones(box.shape, np.uint16), Box((0, 0, 0), (1, 2, 2)))  # kernels are compiled
    tracemalloc.start()
    resampler(lambda box: np.ones(box.shape, np.uint16), Box.of(target))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    said = resampler.working_bytes(target, 2)
    assert 0.5 * said < peak <= said + 2**20


@given(n_source=st.integers(1, 200), n_target=st.integers(1, 200))
def test_weights_are_an_average_inside_the_axis(n_source, n_target):
    operator = axis_operator(n_source, n_target)
    assert operator.weights.sum(axis=1) == pytest.approx(np.ones(n_target), abs=1e-5)
    assert operator.weights.min() >= 0
    assert operator.first.min() >= 0
    assert operator.first.max() + operator.weights.shape[1] <= n_source


@pytest.mark.parametrize(("n_source", "n_target"), [(20, 37), (37, 20), (64, 9), (9, 9), (5, 1)])
def test_agrees_with_scipy_away_from_the_ends(n_source, n_target):
    values = np.random.default_rng(1).normal(size=n_source)
    ratio = n_source / n_target
    smooth = gaussian_filter1d(values, (ratio - 1) / 2, mode="nearest") if ratio > 1 else values
    centres = np.clip((np.arange(n_target) + 0.5) * ratio - 0.5, 0, n_source - 1)
    expected = map_coordinates(smooth, [centres], order=1, mode="nearest")
    ours = resample_image(values[:, None, None], (n_target, 1, 1))[:, 0, 0]
    assert ours == pytest.approx(expected, abs=1e-5)


def test_identity_keeps_values_and_constant_stays_constant():
    image = np.random.default_rng(2).integers(0, 2**16, (7, 8, 9)).astype(np.uint16)
    assert (resample_image(image, (7, 8, 9)) == image).all()
    assert resample_image(np.full((7, 8, 9), 5, np.uint8), (3, 17, 9)) == pytest.approx(5)


def test_a_ramp_stays_a_ramp_at_voxel_centres():
    ramp = np.arange(10, dtype=np.float32)[:, None, None]
    up = resample_image(ramp, (20, 1, 1))[:, 0, 0]
    assert up[1:-1] == pytest.approx((np.arange(20)[1:-1] + 0.5) / 2 - 0.5)


def test_a_source_of_the_wrong_shape_is_a_bug():
    with pytest.raises(ValueError, match="was read as an array of shape"):
        Resampler((4, 4, 4), (8, 8, 8))(lambda box: np.zeros((3, 4, 4)), Box.of((8, 8, 8)))
