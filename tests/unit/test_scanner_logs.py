"""The spacing that scanners write into their logs: believed of the slices that they are about, quoted, else a doubt."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from ps3d_core.params import SourceParams
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.sources import open_scan

SLICES = np.random.default_rng(0).integers(0, 255, (6, 40, 50)).astype(np.uint8)
SKYSCAN = """[System]
Scanner=SkyScan1272
Camera Pixel Size (um)=9.0
[Acquisition]
Number Of Rows=  896
Number Of Columns= 1075
Image Pixel Size (um)=19.797722
[Reconstruction]
Section to Section Step=1
Sections Count=6
Result File Type=BMP
Result Image Width (pixels)=50
Result Image Height (pixels)=40
Pixel Size (um)=19.79772
[File name convention]
Filename Prefix=ore_rec
"""
NIKON = """[XTekCT]
VoxelsX=50
VoxelSizeX=0.02
VoxelsY=40
VoxelSizeY=0.02
VoxelsZ=6
VoxelSizeZ=0.02
Units=mm
[Xrays]
XraykV=90
"""
PHOENIX = """[VolumeData]
Volume_SizeX=50
Volume_SizeY=40
Volume_SizeZ=6
VoxelSizeRec=0.0142881860956
"""
PROJECTIONS = """[Geometry]
FDD=807.1
VoxelSizeX=0.01428819
VoxelSizeY=0.01428819
[CT]
NumberImages=900
[Image]
DimX=50
DimY=61
"""


def folder_of(root: Path, prefix: str = "ore_rec", ending: str = ".bmp", slices: np.ndarray = SLICES) -> Path:
    folder = root / "scan"
    folder.mkdir(exist_ok=True)
    for index, values in enumerate(slices):
        path = folder / f"{prefix}{index:08d}{ending}"
        if ending == ".tif":
            tifffile.imwrite(path, values)
        else:
            Image.fromarray(values).save(path)
    return folder


def opened(folder: Path, **params: object) -> ScanReader:
    with open_scan(str(folder), SourceParams(**params)) as reader:
        return reader


@pytest.mark.parametrize("ending", [".bmp", ".png", ".tif"])
@pytest.mark.parametrize(
    ("name", "text", "spacing", "quoted"),
    [
        ("ore_rec.log", SKYSCAN, 0.01979772, "ore_rec.log: Pixel Size (um)=19.79772"),
        ("ore.xtekct", NIKON, 0.02, "ore.xtekct: VoxelSizeX=0.02, VoxelSizeY=0.02, VoxelSizeZ=0.02"),
        ("ore.pcr", PHOENIX, 0.0142881860956, "ore.pcr: VoxelSizeRec=0.0142881860956"),
        ("ore.pca", PROJECTIONS, 0.01428819, "ore.pca: VoxelSizeX=0.01428819, VoxelSizeY=0.01428819"),
    ],
)
def test_logs_of_scanners(tmp_path: Path, ending: str, name: str, text: str, spacing: float, quoted: str) -> None:
    folder = folder_of(tmp_path, ending=ending)
    (folder / name).write_text(text)
    reader = opened(folder)
    assert reader.spacing == pytest.approx((spacing,) * 3, rel=1e-9)
    assert reader.spacing_from == quoted
    assert reader.spacing_doubt is None
    assert reader.notes == ()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_any_encoding(tmp_path: Path, encoding: str, newline: str) -> None:
    folder = folder_of(tmp_path)
    text = SKYSCAN.replace("SkyScan1272", "SkyScan1272 µCT of Jürgen").replace("19.79772\n", "19,79772\n")
    (folder / "ore_rec.LOG").write_bytes(text.replace("\n", newline).encode(encoding))
    assert opened(folder).spacing == pytest.approx((0.01979772,) * 3)


def test_every_second_section(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "ore_rec.log").write_text(SKYSCAN.replace("Section Step=1", "Section Step=2"))
    reader = opened(folder)
    assert reader.spacing == pytest.approx((0.03959544, 0.01979772, 0.01979772))
    assert reader.spacing_from == "ore_rec.log: Pixel Size (um)=19.79772, Section to Section Step=2"


@pytest.mark.parametrize(
    ("name", "text", "doubt"),
    [
        ("ore_rec.log", SKYSCAN.replace("=50\n", "=100\n"), "is of slices of 40 x 100, these are 40 x 50: binned, cut"),
        ("ore_rec.log", SKYSCAN.replace("Result Image", "Image"), "does not say of which slices"),
        ("ore_rec.log", SKYSCAN.replace("Count=6", "Count=5"), "is of 5 slices, these are 6"),
        (
            "ore_rec.log",
            SKYSCAN[: SKYSCAN.index("[Recon")],
            "of projections 1075 pixels wide, the slices are 40 x",
        ),
        ("ore.xtekct", NIKON.replace("Units=mm", "Units=in"), "is in 'in', not in mm"),
        ("ore.xtekct", NIKON.replace("Y=40", "Y=41"), "is of slices of"),
        (
            "ore.xtekct",
            NIKON.replace("Z=0.02", "Z=0.03").replace("X=50", "X=40").replace("Y=40", "Y=50"),
            "of 50 x 40,",
        ),
        ("ore.pcr", PHOENIX.replace("=50", "=99"), "is of slices of"),
        ("ore.pca", PROJECTIONS.replace("=50", "=2014"), "projections 2014 pixels wide"),
        ("ore.pca", PROJECTIONS.replace("Y=0.01428819", "Y=0.02"), "is not that of a cube"),
    ],
)
def test_a_log_of_other_slices_is_a_doubt(tmp_path: Path, name: str, text: str, doubt: str) -> None:
    folder = folder_of(tmp_path)
    (folder / name).write_text(text)
    reader = opened(folder)
    assert reader.spacing is None
    assert reader.spacing_doubt is not None
    assert doubt in reader.spacing_doubt
    assert reader.spacing_doubt.startswith(name)
    assert reader.notes == (reader.spacing_doubt,)


@pytest.mark.parametrize(
    "text",
    ["", "no log at all", "[Reconstruction]\nPixel Size (um)=\n", "\0" * 4096],
)
def test_what_says_nothing(tmp_path: Path, text: str) -> None:
    folder = folder_of(tmp_path)
    (folder / "ore_rec.log").write_text(text)
    reader = opened(folder)
    assert (reader.spacing, reader.spacing_doubt) == (None, None)


def test_two_lengths_in_one_log_are_none(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "ore_rec.log").write_text(SKYSCAN + SKYSCAN.replace("19.79772\n", "12.5\n"))
    assert opened(folder).spacing is None


def test_what_lies_beyond_a_megabyte_is_not_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "ore_rec.log").write_text(";" * 2**20 + "\n" + SKYSCAN)
    assert opened(folder).spacing is None
    (folder / "ore_rec.log").write_text(SKYSCAN + ";" * 2**21)
    assert opened(folder).spacing is not None


def test_logs_that_disagree_and_agree(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "ore_rec.log").write_text(SKYSCAN)
    (folder / "ore.xtekct").write_text(NIKON.replace("0.02", "0.0198"))
    assert opened(folder).spacing == pytest.approx((0.0198,) * 3, rel=0.01)
    (folder / "ore.xtekct").write_text(NIKON)
    reader = opened(folder)
    assert reader.spacing is None
    assert reader.spacing_doubt is not None
    assert "ore.xtekct: VoxelSizeX=0.02" in reader.spacing_doubt
    assert "ore_rec.log: Pixel Size (um)=19.79772" in reader.spacing_doubt
    # what is said of volumes of another size is not about these slices, and of projections is less than of volumes
    (folder / "ore.xtekct").write_text(NIKON.replace("=50", "=99"))
    (folder / "ore.pca").write_text(PROJECTIONS)
    assert opened(folder).spacing == pytest.approx((0.01979772,) * 3)


def test_the_log_of_the_series_that_is_chosen(tmp_path: Path) -> None:
    for name, edge in (("ore1", "10.0"), ("ore10", "20.0")):
        folder = folder_of(tmp_path, f"{name}_")
        (folder / f"{name}_.log").write_text(SKYSCAN.replace("19.79772\n", f"{edge}\n"))
    assert opened(folder, series="ore1_*").spacing == pytest.approx((0.01,) * 3)
    assert opened(folder, series="ore10_*").spacing == pytest.approx((0.02,) * 3)
    (folder / "ore10_.log").unlink()
    assert opened(folder, series="ore10_*").spacing is None  # that of ore1 is not its


def test_slices_that_are_left_out(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "ore_rec.log").write_text(SKYSCAN)
    assert opened(folder, allow_gaps=True).spacing is not None
    (folder / "ore_rec00000003.bmp").unlink()
    reader = opened(folder, allow_gaps=True)
    assert reader.spacing is None
    assert reader.spacing_doubt == "ore_rec.log: Pixel Size (um)=19.79772 is of all slices, and some are left out"


def test_beside_one_file(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "ore 1.5um_rec.tif", SLICES, photometric="minisblack")
    (tmp_path / "ore 1.5um_rec.log").write_text(SKYSCAN)
    (tmp_path / "other.log").write_text(SKYSCAN.replace("19.79772\n", "3.0\n"))
    reader = opened(tmp_path / "ore 1.5um_rec.tif")
    assert reader.spacing == pytest.approx((0.01979772,) * 3)
    assert reader.spacing_from == "ore 1.5um_rec.log: Pixel Size (um)=19.79772"
    assert [file.name for file in reader.beside] == ["ore 1.5um_rec.log"]
    tifffile.imwrite(tmp_path / "another.tif", SLICES, photometric="minisblack")
    assert opened(tmp_path / "another.tif").spacing is None


@pytest.mark.parametrize(("edge", "agrees"), [(0.01979, True), (0.02, False)])
def test_beside_a_file_that_says_its_spacing(tmp_path: Path, edge: float, agrees: bool) -> None:
    sizes = {f"PhysicalSize{axis}": edge for axis in "XYZ"} | {f"PhysicalSize{axis}Unit": "mm" for axis in "XYZ"}
    tifffile.imwrite(tmp_path / "ore.ome.tif", SLICES, photometric="minisblack", metadata={"axes": "ZYX", **sizes})
    (tmp_path / "ore.log").write_text(SKYSCAN)
    reader = opened(tmp_path / "ore.ome.tif")
    if agrees:
        assert (reader.spacing, reader.spacing_from) == ((edge,) * 3, None)
        return
    assert reader.spacing is None
    assert reader.spacing_doubt == "its files say 0.02 mm, ore.log: Pixel Size (um)=19.79772"


def test_a_log_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "ore_rec.log").mkdir()
    assert opened(folder).spacing is None
    shutil.rmtree(folder / "ore_rec.log")
    (folder / "ore_rec.log").symlink_to("/dev/zero")
    assert opened(folder).spacing is None


def test_a_log_in_the_place_of_a_length_that_is_none(tmp_path: Path) -> None:
    about = {"imagej": True, "resolution": (50, 50), "metadata": {"axes": "ZYX", "unit": "parsec", "spacing": 1}}
    tifffile.imwrite(tmp_path / "ore.tif", SLICES, photometric="minisblack", **about)
    assert "not a unit of length" in str(opened(tmp_path / "ore.tif").spacing_doubt)
    (tmp_path / "ore.log").write_text(SKYSCAN)
    reader = opened(tmp_path / "ore.tif")
    assert reader.spacing == pytest.approx((0.01979772,) * 3)
    assert reader.spacing_doubt is None
    assert "not a unit of length" in reader.notes[0]
