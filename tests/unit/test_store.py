"""Locations, arrays, ledger, layout: the same behaviour on a folder and on an object store."""

import gc
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import zarr
from fsspec.registry import known_implementations

from ps3d_core.errors import CorruptDataError, InputError, MissingDataError
from ps3d_core.geometry.boxes import Box
from ps3d_core.store import layout
from ps3d_core.store.arrays import array_name, create_array, open_array, read_box, write_box
from ps3d_core.store.identity import content_identity
from ps3d_core.store.layout import Dataset, Result, checked_name
from ps3d_core.store.ledger import Ledger, fingerprint
from ps3d_core.store.location import Location


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    return Location.parse(tmp_path if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


def test_files(place):
    file = place / "a" / "b.json"
    assert not file.exists()
    with pytest.raises(MissingDataError, match=r"b\.json"):
        file.read_bytes()
    file.write_json({"x": 1})
    assert file.read_json() == {"x": 1}
    assert file.exists()
    assert (place / "a").is_dir()
    assert place.children() == ["a"]
    assert (place / "a").children() == ["b.json"]
    assert (place / "nothing").children() == []
    (place / "a").remove_tree()
    assert not file.exists()
    (place / "a").remove_tree()


def test_arrays_in_one_file(place):
    file = place / "sums.npz"
    file.write_arrays(a=np.arange(3, dtype=np.uint64), b=np.zeros((0, 2)))
    loaded = file.read_arrays()
    assert loaded["a"].tolist() == [0, 1, 2]
    assert loaded["a"].dtype == np.uint64
    assert loaded["b"].shape == (0, 2)
    file.write_bytes(b"not an archive")
    with pytest.raises(CorruptDataError, match=r"sums\.npz"):
        file.read_arrays()


def test_pickled_arrays_are_refused(place):
    import io

    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([{}], dtype=object))
    (place / "evil.npz").write_bytes(buffer.getvalue())
    with pytest.raises(CorruptDataError):
        (place / "evil.npz").read_arrays()


def test_threads_read_arrays_at_once(tmp_path):
    file = Location.parse(tmp_path / "sums.npz")
    file.write_arrays(**{name: np.arange(5) for name in "abcdef"})

    def read(depth: int) -> int:
        return read(depth - 1) if depth else sum(len(file.read_arrays()) for _ in range(150))

    with threads_change_in_every_collection(), ThreadPoolExecutor(3) as pool:
        assert list(pool.map(read, (0, 5, 10))) == [900] * 3


@contextmanager
def threads_change_in_every_collection():
    """Let other threads go on within allocations: garbage is collected there, and whoever listens to that is called."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()

    def listener(_phase, _info):
        pass

    gc.callbacks.append(listener)
    gc.freeze()
    gc.set_threshold(30)
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        gc.callbacks.remove(listener)


def test_rename_moves_everything(place):
    (place / "old" / "x" / "f.txt").write_text("1")
    (place / "old").rename(place / "new")
    assert (place / "new" / "x" / "f.txt").read_text() == "1"
    assert not (place / "old").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = Location.parse(tmp_path / "f.txt")
    file.write_text("old")
    with pytest.raises(TypeError):
        file.write_bytes("text, not bytes")  # type: ignore[arg-type]
    assert file.read_text() == "old"
    assert file.parent.children() == ["f.txt"]


@pytest.mark.parametrize("scheme", ["gopher", "dir", "hf", "zip", "ftp", "ADL"])
def test_stores_that_are_not_supported_are_refused(scheme):
    with pytest.raises(InputError, match=f"{scheme.lower()}://: this store is not supported; give a folder"):
        Location.parse(f"{scheme}://host/x")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no place; give a folder"),
        ("file://", "names no place; give a folder"),
        ("memory://", "names no place; give memory://name"),
        ("s3://", "s3://: names no bucket; give s3://bucket/prefix"),
        ("s3:///v.zarr", "names no bucket"),
        ("gs://../x", "names no bucket"),
        ("https://", "names no host"),
        ("a\0b", "has a NUL in it"),
        ("s3://b/a\0b", "has a NUL in it"),
    ],
)
def test_nothing_is_no_place(text, problem):
    with pytest.raises(InputError, match=problem):
        Location.parse(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("file:/a/b", "/a/b"),
        ("file:///a/b", "/a/b"),
        ("FILE://localhost/a/b", "/a/b"),
        ("local:/a/b", "/a/b"),
        ("s3a://b//v.zarr/", "s3://b/v.zarr"),
        ("gcs://b/a//./c", "gs://b/a/c"),
        ("memory:///x//y", "memory://x/y"),
    ],
)
def test_one_place_has_one_url(text, url):
    assert Location.parse(text).url == url


def test_a_path_from_a_folder_that_is_gone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(InputError, match="x: the current folder was removed"):
        Location.parse("x")


def test_the_folder_of_nobody_is_refused():
    with pytest.raises(InputError, match="~no-such-user/x: no such user"):
        Location.parse("~no-such-user/x")


def test_a_store_whose_package_is_missing_is_refused(monkeypatch):
    known = {"class": "no_such_package.FileSystem", "err": "Please install no_such_package"}
    monkeypatch.setitem(known_implementations, "gs", known)
    place = Location.parse("gs://bucket/x")
    for look in (place.exists, place.zarr_store):
        with pytest.raises(InputError, match=r"gs://: .* missing .*no_such_package.*; install it"):
            look()


def test_json_that_is_nested_too_deeply_is_refused(place):
    (place / "a.json").write_bytes(b"[" * 100_000)
    with pytest.raises(InputError, match=r"a\.json: not valid JSON"):
        (place / "a.json").read_json()


def test_what_json_says_twice_is_refused(place):
    (place / "metadata.json").write_bytes(b'{"ore": {"spacing": 1}, "ore": {"spacing": 2}}')
    with pytest.raises(InputError, match=r"metadata\.json: 'ore' is given twice; keep the one that is right"):
        Dataset(place).read_metadata()


def test_array_round_trip_in_whole_shards(place):
    data = np.random.default_rng(0).integers(0, 2**16, (70, 40, 33)).astype(np.uint16)
    array = create_array(place / "a.zarr", data.shape, data.dtype, chunks=(16, 16, 16), shards=(32, 32, 32))
    for z in range(0, 70, 32):
        box = Box((z, 0, 0), (min(70, z + 32), 40, 33))
        write_box(array, box, data[box.slices])
    assert (read_box(open_array(place / "a.zarr"), Box.of(data.shape)) == data).all()


def test_unaligned_write_is_a_bug(place):
    array = create_array(place / "a.zarr", (64, 64, 64), "uint8", chunks=(16, 16, 16), shards=(32, 32, 32))
    with pytest.raises(ValueError, match="not aligned"):
        write_box(array, Box((0, 0, 0), (16, 64, 64)), np.zeros((16, 64, 64), np.uint8))


def test_chunks_of_zeros_are_written_and_a_missing_one_is_an_error_that_names_it(place):
    create_array(place / "a.zarr", (64, 32, 32), "uint8", chunks=(16, 16, 16), shards=(32, 32, 32))
    reopened = open_array(place / "a.zarr", writable=True)
    write_box(reopened, Box((0, 0, 0), (32, 32, 32)), np.zeros((32, 32, 32), np.uint8))
    reader = open_array(place / "a.zarr")
    assert not read_box(reader, Box((0, 0, 0), (32, 32, 32))).any()
    with pytest.raises(MissingDataError, match="c/1/0/0"):
        read_box(reader, Box((0, 0, 0), (64, 32, 32)))


def test_a_flipped_byte_is_found(place):
    array = create_array(place / "a.zarr", (32, 32, 32), "uint16", chunks=(16, 16, 16), shards=(32, 32, 32))
    data = np.random.default_rng(0).integers(0, 2**16, (32, 32, 32)).astype(np.uint16)
    write_box(array, Box.of((32, 32, 32)), data)
    shard = place / "a.zarr" / "c" / "0" / "0" / "0"
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(bytes(raw))
    with pytest.raises(CorruptDataError, match="cannot be decoded"):
        read_box(open_array(place / "a.zarr"), Box.of((32, 32, 32)))


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_shard_that_was_cut_off_is_found(place, kept):
    data = np.random.default_rng(0).integers(0, 2**16, (32, 32, 32)).astype(np.uint16)
    array = create_array(place / "a.zarr", data.shape, data.dtype, chunks=(16, 16, 16), shards=(32, 32, 32))
    write_box(array, Box.of(data.shape), data)
    shard = place / "a.zarr" / "c" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:kept])
    for box in (Box.of(data.shape), Box((0, 0, 0), (16, 16, 16))):
        with pytest.raises(CorruptDataError, match=r"a\.zarr"):
            read_box(open_array(place / "a.zarr"), box)


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("content", [b"", b"hello", b"[1]", b"[" * 100_000, b'{"zarr_format": 3, "node_type"'])
def test_damaged_metadata_of_an_array_are_named(place, content, writable):
    create_array(place / "a.zarr", (4, 4, 4), "uint8")
    (place / "a.zarr" / "zarr.json").write_bytes(content)
    with pytest.raises(CorruptDataError, match=r"a\.zarr: metadata of the array cannot be used \(.+\); restore it or"):
        open_array(place / "a.zarr", writable=writable)


def test_a_group_is_no_array(place):
    zarr.create_group((place / "a.zarr").zarr_store())
    with pytest.raises(InputError, match=r"a\.zarr: a Zarr group where an array is expected"):
        open_array(place / "a.zarr")


@pytest.mark.parametrize("path", ["", "1"])
def test_arrays_are_named_as_a_person_names_them(place, path):
    image = place / "a.zarr"
    create_array(image / path if path else image, (4, 4, 4), "uint8")
    array = zarr.open_array(image.zarr_store(), path=path)
    assert array_name(array) == str(image / path if path else image)
    with pytest.raises(MissingDataError) as caught:
        read_box(open_array(image / path if path else image), Box.of((4, 4, 4)))
    assert str(caught.value).startswith(f"{image / path if path else image}/c/0/0/0: this chunk is missing")


def test_opening_nothing(place):
    with pytest.raises(MissingDataError, match="no Zarr array"):
        open_array(place / "nothing.zarr")


def test_ledger_counts_only_its_own_fingerprint(place):
    ledger = Ledger(place, "grow", fingerprint("input", 1))
    ledger.record(3, {"pending": 7})
    ledger.record(11, {"pending": 0})
    assert ledger.finished() == {3: {"pending": 7}, 11: {"pending": 0}}
    assert Ledger(place, "grow", fingerprint("input", 2)).finished() == {}
    ledger.clear()
    assert ledger.finished() == {}


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_a_damaged_entry_of_the_ledger_is_a_block_to_do_again(place, content):
    ledger = Ledger(place, "grow", "0")
    ledger.record(1, {})
    (ledger.location / "2.json").write_text(content)
    (ledger.location / "notes.json").write_text("{}")
    assert ledger.finished() == {1: {}}


def test_a_child_may_have_the_name_of_its_folder(place):
    for name in ("ore", "zinc"):
        (place / "ore" / name / "run.json").write_text("{}")
    assert (place / "ore").children() == ["ore", "zinc"]


def test_what_says_that_intermediates_are_whole_goes_before_them(place, monkeypatch):
    result = Result(place, "ore")
    for name in ("border-core.zarr/c/0", "ledger/predict/0/1.json"):
        (result.work / name).write_text("{}")
    gone = []
    real = layout.remove_own

    def remove(folder, known):
        gone.append(folder)
        if folder == result.work:
            assert result.work.children() == ["border-core.zarr"]
        real(folder, known)

    monkeypatch.setattr(layout, "remove_own", remove)
    result.remove_work()
    assert gone[-1] == result.work
    assert not result.work.exists()


def test_fingerprint_is_stable_and_tells_parts_apart():
    assert fingerprint(1, {"b": 2, "a": 3}) == fingerprint(1, {"a": 3, "b": 2})
    assert fingerprint(1, 2) != fingerprint(12)


def test_identity_changes_with_content(place):
    (place / "a").write_bytes(b"1")
    before = content_identity(place)
    assert content_identity(place) == before
    (place / "b").write_bytes(b"1")
    assert content_identity(place) != before


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a\\b", "a\nb", "x" * 129, "\x00"])
def test_names_that_could_leave_the_folder_are_refused(name):
    with pytest.raises(InputError, match="scan name"):
        checked_name(name)


@pytest.mark.parametrize("name", ["Ore2.5um", "Probe ä 7", "a-b_c"])
def test_ordinary_names_are_kept_whole(name):
    assert checked_name(name) == name


def test_metadata(place):
    dataset = Dataset(place)
    dataset.add_scan("Ore2.5um", 0.01, 0.29)
    dataset.add_scan("b", 0.02, 0.3)
    dataset.add_scan("b", 0.03, 0.3)
    assert dataset.scan_info("Ore2.5um").particle_size == 0.29
    assert dataset.scan_info("b").spacing == 0.03
    with pytest.raises(InputError, match=r"'c': not in .*there: Ore2.5um, b"):
        dataset.scan_info("c")
    with pytest.raises(InputError, match="spacing -1"):
        dataset.add_scan("d", -1, 0.3)
    dataset.metadata.write_text('{"x": {"spacing": "wide"}}')
    with pytest.raises(InputError, match=r"x\.spacing"):
        dataset.read_metadata()
