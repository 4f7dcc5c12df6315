"""Composition of particles of any kind: finite numbers, which follow from the particle alone."""

from __future__ import annotations

import numpy as np
import pytest
from composed_bodies import BALL, cutout_of, scanned

from ps3d_core.composition.classify import OUTSIDE
from ps3d_core.composition.materials import materials_of
from ps3d_core.composition.measure import Composition
from ps3d_core.composition.refine import refine
from ps3d_core.particles.whole import Cutout
from ps3d_core.phases import phases_of
from tests.composed import composed, drawn_before_the_scan
from tests.memory_held import LARGE, NAN, memory_held

THREE = phases_of(("dark=55:120", "middle=120:185", "bright=185:260"))
GREYS = (90.0, 150.0, 220.0)
HALVES = np.where(BALL, np.where(np.indices(BALL.shape)[2] < BALL.shape[2] // 2, 90.0, 220.0), 20.0)


def shares_of(cut, phases=THREE):
    """Shares (n, phases): those of a particle, and of its surface, add up to 1, or it shows no phase and has none."""
    values = Composition(phases).values(cut)
    shares, exposed = (
        np.stack([values[f"phase_{n}_{what}"] for n in phases.names], axis=1) for what in ("share", "exposed")
    )
    for each in (shares, exposed):
        known = ~np.isnan(each).all(axis=1)
        assert each[known].sum(axis=1) == pytest.approx(1)
        assert each[known].min(initial=0) >= 0
    return shares


def bytes_of(sample):
    values = Composition(THREE).values(sample.cutout)
    return sample.grey.tobytes(), {name: column.tobytes() for name, column in values.items()}


@pytest.mark.parametrize("byte", [NAN, LARGE, 0x42])
def test_values_do_not_depend_on_what_memory_held(byte):
    """Neither those of the scan that tests draw: two by two cells of three particles."""

    def drawn_and_measured():
        drawn_before_the_scan.cache_clear()
        return bytes_of(composed(3, 10.0, (0, 1, 2), GREYS, blur=1.4, noise=20.0, seed=2, kinds=("grains", "halves")))

    expected = drawn_and_measured()
    with memory_held(byte):
        assert drawn_and_measured() == expected


def test_values_do_not_depend_on_particles_before_or_on_their_order():
    sample = composed(8, 12.0, (0, 1, 2), GREYS, blur=1.2, noise=10.0, seed=4)
    cut = sample.cutout
    expected = Composition(THREE).values(cut)
    for order in (np.arange(8)[::-1], np.array([3, 3, 0, 7, 3, 1])):
        other = Cutout(cut.labels, cut.ids[order], cut.low[order], cut.high[order], images=cut.images)
        found = Composition(THREE).values(other)
        assert all(np.array_equal(found[name], expected[name][order], equal_nan=True) for name in expected)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 2), (1, 2, 9), (1, 8, 8), (2, 2, 2), (9, 1, 1)])
@pytest.mark.parametrize("room", [2, 5])
def test_the_smallest_particles_of_two_phases(shape, room):
    """Next to the faces of the cutout and apart from them."""
    labels = np.pad(np.ones(shape, bool), room)
    bright = np.indices(labels.shape).sum(axis=0) % 5 > 1
    grey = np.where(labels, np.where(bright, 220, 90), 20).astype(np.float32)
    assert not np.isnan(shares_of(cutout_of(labels, grey))).any()


@pytest.mark.parametrize("at_face", ["edge", "reflect", "constant"])
def test_particles_that_faces_of_the_scan_cut(at_face):
    inside = np.pad(BALL[12:], 2)
    grey = np.pad(scanned(HALVES, 1.0, 10.0)[12:], 2, mode=at_face)
    assert shares_of(cutout_of(inside, grey))[0] == pytest.approx([0.5, 0, 0.5], abs=0.06)


@pytest.mark.parametrize(
    "grey",
    [
        pytest.param(np.full(BALL.shape, 100.0), id="particle and background of one grey value"),
        pytest.param(np.zeros(BALL.shape), id="nothing"),
        pytest.param(scanned(np.where(BALL, 119.0, 118.0), 1.0, 30.0), id="no contrast, much noise"),
        pytest.param(scanned(HALVES, 1.0, 300.0), id="noise of ten times the contrast"),
        pytest.param(scanned(HALVES, 1.0, 1e6), id="noise alone"),
        pytest.param(np.where(BALL, HALVES, 1e30), id="a background of large numbers"),
        pytest.param(np.where(BALL, HALVES, -3e38), id="of the largest there are"),
        pytest.param(np.where(BALL, HALVES * 1e-30, 0), id="grey values next to nothing"),
        pytest.param(np.where(np.indices(BALL.shape)[0] % 2, 3e38, -3e38), id="the largest and the least by turns"),
        pytest.param(np.where(BALL, HALVES, np.nan), id="no background"),
        pytest.param(np.where(BALL, HALVES, np.inf), id="an infinite background"),
    ],
)
@pytest.mark.parametrize("blur", [None, 0.2, 3.0])
def test_any_grey_values_give_shares(grey, blur):
    shares_of(cutout_of(BALL, grey.astype(np.float32)), THREE.model_copy(update={"blur_voxels": blur}))


@pytest.mark.parametrize("spike", [3e38, -3e38, 1e30])
@pytest.mark.parametrize("blur", [None, 1.0])
def test_phases_stay_as_they_were_where_numbers_would_overflow(spike, blur):
    """Noise that refinement takes away stays, with a single voxel beside the particle that is out of all bounds."""
    known = {"background": {"grey": 20.0}, "noise": {"grey": 20.0}, "blur_voxels": blur}
    m, grey = materials_of(THREE.model_copy(update=known)), scanned(HALVES, 1.0, 20.0)
    labels, phases = BALL.astype(np.uint32), np.where(BALL, np.digitize(grey, (120, 185)), OUTSIDE).astype(np.int8)
    before, refined = phases.copy(), phases.copy()
    refine(labels, grey[np.newaxis], np.uint32(1), m, refined)
    assert np.mean(refined == 1) < 0.7 * np.mean(before == 1)  # what the test is about
    grey[3, 15, 15] = spike
    refine(labels, grey[np.newaxis], np.uint32(1), m, phases)
    assert np.array_equal(phases, before)


def test_an_image_that_overflows_leaves_the_others():
    grey, other = scanned(HALVES, 1.0, 5.0), scanned(HALVES, 1.0, 5.0)
    other[3, 15, 15] = 3e38
    both = phases_of(
        [f"{p.name}=grey:{i.low}:{i.high},high:{i.low}:{i.high}" for p in THREE.phases for i in p.intervals.values()]
    )
    known = both.model_copy(update={"background": {"grey": 20.0, "high": 20.0}})
    assert shares_of(cutout_of(BALL, grey, high=other), known)[0] == pytest.approx([0.5, 0, 0.5], abs=0.06)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e9])
def test_shares_do_not_depend_on_the_unit_of_grey_values(scale):
    phases = phases_of(
        [f"p{k}={low * scale}:{high * scale}" for k, (low, high) in enumerate([(55, 120), (120, 185), (185, 260)])]
    )
    grey = scanned(HALVES, 1.2, 10.0)
    expected = shares_of(cutout_of(BALL, grey))
    assert shares_of(cutout_of(BALL, (grey * scale).astype(np.float32)), phases) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f2", "f8", ">u2"])
def test_images_of_any_type_give_the_same(dtype):
    grey = np.rint(scanned(HALVES, 1.0, 5.0)).clip(0, 255)
    assert np.array_equal(shares_of(cutout_of(BALL, grey.astype(dtype))), shares_of(cutout_of(BALL, grey.astype("f4"))))


@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
def test_a_particle_with_a_gap_in_it_has_no_shares(gap):
    grey = scanned(HALVES)
    grey[15, 15, 15] = gap
    assert np.isnan(shares_of(cutout_of(BALL, grey))).all()


def test_particles_at_random():
    """Whatever labels and grey values there are, touching and with gaps outside: shares, or none where a gap is."""
    rng = np.random.default_rng(3)
    for _ in range(60):
        shape = tuple(rng.integers(5, 12, 3))
        labels = np.zeros(shape, np.uint32)
        labels[2:-2, 2:-2, 2:-2] = rng.integers(0, 3, np.array(shape) - 4)
        if not (ids := np.unique(labels[labels > 0])).size:
            continue
        low, high = (np.array([f(np.argwhere(labels == i), axis=0) for i in ids], np.int32) for f in (np.min, np.max))
        kinds = rng.choice([20.0, 90.0, 150.0, 220.0, np.nan, 1e20, -3e38, 3e38], 5)
        grey = np.where(labels > 0, rng.choice([90.0, 150.0, 220.0], shape), rng.choice(kinds, shape))
        cut = Cutout(labels, ids.astype(np.uint32), low, high, images={"grey": grey.astype(np.float32)})
        blur = rng.choice([None, 0.5, 1.5])
        assert not np.isnan(shares_of(cut, THREE.model_copy(update={"blur_voxels": blur}))).any()


PLACES = np.indices(BALL.shape) - BALL.shape[0] // 2
SHARP_BODIES = {
    "core": (PLACES**2).sum(axis=0) < 4**2,
    "shell": (PLACES**2).sum(axis=0) > 9.5**2,
    "half": PLACES[2] < 0,
    "cubes of two voxels": (PLACES % 7 < 2).all(axis=0),
    "layers of two voxels": PLACES[0] % 6 < 2,
}


@pytest.mark.parametrize("body", SHARP_BODIES)
@pytest.mark.parametrize("background", [0.0, 20.0])
@pytest.mark.parametrize("phases", [THREE, phases_of(("dark=55:150", "bright=150:260"))], ids=["three", "two"])
def test_phases_of_a_scan_without_blur_or_noise_are_those_of_its_voxels(body, background, phases):
    """What is sharp is not sharpened: overshoots would be taken for a brighter phase, or for a darker one."""
    bright = SHARP_BODIES[body]
    grey = np.where(BALL, np.where(bright, 220.0, 90.0), background).astype(np.float32)
    assert shares_of(cutout_of(BALL, grey), phases)[0, -1] == pytest.approx(bright[BALL].mean(), abs=0.05)


@pytest.mark.parametrize("blur", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("told", [True, False])
def test_a_scan_that_is_set_to_one_value_outside_of_particles_has_no_bright_rims(blur, told):
    """Nearly none where the blur inside is not told, which the surface does not show."""
    bright = SHARP_BODIES["core"]
    seen = np.where(BALL, scanned(np.where(bright, 220.0, 90.0), blur, 2.0), 0).astype(np.float32)
    phases = phases_of(("dark=55:150", "bright=150:260"), blur if told else None)
    expected = pytest.approx(bright[BALL].mean(), abs=0.015 if told else 0.06)
    assert shares_of(cutout_of(BALL, seen), phases)[0, 1] == expected
