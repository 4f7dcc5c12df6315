from __future__ import annotations

import struct
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import nibabel as nib
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from tifffile import TiffWriter, imwrite

from ps3d_core.errors import CorruptDataError, InputError, MissingDataError
from ps3d_core.params import SourceParams
from ps3d_core.scan.slice_names import natural_order, one_series
from ps3d_core.scan.sources import open_scan
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image

GREY = np.random.default_rng(0).integers(0, 60000, (12, 40, 50)).astype(np.uint16)


def read_all(source, **options):
    """The volume in one piece, after it was found equal in pieces of any kind."""
    with open_scan(str(source), SourceParams(**options)) as reader:
        whole = reader.read(0, reader.shape[0])
        assert whole.shape == reader.shape
        assert whole.dtype == reader.dtype
        assert reader.dtype.isnative
        cut = reader.shape[0] // 3
        ranges = [(cut, reader.shape[0]), (0, cut), (cut, cut + 1)]
        with ThreadPoolExecutor(3) as threads:
            for (start, stop), part in zip(ranges, threads.map(lambda r: reader.read(*r), ranges), strict=True):
                assert np.array_equal(part, whole[start:stop])
    return whole


def slices(folder: Path, names, volume=GREY, **options) -> Path:
    folder.mkdir()
    for name, values in zip(names, volume, strict=False):
        imwrite(folder / name, values, **options)
    return folder


def in_memory(folder: Path) -> str:
    url = f"memory://{uuid.uuid4().hex}"
    filesystem = fsspec.filesystem("memory")
    for path in [folder] if folder.is_file() else folder.iterdir():
        filesystem.pipe_file(f"{url}/{path.name}", path.read_bytes())
    return f"{url}/{folder.name}" if folder.is_file() else url


# --- names ---


def test_natural_order():
    shuffled = ["s10.tif", "s9.TIF", "S1.tif", "s2_b.tif", "s2.tif", "s2_a.tiff"]
    assert natural_order(shuffled) == ["S1.tif", "s2.tif", "s2_a.tiff", "s2_b.tif", "s9.TIF", "s10.tif"]


@given(st.integers(0, 10**6), st.integers(2, 40), st.sampled_from(["{}", "{:07d}", "a3_{}", "x{:04d}_y"]))
def test_numbering_in_any_writing(first, count, form):
    names = [form.format(first + i) + ".tif" for i in range(count)]
    assert natural_order(sorted(names)) == names
    one_series(names, "folder")
    for gone in range(1, count - 1):
        with pytest.raises(InputError, match=f"slice {first + gone} is missing"):
            one_series(names[:gone] + names[gone + 1 :], "folder")


@pytest.mark.parametrize(
    "names",
    [
        ["a.tif", "b.tif", "c.tif"],
        ["z1_10.5.tif", "z2_3.5.tif", "z3_77.5.tif"],
        ["scan_0007_20260131.tif", "scan_0008_20260203.tif", "scan_0009_20260204.tif"],
        ["only.tif"],
    ],
)
def test_names_without_a_gap(names):
    one_series(names, "folder")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["slice_0001.tif", "slice_0003.tif"], "slice 2 is missing between slice_0001.tif and slice_0003.tif"),
        (["s1.tif", "s9.tif"], "slice 2 to 8 is missing"),
        (["t1_5.tif", "t3_90.tif"], "slice 2 is missing"),
        (["s01.tif", "s1.tif", "s2.tif"], "s01.tif and s1.tif have the same number"),
        (["overview.tif", "s1.tif", "s2.tif"], "2 scans: 1 of overview, 2 of s#"),
    ],
)
def test_names_with_a_gap(names, message):
    with pytest.raises(InputError, match=message):
        one_series(natural_order(names), "folder")


# --- folders of slices ---


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ([f"slice_{i}.tif" for i in range(12)], {}),
        ([f"A{i}.{'TIF' if i % 2 else 'Tiff'}" for i in range(95, 107)], {"compression": "lzw"}),
        ([f"{letter}.tif" for letter in "abcdefghijkl"], {"byteorder": ">"}),
        ([f"{i:05d}.tif" for i in range(12)], {"tile": (16, 16), "compression": "zlib", "predictor": True}),
        ([f"{i}.tif" for i in range(12)], {"bigtiff": True, "rowsperstrip": 7}),
        ([f"{i}.tif" for i in range(12)], {"photometric": "miniswhite"}),
    ],
)
def test_slices_on_a_folder_and_elsewhere(tmp_path, names, options):
    folder = slices(tmp_path / "scan", names, **options)
    assert np.array_equal(read_all(folder), GREY)
    assert np.array_equal(read_all(in_memory(folder)), GREY)


def test_other_files_are_left_aside(tmp_path):
    folder = slices(tmp_path / "scan", [f"s{i}.tif" for i in range(12)])
    for name in ("._s1.tif", ".DS_Store", "Thumbs.db", "scan.log"):
        (folder / name).write_bytes(b"not a picture")
    (folder / "thumbnails").mkdir()
    assert np.array_equal(read_all(folder), GREY)


def test_a_folder_in_place_of_a_slice_is_named(tmp_path):
    folder = slices(tmp_path / "scan", [f"s{i}.tif" for i in range(12)])
    (folder / "s7.tif").unlink()
    (folder / "s7.tif").mkdir()
    with pytest.raises(InputError, match=r"s7\.tif: a folder where a file is expected"):
        read_all(folder)


def test_gap_can_be_allowed(tmp_path):
    folder = slices(tmp_path / "scan", ["s1.tif", "s2.tif", "s5.tif"])
    with pytest.raises(InputError, match="slice 3 to 4 is missing"):
        open_scan(str(folder))
    assert np.array_equal(read_all(folder, allow_gaps=True), GREY[:3])


def test_folder_with_one_stack_is_that_stack(tmp_path):
    (tmp_path / "scan").mkdir()
    imwrite(tmp_path / "scan" / "all.tif", GREY)
    assert np.array_equal(read_all(tmp_path / "scan"), GREY)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = b"\xff" * (len(data) // 2 - len(data) // 3)
    path.write_bytes(data)


SPOILT = {
    "other shape": (lambda path: imwrite(path, GREY[0, :30]), "30 x 50 uint16; must be 40 x 50 uint16 like s0.tif"),
    "other dtype": (lambda path: imwrite(path, GREY[0].astype("u1")), "40 x 50 uint8; must be 40 x 50 uint16"),
    "pages": (lambda path: imwrite(path, GREY[:3], photometric="minisblack"), "3 pages in one slice"),
    "rgb": (lambda path: imwrite(path, np.zeros((40, 50, 3), "u1"), photometric="rgb"), "RGB, 3 values per pixel"),
    "planes": (
        lambda path: imwrite(path, np.zeros((2, 40, 50), "u2"), photometric="minisblack", planarconfig="separate"),
        "multi-channel, 2 values",
    ),
    "bool": (lambda path: imwrite(path, GREY[0] > 9), "voxels of type bool"),
    "complex": (lambda path: imwrite(path, GREY[0].astype("c8")), "voxels of type complex64"),
    "cut": (cut_in_half, "truncated, [0-9]+ bytes do not hold 40 x 50"),
    "scrambled": (scramble, "damaged or not a TIFF"),
    "empty": (lambda path: path.write_bytes(b""), "damaged or not a TIFF"),
    "text": (lambda path: path.write_bytes(b"hello"), "damaged or not a TIFF"),
}


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize("where", ["folder", "memory"])
def test_a_spoilt_slice_is_named(tmp_path, kind, where):
    spoil, message = SPOILT[kind]
    folder = slices(tmp_path / "scan", [f"s{i}.tif" for i in range(5)], compression="lzw")
    spoil(folder / "s3.tif")
    source = folder if where == "folder" else in_memory(folder)
    with pytest.raises(InputError, match=rf"scan/s3\.tif: .*{message}" if where == "folder" else message) as caught:
        read_all(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["folder", "memory"])
def test_cut_before_the_directory(tmp_path, where):
    folder = slices(tmp_path / "scan", [f"s{i}.tif" for i in range(5)])
    data = (folder / "s3.tif").read_bytes()
    # Many scanners write the directory behind the voxels.
    with tifffile.TiffFile(folder / "s3.tif") as tif:
        start, after = tif.pages.first.offset, tif.pages.first.dataoffsets[0]
    (folder / "s3.tif").write_bytes(data[:4] + struct.pack("<I", len(data)) + data[8:start] + data[after:])
    with pytest.raises(InputError, match=r"s3\.tif: truncated or damaged, no page"):
        read_all(folder if where == "folder" else in_memory(folder))


@pytest.mark.parametrize("kind", ["other shape", "other dtype", "rgb", "cut", "empty"])
def test_headers_are_checked_before_anything_is_read(tmp_path, kind):
    folder = slices(tmp_path / "scan", [f"s{i}.tif" for i in range(5)])
    SPOILT[kind][0](folder / "s4.tif")
    with pytest.raises(InputError, match=r"s4\.tif"):
        open_scan(str(folder))


def test_what_is_no_scan_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="an empty folder; check the path"):
        open_scan(str(tmp_path / "empty"))
    with pytest.raises(InputError, match="no such file or folder"):
        open_scan(str(tmp_path / "absent"))
    with pytest.raises(InputError, match="no such file or folder"):
        open_scan(f"memory://{uuid.uuid4().hex}/absent.tif")
    (tmp_path / "scan.xyz").write_bytes(b"1234")
    with pytest.raises(InputError, match="unknown kind of file"):
        open_scan(str(tmp_path / "scan.xyz"))
    with pytest.raises(InputError, match="one 2-D slice of 40 x 50"):
        open_scan(str(slices(tmp_path / "single", ["s1.tif"])))


# --- one TIFF ---

LAYOUTS = {
    "plain": {},
    "big": {"bigtiff": True},
    "big endian": {"byteorder": ">"},
    "tiled": {"tile": (16, 32)},
    "deflate": {"compression": "zlib", "predictor": True},
    "lzw": {"compression": "lzw", "rowsperstrip": 9},
    "zstd tiles": {"compression": "zstd", "tile": (32, 16), "bigtiff": True},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "imagej frames": {"imagej": True, "metadata": {"axes": "TYX"}},
    "imagej deflate": {"imagej": True, "compression": "zlib", "metadata": {"axes": "ZYX"}},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    "no metadata": {"metadata": None},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_stack_of_any_layout(tmp_path, layout, dtype):
    volume = GREY.astype(dtype)
    imwrite(tmp_path / "scan.tif", volume, **{"photometric": "minisblack", **LAYOUTS[layout]})
    assert np.array_equal(read_all(tmp_path / "scan.tif"), volume)
    assert np.array_equal(read_all(in_memory(tmp_path / "scan.tif")), volume)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "int32", "uint64", "int64", "float16", "float64"])
def test_dtype_of_the_scanner_is_kept(tmp_path, dtype):
    volume = (GREY % 100).astype(dtype)
    imwrite(tmp_path / "scan.tif", volume)
    assert read_all(tmp_path / "scan.tif").dtype == dtype
    assert np.array_equal(read_all(tmp_path / "scan.tif"), volume)


def test_sides_of_one_are_no_further_axes(tmp_path):
    stack(tmp_path / "scan.tif", GREY[None])
    assert np.array_equal(read_all(tmp_path / "scan.tif"), GREY)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_separate_pages(tmp_path, options):
    with TiffWriter(tmp_path / "scan.tif") as tif:
        for values in GREY:
            tif.write(values, contiguous=False, metadata=None, **options)
    assert np.array_equal(read_all(tmp_path / "scan.tif"), GREY)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 32)}, {"byteorder": ">"}])
@pytest.mark.parametrize("appended", [False, True])
def test_pages_written_one_by_one(tmp_path, options, appended):
    path = tmp_path / "scan.tif"
    order = {key: value for key, value in options.items() if key == "byteorder"}
    rest = {key: value for key, value in options.items() if key != "byteorder"}
    if appended:
        for values in GREY:
            imwrite(path, values, append=path.exists(), **options)
    else:
        with TiffWriter(path, **order) as tif:
            for values in GREY:
                tif.write(values, **rest)
    assert np.array_equal(read_all(path), GREY)
    cut_in_half(path)
    with pytest.raises(InputError, match="truncated"):
        open_scan(str(path))


@pytest.mark.parametrize("change", [lambda page: page[:, :30], lambda page: page.astype("u1"), lambda page: GREY[:2]])
def test_different_pages_written_one_by_one_are_refused(tmp_path, change):
    with TiffWriter(tmp_path / "scan.tif") as tif:
        for index, values in enumerate(GREY):
            tif.write(change(values) if index == 7 else values, contiguous=False, photometric="minisblack")
    with pytest.raises(InputError, match=r"must be alike|12 volumes in one file"):
        open_scan(str(tmp_path / "scan.tif"))


@pytest.mark.parametrize("picture", [np.zeros((8, 9, 3), "u1"), np.zeros((3, 8, 9), "u1")])
def test_colour_written_one_by_one_is_refused(tmp_path, picture):
    with TiffWriter(tmp_path / "scan.tif") as tif:
        for _ in range(4):
            tif.write(picture, photometric="rgb")
    with pytest.raises(InputError, match="RGB"):
        open_scan(str(tmp_path / "scan.tif"))


def without_second_page(path: Path) -> None:
    """As ImageJ stores stacks above 4 GB: one directory, and all slices behind it."""
    with tifffile.TiffFile(path) as tif:
        after = tif.pages.first.offset + 2 + 12 * len(tif.pages.first.tags)
        order = tif.byteorder
    data = bytearray(path.read_bytes())
    data[after : after + 4] = struct.pack(order + "I", 0)
    path.write_bytes(data)


def test_imagej_page_that_holds_many(tmp_path):
    path = tmp_path / "scan.tif"
    imwrite(path, GREY, imagej=True, metadata={"axes": "ZYX"})
    without_second_page(path)
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == 1
    assert np.array_equal(read_all(path), GREY)
    cut_in_half(path)
    with pytest.raises(InputError, match="truncated, ImageJ metadata promise 12 slices"):
        open_scan(str(path))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_cut_stack_is_never_a_shorter_stack(tmp_path, layout, share):
    path = tmp_path / "scan.tif"
    imwrite(path, GREY, **{"photometric": "minisblack", **LAYOUTS[layout]})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"scan\.tif") as caught:
        read_all(path)
    assert "\n" not in str(caught.value)


def test_damaged_page_is_named(tmp_path):
    path = tmp_path / "scan.tif"
    imwrite(path, GREY, compression="zlib")
    scramble(path)
    with pytest.raises(InputError, match=r"scan\.tif"):
        read_all(path)


def stack(path, volume, **options):
    imwrite(path, volume, **{"photometric": "minisblack", **options})


REFUSED = {
    "rgb": (lambda path: stack(path, np.zeros((5, 8, 9, 3), "u1"), photometric="rgb"), "RGB"),
    "imagej channels": (lambda path: stack(path, np.zeros((5, 2, 8, 9), "u2"), imagej=True), "multi-channel"),
    "ome channels": (
        lambda path: stack(path, np.zeros((2, 5, 8, 9), "u2"), ome=True, metadata={"axes": "CZYX"}),
        "multi-channel",
    ),
    "time": (lambda path: stack(path, np.zeros((2, 5, 8, 9), "u2"), metadata={"axes": "TZYX"}), "4-dimensional"),
    "unnamed axes": (lambda path: stack(path, np.zeros((2, 5, 8, 9), "u2")), r"4-dimensional \(2, 5, 8, 9\)"),
    "one slice": (lambda path: stack(path, GREY[0]), "one 2-D slice"),
    "bool": (lambda path: stack(path, GREY > 9), "voxels of type bool"),
    "complex": (lambda path: stack(path, GREY.astype("c16")), "voxels of type complex128"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_stacks_are_refused(tmp_path, kind):
    make, message = REFUSED[kind]
    make(tmp_path / "scan.tif")
    with pytest.raises(InputError, match=message):
        open_scan(str(tmp_path / "scan.tif"))


@pytest.mark.parametrize("change", [lambda page: page[:, :30], lambda page: page.astype("u1")])
def test_mixed_pages_are_refused(tmp_path, change):
    with TiffWriter(tmp_path / "scan.tif") as tif:
        for index, values in enumerate(GREY):
            tif.write(change(values) if index == 7 else values, contiguous=False, metadata=None)
    with pytest.raises(InputError, match="pages of 2 kinds"):
        open_scan(str(tmp_path / "scan.tif"))


def test_spacing_is_believed_only_where_it_is_meant(tmp_path):
    imwrite(tmp_path / "bare.tif", GREY, resolution=(72, 72), resolutionunit="INCH")
    meta = {"axes": "ZYX", "spacing": 20, "unit": "um"}
    imwrite(tmp_path / "imagej.tif", GREY, imagej=True, resolution=(0.1, 0.125), metadata=meta)
    with open_scan(str(tmp_path / "bare.tif")) as bare, open_scan(str(tmp_path / "imagej.tif")) as imagej:
        assert bare.spacing is None
        assert imagej.spacing == pytest.approx((0.02, 0.008, 0.01))


# --- NIfTI ---


def nifti(path, values, kind=nib.Nifti1Image, endianness="<"):
    header = kind.header_class(endianness=endianness)
    header.set_data_dtype(values.dtype)
    image = kind(values, np.diag([0.01, 0.02, 0.03, 1.0]), header)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
def test_nifti_axes_as_nibabel_sees_them(tmp_path, ending, kind, endianness, dtype):
    path = nifti(tmp_path / f"scan{ending}", GREY.T.astype(dtype), kind, endianness)
    whole = read_all(path)
    assert whole.dtype == dtype
    assert np.array_equal(whole, np.asarray(nib.load(path).dataobj).T)
    assert np.array_equal(whole, read_all(in_memory(path)))
    with open_scan(str(path)) as reader:
        assert reader.spacing == pytest.approx((0.03, 0.02, 0.01))


@pytest.mark.parametrize(
    ("dtype", "scaled"), [("uint8", "f4"), ("int16", "f4"), ("float32", "f4"), ("int32", "f8"), ("float64", "f8")]
)
def test_scaled_nifti_becomes_float(tmp_path, dtype, scaled):
    image = nib.Nifti1Image((GREY.T % 200).astype(dtype), np.eye(4))
    image.header.set_slope_inter(0.5, -100)
    nib.save(image, tmp_path / "scan.nii")
    whole = read_all(tmp_path / "scan.nii")
    assert whole.dtype == scaled
    np.testing.assert_allclose(whole, nib.load(tmp_path / "scan.nii").get_fdata().T, rtol=1e-6)
    with open_scan(str(tmp_path / "scan.nii")) as reader:
        assert f"units of 0.5 above -100: kept as {np.dtype(scaled)}" in reader.notes[0]


@pytest.mark.parametrize("scaling", [(1, 0), (0, 7), (np.nan, np.nan)])
def test_scaling_that_says_nothing_keeps_the_dtype(tmp_path, scaling):
    path = nifti(tmp_path / "scan.nii", GREY.T)
    data = bytearray(path.read_bytes())
    data[112:120] = struct.pack("<ff", *scaling)
    path.write_bytes(data)
    whole = read_all(path)
    assert whole.dtype == np.uint16
    assert np.array_equal(whole, GREY)


def test_rotations_are_not_applied(tmp_path):
    """Axes as stored and the spacing of the header, whatever the affine says."""
    rotated = np.array([[0, 0, -0.3, 5], [0.1, 0, 0, 6], [0, -0.2, 0, 7], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(GREY.T, rotated), tmp_path / "scan.nii.gz")
    with open_scan(str(tmp_path / "scan.nii.gz")) as reader:
        assert reader.spacing == pytest.approx((0.3, 0.2, 0.1))
        assert np.array_equal(reader.read(0, len(GREY)), GREY)


@pytest.mark.parametrize("lengths", [(0, 0, 0), (0.01, 0.01, 0), (-0.01, 0.01, 0)])
def test_lengths_of_zero_are_no_spacing(tmp_path, lengths):
    path = nifti(tmp_path / "scan.nii", GREY.T)
    data = bytearray(path.read_bytes())
    data[80:92] = struct.pack("<fff", *lengths)
    path.write_bytes(data)
    with open_scan(str(path)) as reader:
        assert reader.spacing is None


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_slabs_in_any_order(tmp_path, ending):
    with open_scan(str(nifti(tmp_path / f"scan{ending}", GREY.T))) as reader:
        for start, stop in ((0, 5), (5, 12), (3, 4), (0, 12)):
            assert np.array_equal(reader.read(start, stop), GREY[start:stop])


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (108, np.nan, "voxels begin at byte nan"),
        (108, np.inf, "voxels begin at byte inf"),
        (108, 8.0, "vox offset|voxels begin at byte 8"),
        (116, np.inf, "scaled by 1.0 above inf"),
        (112, np.inf, "scaled by inf"),
        (112, -np.inf, "scaled by -inf"),
        (116, np.nan, "scaled by 1.0 above nan"),
    ],
)
def test_headers_that_lie(tmp_path, offset, value, message):
    path = nifti(tmp_path / "scan.nii", GREY.T)
    data = bytearray(path.read_bytes())
    data[112:116] = struct.pack("<f", 1.0)
    data[offset : offset + 4] = struct.pack("<f", value)
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        open_scan(str(path))
    assert "\n" not in str(caught.value)


@given(changes=st.lists(st.tuples(st.integers(0, 351), st.binary(min_size=1, max_size=4)), min_size=1, max_size=3))
@settings(max_examples=300)
def test_any_header_is_read_or_refused_in_one_line(tmp_path, changes):
    path = tmp_path / "scan.nii"
    if not path.exists():
        nifti(tmp_path / "good.nii", GREY.T[:5])
    data = bytearray((tmp_path / "good.nii").read_bytes())
    for offset, value in changes:
        data[offset : min(offset + len(value), 352)] = value[: 352 - offset]
    path.write_bytes(data)
    refused = ""
    try:
        with open_scan(str(path)) as reader:
            assert reader.spacing is None or (min(reader.spacing) > 0 and np.isfinite(reader.spacing).all())
            assert reader.read(0, reader.shape[0]).shape == reader.shape
    except InputError as error:
        refused = str(error)
    assert "\n" not in refused


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("share", [0.001, 0.4, 0.9999])
def test_cut_nifti_is_refused(tmp_path, ending, share):
    path = nifti(tmp_path / f"scan{ending}", GREY.T)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"scan\.nii"):
        read_all(path)


def test_damaged_gzip_is_noticed(tmp_path):
    path = nifti(tmp_path / "scan.nii.gz", GREY.T)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_all(path)


def test_other_niftis_are_refused(tmp_path, capfd):
    nifti(tmp_path / "time.nii", np.zeros((4, 5, 6, 2), "u1"))
    with pytest.raises(InputError, match="4-dimensional"):
        open_scan(str(tmp_path / "time.nii"))
    nifti(tmp_path / "complex.nii", np.zeros((4, 5, 6), "c8"))
    with pytest.raises(InputError, match="complex64"):
        open_scan(str(tmp_path / "complex.nii"))
    rgb = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "rgb.nii")
    with pytest.raises(InputError, match="RGB; must be 1 grey value"):
        open_scan(str(tmp_path / "rgb.nii"))
    (tmp_path / "junk.nii").write_bytes(b"abc" * 500)
    with pytest.raises(InputError, match="not a NIfTI file"):
        open_scan(str(tmp_path / "junk.nii"))
    nib.save(nib.Nifti1Pair(GREY.T, np.eye(4)), tmp_path / "pair.hdr")
    (tmp_path / "pair.hdr").rename(tmp_path / "pair.nii")
    with pytest.raises(InputError, match="header without voxels"):
        open_scan(str(tmp_path / "pair.nii"))
    assert capfd.readouterr().err == ""


# --- Zarr ---


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["uint16", ">u2"])
def test_bare_zarr(tmp_path, zarr_format, dtype):
    array = zarr.create_array(tmp_path / "scan.zarr", shape=GREY.shape, dtype=dtype, zarr_format=zarr_format)
    array[:] = GREY
    assert np.array_equal(read_all(tmp_path / "scan.zarr"), GREY)


def test_ome_zarr_and_its_faults(tmp_path):
    location = Location.parse(tmp_path / "scan.zarr")
    create_image(location, GREY.shape, GREY.dtype, spacing=0.02, name="scan", label=True)[:] = GREY
    assert np.array_equal(read_all(location), GREY)
    with open_scan(location) as reader:
        assert (reader.spacing, reader.is_label) == ((0.02, 0.02, 0.02), True)
    chunk = tmp_path / "scan.zarr" / "0" / "c" / "0" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[100] ^= 255
    chunk.write_bytes(data)
    with pytest.raises(CorruptDataError, match="cannot be decoded"):
        read_all(location)
    chunk.unlink()
    with pytest.raises(MissingDataError, match="missing"):
        read_all(location)
