"""Necks of cores: parts against peaks of the distance, and what no order of axes may change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import reconstruction

from ps3d_core.border_core.depths import FAR, depths_of
from ps3d_core.border_core.necks import may_have_parts, part_at_necks

FACES = ndimage.generate_binary_structure(3, 1)
SHARE = 0.501  # its square times a whole number is no whole number: no neck is exactly as wide as this says


def balls(shape, *balls_of):
    """Whether voxels lie in one of these balls, given as centre and radius."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return np.any([((grid - centre) ** 2).sum(-1) < radius**2 for *centre, radius in balls_of], axis=0)


def random_core(seed, shape):
    """The largest 6-connected heap of a smooth random field, which has necks of all widths."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.7, mode="nearest")
    labels, _ = ndimage.label(noise > 0, FACES)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def depths_within(core):
    """Depths of a core, without the voxels around it."""
    return depths_of(core)[1:-1, 1:-1, 1:-1]


def peaks_that_stand_out(core, share):
    """Peaks of the distance from which the way to a higher one goes below `share` times their height.

    Dynamics of peaks (Grimaud 1992): in logarithms the share is a difference, and what a reconstruction flattens does
    not stand out.
    """
    inside = ndimage.binary_erosion(core, FACES, border_value=1) | core
    height = np.where(inside, np.log(np.maximum(depths_within(core), 1)) / 2, -10.0)
    flat = reconstruction(height + np.log(share), height, footprint=FACES)
    count = 0
    for level in np.unique(flat[core]):
        labels, found = ndimage.label(core & (flat >= level), FACES)
        tops = np.asarray(ndimage.maximum(flat, labels, np.arange(1, found + 1)))
        count += int((tops == level).sum())
    return count


@given(seed=st.integers(0, 2**32 - 1), shape=st.tuples(*[st.integers(6, 26)] * 3))
@settings(max_examples=25)
def test_distances_are_exact(seed, shape):
    core = np.random.default_rng(seed).random(shape) < 0.97
    expected = ndimage.distance_transform_edt(core) ** 2 if not core.all() else np.full(shape, FAR)
    np.testing.assert_array_equal(depths_within(core), np.rint(expected))
    assert not depths_of(core).sum() - depths_within(core).sum()


@given(seed=st.integers(0, 2**32 - 1), shape=st.tuples(*[st.integers(6, 30)] * 3))
@settings(max_examples=30)
def test_parts_are_the_peaks_that_stand_out(seed, shape):
    core = random_core(seed, shape)
    parts, count = part_at_necks(core, SHARE)
    assert count == peaks_that_stand_out(core, SHARE)
    np.testing.assert_array_equal(parts > 0, core)
    for part in range(1, count + 1):
        assert ndimage.label(parts == part, FACES)[1] == 1
    _, first = np.unique(parts, return_index=True)
    assert list(first[1:] if (parts == 0).any() else first) == sorted(first[-count:])


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*[st.integers(6, 40)] * 3),
    level=st.sampled_from([-0.5, 0.0, 0.3]),
    greatest=st.sampled_from([0.4, 0.5, SHARE, 0.8, 1.0]),
)
@settings(max_examples=40)
def test_what_has_parts_may_have_parts(seed, shape, level, greatest):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.4, mode="nearest")
    labels, count = ndimage.label(noise > level * noise.std(), FACES)
    boxes = ndimage.find_objects(labels)
    start, stop = (np.array([[getattr(side, end) for side in box] for box in boxes]) for end in ("start", "stop"))
    cores = np.arange(1, count + 1, dtype=np.uint32)
    may = may_have_parts(labels.astype(np.uint32), cores, start, stop, greatest)
    parts = np.array([part_at_necks(around(labels == core, box), greatest)[1] for core, box in enumerate(boxes, 1)])
    assert may[parts > 1].all()
    assert not may[[(labels == core).sum() == 1 for core in cores]].any()


def around(core, box):
    """The core in its box and one voxel more, as far as the array goes."""
    return core[tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)]


@given(seed=st.integers(0, 2**32 - 1), axes=st.permutations(range(3)), mirrored=st.sets(st.integers(0, 2)))
@settings(max_examples=15)
def test_how_many_parts_does_not_depend_on_the_axes(seed, axes, mirrored):
    core = random_core(seed, (22, 18, 26))
    turned = np.flip(core.transpose(axes), tuple(mirrored))
    assert part_at_necks(turned, SHARE)[1] == part_at_necks(core, SHARE)[1]


@pytest.mark.parametrize(("gap", "parts"), [(16, 1), (22, 1), (26, 2), (27, 2)])
def test_two_balls_are_two_parts_where_their_neck_is_narrow(gap, parts):
    # Balls of radius 14 whose centres are 26 apart share a circle of radius sqrt(14^2 - 13^2) = 5.2.
    core = balls((32, 32, 64), (16, 16, 16, 14), (16, 16, 16 + gap, 14))
    found, count = part_at_necks(core, 0.5)
    assert count == parts
    if count == 2:
        np.testing.assert_array_equal(np.unique(np.nonzero(found == 1)[2])[[0, -1]], [3, 16 + gap // 2])


@pytest.mark.parametrize("greatest", [0.3, 0.5, 0.9])
def test_what_has_no_neck_stays_whole(greatest):
    grid = np.stack(np.meshgrid(*[np.arange(-20, 21)] * 3, indexing="ij"), -1)
    ellipsoid = ((grid / (19, 9, 6)) ** 2).sum(-1) <= 1
    box = (np.abs(grid) <= (18, 7, 5)).all(-1)
    for core in (ellipsoid, box, balls((41, 41, 41), (20, 20, 20, 17))):
        assert part_at_necks(core, greatest)[1] == 1
        labels, size = np.pad(core, 1).astype(np.uint32), np.array([core.shape])
        assert not may_have_parts(labels, np.ones(1, np.uint32), np.ones_like(size), size + 1, greatest).any()


def test_a_chain_falls_into_its_links():
    core = balls((20, 20, 90), *((10, 10, 10 + 17 * link, 9) for link in range(5)))
    parts, count = part_at_necks(core, 0.5)
    assert count == 5
    assert [int(parts[10, 10, 10 + 17 * link]) for link in range(5)] == [1, 2, 3, 4, 5]


def test_the_edge_of_the_scan_is_no_neck():
    # Cut through its middle, the waist of a ball is at the edge; a neck is narrow on all sides of what is known.
    whole = balls((30, 30, 30), (15, 15, 15, 13))
    assert part_at_necks(whole[:, :, :15], 0.9)[1] == 1
    assert part_at_necks(np.ones((5, 6, 7), bool), 0.9)[1] == 1


def test_a_particle_and_a_smaller_grain_part_at_a_narrow_neck():
    core = balls((40, 40, 64), (20, 20, 20, 16), (20, 20, 45, 10))
    parts, count = part_at_necks(core, 0.5)
    assert count == 2
    assert 0.7 < (parts == 2).sum() / balls((40, 40, 64), (20, 20, 45, 10)).sum() < 1.1
