"""The table of shared voxels, against a count in plain Python, and its independence of blocks."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_core.errors import InputError
from ps3d_core.evaluation import contingency
from ps3d_core.evaluation.contingency import count_pairs, merge
from ps3d_core.geometry.blocks import BlockGrid

shapes = st.tuples(*(st.integers(1, 8) for _ in range(3)))
seeds = st.integers(0, 2**32 - 1)


def pair(shape, seed, dtype=np.uint32):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, shape).astype(dtype), rng.integers(0, 3, shape).astype(dtype)


def entries(table):
    return dict(zip(zip(table.prediction.tolist(), table.truth.tolist(), strict=True), table.voxels, strict=True))


@given(shape=shapes, seed=seeds, dtype=st.sampled_from([np.uint8, np.int16, np.uint32, np.int64]))
def test_counts(shape, seed, dtype):
    prediction, truth = pair(shape, seed, dtype)
    table = count_pairs(prediction, truth)
    assert entries(table) == Counter(zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True))
    keys = list(zip(table.prediction, table.truth, strict=True))
    assert keys == sorted(keys)


@given(shape=shapes, block=shapes, seed=seeds, at_once=st.integers(1, 50))
def test_blocks_add_up(shape, block, seed, at_once):
    prediction, truth = pair(shape, seed)
    boxes = [b.core.slices for b in BlockGrid(shape, block)]
    before = contingency.ENTRIES_AT_ONCE
    contingency.ENTRIES_AT_ONCE = at_once
    try:
        merged = merge(count_pairs(prediction[box], truth[box]) for box in boxes)
    finally:
        contingency.ENTRIES_AT_ONCE = before
    whole = count_pairs(prediction, truth)
    assert entries(merged) == entries(whole)


def test_large_labels():
    top = 2**32 - 1
    table = count_pairs(np.array([[[top, top, 7]]]), np.array([[[top, 0, 2**31]]], np.uint32))
    assert entries(table) == {(top, top): 1, (top, 0): 1, (7, 2**31): 1}


def test_nothing():
    assert entries(merge([])) == {}
    empty = np.zeros((0, 3, 3), np.uint8)
    assert entries(count_pairs(empty, empty)) == {}


def test_layout_in_memory_does_not_matter():
    prediction, truth = pair((5, 6, 7), 1)
    assert entries(count_pairs(np.asfortranarray(prediction), truth)) == entries(count_pairs(prediction, truth))


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (np.zeros((2, 2, 3), np.uint8), "shapes must be the same"),
        (np.full((2, 2, 2), 0.5, np.float32), "whole numbers"),
        (np.zeros((2, 2, 2), np.complex64), "must be integers"),
        (np.full((2, 2, 2), -1, np.int8), "limits are 0"),
        (np.full((2, 2, 2), 2**32, np.int64), "limits are 0"),
    ],
)
def test_what_cannot_be_compared(prediction, message):
    with pytest.raises(InputError, match=message):
        count_pairs(prediction, np.zeros((2, 2, 2), np.uint8))
