"""A look at a source says what an ingest would read, and how to ingest it."""

from __future__ import annotations

import shlex

import imagecodecs
import numpy as np
import pytest
import tifffile

from ps3d_app.flows.command.cli import main
from ps3d_core.inspection.source import look, name_for, page_of
from ps3d_core.params import SourceParams
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image


@pytest.fixture(autouse=True)
def pages_go_where_nothing_is(tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("pages"))


GREY = np.random.default_rng(0).integers(100, 60000, (24, 61, 42)).astype(np.uint16)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ore 1").mkdir()
    for index, values in enumerate(GREY):
        tifffile.imwrite(tmp_path / "ore 1" / f"s_{index:04d}.tif", values)
    return tmp_path / "ore 1"


def test_what_would_be_read(folder):
    seen, pictures = look(str(folder), spacing=(0.02, 0.01, 0.01))
    assert (seen.shape, seen.dtype, seen.spacing, seen.slices) == (GREY.shape, "uint16", (0.02, 0.01, 0.01), 9)
    assert seen.size_mm == pytest.approx((0.48, 0.61, 0.42))
    assert seen.values[0] >= 100
    assert seen.values[2] == pytest.approx(30000, rel=0.05)
    assert 0.5 < seen.dataset_bytes / GREY.nbytes < 1.3  # noise is not packed
    assert seen.source_bytes > GREY.nbytes
    assert [picture.index for picture in pictures] == [6, 12, 17]
    for picture in pictures:
        assert picture.aspect == pytest.approx(42 / 61)
        shown = imagecodecs.png_decode(picture.png).astype(float)
        assert np.corrcoef(shown.ravel(), GREY[picture.index].ravel())[0, 1] > 0.999
    page = page_of(seen, pictures, "ps3d ingest <a>")
    assert page.count("<img") == 3
    assert "&lt;a&gt;" in page


def test_the_command_that_is_told_ingests(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["look", str(folder), "--spacing", "10um", "--roi", "2:20,,", "--every", "2"]) == 0
    said = capsys.readouterr().out
    command = said.rpartition("next")[2].strip().replace("DATASET", "data").replace("auto", "0.1")
    assert main(shlex.split(command)[1:]) == 0
    assert np.array_equal(
        open_image(Dataset(Location.parse(tmp_path / "data")).image("ore-1"))[:], GREY[2:20:2, ::2, ::2]
    )
    assert (tmp_path / "ore-1-look.html").read_text().startswith("<!doctype html>")
    assert main(["look", str(folder)]) == 0  # its own page is replaced
    (tmp_path / "ore-1-look.html").write_text("mine")
    assert main(["look", str(folder)]) == 2
    assert (tmp_path / "ore-1-look.html").read_text() == "mine"


def test_a_folder_of_several(folder, tmp_path, capsys):
    for index in range(3):
        tifffile.imwrite(folder / f"other_{index:04d}.tif", GREY[0])
    assert main(["look", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "2 scans" in said
    assert "24 slices" in said
    assert "--series 's_00#'" in said or "--series 's_#'" in said
    tifffile.imwrite(tmp_path / "b.tif", GREY, metadata={"axes": "ZYX"})
    (tmp_path / "notes.txt").write_text("no scan")
    (tmp_path / "empty").mkdir()
    assert main(["look", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "b.tif" in said
    assert "notes" not in said


def test_values_that_are_no_numbers(tmp_path):
    values = GREY.astype(np.float32)
    values[:, :5] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values, metadata={"axes": "ZYX"})
    seen, _ = look(str(tmp_path / "a.tif"))
    assert seen.not_numbers == pytest.approx(5 / 61)
    assert np.isfinite(seen.values).all()
    values[:] = np.nan
    tifffile.imwrite(tmp_path / "b.tif", values, metadata={"axes": "ZYX"})
    seen, _ = look(str(tmp_path / "b.tif"), SourceParams(nan="min"))
    assert (seen.values, seen.not_numbers) == ((), 1)


def test_what_is_no_scan_is_refused_as_an_ingest_would(tmp_path, capsys):
    (tmp_path / "a.tif").write_bytes(b"II*\0nothing")
    assert main(["look", str(tmp_path / "a.tif")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "name"),
    [("a/ore 1/", "ore-1"), ("s3://b/x.nii.gz", "x"), ("scan.h5:/entry/data", "scan"), ("/", "scan")],
)
def test_names(source, name):
    assert name_for(source) == name


@pytest.mark.parametrize("flags", [["--roi", "0:99,,"], ["--every", "50"], ["--raw", "2x2x2,uint8"], ["--series", "x"]])
def test_what_is_wrong_is_not_hidden_behind_the_scans_beside(folder, flags, capsys):
    (folder / "more").mkdir()
    tifffile.imwrite(folder / "more" / "other.tif", GREY)
    assert main(["look", str(folder), *flags]) == 2
    assert flags[0] in capsys.readouterr().err or flags[0] == "--raw"


def test_a_minus_is_no_option_in_the_command_that_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("-a.tif", np.where(GREY > 50000, np.nan, GREY).astype("float32"))
    assert main(["look", "--spacing", "0.01", "--nan=-1e3", "--", "-a.tif"]) == 0
    told = capsys.readouterr().out.rpartition("next")[2].strip().replace("DATASET", "data").replace("auto", "0.1")
    assert main(shlex.split(told)[1:]) == 0
    assert open_image(Dataset(Location.parse("data")).image("a"))[:].min() == -1000


def test_nothing_but_nan_is_said(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((5, 9, 9), np.nan, "float32"))
    assert any("finite number" in note for note in look(str(tmp_path / "a.tif"))[0].notes)


def test_all_files_of_a_source_count(tmp_path):
    header = "NDims = 3\nDimSize = 42 61 24\nElementType = MET_USHORT\nElementDataFile = a.raw\n"
    (tmp_path / "a.mhd").write_text(header)
    (tmp_path / "a.raw").write_bytes(GREY.tobytes())
    assert look(str(tmp_path / "a.mhd"))[0].source_bytes == len(header) + GREY.nbytes


def test_scans_beside_slices_are_said(folder):
    (folder / "whole.raw").write_bytes(b"x")
    assert any("whole.raw" in note for note in look(str(folder))[0].notes)
