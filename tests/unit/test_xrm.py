"""Files of X-ray microscopes: which hold a volume, and what is wrong with the others."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from ps3d_core.errors import InputError
from ps3d_core.scan.sources import open_scan
from tests.formats.compound_file import compound_file
from tests.formats.xrm import streams_of

VOXELS = np.random.default_rng(0).integers(0, 60_000, (230, 9, 7)).astype(np.uint16)


def written(tmp_path, name="scan.txm", values=VOXELS, **changed):
    """A file with streams changed, or left out where None is given."""
    options = {key: changed.pop(key) for key in ("mode", "pixel_size") if key in changed}
    streams = streams_of(values, **options)
    for key, data in changed.items():
        path = key if "/" in key else f"ImageInfo/{key}"
        if data is None:
            del streams[path]
        else:
            streams[path] = data
    (tmp_path / name).write_bytes(compound_file(streams))
    return tmp_path / name


def refused(path, match):
    with pytest.raises(InputError, match=match) as error:
        open_scan(path).close()
    assert "\n" not in str(error.value)


def test_more_than_a_folder_of_images(tmp_path):
    with open_scan(written(tmp_path)) as reader:
        assert reader.shape == VOXELS.shape
        assert np.array_equal(reader.read(95, 205), VOXELS[95:205])
        assert reader.notes == ()
        assert reader.description == "XRM file scan.txm of 230 slices"


def test_from_memory(tmp_path):
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe_file("/xrm/scan.txm", written(tmp_path).read_bytes())
    with open_scan("memory://xrm/scan.txm") as reader:
        assert np.array_equal(reader.read(0, 230), VOXELS)
    store.rm("/xrm", recursive=True)


def test_projections_are_no_volume(tmp_path):
    refused(
        written(tmp_path, "a.txrm", mode=0), r"230 projections \(acquisition mode 0, not 10\).* give the \.txm file"
    )
    refused(written(tmp_path, "b.txrm", mode=None), "says no acquisition mode")


def test_what_says_that_it_is_reconstructed_is_a_volume(tmp_path):
    with open_scan(written(tmp_path, "a.txrm")) as reader:
        assert (reader.shape, reader.notes) == (VOXELS.shape, ())
    with open_scan(written(tmp_path, mode=None)) as reader:
        assert reader.notes == ()
    with open_scan(written(tmp_path, mode=0)) as reader:
        assert "acquisition mode 0, not 10, as projections have; taken for a volume because of its name" in reader.notes


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan, np.inf])
def test_a_pixel_size_that_is_none(tmp_path, size):
    with open_scan(written(tmp_path, pixel_size=size)) as reader:
        assert reader.spacing is None
        assert "must be above 0" in reader.spacing_doubt


def test_no_pixel_size(tmp_path):
    with open_scan(written(tmp_path, PixelSize=None)) as reader:
        assert (reader.spacing, reader.spacing_doubt) == (None, None)


def test_pixel_sizes_are_decimals(tmp_path):
    with open_scan(written(tmp_path, pixel_size=3.1)) as reader:
        assert reader.spacing == pytest.approx((0.0031,) * 3, rel=1e-15)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"ImageWidth": None}, "says no ImageInfo/ImageWidth"),
        ({"ImageWidth": struct.pack("<I", 8)}, "Image1 has 126 bytes; 9 x 8 uint16 have 144"),
        ({"ImageWidth": b"\7"}, "1 bytes in ImageInfo/ImageWidth, which is one number"),
        ({"ImageWidth": bytes(4)}, "an axis without voxels"),
        ({"ImageHeight": struct.pack("<I", 2**31)}, "truncated, .* do not hold"),
        ({"NoOfImages": struct.pack("<I", 231)}, "Image231 of 231 is missing"),
        ({"NoOfImages": struct.pack("<I", 229)}, "more images than the 229"),
        ({"DataType": struct.pack("<I", 8)}, "type number 8; must be one of"),
        ({"ImageData2/Image150": None}, "ImageData2/Image150 of 230 is missing"),
        ({"ImageData2/Image150": bytes(99)}, "ImageData2/Image150 has 99 bytes"),
    ],
)
def test_what_does_not_fit(tmp_path, changed, match):
    refused(written(tmp_path, **changed), match)


def test_other_files(tmp_path):
    (tmp_path / "a.txm").write_bytes(b"hello" * 1000)
    refused(tmp_path / "a.txm", "not a file of an X-ray microscope")
    (tmp_path / "b.txm").write_bytes(compound_file({"WordDocument": bytes(5000)}))
    refused(tmp_path / "b.txm", "says no ImageInfo/ImageWidth")
    refused(written(tmp_path, values=VOXELS[:1]), "at least 2 slices")
