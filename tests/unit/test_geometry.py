"""Boxes, blocks, patch origins, scale: coverage, disjointness, limits."""

import itertools
from math import ceil, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import BlockGrid, block_shape_for
from ps3d_core.geometry.boxes import Box, turned
from ps3d_core.geometry.patches import LEAST, PatchGrid, axis_origins, fitted_patch
from ps3d_core.geometry.scale import particle_scale

shapes = st.tuples(*[st.integers(1, 40)] * 3)
blocks = st.tuples(*[st.integers(6, 40)] * 3)


@given(shape=shapes, block=blocks, halo=st.integers(0, 5))
def test_cores_tile_the_volume_once_and_lie_in_their_outer_box(shape, block, halo):
    times_covered = np.zeros(shape, int)
    grid = BlockGrid(shape, block, halo)
    for index, item in enumerate(grid):
        times_covered[item.core.slices] += 1
        assert item.index == index
        assert grid[index] == item
        assert item.core.intersect(item.outer) == item.core
        assert item.outer == item.core.grow(halo, shape)
    assert (times_covered == 1).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_turned_box_holds_the_same_voxels(axis):
    volume = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    box = Box((1, 2, 0), (3, 5, 4))
    other = volume.swapaxes(0, axis)
    assert other.shape == turned((4, 5, 6), axis)
    assert np.array_equal(other[box.turned(axis).slices], volume[box.slices].swapaxes(0, axis))
    assert box.turned(axis).turned(axis) == box


@given(shape=shapes, block=blocks)
def test_neighbours_are_mutual(shape, block):
    grid = BlockGrid(shape, block)
    for connectivity in (6, 18, 26):
        for item in list(grid)[:5]:
            for other in grid.neighbours(item, connectivity):
                assert item in list(grid.neighbours(other, connectivity))


def test_neighbour_counts_in_the_middle_of_a_grid():
    grid = BlockGrid((9, 9, 9), (3, 3, 3))
    middle = grid.at((1, 1, 1))
    assert [len(list(grid.neighbours(middle, c))) for c in (6, 18, 26)] == [6, 18, 26]


@given(a=shapes, b=shapes, c=shapes, d=shapes)
def test_intersection_is_the_voxels_in_both(a, b, c, d):
    first, second = (Box(tuple(map(min, p, q)), tuple(map(max, p, q))) for p, q in ((a, b), (c, d)))
    one, two = np.zeros((41, 41, 41), bool), np.zeros((41, 41, 41), bool)
    one[first.slices], two[second.slices] = True, True
    assert first.intersect(second).size == (one & two).sum()


@given(length=st.integers(1, 500), patch=st.integers(1, 64), stride=st.integers(1, 64))
def test_origins_cover_the_axis_and_end_at_its_face(length, patch, stride):
    stride = min(stride, patch)
    origins = axis_origins(length, patch, stride)
    assert list(origins) == sorted(set(origins))
    assert origins[0] == 0
    if length > patch:
        assert origins[-1] == length - patch
        assert all(b - a <= stride for a, b in itertools.pairwise(origins))
        assert all(b - a == stride for a, b in itertools.pairwise(origins[:-1]))
    else:
        assert origins == (0,)


def test_origins_known_answer():
    assert axis_origins(100, 32, 16) == (0, 16, 32, 48, 64, 68)
    assert axis_origins(96, 32, 16) == (0, 16, 32, 48, 64)


@given(length=st.integers(1, 500), patch=st.integers(1, 64), stride=st.integers(1, 64))
def test_even_origins_are_as_many_and_nowhere_farther_apart(length, patch, stride):
    stride = min(stride, patch)
    origins, clamped = axis_origins(length, patch, stride, even=True), axis_origins(length, patch, stride)
    assert len(origins) == len(clamped)
    assert (origins[0], origins[-1]) == (clamped[0], clamped[-1])
    steps = {b - a for a, b in itertools.pairwise(origins)}
    assert not steps or (max(steps) <= stride and max(steps) - min(steps) <= 1)


def test_even_origins_known_answer():
    assert axis_origins(114, 64, 48, even=True) == (0, 25, 50)
    assert axis_origins(114, 64, 48) == (0, 48, 50)


@given(n=st.integers(1, 200), steps=st.integers(1, 16), patch=st.integers(1, 8))
def test_a_fitted_patch_is_no_deeper_than_a_thin_scan_needs(n, steps, patch):
    whole = steps * patch
    (side, *others) = fitted_patch((n, 500, 500), (whole,) * 3, (steps,) * 3)
    assert others == [whole, whole]
    assert side % steps == 0
    assert side >= min(n, whole)
    assert side == whole or side < n + steps or side == LEAST * steps


@given(n=st.integers(1, 30), patch=st.integers(1, 64))
def test_reflection_agrees_with_numpy(n, patch):
    grid = PatchGrid((n, 64, 64), (patch, 16, 16), (max(1, patch // 2), 8, 8))
    padded = grid.padded_shape[0]
    before = grid.padding_before(0)
    index = grid.reflected(0, 0, padded)
    if n == 1:
        assert (index == 0).all()
    else:
        assert (index == np.pad(np.arange(n), (before, padded - n - before), mode="reflect")).all()


def test_scale_known_answer():
    scale = particle_scale((100, 200, 301), spacing=0.01, particle_size=0.4, target_particle_size=20)
    assert scale.zoom == pytest.approx(0.5)
    assert scale.network_shape == (50, 100, 150)


def test_a_scan_may_grow_a_lot():
    scale = particle_scale((100, 100, 100), spacing=0.01, particle_size=0.02, target_particle_size=20)
    assert scale.network_shape == (1000, 1000, 1000)
    assert scale.growth == 1000


def test_a_mistyped_length_is_refused_with_the_figure_and_can_be_forced():
    arguments = {"spacing": 1.0, "particle_size": 0.5, "target_particle_size": 20}
    with pytest.raises(InputError, match=r"0\.5 mm is 0\.5 voxels.*6\.4e\+04 times.*limit 10000.*allow_absurd"):
        particle_scale((10, 10, 10), **arguments)
    assert particle_scale((10, 10, 10), **arguments, allow_absurd=True).network_shape == (400, 400, 400)


@pytest.mark.parametrize("particle_size", [1e-300, 5e-324])
def test_a_grid_beyond_arithmetic_cannot_be_forced(particle_size):
    with pytest.raises(InputError, match="correct the particle size"):
        particle_scale(
            (10, 10, 10), spacing=999.0, particle_size=particle_size, target_particle_size=20, allow_absurd=True
        )


def test_particle_larger_than_the_scan_is_refused():
    with pytest.raises(InputError, match="more than twice the scan"):
        particle_scale((100, 100, 100), spacing=0.01, particle_size=3.0, target_particle_size=20)


@given(
    shape=st.tuples(*[st.integers(1, 900)] * 3),
    workers=st.integers(1, 8),
    memory=st.integers(2**26, 2**32),
    halo=st.integers(0, 16),
)
def test_block_shape_is_whole_shards_and_fits(shape, workers, memory, halo):
    shards = (128, 128, 128)
    try:
        block = block_shape_for(shape, shards, bytes_per_voxel=4, memory_bytes=memory, workers=workers, halo=halo)
    except InputError:
        smallest = prod(min(s, n) + 2 * halo for s, n in zip(shards, shape, strict=True))
        assert smallest * 4 > memory / workers
        return
    assert all(b % s == 0 or b == n for b, s, n in zip(block, shards, shape, strict=True))
    assert prod(b + 2 * halo for b in block) * 4 <= memory / workers
    # One shard less on any axis would cut it into more blocks: none is larger than it has to be.
    for b, s, n in zip(block, shards, shape, strict=True):
        assert b <= s or b == n == s or ceil(n / ((ceil(b / s) - 1) * s)) > ceil(n / b)


def test_blocks_of_an_axis_are_as_equal_as_shards_allow():
    """Four shards and two workers: 2 + 2, where growing as far as both still get a block would leave 3 + 1."""
    shape, shards = (512, 512, 512), (128, 128, 128)
    assert block_shape_for(shape, shards, bytes_per_voxel=1, memory_bytes=2**32, workers=2) == (512, 256, 256)
