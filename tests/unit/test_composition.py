"""Phases of particles: known bodies, that mixed voxels are no phase, and against the truth of composed particles."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from composed_bodies import BALL, cutout_of, scanned
from scipy.ndimage import gaussian_filter

from ps3d_core.composition.files import read_phases, write_phases
from ps3d_core.composition.measure import Composition, ImageValues
from ps3d_core.composition.scene import scanned as scanned_of
from ps3d_core.composition.scene import taps_of
from ps3d_core.errors import InputError
from ps3d_core.invalid import made
from ps3d_core.params import MeasureParams
from ps3d_core.particles.whole import Cutout
from ps3d_core.phase_params import PhaseParams
from ps3d_core.phases import Phases, phase_of, phases_of
from ps3d_core.store.location import Location
from tests.composed import composed

THREE = phases_of(("dark=55:120", "middle=120:185", "bright=185:260"))
GREYS = (90.0, 150.0, 220.0)


def shares_of(values, phases=THREE):
    return np.stack([values[f"phase_{name}_share"] for name in phases.names], axis=1)


@pytest.mark.parametrize("blur", [0.5, 1.0, 1.5])
def test_the_shell_of_a_bright_ball_is_no_middle_phase(blur):
    grey = scanned(np.where(BALL, 220.0, 20.0), blur, noise=5.0)
    values = Composition(THREE).values(cutout_of(BALL, grey))
    thresholds = np.mean((grey[BALL] > 120) & (grey[BALL] <= 185))
    assert thresholds > 0.08  # what the test is about
    assert values["phase_bright_share"][0] == pytest.approx(1, abs=0.005)
    assert values["phase_bright_exposed"][0] == pytest.approx(1, abs=0.005)
    assert values["phase_middle_inclusions"][0] == 0


@pytest.mark.parametrize("noise", [0.0, 5.0, 20.0])
def test_a_middle_phase_is_found_where_there_is_one(noise):
    x = np.indices(BALL.shape)[2] - BALL.shape[2] // 2
    truth = np.where(BALL, np.select([x < -4, x < 3], [90.0, 150.0], 220.0), 20.0)
    values = Composition(THREE).values(cutout_of(BALL, scanned(truth, 0.8, noise)))
    expected = [np.mean(truth[BALL] == grey) for grey in GREYS]
    assert shares_of(values)[0] == pytest.approx(expected, abs=0.04)


def test_a_core_is_an_inclusion_and_not_exposed():
    place = np.indices(BALL.shape) - np.array(BALL.shape)[:, None, None, None] // 2
    core = (place**2).sum(axis=0) < 5**2
    values = Composition(THREE).values(cutout_of(BALL, scanned(np.where(core, 220.0, np.where(BALL, 90.0, 20.0)))))
    assert values["phase_bright_inclusions"][0] == 1
    assert values["phase_dark_inclusions"][0] == 0
    assert values["phase_bright_exposed"][0] == 0
    assert values["phase_bright_share"][0] == pytest.approx(core.sum() / BALL.sum(), abs=0.01)
    assert values["phase_middle_share"][0] < 0.01


def test_contacts_are_not_exposed():
    labels = np.zeros((14, 14, 26), np.uint32)
    labels[3:11, 3:11, 3:11], labels[3:11, 3:11, 11:19] = 1, 2
    grey = np.where(labels == 1, 90.0, np.where(labels == 2, 220.0, 20.0)).astype(np.float32)
    grey[3:11, 3:11, 9:11] = 150.0  # of particle 1, at the contact: its sides alone are exposed
    low, high = np.array([[3, 3, 3], [3, 3, 11]], np.int32), np.array([[10, 10, 10], [10, 10, 18]], np.int32)
    cut = Cutout(labels, np.array([1, 2], np.uint32), low, high, images={"grey": grey})
    exact = THREE.model_copy(update={"blur_voxels": 0.2, "noise": {"grey": 0.0}, "background": {"grey": 20.0}})
    values = Composition(exact).values(cut)
    assert values["phase_middle_exposed"][0] < 0.25  # with the contact it would be 0.33
    assert sum(values[f"phase_{name}_exposed"][0] for name in exact.names) == pytest.approx(1)
    assert values["phase_bright_exposed"].tolist() == [0, 1]


def test_values_do_not_depend_on_the_cutout():
    sample = composed(8, 12.0, (0, 1, 2), GREYS, seed=4)
    whole, measure = sample.cutout, Composition(THREE)
    together = measure.values(whole)
    for row in range(8):
        start, stop = whole.low[row] - 2, whole.high[row] + 3
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        alone = measure.values(
            Cutout(
                whole.labels[box],
                whole.ids[row : row + 1],
                whole.low[row : row + 1] - start,
                whole.high[row : row + 1] - start,
                images={"grey": whole.images["grey"][box]},
            )
        )
        assert all(np.array_equal(alone[name][0], together[name][row], equal_nan=True) for name in alone)


def test_nothing_farther_than_two_voxels_from_its_box_changes_a_particle():
    """Neighbours, grey values and gaps: whatever lies there, in a cutout of whatever extent."""
    rng = np.random.default_rng(8)
    sample = composed(4, 12.0, (0, 1, 2), GREYS, blur=1.2, noise=10.0, seed=4)
    cut, measure = sample.cutout, Composition(THREE)
    expected = measure.values(cut)
    for row in range(4):
        start, stop = cut.low[row] - 2, cut.high[row] + 3
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        for before, after in (((0, 3, 7), (5, 0, 1)), ((9, 1, 0), (0, 9, 4))):
            shape = tuple(np.array(before) + (stop - start) + after)
            own = tuple(slice(a, a + n) for a, n in zip(before, stop - start, strict=True))
            labels = rng.integers(0, 3, shape).astype(np.uint32) * 90
            grey = rng.choice([20.0, 90.0, 150.0, 220.0, np.nan], shape).astype(np.float32)
            labels[own], grey[own] = cut.labels[box], cut.images["grey"][box]
            low, high = (each[row : row + 1] - start + np.array(before, np.int32) for each in (cut.low, cut.high))
            ids = cut.ids[row : row + 1]
            found = measure.values(Cutout(labels, ids, low.astype("i4"), high.astype("i4"), images={"grey": grey}))
            assert all(np.array_equal(found[name][0], expected[name][row], equal_nan=True) for name in found)


@pytest.mark.parametrize(
    ("minerals", "blur", "noise", "diameter"),
    [
        ((0, 2), 0.8, 5.0, 18.0),
        ((0, 2), 1.0, 20.0, 18.0),
        ((0, 1, 2), 0.8, 10.0, 18.0),
        ((0, 1, 2), 1.0, 20.0, 18.0),
        ((0, 2), 1.5, 10.0, 24.0),
    ],
)
def test_composition_is_that_of_the_truth(minerals, blur, noise, diameter):
    """Modal composition within 2 points, 85 % of the particles within 5; thresholds are far from both."""
    sample = composed(20, diameter, minerals, GREYS, blur=blur, noise=noise, seed=7)
    shares = shares_of(Composition(THREE).values(sample.cutout))
    weights = sample.voxels / sample.voxels.sum()
    assert np.abs(weights @ (shares - sample.truth)).max() < 0.02
    assert np.mean(np.abs(shares - sample.truth).max(axis=1) <= 0.05) >= 0.85
    plain = np.mean(np.digitize(sample.grey[sample.labels > 0], [120, 185]) == 1)
    if 1 not in minerals:
        assert plain > 0.1
        assert weights @ shares[:, 1] < 0.01


@pytest.mark.parametrize("cover", [0.3, 0.7])
def test_labels_half_a_voxel_too_large_or_small_are_put_up_with(cover):
    sample = composed(12, 18.0, (0, 2), GREYS, blur=1.0, noise=5.0, seed=3, cover=cover)
    shares = shares_of(Composition(THREE).values(sample.cutout))
    off = np.abs(shares - sample.truth).max(axis=1)
    assert off.max() < 0.08
    assert np.mean(off) < 0.02


def test_where_intervals_end_far_from_any_grey_value_matters_little():
    grey = scanned(np.where(BALL, np.where(np.indices(BALL.shape)[2] < 15, 90.0, 220.0), 20.0), 1.2, noise=5.0)
    wide = phases_of(("dark=30:120", "middle=120:185", "bright=185:400"))
    near, far = (shares_of(Composition(phases).values(cutout_of(BALL, grey)))[0] for phases in (THREE, wide))
    assert far == pytest.approx(near, abs=0.03)


def test_a_scan_of_known_materials_is_blurred_like_any_image():
    states = np.random.default_rng(1).integers(0, 3, (9, 8, 7)).astype(np.int8)
    values = np.array([[0.0], [70.0], [200.0]], np.float32)
    scan = scanned_of(states, values, np.ones(states.shape, np.float32), taps_of(0.8**2))
    expected = gaussian_filter(values[states, 0], 0.8, mode="constant", radius=3)
    assert scan[0] == pytest.approx(expected, rel=1e-4)


def test_two_images_tell_apart_what_one_does_not():
    x = np.indices(BALL.shape)[2] - BALL.shape[2] // 2
    left = BALL & (x < 0)
    grey, high = scanned(np.where(BALL, 150.0, 20.0)), scanned(np.where(left, 60.0, np.where(BALL, 160.0, 10.0)))
    phases = phases_of(("light=grey:100:200,high:35:110", "heavy=grey:100:200,high:110:220"))
    assert phases.images == ("grey", "high")
    cut = cutout_of(BALL, grey, high=high)
    values = Composition(phases).values(cut)
    light = left.sum() / BALL.sum()
    assert shares_of(values, phases)[0] == pytest.approx([light, 1 - light], abs=0.03)
    found = ImageValues("high").values(cut)
    inside = high[BALL].astype(np.float64)
    expected = [inside.mean(), inside.std(), inside.min(), inside.max()]
    assert [found[f"high_grey_{kind}"][0] for kind in ("mean", "std", "min", "max")] == pytest.approx(expected)


def test_tiny_particles_have_a_phase():
    labels = np.zeros((7, 7, 7), np.uint32)
    labels[3, 3, 3:5] = 1
    low, high = np.array([[3, 3, 3]], np.int32), np.array([[3, 3, 4]], np.int32)
    cut = Cutout(labels, np.array([1], np.uint32), low, high, images={"grey": labels * 200.0})
    assert shares_of(Composition(THREE).values(cut))[0].sum() == 1


def test_a_measure_is_small_and_knows_its_columns():
    measure = Composition(THREE)
    assert pickle.loads(pickle.dumps(measure)) == measure
    assert [column.name for column in measure.columns][:3] == [f"phase_{name}_share" for name in THREE.names]
    assert {column.cost for column in measure.columns} == {"all"}
    assert measure.images == ("grey",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quartz", "NAME=LOW:HIGH"),
        ("quartz=5", "LOW:HIGH"),
        ("quartz=9:5", "below the second"),
        ("quartz=nan:5", "LOW:HIGH"),
        ("quartz=1:1e31", "at most 1e+30"),
        ("../x=1:2", "letters, digits"),
        ("=1+1=1:2", "LOW:HIGH"),
        ("=1:2", "letters, digits"),
        ("void=1:2", "mean something else"),
        ("a=grey:1:2,grey:3:4", "IMAGE:LOW:HIGH"),
        ("a" * 41 + "=1:2", "characters"),
    ],
)
def test_a_wrong_phase_is_refused(text, words):
    with pytest.raises(InputError) as caught:
        phase_of(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"phase": ("a=1:5", "b=4:9")}, "overlap"),
        ({"phase": ("a=1:5", "A=6:9")}, "named like phase 1, a"),
        ({"phase": ("a=1:5",), "find_phases": 2}, "phases are said twice, by intervals and by their number"),
        ({"phase": ("a=high:1:5",)}, "image high"),
        ({"images": ("grey=x.zarr",)}, "the scan itself"),
        ({"images": ("b=x.zarr", "B=y.zarr")}, "named like image 1, b"),
        ({"find_phases": 9}, "at most 8"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(values, words):
    with pytest.raises(InputError) as caught:
        made(PhaseParams, **values)
    assert words in str(caught.value)


def test_phases_come_back_from_their_file(tmp_path):
    file = Location.parse(tmp_path / "phases.json")
    write_phases(file, THREE)
    assert read_phases(file) == THREE
    assert PhaseParams(phases=read_phases(file), blur_voxels=0.7).stated() == Phases(
        phases=THREE.phases, blur_voxels=0.7
    )
    file.write_text('{"phases": []}')
    with pytest.raises(InputError, match="no phases"):
        read_phases(file)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"phase": ("a=1:5", "b=6:9"), "sizes": {"densities": {"a": 2.6}}}, "b has no density"),
        ({"phase": ("a=1:5",), "sizes": {"densities": {"a": 2.6, "c": 3}}}, "is no phase"),
        ({"sizes": {"densities": {"a": 2.6}}}, "but no phases"),
        ({"find_phases": 2, "sizes": {"densities": {"quartz": 2.6, "p1": 3}}}, "give one for each of p1, p2"),
        ({"find_phases": 2, "sizes": {"densities": {"p1": 2.6, "p2": 5, "p3": 4}}}, "phase p3 has a density"),
        ({"sizes": {"size": "sieve"}}, "take shape or all"),
    ],
)
def test_measures_that_do_not_fit_together_are_refused(values, words):
    with pytest.raises(InputError) as caught:
        made(MeasureParams, **values)
    assert words in str(caught.value)


def test_images_are_read():
    params = PhaseParams(phase=("a=1:5", "b=6:9"), images=("high=s3://x/y=z.zarr",))
    assert params.image_paths == {"high": "s3://x/y=z.zarr"}
    assert params.given
    assert not PhaseParams().given
