"""Scans on web servers, and all that such servers may answer."""

from __future__ import annotations

import os
import shutil
import socket

import numpy as np
import pytest
import tifffile
import zarr

from ps3d_core.errors import AccessDeniedError, InputError, MissingDataError, StoreError
from ps3d_core.params import IngestParams, SourceParams
from ps3d_core.scan.as_image import as_image
from ps3d_core.scan.ingest import ingest
from ps3d_core.scan.sources import open_scan
from ps3d_core.store import web
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, open_image
from tests.formats.file_format import SPACING, sample
from tests.formats.zarrs import CHANNEL, TIME, write_five_axes, write_old
from tests.web_server import serving

VOLUME = sample("uint16", (20, 40, 30))


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "FIRST_WAIT_SECONDS", 0.01)
    folder = tmp_path / "served"
    folder.mkdir()
    with serving(folder) as server:
        yield server


def image_on(server, *, values=VOLUME, **options):
    image = Location.parse(server.folder / "ore.zarr")
    array = create_image(image, values.shape, values.dtype, spacing=0.01, name="ore", **options)
    array[...] = values
    return f"{server.url}/ore.zarr"


def tiff_on(server, name="ore.tif"):
    tifffile.imwrite(server.folder / name, VOLUME, metadata={"axes": "ZYX"})
    return f"{server.url}/{name}"


# --- what is read ---


def test_an_image_of_ours(server):
    with open_scan(image_on(server, chunks=(8, 8, 8), shards=(24, 40, 32))) as reader:
        assert (reader.spacing, reader.notes, reader.findings) == ((0.01,) * 3, (), ())
        before = len(server.requests)
        np.testing.assert_array_equal(reader.read(9, 12), VOLUME[9:12])
    parts = [wanted for path, wanted in server.requests[before:] if "/c/" in path]
    assert parts
    assert None not in parts


def test_ingest_from_a_web_server(server, tmp_path):
    dataset = Dataset(Location.parse(tmp_path / "data"))
    for name, source in (("zarr", image_on(server)), ("tiff", tiff_on(server))):
        summary = ingest(source, dataset, name, IngestParams(spacing=0.01, particle_size=0.1))
        np.testing.assert_array_equal(open_image(Location.parse(summary.image))[:], VOLUME)


def test_an_image_of_others_with_channels(server):
    write_five_axes(server.folder, VOLUME, SPACING)
    with open_scan(f"{server.url}/scan.zarr/", SourceParams(channel=CHANNEL, time=TIME)) as reader:
        np.testing.assert_array_equal(reader.read(0, 20), VOLUME)


@pytest.mark.parametrize("query", ["", "?download=1", "?path=a/b.txt"])
def test_a_file_behind_a_query(server, query):
    with open_scan(tiff_on(server) + query) as reader:
        assert reader.description == "TIFF file ore.tif of 20 slices"
        np.testing.assert_array_equal(reader.read(3, 9), VOLUME[3:9])


def test_a_packed_zarr(server):
    image_on(server)
    shutil.make_archive(str(server.folder / "ore.zarr"), "zip", server.folder / "ore.zarr")
    with open_scan(f"{server.url}/ore.zarr.zip") as reader:
        np.testing.assert_array_equal(reader.read(0, 20), VOLUME)


def test_the_folder_of_bioformats2raw(server):
    root = server.folder / "slide"
    zarr.create_group(Location.parse(root).zarr_store(), zarr_format=2).attrs["bioformats2raw.layout"] = 3
    write_old(root, VOLUME, SPACING, version="0.2").rename(root / "0")
    with open_scan(f"{server.url}/slide") as reader:
        np.testing.assert_array_equal(reader.read(0, 20), VOLUME)
    shutil.copytree(root / "0", root / "1")
    with pytest.raises(InputError, match=r"a folder of 2 images \(.*slide/0, .*slide/1\); give one of them"):
        open_scan(f"{server.url}/slide")


def test_labels_are_copied_each_time(server, tmp_path):
    labels = (VOLUME > 50_000).astype(np.uint32)
    source, work = image_on(server, values=labels, label=True), Location.parse(tmp_path / "work")
    copies = {as_image(source, work) for _ in range(2)}
    assert len(copies) == 2
    for copy in copies:
        np.testing.assert_array_equal(open_image(copy)[:], labels)
    file = tiff_on(server)
    assert as_image(file, work) == as_image(file, work)  # a file has a version
    tifffile.imwrite(server.folder / "ore.tif", VOLUME[::-1], metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(open_image(as_image(file, work))[:], VOLUME[::-1])


def test_nothing_is_written(server):
    with pytest.raises(InputError, match="nothing is written to web servers; give a folder or s3://"):
        (Location.parse(server.url) / "x").write_bytes(b"1")


# --- chunks that are not there ---


def foreign_on(server, **options):
    array = zarr.create_array(server.folder / "other.zarr", data=VOLUME, chunks=(4, 8, 8), zarr_format=2, **options)
    return array, f"{server.url}/other.zarr"


def test_absent_chunks_are_told_when_they_were_read(server):
    _, source = foreign_on(server)
    (server.folder / "other.zarr" / "1.0.0").unlink()
    (server.folder / "other.zarr" / "2.3.1").unlink()
    with open_scan(source) as reader:
        assert reader.notes == reader.findings == ()
        values = reader.read(0, 20)
        reader.read(4, 8)
        assert reader.findings == ("2 chunks are absent and were read as 0",)
    assert (values == 0).sum() > 400


def test_an_array_without_chunks(server):
    _, source = foreign_on(server)
    for path in (server.folder / "other.zarr").glob("[0-9]*"):
        path.unlink()
    with pytest.raises(InputError, match=r"not one of 64 chunks is there .*, of 100; check its address"):
        open_scan(source)


def test_a_lost_shard_of_ours(server):
    source = image_on(server)
    (server.folder / "ore.zarr" / "0" / "c" / "0" / "0" / "0").unlink()
    with pytest.raises((InputError, MissingDataError), match="chunk"), open_scan(source) as reader:
        reader.read(0, 20)


def test_a_server_that_refuses_what_is_not_there(server):
    server.missing = 403
    _, source = foreign_on(server)
    with open_scan(source) as reader:
        np.testing.assert_array_equal(reader.read(0, 20), VOLUME)
    (server.folder / "other.zarr" / "1.0.0").unlink()
    with open_scan(source) as reader, pytest.raises(AccessDeniedError, match=r"1\.0\.0: the server refuses it \(403"):
        reader.read(0, 20)


# --- what else a server may answer ---


def refused(source, match, kind=InputError):
    with pytest.raises(kind, match=match) as caught, open_scan(source) as reader:
        reader.read(9, 12)
    assert "\n" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_nothing_there(server):
    refused(f"{server.url}/nothing.zarr", "no such file or folder; check the path")
    refused(f"{server.url}/nothing.tif", "no such file or folder; check the path")


def test_a_page_that_looks_like_a_listing(server):
    (server.folder / "slices").mkdir()
    refused(f"{server.url}/slices", "of folders on web servers only Zarrs are read, as these servers list nothing")


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (401, AccessDeniedError, r"refuses it \(401 Unauthorized\); check the address, or ask for access"),
        (403, AccessDeniedError, r"refuses it \(403 Forbidden\)"),
        (400, InputError, "the server answers 400 Bad Request; check the address"),
        (500, StoreError, "failed 4 times, at last with 500 Internal Server Error; check the address, or try again"),
        (503, StoreError, "failed 4 times, at last with 503"),
    ],
)
def test_errors(server, status, kind, told):
    source = tiff_on(server)
    server.answers["/ore.tif"] = [status]
    refused(source, told, kind)


def test_faults_that_pass_are_not_noticed(server):
    source = tiff_on(server)
    server.answers["/ore.tif"] = [500, 200, 503, 429, 200]
    with open_scan(source) as reader:
        np.testing.assert_array_equal(reader.read(0, 20), VOLUME)


def test_a_server_that_sends_no_parts(server):
    server.sends_parts = False
    refused(tiff_on(server), "this server sends no parts of files; copy it to a folder, or an object store")
    refused(image_on(server, chunks=(8, 8, 8), shards=(24, 40, 32)), "this server sends no parts of files")
    _, source = foreign_on(server)
    with open_scan(source) as reader:  # whose chunks are files
        np.testing.assert_array_equal(reader.read(0, 20), VOLUME)


@pytest.mark.parametrize("lie", ["shifted", "short", "unnamed"])
def test_parts_that_are_others(server, lie):
    source = tiff_on(server)
    server.lies = lie
    if lie != "shifted":  # of which the first block is all
        refused(source, "sends no parts of files|does not say which part")
    refused(image_on(server, chunks=(8, 8, 8), shards=(24, 40, 32)), "sends no parts of files|does not say which part")


def test_bodies_that_break_off(server):
    source = tiff_on(server)
    server.lies = "cut"
    refused(source, "failed 4 times, at last with ", StoreError)


def test_a_silent_server(server, monkeypatch):
    monkeypatch.setenv("PS3D_S3_TIMEOUT", "0.1")
    source = tiff_on(server)
    server.delay = 0.5
    refused(source, "failed 4 times, at last with SocketTimeoutError", StoreError)


@pytest.mark.usefixtures("server")  # for its short waits
def test_no_server():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # without listening, so that nobody else does meanwhile
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/ore.tif"
        refused(url, "failed 4 times, at last with ClientConnectorError", StoreError)


def test_redirects(server):
    source = tiff_on(server, "there.tif")
    server.redirects.update({"/here.tif": "/there.tif", "/round.tif": "/round.tif", "/file.tif": "file:///etc/passwd"})
    with open_scan(f"{server.url}/here.tif") as reader:
        np.testing.assert_array_equal(reader.read(0, 20), VOLUME)
    assert source.startswith(server.url)
    refused(f"{server.url}/round.tif", "TooManyRedirects; check the address")
    refused(f"{server.url}/file.tif", "NonHttpUrlRedirectClientError; check the address")


def test_a_file_that_is_replaced_while_it_is_read(server):
    source = tiff_on(server)
    with open_scan(source) as reader:
        reader._file.cache.cache = b""
        reader._file.cache.start = reader._file.cache.end = 0
        os.utime(server.folder / "ore.tif", (1, 1))
        with pytest.raises(InputError, match="was changed while it was read; give the same command again"):
            reader.read(0, 20)


def test_what_is_packed_on_the_way(server):
    source = tiff_on(server)
    server.headers["Content-Encoding"] = "gzip"
    refused(source, r"packs what it sends \(gzip\), asked not to; copy it")


def test_files_are_bounded(server, monkeypatch):
    monkeypatch.setattr(web, "MOST_BYTES", 1000)
    _, source = foreign_on(server, compressors=None)
    (server.folder / "other.zarr" / "2.0.0").write_bytes(bytes(1001))
    refused(source, "the server sends 1001 bytes; the limit is 1000")


def test_keys_in_addresses_are_not_told(server):
    server.answers["/ore.tif"] = [403]
    with pytest.raises(AccessDeniedError, match=r"ore\.tif\?\*\*\*: the server refuses") as caught:
        open_scan(tiff_on(server) + "?X-Signature=secret")
    assert "secret" not in str(caught.value)
