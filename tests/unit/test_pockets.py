"""Pockets are filled as growth would fill them in the end, and nothing else is touched."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from ps3d_core.border_core.growth import PENDING, grow, mark_pending
from ps3d_core.border_core.pockets import fill_pockets, goes_on
from ps3d_core.geometry.boxes import Box


@st.composite
def scenes(draw):
    """Foreground with gaps, a few labels inside it, and a box of it."""
    shape = draw(st.tuples(*[st.integers(1, 12)] * 3))
    foreground = draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1])))
    chosen = draw(arrays(np.uint32, shape, elements=st.sampled_from([0] * 15 + [1, 7])))
    start = [draw(st.integers(0, n - 1)) for n in shape]
    stop = [draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)]
    return foreground, np.where(foreground > 0, chosen, np.uint32(0)), Box(tuple(start), tuple(stop))


def states_of(foreground, labels, steps):
    """Labels with their margin, and states, after some steps."""
    padded = np.pad(labels, 1)
    states = mark_pending(foreground.copy(), padded)
    grow(padded, states, steps)
    return padded, states


@given(scene=scenes(), steps=st.integers(1, 3))
@settings(max_examples=200)
def test_a_block_fills_what_only_it_can_see(scene, steps):
    foreground, labels, core = scene
    final, _ = states_of(foreground, labels, labels.size)
    outer = core.grow(steps, labels.shape)
    padded, states = states_of(np.ascontiguousarray(foreground[outer.slices]), labels[outer.slices], steps)
    inside, pending = core.relative_to(outer), states == PENDING
    fill_pockets(padded, states, inside)

    mine = padded[1:-1, 1:-1, 1:-1][inside.slices]
    assert (mine == np.where(mine > 0, final[1:-1, 1:-1, 1:-1][core.slices], 0)).all()
    pieces, total = ndimage.label(pending, np.ones((3, 3, 3)))
    for piece in range(1, total + 1):
        beside = np.argwhere(ndimage.binary_dilation(pieces == piece, np.ones((3, 3, 3))))
        shut_in = all(
            (beside[:, axis] >= inside.start[axis]).all() and (beside[:, axis] < inside.stop[axis]).all()
            for axis in range(3)
        )
        left = (states == PENDING)[pieces == piece]
        reached = final[1:-1, 1:-1, 1:-1][outer.slices][pieces == piece] > 0
        assert (left == ~reached).all() if shut_in else left.all()


def test_growth_goes_on_from_a_front_with_something_pending_beside_it():
    line = np.ones((1, 1, 9), np.uint8)
    labels = np.zeros(line.shape, np.uint32)
    labels[..., 0] = 5
    _, states = states_of(line, labels, 3)
    assert goes_on(states, Box((0, 0, 0), (1, 1, 4)))
    assert not goes_on(states, Box((0, 0, 0), (1, 1, 3)))
    assert not goes_on(states, Box((0, 0, 4), (1, 1, 9)))
    _, states = states_of(line, labels, 8)
    assert not goes_on(states, Box.of(line.shape))
