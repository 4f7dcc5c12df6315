import numpy as np
import pytest
from pydantic import ValidationError

from ps3d_core.errors import InputError
from ps3d_core.phantom.packing import pack
from ps3d_core.phantom.params import PhantomParams, Tube
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
        for family in ("training", "held-out")
        for size in (8.0, 30.0)
    ]
    assert len({p.model_dump_json() for p in drawn}) == len(drawn)
    assert {p.dtype for p in drawn} == {"uint8", "uint16", "float32"}
    assert {p.tube is None for p in drawn} == {True, False}
    assert {p.fov_radius_voxels is None for p in drawn} == {True, False}
    for p in drawn:
        assert min(m.grey for m in p.minerals) > p.background_grey >= p.air_grey
