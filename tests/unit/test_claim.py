"""Claims, marks, staging, publishing: what ps3d did not make is left alone, what it makes is whole or not there."""

from __future__ import annotations

import hashlib
import os
import uuid

import pytest

from ps3d_core.errors import CorruptDataError, InputError
from ps3d_core.store import claim, staging
from ps3d_core.store.claim import Output, check_outputs, claimed, lease_of, require_apart, taken_back, working_in
from ps3d_core.store.lease import LeaseTakenError
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import (
    MARK_FILE,
    WORK_FILES,
    ZARR_FILES,
    is_own,
    mark_own,
    remove_own,
    strangers,
    zarr_is_own,
)
from ps3d_core.store.publishing import RECEIPT, adopt, is_published, publish_text, withdraw
from ps3d_core.store.staging import all_or_nothing, is_unfinished


@pytest.fixture(params=["folder", "memory"])
def root(request, tmp_path):
    return Location.parse(tmp_path if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


def never(_place):
    return False


def always(_place):
    return True


def zarr_at(place, content=b"1"):
    """Files as a Zarr of ours has them."""
    (place / "zarr.json").write_json({"attributes": {"ps3d": {}}})
    (place / "0" / "c" / "0" / "0" / "0").write_bytes(content)


def everything(place):
    return {name: (place / name).read_bytes() for name in place.find(hidden=True)}


class Stopped(Exception):
    """Ends a body."""


def broken_off(context, act=lambda _place: None, error=Stopped):
    """Do something within a context that then fails."""

    def do():
        with context as place:
            act(place)
            raise error("ends here")

    with pytest.raises(error):
        do()


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("/a/scan", "/a/scan"),
        ("/a/scan", "/a/scan/0"),
        ("/a/scan/0", "/a/scan"),
        ("s3://b/scan", "s3://b/scan/x"),
        ("s3a://b/scan", "s3://b/other/../scan"),
        ("memory://b/scan", "memory://b"),
    ],
)
def test_an_output_is_no_input_and_neither_lies_in_the_other(given, place):
    with pytest.raises(InputError, match="input"):
        require_apart(Location.parse(place), Location.parse(given))


@pytest.mark.parametrize(
    ("given", "place"), [("/a/scan", "/a/scan2"), ("s3://b/scan", "s3://c/scan"), ("/a", "s3://a")]
)
def test_neighbours_are_apart(given, place):
    require_apart(Location.parse(place), Location.parse(given))


def test_links_do_not_hide_that_they_are_the_same(tmp_path):
    (tmp_path / "scan").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "scan")
    for given, place in (("scan", "link/new/deep"), ("link", "scan"), ("link/x", "scan")):
        with pytest.raises(InputError, match="input"):
            require_apart(Location.parse(tmp_path / place), Location.parse(tmp_path / given))


def test_what_is_not_ours_is_refused_and_an_empty_folder_is_not(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "folders" / "0" / "c").mkdir(parents=True)  # what a kill leaves of a Zarr that is being removed
    check_outputs([Output(Location.parse(tmp_path / name), never) for name in ("empty", "folders", "none")])
    with all_or_nothing(Output(Location.parse(tmp_path / "folders"), never)) as place:
        zarr_at(place)
    assert (tmp_path / "folders" / "zarr.json").exists()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "none")
    for name, says in (("file", "did not make"), ("link", "is a link")):
        with pytest.raises(InputError, match=says):
            check_outputs([Output(Location.parse(tmp_path / name), never)])
    with pytest.raises(InputError, match="is a link"):
        check_outputs([Output(Location.parse(tmp_path / "link"), always)])


def test_a_claim_is_exclusive_and_leaves_nothing(root):
    output = Output(root / "new" / "deep" / "out", never)
    with claimed("one", [output]):
        with pytest.raises(LeaseTakenError, match=r"two.*is working on it"), claimed("two", [output]):
            pass
        assert lease_of(output.place).children() == ["1.json"]
    broken_off(claimed("three", [output]))
    assert root.find(hidden=True) == {}
    if (path := root.local_path) is not None:
        assert os.listdir(path / "new" / "deep") == [] or not (path / "new").exists()


def test_folders_that_a_failed_claim_made_go_and_others_stay(tmp_path):
    (tmp_path / "mine").mkdir()
    broken_off(claimed("one", [Output(Location.parse(tmp_path / "mine" / "a" / "b"), never)]))
    assert os.listdir(tmp_path / "mine") == []


def test_only_names_of_ours_are_removed(root):
    place = root / "scan.zarr"
    zarr_at(place)
    assert zarr_is_own(place)
    for name in ("notes.txt", "0/c/thesis.txt", "c/0/0/readme", "0/zarr.json.bak"):
        (place / name).write_text("mine")
    assert strangers(place, ZARR_FILES) == ["0/c/thesis.txt", "0/zarr.json.bak", "c/0/0/readme", "notes.txt"]
    assert not zarr_is_own(place)
    remove_own(place, ZARR_FILES)
    assert set(everything(place)) == {"notes.txt", "0/c/thesis.txt", "c/0/0/readme", "0/zarr.json.bak"}


def test_a_mark_that_is_none_marks_nothing(root):
    for content in ("", "no JSON", "[]", '{"other": 1}'):
        (root / "work" / MARK_FILE).write_text(content)
        assert not is_own(root / "work")
    mark_own(root / "made")
    assert is_own(root / "made")
    mark_own(root / "made")
    assert is_own(root / "made")


def test_intermediates_go_stay_or_go_by_how_the_work_ends(root):
    work, output = root / "work", root / "out"
    with working_in(work):
        (work / "stages" / "1.json").write_text("{}")
    assert not work.exists()

    def begin(_place):
        (work / "0.npz").write_bytes(b"")
        zarr_at(output)

    broken_off(working_in(work, [output]), begin, CorruptDataError)
    assert not work.exists()
    assert not output.exists()
    broken_off(working_in(work), begin)
    broken_off(working_in(work), error=InputError)  # of an earlier run, which can go on with another input
    assert (work / "0.npz").exists()
    (work / "mine.txt").write_text("mine")
    with working_in(work):
        pass
    assert set(everything(work)) == {MARK_FILE, "mine.txt"}
    (root / "theirs" / "file").write_text("mine")
    with pytest.raises(InputError, match="did not make"), working_in(root / "theirs"):
        pass


def test_output_appears_whole_or_not_at_all(root):
    output = Output(root / "scan.zarr", zarr_is_own)
    broken_off(all_or_nothing(output), lambda place: zarr_at(place, b"half"))
    assert root.find(hidden=True) == {}
    with all_or_nothing(output) as place:
        zarr_at(place, b"one")
    assert set(everything(root)) == {"scan.zarr/zarr.json", "scan.zarr/0/c/0/0/0"}
    broken_off(all_or_nothing(output), lambda place: zarr_at(place, b"half"))
    assert (output.place / "0/c/0/0/0").read_bytes() == b"one"
    with all_or_nothing(output) as place:
        zarr_at(place, b"two")
    assert (output.place / "0/c/0/0/0").read_bytes() == b"two"
    assert set(everything(root)) == {"scan.zarr/zarr.json", "scan.zarr/0/c/0/0/0"}


def test_what_appears_at_the_place_meanwhile_is_kept(tmp_path):
    root = Location.parse(tmp_path)
    for name, known in (("scan.zarr", ZARR_FILES), ("scan.nii", None)):
        making = all_or_nothing(Output(root / name, never), known=known)
        with pytest.raises(InputError, match="did not make"):
            write_while_somebody_else_does(making, root / name)
        assert everything(root) == {name: b"mine"}
        (root / name).remove_tree()


def write_while_somebody_else_does(making, place):
    with making as new:
        new.write_bytes(b"ours")
        place.write_text("mine")


@pytest.mark.parametrize("replaces", [False, True])
def test_the_rest_of_an_output_belongs_to_it(root, replaces):
    output = Output(root / "scan.zarr", zarr_is_own)
    if replaces:
        with all_or_nothing(output) as place:
            zarr_at(place, b"one")
    before = everything(root)

    def fail():
        raise Stopped

    with pytest.raises(Stopped), all_or_nothing(output, finish=fail) as place:
        zarr_at(place, b"two")
    if root.local_path is not None or not replaces:
        assert everything(root) == before
    else:
        assert (output.place / "0/c/0/0/0").read_bytes() == b"two"


@pytest.mark.parametrize("step", ["_move", "_take_back", "_replace_objects"])
@pytest.mark.parametrize("replaces", [False, True])
def test_a_kill_while_it_is_put_in_place_is_made_good(root, monkeypatch, replaces, step):
    output = Output(root / "scan.zarr", zarr_is_own)
    if replaces:
        with all_or_nothing(output) as place:
            zarr_at(place, b"one")

    def killed(*_args):
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(staging, step, killed)
        # Nothing is cleared up: as after a kill.
        patched.setattr(staging, "_take_back", killed)
        try:
            with all_or_nothing(output, finish=killed if step == "_take_back" else staging.nothing_more) as place:
                zarr_at(place, b"two")
        except Stopped:
            pass
    with all_or_nothing(output) as place:
        zarr_at(place, b"three")
    assert not is_unfinished(output.place)
    assert set(everything(root)) == {"scan.zarr/zarr.json", "scan.zarr/0/c/0/0/0"}
    assert (output.place / "0/c/0/0/0").read_bytes() == b"three"


def test_files_that_were_published_are_known_and_changed_ones_are_kept(root):
    table = root / "particles.csv"
    assert publish_text(table, "one") is None
    assert publish_text(table, "two") is None
    assert is_published(table)
    assert table.read_text() == "two"
    table.write_text("corrected by hand")
    kept = publish_text(table, "three")
    assert kept == root / "particles.csv.kept-1"
    assert kept.read_text() == "corrected by hand"
    assert table.read_text() == "three"
    table.write_text("again")
    assert withdraw(table) == root / "particles.csv.kept-2"
    assert not table.exists()
    assert withdraw(table) is None


def test_files_of_others_are_not_published_over(root):
    table = root / "particles.csv"
    table.write_text("mine")
    for act in (lambda: publish_text(table, "ours"), lambda: withdraw(table)):
        with pytest.raises(InputError, match="did not make"):
            act()
    assert everything(root) == {"particles.csv": b"mine"}
    adopt(table)
    publish_text(table, "ours")
    assert table.read_text() == "ours"


def test_a_kill_before_a_file_appears_does_not_make_the_users_file_ours(root):
    table, digest = root / "particles.csv", hashlib.sha256(b"ours").hexdigest()
    (root / RECEIPT).write_json({"particles.csv": {"pending": digest}})
    table.write_text("mine")
    with pytest.raises(InputError, match="did not make"):
        publish_text(table, "ours")
    assert table.read_text() == "mine"
    table.write_text("ours")
    assert publish_text(table, "new") is None
    assert table.read_text() == "new"
    assert withdraw(table) is None
    table.write_text("mine again")
    with pytest.raises(InputError, match="did not make"):
        withdraw(table)


@pytest.mark.parametrize("content", ["", "mine", "[]", '{"particles.csv": "no entry"}'])
def test_an_account_that_cannot_be_read_is_not_written_over(root, content):
    (root / RECEIPT).write_text(content)
    with pytest.raises(InputError, match="cannot be read"):
        publish_text(root / "particles.csv", "ours")
    assert everything(root) == {RECEIPT: content.encode()}


def test_names_of_work_are_those_that_are_written():
    for name in ("ledger/predict/ab/0.json", "a/b.zarr/zarr.json", "a/b.zarr/c/0/1/2", "0.npz", MARK_FILE):
        assert WORK_FILES.fullmatch(name), name
    for name in ("thesis.docx", "a/b.zarr/c/0/1/x", "notes"):
        assert not WORK_FILES.fullmatch(name), name


@pytest.mark.parametrize(
    ("began", "error", "held", "undone"),
    [
        (True, InputError("bad"), True, True),
        (True, InputError("bad"), False, False),  # another run went on with it
        (False, InputError("bad"), True, False),
        (True, Stopped(), True, False),
    ],
)
def test_only_what_the_body_began_and_holds_is_taken_back(monkeypatch, began, error, held, undone):
    monkeypatch.setattr(claim, "holds_lease", lambda: held)
    calls = []
    with pytest.raises(type(error)), taken_back(lambda: calls.append(1), began=began):
        raise error
    assert calls == [1] * undone
