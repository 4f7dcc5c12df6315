"""What counts as finished: entries that are whole, and speak of objects that are as they were written."""

import json
from itertools import count

import numpy as np
import pytest

from ps3d_core.engine.blocks import run_blocks
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.store.arrays import create_array, ensure_array, open_array, write_box
from ps3d_core.store.aside import set_aside
from ps3d_core.store.digest import GONE, Digest
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.location import Location
from ps3d_core.store.seal import sealed, unsealed
from ps3d_core.store.whole import digest_of, still_as_written
from ps3d_core.store.written import noting_writes

GRID = BlockGrid((8, 6, 4), (4, 3, 4))
numbers = count()


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    return Location.parse(tmp_path if request.param == "folder" else f"memory://ledger-{next(numbers)}")


class Work:
    """Writes a chunk of an array and a table for every block, and remembers the blocks that it did."""

    def __init__(self, place):
        self.place, self.done = place, []
        ensure_array(place / "a.zarr", GRID.shape, "uint8", chunks=GRID.block_shape, sharded=False)

    def __call__(self, block):
        self.done.append(block.index)
        write_box(open_array(self.place / "a.zarr", writable=True), block.core, np.full(block.core.shape, block.index))
        (self.place / "sums" / f"{block.index}.npz").write_arrays(ids=np.arange(block.index))
        return {"pieces": block.index}


def run(place, ledger):
    work = Work(place)
    records = run_blocks("test", list(GRID), work, ledger=ledger)
    assert [record["pieces"] for record in records] == [0, 1, 2, 3]
    return work.done


def flip(file, position, bit=3):
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(bytes(content))


def swap(one, other):
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def test_blocks_are_done_once_and_again_when_what_they_wrote_has_changed(place):
    ledger = Ledger(place / ".work", "grow", "f")
    chunk, table, entry = place / "a.zarr" / "c", place / "sums", ledger.location
    assert run(place, ledger) == [0, 1, 2, 3]
    assert run(place, ledger) == []
    for damage, redone in (
        (lambda: flip(chunk / "0" / "1" / "0", -5), [1]),
        (lambda: (table / "2.npz").write_bytes((table / "2.npz").read_bytes()[:-1]), [2]),
        ((chunk / "1" / "1" / "0").remove_tree, [3]),
        (lambda: swap(chunk / "0" / "0" / "0", chunk / "1" / "0" / "0"), [0, 2]),
        (lambda: swap(table / "1.npz", table / "3.npz"), [1, 3]),
        (lambda: swap(entry / "0.json", entry / "2.json"), [0, 2]),
        (
            lambda: (entry / "1.json").write_text((entry / "1.json").read_text().replace('"pieces": 1', '"pieces": 7')),
            [1],
        ),
        (lambda: (entry / "3.json").write_text("{"), [3]),
        (lambda: (entry / "3.json").write_text("[]"), [3]),
    ):
        damage()
        assert run(place, ledger) == redone
        assert run(place, ledger) == []


def test_entries_of_another_stage_or_fingerprint_do_not_count(place):
    for stage, mark in (("a", "1"), ("b", "1"), ("a", "2")):
        Ledger(place, stage, mark).record(0, {"of": stage + mark})
    swap(Ledger(place, "a", "1").location / "0.json", Ledger(place, "b", "1").location / "0.json")
    assert Ledger(place, "a", "1").entries() == Ledger(place, "b", "1").entries() == {}
    swap(Ledger(place, "a", "1").location / "0.json", Ledger(place, "a", "2").location / "0.json")
    assert Ledger(place, "a", "2").entries() == {}


def test_a_step_is_kept_while_its_outputs_are_as_they_were(place):
    ledger, out = Ledger(place / ".work", "table", "f"), place / "out"
    (out / "table").write_text("rows")
    ledger.keep({"rows": 4}, {out: digest_of(out)})
    assert ledger.kept().record == {"rows": 4}
    (out / ".sidecar").write_text("no part of it")
    assert ledger.kept() is not None
    (out / "stray").write_text("")
    assert ledger.kept() is None
    ledger.keep({}, {out: GONE})
    assert ledger.kept() is None


def test_what_is_noted_is_what_lies_there(place):
    with noting_writes() as written:
        (place / "a.json").write_json({"x": 1})
        array = create_array(place / "b.zarr", (4, 4, 4), "uint16")
        write_box(array, BlockGrid((4, 4, 4), (4, 4, 4))[0].core, np.ones((4, 4, 4)))
    assert {url: digest_of(Location(url)) for url in written} == written
    assert len(written) == 3
    files = {Location(url): digest for url, digest in written.items()}
    assert still_as_written(files) == set(files)
    assert still_as_written({place / "nothing": Digest.of_content(b"")}) == set()


def test_a_damaged_shard_is_replaced_and_not_merged_with(place):
    """Zarr reads what is at the end of an array before it writes there."""
    array = create_array(place / "a.zarr", (10, 4, 4), "uint8", chunks=(4, 4, 4), shards=(8, 4, 4))
    block = BlockGrid((10, 4, 4), (8, 4, 4))[1]
    write_box(array, block.core, np.ones(block.core.shape))
    whole = digest_of(place / "a.zarr")
    (place / "a.zarr" / "c" / "1" / "0" / "0").write_bytes(b"damaged beyond all recognition")
    write_box(open_array(place / "a.zarr", writable=True), block.core, np.ones(block.core.shape))
    assert digest_of(place / "a.zarr") == whole


def test_arrays_with_damaged_metadata_start_over(place):
    file = place / "a.zarr" / "zarr.json"
    assert ensure_array(place / "a.zarr", (4, 4, 4), "uint8", attributes={"x": 1})
    assert not ensure_array(place / "a.zarr", (4, 4, 4), "uint8", attributes={"x": 2})
    assert open_array(place / "a.zarr").attrs["x"] == 1
    good = file.read_text()
    for damaged in (good.replace("zstd", "zstf"), good.replace("4", "5"), good[:-9], "[]", '{"attributes": 1}'):
        file.write_text(damaged)
        assert ensure_array(place / "a.zarr", (4, 4, 4), "uint8", attributes={"x": 1})
        assert file.read_text() == good


def test_digests_see_names_sizes_and_content(place):
    (place / "a").write_text("1")
    (place / "b" / "c").write_text("2")
    one = digest_of(place)
    assert (one.objects, one.bytes) == (2, 2)
    swap(place / "a", place / "b" / "c")
    assert digest_of(place) != one
    assert digest_of(place / "a") == Digest.of_content(b"2")
    assert digest_of(place / "nothing") == Digest.of_objects({}) != GONE


@pytest.mark.parametrize("change", [{"x": 2}, {"y": 0}, {"checksum": "0" * 64}])
def test_seals_break(change):
    content = json.loads(json.dumps(sealed({"x": (1, 0.1)}, "stage", 3)))
    assert unsealed(content, "stage", 3) == {"x": [1, 0.1]}
    assert unsealed(content, "stage", 4) is None
    assert unsealed({**content, **change}, "stage", 3) is None
    assert unsealed([], "stage", 3) is unsealed({"x": 1}, "stage", 3) is None


def test_set_aside_takes_the_first_free_name(place):
    assert set_aside(place / "particles.csv") is None
    for text in ("a", "b"):
        (place / "particles.csv").write_text(text)
        (place / "ore.zarr" / "0" / "zarr.json").write_text(text)
        set_aside(place / "particles.csv")
        set_aside(place / "ore.zarr")
    assert place.children() == ["ore.zarr.kept-1", "ore.zarr.kept-2", "particles.csv.kept-1", "particles.csv.kept-2"]
    assert (place / "particles.csv.kept-2").read_text() == "b"
    assert (place / "ore.zarr.kept-1" / "0" / "zarr.json").read_text() == "a"
