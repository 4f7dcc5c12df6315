"""The truth of what a phantom's particles are made of agrees with the image that it is painted by."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from scipy.ndimage import find_objects

from ps3d_core.composition.find import found_phases
from ps3d_core.composition.interiors import counted
from ps3d_core.composition.measure import Composition
from ps3d_core.geometry.boxes import Box
from ps3d_core.particles.whole import Cutout
from ps3d_core.phantom.composition import material_names, material_shares, write_composition
from ps3d_core.phantom.params import Mineral, PhantomParams
from ps3d_core.phantom.render import Phantom
from ps3d_core.phantom.write import write_phantom
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

PLAIN = {
    "shape": (40, 40, 40),
    "particle_size_voxels": 14.0,
    "seed": 5,
    "dtype": "float32",
    "minerals": (Mineral(grey=0.4, texture=0.0), Mineral(grey=0.8, texture=0.0)),
    "grey_variation": 0.0,
    "composite_fraction": 0.6,
    "inclusion_fraction": 0.0,
    "pore_fraction": 0.0,
    "crack_fraction": 0.0,
    "background_grey": 0.1,
    "blur_voxels": 0.0,
    "noise": 0.0,
}


def test_shares_make_the_image():
    """Without texture, blur and noise a voxel is the mean of its materials: checked where the two minerals differ."""
    params = PhantomParams(**PLAIN)
    phantom, box = Phantom(params), Box.of(params.shape)
    image, _ = phantom.render(box)
    first, second, inclusion = material_shares(phantom, box)
    assert inclusion.max() == 0
    expected = 0.4 * first + 0.8 * second + 0.1 * (1 - first - second)
    # A second mineral that is the same as the first has up to 18 % another grey value.
    same = np.abs(image - expected) <= 0.18 * 0.8 + 1e-5
    assert same.all()
    assert np.mean(np.abs(image - expected) < 1e-5) > 0.8


def test_shares_do_not_depend_on_the_box():
    phantom = Phantom(PhantomParams(**PLAIN | {"inclusion_fraction": 1.0, "crack_fraction": 0.5}))
    whole = material_shares(phantom, Box.of((40, 40, 40)))
    part = Box((5, 11, 0), (27, 40, 19))
    assert np.array_equal(material_shares(phantom, part), whole[(slice(None), *part.slices)])
    assert whole.sum(axis=0).max() <= 1 + 1e-6
    assert whole[2].max() > 0.5


def test_the_table_has_every_particle(tmp_path):
    params, root = PhantomParams(**PLAIN | {"inclusion_fraction": 0.5}), Location.parse(tmp_path)
    particles = write_phantom(params, root, "ore")
    dataset = Dataset(root)
    write_composition(Phantom(params), dataset.truth("ore"), dataset.composition("ore"))
    rows = list(csv.DictReader(io.StringIO(dataset.composition("ore").read_text())))
    assert [int(row["label"]) for row in rows] == list(range(1, particles + 1))
    for row in rows:
        shares = [float(row[f"{name}_share"]) for name in material_names(params)]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert {row["mineral_1_share"] for row in rows} > {"0.000000", "1.000000"}


def test_a_measured_composition_is_the_truth(tmp_path):
    """Found phases and shares of touching particles of two minerals, with texture, inclusions, blur and noise."""
    params = PhantomParams(
        shape=(72, 72, 72),
        particle_size_voxels=20.0,
        seed=3,
        minerals=(Mineral(grey=0.45), Mineral(grey=0.85)),
        composite_fraction=0.5,
    )
    root = Location.parse(tmp_path)
    write_phantom(params, root, "ore")
    dataset, phantom = Dataset(root), Phantom(params)
    write_composition(phantom, dataset.truth("ore"), dataset.composition("ore"))
    labels = np.asarray(open_image(dataset.truth("ore"))[...], np.uint32)
    grey = np.asarray(open_image(dataset.image("ore"))[...], np.float32)
    phases = found_phases(counted(labels, grey, (0, 0, 0), labels.shape), 2).phases
    padded = np.pad(labels, 2)
    boxes = find_objects(padded.astype(np.int32))
    low, high = (np.array([[end(s) for s in box] for box in boxes], np.int32) for end in (_first, _last))
    ids = np.arange(1, len(boxes) + 1, dtype=np.uint32)
    values = Composition(phases).values(Cutout(padded, ids, low, high, images={"grey": np.pad(grey, 2, mode="edge")}))
    rows = list(csv.DictReader(io.StringIO(dataset.composition("ore").read_text())))
    truth = np.array([float(row["mineral_2_share"]) + float(row["inclusion_share"]) for row in rows])
    voxels, found = np.array([int(row["voxels"]) for row in rows]), values["phase_p2_share"]
    assert voxels @ np.nan_to_num(found) / voxels.sum() == pytest.approx(voxels @ truth / voxels.sum(), abs=0.02)
    large = voxels > np.pi / 6 * 15**3
    assert large.sum() > 15
    assert np.mean(np.abs(found - truth)[large] <= 0.05) >= 0.9


def _first(side):
    return side.start


def _last(side):
    return side.stop - 1
