"""Channels and times of a TIFF file: chosen, taken for slices, or refused; and scans in several TIFF files."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan import tiff_parts
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.sources import open_scan

HYPER = np.random.default_rng(0).integers(0, 60000, (2, 5, 3, 11, 13)).astype(np.uint16)  # T, Z, C, Y, X
KINDS: dict[str, dict[str, Any]] = {
    "ImageJ": {"imagej": True},
    "OME": {"ome": True},
    "OME, packed": {"ome": True, "compression": "zlib"},
}


def stack(path: Path, volume: np.ndarray, axes: str, kind: str) -> Path:
    tifffile.imwrite(path, volume, photometric="minisblack", metadata={"axes": axes}, **KINDS[kind])
    return path


def read(source: Path, **params: Any) -> tuple[np.ndarray, ScanReader]:
    with open_scan(str(source), SourceParams(**params)) as reader:
        values = reader.read(0, reader.shape[0])
        assert np.array_equal(reader.read(1, 2), values[1:2])
        return values, reader


def refused(source: Path, **params: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(source, **params)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("channel", "when"), [(0, 0), (2, 0), (1, 1)])
def test_one_channel_at_one_time(tmp_path: Path, kind: str, channel: int, when: int) -> None:
    path = stack(tmp_path / "scan.ome.tif", HYPER, "TZCYX", kind)
    values, _ = read(path, channel=channel, time=when)
    assert np.array_equal(values, HYPER[when, :, channel])


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX"])
def test_channels_in_either_order(tmp_path: Path, axes: str) -> None:
    volume = HYPER[0] if axes == "ZCYX" else HYPER[0].swapaxes(0, 1)
    path = stack(tmp_path / "scan.ome.tif", volume, axes, "OME")
    assert np.array_equal(read(path, channel=2)[0], HYPER[0, :, 2])


@pytest.mark.parametrize("kind", KINDS)
def test_several_channels_or_times_are_refused(tmp_path: Path, kind: str) -> None:
    path = stack(tmp_path / "scan.ome.tif", HYPER, "TZCYX", kind)
    text = refused(path)
    assert (
        "multi-channel, axes TZCYX of (2, 5, 3, 11, 13); must be 1 grey value per voxel; choose one with channel"
        in text
    )
    assert "must be one volume (z, y, x); choose a point in time with time" in refused(path, channel=1)
    assert "no channel 3 among 3 channels; must be 0 to 2; correct channel" in refused(path, channel=3, time=0)
    assert "no time 2 among 2 points in time; must be 0 to 1; correct time" in refused(path, channel=0, time=2)
    assert "choose one with channel" in refused(path, channels_are_slices=True)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_that_are_slices(tmp_path: Path, kind: str) -> None:
    path = stack(tmp_path / "scan.ome.tif", HYPER[0, :, 0], "CYX", kind)
    assert "say with channels_are_slices that these 5 channels are slices" in refused(path)
    values, reader = read(path, channels_are_slices=True)
    assert np.array_equal(values, HYPER[0, :, 0])
    assert "its axis C (channels) is taken for slices, as was said" in reader.notes


def test_a_choice_among_one_is_none(tmp_path: Path) -> None:
    path = stack(tmp_path / "scan.ome.tif", HYPER[0, :, 0], "ZYX", "OME")
    for params in ({"channel": 0}, {"time": 0}, {"channels_are_slices": True}):
        assert np.array_equal(read(path, **params)[0], HYPER[0, :, 0])
    assert "no channel 1 among 1 channels" in refused(path, channel=1)
    with tifffile.TiffWriter(tmp_path / "pages.tif") as tif:
        for values in HYPER[0, :, 0]:
            tif.write(values, photometric="minisblack", contiguous=False)
    assert "no channel 1, there is one; leave out channel" in refused(tmp_path / "pages.tif", channel=1)


def test_a_folder_with_one_file_of_channels(tmp_path: Path) -> None:
    stack(tmp_path / "scan.ome.tif", HYPER[0], "ZCYX", "OME")
    assert np.array_equal(read(tmp_path, channel=1)[0], HYPER[0, :, 1])


def test_only_the_chosen_channel_is_held(tmp_path: Path) -> None:
    volume = np.zeros((20, 8, 256, 256), np.uint16)
    path = stack(tmp_path / "scan.tif", volume, "ZCYX", "ImageJ")
    with open_scan(str(path), SourceParams(channel=3)) as reader:
        reader.read(0, 1)
        tracemalloc.start()
        reader.read(0, 5)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 7 * 256 * 256 * 2


# --- scans in several files ---

WHOLE = np.random.default_rng(1).integers(0, 60000, (13, 11, 14)).astype(np.uint16)


def parts(folder: Path, sizes: tuple[int, ...] = (5, 4, 3, 1), first: int = 1, **options: Any) -> Path:
    start = 0
    for number, size in enumerate(sizes):
        about = {"photometric": "minisblack", "metadata": None, **options}
        tifffile.imwrite(folder / f"scan_{first + number}.tif", WHOLE[start : start + size], **about)
        start += size
    return folder


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib"}, {"imagej": True, "metadata": {"axes": "ZYX"}}, {"bigtiff": True}, {"tile": (16, 16)}],
)
def test_parts_are_joined_in_natural_order(tmp_path: Path, options: dict[str, Any]) -> None:
    values, reader = read(parts(tmp_path, first=8, **options))  # scan_8, scan_9, scan_10, scan_11
    assert np.array_equal(values, WHOLE)
    assert reader.description == "4 TIFF files of 13 slices, scan_8.tif to scan_11.tif"
    with open_scan(str(tmp_path)) as again:
        for start, stop in [(12, 13), (0, 13), (4, 6), (3, 12), (8, 9)]:
            assert np.array_equal(again.read(start, stop), WHOLE[start:stop])


def test_few_parts_are_open_at_a_time(tmp_path: Path) -> None:
    parts(tmp_path, (2,) * 6)
    with open_scan(str(tmp_path)) as reader:
        assert isinstance(reader, tiff_parts.TiffParts)
        assert np.array_equal(reader.read(0, 12), WHOLE[:12])
        assert len(reader._open) == tiff_parts._OPEN
    assert not reader._open


def test_a_part_that_is_missing(tmp_path: Path) -> None:
    (parts(tmp_path) / "scan_2.tif").unlink()
    assert "slice 2 is missing between scan_1.tif and scan_3.tif" in refused(tmp_path)
    assert np.array_equal(read(tmp_path, allow_gaps=True)[0], np.delete(WHOLE, range(5, 9), axis=0))


def test_parts_that_are_not_alike(tmp_path: Path) -> None:
    parts(tmp_path)
    tifffile.imwrite(tmp_path / "scan_3.tif", WHOLE[9:12].astype("u1"), photometric="minisblack")
    assert "scan_3.tif: 11 x 14 uint8; must be 11 x 14 uint16 like scan_1.tif" in refused(tmp_path)
    tifffile.imwrite(tmp_path / "scan_3.tif", WHOLE[9:12, :, 2:], photometric="minisblack")
    assert "scan_3.tif: 11 x 12 uint16; must be" in refused(tmp_path)
    data = (tmp_path / "scan_2.tif").read_bytes()
    (tmp_path / "scan_3.tif").write_bytes(data[: len(data) // 2])
    assert "scan_3.tif: " in refused(tmp_path)


def test_a_part_that_changes_while_it_is_read(tmp_path: Path) -> None:
    parts(tmp_path)
    with open_scan(str(tmp_path)) as reader:
        tifffile.imwrite(tmp_path / "scan_2.tif", WHOLE[:2], photometric="minisblack")
        with pytest.raises(InputError, match=r"scan_2\.tif: changed while being read"):
            reader.read(0, 13)


def test_spacing_of_parts(tmp_path: Path) -> None:
    about = {"imagej": True, "resolution": (50, 50), "metadata": {"axes": "ZYX", "spacing": 0.02, "unit": "mm"}}
    parts(tmp_path, **about)
    assert read(tmp_path)[1].spacing == pytest.approx((0.02,) * 3)
    about["metadata"] = {"axes": "ZYX", "spacing": 0.05, "unit": "mm"}
    tifffile.imwrite(tmp_path / "scan_3.tif", WHOLE[9:12], photometric="minisblack", **about)
    reader = read(tmp_path)[1]
    assert reader.spacing is None
    assert reader.spacing_doubt == "its parts, scan_1.tif to scan_4.tif, do not all say the same spacing"
    assert reader.spacing_doubt in reader.notes
    log = "[Reconstruction]\nPixel Size (um)=20\nResult Image Width (pixels)=14\nResult Image Height (pixels)=11\n"
    (tmp_path / "scan_.log").write_text(log)
    assert read(tmp_path)[1].spacing is None
    parts(tmp_path)
    assert read(tmp_path)[1].spacing_from == "scan_.log: Pixel Size (um)=20"


def test_parts_have_no_channels(tmp_path: Path) -> None:
    parts(tmp_path)
    assert "leave out channel" in refused(tmp_path, channel=1)


OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="14" SizeY="11" SizeZ="{size}" '
    'SizeC="{channels}" SizeT="1" PhysicalSizeX="5" PhysicalSizeY="5" PhysicalSizeZ="5">'
    '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
)
PLANE = '<TiffData FirstZ="{z}" IFD="{page}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{name}</UUID></TiffData>'


def ome_parts(folder: Path, order: tuple[int, ...] = (0, 1, 2), size: int = 12, channels: int = 1) -> None:
    """Three files of four slices; the XML says that `order` is the order of the files."""
    planes = [
        PLANE.format(z=4 * at + page, page=page, name=f"s{part}.ome.tif")
        for at, part in enumerate(order)
        for page in range(4)
    ]
    xml = OME.format(size=size, channels=channels, planes="".join(planes))
    for part in range(3):
        with tifffile.TiffWriter(folder / f"s{part}.ome.tif") as tif:
            for values in WHOLE[4 * part : 4 * part + 4]:
                tif.write(values, photometric="minisblack", description=xml, metadata=None, contiguous=False)


def test_parts_of_ome(tmp_path: Path) -> None:
    ome_parts(tmp_path)
    values, reader = read(tmp_path)
    assert np.array_equal(values, WHOLE[:12])
    assert reader.spacing == pytest.approx((0.005,) * 3)
    (tmp_path / "s2.ome.tif").unlink()
    assert "their OME-XML says s0.ome.tif, s1.ome.tif, s2.ome.tif; restore all parts" in refused(tmp_path)


def test_parts_of_ome_in_another_order(tmp_path: Path) -> None:
    ome_parts(tmp_path, (1, 0, 2))
    assert "by name its parts are s0.ome.tif to s2.ome.tif in order, their OME-XML says s1.ome.tif, s0" in refused(
        tmp_path
    )


@pytest.mark.parametrize(("size", "channels"), [(13, 1), (6, 2)])
def test_parts_of_ome_that_promise_more(tmp_path: Path, size: int, channels: int) -> None:
    ome_parts(tmp_path, size=size, channels=channels)
    assert "OME-XML" in refused(tmp_path)


@pytest.mark.parametrize("is_contiguous", [True, False])
def test_a_part_by_itself_is_no_scan(tmp_path: Path, is_contiguous: bool) -> None:
    ome_parts(tmp_path)
    if is_contiguous:
        with tifffile.TiffFile(tmp_path / "s1.ome.tif") as tif:
            xml = tif.ome_metadata
        tifffile.imwrite(tmp_path / "s1.ome.tif", WHOLE[4:8], photometric="minisblack", description=xml, metadata=None)
    assert "some slices lie in other files; give the folder of all of them" in refused(tmp_path / "s1.ome.tif")


@pytest.mark.timeout(120)
def test_files_that_metadata_name_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would never end
    planes = "".join(
        PLANE.format(z=at, page=at % 4, name="s0.ome.tif" if at < 4 else tmp_path / "pipe") for at in range(8)
    )
    xml = OME.format(size=8, channels=1, planes=planes)
    with tifffile.TiffWriter(tmp_path / "s0.ome.tif") as tif:
        for values in WHOLE[:4]:
            tif.write(values, photometric="minisblack", description=xml, metadata=None, contiguous=False)
    assert "some slices lie in other files" in refused(tmp_path / "s0.ome.tif")
