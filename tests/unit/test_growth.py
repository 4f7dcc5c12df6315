"""The growth kernel: against the definition of a step, and exact away from the edge of what it sees."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from ps3d_core.border_core.growth import FRONT, PENDING, grow, mark_pending

LABELS = np.array([0, 1, 7, 2**31, 2**32 - 1], np.uint32)


@st.composite
def scenes(draw):
    """Foreground, and labels somewhere inside it."""
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    foreground = draw(arrays(np.uint8, shape, elements=st.integers(0, 2)))
    chosen = draw(arrays(np.uint8, shape, elements=st.sampled_from([0] * 12 + [1, 2, 3, 4])))
    return foreground, np.where(foreground > 0, LABELS[chosen], np.uint32(0))


def stepwise(foreground, labels, steps):
    """Labels after some steps, and what the last of them labelled."""
    fresh = np.zeros(labels.shape, bool)
    for _ in range(steps):
        dilated = ndimage.grey_dilation(labels.astype(np.int64), size=(3, 3, 3), mode="constant", cval=0)
        fresh = (foreground > 0) & (labels == 0) & (dilated > 0)
        labels = np.where(fresh, dilated, labels).astype(np.uint32)
    return labels, fresh


def grown(foreground, labels, steps):
    """What the kernel makes of it, and its states."""
    padded = np.pad(labels, 1)
    states = mark_pending(foreground.copy(), padded)
    grow(padded, states, steps)
    return padded[1:-1, 1:-1, 1:-1], states


@given(scene=scenes(), steps=st.integers(1, 7))
@settings(max_examples=150)
def test_steps(scene, steps):
    foreground, labels = scene
    expected, fresh = stepwise(foreground, labels, steps)
    result, states = grown(foreground, labels, steps)
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(states == FRONT, fresh)
    np.testing.assert_array_equal(states == PENDING, (foreground > 0) & (expected == 0))


@given(scene=scenes(), steps=st.integers(1, 3), data=st.data())
@settings(max_examples=100)
def test_exact_as_many_voxels_from_the_edge_as_steps(scene, steps, data):
    foreground, labels = scene
    start = np.array([data.draw(st.integers(0, n - 1)) for n in labels.shape])
    stop = np.array([data.draw(st.integers(a + 1, n)) for a, n in zip(start, labels.shape, strict=True)])
    low, high = np.maximum(start - steps, 0), np.minimum(stop + steps, labels.shape)
    seen = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    core = tuple(slice(a, b) for a, b in zip(start - low, stop - low, strict=True))
    part, _ = grown(np.ascontiguousarray(foreground[seen]), labels[seen], steps)
    whole, _ = grown(foreground, labels, steps)
    np.testing.assert_array_equal(part[core], whole[seen][core])


def test_rounds_go_on_where_the_last_one_stopped():
    """Two rounds of three steps are six steps: only the front and what is pending matter."""
    rng = np.random.default_rng(0)
    foreground = (rng.random((12, 14, 16)) < 0.8).astype(np.uint8)
    labels = np.where(
        (rng.random(foreground.shape) < 0.01) & (foreground > 0), rng.integers(1, 99, foreground.shape), 0
    )
    once, _ = grown(foreground, labels.astype(np.uint32), 6)
    half, _ = grown(foreground, labels.astype(np.uint32), 3)
    twice, _ = grown(foreground, half, 3)
    np.testing.assert_array_equal(once, twice)
