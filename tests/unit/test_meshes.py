"""Meshes: closed, with the volume and the place of the voxels, as an independent reader (trimesh) finds them."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from labelled import ellipsoid, rotation, voronoi

import ps3d_core as ps3d
from ps3d_app.flows.command.cli import main
from ps3d_core.errors import CorruptDataError, InputError
from ps3d_core.measuring.measure import measure_particles
from ps3d_core.meshing import formats, write
from ps3d_core.meshing.mesh import Mesh, surface_of
from ps3d_core.particles import cutouts
from ps3d_core.particles.overlay import label_colours
from ps3d_core.record import RunRecord, write_record
from ps3d_core.store.layout import RUN
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, write_metadata
from ps3d_core.store.ownership import MARK
from ps3d_core.store.publishing import is_published

SPACING = (0.02, 0.01, 0.015)
ORIGIN = (1.0, -2.0, 3.0)


def solids() -> dict[str, np.ndarray]:
    """Particles that meshes may get wrong."""
    hollow = ellipsoid((9, 9, 9), margin=0)
    hollow[5:14, 5:14, 5:14] &= ~ellipsoid((4, 4, 4), margin=0)
    return {
        "voxel": np.ones((1, 1, 1), bool),
        "corner to corner": np.eye(2, dtype=bool)[None],
        "seven voxels": ellipsoid((1, 1, 1)),
        "ball": ellipsoid((8, 8, 8)),
        "cut": ellipsoid((8, 8, 8), margin=0)[:9],
        "disc": ellipsoid((0.6, 9, 9)),
        "rod": ellipsoid((1, 1, 12), rotation(1)),
        "hollow": hollow,
        "rubble": np.random.default_rng(0).random((9, 9, 9)) < 0.4,
    }


SOLIDS = solids()


def read(surface):
    """A surface as trimesh has it."""
    return trimesh.Trimesh(surface.vertices[:, ::-1], surface.faces, process=True)


def in_mm(mask):
    return mask.sum() * np.prod(SPACING)


@pytest.fixture
def root(tmp_path):
    return Location.parse(tmp_path)


@pytest.fixture(scope="module")
def labels():
    """Touching particles, some cut by the faces of the scan, in a volume with gaps among the labels."""
    found = voronoi((40, 36, 44), 14, seed=2, filled=0.7)
    found[found == 3] = 0
    return np.where(found > 7, found + 90, found).astype(np.uint32)


@pytest.fixture
def image(root, labels):
    place = root / "labels.zarr"
    create_image(place, labels.shape, "uint32", spacing=SPACING, name="labels", label=True)[:] = labels
    write_metadata(place, [labels.shape], spacing=SPACING, name="labels", label=True, origin=ORIGIN)
    return place


@pytest.mark.parametrize("smoothing", [0.0, 0.8, 2.0])
@pytest.mark.parametrize("name", SOLIDS)
def test_a_surface_is_closed_and_holds_its_voxels(name, smoothing):
    mask = SOLIDS[name]
    mesh = read(surface_of(mask, float(mask.sum()), smoothing))
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(mask.sum(), rel=0.006)


@settings(max_examples=40)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)), st.sampled_from([0.0, 0.5, 0.8]))
def test_any_voxels_have_a_closed_surface(mask, smoothing):
    mask[0, 0, 0] = True
    mesh = read(surface_of(mask, float(mask.sum()), smoothing))
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(mask.sum(), rel=0.006)


def test_a_ball_is_where_it_is_and_as_round_as_it_was():
    mask = ellipsoid((8, 8, 8))
    surface = surface_of(mask, float(mask.sum()))
    distance = np.linalg.norm(surface.vertices - (np.array(mask.shape) - 1) / 2, axis=1)
    assert 7.5 < distance.min() < distance.max() < 8.5
    rough = surface_of(mask, float(mask.sum()), 0)
    assert distance.std() < np.linalg.norm(rough.vertices - (np.array(mask.shape) - 1) / 2, axis=1).std() / 2


@pytest.mark.parametrize("form", ["stl", "ply", "glb"])
def test_each_particle_is_a_file_that_others_read(root, labels, image, form):
    made = ps3d.meshes(str(image), root / "out", params=ps3d.MeshParams(format=form))
    names = sorted(file for file in (root / "out").children() if file.endswith(form))
    assert names == sorted(f"{label}.{form}" for label in np.unique(labels)[1:])
    assert made.particles == len(names)
    for label in np.unique(labels)[1:].tolist():
        mesh = trimesh.load(str(root / "out" / f"{label}.{form}"), force="mesh")
        mask = labels == label
        assert mesh.is_watertight
        assert mesh.volume == pytest.approx(in_mm(mask), rel=0.01)
        where = [
            axis.mean() * edge + start for axis, edge, start in zip(np.nonzero(mask), SPACING, ORIGIN, strict=True)
        ]
        assert mesh.center_mass == pytest.approx(where[::-1], abs=0.001)
    about = (root / "out" / write.ABOUT).read_json()
    assert (about[MARK], about["unit"], about["axes"]) == (ps3d.__version__, "mm", "x, y, z")


@pytest.mark.parametrize("form", ["stl", "ply", "glb"])
def test_a_bundle_holds_all_of_them(root, labels, image, form):
    one = root / f"all.{form}"
    made = ps3d.meshes(str(image), one, params=ps3d.MeshParams(format=form, bundle=True))
    whole = trimesh.load(str(one), force="mesh")
    assert (len(whole.faces), whole.is_watertight) == (made.triangles, True)
    assert whole.volume == pytest.approx(in_mm(labels > 0), rel=0.01)
    if form == "glb":
        scene = trimesh.load(str(one))
        assert {int(name) for name in scene.geometry} == {*np.unique(labels).tolist()} - {0}
        assert scene.geometry["2"].volume == pytest.approx(in_mm(labels == 2), rel=0.01)
        length, kind = struct.unpack("<I4s", one.read_bytes()[12:20])
        content = json.loads(one.read_bytes()[20 : 20 + length])
        assert (kind, content["asset"]["version"], len(one.read_bytes()) % 4) == (b"JSON", "2.0", 0)
    if form == "ply":
        own = whole.metadata["_ply_raw"]["vertex"]["data"]
        at = own["label"] == 99
        assert {tuple(row) for row in whole.visual.vertex_colors[at, :3].tolist()} == {
            tuple(label_colours(np.array(99)).tolist())
        }


@pytest.mark.parametrize("label", [0, -2, 2**32 + 2, 2**70, 2.5])
def test_numbers_that_no_label_has(root, image, label):
    with pytest.raises(InputError, match=rf"no particle has label {str(label)[:20]}; there are 13"):
        ps3d.meshes(str(image), root / "some", labels=[2, label])
    assert not (root / "some").exists()


def test_some_particles(root, image):
    ps3d.meshes(str(image), root / "some", labels=[5, 2, 5])
    assert {*(root / "some").children()} >= {"2.stl", "5.stl", "meshes.json"}
    assert len((root / "some").children()) == 3
    with pytest.raises(
        InputError, match=r"labels\.zarr: no particle has label 3, 77; there are 13, from 1 to 104; choose"
    ):
        ps3d.meshes(str(image), root / "none", labels=[5, 77, 3])
    assert not (root / "none").exists()


def test_bytes_do_not_depend_on_the_store(root, image):
    place = Location.parse("memory://test-meshes/out")
    ps3d.meshes(str(image), root / "out", labels=[1, 2])
    ps3d.meshes(str(image), place, labels=[1, 2])
    assert sorted(place.children()) == sorted((root / "out").children())
    assert (place / "2.stl").read_bytes() == (root / "out" / "2.stl").read_bytes()
    place.remove_tree()


def test_what_ps3d_did_not_make_stays(root, image):
    params = ps3d.MeshParams(overwrite=True)
    for name in ("out/mine.stl", "out/7.stl.bak"):
        (root / name).write_bytes(b"mine")
        with pytest.raises(InputError, match="holds what ps3d did not make"):
            ps3d.meshes(str(image), root / "out", labels=[1], params=params)
        assert (root / name).read_bytes() == b"mine"
        (root / name).remove_tree()
    (root / "mine.stl").write_bytes(b"mine")
    with pytest.raises(InputError, match="holds what ps3d did not make"):
        ps3d.meshes(str(image), root / "mine.stl", labels=[1], params=ps3d.MeshParams(bundle=True, overwrite=True))
    with pytest.raises(InputError, match="lies inside the input"):
        ps3d.meshes(str(image), image / "meshes", labels=[1])


def test_meshes_are_replaced_as_a_whole_and_only_when_told(root, image):
    ps3d.meshes(str(image), root / "out", labels=[1, 2])
    with pytest.raises(InputError, match="already exists"):
        ps3d.meshes(str(image), root / "out", labels=[4])
    ps3d.meshes(str(image), root / "out", labels=[4], params=ps3d.MeshParams(overwrite=True))
    assert sorted((root / "out").children()) == ["4.stl", "meshes.json"]


def test_a_large_particle_is_looked_at_in_steps(root, monkeypatch):
    monkeypatch.setattr(cutouts, "MOST_VOXELS", 60**3 // 8)
    mask = ellipsoid((32, 30, 34), margin=1)
    place = root / "labels.zarr"
    create_image(place, mask.shape, "uint8", spacing=0.01, name="labels", label=True)[:] = mask
    made = ps3d.meshes(str(place), root / "out")
    mesh = trimesh.load(str(root / "out" / "1.stl"))
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(mask.sum() * 1e-6, rel=0.006)
    assert mesh.center_mass == pytest.approx([(n - 1) / 2 * 0.01 for n in mask.shape[::-1]], abs=0.01)
    assert made.triangles < 20_000


@pytest.mark.parametrize(
    ("form", "limit"), [("stl", "MOST_TRIANGLES"), ("ply", "MOST_VERTICES"), ("glb", "MOST_BYTES")]
)
def test_what_a_format_cannot_hold_is_refused(root, image, monkeypatch, form, limit):
    monkeypatch.setattr(formats, limit, 3000)
    with pytest.raises(InputError, match="more"):
        ps3d.meshes(str(image), root / f"all.{form}", params=ps3d.MeshParams(format=form, bundle=True))
    assert not (root / f"all.{form}").exists()


def test_volume_of_a_mesh():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32)
    mesh = Mesh(vertices, faces, (1.0, 2.0, 3.0), 7)
    assert mesh.volume == pytest.approx(1 / 6)
    assert mesh.placed[0].tolist() == [1, 2, 3]


def test_labels_without_particles(root):
    create_image(root / "labels.zarr", (4, 5, 6), "uint32", spacing=0.01, name="labels", label=True)[:] = 0
    with pytest.raises(InputError, match="no particles"):
        ps3d.meshes(str(root / "labels.zarr"), root / "out")


@pytest.fixture
def result(root, labels):
    """The folder of a result: what a segmentation leaves of it that meshes need."""
    place = root / "results" / "ore"
    create_image(place / "ore.zarr", labels.shape, "uint32", spacing=SPACING, name="ore", label=True)[:] = labels
    measure_particles(place / "ore.zarr", place, spacing=SPACING, work=root / "work")
    nothing = {"fingerprint": "x", "finished": "now", "software": {}, "input": {}, "model": {}, "grids": {}}
    rest = {"counts": {"particles": 13}, "seconds": {}, "results": {}}
    write_record(place / RUN, RunRecord(scan="ore", parameters=ps3d.SegmentParams(), **nothing, **rest))
    return place


def test_the_command_writes_beside_a_result(root, result, labels, capsys):
    assert main(["meshes", str(result), "--labels", "1", "99"]) == 0
    assert sorted((result / "meshes").children()) == ["1.stl", "99.stl", "meshes.json"]
    assert "2 particles" in capsys.readouterr().out
    assert main(["meshes", str(result), "--all", "--bundle", "--format", "glb", "--smooth", "0"]) == 0
    assert len(trimesh.load(str(result / "meshes.glb")).geometry) == 13
    assert is_published(result / "meshes.glb")
    capsys.readouterr()
    assert main(["meshes", str(result), "--all"]) == 2
    assert "meshes: already exists; replace it with --overwrite, or choose another OUTPUT" in capsys.readouterr().err
    assert main(["meshes", str(result), str(root / "other"), "--labels", "12345"]) == 2
    said = capsys.readouterr().err
    assert "no particle has label 12345; there are 13, from 1 to 104; choose other --labels" in said
    assert said.count("\n") == 1
    assert main(["meshes", str(result), "x", "--all", "--spacing", "0.01"]) == 2
    assert "a result, which knows its spacing; leave out --spacing" in capsys.readouterr().err


def test_the_command_writes_other_labels_into_the_current_folder(root, image, monkeypatch, capsys):
    monkeypatch.chdir(root.local_path)
    assert main(["meshes", "labels.zarr", "--labels", "2", "--format", "ply"]) == 0
    assert sorted((root / "labels-meshes").children()) == ["2.ply", "meshes.json"]
    assert f"at {root / 'labels-meshes'}" in capsys.readouterr().out


def test_a_damaged_result(root, result, labels):
    (result / "ore.zarr").remove_tree()
    other = np.zeros_like(labels)
    create_image(result / "ore.zarr", labels.shape, "uint32", spacing=SPACING, name="ore", label=True)[:] = other
    with pytest.raises(CorruptDataError, match="label 1: the image has nothing of it"):
        ps3d.meshes(str(result), root / "out")
    assert not (root / "out").exists()
    (result / "particles.parquet").write_bytes(b"no table")
    with pytest.raises(CorruptDataError, match="not a Parquet file"):
        ps3d.meshes(str(result), root / "out")
