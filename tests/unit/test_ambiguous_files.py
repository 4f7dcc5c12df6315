"""Files that say one thing twice, in an odd place or not at all: nothing of that is read wrong without a word."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
import tifffile
import zarr
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.sources import open_scan
from tests.formats.dicom import dataset, place, write_slices
from tests.formats.file_format import SPACING, sample

GREY = sample("uint16", (5, 6, 7))
MHD = "ObjectType = Image\nNDims = 3\nDimSize = 7 6 5\nElementType = MET_USHORT\n"
NRRD = "NRRD0004\ntype: uint16\ndimension: 3\nsizes: 7 6 5\nencoding: raw\nendian: little\n"
VGI = (
    "[representation]\nsize = 7 {rows} {slices}\n[file1]\nFileFormat = raw\nSize = 7 {rows} {slices}\nName = a.raw\n"
    "Datatype = unsigned integer\nBitsPerElement = 16\n[geometry]\nresolution = 0.01 0.02 0.03\nunit = mm\n"
)


def opened(source: Path | str, **params: Any) -> tuple[npt.NDArray[Any], ScanReader]:
    with open_scan(source, SourceParams(**params)) as reader:
        return reader.read(0, reader.shape[0]), reader


def refused(source: Path | str, match: str, **params: Any) -> None:
    with pytest.raises(InputError, match=match) as raised:
        opened(source, **params)
    assert "\n" not in str(raised.value)


def voxels(folder: Path, name: str = "a.raw") -> Path:
    (folder / name).write_bytes(GREY.astype("<u2").tobytes())
    return folder / name


def test_two_byte_orders_are_none(tmp_path: Path) -> None:
    voxels(tmp_path)
    orders = "BinaryDataByteOrderMSB = {}\nElementByteOrderMSB = True\n"
    (tmp_path / "a.mhd").write_text(MHD + orders.format("False") + "ElementDataFile = a.raw\n")
    refused(tmp_path / "a.mhd", "BinaryDataByteOrderMSB and ElementByteOrderMSB say different things")
    (tmp_path / "a.mhd").write_text(MHD + orders.format("True") + "ElementDataFile = a.raw\n")
    np.testing.assert_array_equal(opened(tmp_path / "a.mhd")[0], GREY.byteswap())


def test_names_of_fields_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(GREY.astype(">u2").tobytes())
    (tmp_path / "a.mhd").write_text(
        MHD + "binarydatabyteordermsb = True\nELEMENTSPACING = 0.01 0.02 0.03\nelementdatafile = a.raw\n"
    )
    values, reader = opened(tmp_path / "a.mhd")
    np.testing.assert_array_equal(values, GREY)
    assert reader.spacing == (0.03, 0.02, 0.01)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.mhd", MHD + "BinaryDataByteOrderMSB = False\nElementDataFile = LIST\n{}"),
        ("a.nhdr", NRRD + "data file: LIST\n{}"),
    ],
)
def test_one_file_is_not_several_slices(tmp_path: Path, name: str, header: str) -> None:
    names = [f"s{index}.raw" for index in range(5)]
    for file, values in zip(names, GREY, strict=True):
        (tmp_path / file).write_bytes(values.astype("<u2").tobytes())
    (tmp_path / name).write_text(header.format("\n".join(names)))
    np.testing.assert_array_equal(opened(tmp_path / name)[0], GREY)
    (tmp_path / name).write_text(header.format("\n".join([*names[:4], "s0.raw"])))
    refused(tmp_path / name, "names 's0.raw' for several parts of its voxels")


HEADERS = {
    "a.mhd": MHD + "BinaryDataByteOrderMSB = False\nElementDataFile = a.raw\n",
    "b.mhd": MHD + "BinaryDataByteOrderMSB = False\nElementDataFile = LIST 3\na.raw\n",
    "a.nhdr": NRRD + "data file: a.raw\n",
    "a.vgi": VGI.format(rows=6, slices=5),
    "a.pcr": "[VolumeData]\nVolume_SizeX=7\nVolume_SizeY=6\nVolume_SizeZ=5\nFormat=5\n",
}


@pytest.mark.parametrize("name", HEADERS)
def test_no_header_leads_out_of_its_folder_by_a_link(tmp_path: Path, name: str) -> None:
    scan, elsewhere = tmp_path / "scan", tmp_path / "elsewhere"
    for folder in (scan, elsewhere, tmp_path / "links"):
        folder.mkdir()
    (scan / name).write_text(HEADERS[name])
    (scan / "a.raw").symlink_to(voxels(elsewhere))
    refused(scan / name, f"a link out of the folder of {name}; copy what it leads to")
    (scan / "a.raw").unlink()
    (scan / "a.raw").symlink_to(voxels(scan, "other.bin"))
    np.testing.assert_array_equal(opened(scan / name)[0], GREY)
    for file in (name, "a.raw"):  # a person's own links to a scan as a whole
        (tmp_path / "links" / file).symlink_to(scan / file)
    np.testing.assert_array_equal(opened(tmp_path / "links" / name)[0], GREY)


@pytest.mark.parametrize("pack", [gzip.compress, None])
def test_slices_behind_those_that_are_said_are_not_dropped(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    name = "a.raw.gz" if pack else "a.raw"
    data = GREY.astype("<u2").tobytes()
    for behind, fits in ((b"end", True), (data[:84], False), (data, False)):
        (tmp_path / name).write_bytes((pack or bytes)(data + behind))
        if fits:
            np.testing.assert_array_equal(opened(tmp_path / name, raw="5x6x7,uint16,little,0")[0], GREY)
        else:
            refused(tmp_path / name, "more bytes than|are not 5 x 6 x 7", raw="5x6x7,uint16,little,0")


@pytest.mark.parametrize(("rows", "slices", "is_believed"), [(6, 5, True), (5, 6, False), (3, 5, False)])
def test_a_header_of_other_voxels_gives_no_spacing(tmp_path: Path, rows: int, slices: int, is_believed: bool) -> None:
    (tmp_path / "a.vgi").write_text(VGI.format(rows=rows, slices=slices))
    reader = opened(voxels(tmp_path), raw="5x6x7,uint16")[1]
    assert reader.spacing == ((0.03, 0.02, 0.01) if is_believed else None)
    assert is_believed or "its spacing is not used" in (reader.spacing_doubt or "")


@pytest.mark.parametrize("given", ["a.raw", "a.vgi"])
def test_headers_of_two_formats_agree(tmp_path: Path, given: str) -> None:
    voxels(tmp_path)
    (tmp_path / "a.vgi").write_text(VGI.format(rows=6, slices=5))
    mhd = MHD + "BinaryDataByteOrderMSB = False\nElementSpacing = {}\nElementDataFile = {}\n"
    (tmp_path / "a.mhd").write_text(mhd.format("0.01 0.02 0.03", "a.raw"))
    assert opened(tmp_path / given)[1].spacing == (0.03, 0.02, 0.01)
    (tmp_path / "a.mhd").write_text(mhd.format("1 2 3", "other.raw"))
    assert opened(tmp_path / given)[1].spacing == (0.03, 0.02, 0.01)
    (tmp_path / "a.mhd").write_text(mhd.format("1 2 3", "a.raw"))
    reader = opened(tmp_path / given)[1]
    assert reader.spacing is None
    assert "a.vgi and a.mhd say 0.03,0.02,0.01 and 3,2,1 mm" in (reader.spacing_doubt or "")
    (tmp_path / "a.mhd").write_text(mhd.format("1 2 3", "a.raw").replace("7 6 5", "7 5 6"))
    refused(tmp_path / given, "a.vgi and a.mhd say different things of its voxels")


TURNED = "space dimension: 3\nspace directions: (0,0,10) (0,20,0) (30,0,0)\n"
OBLIQUE = "space dimension: 3\nspace directions: (3,4,0) (-4,3,0) (0,0,5)\n"


@pytest.mark.parametrize(
    ("fields", "spacing"),
    [
        (TURNED + 'space units: "um" "um" "mm"\n', (0.03, 0.02, 10.0)),  # of the room, whose first axis is z here
        (TURNED + 'space units: "mm" "um" "um"\n', (30.0, 0.02, 0.01)),
        (OBLIQUE + 'space units: "um" "um" "um"\n', (0.005, 0.005, 0.005)),
        (OBLIQUE + 'space units: "um" "mm" "um"\n', None),
        (OBLIQUE + 'space units: "um" "mm"\n', None),
        (TURNED + 'units: "um" "um" "um"\n', None),
        (TURNED + 'units: "mm" "mm" "mm"\n', (30.0, 20.0, 10.0)),
    ],
)
def test_units_of_directions(tmp_path: Path, fields: str, spacing: Any) -> None:
    (tmp_path / "a.nrrd").write_bytes((NRRD + fields + "\n").encode() + GREY.astype("<u2").tobytes())
    reader = opened(tmp_path / "a.nrrd")[1]
    assert reader.spacing == pytest.approx(spacing) if spacing else reader.spacing is None
    assert (spacing is None) == (reader.spacing_doubt is not None)


def test_pixel_sizes_belong_to_the_axes_of_their_names(tmp_path: Path) -> None:
    for order, spacing in ((["z", "y", "x"], (0.03, 0.02, 0.01)), (["x", "y", "z"], (0.01, 0.02, 0.03))):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["data"] = GREY
            file.attrs["signal"], file.attrs["axes"] = "data", order
            for axis, side in zip("zyx", (0.03, 0.02, 0.01), strict=True):
                file[f"{axis}_pixel_size"] = side
                file[f"{axis}_pixel_size"].attrs["units"] = "mm"
        assert opened(tmp_path / "a.h5")[1].spacing == spacing


def test_spacings_of_hdf5_agree(tmp_path: Path) -> None:
    for micrometres, spacing in ((10, (0.03, 0.02, 0.01)), (99, None)):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["data"] = GREY
            file["data"].attrs["element_size_um"] = [30, 20, micrometres]
            for axis, side in zip("zyx", (0.03, 0.02, 0.01), strict=True):
                file[f"{axis}_pixel_size"] = side
                file[f"{axis}_pixel_size"].attrs["units"] = "mm"
        reader = opened(tmp_path / "a.h5")[1]
        assert reader.spacing == spacing
        assert spacing or "0.03,0.02,0.099 mm by element_size_um" in (reader.spacing_doubt or "")


def _by_labels(file: Any, names: str) -> None:
    for axis, name in zip(file["data"].dims, names, strict=True):
        axis.label = name


def _by_scales(file: Any, names: str) -> None:
    for axis, name, length in zip(file["data"].dims, names, GREY.shape, strict=True):
        file[name] = np.arange(length)
        file[name].make_scale(name)
        axis.attach_scale(file[name])


def _by_tags(file: Any, names: str) -> None:
    file["data"].attrs["axistags"] = json.dumps({"axes": [{"key": name} for name in names]})


@pytest.mark.parametrize("say", [_by_labels, _by_scales, _by_tags])
def test_axes_of_other_names_are_said(tmp_path: Path, say: Callable[[Any, str], None]) -> None:
    for names in ("zyx", "xyz", "tyx"):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["data"] = GREY
            say(file, names)
        values, reader = opened(tmp_path / "a.h5")
        np.testing.assert_array_equal(values, GREY)
        assert any("its axes are" in note for note in reader.notes) == (names != "zyx")


@pytest.mark.parametrize("tags", ["{", "[]", '{"axes": [1, 2, 3]}', '{"axes": [{"key": "x"}]}', '{"axes": 3}'])
def test_names_of_axes_that_cannot_be_read_are_none(tmp_path: Path, tags: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = GREY
        file["data"].attrs["axistags"] = tags
    assert not opened(tmp_path / "a.h5")[1].notes


@pytest.mark.parametrize(("virtual", "fits"), [("u2", True), ("f4", True), ("u4", True), ("u1", False), ("i2", False)])
def test_virtual_datasets_clip_nothing(tmp_path: Path, virtual: str, fits: bool) -> None:
    layout = h5py.VirtualLayout(GREY.shape, virtual)
    layout[:] = h5py.VirtualSource("part.h5", "data", GREY.shape, dtype="u2")
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["data"] = GREY
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    if fits:
        np.testing.assert_array_equal(opened(tmp_path / "a.h5")[0], GREY)
    else:
        refused(tmp_path / "a.h5", "of a virtual source of uint16, whose values it cannot hold")


def test_arrays_that_are_no_grey_values_are_told_as_such(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = GREY > 9
    refused(tmp_path / "a.h5", r"/data \(5, 6, 7\) of bool, which are no grey values")


@pytest.mark.parametrize(
    ("compression", "name"),
    [("jpeg", "JPEG"), ("jpeg2000", "JPEG 2000"), ("jpegxl", "JPEG XL"), ("lerc", "LERC"), ("zlib", None)],
)
def test_tiff_that_may_be_packed_with_loss_is_said(tmp_path: Path, compression: str, name: str | None) -> None:
    values = np.tile(np.arange(64, dtype=np.uint8), (3, 64, 1))
    tifffile.imwrite(tmp_path / "a.tif", values, compression=compression, photometric="minisblack")
    notes = opened(tmp_path / "a.tif")[1].notes
    assert notes == (() if name is None else (notes[0],))
    assert name is None or f"packed as {name}, maybe with loss" in notes[0]


def test_dicom_that_was_once_packed_with_loss_is_said(tmp_path: Path) -> None:
    write_slices(tmp_path, GREY, SPACING)
    assert not any("loss" in note for note in opened(tmp_path)[1].notes)
    file = sorted(tmp_path.iterdir())[2]
    slice_of = pydicom.dcmread(file)
    slice_of.LossyImageCompression = "01"
    slice_of.save_as(file)
    assert any("once packed with loss" in note for note in opened(tmp_path)[1].notes)


@pytest.mark.parametrize("representation", ["OB", "OW"])
def test_bytes_in_words_of_the_other_order(tmp_path: Path, representation: str) -> None:
    values = sample("uint8", (3, 6, 8))
    for index, pixels in enumerate(values):
        one = dataset(pixels, CTImageStorage, **place(index, SPACING))
        one.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        data = pixels.tobytes()
        one.PixelData = data if representation == "OB" else np.frombuffer(data, "<u2").byteswap().tobytes()
        one["PixelData"].VR = representation
        pydicom.dcmwrite(tmp_path / f"{index}.dcm", one, implicit_vr=False, little_endian=False, force_encoding=True)
        np.testing.assert_array_equal(pydicom.dcmread(tmp_path / f"{index}.dcm").pixel_array, pixels)
    if representation == "OB":
        np.testing.assert_array_equal(opened(tmp_path)[0], values)
    else:
        refused(tmp_path, "pixels of 8 bits in words of 16")


@pytest.mark.parametrize("names", ["٠١٢", "０１２", "¹²³", "一二三", "ⅠⅡⅢ"])
def test_other_digits_than_0_to_9_are_refused(tmp_path: Path, names: str) -> None:
    for digit, values in zip(names, GREY, strict=False):
        tifffile.imwrite(tmp_path / f"s{digit}.tif", values, photometric="minisblack")
    refused(tmp_path, "a number that is not written with the digits 0 to 9")


def test_other_digits_that_count_nothing_are_no_trouble(tmp_path: Path) -> None:
    for index, values in enumerate(GREY):
        tifffile.imwrite(tmp_path / f"mm²_{index}.tif", values, photometric="minisblack")
    values, reader = opened(tmp_path)
    np.testing.assert_array_equal(values, GREY)
    assert not reader.notes


@pytest.mark.parametrize("ending", ["tif", "h5"])
def test_the_order_of_names_without_numbers_is_said(tmp_path: Path, ending: str) -> None:
    for name, values in zip(("one", "two", "three"), GREY, strict=False):
        if ending == "tif":
            tifffile.imwrite(tmp_path / f"{name}.tif", values, photometric="minisblack")
            continue
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["data"] = values
    values, reader = opened(tmp_path)
    np.testing.assert_array_equal(values, GREY[[0, 2, 1]])
    assert any(f"one.{ending} first, two.{ending} last" in note for note in reader.notes)


@pytest.mark.parametrize(
    ("unit", "transform", "spacing", "said"),
    [
        ("micrometer", {"type": "scale", "scale": [30, 20, 10]}, (0.03, 0.02, 0.01), None),
        ("micrometer", {"type": "scale", "path": "scales"}, None, "a scale in its OME metadata that lies in an array"),
        ("furlong", {"type": "scale", "scale": [30, 20, 10]}, None, "furlong .z, y, x. is not used"),
        (None, {"type": "scale", "scale": [30, 20, 10]}, None, "without a unit .z, y, x. is not used"),
        (None, {"type": "scale", "scale": [1, 1, 1]}, None, None),
    ],
)
def test_scales_of_zarr_that_are_no_spacing_are_said(
    tmp_path: Path, unit: str | None, transform: dict[str, Any], spacing: Any, said: str | None
) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=GREY)
    axes = [{"name": axis, "type": "space", **({"unit": unit} if unit else {})} for axis in "zyx"]
    datasets = [{"path": "0", "coordinateTransformations": [transform]}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    reader = opened(tmp_path / "a.zarr")[1]
    assert reader.spacing == pytest.approx(spacing) if spacing else reader.spacing is None
    assert [*filter(None, (reader.spacing_doubt,))] == [*reader.notes]
    assert (said is None) == (reader.spacing_doubt is None)
    assert re.search(said or "", reader.spacing_doubt or "")


SKYSCAN = (
    "[Acquisition]\nNumber of Columns=7\nImage Pixel Size (um)=10\n[Reconstruction]\nPixel Size (um)=10\n"
    "Section to Section Step=1\nResult Image Width (pixels)=7\nResult Image Height (pixels)=6\n"
)
NIKON = "[XTekCT]\nVoxelsX=7\nVoxelsY=6\nVoxelsZ=5\nVoxelSizeX=0.01\nVoxelSizeY=0.01\nVoxelSizeZ=0.01\n"
PHOENIX = "[VolumeData]\nVolume_SizeX=7\nVolume_SizeY=6\nVolume_SizeZ=5\nVoxelSizeRec=0.01\n"


@pytest.mark.parametrize(
    ("name", "log", "said"),
    [
        ("s.log", SKYSCAN, None),
        ("s.log", SKYSCAN + "[Reconstruction]\nPixel Size (um)=10\n", None),
        ("s.log", SKYSCAN + "[Reconstruction]\nPixel Size (um)=20\n", "Pixel Size .um.=10 and 20 is not one length"),
        ("s.log", SKYSCAN.replace("]\nPixel Size (um)=10", "]\nPixel Size (um)=-10"), "=-10 is not one length above 0"),
        ("s.log", SKYSCAN.replace("]\nPixel Size (um)=10", "]\nPixel Size (um)=10 px"), "=10 px is not one length"),
        ("s.log", SKYSCAN.replace("Step=1", "Step=0"), "Step=0 is not one length above 0"),
        ("s.xtekct", NIKON, None),
        ("s.xtekct", NIKON.replace("SizeZ=0.01", "SizeZ=nan"), "VoxelSizeZ=nan is not one length above 0"),
        ("s.xtekct", NIKON + "Units=mm\nUnits=um\n", "in 'several units', not in mm"),
        ("s.xtekct", NIKON.replace("VoxelsZ=5", "VoxelsZ=4"), "is of 4 slices, these are 5"),
        ("s.xtekct", NIKON.replace("VoxelsZ=5", "VoxelsZ=9"), None),
        ("s.pcr", PHOENIX, None),
        ("s.pcr", PHOENIX + "VoxelSizeRec=0.02\n", "0.01 and 0.02 is not one length above 0"),
        ("s.pcr", PHOENIX.replace("SizeZ=5", "SizeZ=2"), "is of 2 slices, these are 5"),
    ],
)
def test_logs_that_are_not_clear_are_not_replaced_by_a_guess(
    tmp_path: Path, name: str, log: str, said: str | None
) -> None:
    for index, values in enumerate(GREY):
        tifffile.imwrite(tmp_path / f"s{index}.tif", values, photometric="minisblack")
    (tmp_path / name).write_text(log)
    reader = opened(tmp_path)[1]
    assert reader.spacing == ((0.01, 0.01, 0.01) if said is None else None)
    assert re.search(said or "", reader.spacing_doubt or "")


# --- one thing for another, and what takes for ever ---

OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="P" SizeX="7" '
    'SizeY="6" DimensionOrder="XYZCT" SizeZ="{z}" SizeC="{c}" SizeT="1" Type="uint16">{planes}</Pixels></Image></OME>'
)


def pages(path: Path, description: str) -> Path:
    with tifffile.TiffWriter(path) as file:
        for index, values in enumerate(GREY):
            about = description if index == 0 else None
            file.write(values, photometric="minisblack", description=about, metadata=None, contiguous=False)
    return path


def test_one_page_is_not_two_slices(tmp_path: Path) -> None:
    for order, fits in (([4, 3, 2, 1, 0], True), ([4, 3, 2, 1, 1], False)):
        planes = "".join(f'<TiffData IFD="{page}" FirstZ="{z}"/>' for z, page in enumerate(order))
        path = pages(tmp_path / "a.ome.tif", OME.format(z=5, c=1, planes=planes))
        if fits:
            np.testing.assert_array_equal(opened(path)[0], GREY[::-1])
        else:
            refused(path, "slices 3 and 4 are the same voxels of the file")


@pytest.mark.parametrize(("z", "c"), [(10**9, 1), (5, 10**12), (10**20, 10**20)])
@pytest.mark.timeout(120)
def test_metadata_that_promise_too_much_fill_no_memory(tmp_path: Path, z: int, c: int) -> None:
    path = pages(tmp_path / "a.ome.tif", OME.format(z=z, c=c, planes="<TiffData/>"))
    refused(path, f"its OME-XML promises {z * c} planes, it has 5 pages")


@pytest.mark.parametrize("slices", ["", "slices={}\n"])
@pytest.mark.parametrize("images", [6, 1000, 99999999999])
def test_slices_that_imagej_promises_are_there(tmp_path: Path, images: int, slices: str) -> None:
    path = pages(tmp_path / "a.tif", f"ImageJ=1.53t\nimages={images}\n" + slices.format(images))
    refused(path, f"promise {images} slices|5 pages for {images} slices")


AMIRA = (
    "# AmiraMesh BINARY-LITTLE-ENDIAN 2.1\n\ndefine Lattice 7 6 5\n{}\nLattice {{ ushort Data }} @1\n\n"
    "# Data section follows\n@1\n"
)


@pytest.mark.parametrize(
    "filling", ["\n" * 900_000, " \n" * 450_000, "Lattice {" + "\n" * 900_000, "BoundingBox " + " " * 900_000 + '"']
)
@pytest.mark.timeout(120)
def test_no_header_of_amira_takes_long(tmp_path: Path, filling: str) -> None:
    (tmp_path / "a.am").write_bytes(AMIRA.format(filling).encode() + GREY.astype("<u2").tobytes())
    np.testing.assert_array_equal(opened(tmp_path / "a.am")[0], GREY)


@pytest.mark.parametrize("filling", [" " * 300_000 + "x", "a" + " " * 300_000, "a" * 300_000, "a =" + " " * 300_000])
@pytest.mark.timeout(120)
def test_no_header_of_raw_voxels_takes_long(tmp_path: Path, filling: str) -> None:
    (tmp_path / "a.vgi").write_text(VGI.format(rows=6, slices=5) + filling + "\n")
    np.testing.assert_array_equal(opened(voxels(tmp_path))[0], GREY)


@pytest.mark.timeout(120)
def test_no_log_takes_long(tmp_path: Path) -> None:
    for index, values in enumerate(GREY):
        tifffile.imwrite(tmp_path / f"s{index}.tif", values, photometric="minisblack")
    (tmp_path / "s.log").write_text("[Reconstruction]\nPixel Size (um)=" + "1" * 900_000 + "x\n")
    assert "is not one length above 0" in (opened(tmp_path)[1].spacing_doubt or "")


def test_descriptions_of_any_depth(tmp_path: Path) -> None:
    for index, values in enumerate(GREY):
        description = '{"shape": ' + "[" * 100_000
        path = tmp_path / f"s{index}.tif"
        tifffile.imwrite(path, values, photometric="minisblack", description=description, metadata=None)
    np.testing.assert_array_equal(opened(tmp_path)[0], GREY)
