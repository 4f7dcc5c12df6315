"""Connected components by runs, and disjoint sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from ps3d_core.instances.components import label_components
from ps3d_core.instances.unionfind import flatten, join, least_into_roots, sum_into_roots
from ps3d_core.instances.voxel_counts import count_voxels

sides = st.tuples(*[st.integers(1, 9)] * 3)


@pytest.mark.parametrize(("connectivity", "reach"), [(6, 1), (26, 3)])
@given(classes=sides.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2))))
@settings(max_examples=150)
def test_components_are_scipys(connectivity, reach, classes):
    expected, count = ndimage.label(classes == 1, ndimage.generate_binary_structure(3, reach))
    labels = np.where(classes == 2, 77, 0).astype(np.uint32)
    assert label_components(classes, 1, connectivity, into=labels, above=100) == count
    # In C order of the first voxel, above 100; other classes keep what they had.
    np.testing.assert_array_equal(labels, np.where(classes == 1, expected + 100, np.where(classes == 2, 77, 0)))


def test_a_comb_joins_late():
    """Teeth that only the last row joins: every run is joined with one found long before."""
    comb = np.zeros((1, 50, 99), np.uint8)
    comb[0, :, ::2] = comb[0, -1] = 1
    labels = np.zeros(comb.shape, np.uint32)
    assert label_components(comb, 1, 6, into=labels) == 1
    np.testing.assert_array_equal(labels, comb)


@given(st.integers(1, 40), st.data())
def test_disjoint_sets(members, data):
    index = st.integers(0, members - 1)
    pairs = data.draw(st.lists(st.tuples(index, index), max_size=60))
    values = data.draw(arrays(np.int64, members, elements=st.integers(-1000, 1000)))
    parent = np.arange(members, dtype=np.int64)
    for one, other in pairs:
        join(parent, one, other)
    flatten(parent)
    graph = np.eye(members, dtype=bool)
    for one, other in pairs:
        graph[one, other] = graph[other, one] = True
    for _ in range(members):
        graph |= graph @ graph
    np.testing.assert_array_equal(parent, graph.argmax(axis=1))
    least, total = values.copy(), values.copy()
    least_into_roots(parent, least)
    sum_into_roots(parent, total)
    for root in np.unique(parent):
        assert least[root] == values[graph[root]].min()
        assert total[root] == values[graph[root]].sum()


@given(sides.flatmap(lambda shape: arrays(np.uint32, shape, elements=st.sampled_from([0, 1, 5, 2**31, 2**32 - 1]))))
def test_voxel_counts(labels):
    ids, voxels = count_voxels(labels)
    expected = np.unique(labels[labels > 0], return_counts=True)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_array_equal(voxels, expected[1])
