import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box
from ps3d_core.phantom.params import FAMILIES, Mineral, PhantomParams, Tube, Wall
from ps3d_core.phantom.render import Phantom, render
from ps3d_core.phantom.variety import random_params

SHAPE = (31, 45, 38)


def everything(seed=3, **changes):
    """A small phantom with every feature switched on."""
    options = {
        "shape": SHAPE,
        "particle_size_voxels": 10.0,
        "seed": seed,
        "dtype": "float32",
        "minerals": (Mineral(grey=0.6, texture=0.05), Mineral(grey=0.9, texture=0.03)),
        "composite_fraction": 0.6,
        "inclusion_fraction": 0.8,
        "pore_fraction": 0.5,
        "crack_fraction": 0.5,
        "bubble_density": 0.3,
        "rim": 0.1,
        "gap_fraction": 0.7,
        "neck_fraction": 0.3,
        "tube": Tube(radius_voxels=16.0, wall_voxels=3.0, centre_offset_voxels=(2.0, -1.5)),
        "fov_radius_voxels": 21.0,
        "sharpening": 0.4,
        "noise_with_grey": 1.0,
        "rings": 0.1,
        "ring_arc": 0.6,
        "streaks": 0.1,
        "ghost": 0.2,
        "ghost_shift": (1, -2, 1),
        "cupping": 0.1,
        "gradient": (0.1, -0.1, 0.05),
        "shading": 0.05,
        "shading_voxels": 12.0,
    }
    return PhantomParams(**(options | changes))


WHOLE = Phantom(everything())
IMAGE, LABELS = WHOLE.render()


@st.composite
def boxes(draw):
    start = [draw(st.integers(0, n - 1)) for n in SHAPE]
    stop = [draw(st.integers(a + 1, n)) for a, n in zip(start, SHAPE, strict=True)]
    return Box(tuple(start), tuple(stop))


@settings(max_examples=40)
@given(boxes())
def test_any_box_equals_the_crop_bit_for_bit(box):
    image, labels = WHOLE.render(box)
    np.testing.assert_array_equal(image, IMAGE[box.slices])
    np.testing.assert_array_equal(labels, LABELS[box.slices])


@settings(max_examples=16)
@given(seed=st.integers(0, 10_000), family=st.sampled_from(FAMILIES), data=st.data())
def test_boxes_of_random_phantoms_equal_the_crop(seed, family, data):
    phantom = Phantom(random_params(seed, SHAPE, 9.0, family))
    image, labels = phantom.render()
    box = data.draw(boxes())
    part_image, part_labels = phantom.render(box)
    np.testing.assert_array_equal(part_image, image[box.slices])
    np.testing.assert_array_equal(part_labels, labels[box.slices])


def test_tiles_inside_a_call_do_not_show():
    params = everything(shape=(4, 6, 300))
    image, labels = render(params)
    part = Box((0, 0, 120), (4, 6, 180))
    part_image, part_labels = render(params, part)
    np.testing.assert_array_equal(part_image, image[part.slices])
    np.testing.assert_array_equal(part_labels, labels[part.slices])


def test_equal_seeds_equal_bytes_and_other_seeds_other_bytes():
    again, labels_again = render(everything())
    other, other_labels = render(everything(seed=4))
    np.testing.assert_array_equal(again, IMAGE)
    np.testing.assert_array_equal(labels_again, LABELS)
    assert not np.array_equal(other, IMAGE)
    assert not np.array_equal(other_labels, LABELS)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_dtype_and_grey_range(dtype):
    image, labels = render(everything(dtype=dtype, shape=(12, 40, 40)))
    assert image.dtype == np.dtype(dtype)
    assert labels.dtype == np.uint32
    assert np.isfinite(image).all()
    assert len(np.unique(image)) > 30


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_values_saturate_instead_of_wrapping_around(dtype):
    most = np.iinfo(dtype).max
    params = PhantomParams(shape=(16, 16, 16), dtype=dtype, grey_range=(-1.0 * most, 4.0 * most), noise=0.05, seed=1)
    image, labels = render(params)
    assert image[labels > 0].mean() > 0.9 * most
    assert image.min() == 0


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 30), (5, 64, 7), (90, 3, 3)])
def test_odd_shapes(shape):
    image, labels = render(everything(shape=shape, tube=None, fov_radius_voxels=None))
    assert image.shape == labels.shape == shape


def test_tube_holds_the_particles_and_outside_the_field_of_view_is_exactly_zero():
    params = everything()
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    from_tube = np.hypot(y - params.tube_axis[0], x - params.tube_axis[1])
    from_axis = np.hypot(y - params.axis[0], x - params.axis[1])
    assert not LABELS[:, from_tube > params.tube.radius_voxels].any()
    outside = from_axis > params.fov_radius_voxels
    assert outside.any()
    assert not IMAGE[:, outside].any()
    assert not LABELS[:, outside].any()
    assert np.all(IMAGE[:, ~outside] != 0)


def test_wall_and_air_have_their_grey_values():
    tube = Tube(radius_voxels=20.0, wall_voxels=8.0, grey=0.9)
    params = PhantomParams(
        shape=(6, 80, 80), dtype="float32", tube=tube, noise=0.0, air_grey=0.07, background_grey=0.2, seed=2
    )
    image, _ = render(params)
    y, x = np.mgrid[:80, :80]
    r = np.hypot(y - 39.5, x - 39.5)
    np.testing.assert_allclose(image[:, abs(r - 24) < 1], 0.9, atol=1e-3)
    np.testing.assert_allclose(image[:, r > 33], 0.07, atol=1e-3)


def test_a_flat_wall_keeps_particles_on_its_side_and_is_brightest_at_its_outer_face():
    wall = Wall(normal=(0.0, 2.0, 0.0), offset_voxels=5.0, wall_voxels=12.0, grey=0.9, rim=0.3)
    params = PhantomParams(
        shape=(6, 60, 30), particle_size_voxels=8.0, dtype="float32", walls=(wall,), noise=0.0, air_grey=0.07, seed=2
    )
    image, labels = render(params)
    inner = round(params.centre[1] + 5.0)
    assert labels[:, : inner - 4].any()
    assert not labels[:, inner + 1 :].any()
    np.testing.assert_allclose(image[:, inner + 3 : inner + 6], 0.9, atol=1e-3)
    assert np.all(image[:, inner + 9] > 0.95)
    np.testing.assert_allclose(image[:, inner + 16 :], 0.07, atol=1e-3)


def test_a_tilted_tube_is_a_cylinder_about_its_axis():
    tube = Tube(radius_voxels=14.0, wall_voxels=3.0, grey=0.9, tilt=(0.5, -0.25))
    params = PhantomParams(
        shape=(31, 60, 60), particle_size_voxels=8.0, dtype="float32", noise=0.0, blur_voxels=0.0, tube=tube, seed=2
    )
    image, labels = render(params)
    offset = np.stack(np.mgrid[:31, :60, :60], -1) - np.asarray(params.centre)
    direction = np.array([1.0, 0.5, -0.25]) / np.linalg.norm([1.0, 0.5, -0.25])
    distance = np.linalg.norm(np.cross(offset, direction), axis=-1)
    assert labels[0].any()
    assert labels[-1].any()
    assert not labels[distance > 14.0].any()
    np.testing.assert_allclose(image[abs(distance - 15.5) < 0.9], 0.9, atol=1e-3)


def test_necks_fill_contacts_and_leave_two_particles():
    loose = {"shape": (40, 40, 40), "particle_size_voxels": 14.0, "fill_fraction": 0.5, "gap_fraction": 0.0, "seed": 7}
    _, apart = render(PhantomParams(**loose))
    _, joined = render(PhantomParams(**loose, neck_fraction=1.0, neck=0.4))
    filled = (apart == 0) & (joined > 0)
    assert filled.mean() > 0.01
    assert not np.any((apart > 0) & (joined != apart))
    assert set(np.unique(joined)) == set(np.unique(apart))


def test_motion_leaves_a_shifted_share_of_the_image():
    still = PhantomParams(shape=(12, 40, 40), dtype="float32", noise=0.0, seed=5)
    image, labels = render(still)
    moved, same = render(still.model_copy(update={"ghost": 0.25, "ghost_shift": (2, -3, 1)}))
    np.testing.assert_array_equal(same, labels)
    expected = 0.75 * image[:-2, 3:, :-1] + 0.25 * image[2:, :-3, 1:]
    np.testing.assert_allclose(moved[:-2, 3:, :-1], expected, atol=1e-5)


def test_streaks_fade_along_the_slices_and_have_the_wanted_strength():
    params = PhantomParams(
        shape=(200, 40, 40), particle_size_voxels=6.0, dtype="float32", noise=0.0, seed=2, streaks=0.3, streak_sources=1
    )
    streaked, _ = render(params)
    clean, _ = render(params.model_copy(update={"streaks": 0.0}))
    streaks = abs(streaked - clean).max(axis=(1, 2))
    assert 0.02 < streaks.max() <= 0.3
    assert (streaks < 1e-6).sum() > 100


def test_an_arc_is_a_part_of_a_ring():
    params = PhantomParams(shape=(1, 81, 81), dtype="float32", noise=0.0, rings=0.3, ring_voxels=2.0, seed=2)
    clean, _ = render(params.model_copy(update={"rings": 0.0}))
    ring, _ = render(params)
    arc, _ = render(params.model_copy(update={"ring_arc": 0.4}))
    radii = np.arange(2, 40, 2)  # where one ring alone is seen
    places = [(40 + radii, 40), (40 - radii, 40), (40, 40 + radii), (40, 40 - radii)]
    whole, part = (np.concatenate([(image - clean)[0][place] for place in places]) for image in (ring, arc))
    assert np.all(abs(part) <= abs(whole) + 1e-5)
    assert 0.2 < np.mean(abs(part) > 1e-5) < 0.6
    assert np.mean(abs(part - whole) < 1e-5) > 0.2


def test_labels_follow_the_contrast_of_the_image():
    params = PhantomParams(
        shape=(40, 48, 48), particle_size_voxels=12, dtype="float32", noise=0.0, blur_voxels=0.0, fill_fraction=0.4,
        gap_fraction=0.0, crack_fraction=0, pore_fraction=0, inclusion_fraction=0, composite_fraction=0, seed=5,
        minerals=(Mineral(grey=0.8, texture=0.0),), grey_variation=0.0, background_grey=0.2,
    )  # fmt: skip
    image, labels = render(params)
    np.testing.assert_array_equal(labels > 0, image > 0.5 + 1e-6)
    assert image.max() == pytest.approx(0.8, abs=1e-5)
    assert image.min() == pytest.approx(0.2, abs=1e-5)


def test_gaps_darken_contacts_and_are_background_in_the_truth():
    dense = {"shape": (40, 40, 40), "particle_size_voxels": 12.0, "fill_fraction": 0.6, "contact": 0.15, "seed": 7}
    _, closed = render(PhantomParams(**dense, gap_fraction=0.0))
    _, opened = render(PhantomParams(**dense, gap_fraction=1.0, gap_voxels=2.5))

    def contacts(labels):
        a, b = labels[:, :, 1:], labels[:, :, :-1]
        return int(np.count_nonzero((a != b) & (a > 0) & (b > 0)))

    assert contacts(closed) > 50
    assert contacts(opened) < 0.3 * contacts(closed)
    assert not np.any((closed == 0) & (opened > 0))


def test_noise_has_the_wanted_strength_and_correlation():
    params = PhantomParams(
        shape=(40, 60, 60), fill_fraction=0.005, particle_size_voxels=40.0, dtype="float32", noise=0.05,
        noise_correlated=1.0, noise_correlation_voxels=1.0, background_grey=0.3, seed=11,
    )  # fmt: skip
    image, _ = render(params)
    clean, _ = render(params.model_copy(update={"noise": 0.0}))
    noise = image - clean
    assert noise.std() == pytest.approx(0.05, rel=0.1)
    # white noise blurred by sigma 1: correlation of neighbours exp(-1/4)
    neighbours = np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]
    assert neighbours == pytest.approx(np.exp(-0.25), abs=0.05)


def test_rings_are_concentric_about_the_rotation_axis():
    params = PhantomParams(
        shape=(1, 61, 61), particle_size_voxels=1000.0, fill_fraction=0.005, dtype="float32", noise=0.0, rings=0.2,
        ring_voxels=2.0, axis_offset_voxels=(3.0, 0.0), seed=2,
    )  # fmt: skip
    ringed, _ = render(params)
    clean, _ = render(params.model_copy(update={"rings": 0.0}))
    rings = (ringed - clean)[0]
    assert rings.std() > 0.01
    y, x = 33, 30
    for r in (4, 11, 20):
        np.testing.assert_allclose([rings[y + r, x], rings[y, x + r], rings[y, x - r]], rings[y - r, x], atol=1e-5)


def test_a_box_outside_the_volume_is_refused():
    with pytest.raises(InputError, match="must lie within the shape"):
        WHOLE.render(Box((0, 0, 0), (32, 10, 10)))
