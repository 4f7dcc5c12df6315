"""ParticleSeg3D's conversion commands: its flags, its places; types, spacing and names better than there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile

from ps3d_app.flows.command.cli import run_alone
from ps3d_app.flows.command.reference import conversions
from ps3d_app.flows.command.reference.conversions import CONVERSIONS
from ps3d_core.params import IngestParams
from ps3d_core.scan.authorship import nifti_is_marked, tiff_is_marked, zarr_is_exported
from ps3d_core.scan.ingest import ingest
from ps3d_core.scan.sources import open_scan
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_spacing, open_image

ROOT = Path(__file__).parents[2]
GREY = np.random.default_rng(0).integers(0, 65_536, (12, 9, 10)).astype(np.uint16)
NAME = "Ore2.5um_Zone3"  # ParticleSeg3D cuts it at the dot


def ps3d(command: str, *arguments: str) -> int:
    """Exit status of the command, as a shell sees it."""
    try:
        return run_alone(command, CONVERSIONS[command], arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a scan as slices; commands run in it."""
    (tmp_path / "in" / NAME).mkdir(parents=True)
    for z, values in enumerate(GREY):
        tifffile.imwrite(tmp_path / "in" / NAME / f"s_{z}.tif", values)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def slices_in(folder: Path) -> np.ndarray[Any, Any]:
    names = [f"{z}.tiff" for z in range(len(GREY))]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    return np.stack([tifffile.imread(folder / name) for name in names])


def test_all_directions(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ps3d("ps3d_tiff2zarr", "-i", f"in/{NAME}", "-o", "zarr") == 0
    assert f"12 x 9 x 10 voxels, uint16, at {work}/zarr/{NAME}.zarr" in capsys.readouterr().out
    image = Location.parse(work / "zarr" / f"{NAME}.zarr")
    assert open_image(image).dtype == np.uint16
    assert np.array_equal(open_image(image)[:], GREY)

    assert ps3d("ps3d_zarr2tiff", "--input", f"zarr/{NAME}.zarr", "--output", "tiff") == 0
    assert np.array_equal(slices_in(work / "tiff" / NAME), GREY)

    assert ps3d("ps3d_tiff2nifti", "-i", f"{work}/in/{NAME}/", "-o", "nifti", "-s", "0.01", "20um", "0.03") == 0
    nifti = nib.load(work / "nifti" / f"{NAME}.nii.gz")
    assert np.array_equal(np.asarray(nifti.dataobj), GREY.T)
    assert nifti.header.get_zooms() == pytest.approx((0.01, 0.02, 0.03))  # x, y, z, as there

    assert ps3d("ps3d_nifti2tiff", "-i", f"nifti/{NAME}.nii.gz", "-o", "back") == 0
    assert np.array_equal(slices_in(work / "back" / NAME), GREY)

    assert ps3d("ps3d_nifti2zarr", "-i", f"nifti/{NAME}.nii.gz", "-o", "zarr/other.zarr") == 0
    other = Location.parse(work / "zarr" / "other.zarr")
    assert np.array_equal(open_image(other)[:], GREY)
    assert image_spacing(other) == pytest.approx((0.03, 0.02, 0.01))


def test_bare_zarr_without_spacing(work: Path) -> None:
    import zarr

    zarr.create_array(work / "old.zarr", shape=GREY.shape, dtype="f8", zarr_format=2)[:] = GREY
    assert ps3d("ps3d_zarr2tiff", "-i", "old.zarr", "-o", ".") == 0
    assert slices_in(work / "old").dtype == np.float64


def test_an_earlier_conversion_is_replaced(work: Path) -> None:
    steps = [
        ("ps3d_tiff2zarr", "-i", f"in/{NAME}", "-o", "out", "--fast"),
        ("ps3d_tiff2nifti", "-i", f"in/{NAME}", "-o", "out", "-s", "1", "1", "1"),
        ("ps3d_zarr2tiff", "-i", f"out/{NAME}.zarr", "-o", "out"),
        ("ps3d_nifti2tiff", "-i", f"out/{NAME}.nii.gz", "-o", "out"),
        ("ps3d_nifti2zarr", "-i", f"out/{NAME}.nii.gz", "-o", f"out/{NAME}.zarr"),
    ]
    for step in steps * 2:
        assert ps3d(*step) == 0
    assert sorted(path.name for path in (work / "out").iterdir()) == sorted([NAME, f"{NAME}.nii.gz", f"{NAME}.zarr"])
    with open_scan(work / "out" / f"{NAME}.nii.gz") as reader:
        assert np.array_equal(reader.read(0, 12), GREY)


def test_originals_are_not(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (
        ("ps3d_tiff2zarr", "-i", f"in/{NAME}", "-o", "out"),
        ("ps3d_tiff2nifti", "-i", f"in/{NAME}", "-o", "out", "-s", "1", "1", "1"),
    ):
        assert ps3d(*step) == 0
    (work / "scans" / NAME).mkdir(parents=True)
    for z, values in enumerate(GREY):  # named like a conversion's, but the scanner's
        tifffile.imwrite(work / "scans" / NAME / f"{z}.tiff", values)
    nib.save(nib.Nifti1Image(GREY.T, np.eye(4)), work / "scans" / f"{NAME}.nii.gz")
    nib.save(nib.Nifti1Image(GREY.T, np.eye(4)), work / "scans" / f"{NAME}.nii")
    data = Dataset(Location.parse(work / "data"))
    ingest(str(work / "in" / NAME), data, NAME, IngestParams(spacing=0.01, particle_size=0.05))
    shutil.copytree(work / "data" / "images" / f"{NAME}.zarr", work / "scans" / f"{NAME}.zarr")
    before = content_of(work / "scans")
    capsys.readouterr()
    for step in (
        ("ps3d_zarr2tiff", "-i", f"out/{NAME}.zarr", "-o", "scans"),
        ("ps3d_nifti2tiff", "-i", f"out/{NAME}.nii.gz", "-o", "scans"),
        ("ps3d_tiff2nifti", "-i", f"in/{NAME}", "-o", "scans", "-s", "1", "1", "1"),
        ("ps3d_tiff2zarr", "-i", f"in/{NAME}", "-o", "scans"),
        ("ps3d_nifti2zarr", "-i", f"out/{NAME}.nii.gz", "-o", f"scans/{NAME}.zarr"),
        ("ps3d_nifti2zarr", "-i", f"out/{NAME}.nii.gz", "-o", f"scans/{NAME}.nii"),
    ):
        assert ps3d(*step) == 2
        error = capsys.readouterr().err
        assert "that an earlier conversion made" in error
        assert error.count("\n") == 1
    assert content_of(work / "scans") == before


@pytest.mark.parametrize("added", ["12.tif", "notes.txt", "13.tiff"])
def test_slices_with_something_beside_them_are_not(work: Path, added: str) -> None:
    assert ps3d("ps3d_tiff2zarr", "-i", f"in/{NAME}", "-o", "out") == 0
    step = ("ps3d_zarr2tiff", "-i", f"out/{NAME}.zarr", "-o", "out")
    assert ps3d(*step) == 0
    (work / "out" / NAME / added).write_bytes(b"kept")
    assert ps3d(*step) == 2
    assert (work / "out" / NAME / added).read_bytes() == b"kept"


def test_damaged_files_bear_no_mark(work: Path) -> None:
    for data in (b"", b"II*\0", b"II*\0" + bytes(400), b"\x1f\x8b", b"\x1f\x8b" + bytes(500), bytes(600), b"{", b"[1]"):
        file = Location.parse(work / "x" / "zarr.json")
        file.write_bytes(data)
        assert not tiff_is_marked(file)
        assert not nifti_is_marked(file)
        assert not zarr_is_exported(file.parent)
    assert not any(is_marked(Location.parse(work)) for is_marked in (tiff_is_marked, nifti_is_marked, zarr_is_exported))


def test_anything_else_is_not(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ps3d("ps3d_tiff2nifti", "-i", f"in/{NAME}", "-o", "n", "-s", "1", "1", "1") == 0
    (work / NAME).mkdir()
    (work / NAME / "thesis.doc").write_text("years of work")
    capsys.readouterr()
    for step in (
        ("ps3d_nifti2tiff", "-i", f"n/{NAME}.nii.gz", "-o", "."),
        ("ps3d_nifti2zarr", "-i", f"n/{NAME}.nii.gz", "-o", NAME),
        ("ps3d_nifti2zarr", "-i", f"n/{NAME}.nii.gz", "-o", "."),
    ):
        assert ps3d(*step) == 2
        error = capsys.readouterr().err
        assert "holds something else" in error
        assert error.count("\n") == 1
    assert (work / NAME / "thesis.doc").read_text() == "years of work"


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (("ps3d_tiff2zarr", "-i", "in/nothing", "-o", "out"), "nothing there"),
        (("ps3d_tiff2zarr", "-i", "in"), "-o/--output"),
        (("ps3d_tiff2nifti", "-i", "in", "-o", "out"), "-s/--spacing"),
        (("ps3d_tiff2nifti", "-i", "in", "-o", "out", "-s", "1", "0", "1"), "0: must be a length in mm"),
        (("ps3d_nifti2zarr", "-i", "cut.nii.gz", "-o", "out/x.zarr"), "cut.nii.gz: "),
        (("ps3d_nifti2tiff", "-i", "cut.nii.gz", "-o", "out"), "cut.nii.gz: "),
    ],
)
def test_refusals_leave_nothing(
    work: Path, step: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    nib.save(nib.Nifti1Image(GREY.T, np.eye(4)), work / "whole.nii.gz")
    (work / "cut.nii.gz").write_bytes((work / "whole.nii.gz").read_bytes()[:1500])
    assert ps3d(*step) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.startswith("ps3d: error: ")
    assert sorted(path.name for path in work.iterdir()) == ["cut.nii.gz", "in", "whole.nii.gz"]


@pytest.mark.parametrize("name", CONVERSIONS)
def test_commands_explain_themselves(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ps3d(name, "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: {name}")
    assert f"  {name} -i " in text
    parser = ArgumentParser()
    CONVERSIONS[name].configure(parser)
    assert not [action.dest for action in parser._actions if not action.help]


def test_every_command_is_installed() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name in CONVERSIONS:
        module, _, function = scripts[name].partition(":")
        assert module == conversions.__name__
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import sys; from {module} import {function}; sys.argv[1:] = ['--help']; sys.exit({function}())",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"Usage: {name} ")
