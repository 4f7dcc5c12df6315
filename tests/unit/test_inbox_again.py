"""Scans that are asked for again, out of failed/, held/ or where they lie, or released; and what the inbox tells."""

from __future__ import annotations

import errno
import os
import signal
import threading
import uuid

import pytest

from ps3d_core.errors import InputError
from ps3d_core.inbox.again import identity, retry
from ps3d_core.inbox.held import release
from ps3d_core.inbox.history import ends, names_in
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.listing import InboxListing
from ps3d_core.inbox.overview import overview
from ps3d_core.params import InboxParams
from ps3d_core.store import moving
from ps3d_core.store.lease import sole_run
from ps3d_core.store.location import Location
from ps3d_core.store.moving import move_files
from tests.unit.test_inbox import AT_ONCE, DOUBTFUL, HOLD, LATER, attempt, drop, files


@pytest.fixture(params=["folder", "memory"])
def inbox(request, tmp_path) -> Inbox:
    return Inbox(Location.parse(tmp_path if request.param == "folder" else f"memory://{uuid.uuid4().hex}"))


@pytest.fixture
def folder(tmp_path) -> Inbox:
    return Inbox(Location.parse(tmp_path))


def identities(inbox: Inbox) -> dict[str, str]:
    return {arrival.key: identity(inbox, arrival) for arrival in InboxListing(inbox, AT_ONCE).arrivals}


def states(inbox: Inbox, params: InboxParams = AT_ONCE) -> dict[str, str]:
    return {entry.name: entry.state for entry in overview(inbox, params)}


def breaks_off(scan: object) -> None:
    raise ZeroDivisionError("odd")


def test_a_failed_scan_comes_back_with_its_description_mended(inbox):
    drop(inbox, particle_size=None)
    before = identities(inbox)
    attempt(inbox)
    assert names_in(inbox.failed) == ["ore"]
    said = retry(inbox, "ore", {"particle_size": 0.3})
    assert said == f"ore: back in the inbox, as {inbox.incoming}/ore/scan.json"
    assert names_in(inbox.failed) == []
    assert not ends(inbox)
    assert [name for name in files(inbox.incoming) if not name.startswith(".asked/")] == [
        "ore/s0.tif",
        "ore/s1.tif",
        "ore/s2.tif",
        "ore/scan.json",
    ]
    assert identities(inbox) != before
    assert list(attempt(inbox).done) == ["ore"]
    assert not [name for name in files(inbox.incoming) if name.startswith(".asked/")]


def test_what_was_dropped_as_a_single_file_comes_back_as_one(inbox):
    (inbox.incoming / "sand.nii.gz").write_bytes(b"x")
    (inbox.incoming / "sand.json").write_json({"name": "sea sand", "spacing": 0.01})
    attempt(inbox)
    assert names_in(inbox.failed) == ["sea sand"]
    retry(inbox, "sea sand", {"particle_size": 0.1})
    assert {"sand.json", "sand.nii.gz"} <= set(files(inbox.incoming))
    assert list(attempt(inbox).done) == ["sea sand"]


def hold(inbox: Inbox, folder: str = "ore", **changes: object) -> None:
    drop(inbox, folder, **changes)
    assert len(attempt(inbox, params=HOLD, record=DOUBTFUL).held) == 1


def test_a_held_scan_comes_back_with_its_description_mended(inbox):
    drop(inbox, "dropped", name="ore")
    identity_before = identities(inbox)
    attempt(inbox, params=HOLD, record=DOUBTFUL)
    before = inbox.result("ore").run.read_bytes()
    assert retry(inbox, "ore", {"model": "sand"}) == f"ore: back in the inbox, as {inbox.incoming}/dropped/scan.json"
    assert identities(inbox).keys() == identity_before.keys()
    assert identities(inbox) != identity_before, "it gets another run"
    assert not inbox.result("ore").run.exists()
    assert names_in(inbox.held) == inbox.held.children() == []
    assert not ends(inbox)
    asked = []
    assert list(attempt(inbox, lambda scan: asked.append(scan.model), HOLD).done) == ["ore"]
    assert asked == [str(inbox.model("sand"))]
    assert inbox.result("ore").run.read_bytes() != before
    assert not [name for name in files(inbox.incoming) if name.startswith(".asked/")]


def test_a_released_scan_is_done_and_its_result_stays(inbox):
    hold(inbox)
    before = inbox.result("ore").run.read_bytes()
    assert release(inbox, "ore") == f"ore: accepted; {inbox.result('ore').root} counts, its files are in done/ore"
    assert files(inbox.done / "ore") == ["s0.tif", "s1.tif", "s2.tif", "scan.json"]
    assert inbox.result("ore").run.read_bytes() == before
    assert inbox.held.children() == files(inbox.journals) == files(inbox.incoming) == []
    assert states(inbox) == {"ore": "done"}
    with pytest.raises(InputError, match=r"ore: not in .*held; no scan is held"):
        release(inbox, "ore")


@pytest.mark.parametrize("decide", [release, lambda inbox, name: retry(inbox, name, {})], ids=["release", "retry"])
@pytest.mark.parametrize("forgotten", [False, True])
def test_what_was_held_under_another_name_than_it_was_dropped(inbox, decide, forgotten):
    (inbox.incoming / "sand.nii.gz").write_bytes(b"x")
    (inbox.incoming / "sand.json").write_json({"name": "sea sand", "spacing": 0.01, "particle_size": 0.1})
    attempt(inbox, params=HOLD, record=DOUBTFUL)
    hold(inbox, "b", name="ore")
    if forgotten:
        inbox.ended.remove_tree()
    for name in ("sea sand", "held/ore"):
        decide(inbox, name)
    attempt(inbox)
    assert files(inbox.done) == [
        *(f"ore/{name}" for name in ("s0.tif", "s1.tif", "s2.tif", "scan.json")),
        "sea sand/sand.json",
        "sea sand/sand.nii.gz",
    ]
    assert files(inbox.held) == []


def test_what_was_held_is_not_released_without_its_result(inbox):
    hold(inbox)
    inbox.result("ore").run.remove_tree()
    with pytest.raises(InputError, match=r"ore: there is no .*run\.json any more; .* by ps3d inbox retry ore"):
        release(inbox, "ore")
    assert len(files(inbox.held / "ore")) == 5


def test_a_name_that_failed_and_is_held_has_to_be_said_in_full(inbox):
    hold(inbox, "a", name="ore")
    drop(inbox, "b", name="ore")
    attempt(inbox)
    assert [(entry.name, entry.state) for entry in overview(inbox, AT_ONCE)] == [("ore", "failed"), ("ore", "held")]
    with pytest.raises(InputError, match="ore: is in failed/ and in held/; say which: failed/ore or held/ore"):
        retry(inbox, "ore", {})
    retry(inbox, "failed/ore", {"name": "other"})
    retry(inbox, "ore", {})
    assert sorted(attempt(inbox).done) == ["ore", "other"]


@pytest.mark.parametrize("decide", [release, lambda inbox, name: retry(inbox, name, {})], ids=["release", "retry"])
def test_what_is_held_is_left_to_whoever_works_on_it(inbox, decide):
    hold(inbox)
    with sole_run(inbox.lease("ore"), "scan ore"), pytest.raises(InputError, match="ore: is being worked on"):
        decide(inbox, "ore")
    with pytest.raises(InputError, match=r"orr: not in .*did you mean ore\?"):
        decide(inbox, "orr")
    with pytest.raises(InputError, match=r"\.\./ore: not in"):
        decide(inbox, "../ore")
    assert len(files(inbox.held / "ore")) == 5
    assert inbox.result("ore").run.exists()


def test_a_wrong_correction_of_a_held_scan_removes_nothing(inbox):
    hold(inbox)
    with pytest.raises(InputError, match=r"model '\.\./sand'"):
        retry(inbox, "ore", {"model": "../sand"})
    assert inbox.result("ore").run.exists()
    release(inbox, "ore")


def test_two_who_decide_at_once_do_not_disturb_each_other(inbox):
    hold(inbox)
    said, refused = [], []

    def decide(decision) -> None:
        try:
            said.append(decision())
        except InputError as error:
            refused.append(error)

    decisions = [lambda: release(inbox, "ore"), lambda: retry(inbox, "ore", {})]
    threads = [threading.Thread(target=decide, args=(decision,)) for decision in decisions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(said), len(refused)) == (1, 1)
    attempt(inbox)
    assert states(inbox) == {"ore": "done"}
    assert len(files(inbox.done / "ore")) == 4
    assert inbox.result("ore").run.exists()


def test_the_same_files_dropped_again_are_another_arrival_after_a_failure(folder):
    drop(folder, model="sand")
    before = identities(folder)
    attempt(folder, breaks_off, InboxParams(settle_seconds=0, attempts=1))
    (folder.failed / "ore" / "reason.txt").remove_tree()
    os.rename(folder.failed.local_path / "ore", folder.incoming.local_path / "ore")
    assert identities(folder).keys() == before.keys()
    assert identities(folder) != before


def test_one_in_the_inbox_is_asked_for_again_with_its_attempts_forgotten(inbox):
    drop(inbox)
    for _ in range(AT_ONCE.attempts - 1):
        attempt(inbox, breaks_off)
    before = identities(inbox)
    assert retry(inbox, "ore", {}) == "ore: asked for again"
    assert identities(inbox) != before
    assert attempt(inbox, breaks_off).errors, "it would have failed for good"
    assert list(attempt(inbox).done) == ["ore"]


def test_what_is_worked_on_is_not_asked_for_again(inbox):
    drop(inbox)
    with sole_run(inbox.lease("ore"), "scan ore"), pytest.raises(InputError, match="ore: is being worked on"):
        retry(inbox, "ore", {})


def test_a_name_that_nothing_has_is_refused_with_those_there_are(inbox):
    with pytest.raises(InputError, match="nothing failed or is held"):
        retry(inbox, "ore", {})
    drop(inbox, particle_size=None)
    attempt(inbox)
    with pytest.raises(InputError, match=r"orr: not in .*failed, .*held or .*inbox; did you mean ore\?"):
        retry(inbox, "orr", {})
    with pytest.raises(InputError, match=r"\.\./ore: not in"):
        retry(inbox, "../ore", {})


def test_a_description_that_would_still_be_wrong_stays_where_it_is(inbox):
    drop(inbox, particle_size=None, slices=1)
    attempt(inbox)
    with pytest.raises(InputError, match="slices"):
        retry(inbox, "ore", {"particle_size": 0.3})
    assert names_in(inbox.failed) == ["ore"]
    retry(inbox, "ore", {"slices": 3, "particle_size": 0.3})


def test_another_scan_of_that_folder_is_not_mixed_up_with_it(inbox):
    drop(inbox, particle_size=None)
    attempt(inbox)
    (inbox.incoming / "ore" / "s1.tif").write_bytes(b"of another scan")
    with pytest.raises(InputError, match=r"inbox/ore/s1\.tif: another file"):
        retry(inbox, "ore", {})
    assert len(files(inbox.failed / "ore")) == 5


def test_a_kill_while_it_comes_back_leaves_no_half_scan(tmp_path):
    for number in range(1, 60):
        inbox = Inbox(Location.parse(tmp_path / str(number)))
        drop(inbox, particle_size=None)
        attempt(inbox)
        killed = _killed_in_a_retry(inbox, number)
        if "ore/scan.json" in files(inbox.incoming):
            assert {f"ore/s{index}.tif" for index in range(3)} <= set(files(inbox.incoming))
        else:
            retry(inbox, "ore", {"particle_size": 0.3})
        assert list(attempt(inbox).done) == ["ore"]
        if not killed:
            assert number > 5
            return
    raise AssertionError("it never came to its end")


def _killed_in_a_retry(inbox: Inbox, number: int) -> bool:
    child = os.fork()
    if child == 0:
        from ps3d_core.store import moving

        count = 0

        def counted(function):
            def wrapped(*args, **kwargs):
                nonlocal count
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)

            return wrapped

        for name in ("write_bytes", "create_json", "remove_tree"):
            setattr(Location, name, counted(getattr(Location, name)))
        moving.rename_to_new = counted(moving.rename_to_new)
        try:
            retry(inbox, "ore", {"particle_size": 0.3})
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_the_overview_tells_all(inbox):
    hold(inbox, "odd")
    for name in ("good", "ready", "slow"):
        drop(inbox, name, slices=5 if name == "slow" else None)
    drop(inbox, "bad", particle_size=None)
    (inbox.incoming / "notes.docx").write_bytes(b"x")
    with sole_run(inbox.lease("ready"), "scan ready"):
        attempt(inbox)
        assert states(inbox) == {
            "notes.docx": "unknown",
            "ready": "works",
            "slow": "waits",
            "bad": "failed",
            "odd": "held",
            "good": "done",
        }
    entries = {entry.name: entry for entry in overview(inbox, AT_ONCE)}
    assert entries["ready"].state == "complete"
    assert entries["slow"].why == "2 of 5 slices"
    assert "particle_size is missing" in entries["bad"].why
    assert entries["odd"].why == "doubtful: 3 particles are too few for a size distribution"
    assert all(entries[name].since for name in ("ready", "slow", "bad", "odd", "good"))
    assert [entry.name for entry in overview(inbox, AT_ONCE, recent=0) if entry.state == "done"] == []
    assert states(inbox, LATER)["ready"] == "waits"


def test_slices_of_another_kind_are_named(inbox):
    for index in range(3):
        (inbox.incoming / "ore" / f"s{index}.jpg").write_bytes(b"x")
    (inbox.incoming / "ore" / "scan.json").write_json({"name": "ore", "spacing": 0.01, "particle_size": 0.1})
    [entry] = overview(inbox, AT_ONCE)
    assert entry.why == "slices (.jpg files are none)"


def test_two_failures_of_one_name_are_two(inbox):
    for name in ("a", "b"):
        drop(inbox, name, particle_size=None)
        content = (inbox.incoming / name / "scan.json").read_json()
        (inbox.incoming / name / "scan.json").write_json({**content, "name": "ore"})
    poll = attempt(inbox)
    assert poll.failed.keys() == {"ore", "ore-2"}
    assert str(poll) == "2 failed"


def test_the_reason_names_the_files_where_they_are_now(inbox):
    def work(scan: object) -> None:
        raise InputError(f"{inbox.incoming}/ore/s1.tif: truncated; and {inbox.incoming}/ore: all of it")

    drop(inbox)
    reason = attempt(inbox, work).failed["ore"]
    assert reason == f"{inbox.failed}/ore/s1.tif: truncated; and {inbox.failed}/ore: all of it"
    assert (inbox.failed / "ore" / "reason.txt").read_text() == f"{reason}\n"


def test_a_folder_that_was_emptied_is_free_again(inbox):
    drop(inbox, particle_size=None)
    attempt(inbox)
    for name in files(inbox.failed / "ore"):
        (inbox.failed / "ore" / name).remove_tree()
    drop(inbox, particle_size=None)
    attempt(inbox)
    assert names_in(inbox.failed) == ["ore"]


def test_a_file_that_somebody_writes_at_the_target_stays(inbox):
    drop(inbox)

    def work(scan: object) -> None:
        (inbox.done / "ore" / "s1.tif").write_bytes(b"theirs!")

    attempt(inbox, work)
    # The place was taken when the scan ended, so its files are together elsewhere.
    assert (inbox.done / "ore" / "s1.tif").read_bytes() == b"theirs!"
    assert files(inbox.done / "ore-2") == ["s0.tif", "s1.tif", "s2.tif", "scan.json"]


@pytest.mark.parametrize("scheme", ["folder", "memory"])
def test_moving_replaces_no_file(scheme, tmp_path):
    place = Location.parse(tmp_path if scheme == "folder" else f"memory://{uuid.uuid4().hex}")
    for name in ("a.tif", "b.nii.gz"):
        (place / "from" / name).write_bytes(b"ours of them")
        (place / "to" / name).write_bytes(b"their of them")
    (place / "to" / "a-2.tif").write_bytes(b"their others.")
    names = {name: name for name in ("a.tif", "b.nii.gz")}
    for _ in range(2):
        move_files(place / "from", names, place / "to")
        assert files(place / "to") == ["a-2.tif", "a-3.tif", "a.tif", "b-2.nii.gz", "b.nii.gz"]
        assert (place / "to" / "a.tif").read_bytes() == b"their of them"
        assert (place / "to" / "a-3.tif").read_bytes() == b"ours of them"
        assert not files(place / "from")


def test_a_rename_that_was_killed_between_its_two_steps_is_ended(tmp_path):
    # Where a file system has no rename without replacing, it is a link and an unlink.
    place = Location.parse(tmp_path)
    (place / "from" / "a").write_bytes(b"x")
    (tmp_path / "to").mkdir()
    os.link(tmp_path / "from" / "a", tmp_path / "to" / "a")
    move_files(place / "from", {"a": "a"}, place / "to")
    assert files(place) == ["to/a"]


@pytest.mark.parametrize("refused", ["_renameat2", "both"])
def test_where_the_system_cannot_rename_without_replacing(tmp_path, monkeypatch, refused):
    def no_link(*args, **kwargs):
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(moving, "_renameat2", lambda: None)
    if refused == "both":
        monkeypatch.setattr(os, "link", no_link)
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    with pytest.raises(FileExistsError):
        moving.rename_to_new(tmp_path / "a", tmp_path / "b")
    moving.rename_to_new(tmp_path / "a", tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]
