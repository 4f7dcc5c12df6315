"""Size and shape of 500 irregular particles of a phantom, as other libraries measure them where definitions agree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
import trimesh
from scipy.ndimage import find_objects
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage.measure import regionprops
from skimage.morphology import convex_hull_image

from ps3d_core.morphology.ferets import extreme_ferets
from ps3d_core.morphology.hull import Hull, hull_of
from ps3d_core.morphology.inscribed import greatest_depth
from ps3d_core.morphology.measure import Morphology
from ps3d_core.morphology.rows import corner_candidates, rows_of
from ps3d_core.morphology.sieve import lookup, sieve_size
from ps3d_core.morphology.solid import solid_of
from ps3d_core.particles.whole import MARGIN, Cutout
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.render import render

COUNT = 500
LEAST_VOXELS = 30
EDGES = (0.5, 0.5, 0.5)


class Particles(NamedTuple):
    cutout: Cutout
    masks: list[npt.NDArray[np.bool_]]
    hulls: list[Hull]
    values: dict[str, npt.NDArray[np.float64]]


@pytest.fixture(scope="module")
def particles() -> Particles:
    """The first of a phantom of crushed and rounded, lumpy and rough particles."""
    params = PhantomParams(shape=(96, 112, 120), particle_size_voxels=10, seed=3, lumpiness=0.4, roughness_voxels=1.5)
    labels = np.pad(render(params)[1], MARGIN)
    boxes = {i + 1: box for i, box in enumerate(find_objects(labels)) if box}
    ids = [i for i, box in boxes.items() if (labels[box] == i).sum() >= LEAST_VOXELS][:COUNT]
    low = np.array([[side.start for side in boxes[i]] for i in ids], np.int32)
    high = np.array([[side.stop - 1 for side in boxes[i]] for i in ids], np.int32)
    cutout = Cutout(labels, np.array(ids, np.uint32), low, high, EDGES)
    masks = [labels[boxes[i]] == i for i in ids]
    nothing = np.zeros(3, np.int64)
    rows = [rows_of(mask.astype(np.uint8), 1, nothing, np.array(mask.shape) - 1) for mask in masks]
    return Particles(cutout, masks, [hull_of(corner_candidates(row)) for row in rows], Morphology().values(cutout))


def test_they_are_many_and_irregular(particles: Particles) -> None:
    assert len(particles.masks) == COUNT
    assert all(hull.rank == 3 for hull in particles.hulls)
    assert np.quantile(particles.values["solidity"], 0.1) < 0.95


def test_hull_volume_and_solidity_equal_those_of_scikit_image(particles: Particles) -> None:
    """Its hull of centres; `regionprops` takes that of the centres of faces, which is larger."""
    volume = np.prod(EDGES)
    for i, mask in enumerate(particles.masks):
        inside = convex_hull_image(mask, offset_coordinates=False).sum()
        assert particles.values["hull_volume_mm3"][i] == pytest.approx(inside * volume, rel=1e-12)
        assert particles.values["solidity"][i] == pytest.approx(mask.sum() / inside, rel=1e-12)


def test_hulls_of_regionprops_are_larger_by_known_bounds(particles: Particles) -> None:
    found = np.array([each.solidity for mask in particles.masks for each in regionprops(mask.astype(np.uint8))])
    ours = particles.values["solidity"]
    assert (found <= ours + 1e-12).all()
    assert np.median(ours - found) < 0.15


def test_hulls_equal_those_of_qhull(particles: Particles) -> None:
    for mask, hull in zip(particles.masks, particles.hulls, strict=True):
        peer = ConvexHull(np.argwhere(mask))
        a, b, c = (hull.points[hull.corners[:, i]].astype(float) for i in range(3))
        volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
        assert volume == pytest.approx(peer.volume, rel=1e-9)
        assert np.linalg.norm(hull.normals, axis=1).sum() / 2 == pytest.approx(peer.area, rel=1e-9)


def test_solids_are_the_convex_meshes_that_trimesh_finds(particles: Particles) -> None:
    for hull in particles.hulls[::5]:
        solid = solid_of(hull, np.ones(3))
        ours = trimesh.Trimesh(solid.points, solid.corners, process=False)
        peer = trimesh.convex.convex_hull(solid.points)
        assert ours.is_watertight
        assert ours.is_winding_consistent
        assert abs(ours.volume) == pytest.approx(peer.volume, rel=1e-6)
        assert ours.area == pytest.approx(peer.area, rel=1e-6)


def test_smallest_diameter_is_at_most_that_of_the_box_of_trimesh(particles: Particles) -> None:
    """The least box around a solid has a side as short as its least width only by chance, and never a shorter one."""
    for i, hull in enumerate(particles.hulls[:40]):
        solid = solid_of(hull, np.array(EDGES))
        sides = trimesh.bounds.oriented_bounds(solid.points)[1]
        least, hole = extreme_ferets(solid)[2], sieve_size(solid, lookup(), EDGES[0])[0]
        assert least - 1e-9 <= sides.min() <= 1.35 * least
        assert hole <= np.sort(sides)[1] + 0.05
        # The search for a hole is within 0.2 voxels of a long one, and the measure's is in another position.
        for name, of_solid, off in (("feret_min_mm", least, 1e-9), ("sieve_mm", hole, 0.2)):
            beyond = (particles.values[name][i] - of_solid) / EDGES[0]
            assert -off <= beyond < 1, name


def test_simpleitk_has_the_distance_of_centres_and_ours_goes_on_to_the_ends(particles: Particles) -> None:
    image = sitk.GetImageFromArray(particles.cutout.labels)
    image.SetSpacing(EDGES)
    stats = sitk.LabelShapeStatisticsImageFilter()
    stats.ComputeFeretDiameterOn()
    stats.Execute(image)
    beyond = []
    for i, (each, hull) in enumerate(zip(particles.cutout.ids.tolist(), particles.hulls, strict=True)):
        centres = pdist(hull.points[np.unique(hull.corners)] * EDGES).max()
        assert stats.GetFeretDiameter(each) == pytest.approx(centres, rel=1e-9)
        assert stats.GetNumberOfPixels(each) == particles.masks[i].sum()
        beyond.append((particles.values["feret_max_mm"][i] - centres) / EDGES[0])
    assert min(beyond) > 0.2
    # A sharp tip is farther out than the corner of its first voxel.
    assert max(beyond) < 2
    assert np.quantile(beyond, 0.98) < 3**0.5
    assert np.mean(beyond) == pytest.approx(0.86, abs=0.1)


def test_scikit_image_has_the_distance_of_faces_which_is_as_long_on_average(particles: Particles) -> None:
    """Its largest Feret diameter is between surfaces half a voxel outside of the centres in its hull."""
    some = slice(0, 60)
    peer = [each.feret_diameter_max for mask in particles.masks[some] for each in regionprops(mask.astype(np.uint8))]
    over = np.array(peer) - particles.values["feret_max_mm"][some] / EDGES[0]
    assert over.mean() == pytest.approx(0, abs=0.1)
    assert over.std() < 0.4


def test_depths_equal_the_distance_map_of_simpleitk_and_balls_are_as_large(particles: Particles) -> None:
    """The centre of a ball goes between voxels, and its ends are not at centres of voxels: a voxel either way."""
    for i in range(150):
        outside = sitk.GetImageFromArray(np.pad(~particles.masks[i], 1, constant_values=True).astype(np.uint8))
        deepest = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(outside, squaredDistance=False)).max()
        mask = particles.masks[i].astype(np.uint8)
        box = np.zeros(3, np.int64), np.array(mask.shape) - 1
        assert greatest_depth(mask, 1, *box, np.ones(3))[0] == pytest.approx(deepest, rel=1e-6)
        ball = particles.values["inscribed_diameter_mm"][i] / EDGES[0]
        assert 2 * deepest - 1.1 <= ball <= 2 * deepest + 0.8
