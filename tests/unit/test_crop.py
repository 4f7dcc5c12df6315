"""A box out of an array, on the memory of the array."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ps3d_core.geometry.boxes import Box
from ps3d_core.geometry.crop import crop_in_place


@given(st.data())
def test_a_crop_is_what_indexing_gives_and_lies_where_the_array_began(data):
    shape = data.draw(st.tuples(*[st.integers(1, 7)] * 3))
    dtype = data.draw(st.sampled_from([np.uint8, np.uint32]))
    start = tuple(data.draw(st.integers(0, n)) for n in shape)
    stop = tuple(data.draw(st.integers(a, n)) for a, n in zip(start, shape, strict=True))
    box = Box(start, stop)
    array = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    expected = array[box.slices].copy()
    crop = crop_in_place(array, box)
    np.testing.assert_array_equal(crop, expected)
    assert crop.flags.c_contiguous
    assert crop.size == 0 or crop.ctypes.data == array.ctypes.data
