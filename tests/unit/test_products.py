"""What was made of a file or an image and lies in its folder goes before that is made anew; nobody's own work does."""

from __future__ import annotations

import uuid

import pytest

from ps3d_core.errors import InputError
from ps3d_core.store.deriving import deriving
from ps3d_core.store.layout import LEASE, Result
from ps3d_core.store.lease import LeaseTakenError, sole_run
from ps3d_core.store.location import Location
from ps3d_core.store.publishing import (
    RECEIPT,
    publish_text,
    read_receipt,
    telling,
    withdraw,
    withdraw_products,
)
from ps3d_core.store.whole import digest_of


@pytest.fixture(params=["folder", "memory"])
def folder(request, tmp_path):
    """A folder with a table in it."""
    place = Location.parse(tmp_path / "ore" if request.param == "folder" else f"memory://{uuid.uuid4().hex}/ore")
    publish_text(place / "table", "first")
    return place


def made(source, *places):
    """Make places of `source`: files that are published, and folders of others."""
    with deriving(source, places):
        for place in places:
            if place.name.endswith("csv"):
                publish_text(place, "of it")
            else:
                (place / "1.stl").write_text("of it")
    return places


def names(folder):
    return sorted(name for name in folder.find() if not name.startswith("."))


def test_products_go_when_the_file_is_made_anew_and_not_when_it_is_the_same(folder):
    made(folder / "table", folder / "one.csv", folder / "sizes" / "two.csv", folder / "meshes")
    made(folder / "one.csv", folder / "page.csv")
    everything = ["meshes/1.stl", "one.csv", "page.csv", "sizes/two.csv", "table"]
    assert names(folder) == everything
    publish_text(folder / "table", "first")
    assert names(folder) == everything
    told = []
    with telling(told.append):
        publish_text(folder / "table", "second")
    assert names(folder) == ["table"]
    assert set(folder.children()) == {RECEIPT, "table"}
    assert len(told) == 4
    assert read_receipt(folder)["table"].products == {}
    publish_text(folder / "one.csv", "somebody's from now on")
    publish_text(folder / "table", "third")
    assert names(folder) == ["one.csv", "table"]


def test_products_go_with_a_file_that_is_withdrawn_and_with_an_image(folder):
    (folder / "ore.zarr" / "zarr.json").write_text("{}")
    made(folder / "ore.zarr", folder / "meshes", folder / "meshes.csv")
    made(folder / "table", folder / "sizes" / "two.csv")
    withdraw_products(folder / "ore.zarr")
    assert names(folder) == ["ore.zarr/zarr.json", "sizes/two.csv", "table"]
    withdraw(folder / "table")
    assert set(folder.children()) == {"ore.zarr"}


def test_what_somebody_has_changed_or_added_is_kept(folder):
    made(folder / "table", folder / "one.csv", folder / "meshes", folder / "others")
    (folder / "one.csv").write_text("changed")
    (folder / "meshes" / "mine.txt").write_text("mine")
    (folder / "others" / "1.stl").remove_tree()
    (folder / "notes.csv").write_text("mine")
    publish_text(folder / "table", "second")
    kept = ["meshes.kept-1/1.stl", "meshes.kept-1/mine.txt", "notes.csv", "one.csv.kept-1", "table"]
    assert names(folder) == kept
    publish_text(folder / "table", "third")
    assert names(folder) == kept


def test_what_lies_elsewhere_and_what_failed_leaves_no_note(folder, tmp_path):
    elsewhere = Location.parse(tmp_path / "elsewhere")
    made(folder / "table", elsewhere / "one.csv", folder.parent / "oreo")
    with pytest.raises(InputError, match="no"), deriving(folder / "table", [folder / "sizes" / "two.csv"]):
        raise InputError("no")
    publish_text(folder / "table", "second")
    assert (elsewhere / "one.csv").exists()
    assert (folder.parent / "oreo").exists()
    assert read_receipt(folder)["table"].products == {}


def test_a_kill_while_a_product_is_written_leaves_nothing_unmarked(folder):
    unfinished = deriving(folder / "table", [folder / "sizes" / "two.csv", folder / "meshes"])
    unfinished.__enter__()
    publish_text(folder / "sizes" / "two.csv", "of it")
    (folder / "meshes" / "1.stl").write_text("of it")
    publish_text(folder / "table", "second")
    assert names(folder) == ["meshes.kept-1/1.stl", "table"]  # of which nobody knows whose it is


def test_nothing_is_made_of_what_is_being_made_anew(folder):
    with sole_run(folder / LEASE, "scan"), pytest.raises(LeaseTakenError, match="is working on it"):
        made(folder / "table", folder / "one.csv")
    assert names(folder) == ["table"]


def test_folders_in_which_nothing_is_published_get_no_notes(tmp_path):
    place = Location.parse(tmp_path)
    made(place / "labels.zarr", place / "meshes")
    assert place.children() == ["meshes"]


def test_a_result_is_removed_with_its_products(tmp_path):
    result = Result(Location.parse(tmp_path), "ore")
    publish_text(result.table_csv, "table")
    (result.labels / "zarr.json").write_text('{"attributes": {"ps3d": {}}}')
    made(result.table_csv, result.root / "sizes" / "two.csv")
    made(result.labels, result.root / "meshes")
    result.remove()
    assert not result.root.exists()


def forged(folder, products, **others):
    """Say in the receipt that these were made of the table."""
    said = (folder / RECEIPT).read_json()
    said["table"]["products"] = products
    (folder / RECEIPT).write_json(said | others)


ELSEWHERE = (
    "../mine.txt",
    "a/../../mine.txt",
    "/mine.txt",
    ".",
    "",
    "a//b",
    RECEIPT,
    ".git",
    "a\0b",
    "a" * 300,
    "a/" * 600 + "b",
)


@pytest.mark.parametrize("name", [*ELSEWHERE, "\ud800"])
def test_a_receipt_that_names_other_places_takes_nothing_away(folder, name):
    mine = folder.parent / "mine.txt"
    mine.write_text("mine")
    forged(folder, {name: digest_of(mine).digest})
    with pytest.raises(InputError, match="cannot be read; restore it"):
        publish_text(folder / "table", "second")
    forged(folder, {}, **{f"../{folder.name}/table": {"written": "0"}})
    with pytest.raises(InputError, match="cannot be read; restore it"):
        Result(folder.parent, "ore").remove()
    assert mine.read_text() == "mine"
    assert (folder / "table").read_text() == "first"


def test_a_receipt_that_goes_in_a_circle_comes_to_an_end(folder):
    publish_text(folder / "two", "second")
    said = (folder / RECEIPT).read_json()
    said["two"]["products"] = {"table": None, "two": None}
    said["table"]["products"] = {"table": None, "two": None}
    (folder / RECEIPT).write_json(said)
    publish_text(folder / "table", "third")
    assert names(folder) == ["table"]
    chain = {str(index): {"products": {str(index + 1): None}} for index in range(3000)}
    forged(folder, {"0": None}, **chain)
    publish_text(folder / "table", "fourth")
    assert read_receipt(folder)["table"].products == {}


def test_what_lies_behind_links_stays(tmp_path):
    folder, other = Location.parse(tmp_path / "ore"), Location.parse(tmp_path / "other")
    (other / "a.txt").write_text("mine")
    publish_text(folder / "table", "first")
    for name in ("link", "dangling"):
        (tmp_path / "ore" / name).symlink_to(tmp_path / ("other" if name == "link" else "nothing"))
    forged(folder, {"link/a.txt": digest_of(other / "a.txt").digest, "link": digest_of(other).digest, "dangling": None})
    told = []
    with telling(told.append):
        publish_text(folder / "table", "second")
    assert (other / "a.txt").read_text() == "mine"
    assert (tmp_path / "ore" / "dangling").is_symlink()
    assert len(told) == 1
    assert (tmp_path / "ore" / "link.kept-1").is_symlink()
    (tmp_path / "ore" / "link").symlink_to(tmp_path / "other")
    made(folder / "table", folder / "link" / "meshes")
    assert read_receipt(folder)["table"].products == {}


def test_hidden_files_of_somebody_in_a_product_are_kept(folder):
    made(folder / "table", folder / "meshes")
    (folder / "meshes" / ".git" / "head").write_text("mine")
    publish_text(folder / "table", "second")
    assert (folder / "meshes.kept-1" / ".git" / "head").read_text() == "mine"


def test_what_was_made_of_a_product_goes_with_it_and_when_it_is_made_anew(folder):
    (folder / "ore.zarr" / "zarr.json").write_text("{}")
    copy, mesh = folder / "copy.zarr", folder / "meshes"
    made(folder / "ore.zarr", copy)
    made(copy, mesh)
    made(folder / "ore.zarr", copy)
    assert mesh.exists()
    with deriving(folder / "ore.zarr", [copy]):
        (copy / "1.stl").write_text("another")
    assert not mesh.exists()
    made(copy, mesh)
    withdraw_products(folder / "ore.zarr")
    assert names(folder) == ["ore.zarr/zarr.json", "table"]
    assert set(read_receipt(folder)) == {"table"}
