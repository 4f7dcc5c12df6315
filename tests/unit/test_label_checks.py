"""Labels that are no particles: what contradicts them is said, whatever the size of slabs and ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tifffile import imwrite

from ps3d_app.flows.command.cli import main
from ps3d_core.scan.label_checks import LabelSizes
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image


def spheres(diameter: int = 8, count: int = 4) -> np.ndarray:
    """Spheres of this diameter, touching, numbered from 1."""
    z, y, x = np.indices((count * diameter,) * 3)
    ids = 1 + (z // diameter * count + y // diameter) * count + x // diameter
    inside = sum((n % diameter - (diameter - 1) / 2) ** 2 for n in (z, y, x)) <= (diameter / 2) ** 2
    return np.where(inside, ids, 0).astype(np.uint16)


PARTICLES = spheres()
INSIDE = PARTICLES > 0
CORES = (spheres(8) > 0) & ((np.indices(PARTICLES.shape) % 8 > 1) & (np.indices(PARTICLES.shape) % 8 < 6)).all(axis=0)
NO_PARTICLES = {
    "a mask": (INSIDE * 255).astype(np.uint8),
    "border and core": (INSIDE.astype(np.uint8) + CORES).astype(np.uint8),
    "a numbered background": np.where(INSIDE, PARTICLES, 999).astype(np.uint16),
    "one label everywhere": np.ones_like(PARTICLES),
    "smooth grey values": (127 + 100 * np.sin(np.indices(PARTICLES.shape) / 9).prod(axis=0)).astype(np.uint8),
    "grey values": np.random.default_rng(0).integers(1, 60000, PARTICLES.shape).astype(np.uint16),
}


def problem(volume: np.ndarray, size: float | None = 8) -> str | None:
    sizes = LabelSizes()
    for start in range(0, len(volume), 5):
        sizes.add(volume[start : start + 5])
    return sizes.problem(size)


@pytest.mark.parametrize("kind", NO_PARTICLES)
def test_what_is_no_label_image(kind: str) -> None:
    assert problem(NO_PARTICLES[kind]) is not None


def test_without_a_particle_size_only_what_fills_the_volume_is_one() -> None:
    assert "label 999 fills" in str(problem(np.where(PARTICLES == 1, 1, 999), None))
    assert problem(PARTICLES, None) is None


@pytest.mark.parametrize("estimate", [0.5, 0.7, 1, 1.3, 2, 4])
def test_particles_are_accepted_with_any_fair_estimate(estimate: float) -> None:
    assert problem(PARTICLES, 8 * estimate) is None
    assert problem(np.where(PARTICLES == 7, 7, 0), 8) is None  # a single one
    assert problem(PARTICLES.astype(np.uint64) * 2**40, 8 * estimate) is None  # ids of any size


@given(hnp.arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 9)), st.sampled_from([1, 2**22 - 5, 2**33]))
def test_counts(volume: np.ndarray, step: int) -> None:
    sizes = LabelSizes()
    labels = volume.astype(np.uint64) * np.uint64(step)
    sizes.add(labels[:1])
    sizes.add(labels[1:])
    assert sizes.highest == labels.max()
    fullest = max((int((labels == label).sum()) for label in np.unique(labels) if label), default=0)
    assert ("fills" in str(sizes.problem())) == (fullest > labels.size / 2)


@pytest.mark.parametrize("kind", NO_PARTICLES)
def test_ingest_refuses_them_and_leaves_nothing(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    imwrite(tmp_path / "scan.tif", PARTICLES * 3, photometric="minisblack", metadata={"axes": "ZYX"})
    imwrite(tmp_path / "labels.tif", NO_PARTICLES[kind], photometric="minisblack", metadata={"axes": "ZYX"})
    imwrite(tmp_path / "floats.tif", PARTICLES.astype(np.float32), metadata={"axes": "ZYX"})
    data = Dataset(Location.parse(tmp_path / "data"))
    size = ["--spacing", "0.01", "--particle-size", "0.08"]
    assert main(["ingest", f"{tmp_path}/scan.tif", f"{tmp_path}/data", "--name", "a", *size]) == 0
    capsys.readouterr()
    assert main(["ingest", f"{tmp_path}/labels.tif", f"{tmp_path}/data", "--name", "a", "--labels"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "give one number per particle and 0 for background" in error
    assert not (tmp_path / "data" / "instance_seg").exists()
    assert main(["ingest", f"{tmp_path}/floats.tif", f"{tmp_path}/data", "--name", "a", "--labels"]) == 0
    assert open_image(data.truth("a")).dtype == np.uint32
    assert np.array_equal(open_image(data.truth("a"))[:], PARTICLES)


def test_a_scan_of_one_value_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imwrite(tmp_path / "scan.tif", np.full((4, 9, 9), 5, np.uint8), photometric="minisblack")
    size = ["--spacing", "0.01", "--particle-size", "0.03"]
    assert main(["ingest", f"{tmp_path}/scan.tif", f"{tmp_path}/data", "--name", "a", *size]) == 0
    assert "every voxel is 5: no particles can be found in it" in capsys.readouterr().err
