"""TIFF files that say something odd of their voxels: delivered as declared, said, or refused; never in silence."""

from __future__ import annotations

import itertools
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from tifffile import TiffFile, TiffWriter, imwrite

from ps3d_app.flows.command.cli import main
from ps3d_core.errors import InputError
from ps3d_core.inbox.arrivals import arrivals_in
from ps3d_core.scan.sources import open_scan
from ps3d_core.scan.suffixes import TIFF_SUFFIXES

GREY = np.random.default_rng(0).integers(0, 60000, (24, 40, 32)).astype(np.uint16)
LAYOUTS: dict[str, dict[str, Any]] = {"plain": {}, "deflate": {"compression": "zlib"}, "tiles": {"tile": (16, 16)}}


def read(path: Path) -> np.ndarray:
    with open_scan(str(path)) as reader:
        return reader.read(0, reader.shape[0])


def notes(path: Path) -> str:
    with open_scan(str(path)) as reader:
        return " | ".join(reader.notes)


# --- axes ---


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["".join(order) for order in itertools.permutations("XYZ")])
@pytest.mark.parametrize("extra", ["", "T", "C"])
def test_axes_are_as_declared_or_refused_by_name(tmp_path: Path, layout: str, order: str, extra: str) -> None:
    path, axes = tmp_path / "scan.tif", extra + order
    volume = GREY.reshape((1,) * len(extra) + GREY.shape)
    imwrite(path, volume, photometric="minisblack", metadata={"axes": axes}, **LAYOUTS[layout])
    if order == "ZYX":
        assert np.array_equal(read(path), GREY)
        return
    with pytest.raises(InputError, match=rf"axes {axes} of .*; must be Z, Y, X in this order"):
        read(path)


@pytest.mark.parametrize("order", ["XY", "XZ", "YZ"])
def test_axes_of_slices(tmp_path: Path, order: str) -> None:
    for index, values in enumerate(GREY):
        imwrite(tmp_path / f"s{index}.tif", values, metadata={"axes": order})
    with pytest.raises(InputError, match=rf"s0\.tif: axes {order} of \(40, 32\); must be Z, Y, X"):
        read(tmp_path)


@pytest.mark.parametrize("order", ["XY", "YZ"])
def test_axes_of_pages_written_one_by_one(tmp_path: Path, order: str) -> None:
    with tifffile.TiffWriter(tmp_path / "scan.tif") as tif:
        for values in GREY:
            tif.write(values, photometric="minisblack", contiguous=False, metadata={"axes": order})
    with pytest.raises(InputError, match=rf"axes {order} of \(40, 32\)"):
        read(tmp_path / "scan.tif")


@pytest.mark.parametrize("axes", ["RYX", "AYX", "EYX"])
def test_other_axes_are_no_slices(tmp_path: Path, axes: str) -> None:
    imwrite(tmp_path / "scan.tif", GREY, photometric="minisblack", metadata={"axes": axes})
    with pytest.raises(InputError, match=f"axes {axes}"):
        read(tmp_path / "scan.tif")


@pytest.mark.parametrize("options", [{"imagej": True}, {"ome": True}, {}])
def test_time_as_slices_is_said(tmp_path: Path, options: dict[str, Any]) -> None:
    imwrite(tmp_path / "scan.tif", GREY, photometric="minisblack", metadata={"axes": "TYX"}, **options)
    assert np.array_equal(read(tmp_path / "scan.tif"), GREY)
    assert "axis T (time) is taken for slices" in notes(tmp_path / "scan.tif")


@pytest.mark.parametrize("order", ["XYZCT", "XYZTC", "XYCZT", "XYTZC", "XYCTZ", "XYTCZ"])
@pytest.mark.parametrize("backwards", [False, True])
def test_planes_of_ome_in_any_order(tmp_path: Path, order: str, backwards: bool) -> None:
    path = tmp_path / "scan.ome.tif"
    imwrite(path, GREY, photometric="minisblack", metadata={"axes": "ZYX"})
    about = tifffile.tiffcomment(path).replace("XYCZT", order)
    if backwards:
        planes = (f'<TiffData IFD="{23 - z}" FirstZ="{z}" PlaneCount="1"/>' for z in range(24))
        about = about.replace('<TiffData IFD="0" PlaneCount="24"/>', "".join(planes))
    tifffile.tiffcomment(path, about.encode())
    assert np.array_equal(read(path), tifffile.imread(path))
    assert np.array_equal(read(path), GREY[::-1] if backwards else GREY)


# --- values ---


def test_min_is_white_is_said(tmp_path: Path) -> None:
    (tmp_path / "slices").mkdir()
    imwrite(tmp_path / "scan.tif", GREY, photometric="miniswhite")
    for index, values in enumerate(GREY):
        imwrite(tmp_path / "slices" / f"{index}.tif", values, photometric="miniswhite")
    for source in (tmp_path / "scan.tif", tmp_path / "slices"):
        assert np.array_equal(read(source), GREY)
        assert "0 is shown as white (MinIsWhite)" in notes(source)
    imwrite(tmp_path / "slices" / "7.tif", GREY[7], photometric="minisblack")
    with pytest.raises(InputError, match=r"7\.tif: 40 x 32 uint16; must be 40 x 32 uint16, MinIsWhite like 0\.tif"):
        read(tmp_path / "slices")


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda page: page[:30], {}),
        (lambda page: page.T.copy(), {}),
        (lambda page: page.view(np.float16), {}),
        (lambda page: page.view(np.int16), {}),
        (lambda page: page, {"compression": "zlib"}),
        (lambda page: page, {"compression": "zlib", "predictor": True}),
        (lambda page: page[:, :16].copy().view(np.uint32), {}),
        (lambda page: np.stack([page] * 3, axis=2), {"photometric": "rgb"}),
    ],
)
@pytest.mark.parametrize("at", [3, 20])
def test_one_page_among_many_that_is_not_like_the_others(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], options: dict[str, Any], at: int
) -> None:
    with tifffile.TiffWriter(tmp_path / "scan.tif") as tif:
        for index, values in enumerate(GREY):
            kept = {"photometric": "minisblack"} | (options if index == at else {})
            tif.write(change(values) if index == at else values, contiguous=False, metadata=None, **kept)
    with pytest.raises(InputError, match=r"pages of .* must be alike|RGB"):
        read(tmp_path / "scan.tif")


@pytest.mark.parametrize("about", [None, {}])
def test_pages_that_show_their_values_differently_are_refused(tmp_path: Path, about: dict[str, Any] | None) -> None:
    with tifffile.TiffWriter(tmp_path / "scan.tif") as tif:
        for index, values in enumerate(GREY):
            shown = "miniswhite" if index == 3 else "minisblack"
            tif.write(values, photometric=shown, contiguous=False, metadata=about)
    with pytest.raises(InputError, match=r"pages of .* kinds \(40 x 32 uint16, 40 x 32 uint16, MinIsWhite\)"):
        read(tmp_path / "scan.tif")


def test_a_colour_table_is_said(tmp_path: Path) -> None:
    labels = (GREY % 200).astype(np.uint8)
    table = np.random.default_rng(1).integers(0, 60000, (3, 256)).astype(np.uint16)
    imwrite(tmp_path / "scan.tif", labels, photometric="palette", colormap=table)
    assert np.array_equal(read(tmp_path / "scan.tif"), labels)
    assert "colour table is not applied" in notes(tmp_path / "scan.tif")


def test_an_orientation_is_said(tmp_path: Path) -> None:
    imwrite(tmp_path / "scan.tif", GREY, photometric="minisblack", extratags=[(274, 3, 1, 4, False)])
    assert np.array_equal(read(tmp_path / "scan.tif"), GREY)
    assert "orientation 4 is not applied" in notes(tmp_path / "scan.tif")


def page(width: int, height: int, data: bytes, *, compression: int = 1, bits: int = 16, photo: int = 1, form: int = 1):
    """A TIFF of one page, made by hand."""
    tags = {256: width, 257: height, 258: bits, 259: compression, 262: photo, 273: 8, 277: 1, 278: height}
    tags |= {279: len(data), 339: form}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


PACKED = zlib.compress(bytes(1000))
ABSURD = {
    "huge": (page(2**31 - 1, 2**31 - 1, b"x" * 16), "truncated"),
    "huge and packed": (
        page(2**31 - 1, 2**31 - 1, PACKED, compression=8),
        "need at least [0-9]+ MiB; raise --memory, or cut",
    ),
    "largest": (
        page(2**32 - 1, 2**32 - 1, PACKED, compression=8),
        "need at least [0-9]+ MiB; raise --memory, or cut",
    ),
    "wide": (page(60000, 60000, PACKED, compression=8), "memory budget 4096 MiB: slices of 60000 x 60000 uint16"),
    "no columns": (page(0, 40, b"x" * 80), "an axis without voxels"),
    "no rows": (page(40, 0, b"x" * 80), "an axis without voxels"),
    "bomb": (page(40, 50, zlib.compress(bytes(2**26)), compression=8), "damaged"),
    "short": (page(40, 50, PACKED, compression=8), "damaged"),
    "unknown codec": (page(10, 10, b"x" * 200, compression=999), "damaged or not a TIFF"),
    "raw of a camera": (page(10, 10, b"x" * 200, photo=32803), "no grey values"),
    "Lab": (page(10, 10, b"x" * 200, photo=8), "no grey values"),
    "unknown format": (page(10, 10, b"x" * 200, form=9), "in an unknown format"),
    "odd bits": (page(10, 10, b"x" * 2000, bits=100), "in an unknown format"),
    "bits": (page(10, 10, b"x" * 20, bits=1), "voxels of type bool"),
}


@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_pages_are_refused_in_one_line(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, says = ABSURD[kind]
    (tmp_path / "slices").mkdir()
    for index in range(3):
        (tmp_path / "slices" / f"s{index}.tif").write_bytes(data)
    arguments = ["ingest", f"{tmp_path}/slices", f"{tmp_path}/data", "--name", "a", "--spacing", "0.01"]
    assert main([*arguments, "--particle-size", "0.03"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(InputError, match=says):
        raise InputError(error)
    assert not (tmp_path / "data").exists()


# --- spacing ---


@pytest.mark.parametrize(
    ("unit", "length", "mm"),
    [("µm", 10, 0.01), ("nm", 500, 0.0005), ("mm", 0.02, 0.02), ("Å", 5000, 0.0005), (None, 10, 0.01)],
)
def test_spacing_of_ome(tmp_path: Path, unit: str | None, length: float, mm: float) -> None:
    path = tmp_path / "scan.ome.tif"
    sizes = {f"PhysicalSize{axis}": length for axis in "XYZ"}
    units = {f"PhysicalSize{axis}Unit": unit for axis in "XYZ"} if unit else {}
    imwrite(path, GREY, photometric="minisblack", metadata={"axes": "ZYX", **sizes, **units})
    with open_scan(str(path)) as reader:
        assert reader.spacing == (mm, mm, mm)
    assert main(["export", str(path), f"{tmp_path}/scan.nii", "--format", "nifti"]) == 0
    assert nib.load(tmp_path / "scan.nii").header.get_zooms() == pytest.approx((mm,) * 3)
    ingest = ["ingest", str(path), f"{tmp_path}/data", "--name", "a", "--particle-size", f"{8 * mm}"]
    assert main(ingest) == 0
    with open_scan(f"{tmp_path}/data/images/a.zarr") as reader:
        assert reader.spacing == pytest.approx((mm, mm, mm))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('PhysicalSizeZ="10"', ""), "not three lengths"),
        (('PhysicalSizeZ="10"', 'PhysicalSizeZ="NaN"'), "must be above 0"),
        (('PhysicalSizeZ="10"', 'PhysicalSizeZ="-10"'), "must be above 0"),
        (('PhysicalSizeZ="10"', 'PhysicalSizeZ="10" PhysicalSizeZUnit="pixel"'), "not a unit of length"),
        (("<OME", '<!DOCTYPE x [<!ENTITY a "10">]><OME'), "defines entities"),
    ],
)
def test_spacing_of_ome_that_is_not_believed(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    path = tmp_path / "scan.ome.tif"
    sizes = {f"PhysicalSize{axis}": 10 for axis in "XYZ"}
    imwrite(path, GREY, photometric="minisblack", metadata={"axes": "ZYX", **sizes})
    about = tifffile.tiffcomment(path)
    assert change[0] in about
    tifffile.tiffcomment(path, about.replace(*change).encode())
    with open_scan(str(path)) as reader:
        assert reader.spacing is None
        assert says in reader.notes[0]


@pytest.mark.parametrize(
    ("unit", "mm"), [("um", 0.02), ("\\u00B5m", 0.02), ("micron", 0.02), ("MM", 20.0), ("pixel", None)]
)
def test_units_of_imagej(tmp_path: Path, unit: str, mm: float | None) -> None:
    path = tmp_path / "scan.tif"
    imwrite(path, GREY, imagej=True, resolution=(0.05, 0.05), metadata={"axes": "ZYX", "spacing": 20, "unit": unit})
    with open_scan(str(path)) as reader:
        assert reader.spacing == (None if mm is None else pytest.approx((mm,) * 3))


# --- places ---


@pytest.mark.parametrize("ending", [".btf", ".tf8", ".TF2", ".TIF", ".ome.btf"])
def test_endings(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    imwrite(folder / f"scan{ending}", GREY, photometric="minisblack", bigtiff=True, metadata={"axes": "ZYX"})
    assert np.array_equal(read(folder / f"scan{ending}"), GREY)
    assert np.array_equal(read(folder), GREY)
    assert main(["export", str(folder), f"{tmp_path}/out{ending}", "--format", "tiff"]) == 0
    with tifffile.TiffFile(tmp_path / f"out{ending}") as tif:
        assert tif.is_bigtiff == (ending != ".TIF")
        assert np.array_equal(tif.asarray(), GREY)


@pytest.mark.parametrize("ending", TIFF_SUFFIXES)
def test_endings_of_arrivals(ending: str) -> None:
    listing = {name: {"size": 1, "type": "file", "mtime": 1.0} for name in (f"ore{ending.upper()}", "ore.json")}
    (arrival,) = arrivals_in(listing)
    assert (arrival.name, arrival.sources) == ("ore", [f"ore{ending.upper()}"])


@pytest.mark.parametrize("name", ["scan.tif", "scan.nii", "scan.nii.gz", "slices/s3.tif", "scan", "scan.zarr"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "slices").mkdir()
    for index in range(6):
        imwrite(tmp_path / "slices" / f"s{index}.tif", GREY[index])
    (tmp_path / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(InputError, match=f"a {kind}, not a file with content of its own"):
        read(tmp_path / name.split("/")[0])


def edited(path: Path, *changes: tuple[bytes, bytes]) -> Path:
    """`path`, with its bytes changed."""
    content = path.read_bytes()
    for before, after in changes:
        assert before in content
        content = content.replace(before, after)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_that_promises_half_of_the_slices(tmp_path: Path, compression: str | None) -> None:
    volume = np.arange(24 * 9 * 8, dtype=np.uint16).reshape(24, 9, 8)
    imwrite(tmp_path / "a.ome.tif", volume, ome=True, metadata={"axes": "ZYX"}, compression=compression)
    path = edited(tmp_path / "a.ome.tif", (b'SizeZ="24"', b'SizeZ="12"'))
    with pytest.raises(InputError, match="24 slices where its metadata promise 12"):
        open_scan(str(path))


@pytest.mark.parametrize("single_page", [False, True])
def test_imagej_that_promises_half_of_the_slices(tmp_path: Path, single_page: bool) -> None:
    volume = np.arange(24 * 9 * 8, dtype=np.uint16).reshape(24, 9, 8)
    imwrite(tmp_path / "a.tif", volume, imagej=True, metadata={"axes": "ZYX"})
    if single_page:
        with TiffFile(tmp_path / "a.tif") as tif:
            page, order = tif.pages.first, tif.byteorder
        content = bytearray((tmp_path / "a.tif").read_bytes()[: page.dataoffsets[0] + volume.nbytes])
        struct.pack_into(f"{order}I", content, page.offset + 2 + 12 * len(page.tags), 0)  # no page after it
        (tmp_path / "a.tif").write_bytes(content)
        with open_scan(str(tmp_path / "a.tif")) as reader:
            assert np.array_equal(reader.read(0, 24), volume)
    path = edited(tmp_path / "a.tif", (b"images=24", b"images=12"), (b"slices=24", b"slices=12"))
    with pytest.raises(InputError, match="24 slices where its metadata promise 12"):
        open_scan(str(path))


@pytest.mark.parametrize("ome", [False, True])
def test_two_volumes_in_one_file(tmp_path: Path, ome: bool) -> None:
    with TiffWriter(tmp_path / "two.tif", ome=ome) as writer:
        for _ in range(2):
            writer.write(np.zeros((5, 9, 8), np.uint16), photometric="minisblack")
    with pytest.raises(InputError, match=r"2 volumes in one file \(5 x 9 x 8, 5 x 9 x 8\); save the scan as a file"):
        open_scan(str(tmp_path / "two.tif"))
