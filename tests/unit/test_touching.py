"""Where and how particles touch, and how densely they lie: against known bodies and packings, and counted by hand."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from labelled import rotation, stored, voronoi

from ps3d_core.contacts import per_particle, table
from ps3d_core.contacts.packing import Packing, merged_packing, packing_axis, packing_of
from ps3d_core.contacts.pair_counts import count_pairs_of
from ps3d_core.contacts.per_particle import ParticleContacts
from ps3d_core.contacts.profile import profiles_of, read_profiles, write_profiles
from ps3d_core.contacts.section import contacts_section
from ps3d_core.contacts.step import GivenContacts
from ps3d_core.contacts.table import contact_area, contact_centre, contact_normal
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context
from ps3d_core.errors import CorruptDataError, InputError
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Box
from ps3d_core.particles.surface import kinds_of_directions
from ps3d_core.particles.templating import rendered
from ps3d_core.region.inside import GridRegion
from ps3d_core.region.region import Cylinder, HalfSpace, Region
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, write_metadata

FORWARD = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
SMALL = hnp.arrays("u4", hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(0, 5))


@pytest.fixture
def root(tmp_path):
    return Location.parse(tmp_path)


def balls(centres, radius, shape, spacing=(1.0, 1.0, 1.0)):
    """Labels 1, 2, ... of balls; what lies in two goes to the nearer one."""
    labels, nearest = np.zeros(shape, np.uint32), np.full(shape, np.inf)
    at = np.stack(np.meshgrid(*(np.arange(n) * e for n, e in zip(shape, spacing, strict=True)), indexing="ij"), -1)
    for number, centre in enumerate(centres, 1):
        distance = np.linalg.norm(at - centre, axis=-1)
        own = (distance <= radius) & (distance < nearest)
        labels[own], nearest[own] = number, distance[own]
    return labels


def simple_cubic(d):
    return np.array(list(product(range(-1, 2), repeat=3)), float) * d


def face_centred(d):
    cells = np.array(list(product(range(-2, 3), repeat=3)), float)
    corners = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    centres = (cells[:, None] + corners).reshape(-1, 3) * d * np.sqrt(2)
    return centres[np.linalg.norm(centres, axis=1) < 1.6 * d]


def hexagonal(d):
    places = product(range(-2, 3), repeat=3)
    centres = np.array([(2 * i + (j + k) % 2, 3**0.5 * (j + k % 2 / 3), 24**0.5 / 3 * k) for i, j, k in places]) * d / 2
    return centres[np.linalg.norm(centres, axis=1) < 1.6 * d]


def made(root, labels, spacing=1.0, name="a", block_shape=None, region=None, context=None, origin=None):
    """What the step finds in these labels, and the step."""
    place = root / f"{name}.zarr"
    if not place.exists():
        create_image(place, labels.shape, "uint32", spacing=spacing, name="labels", label=True)[:] = labels
        if origin:
            write_metadata(place, [labels.shape], spacing=spacing, name="labels", label=True, origin=origin)
    step = GivenContacts(place, "x", spacing, root / name, root / f"{name}-work", region or Region(), block_shape)
    found = Engine(step.place, [step]).run_all(context or Context()).of(GivenContacts)
    return found, step


@given(SMALL)
def test_steps_and_places_are_those_counted_by_hand(labels):
    counts, padded = count_pairs_of(np.pad(labels, 1), start=(2, 3, 4)), np.pad(labels, 1)
    steps, places = defaultdict(lambda: np.zeros(3, int)), defaultdict(lambda: np.zeros(3, int))
    for at in np.ndindex(labels.shape):
        for step in FORWARD:
            one, other = int(labels[at]), int(padded[tuple(np.array(at) + step + 1)])
            if one and other and one != other:
                pair = min(one, other), max(one, other)
                steps[pair] += np.array(step) * (1 if one < other else -1)
                places[pair] += 2 * (np.array(at) + np.array([2, 3, 4])) + step
    pairs = list(zip(counts.lower.tolist(), counts.higher.tolist(), strict=True))
    assert pairs == sorted(steps)
    assert counts.steps.tolist() == [steps[pair].tolist() for pair in pairs]
    assert counts.places.tolist() == [places[pair].tolist() for pair in pairs]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0)])
@pytest.mark.parametrize("seed", range(3))
def test_two_balls_share_the_disc_of_their_neck(spacing, seed):
    radius, neck, normal = 20.0, 14.0, rotation(seed)[0]
    shape = tuple(int(84 / edge) for edge in spacing)
    middle = np.array([42.0, 42, 42]) + np.random.default_rng(seed).uniform(0, 1, 3)
    away = normal * np.sqrt(radius**2 - neck**2)
    labels = balls([middle - away, middle + away], radius, shape, spacing)
    counts = count_pairs_of(np.pad(labels, 1), kinds_of_directions(spacing))
    # Flat faces are off by what their direction says, more where voxels are no cubes.
    cubes = len(set(spacing)) == 1
    assert contact_area(counts.crossings, spacing) == pytest.approx([np.pi * neck**2], rel=0.08 if cubes else 0.2)
    turned = np.degrees(np.arccos(np.clip(contact_normal(counts, spacing)[0] @ normal, -1, 1)))
    assert turned < (1.5 if cubes else 3)
    assert np.linalg.norm(contact_centre(counts, spacing, (0, 0, 0))[0] - middle) < 0.5
    moved = contact_centre(counts, spacing, (1.0, 2.0, 3.0)) - contact_centre(counts, spacing, (0, 0, 0))
    assert moved == pytest.approx(np.array([[1, 2, 3]]))


def test_a_contact_on_all_sides_has_no_normal():
    labels = np.ones((7, 7, 7), np.uint32)
    labels[3, 3, 3] = 2
    counts = count_pairs_of(np.pad(labels, 1))
    assert np.isnan(contact_normal(counts, 1.0)).all()
    assert contact_centre(counts, 1.0, (0, 0, 0)).tolist() == [[3, 3, 3]]
    row = table.contact_rows(counts, 1.0, (0, 0, 0)).to_pylist()[0]
    assert (row["normal_z"], row["centre_x_mm"], row["faces"]) == (None, 3, 6)


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
@pytest.mark.parametrize(("packing", "touching"), [(simple_cubic, 6), (face_centred, 12), (hexagonal, 12)])
def test_coordination_of_known_packings(root, packing, touching, seed):
    d, turn = 13.0, np.eye(3) if seed is None else rotation(seed)
    side = int(3.4 * d)
    middle = side / 2 + np.random.default_rng(seed or 9).uniform(0, 1, 3)
    centres = packing(d) @ turn.T
    labels = balls(centres + middle, 1.03 * d / 2, (side,) * 3)  # those that touch have a small neck
    _, step = made(root, labels)
    centre = 1 + int(np.linalg.norm(centres, axis=1).argmin())
    of = ParticleContacts(step.outputs["contacts"]).of(np.arange(1, len(centres) + 1))
    assert of["coordination"][centre - 1] == touching
    rows = pq.read_table(step.outputs["contacts"].open_reading()).to_pandas()
    own = rows[((rows.label_a == centre) | (rows.label_b == centre)) & (rows.faces > 0)]
    towards = np.where(own.label_a == centre, own.label_b, own.label_a) - 1
    sign = np.where(own.label_a == centre, 1, -1)[:, None]
    normals = own[["normal_z", "normal_y", "normal_x"]].to_numpy() * sign
    assert (np.einsum("ij,ij->i", normals, centres[towards] / d) > np.cos(np.radians(12))).all()
    at = own[["centre_z_mm", "centre_y_mm", "centre_x_mm"]].to_numpy()
    assert np.abs(at - (middle + centres[towards] / 2)).max() < 0.9


def test_edges_and_corners_are_listed_and_not_counted(root):
    labels = np.zeros((4, 4, 6), np.uint32)
    labels[0, 0, 0], labels[0, 1, 1], labels[1, 2, 2], labels[1, 2, 3] = 1, 2, 3, 4
    _, step = made(root, labels)
    rows = pq.read_table(step.outputs["contacts"].open_reading()).to_pylist()
    assert [(row["label_a"], row["label_b"], row["faces"]) for row in rows] == [(1, 2, 0), (2, 3, 0), (3, 4, 1)]
    of = ParticleContacts(step.outputs["contacts"]).of(np.array([1, 2, 3, 4, 9]))
    assert of["coordination"].tolist() == [0, 0, 1, 1, 0]
    assert (of["contact_area_mm2"] > 0).tolist() == [True] * 4 + [False]


@pytest.mark.parametrize("rows", [5, 2**18])
def test_particles_have_the_contacts_that_name_them(root, monkeypatch, rows):
    monkeypatch.setattr("ps3d_core.contacts.step.ROWS", rows)
    labels = voronoi((20, 22, 24), 40, seed=1, filled=0.9)
    labels = np.where(labels > 20, labels * 100_000_000, labels).astype(np.uint32)  # as far apart as labels can be
    _, step = made(root, labels)
    listed = pq.read_table(step.outputs["contacts"].open_reading()).to_pylist()
    wanted = np.unique(labels)[1:]
    for at_once in (1, 7, 100):
        reader = ParticleContacts(step.outputs["contacts"])
        parts = [reader.of(wanted[first : first + at_once]) for first in range(0, len(wanted), at_once)]
        for label, count, area in zip(
            wanted,
            np.concatenate([part["coordination"] for part in parts]),
            np.concatenate([part["contact_area_mm2"] for part in parts]),
            strict=True,
        ):
            own = [row for row in listed if label in (row["label_a"], row["label_b"])]
            assert count == sum(row["faces"] > 0 for row in own)
            assert area == pytest.approx(sum(row["contact_area_mm2"] for row in own))
    with pytest.raises(InputError, match="must rise beyond"):
        reader.of(wanted[:1])
    assert {column.name for column in per_particle.COLUMNS} == {*parts[0]}
    assert {column.cost for column in per_particle.COLUMNS} == {"all"}


def test_a_file_that_is_no_table_of_contacts(root):
    (root / "contacts.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(CorruptDataError, match="segment or measure again"):
        ParticleContacts(root / "contacts.parquet")


REGIONS = [
    Region(),
    Region(cylinders=(Cylinder(kind="wall", centre=(9, 12), radius=8),)),
    Region(
        cylinders=(
            Cylinder(kind="field of view", centre=(11, 11), radius=14),
            Cylinder(kind="wall", centre=(20, 9), tilt=(0.1, -0.05), radius=9),
        ),
        planes=(HalfSpace(kind="wall", normal=(0.6, 0.8, 0.0), offset=21),),
        edges=(2.0, 1.5, 1.0),
    ),
]


@pytest.mark.parametrize("region", REGIONS, ids=["scan", "tube", "tilted"])
def test_packing_is_that_counted_voxel_by_voxel(region):
    labels = voronoi((13, 21, 25), 30, seed=3, filled=0.5)
    inside = GridRegion(region, labels.shape, labels.shape).inside(Box.of(labels.shape))
    axis = next((each for each in region.cylinders if each.kind == "wall"), None)
    assert packing_axis(region, labels.shape).centre == ((10, 12) if axis is None else axis.centre)
    rings = defaultdict(lambda: [0, 0])
    for z, y, x in zip(*np.nonzero(inside), strict=True):
        point, on_axis, along = np.array([z, y, x]) * region.edges, np.array([0.0, 10, 12]), np.array([1.0, 0, 0])
        if axis is not None:
            on_axis, along = np.array([0, *axis.centre]), np.array([1, *axis.tilt])
        ring = rings[int(np.linalg.norm(np.cross(point - on_axis, along)) / np.linalg.norm(along))]
        ring[0] += int(labels[z, y, x] > 0)
        ring[1] += 1
    found = []
    for block in ((13, 21, 25), (5, 6, 7)):
        boxes = [each.core for each in BlockGrid(labels.shape, block)]
        parts = [packing_of(labels[box.slices], box, region, labels.shape) for box in boxes]
        again = [Packing.from_arrays(part.to_arrays()) for part in parts]
        found.append(merged_packing(iter(again), labels.shape, region))
        assert (found[-1].slices == [((labels > 0) & inside).sum(axis=(1, 2)), inside.sum(axis=(1, 2))]).all()
        assert {k: column for k, column in enumerate(found[-1].rings.T.tolist()) if column[1]} == dict(rings)
    assert found[0].rings.shape == found[1].rings.shape


def test_packing_of_a_dense_packing_in_a_tube(root):
    d = 20.0
    side = int(2 * np.sqrt(2) * d)
    places = np.array(list(product(range(-1, 5), repeat=3)))
    lattice = places[places.sum(axis=1) % 2 == 0] * d / np.sqrt(2)  # face-centred
    labels = balls(lattice, d / 2, (side,) * 3)
    found, step = made(root, labels, spacing=0.5, origin=(3.0, 0.0, 0.0))
    assert found.packing_fraction == pytest.approx(np.pi / np.sqrt(18), abs=0.02)
    profiles = read_profiles(step.outputs["packing"])
    assert profiles.along_z.edges[[0, -1]].tolist() == [2.75, 2.75 + side / 2]
    assert profiles.along_z.volume.sum() == pytest.approx(found.region_mm3)
    assert profiles.along_radius.particles.sum() == pytest.approx(profiles.along_z.particles.sum())
    ring = profiles.along_radius.coarser(3)
    assert ring.fraction[0] == pytest.approx(0.74, abs=0.06)
    (root / "other.csv").write_text("profile,from_mm\nz,1\n")
    with pytest.raises(CorruptDataError, match="no profile of the packing"):
        read_profiles(root / "other.csv")


@pytest.mark.parametrize("runner", [Runner(), Runner(workers=3)])
def test_no_block_worker_or_store_shows(root, runner):
    labels = np.kron(voronoi((15, 14, 4), 30, seed=0, filled=0.8), np.ones((10, 10, 10), np.uint32))
    region = Region(cylinders=(Cylinder(kind="wall", centre=(70, 20), tilt=(0.05, 0), radius=60),))
    found, whole = made(root, labels, region=region, block_shape=labels.shape)
    context = Context(runner)
    memory = Location.parse(f"memory://touching-{runner.workers}")
    for place, name in ((root, "b"), (memory, "c")):
        others, parts = made(place, labels, name=name, region=region, block_shape=(64, 64, 64), context=context)
        assert others == found
        for part, file in parts.outputs.items():
            assert file.read_bytes() == whole.outputs[part].read_bytes()
    memory.remove_tree()


def test_labels_of_any_type_are_counted(root):
    labels = voronoi((16, 16, 16), 9, seed=4)
    _, ours = made(root, labels)
    stored(root / "int64.zarr", labels.astype(np.int64))
    step = GivenContacts(root / "int64.zarr", "x", 1.0, root / "int64", root / "int64-work")
    Engine(step.place, [step]).run_all(Context())
    assert step.outputs["contacts_csv"].read_bytes() == ours.outputs["contacts_csv"].read_bytes()
    assert step.outputs["contacts_csv"].read_text().splitlines()[0].split(",") == table.SCHEMA.names


def test_nothing_of_a_region_in_the_scan(root):
    region = Region(cylinders=(Cylinder(kind="given", centre=(500, 500), radius=3),))
    found, step = made(root, voronoi((8, 8, 8), 4, seed=0), region=region)
    assert (found.packing_fraction, found.region_mm3) == (None, 0)
    assert read_profiles(step.outputs["packing"]).whole is None
    section = contacts_section(np.zeros(0, int), np.zeros(0, bool), read_profiles(step.outputs["packing"]))
    assert "%" not in rendered("contacts.html.jinja", contacts=section)


def test_the_section_says_what_it_shows(root):
    packing = packing_of(voronoi((13, 21, 25), 30, seed=3), Box.of((13, 21, 25)), Region(), (13, 21, 25))
    profiles = profiles_of(packing, 0.01, (0, 0, 0))
    write_profiles(root / "packing.csv", profiles)
    assert read_profiles(root / "packing.csv").whole == profiles.whole
    coordination, cut = np.array([0, 3, 3, 5, 99, 7]), np.array([False] * 5 + [True])
    section = contacts_section(coordination, cut, profiles)
    assert (section["mean"], section["median"], section["most"], section["clipped"]) == (22, 3, 99, True)
    page = rendered("contacts.html.jinja", contacts=section)
    for text in ("coordination number", "position along z, mm", "distance from the axis, mm", "packing fraction"):
        assert text in page
    assert "3: 2 particles" in page
    assert "20.0 % touch none" in page
    assert "1 particles that are cut" in page
