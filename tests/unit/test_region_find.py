"""Surroundings of a sample: what is found, beside the geometry that the phantom was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.phantom.params import PhantomParams, Tube, Wall
from ps3d_core.phantom.region import wall_planes
from ps3d_core.phantom.render import render
from ps3d_core.region.find import found_region
from ps3d_core.region.inside import GridRegion
from ps3d_core.region.region import Region
from ps3d_core.store.arrays import write_box
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image

SHAPE: Shape = (80, 96, 100)

PHANTOMS: dict[str, dict[str, Any]] = {
    "tube": {"tube": Tube(radius_voxels=36, wall_voxels=6, centre_offset_voxels=(3, -4), tilt=(0.08, -0.05))},
    "dark tube": {"tube": Tube(radius_voxels=36, wall_voxels=6, grey=0.0), "background_grey": 0.25, "air_grey": 0.15},
    "tube as bright as the particles": {"tube": Tube(radius_voxels=38, wall_voxels=4, grey=0.6)},
    "tube in a field of view": {
        "tube": Tube(radius_voxels=34, wall_voxels=6, grey=1.2),
        "fov_radius_voxels": 47,
        "axis_offset_voxels": (1.5, -2),
    },
    "one side of a wide tube": {"tube": Tube(radius_voxels=70, wall_voxels=8, centre_offset_voxels=(-45, 0))},
    "few particles in a tube": {"tube": Tube(radius_voxels=36, wall_voxels=6), "fill_fraction": 0.08},
    "noise and streaks": {"tube": Tube(radius_voxels=36, wall_voxels=7), "noise": 0.1, "streaks": 0.2, "cupping": 0.3},
    "field of view": {"fov_radius_voxels": 44},
    "floor": {"walls": (Wall(normal=(-1, 0.05, 0.1), offset_voxels=25, grey=0.7),)},
    "two walls that are not square": {
        "walls": (
            Wall(normal=(0.6, 1, -0.7), offset_voxels=20, wall_voxels=6, grey=1.0),
            Wall(normal=(0, -1, 0), offset_voxels=38, wall_voxels=6, grey=1.0),
        )
    },
    "tube with a floor": {
        "tube": Tube(radius_voxels=36, wall_voxels=6),
        "walls": (Wall(normal=(1, 0, 0), offset_voxels=25),),
    },
    "box": {
        "walls": tuple(
            Wall(normal=normal, offset_voxels=33, wall_voxels=5, grey=0.9)
            for normal in ((0, 1, 0.1), (0, -1, -0.1), (0, -0.1, 1), (0, 0.1, -1))
        )
    },
}


def params_of(name: str) -> PhantomParams:
    return PhantomParams(shape=SHAPE, particle_size_voxels=14, seed=2, **PHANTOMS.get(name, {}))


def true_inside(params: PhantomParams) -> npt.NDArray[np.bool_]:
    """What lies within tube, walls and field of view, by the phantom's parameters alone."""
    z, y, x = np.meshgrid(*map(np.arange, params.shape), indexing="ij", sparse=True)
    inside = np.ones(params.shape, np.bool_)
    if (tube := params.tube) is not None:
        from_middle = z - params.centre[0]
        dy = y - params.tube_axis[0] - tube.tilt[0] * from_middle
        dx = x - params.tube_axis[1] - tube.tilt[1] * from_middle
        along = (dy * tube.tilt[0] + dx * tube.tilt[1]) ** 2 / (1 + tube.tilt[0] ** 2 + tube.tilt[1] ** 2)
        inside &= dy**2 + dx**2 - along <= tube.radius_voxels**2
    for plane in wall_planes(params):
        inside &= plane[0] * z + plane[1] * y + plane[2] * x <= plane[3]
    if params.fov_radius_voxels is not None:
        inside &= np.hypot(y - params.axis[0], x - params.axis[1]) <= params.fov_radius_voxels
    return inside


def found_in(folder: Path, grey: npt.NDArray[Any]) -> Region:
    place = Location.parse(folder / "scan.zarr")
    shape: Shape = grey.shape
    write_box(create_image(place, shape, grey.dtype, spacing=0.01, name="scan"), Box.of(shape), grey)
    return found_region(place)


@pytest.mark.parametrize("name", PHANTOMS)
def test_the_inside_is_exact_to_a_quarter_of_a_voxel(name: str, tmp_path: Path) -> None:
    params = params_of(name)
    grey, labels = render(params)
    region = found_in(tmp_path, grey)
    found, true = GridRegion(region, SHAPE, SHAPE).inside(Box.of(SHAPE)), true_inside(params)
    # A quarter of a voxel along the whole face of a tube of radius 36 is 1.4 % of its inside, and as much room is left.
    assert (found & ~true).sum() < 0.03 * true.sum(), region.text
    assert (true & ~found).sum() < 0.014 * true.sum(), region.text
    particles = labels > 0
    assert (particles & ~found).sum() < 0.001 * particles.sum()
    expected = (params.tube is not None) + (params.fov_radius_voxels is not None)
    assert len(region.cylinders) == expected
    assert len(region.planes) == len(params.walls)


@pytest.mark.parametrize(
    "changed", [{}, {"fill_fraction": 0.05}, {"elongation": 5, "flatness": 3, "least_aspect": 0.7}]
)
def test_without_surroundings_the_region_is_everything(changed: dict[str, Any], tmp_path: Path) -> None:
    grey, _ = render(params_of("nothing").model_copy(update=changed))
    assert found_in(tmp_path, grey) == Region()


@pytest.mark.parametrize("grey", [np.zeros((20, 20, 20), np.uint8), np.arange(60, dtype=np.uint16).reshape(1, 6, 10)])
def test_scans_with_nothing_in_them_have_no_surroundings(grey: npt.NDArray[Any], tmp_path: Path) -> None:
    assert found_in(tmp_path, grey) == Region()


def box_around(spot: npt.NDArray[np.float64]) -> Box:
    z, y, x = map(int, spot - 9)
    return Box((z, y, x), (z + 19, y + 19, x + 19))


def test_a_scan_larger_than_the_coarse_level_is_measured_by_its_own_voxels(tmp_path: Path) -> None:
    shape: Shape = (24, 400, 380)
    y, x = np.ogrid[: shape[1], : shape[2]]
    grey = np.random.default_rng(3).normal(20, 2, shape)
    spots = np.random.default_rng(4).uniform([2, 40, 30], [22, 360, 350], (900, 3))
    for spot in spots:
        box = box_around(spot).intersect(Box.of(shape))
        distance = sum((axis - at) ** 2 for axis, at in zip(np.ogrid[box.slices], spot, strict=True))
        grey[box.slices][distance < 80] = 90
    radius = np.hypot(y - 203.3, x - 187.6)
    grey[:, radius > 151.4] = 140
    grey[:, radius > 163.0] = 10
    region = found_in(tmp_path, (grey + np.random.default_rng(5).normal(0, 2, shape)).clip(0, 255).astype(np.uint8))
    (tube,) = region.cylinders
    assert tube.radius == pytest.approx(151.4, abs=0.5)
    assert tube.centre == pytest.approx((203.3, 187.6), abs=0.5)
