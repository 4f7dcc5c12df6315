"""Zarrs in ZIP archives: what is read of them, and archives that are made to do harm."""

from __future__ import annotations

import io
import shutil
import struct
import uuid
import zipfile

import numpy as np
import pytest
import zarr

from ps3d_core.errors import CorruptDataError, InputError
from ps3d_core.params import ExportParams, SourceParams
from ps3d_core.scan.as_image import as_image
from ps3d_core.scan.export import export
from ps3d_core.scan.sources import open_scan
from ps3d_core.store import zipped
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, open_image
from tests.formats.file_format import SPACING, sample
from tests.formats.zarrs import write_old

VOLUME = sample("uint16", (20, 40, 30))


def ours(path, values=VOLUME, **options):
    array = create_image(Location.parse(path), values.shape, values.dtype, spacing=SPACING, name="ore", **options)
    array[...] = values
    return path


def packed(folder, target, *, method=zipfile.ZIP_STORED, top="", also=()):
    with zipfile.ZipFile(target, "w", method) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, f"{top}{path.relative_to(folder)}")
        for name, content in also:
            archive.writestr(name, content)
    shutil.rmtree(folder)
    return target


@pytest.fixture
def image(tmp_path):
    return ours(tmp_path / "ore.zarr")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("top", ["", "ore.zarr/"])
def test_an_archive_of_an_image_of_ours(image, tmp_path, method, top):
    also = [("__MACOSX/._ore", b"x"), (".DS_Store", b"x")]
    file = packed(image, tmp_path / "ore.zarr.zip", method=method, top=top, also=also)
    with open_scan(file) as reader:
        assert reader.description == "Zarr ore.zarr.zip of 20 slices"
        assert (reader.spacing, reader.notes) == (pytest.approx(SPACING), ())
        np.testing.assert_array_equal(reader.read(3, 17), VOLUME[3:17])


def test_from_an_object_store(image, tmp_path):
    file = packed(image, tmp_path / "ore.ozx")
    place = Location.parse(f"memory://{uuid.uuid4().hex}/ore.ozx")
    place.write_bytes(file.read_bytes())
    with open_scan(place) as reader:
        np.testing.assert_array_equal(reader.read(3, 17), VOLUME[3:17])


def test_of_a_shard_only_the_bytes_of_chunks_are_read(tmp_path, monkeypatch):
    image = ours(tmp_path / "ore.zarr", chunks=(8, 8, 8), shards=(24, 40, 32))
    with open_scan(packed(image, tmp_path / "ore.ozx")) as reader:
        monkeypatch.delattr(zipfile.ZipFile, "read")
        np.testing.assert_array_equal(reader.read(9, 12), VOLUME[9:12])


def test_labels_in_an_archive_are_copied_where_boxes_are_read(tmp_path):
    labels = (VOLUME > 50_000).astype(np.uint32)
    file = packed(ours(tmp_path / "labels.zarr", labels, label=True), tmp_path / "labels.zarr.zip")
    image = as_image(file, Location.parse(tmp_path / "work"))
    np.testing.assert_array_equal(open_image(image)[:], labels)
    assert as_image(file, Location.parse(tmp_path / "work")) == image


def test_several_images_in_an_archive(tmp_path):
    root = tmp_path / "slide"
    zarr.create_group(Location.parse(root).zarr_store(), zarr_format=2).attrs["bioformats2raw.layout"] = 3
    for number in range(2):
        write_old(root, VOLUME + number, SPACING, version="0.2").rename(root / str(number))
    file = packed(root, tmp_path / "slide.zarr.zip", top="slide/")
    with pytest.raises(InputError, match=r"images \((.*zip:/0), .*zip:/1\); give one of them") as caught:
        open_scan(file)
    assert str(file) in str(caught.value)
    for given, params in [(f"{file}:/1", {}), (file, {"inside": "/1"}), (file, {"inside": "1/"})]:
        with open_scan(given, SourceParams(**params)) as reader:
            np.testing.assert_array_equal(reader.read(0, 20), VOLUME + 1)
    with pytest.raises(OSError, match="nothing there; check the path"):
        open_scan(file, SourceParams(inside="../../etc"))


def test_an_old_image_in_an_archive_may_have_its_spacing_beside(tmp_path):
    xml = (
        '<OME><Image><Pixels SizeX="30" SizeY="40" SizeZ="20" SizeC="1" SizeT="1" PhysicalSizeX="5" '
        'PhysicalSizeY="12.5" PhysicalSizeZ="20"/></Image></OME>'
    )
    root = tmp_path / "slide"
    zarr.create_group(Location.parse(root).zarr_store(), zarr_format=2).attrs["bioformats2raw.layout"] = 3
    write_old(root, VOLUME, SPACING, version="0.2").rename(root / "0")
    file = packed(root, tmp_path / "slide.zarr.zip", top="slide/", also=[("slide/OME/METADATA.ome.xml", xml)])
    with open_scan(file) as reader:
        assert reader.spacing == SPACING


# --- archives that are none, or are made to do harm ---


def refused(file, match):
    with pytest.raises(InputError, match=match) as caught:
        open_scan(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_archive(tmp_path):
    (tmp_path / "ore.zarr.zip").write_bytes(b"PK\3\4" + bytes(1000))
    refused(tmp_path / "ore.zarr.zip", "no ZIP archive, or one that was cut off")
    refused(packed(ours(tmp_path / "a"), tmp_path / "b.zarr.zip", top="some/where/"), "no Zarr at its top, nor in a")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name(image, tmp_path):
    refused(packed(image, tmp_path / "x.ozx", also=[("zarr.json", "{}")]), "two entries called 'zarr.json'")


def test_names_that_lead_elsewhere_lead_nowhere(image, tmp_path):
    also = [(name, b"x") for name in ("../../evil", "/etc/evil", "..\\evil", "C:\\evil", "0/../../evil")]
    before = set(tmp_path.iterdir())
    with open_scan(packed(image, tmp_path / "x.ozx", also=also)) as reader:
        np.testing.assert_array_equal(reader.read(0, 20), VOLUME)
    assert set(tmp_path.iterdir()) == before - {image} | {tmp_path / "x.ozx"}


def test_encrypted_entries(image, tmp_path):
    file = packed(image, tmp_path / "x.ozx")
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        content[archive.start_dir + 8] |= 1
    file.write_bytes(content)
    refused(file, "entry '.*' is encrypted; pack the Zarr without a password")


def test_methods_that_are_not_read(image, tmp_path):
    refused(packed(image, tmp_path / "x.ozx", method=zipfile.ZIP_LZMA), "is packed by method 14; must be stored or")


def test_links(image, tmp_path):
    link = zipfile.ZipInfo("0/c/0/0/1")
    link.external_attr = 0o120777 << 16
    refused(packed(image, tmp_path / "x.ozx", also=[(link, "/etc/passwd")]), "entry '0/c/0/0/1' is a link")


def test_bombs(image, tmp_path):
    file = packed(image, tmp_path / "x.ozx", method=zipfile.ZIP_DEFLATED, also=[("a/.zattrs", bytes(2**26 + 1))])
    assert file.stat().st_size < 2**20
    refused(file, "entry 'a/.zattrs' unpacks to 67108865 bytes; the limit is 67108864")


def test_a_bomb_that_hides_its_size(image, tmp_path):
    """What an entry unpacks to ends at the size that it states, and its checksum then does not match."""
    (image / "zarr.json").write_bytes(b" " * 2**22 + (image / "zarr.json").read_bytes())
    file = packed(image, tmp_path / "x.ozx", method=zipfile.ZIP_DEFLATED)
    content = bytearray(file.read_bytes())
    at = content.rindex(b"zarr.json", 0, content.rindex(b"PK\5\6")) - 46
    assert content[at : at + 4] == b"PK\1\2"
    struct.pack_into("<I", content, at + 24, 100)
    file.write_bytes(content)
    with pytest.raises(CorruptDataError, match=r"x.ozx:/zarr.json: cannot be unpacked \(Bad CRC"):
        open_scan(file)


def test_a_directory_that_is_too_long(image, tmp_path, monkeypatch):
    monkeypatch.setattr(zipped, "MOST_DIRECTORY", 100)
    refused(packed(image, tmp_path / "x.ozx"), r"a list of entries of \d+ bytes; the limit is 100; unpack the archive")


def test_a_damaged_chunk(image, tmp_path):
    file = packed(image, tmp_path / "x.ozx", method=zipfile.ZIP_DEFLATED)
    content = bytearray(file.read_bytes())
    content[content.index(b"0/c/0/0/0") + 200] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptDataError, match=r"0/c/0/0/0: .*; copy the file again"), open_scan(file) as reader:
        reader.read(0, 20)


def test_a_chunk_that_is_not_there(image, tmp_path):
    (image / "0" / "c" / "0" / "0" / "0").unlink()
    with pytest.raises(OSError, match="0/c/0/0/0: this chunk is missing"):
        open_scan(packed(image, tmp_path / "x.ozx"))


def test_an_archive_is_exported_like_any_scan(image, tmp_path):
    file = packed(image, tmp_path / "x.ozx")
    export(str(file), str(tmp_path / "x.tif"), ExportParams(format="tiff"))
    with open_scan(tmp_path / "x.tif") as reader:
        np.testing.assert_array_equal(reader.read(0, 20), VOLUME)
        assert reader.spacing == pytest.approx(SPACING)


def test_the_store_lists_and_never_writes(image, tmp_path):
    file = packed(image, tmp_path / "x.ozx", top="ore.zarr/")
    place = zipped.Archive(io.BytesIO(file.read_bytes()), "x.ozx").root
    store = (place / "0").zarr_store()
    assert (place / "0" / "c").parent == place / "0"
    assert place.children() == ["0", "zarr.json"]
    group = zarr.open_group(place.zarr_store(), mode="r")
    assert list(group.array_keys()) == ["0"]
    with pytest.raises(ValueError, match="read-only"):
        zarr.open_array(store, mode="r")[...] = 0
