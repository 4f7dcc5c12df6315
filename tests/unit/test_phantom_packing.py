import numpy as np
import pytest
from pydantic import ValidationError

from ps3d_core.errors import InputError
from ps3d_core.phantom.ellipsoids import ellipsoid_gap
from ps3d_core.phantom.packing import pack
from ps3d_core.phantom.params import FAMILIES, PhantomParams, Tube, Wall
from ps3d_core.phantom.render import Phantom, render
from ps3d_core.phantom.shapes import make_bank
from ps3d_core.phantom.variety import random_params


def test_the_arithmetic_mean_of_the_diameters_is_the_particle_size():
    """Of the list before it is cut to what is visible; measured on voxels for particles that lie wholly inside."""
    params = PhantomParams(shape=(90, 90, 90), particle_size_voxels=14.0, size_sigma=0.25, fill_fraction=0.4, seed=1)
    scene = Phantom(params).scene
    # what is visible is nearly the whole list: its mean is that of the list but for the far edge
    assert 2 * scene.packing.radius.mean() == pytest.approx(14.0, rel=0.02)
    _, labels = render(params)
    voxels = np.bincount(labels.ravel(), minlength=len(scene.packing.radius) + 1)[1:]
    reach = scene.packing.reach[:, None] * 1.1
    whole = np.all((scene.packing.centre > reach) & (scene.packing.centre < 89 - reach), axis=1)
    assert whole.sum() > 50
    measured = np.cbrt(voxels[whole] * 6 / np.pi)
    assert measured.mean() == pytest.approx(2 * scene.packing.radius[whole].mean(), rel=0.03)
    assert np.std(measured / (2 * scene.packing.radius[whole])) < 0.05


@pytest.mark.parametrize("angular", [0.0, 1.0])
def test_single_particles_have_their_volume(angular):
    params = PhantomParams(
        shape=(110, 110, 110),
        particle_size_voxels=18,
        fill_fraction=0.08,
        angular_fraction=angular,
        size_sigma=0,
        lumpiness=0,
        roughness_voxels=0,
        cohesion=0,
        contact=-0.2,
        seed=4,
    )
    scene = Phantom(params).scene
    _, labels = render(params)
    voxels = np.bincount(labels.ravel(), minlength=len(scene.packing.radius) + 1)[1:]
    reach = scene.packing.reach[:, None]
    whole = np.all((scene.packing.centre > reach) & (scene.packing.centre < 109 - reach), axis=1)
    assert whole.sum() >= 4
    np.testing.assert_allclose(np.cbrt(voxels[whole] * 6 / np.pi), 18.0, rtol=0.03)


def test_fill_fraction_is_reached_and_ids_ascend_along_z():
    params = PhantomParams(shape=(80, 80, 80), particle_size_voxels=12.0, fill_fraction=0.55, seed=2, gap_fraction=0.0)
    _, labels = render(params)
    assert np.mean(labels > 0) == pytest.approx(0.53, abs=0.05)
    assert np.all(np.diff(Phantom(params).scene.packing.centre[:, 0]) >= 0)


def test_dense_particles_touch_without_swallowing_each_other():
    params = PhantomParams(shape=(80, 80, 80), particle_size_voxels=12.0, fill_fraction=0.58, seed=3)
    scene = Phantom(params).scene
    _, labels = render(params)
    voxels = np.bincount(labels.ravel(), minlength=len(scene.packing.radius) + 1)[1:]
    reach = scene.packing.reach[:, None]
    whole = np.all((scene.packing.centre > reach) & (scene.packing.centre < 79 - reach), axis=1)
    kept = voxels[whole] / (4 / 3 * np.pi * scene.packing.radius[whole] ** 3)
    assert kept.min() > 0.6


def test_a_sparse_phantom_still_has_a_particle_list():
    params = PhantomParams(shape=(4, 4, 4), particle_size_voxels=100.0, fill_fraction=0.005)
    assert len(pack(params, make_bank(params)).radius) <= 1


def test_too_many_particles_and_a_tube_elsewhere_are_refused():
    params = PhantomParams(shape=(20_000, 20_000, 20_000), particle_size_voxels=3.0)
    with pytest.raises(InputError, match="larger particle size or a smaller shape"):
        pack(params, make_bank(PhantomParams(shape=(1, 1, 1))))
    tube = Tube(radius_voxels=10.0, centre_offset_voxels=(500.0, 0.0))
    params = PhantomParams(shape=(20, 20, 20), tube=tube)
    with pytest.raises(InputError, match="give a smaller offset"):
        pack(params, make_bank(params))


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (0, 4, 4)},
        {"facets": (3, 9)},
        {"facets": (9, 7)},
        {"gradient": (2.0, 0.0, 0.0)},
        {"grey_range": (5.0, 5.0)},
        {"noise": float("nan")},
        {"ghost_shift": (0, 33, 0)},
        {"tube": {"radius_voxels": 9.0, "tilt": (0.0, 1.5)}},
        {"walls": ({"normal": (0.0, 0.0, 0.0), "offset_voxels": 1.0},)},
        {"unknown": 1},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        PhantomParams(**({"shape": (4, 4, 4)} | wrong))


def test_families_differ_and_are_valid_for_many_seeds():
    drawn = [
        random_params(seed, (64, 80, 72), size, family)
        for seed in range(60)
        for family in FAMILIES
        for size in (8.0, 30.0)
    ]
    assert len({p.model_dump_json() for p in drawn}) == len(drawn)
    assert {p.dtype for p in drawn} == {"uint8", "uint16", "float32"}
    assert {p.tube is None for p in drawn} == {True, False}
    assert {p.fov_radius_voxels is None for p in drawn} == {True, False}
    for p in drawn:
        assert min(m.grey for m in p.minerals) > p.background_grey >= p.air_grey


def kept_shares(params):
    """Volume that each particle has / volume that it was drawn with, of those that lie wholly inside."""
    scene = Phantom(params).scene
    _, labels = render(params)
    voxels = np.bincount(labels.ravel(), minlength=len(scene.packing.radius) + 1)[1:]
    reach = scene.packing.reach[:, None]
    whole = np.all((scene.packing.centre > reach) & (scene.packing.centre < np.array(params.shape) - 1 - reach), axis=1)
    return voxels[whole] / (4 / 3 * np.pi * scene.packing.radius[whole] ** 3)


@pytest.mark.parametrize("seed", [9101, 9104])
def test_a_dem_packing_is_dense_and_its_particles_whole(seed):
    params = random_params(seed, (80, 80, 80), 14.0, "dem")
    _, labels = render(params)
    assert np.mean(labels[8:-8, 8:-8, 8:-8] > 0) > 0.52
    assert kept_shares(params).min() > 0.9
    for face in (labels[0], labels[-1], labels[:, 0], labels[:, -1], labels[..., 0], labels[..., -1]):
        assert not face.any()


def test_a_third_of_the_wide_family_is_close_packed_and_nothing_is_missing():
    drawn = [random_params(seed, (96, 96, 96), 20.0, "wide") for seed in range(300)]
    packed = [p for p in drawn if p.relaxation_steps == 160]
    assert len(packed) / len(drawn) == pytest.approx(0.35, abs=0.08)
    assert all(p.fill_fraction >= 0.55 for p in packed)
    shares = {
        "walls": np.mean([bool(p.walls) for p in drawn]),
        "tilted": np.mean([p.tube is not None and any(p.tube.tilt) for p in drawn]),
        "thick": np.mean([any(w.wall_voxels > 30 for w in (p.tube, *p.walls) if w) for p in drawn]),
        "inside": np.mean([not (p.tube or p.walls or p.fov_radius_voxels) for p in drawn]),
        "necks": np.mean([p.neck_fraction > 0 for p in drawn]),
        "long or flat": np.mean([p.contact_model == "ellipsoids" for p in drawn]),
        "streaks": np.mean([p.streaks > 0 for p in drawn]),
        "motion": np.mean([p.ghost > 0 for p in drawn]),
        "coarse noise": np.mean([p.noise_correlation_voxels > 1.6 for p in drawn]),
    }
    assert min(shares.values()) > 0.05, shares


def test_gaps_between_ellipsoids():
    ball, plate = np.eye(3) / 2.0, np.diag([1 / 1.0, 1 / 4.0, 1 / 4.0])
    np.testing.assert_allclose(ellipsoid_gap(ball, ball, (0.0, 3.0, 4.0)), (1.0, 0.0, 0.6, 0.8), atol=1e-3)
    # plates side by side touch at twice their long axis, one upon the other at twice their short one
    np.testing.assert_allclose(ellipsoid_gap(plate, plate, (0.0, 9.0, 0.0)), (1.0, 0.0, 1.0, 0.0), atol=1e-3)
    np.testing.assert_allclose(ellipsoid_gap(plate, plate, (1.5, 0.0, 0.0)), (-0.5, 1.0, 0.0, 0.0), atol=1e-3)
    # a plate beside a ball: what holds is the side that faces it
    np.testing.assert_allclose(ellipsoid_gap(ball, plate, (-3.0, 0.0, 0.0))[0], 0.0, atol=1e-3)


def test_needles_hardly_cut_each_other():
    params = PhantomParams(
        shape=(80, 80, 80), particle_size_voxels=12.0, size_sigma=0.1, fill_fraction=0.3, elongation=6.0, flatness=1.2,
        least_aspect=0.8, angular_fraction=0.0, rounded_cuts=0, contact=0.0, cohesion=0.0, gap_fraction=0.0,
        relaxation_steps=80, lumpiness=0.0, seed=1,
    )  # fmt: skip
    on_lines = kept_shares(params)
    as_ellipsoids = kept_shares(params.model_copy(update={"contact_model": "ellipsoids"}))
    assert np.percentile(as_ellipsoids, 5) > 0.9
    assert np.percentile(on_lines, 5) < np.percentile(as_ellipsoids, 5)


def test_walls_that_leave_less_room_hold_fewer_particles():
    wall = Wall(normal=(0.0, 1.0, 1.0), offset_voxels=0.0)
    free = PhantomParams(shape=(60, 60, 60), particle_size_voxels=10.0, fill_fraction=0.4, seed=1)
    _, labels = render(free.model_copy(update={"walls": (wall,)}))
    y, x = np.mgrid[:60, :60, :60][1:]
    side = (y - 29.5) + (x - 29.5)
    assert not labels[side > 0].any()
    assert np.mean(labels[side < -12] > 0) == pytest.approx(0.4, abs=0.07)
