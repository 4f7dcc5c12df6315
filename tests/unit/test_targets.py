"""Border-core targets: known answers, and agreement with one erosion per particle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from ps3d_core.errors import InputError
from ps3d_core.training.targets import BACKGROUND, BORDER, CORE, border_core


def eroded_one_by_one(labels: npt.NDArray[np.int64], thickness: float) -> npt.NDArray[np.uint8]:
    """The definition itself: erode every particle alone by a ball; the scan's edge does not erode."""
    reach = int(thickness)
    offsets = np.mgrid[[slice(-reach, reach + 1)] * 3]
    ball = (offsets**2).sum(axis=0) <= thickness**2
    classes = np.zeros(labels.shape, np.uint8)
    for label in np.unique(labels[labels != 0]):
        particle = labels == label
        classes[particle] = BORDER
        classes[ndimage.binary_erosion(particle, ball, border_value=1)] = CORE
    return classes


def test_touching_particles_have_separate_cores() -> None:
    labels = np.zeros((5, 5, 10), np.int32)
    labels[:, :, :5], labels[:, :, 5:] = 7, 9
    expected = np.full((5, 5, 10), CORE)
    expected[:, :, 4:6] = BORDER
    assert np.array_equal(border_core(labels, 1), expected)


def test_scan_edge_makes_no_border_but_background_does() -> None:
    labels = np.zeros((4, 4, 6), np.uint16)
    labels[:, :, :4] = 1
    classes = border_core(labels, 2)
    assert (classes[:, :, :2] == CORE).all()
    assert (classes[:, :, 2:4] == BORDER).all()
    assert (classes[:, :, 4:] == BACKGROUND).all()


@pytest.mark.parametrize("ids", [(1, 65537), (-3, 5), (2**40, 2**40 + 2**32)])
def test_labels_that_agree_in_their_low_bits_stay_apart(ids: tuple[int, int]) -> None:
    labels = np.full((3, 3, 8), ids[0], np.int64)
    labels[:, :, 4:] = ids[1]
    assert (border_core(labels, 1)[:, :, 3:5] == BORDER).all()


@settings(max_examples=60)
@given(
    labels=hnp.arrays(
        np.int64, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9), elements=st.integers(0, 3)
    ),
    thickness=st.sampled_from([1, 1.5, 1.75, 2, 2.5, 3, 4]),
)
def test_equals_one_erosion_per_particle(labels: npt.NDArray[np.int64], thickness: float) -> None:
    # Coarser blobs as well: single voxels never have a core.
    blobs = labels.repeat(3, axis=0).repeat(3, axis=1).repeat(3, axis=2)
    for volume in (labels, blobs):
        assert np.array_equal(border_core(volume, thickness), eroded_one_by_one(volume, thickness))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 22), thickness=st.integers(1, 3))
def test_a_block_with_a_halo_has_the_volumes_answer(seed: int, cut: int, thickness: int) -> None:
    coarse = np.random.default_rng(seed).integers(0, 4, (4, 4, 4))
    labels = coarse.repeat(6, axis=0).repeat(6, axis=1).repeat(6, axis=2)
    whole = border_core(labels, thickness)
    lower, upper = labels[: cut + thickness], labels[max(0, cut - thickness) :]
    halves = [border_core(lower, thickness)[:cut], border_core(upper, thickness)[min(cut, thickness) :]]
    assert np.array_equal(np.concatenate(halves), whole)


def test_does_not_change_its_input_and_takes_views() -> None:
    labels = np.arange(2 * 6 * 6).reshape(2, 6, 6)[:, ::-1, ::2]
    before = labels.copy()
    assert border_core(labels, 1).shape == labels.shape
    assert np.array_equal(labels, before)


@pytest.mark.parametrize("thickness", [0, -1, 0.9, 15.5, float("nan")])
def test_refuses_a_thickness_out_of_range(thickness: float) -> None:
    with pytest.raises(InputError, match="border thickness"):
        border_core(np.zeros((2, 2, 2), np.int32), thickness)


@pytest.mark.parametrize("labels", [np.zeros((2, 2, 2)), np.zeros((4, 4), np.int32)])
def test_refuses_what_is_no_label_volume(labels: npt.NDArray[np.generic]) -> None:
    with pytest.raises(InputError, match="labels of type"):
        border_core(labels, 1)  # type: ignore[arg-type]
