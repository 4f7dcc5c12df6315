"""AmiraMesh: what headers say, packings, and what is refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from ps3d_core.errors import InputError
from ps3d_core.scan.sources import open_scan
from tests.formats.amira import header_of, runs

VOXELS = np.random.default_rng(0).integers(0, 60_000, (5, 6, 7)).astype(np.uint16)
SPACING = (0.02, 0.0125, 0.005)
LITTLE = "BINARY-LITTLE-ENDIAN 2.1"


def written(tmp_path, *changes, values=VOXELS, data=None, first=LITTLE, **options):
    """A file in whose header the first text of each change is the second."""
    header = header_of(values, options.pop("spacing", SPACING), first, **options)
    for old, new in changes:
        assert old in header
        header = header.replace(old, new)
    content = values.astype(values.dtype.newbyteorder("<")).tobytes() if data is None else data
    (tmp_path / "scan.am").write_bytes(header.encode() + content)
    return tmp_path / "scan.am"


def opened(path):
    with open_scan(path) as reader:
        return reader


def read(path):
    with open_scan(path) as reader:
        return reader.read(0, reader.shape[0])


def refused(path, match):
    with pytest.raises(InputError, match=match) as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("first", ["# AmiraMesh 3D " + LITTLE, "# Avizo " + LITTLE, "# AmiraMesh " + LITTLE + "\r"])
def test_first_lines(tmp_path, first):
    assert np.array_equal(read(written(tmp_path, ("# AmiraMesh " + LITTLE, first))), VOXELS)


def test_lines_of_windows(tmp_path):
    path = written(tmp_path)
    head, mark, data = path.read_bytes().partition(b"\n@1\n")
    path.write_bytes((head + mark).replace(b"\n", b"\r\n") + data)
    assert np.array_equal(read(path), VOXELS)
    assert opened(path).spacing == pytest.approx(SPACING)


@pytest.mark.parametrize(("unit", "mm"), [("nm", 1e-6), ("um", 1e-3), ("µm", 1e-3), ("mm", 1), ("cm", 10), ("m", 1000)])
def test_units(tmp_path, unit, mm):
    assert opened(written(tmp_path, unit=unit)).spacing == pytest.approx([side * mm for side in SPACING])


def test_units_in_latin_1(tmp_path):
    path = written(tmp_path, unit="µm")
    path.write_bytes(path.read_bytes().replace("µm".encode(), "µm".encode("latin-1")))
    assert opened(path).spacing == pytest.approx([side * 1e-3 for side in SPACING])


def test_spacing_that_is_not_believed(tmp_path):
    assert "unit 'furlong' is none of length" in opened(written(tmp_path, unit="furlong")).spacing_doubt
    no_unit = ('        Coordinates "mm"\n', "")
    assert (
        "its spacing 0.02, 0.0125, 0.005 (z, y, x) is not used: it says no unit"
        in opened(written(tmp_path, no_unit)).notes
    )
    assert opened(written(tmp_path, no_unit, spacing=(1.0, 1.0, 1.0))).notes == ()
    for box in ("0 1 0 1", "0 0 0 1 0 1", "1 0 0 1 0 1", "0 1 0 1 0 nan", "0 1 0 1 0 x", "0 1e999 0 1 0 1"):
        path = written(tmp_path, ("0 0.03 0 0.0625 0 0.08", box))
        assert f"its bounding box {box} is not used" in opened(path).spacing_doubt
    no_box = ("    BoundingBox 0 0.03 0 0.0625 0 0.08,\n", "")
    assert opened(written(tmp_path, no_box)).notes == ()


def test_labels_are_known(tmp_path):
    labels = (VOXELS % 3).astype(np.uint8)
    packed = runs(labels.tobytes())
    assert not opened(written(tmp_path)).is_label
    assert opened(written(tmp_path, ("Parameters {", "Parameters {\n    Materials {\n    }"))).is_label
    path = written(tmp_path, values=labels, data=packed, packing=f"(HxByteRLE,{len(packed)})")
    assert opened(path).is_label
    assert np.array_equal(read(path), labels)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ([("AmiraMesh", "HyperSurface")], "not an AmiraMesh file"),
        ([(LITTLE, "3.0")], "neither binary nor text"),
        ([("define Lattice", "define Vertices")], "0 lattices"),
        ([("define Lattice 7 6 5", "define Lattice 7 6")], "0 lattices"),
        ([("7 6 5", "7 6 6")], "truncated"),
        ([("7 6 5", "7 6 4")], "more bytes than its voxels"),
        ([("7 6 5", "7 6 1")], "at least 2 slices"),
        ([("7 6 5", "7 0 5")], "an axis without voxels"),
        ([("ushort Data", "ushort[3] Data")], r"ushort\[3\] per voxel"),
        ([("ushort Data", "complex Data")], "voxels of type complex"),
        ([("@1\n\n#", "@1\nLattice { byte More } @2\n\n#")], "2 fields on its lattice"),
        ([("} @1", "} @2")], "its voxels, @2, are not its first data"),
        ([("} @1", "} @1(HxOther,210)")], "packed with HxOther"),
        ([("} @1", "} @1(HxZip,9999)")], "truncated, 9999 packed bytes"),
        ([("} @1", "} @1(HxZip,210)")], "damaged"),
        ([("} @1", "} @1(HxByteRLE,210)")], "runs of bytes of uint16 voxels"),
        ([('CoordType "uniform"', 'CoordType "rectilinear"')], "rectilinear coordinates; must be uniform"),
        ([("\n@1\n", "\n")], "no data section"),
    ],
)
def test_what_is_refused(tmp_path, changes, match):
    refused(written(tmp_path, *changes), match)


def test_what_follows_the_voxels(tmp_path):
    data = VOXELS.tobytes()
    assert np.array_equal(read(written(tmp_path, data=data + b"\n@2\n1 2 3")), VOXELS)
    refused(written(tmp_path, data=data + b"12"), "more bytes than its voxels")


def test_text(tmp_path):
    numbers = " ".join(map(str, VOXELS.ravel())).encode()
    text = {"first": "ASCII 2.0"}
    assert np.array_equal(read(written(tmp_path, data=numbers + b"\n@2\n7 8", **text)), VOXELS)
    assert np.array_equal(read(written(tmp_path, data=numbers, **text)), VOXELS)
    for data, match in [
        (numbers + b" 7", "more numbers than voxels"),
        (numbers[: len(numbers) * 2 // 3], "ends before its last voxel"),
        (numbers[:100], "truncated"),
        (b"x" + numbers, "damaged"),
        (b"-1" + numbers, "no uint16"),
        (b"7" * 70 + numbers, "longer than a number"),
    ]:
        refused(written(tmp_path, data=data, **text), match)


class TestRuns:
    LABELS = np.repeat(np.random.default_rng(0).integers(0, 255, 40_000), 100).astype(np.uint8).reshape(40, 200, 500)

    def written(self, tmp_path, data, values=LABELS, length=None):
        packing = f"(HxByteRLE,{len(data) if length is None else length})"
        return written(tmp_path, values=values, data=data, packing=packing)

    def test_any_order_in_little_memory(self, tmp_path):
        path = self.written(tmp_path, runs(self.LABELS.tobytes()))
        read(path)  # compiles
        tracemalloc.start()
        try:
            with open_scan(path) as reader:
                for start in (30, 3, 39, 0, 20, 19, 4):
                    assert np.array_equal(reader.read(start, start + 1)[0], self.LABELS[start])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 2**21

    def test_damage(self, tmp_path):
        packed = runs(self.LABELS.tobytes())
        refused(self.written(tmp_path, packed[:-40]), "ends before its last voxel")
        refused(self.written(tmp_path, packed[:-1], length=len(packed)), "truncated")
        refused(self.written(tmp_path, packed + b"\2\7"), "more runs than voxels")
        refused(self.written(tmp_path, packed[:-2] + b"\x7f\7"), "more runs than voxels")
        refused(self.written(tmp_path, b"\x7f\0" * 9), "truncated")
