"""Size and shape of whole particles: exact parts against direct computation, the measure on bodies that are known."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import distance_transform_edt, label
from scipy.optimize import linprog, minimize
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from skimage.morphology import convex_hull_image

from ps3d_core.errors import InputError
from ps3d_core.geometry.spacing import relative_spacing
from ps3d_core.morphology.caps import length_along, width_along
from ps3d_core.morphology.columns import COLUMNS
from ps3d_core.morphology.ferets import extreme_ferets, feret_along, largest_across
from ps3d_core.morphology.hull import MOST, Hull, hull_of
from ps3d_core.morphology.inscribed import greatest_depth, inscribed_diameter
from ps3d_core.morphology.lattice import voxels_in
from ps3d_core.morphology.measure import Morphology, shape_of
from ps3d_core.morphology.pores import closed_pores
from ps3d_core.morphology.rows import Rows, corner_candidates, rows_of
from ps3d_core.morphology.sieve import lookup, sieve_size
from ps3d_core.morphology.solid import Solid, solid_of
from ps3d_core.particles.whole import MARGIN, Cutout
from tests.bodies.body import BODIES, random_turn

Mask = npt.NDArray[np.bool_]
ONE = 1
CUBE = np.ones(3)
WORDS = {each.name for each in COLUMNS}


def box_of(mask: Mask) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    at = np.argwhere(mask)
    return at.min(axis=0), at.max(axis=0)


def rows(mask: Mask) -> Rows:
    return rows_of(mask.astype(np.uint8), ONE, *box_of(mask))


def hull(mask: Mask) -> Hull:
    return hull_of(corner_candidates(rows(mask)))


def solid(mask: Mask, edges: npt.NDArray[np.float64] = CUBE) -> Solid:
    return solid_of(hull(mask), edges)


def random_masks(count: int, side: int, seed: int) -> list[Mask]:
    """Clouds of voxels in boxes of all proportions, among them lines, planes and single voxels."""
    rng = np.random.default_rng(seed)
    masks = [rng.random(rng.integers(1, side, 3)) < rng.choice([0.04, 0.2, 0.7]) for _ in range(count)]
    return [mask for mask in masks if mask.any()]


def ball(radius: float, centre: tuple[float, float, float] = (0.2, -0.1, 0.4)) -> Mask:
    reach = int(radius) + 2
    at = np.indices((2 * reach + 1,) * 3) - reach - np.reshape(centre, (3, 1, 1, 1))
    return np.asarray((at**2).sum(axis=0) <= radius**2)


def in_hull(points: npt.NDArray[np.int64], corners: npt.NDArray[np.int64]) -> int:
    """How many points are mixtures of the corners, by linear programming."""
    rows = np.vstack([corners.T, np.ones(len(corners))])
    return sum(linprog(np.zeros(len(corners)), A_eq=rows, b_eq=np.append(p, 1)).status == 0 for p in points)


def test_hull_holds_the_voxels_that_scikit_image_finds_in_it() -> None:
    solids = [mask for mask in (*random_masks(250, 9, 1), ball(8.3)) if hull(mask).rank == 3]
    assert len(solids) > 100
    for mask in solids:
        assert voxels_in(hull(mask)) == convex_hull_image(mask, offset_coordinates=False).sum()


def test_flat_hulls_hold_what_linear_programming_finds_in_them() -> None:
    seen = set()
    for mask in [mask for mask in random_masks(120, 6, 2) if hull(mask).rank < 3]:
        found = hull(mask)
        seen.add(found.rank)
        low, high = box_of(mask)
        box = np.argwhere(np.ones(high - low + 1))
        assert voxels_in(found) == in_hull(box, found.points[found.polygon]), mask
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("seed", range(3))
def test_hull_is_closed_and_has_all_points_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Coarse coordinates, so that many points share planes and lines.
    points = np.unique(rng.integers(0, 5 + 40 * seed, (300, 3)), axis=0)
    found = hull_of(points)
    corners, across = found.corners, found.across
    for f in range(len(corners)):
        assert found.normals[f].any()
        assert ((points - points[corners[f, 0]]) @ found.normals[f] <= 0).all()
        for e in range(3):
            edge = {corners[f, e], corners[f, (e + 1) % 3]}
            assert edge <= set(corners[across[f, e]])
    assert len(corners) == 2 * len(np.unique(corners)) - 4


def test_hull_is_closed_where_its_first_face_is_vast() -> None:
    """Of the plane that comes first in order: products of its normals go beyond 64 bits."""
    found = hull(np.ones((2, 700, 700), bool))
    far = hull_of(np.array([[0, 0, 0], [0, 0, MOST], [0, MOST, 0], [0, MOST, MOST], [9, 5, 7]]))
    for each in (found, far):
        assert ((each.points - each.points[each.corners[:, :1]]) @ each.normals[:, :, None] <= 0).all()
    assert shape_of(np.ones((60, 70, 80)))["feret_max_mm"] == pytest.approx(np.sqrt(14900), abs=0.5)


POSITIONS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def in_position(array: npt.NDArray[Any], axes: tuple[int, ...], signs: tuple[int, ...]) -> npt.NDArray[Any]:
    return array.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]


def irregular() -> list[Mask]:
    """Clouds of 2 voxels and more, bodies of all kinds, hollow and notched ones among them, and one voxel."""
    rng = np.random.default_rng(20)
    bodies = [body.voxels(7, random_turn(rng), rng.uniform(-0.5, 0.5, 3)) for body in BODIES]
    few = [np.isin(np.arange(27), rng.permutation(27)[:n]).reshape(3, 3, 3) for n in (2, 3, 4, 5, 5)]
    masks = [*bodies, *few, *random_masks(12, 8, 21), np.ones((1, 1, 1), bool), np.ones((2, 4, 4), bool)]
    boxes = [box_of(mask) for mask in masks]
    return [m[tuple(map(slice, low, high + 1))] for m, (low, high) in zip(masks, boxes, strict=True)]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 1.3), (0.02, 0.01, 0.013)])
def test_values_are_the_same_in_all_positions(spacing: tuple[float, float, float]) -> None:
    """To the last bit; directions, of which bodies with a symmetry have several, are those of one of the positions."""
    for mask in irregular():
        first = shape_of(mask, spacing)
        symmetric = sum(np.array_equal(mask, in_position(mask, *each)) for each in POSITIONS) > 1
        for axes, signs in POSITIONS:
            found = shape_of(in_position(mask, axes, signs), tuple(spacing[axis] for axis in axes))
            for name, value in first.items():
                assert name[-2:] in ("_z", "_y", "_x") or found[name] == value, name
            for name in ("feret_max", "feret_min"):
                there = np.array([first[f"{name}_{a}"] for a in "zyx"])[list(axes)] * signs
                here = np.array([found[f"{name}_{a}"] for a in "zyx"])
                assert symmetric or abs(here @ there) == pytest.approx(1, abs=1e-12), name


def narrowest(of: Solid) -> float:
    """Least width over normals of all facets and of all pairs of edges."""
    edges = {tuple(sorted((f[i], f[(i + 1) % 3]))) for f in of.corners for i in range(3)}
    along = np.array([of.points[b] - of.points[a] for a, b in edges])
    normals = np.array([np.cross(a, b) for a, b in combinations(along, 2)])
    length = np.linalg.norm(normals, axis=1)
    normals = np.vstack([normals[length > 1e-9] / length[length > 1e-9, None], of.normals])
    heights = of.points @ normals.T
    return float((heights.max(axis=0) - heights.min(axis=0)).min())


@pytest.mark.parametrize("edges", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.6)])
def test_extreme_diameters_are_those_of_all_pairs(edges: tuple[float, float, float]) -> None:
    for mask in [*random_masks(30, 7, 3), ball(2.6)]:
        of = solid(mask, np.array(edges))
        largest, along, least, across = extreme_ferets(of)
        apart = of.points[:, None] - of.points
        assert largest == pytest.approx(np.sqrt((apart**2).sum(axis=2)).max())
        assert least == pytest.approx(narrowest(of))
        assert feret_along(of, along) == pytest.approx(largest)
        assert feret_along(of, across) == pytest.approx(least)


def test_a_tetrahedron_is_narrowest_between_two_edges() -> None:
    corners = np.array([[0, 0, 0], [0, 90, 90], [90, 0, 90], [90, 90, 0]])
    found = hull_of(corners)
    unit = found.normals / np.linalg.norm(found.normals, axis=1)[:, None]
    of = Solid(corners.astype(float), found.corners, found.across, unit, 90.0)
    assert extreme_ferets(of)[2] == pytest.approx(90)
    assert extreme_ferets(of)[0] == pytest.approx(90 * 2**0.5)


def test_largest_diameter_across_is_that_of_the_shadow() -> None:
    for mask in random_masks(20, 9, 5):
        of = solid(mask)
        axis = np.array([2.0, -1.0, 2.0]) / 3
        found, direction = largest_across(of, axis)
        flat = of.points - np.outer(of.points @ axis, axis)
        assert found == pytest.approx(np.sqrt(((flat[:, None] - flat) ** 2).sum(axis=2)).max())
        assert abs(direction @ axis) < 1e-9
        assert feret_along(of, direction) == pytest.approx(found)


def smallest_hole(points: npt.NDArray[np.float64], rng: np.random.Generator) -> float:
    """Side of the smallest square hole by many starts of a search that knows nothing."""
    turns = Rotation.random(1500, rng)

    def side(turn: Rotation) -> npt.NDArray[np.float64]:
        shadow = np.einsum("...ij,pj->...pi", turn.as_matrix()[..., :2, :], points)
        return np.asarray((shadow.max(axis=-2) - shadow.min(axis=-2)).max(axis=-1))

    best = np.argsort(side(turns))[:5]
    simplex = np.vstack([np.zeros(3), 0.1 * np.eye(3)])
    return min(
        float(
            minimize(
                lambda v, start=turns[int(i)]: side(start * Rotation.from_rotvec(v)),
                np.zeros(3),
                method="Nelder-Mead",
                options={"initial_simplex": simplex, "xatol": 1e-4, "fatol": 1e-4},
            ).fun
        )
        for i in best
    )


def test_sieve_size_is_that_of_a_long_search() -> None:
    rng, table = np.random.default_rng(7), lookup()
    bodies = [*random_masks(12, 12, 8), ball(4.2), np.ones((4, 9, 15), bool), np.ones((2, 14, 15), bool)]
    off = np.array([sieve_size(of, table, 1.0)[0] - smallest_hole(of.points, rng) for of in map(solid, bodies)])
    assert off.max() < 0.1
    assert off.mean() < 0.03


@pytest.mark.parametrize("edges", [(1.0, 1.0, 1.0), (1.7, 0.8, 0.7)])
def test_depth_is_the_maximum_of_the_distance_transform(edges: tuple[float, float, float]) -> None:
    for mask in [*random_masks(40, 12, 9), ball(7.7)]:
        depth, place = greatest_depth(mask.astype(np.uint8), ONE, *box_of(mask), np.array(edges))
        distances = distance_transform_edt(np.pad(mask, 1), sampling=edges)
        assert depth == pytest.approx(distances.max())
        assert distances[tuple(np.array(place) + box_of(mask)[0] + 1)] == pytest.approx(depth)


def largest_ball(mask: Mask, edges: npt.NDArray[np.float64]) -> float:
    """Radius of the largest ball, with its centre on a fine grid, that holds no centre of a voxel outside."""
    pad = np.ceil(12 / edges).astype(int)
    outside = np.argwhere(~np.pad(mask, [(n, n) for n in pad])) - pad
    fine = [np.arange(-0.5, n, min(0.5, 0.2 / edge)) for n, edge in zip(mask.shape, edges, strict=True)]
    centres = np.stack(np.meshgrid(*fine, indexing="ij"), axis=-1).reshape(-1, 3)
    return float(cKDTree(outside * edges).query(centres * edges)[0].max())


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (20.0, 1.0, 1.0), (1.0, 1.0, 20.0)])
def test_no_ball_is_larger_than_the_largest_without_a_voxel_from_outside(spacing: tuple[float, float, float]) -> None:
    edges = np.array(relative_spacing(spacing))
    for radius in (2.5, 5.4):
        at = np.indices(2 * np.ceil(radius / edges).astype(int) + 2) - np.ceil(radius / edges).reshape(3, 1, 1, 1)
        mask = (((at - 0.3) * edges.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) <= radius**2
        low, high = box_of(mask)
        mask = mask[tuple(map(slice, low, high + 1))]
        found = inscribed_diameter(mask.astype(np.uint8), ONE, low - low, high - low, edges)
        assert found <= 2 * largest_ball(mask, edges) + 0.05


def test_pores_are_the_parts_of_background_that_faces_do_not_lead_out_of() -> None:
    rng = np.random.default_rng(10)
    found_some = 0
    for _ in range(60):
        labels = rng.choice(np.array([0, 1, 2], np.uint8), rng.integers(3, 10, 3), p=[0.22, 0.7, 0.08])
        parts, _ = label(np.pad(labels != 1, 1, constant_values=True))
        parts = parts[1:-1, 1:-1, 1:-1]
        closed = (parts > 1) & (labels == 0)
        low, _ = box_of(labels == 1)
        found = closed_pores(labels, low, rows_of(labels, ONE, *box_of(labels == 1)))
        assert found == (len(np.unique(parts[closed])), closed.sum())
        found_some += found[0]
    assert found_some > 60


def test_an_open_notch_is_no_pore_though_a_neighbour_shuts_it() -> None:
    labels = np.zeros((7, 7, 7), np.uint8)
    labels[1:6, 1:6, 1:6] = 1
    labels[3, 3, 3:6] = 0
    labels[3, 3, 5] = 2
    assert closed_pores(labels, np.ones(3, np.int64), rows_of(labels, ONE, *box_of(labels == 1))) == (0, 0)
    labels[3, 3, 5] = 1
    assert closed_pores(labels, np.ones(3, np.int64), rows_of(labels, ONE, *box_of(labels == 1))) == (1, 2)


def test_a_voxel_a_line_and_a_plane_are_boxes() -> None:
    voxel, line, plane = shape_of(np.ones((1, 1, 1))), shape_of(np.ones((1, 1, 7))), shape_of(np.ones((6, 1, 7)))
    assert voxel["feret_max_mm"] == pytest.approx(3**0.5)
    assert (voxel["feret_min_mm"], line["feret_min_mm"], plane["feret_min_mm"]) == pytest.approx((1, 1, 1))
    assert line["feret_max_mm"] == pytest.approx(51**0.5)
    assert plane["feret_max_mm"] == pytest.approx(86**0.5)
    assert line["sieve_mm"] == pytest.approx(1, abs=0.05)
    assert (plane["feret_min_z"], plane["feret_min_y"], plane["feret_min_x"]) == pytest.approx((0, 1, 0))
    assert [each["solidity"] for each in (voxel, line, plane)] == [1, 1, 1]
    assert 0 < voxel["inscribed_diameter_mm"] <= 1


def test_a_hollow_box_has_the_values_of_one() -> None:
    mask = np.ones((12, 16, 24), bool)
    mask[4:8, 5:10, 6:11] = False
    found = shape_of(mask, 0.5)
    assert found["feret_min_mm"] == pytest.approx(6, abs=0.3)
    assert found["sieve_mm"] == pytest.approx(8, abs=0.35)
    assert found["feret_max_mm"] == pytest.approx(0.5 * np.sqrt(12**2 + 16**2 + 24**2), abs=0.4)
    assert found["hull_volume_mm3"] == pytest.approx(12 * 16 * 24 / 8)
    assert found["solidity"] == pytest.approx(1 - 100 / (12 * 16 * 24))
    assert (found["pores"], found["pore_volume_mm3"]) == (1, pytest.approx(12.5))


def test_directions_of_a_sieve_size_are_those_it_is_the_width_along() -> None:
    for of in map(solid, random_masks(12, 12, 17)):
        size, sides = sieve_size(of, lookup(), 1.0)
        assert max(feret_along(of, each) for each in sides) == pytest.approx(size)
        assert sides @ sides.T == pytest.approx(np.eye(2))


def cut_rows(faces: npt.NDArray[np.float64], place: npt.NDArray[np.float64], length: float) -> Rows:
    """Rows of a body from a corner of three planes at a place to another at a length along z, or to a face."""
    at = np.stack(np.meshgrid(np.arange(16), *(np.arange(-14, 15),) * 2, indexing="ij"), axis=-1) - place
    inside = (at @ faces.T >= 0).all(axis=-1)
    if length:
        inside &= (([length, 0, 0] - at) @ faces.T >= 0).all(axis=-1)
    return rows(inside)


@pytest.mark.parametrize("slope", [0.8, 1.2])
def test_ends_are_found_beyond_the_first_voxels(slope: float) -> None:
    """On average over places, corner to corner and corner to a face, which is half a voxel beyond its last plane."""
    rng, along = np.random.default_rng(18), np.array([1.0, 0.0, 0.0])
    angles = 0.3 + np.arange(3) * 2 * np.pi / 3
    faces = np.stack([np.ones(3), slope * np.sin(angles), slope * np.cos(angles)], axis=1)
    corners, face = [], []
    for _ in range(60):
        place = rng.uniform(0, 1, 3)
        of = cut_rows(faces, place, 14.0)
        corners.append([length_along(of, along, CUBE, 9.0) - 14, width_along(of, along, CUBE, 9.0) - 14])
        face.append(width_along(cut_rows(faces, place, 0.0), along, CUBE, 9.0) - (15.5 - place[0]))
    length, width = np.mean(corners, axis=0)
    # Of several tips the largest diameter goes to those that happen to be far out: a single one is longer than that.
    assert width - 0.6 < length < width < 0.1
    assert abs(width) < 0.35
    assert np.std(corners, axis=0).max() < 0.45
    assert abs(np.mean(face)) < 0.2


@pytest.mark.parametrize("edges", [(1.0, 1.0, 1.0), (2.0, 0.5, 1.0), (0.5, 2.0, 1.0)])
def test_a_box_along_the_grid_is_as_wide_as_its_voxels(edges: tuple[float, float, float]) -> None:
    found = rows(np.ones((9, 11, 10), bool))
    for axis in range(3):
        width = width_along(found, np.eye(3)[axis], np.array(edges), 10.0)
        assert width == pytest.approx(found_side(found, axis) * edges[axis], abs=0.35 * edges[axis])


def test_a_lone_voxel_on_a_face_is_no_tip() -> None:
    mask = np.ones((10, 30, 30), bool)
    for height in (1, 2, 3, 4):
        mask = np.concatenate([np.zeros((1, 30, 30), bool), mask])
        mask[0, 15, 15] = True
        between = mask.shape[0] - 1
        for f in (length_along, width_along):
            assert between < f(rows(mask), np.array([1.0, 0.0, 0.0]), CUBE, 10.0) < between + 3, height


def found_side(of: Rows, axis: int) -> int:
    return (*of.first.shape, int(of.last.max()) + 1)[axis]


@pytest.mark.parametrize("edges", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.5)])
def test_the_ends_of_a_ball_are_found_in_any_direction(edges: tuple[float, float, float]) -> None:
    """Nearer than those of the solid, which is thinnest where the outermost planes of voxels are far inside."""
    rng, off, thin = np.random.default_rng(19), [], []
    at = np.stack(
        np.meshgrid(*(np.arange(-s, s + 1) * e for s, e in zip((6, 12, 24), edges, strict=True)), indexing="ij")
    )
    for _ in range(40):
        centre = rng.uniform(-0.5, 0.5, 3) * edges
        mask = ((at - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) <= 10.4**2 / 4
        of = solid(mask, np.array(edges))
        least, across = extreme_ferets(of)[2:]
        thin.append(least - 10.4)
        off.append(max(least, width_along(rows(mask), across, np.array(edges), least)) - 10.4)
    assert 0.9 * np.mean(thin) < np.mean(off) < 0


def test_a_flat_box_passes_a_square_hole_across_its_corners() -> None:
    assert shape_of(np.ones((4, 20, 30)))["sieve_mm"] == pytest.approx(24 / 2**0.5, abs=0.7)


def test_voxels_that_are_no_cubes_measure_the_same_body() -> None:
    """An ellipsoid that slices twice as far apart make of a ball, and the ball."""
    at = np.stack(np.meshgrid(np.arange(-8, 9) * 2, *(np.arange(-16, 17),) * 2, indexing="ij"))
    found = shape_of((at**2).sum(axis=0) <= 15.2**2, (0.02, 0.01, 0.01))
    for name in ("feret_max_mm", "feret_max90_mm", "feret_third_mm", "feret_min_mm", "sieve_mm"):
        assert found[name] == pytest.approx(0.304, abs=0.013), name
    assert found["inscribed_diameter_mm"] == pytest.approx(0.304, abs=0.013)
    assert found["hull_volume_mm3"] == pytest.approx(np.pi / 6 * 0.304**3, rel=0.02)


def test_values_do_not_depend_on_the_unit_of_length() -> None:
    mask = random_masks(1, 12, 12)[0]
    metres, thousandths = shape_of(mask, (0.003, 0.001, 0.002)), shape_of(mask, (3.0, 1.0, 2.0))
    for name, value in metres.items():
        power = 3 if name.endswith("mm3") else 1 if name.endswith("mm") else 0
        assert value == pytest.approx(thousandths[name] / 1000**power, rel=1e-9), name


def test_order_of_diameters() -> None:
    """To the last bit, also of lines and planes of voxels that lie askew."""
    z, y, _ = np.indices((21, 21, 21))
    corners = np.zeros((40, 40, 40), bool)
    corners[0, 0, 0] = corners[-1, -1, -1] = True
    for mask in [*random_masks(60, 10, 13), ball(1.2), ball(5.1), z == y, corners]:
        found = shape_of(mask)
        assert found["feret_max_mm"] >= found["feret_max90_mm"] >= found["feret_third_mm"] >= found["feret_min_mm"]
        assert found["feret_max90_mm"] >= found["sieve_mm"] >= found["feret_min_mm"]
        assert 0 < found["inscribed_diameter_mm"] <= found["feret_min_mm"]
        assert 0 < found["solidity"] <= 1
        for name in ("feret_max", "feret_min"):
            along = np.array([found[f"{name}_{a}"] for a in "zyx"])
            assert np.linalg.norm(along) == pytest.approx(1)
            assert along[np.nonzero(along)[0][0]] > 0


def cutout_of(bodies: list[tuple[Mask, tuple[int, int, int]]], shape: tuple[int, int, int]) -> Cutout:
    labels = np.zeros(shape, np.uint32)
    for i, (mask, at) in enumerate(bodies):
        labels[tuple(slice(a, a + s) for a, s in zip(at, mask.shape, strict=True))][mask] = 10 * i + 7
    ids = np.unique(labels[labels > 0])
    boxes = [box_of(labels == i) for i in ids]
    low, high = (np.array([b[k] for b in boxes], np.int32) for k in (0, 1))
    return Cutout(labels, ids, low, high, (1.0, 2.0, 1.0))


def test_a_particle_is_measured_without_its_neighbours() -> None:
    first, second = ball(4.4), ball(3.7, (0.3, 0.3, 0))
    together = cutout_of([(first, (3, 3, 3)), (second, (10, 6, 7))], (24, 22, 24))
    found = Morphology().values(together)
    assert set(found) == WORDS
    for i, each in enumerate(together.ids):
        alone = np.where(together.labels == each, together.labels, 0)
        one = replace(together, labels=alone, ids=together.ids[i : i + 1], low=together.low[i : i + 1],
                      high=together.high[i : i + 1])  # fmt: skip
        margin = tuple(slice(a - MARGIN, b + MARGIN + 1) for a, b in zip(one.low[0], one.high[0], strict=True))
        shift = one.low[0] - MARGIN
        small = replace(one, labels=np.ascontiguousarray(alone[margin]), low=one.low - shift, high=one.high - shift)
        for name, values in Morphology().values(small).items():
            assert values[0] == found[name][i], name
            assert values.dtype == found[name].dtype == (np.int64 if name == "pores" else np.float64)


def test_a_cutout_without_particles_has_no_values() -> None:
    none = np.empty((0, 3), np.int32)
    found = Morphology().values(Cutout(np.zeros((5, 5, 5), np.uint32), np.empty(0, np.uint32), none, none))
    assert {len(values) for values in found.values()} == {0}


@pytest.mark.parametrize("mask", [np.zeros((3, 3, 3)), np.ones((3, 3))])
def test_what_is_no_particle_is_refused(mask: npt.NDArray[np.float64]) -> None:
    with pytest.raises(InputError, match="give one particle"):
        shape_of(mask)
