"""NRRD: every way of saying where the voxels are and how long they are, and what is refused or said."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from ps3d_core.errors import InputError
from ps3d_core.scan.sources import open_scan

GREY = np.random.default_rng(0).integers(-200, 200, (5, 7, 9)).astype("<i2")
FIELDS = {
    "type": "short",
    "dimension": "3",
    "sizes": "9 7 5",
    "spacings": "0.005 0.0125 0.02",
    "endian": "little",
    "encoding": "raw",
}
EDGES = (0.02, 0.0125, 0.005)


def header(data: str | None = "scan.raw", **fields: str | None) -> str:
    said = {**FIELDS, **{name.replace("_", " "): value for name, value in fields.items()}}
    lines = [f"{name}: {value}\n" for name, value in said.items() if value is not None]
    return "NRRD0005\n# made by hand\n" + "".join(lines) + (f"data file: {data}\n" if data else "\n")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    (tmp_path / "scan.raw").write_bytes(GREY.tobytes())
    return tmp_path / "scan.nhdr"


def read(path: Path) -> tuple[Any, Any, tuple[str, ...]]:
    with open_scan(str(path)) as reader:
        return reader.read(0, reader.shape[0]), reader.spacing, reader.notes


DIRECTIONS = "(0.005,0,0) (0,0.0125,0) (0,0,0.02)"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"spacings": None, "space_directions": DIRECTIONS, "space": "left-posterior-superior"},
        {"spacings": None, "space_directions": DIRECTIONS, "space_units": '"mm" "mm" "mm"'},
        {"spacings": "5 12.5 20", "units": '"microns" "um" "µm"'},
        {
            "dimension": "4",
            "sizes": "1 9 7 5",
            "kinds": "list domain domain domain",
            "spacings": "nan 0.005 0.0125 0.02",
        },
        {
            "dimension": "4",
            "sizes": "1 9 7 5",
            "kinds": "vector space space space",
            "spacings": None,
            "space_directions": f"none {DIRECTIONS}",
        },
        {"dimension": "4", "sizes": "9 7 5 1", "spacings": "0.005 0.0125 0.02 nan"},
        {"type": "signed short int", "kinds": "domain domain domain", "content": "ore: a sample"},
        {"byte_skip": "-1"},
    ],
)
def test_ways_to_say_the_same(scan: Path, fields: dict[str, str | None]) -> None:
    scan.write_text(header(**fields), encoding="utf-8")
    values, spacing, notes = read(scan)
    assert np.array_equal(values, GREY)
    assert spacing == pytest.approx(EDGES)
    assert notes == ()


@pytest.mark.parametrize(("encoding", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("raw", bytes)])
def test_lines_and_bytes_before_the_voxels(scan: Path, encoding: str, pack: Any) -> None:
    content = b"a line\nanother\r\n" + pack(bytes(6) + GREY.tobytes())
    scan.with_suffix(".raw").write_bytes(content)
    scan.write_text(header(encoding=encoding, line_skip="2", byte_skip="6"))
    assert np.array_equal(read(scan)[0], GREY)
    if encoding != "bz2":  # which ITK's Teem is built without; pynrrd skips the bytes twice where they are packed
        assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(scan)), GREY)
    scan.with_suffix(".nrrd").write_bytes(
        header(None, encoding=encoding, line_skip="2", byte_skip="6").encode() + content
    )
    assert np.array_equal(read(scan.with_suffix(".nrrd"))[0], GREY)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("LIST\nb\na\n3\nd.raw\nc", ["b", "a", "3", "d.raw", "c"]),
        ("LIST 2\nb\na\n3\nd.raw\nc", ["b", "a", "3", "d.raw", "c"]),
        ("s%03d.raw 1 5 1", [f"s{n:03d}.raw" for n in range(1, 6)]),
        ("s%d.raw 10 2 -2 2", [f"s{n}.raw" for n in range(10, 1, -2)]),
    ],
)
def test_a_file_for_each_slice(scan: Path, data: str, names: list[str]) -> None:
    for name, values in zip(names, GREY, strict=True):
        (scan.parent / name).write_bytes(values.tobytes())
    scan.write_text(header(data))
    values, _, _ = read(scan)
    assert np.array_equal(values, GREY)
    (scan.parent / names[2]).unlink()
    with pytest.raises(InputError, match=rf"names 5 files; '{names[2]}' is not beside it"):
        read(scan)


def test_files_of_several_slices(scan: Path) -> None:
    values = np.concatenate([GREY, GREY[:1]])
    for index in range(2):
        (scan.parent / f"part{index}").write_bytes(values[3 * index : 3 * index + 3].tobytes())
    scan.write_text(header("LIST 3\npart0\npart1\n", sizes="9 7 6"))
    with open_scan(str(scan)) as reader:
        assert np.array_equal(reader.read(2, 5), values[2:5])
        assert np.array_equal(reader.read(0, 6), values)


@pytest.mark.parametrize(
    ("data", "fields", "message"),
    [
        ("/etc/passwd", {}, "names '/etc/passwd' as its voxels; only files beside it are read"),
        ("../scan.raw", {}, "only files beside it are read"),
        ("LIST\n../scan.raw\n", {}, "'../scan.raw' is not beside it"),
        ("LIST 1\nscan.raw\n", {}, "must be files of whole slices, of 2 or 3 dimensions"),
        ("s%d.raw 1 5", {}, "must be a pattern, first and last number, and step"),
        ("s%d.raw 1 5 0", {}, "must be a pattern, first and last number, and step"),
        ("s%d.raw 1 3 1", {}, "3 data files for 5 slices"),
        ("s%n.raw 1 5 1", {}, "must have one %d or %03d in it"),
        ("scan.raw", {"encoding": "ascii"}, "encoding ascii; must be raw, gzip or bzip2; save it again"),
        ("scan.raw", {"encoding": "hex"}, "encoding hex; must be raw"),
        ("scan.raw", {"type": "block"}, "type 'block'; must be that of a number"),
        ("scan.raw", {"endian": None}, "endian ''; must be little or big"),
        ("scan.raw", {"dimension": "2"}, "sizes '9 7 5'; must be 2 numbers, as its dimension says"),
        ("scan.raw", {"sizes": "9 7 x"}, "must be whole numbers"),
        ("scan.raw", {"sizes": "9 7 6"}, "truncated, 630 bytes do not hold"),
        ("scan.raw", {"sizes": "9 7 4"}, "more bytes than"),
        ("scan.raw", {"dimension": "4", "sizes": "9 7 5 2"}, "4-dimensional"),
        (
            "scan.raw",
            {"dimension": "4", "sizes": "3 3 7 5", "kinds": "RGB-color domain domain domain"},
            "an axis of 3 values of kind rgb-color; must be one volume of 1 grey value per voxel; convert to",
        ),
        ("scan.raw", {"dimension": "4", "sizes": "9 7 5 2", "kinds": "space space space time"}, "2 values of kind"),
        ("scan.raw", {"kinds": "domain domain"}, "must be one for each axis"),
        ("scan.raw", {"byte_skip": "-2"}, "byte skip -2, line skip 0; correct the header"),
        ("scan.raw", {"byte_skip": "-1", "encoding": "gzip"}, "byte skip -1"),
        ("scan.raw", {"line_skip": "1000"}, "has no 1000 lines before its voxels"),
        ("scan.raw", {"space_directions": "(a,0,0) (0,1,0) (0,0,1)"}, "must be vectors of numbers"),
        ("scan.raw", {"spacings": "1 2 three"}, "spacings '1 2 three'; must be numbers"),
    ],
)
def test_what_is_refused(scan: Path, data: str, fields: dict[str, str | None], message: str) -> None:
    scan.write_text(header(data, **fields))
    with pytest.raises(InputError, match=message) as raised:
        read(scan)
    assert "\n" not in str(raised.value)
    assert str(scan.parent) in str(raised.value)


@pytest.mark.parametrize("start", [b"NRRD0006\n", b"NRRD\n", b"abc", b""])
def test_what_is_no_nrrd(scan: Path, start: bytes) -> None:
    scan.write_bytes(start + header().encode()[9:])
    with pytest.raises(InputError, match="not an NRRD file of version 1 to 5"):
        read(scan)


def test_a_header_without_end(scan: Path) -> None:
    with scan.open("wb") as file:
        file.write(b"NRRD0005\n")
        file.truncate(2**40)
    with pytest.raises(InputError, match="not a header, 4 MiB without its end"):
        read(scan)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"spacings": None, "space_directions": "(-1,0,0) (0,2,0) (0,0,3)"}, "its header mirrors the axes"),
        ({"spacings": None, "space_directions": "(0,1,0) (2,0,0) (0,0,3)"}, "its header turns the axes"),
        ({"old_min": "0.5", "old_max": "7"}, "its values stand for others from 0.5 to 7 (old min, old max)"),
    ],
)
def test_what_is_said(scan: Path, fields: dict[str, str | None], says: str) -> None:
    scan.write_text(header(**fields))
    values, spacing, notes = read(scan)
    assert np.array_equal(values, GREY)
    assert spacing == pytest.approx((3, 2, 1) if "space_directions" in fields else EDGES)
    assert len(notes) == 1
    assert notes[0].startswith(says)


@pytest.mark.parametrize(
    ("fields", "doubt"),
    [
        ({"spacings": None}, None),
        ({"spacings": "1 1 1"}, None),
        ({"spacings": "nan nan nan"}, None),
        ({"spacings": "0 1 2"}, "lengths must be above 0"),
        ({"units": '"furlong" "mm" "mm"'}, "unit 'furlong, mm' is none of length"),
        ({"space_directions": "(1,0,0) (0,1,0) (0,0,1)"}, "differ"),
    ],
)
def test_spacings_that_are_not_believed(scan: Path, fields: dict[str, str | None], doubt: str | None) -> None:
    scan.write_text(header(**fields))
    with open_scan(str(scan)) as reader:
        assert reader.spacing is None
        assert (reader.spacing_doubt is None) == (doubt is None)
        assert doubt is None or doubt in (reader.spacing_doubt or "")


def test_a_turned_spacing_is_the_length_of_its_direction(scan: Path) -> None:
    scan.write_text(header(spacings=None, space_directions="(0.03,0.04,0) (-0.04,0.03,0) (0,0,0.1)"))
    _, spacing, notes = read(scan)
    assert spacing == (0.1, 0.05, 0.05)
    assert notes == ("its header turns the axes; they are taken as stored",)


def test_the_raw_file_may_be_given(scan: Path) -> None:
    scan.write_text(header())
    assert np.array_equal(read(scan.with_suffix(".raw"))[0], GREY)
