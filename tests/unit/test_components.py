"""Connected components by runs, and disjoint sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from ps3d_core.border_core.components import find_components, write_labels
from ps3d_core.border_core.pieces import measure_pieces
from ps3d_core.border_core.seams import block_faces
from ps3d_core.border_core.unionfind import flatten, join, least_into_roots, sum_into_roots
from ps3d_core.border_core.voxel_counts import count_voxels
from ps3d_core.geometry.blocks import BlockGrid

sides = st.tuples(*[st.integers(1, 9)] * 3)


@pytest.mark.parametrize(("connectivity", "reach"), [(6, 1), (26, 3)])
@given(classes=sides.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2))))
@settings(max_examples=150)
def test_components_are_scipys(connectivity, reach, classes):
    expected, count = ndimage.label(classes == 1, ndimage.generate_binary_structure(3, reach))
    labels = np.where(classes == 2, 77, 0).astype(np.uint32)
    components = find_components(classes, 1, connectivity)
    assert components.total == count
    write_labels(components, labels, above=100)
    # In C order of the first voxel, above 100; other classes keep what they had.
    np.testing.assert_array_equal(labels, np.where(classes == 1, expected + 100, np.where(classes == 2, 77, 0)))


def test_a_comb_joins_late():
    """Teeth that only the last row joins: every run is joined with one found long before."""
    comb = np.zeros((1, 50, 99), np.uint8)
    comb[0, :, ::2] = comb[0, -1] = 1
    labels = np.zeros(comb.shape, np.uint32)
    components = find_components(comb, 1, 6)
    assert components.total == 1
    write_labels(components, labels)
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


@given(classes=sides.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2))), data=st.data())
def test_planes_measures_and_faces_are_those_of_the_labels(classes, data):
    """Everything that runs say of components, in a block in the middle of 3 x 3 x 3."""
    components = find_components(classes, 1, 6)
    labels = np.zeros(classes.shape, np.uint32)
    write_labels(components, labels)
    start = data.draw(st.integers(0, len(labels) - 1))
    stop = data.draw(st.integers(start + 1, len(labels)))
    planes = np.zeros_like(labels[start:stop])
    write_labels(components.planes(start, stop), planes)
    np.testing.assert_array_equal(planes, labels[start:stop])
    grid = BlockGrid(tuple(3 * n for n in labels.shape), labels.shape)
    block = grid.at((1, 1, 1))
    expected = {"z_lower": labels[0], "y_lower": labels[:, 0], "x_lower": labels[:, :, 0]}
    expected |= {"z_upper": labels[-1], "y_upper": labels[:, -1], "x_upper": labels[:, :, -1]}
    faces = block_faces(components, block, grid)
    assert faces.keys() == expected.keys()
    for name, face in faces.items():
        np.testing.assert_array_equal(face, expected[name])
    measures = measure_pieces(components, block.core, grid.shape)
    inside = np.argwhere(labels)
    found = labels[tuple(inside.T)]
    indices = np.ravel_multi_index((inside + block.core.start).T, grid.shape)
    np.testing.assert_array_equal(measures["voxels"], np.bincount(found, minlength=components.total + 1)[1:])
    np.testing.assert_array_equal(
        measures["first"], [indices[found == label].min() for label in range(1, components.total + 1)]
    )


def test_faces_of_the_volume_are_not_between_blocks():
    pieces = find_components(np.ones((2, 2, 2), np.uint8), 1, 6)
    grid = BlockGrid((4, 2, 6), (2, 2, 2))
    assert set(block_faces(pieces, grid.at((0, 0, 0)), grid)) == {"z_upper", "x_upper"}
    assert set(block_faces(pieces, grid.at((1, 0, 2)), grid)) == {"z_lower", "x_lower"}
