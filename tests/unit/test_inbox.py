"""The inbox without a segmentation: what is complete, who gets it, and where it ends, whatever is killed when."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections import Counter
from functools import partial

import numpy as np
import pytest
import zarr

from ps3d_core.errors import InputError, MissingDataError, StoreError
from ps3d_core.inbox.again import retry
from ps3d_core.inbox.arrivals import arrivals_in
from ps3d_core.inbox.claim import accept, claimed, ingested
from ps3d_core.inbox.held import release
from ps3d_core.inbox.history import end_in, ends, record_of
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.listing import STILL_SECONDS
from ps3d_core.inbox.process import InboxJob, Poll, look_into, process_inbox
from ps3d_core.inbox.verdict import judged, reason_to_hold, succeed
from ps3d_core.params import InboxParams, SegmentParams
from ps3d_core.particles.verdict import Evidence, verdict_on
from ps3d_core.record import RunRecord, write_record
from ps3d_core.store import moving
from ps3d_core.store.lease import sole_run
from ps3d_core.store.location import Location
from ps3d_core.store.moving import move_files
from ps3d_core.store.ownership import mark_own

AT_ONCE = InboxParams(settle_seconds=0)
LATER = InboxParams(settle_seconds=1000)
DESCRIPTION = {"name": "ore", "spacing": 0.01, "particle_size": 0.12}


@pytest.fixture(params=["folder", "memory"])
def inbox(request, tmp_path) -> Inbox:
    return Inbox(Location.parse(tmp_path if request.param == "folder" else f"memory://{uuid.uuid4().hex}"))


@pytest.fixture
def folder(tmp_path) -> Inbox:
    return Inbox(Location.parse(tmp_path))


HOLD = InboxParams(settle_seconds=0, on_doubt="hold")
FEW = Evidence(dropped_voxels=0, kept_voxels=800, cut=0, particle_size=0.1, spacing=0.01)


def found(particles: int = 100, confidence: float = 0.99) -> RunRecord:
    """The record of a segmentation that found so many, of which the model was so sure; NaN without a calibration."""
    each = np.full(particles, confidence)
    verdict = verdict_on(np.full(particles, 524), each, 0 * each, 0 * each, FEW)
    counts = {"particles": particles, "verdict": {"sentence": verdict.sentence, **verdict.model_dump(mode="json")}}
    known = {"parameters": SegmentParams(), "counts": counts}
    unsaid = {"software": {}, "input": {}, "model": {}, "grids": {}, "seconds": {}, "results": {}}
    return RunRecord(scan="ore", fingerprint="", finished="", **known, **unsaid)


GOOD, DOUBTFUL, NOISE, UNKNOWN = found(), found(3), found(100, 0.5), found(100, float("nan"))


def drop(inbox: Inbox, folder: str = "ore", count: int = 3, **changes) -> None:
    for index in range(count):
        (inbox.incoming / folder / f"s{index}.tif").write_bytes(b"slice %d" % index)
    content = {**DESCRIPTION, "name": folder, **changes}
    (inbox.incoming / folder / "scan.json").write_json({key: value for key, value in content.items() if value})


def waits(inbox: Inbox, params: InboxParams = AT_ONCE) -> dict[str, str | None]:
    return {seen.label: seen.waits_for for seen in look_into(InboxJob(inbox, params))}


def attempt(inbox: Inbox, work=lambda scan: None, params: InboxParams = AT_ONCE, record: RunRecord = GOOD) -> Poll:
    """A poll whose ingest and segmentation are `work`, and find what the record says."""
    poll = Poll()
    job = InboxJob(inbox, params)
    for seen in poll.complete(look_into(job)):
        with poll.collected(seen.label), claimed(inbox, seen, params, lambda text: None) as claim:
            if claim is not None:
                with judged(claim, params):
                    scan = accept(claim, "bundled", SegmentParams())
                    work(scan)
                    ingested(claim)
                    write_record(inbox.result(scan.name).run, record)
                    succeed(claim, params, reason_to_hold(claim, params, record))
                poll.add(claim, params, record)
    return poll


def files(place: Location) -> list[str]:
    """All files there, but for those that a killed process was just writing."""
    return sorted(name for name in place.find(hidden=True) if not name.endswith(".tmp"))


# Complete or not


@pytest.mark.parametrize(
    ("count", "said", "params", "expected"),
    [
        (3, 3, AT_ONCE, None),
        (2, 3, AT_ONCE, "1 of 3 slices"),
        (4, 3, AT_ONCE, None),  # judged, and found to be wrong
        (4, 3, LATER, "1000 s without a change"),
        (3, None, AT_ONCE, None),
        (3, None, LATER, "1000 s without a change"),
        (0, 3, AT_ONCE, "slices"),
    ],
)
def test_when_a_folder_is_complete(inbox, count, said, params, expected):
    drop(inbox, count=count, slices=said)
    assert waits(inbox, params) == {"ore": expected}


def test_files_that_grow_must_be_still_for_a_moment(inbox):
    drop(inbox, count=3, slices=3)
    grows = inbox.prefix.local_path is not None
    assert waits(inbox, LATER) == {"ore": f"{STILL_SECONDS:g} s without a change" if grows else None}


def test_old_times_that_a_copy_preserved_do_not_count(folder):
    drop(folder)
    for name in folder.incoming.find():
        os.utime(folder.incoming.local_path / name, (0, 0))
    assert waits(folder, LATER) == {"ore": "1000 s without a change"}


def test_times_of_a_scanner_whose_clock_is_ahead_do_not_keep_it_waiting(folder):
    drop(folder)
    for name in folder.incoming.find():
        os.utime(folder.incoming.local_path / name, (4e9, 4e9))
    assert waits(folder) == {"ore": None}


def test_half_written_descriptions_wait_and_then_fail(inbox):
    drop(inbox)
    (inbox.incoming / "ore" / "scan.json").write_text('{"name": "ore", "spac')
    assert waits(inbox, LATER) == {"ore": "1000 s without a change"}
    assert "scan.json: " in attempt(inbox).failed["ore"]


def test_single_files_and_what_belongs_to_them(inbox):
    for name in ("ore.nii.gz", "sand.TIF", "alone.tif", "notes.txt", ".DS_Store"):
        (inbox.incoming / name).write_bytes(b"x")
    for name in ("ore", "sand"):
        (inbox.incoming / f"{name}.json").write_json({**DESCRIPTION, "name": name})
    (inbox.incoming / "widow.json").write_json(DESCRIPTION)
    expected = {"alone": "alone.json", "ore": None, "sand": None, "widow": "an image of this name"}
    assert waits(inbox) == expected
    sources = []
    attempt(inbox, lambda scan: sources.append(scan.source))
    assert sorted(sources) == [str(inbox.incoming / "ore.nii.gz"), str(inbox.incoming / "sand.TIF")]
    assert files(inbox.done / "ore") == ["ore.json", "ore.nii.gz"]
    assert files(inbox.incoming) == [".DS_Store", "alone.tif", "notes.txt", "widow.json"]


def test_two_images_with_one_description_fail(inbox):
    for name in ("ore.nii", "ore.tif"):
        (inbox.incoming / name).write_bytes(b"x")
    (inbox.incoming / "ore.json").write_json(DESCRIPTION)
    assert "ore.nii and ore.tif with one description" in attempt(inbox).failed["ore"]


def drop_zarr(inbox: Inbox, folder: str, zarr_format: int, grouped: bool = False) -> None:
    store = (inbox.incoming / folder).zarr_store()
    values = np.ones((4, 5, 6), np.uint8)
    if grouped:
        zarr.create_group(store, zarr_format=zarr_format)
    zarr.create_array(store, data=values, name="0" if grouped else None, zarr_format=zarr_format)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("place", ["ore", "ore/voxels.zarr"])
def test_zarrs(inbox, zarr_format, grouped, place):
    drop_zarr(inbox, place, zarr_format, grouped)
    (inbox.incoming / "ore" / "scan.json").write_json(DESCRIPTION)
    assert waits(inbox, LATER) == {"ore": "1000 s without a change"}
    dropped = files(inbox.incoming / "ore")
    sources = []
    assert list(attempt(inbox, lambda scan: sources.append(scan.source)).done) == ["ore"]
    assert sources == [str(inbox.incoming / place)]
    assert files(inbox.done / "ore") == dropped


def test_a_zarr_whose_metadata_cannot_be_used_fails_and_the_next_is_taken(inbox):
    for name in ("a", "b"):
        (inbox.incoming / name / ".zarray").write_bytes(b"[" * 100_000)
        (inbox.incoming / name / "scan.json").write_json({**DESCRIPTION, "name": name})
    poll = process_inbox(InboxJob(inbox, AT_ONCE))
    assert not poll.errors
    assert all("metadata of the Zarr cannot be used" in poll.failed[name] for name in ("a", "b"))
    assert files(inbox.failed / "a") == [".zarray", "reason.txt", "scan.json"]


def test_of_two_zarrs_nobody_knows_which(inbox):
    for name in ("a.zarr", "b.zarr", ".c.zarr"):
        drop_zarr(inbox, f"ore/{name}", 3)
    (inbox.incoming / "ore" / "scan.json").write_json(DESCRIPTION)
    assert "a.zarr and b.zarr with one description" in attempt(inbox).failed["ore"]


def test_levels_of_a_zarr_that_is_not_all_there_are_no_scan(inbox):
    drop_zarr(inbox, "ore/0", 3)
    (inbox.incoming / "ore" / "scan.json").write_json(DESCRIPTION)
    assert waits(inbox) == {"ore": "slices"}


def test_order_of_arrival():
    listing = {
        f"{name}/scan.json": {"size": 1, "type": "file", "created": time}
        for name, time in zip("cab", (1, 2, 3), strict=True)
    }
    listing["c/late.tif"] = {"size": 1, "type": "file", "created": 9}
    assert [arrival.name for arrival in arrivals_in(listing)] == ["a", "b", "c"]


def test_links_are_not_followed(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    drop(folder)
    (folder.incoming.local_path / "ore" / "s9.tif").symlink_to(secret)
    (folder.incoming.local_path / "all").symlink_to(tmp_path)
    os.mkfifo(folder.incoming.local_path / "pipe")
    failed = attempt(folder).failed
    assert failed.keys() == {"ore", "all", "pipe"}
    assert all("a link, or no plain file" in reason for reason in failed.values())
    moved = folder.failed.local_path / "ore" / "s9.tif"
    assert moved.is_symlink()
    assert secret.read_text() == "secret"


# An idle poll


def test_an_idle_poll_is_one_listing(inbox, monkeypatch):
    job = InboxJob(inbox)
    process_inbox(job)
    asked = Counter()
    for name in ("exists", "is_dir", "children", "find", "changed", "read_bytes", "read_start", "write_bytes"):
        method = getattr(Location, name)

        def counted(self, *args, method=method, name=name, **kwargs):
            asked[name] += 1
            return method(self, *args, **kwargs)

        monkeypatch.setattr(Location, name, counted)
    assert str(process_inbox(job)) == "nothing to do"
    assert asked == {"find": 1}


# Ends


def test_a_good_scan_goes_to_done(inbox):
    drop(inbox)
    (inbox.incoming / "ore" / ".hidden").write_bytes(b"x")
    assert list(attempt(inbox).done) == ["ore"]
    assert files(inbox.done / "ore") == [".hidden", "s0.tif", "s1.tif", "s2.tif", "scan.json"]
    assert files(inbox.incoming) == []
    assert inbox.journals.children() == []
    assert attempt(inbox) == Poll()


def test_a_scan_may_be_left_and_is_not_taken_again_until_it_changes(inbox):
    params = AT_ONCE.model_copy(update={"leave_sources": True})
    drop(inbox)
    assert list(attempt(inbox, params=params).done) == ["ore"]
    assert attempt(inbox, params=params) == Poll()
    assert not inbox.done.exists()
    (inbox.incoming / "ore" / "s1.tif").write_bytes(b"another slice")
    assert "of this name already" in attempt(inbox, params=params).failed["ore"]


@pytest.mark.parametrize(
    ("record", "inbox_says", "scan_says", "goes_to"),
    [
        (GOOD, "hold", None, "done"),
        (DOUBTFUL, "keep", None, "done"),
        (DOUBTFUL, "hold", None, "held"),
        (NOISE, "hold", None, "held"),
        (UNKNOWN, "hold", None, "done"),
        (found(0), "hold", None, "held"),
        (found(0, float("nan")), "hold", None, "held"),
        (DOUBTFUL, "hold", "keep", "done"),
        (DOUBTFUL, "keep", "hold", "held"),
        (GOOD, "keep", "hold", "done"),
    ],
)
def test_what_is_held(inbox, record, inbox_says, scan_says, goes_to):
    drop(inbox, on_doubt=scan_says)
    poll = attempt(inbox, params=AT_ONCE.model_copy(update={"on_doubt": inbox_says}), record=record)
    assert (list(poll.done), list(poll.held)) == ((["ore"], []) if goes_to == "done" else ([], ["ore"]))
    assert str(poll) == {"done": "1 processed", "held": "1 held"}[goes_to]
    moved = {"s0.tif", "s1.tif", "s2.tif", "scan.json"} | ({"reason.txt"} if goes_to == "held" else set())
    assert set(files(inbox.prefix / goes_to / "ore")) == moved
    assert inbox.done.children() + inbox.held.children() == ["ore"]
    assert inbox.result("ore").run.exists()
    assert [end.folder for end in ends(inbox)] == [f"{goes_to}/ore"]
    assert files(inbox.incoming) == files(inbox.journals) == []


def test_what_is_held_says_why_and_keeps_its_name(inbox):
    params = HOLD.model_copy(update={"leave_sources": True, "max_scans": 1})
    drop(inbox)
    poll = attempt(inbox, params=params, record=NOISE)
    said = "not understood: only 50 % of the particles are expected to be right"
    assert poll.held["ore"].verdict.doubt == said
    assert not poll.is_idle
    assert not poll.has_room(params)
    assert (inbox.held / "ore" / "reason.txt").read_text() == f"{said}\n"
    assert record_of(inbox, end_in(inbox, "held/ore")).reason == said
    drop(inbox, "again", name="ore")
    reason = attempt(inbox, params=params).failed["ore"]
    assert f"or remove {inbox.held / 'ore'} and {inbox.result('ore').root}" in reason
    assert inbox.result("ore").run.exists(), "that of the first"
    assert len(files(inbox.held / "ore")) == 5


def test_a_name_that_was_used_is_refused_and_the_earlier_results_stay(inbox):
    drop(inbox)
    attempt(inbox)
    drop(inbox, "again", name="ore")
    assert "there is one of this name already; give another" in attempt(inbox).failed["ore"]
    assert inbox.result("ore").run.exists()
    assert len(files(inbox.done / "ore")) == 4
    assert len(files(inbox.failed / "ore")) == 5


def test_failures_of_one_name_do_not_mix(inbox):
    for _ in range(2):
        drop(inbox, particle_size=None)
        attempt(inbox)
    drop(inbox)
    assert list(attempt(inbox).done) == ["ore"], "mended, it is welcome"
    assert len(inbox.failed.children()) == 2
    assert all(len(files(inbox.failed / name)) == 5 for name in inbox.failed.children())


def test_what_a_failed_scan_left_is_removed(inbox):
    def work(scan):
        mark_own(inbox.dataset.image("ore"))
        (inbox.dataset.image("ore") / "zarr.json").write_text("{}")
        inbox.dataset.add_scan("ore", 0.01, 0.12)
        inbox.dataset.add_scan("other", 0.01, 0.12)
        raise MissingDataError("chunk c/0: not there; ingest again")

    drop(inbox)
    assert attempt(inbox, work).failed == {"ore": "chunk c/0: not there; ingest again"}
    assert list(inbox.dataset.read_metadata()) == ["other"]
    assert not inbox.dataset.image("ore").exists()
    assert (inbox.failed / "ore" / "reason.txt").read_text() == "chunk c/0: not there; ingest again\n"


@pytest.mark.parametrize("error", [StoreError("503"), TimeoutError(), PermissionError(), OSError(28, "disk full")])
def test_what_is_not_the_scans_fault_leaves_it_as_if_nothing_had_been(inbox, error):
    def work(scan):
        raise error

    drop(inbox)
    for _ in range(5):
        poll = attempt(inbox, work)
        assert poll.errors == {"ore": error}
        with pytest.raises(type(error)):
            poll.raise_any()
    assert list(attempt(inbox).done) == ["ore"]


def test_one_that_was_only_claimed_was_not_attempted(inbox):
    drop(inbox)
    for _ in range(5):
        for seen in look_into(InboxJob(inbox, AT_ONCE)):
            with claimed(inbox, seen, AT_ONCE, lambda text: None) as claim:
                assert claim.attempt == 1
    assert list(attempt(inbox).done) == ["ore"]


def test_an_interrupt_leaves_it_too(inbox):
    def work(scan):
        raise KeyboardInterrupt

    drop(inbox)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            attempt(inbox, work)
    assert list(attempt(inbox).done) == ["ore"]


def test_a_bug_is_told_each_time_and_then_the_scan_fails(inbox):
    def work(scan):
        raise ZeroDivisionError("odd")

    drop(inbox)
    for _ in range(AT_ONCE.attempts - 1):
        assert isinstance(attempt(inbox, work).errors["ore"], ZeroDivisionError)
    assert attempt(inbox, work).failed == {"ore": "ZeroDivisionError: odd"}


def test_a_bad_prefix_model_or_dataset_is_not_the_scans_fault(inbox):
    drop(inbox)
    with pytest.raises(InputError, match="nothing there; give a bundle"):
        process_inbox(InboxJob(inbox, AT_ONCE, model=str(inbox.prefix / "nothing")))
    inbox.dataset.metadata.write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        process_inbox(InboxJob(inbox, AT_ONCE))
    assert len(files(inbox.incoming / "ore")) == 4


def test_most_scans_of_a_poll(inbox):
    for name in ("a", "b", "c"):
        drop(inbox, name, particle_size=None)
    assert len(process_inbox(InboxJob(inbox, AT_ONCE.model_copy(update={"max_scans": 2}))).failed) == 2
    assert len(inbox.failed.children()) == 2
    assert files(inbox.journals) == []


def test_models_are_those_of_the_inbox(inbox):
    models = []
    for name, model in (("a", None), ("b", "bundled"), ("c", "sand")):
        drop(inbox, name, model=model)
    job = InboxJob(inbox, AT_ONCE)
    for seen in look_into(job):
        with claimed(inbox, seen, AT_ONCE, lambda text: None) as claim:
            models.append(accept(claim, "s3://models/own", SegmentParams()).model)
    assert set(models) == {"bundled", str(inbox.prefix / "models" / "sand"), "s3://models/own"}


# Several at once


def test_what_another_holds_is_skipped(inbox):
    drop(inbox)
    with sole_run(inbox.lease("ore"), "scan ore"):
        assert attempt(inbox) == Poll()
    assert list(attempt(inbox).done) == ["ore"]


def test_two_arrivals_of_one_name_one_after_the_other(inbox):
    def breaks_off(scan):
        raise StoreError("503")

    drop(inbox, "a", name="ore")
    attempt(inbox, breaks_off)
    drop(inbox, "b", name="ore")
    poll = attempt(inbox)
    assert list(poll.done) == ["ore"]
    assert "there is one of this name already" in poll.failed["ore"]
    assert len(files(inbox.done / "ore")) == len(files(inbox.failed / "ore")) - 1 == 4


def test_one_that_was_taken_back_makes_room_for_another_of_its_name(inbox):
    def breaks_off(scan):
        (inbox.result("ore").work / "ledger" / "0.json").write_text("")
        raise StoreError("503")

    drop(inbox, "a", name="ore")
    attempt(inbox, breaks_off)
    (inbox.incoming / "a").remove_tree()
    drop(inbox, "b", name="ore")
    assert list(attempt(inbox).done) == ["ore"]
    assert not inbox.result("ore").work.exists()


@pytest.mark.parametrize("record", [GOOD, DOUBTFUL], ids=["done", "held"])
def test_many_threads_take_each_scan_once(inbox, record):
    for number in range(6):
        drop(inbox, f"ore {number}")
    taken = Counter()
    lock = threading.Lock()

    def work(scan):
        with lock:
            taken[scan.name] += 1

    threads = [threading.Thread(target=attempt, args=(inbox, work, HOLD, record)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    attempt(inbox, work)
    assert taken == {f"ore {number}": 1 for number in range(6)}
    place = inbox.done if record is GOOD else inbox.held
    assert len(place.children()) == 6
    assert all({"s0.tif", "s1.tif", "s2.tif", "scan.json"} <= set(files(place / name)) for name in taken)


# Kills. A child process is forked for each, and killed at one operation on the store after another.


def killed_at(number: int, work) -> bool:
    """Run `work` in a process that dies at operation `number` on the store; False when it ended before."""
    child = os.fork()
    if child == 0:
        count = 0
        for name in ("write_bytes", "create_json", "remove_tree", "find"):
            _die_at(name, number)
        for module, name in ((os, "rename"), (os, "replace"), (moving, "rename_to_new")):
            _die_at_function(module, name, number)
        try:
            work()
        finally:
            os._exit(count)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


_operations = Counter()


def _die_at(name: str, number: int) -> None:
    method = getattr(Location, name)

    def counted(self, *args, **kwargs):
        _count(number)
        return method(self, *args, **kwargs)

    setattr(Location, name, counted)


def _die_at_function(module: object, name: str, number: int) -> None:
    function = getattr(module, name)

    def counted(*args, **kwargs):
        _count(number)
        return function(*args, **kwargs)

    setattr(module, name, counted)


def _count(number: int) -> None:
    _operations["all"] += 1
    if _operations["all"] == number:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("end", ["done", "held", "failed"])
def test_a_kill_at_any_operation_changes_nothing(tmp_path, end):
    record = DOUBTFUL if end == "held" else GOOD
    for number in range(1, 200):
        inbox = Inbox(Location.parse(tmp_path / str(number)))
        drop(inbox, particle_size=None if end == "failed" else 0.01)
        killed = killed_at(number, lambda inbox=inbox: attempt(inbox, params=HOLD, record=record))
        for _ in range(2):
            drop(inbox, "later", count=2, particle_size=None)  # so that there is a poll that finds something
            attempt(inbox, params=HOLD, record=record)
        assert_only_in(inbox, end)
        assert inbox.result("ore").run.exists() == (end != "failed")
        assert files(inbox.journals) == []
        assert {name.partition("/")[0] for name in files(inbox.incoming)} == {".asked"}  # the sign of what failed
        if not killed:
            assert number > 15
            return
    raise AssertionError("it never came to its end")


def assert_only_in(inbox: Inbox, end: str) -> None:
    """The scan and all of its files are there, and in no other place."""
    found = {name: files(inbox.prefix / name / "ore") for name in ("inbox", "done", "held", "failed")}
    told = [] if end == "done" else ["reason.txt"]
    assert found.pop(end) == sorted(["s0.tif", "s1.tif", "s2.tif", "scan.json", *told])
    assert not any(found.values())
    assert next(ended.folder for ended in ends(inbox) if "later" not in ended.folder) == f"{end}/ore"


DECISIONS = {"release": release, "retry": lambda inbox, name: retry(inbox, name, {"particle_size": 0.2})}


@pytest.mark.parametrize("store", ["folder", "memory"])
@pytest.mark.parametrize("decision", DECISIONS)
def test_a_kill_while_a_person_decides_loses_nothing(tmp_path, monkeypatch, store, decision):
    for number in range(1, 100):
        place = tmp_path / str(number) if store == "folder" else f"memory://{uuid.uuid4().hex}"
        inbox = Inbox(Location.parse(place))
        drop(inbox)
        attempt(inbox, params=HOLD, record=DOUBTFUL)
        # Where processes do not share the store, it breaks off instead.
        with monkeypatch.context() as patch:
            work = partial(DECISIONS[decision], inbox, "ore")
            ended = not killed_at(number, work) if store == "folder" else _breaks_off_after(number, patch, work)
        drop(inbox, "later", count=2, particle_size=None)
        attempt(inbox, params=HOLD)
        if files(inbox.held / "ore"):
            assert len(files(inbox.held / "ore")) == 5, "begun, it is brought to its end by the next look"
            DECISIONS[decision](inbox, "ore")
        attempt(inbox, params=HOLD)
        assert_only_in(inbox, "done")
        assert inbox.result("ore").run.exists()
        assert (inbox.done / "ore" / "scan.json").read_json()["particle_size"] == (0.12, 0.2)[decision == "retry"]
        assert files(inbox.journals) == []
        if ended:
            assert number > 5
            return
    raise AssertionError("it never came to its end")


def test_a_scan_that_kills_its_worker_fails_after_a_few(tmp_path):
    inbox = Inbox(Location.parse(tmp_path))
    drop(inbox)
    deaths = 0
    while killed_at(0, lambda: attempt(inbox, lambda scan: os.kill(os.getpid(), signal.SIGKILL))):
        deaths += 1
    assert deaths == AT_ONCE.attempts
    reason = (inbox.failed / "ore" / "reason.txt").read_text()
    assert reason.startswith("begun 3 times, and each time the work on it broke off")


# Moving


def test_moving_loses_nothing_whenever_it_breaks_off(monkeypatch):
    content = {f"ore/{name}": name.encode() for name in ("a", "b [1]", "deep/c", "scan.json")}
    names = {name: name.removeprefix("ore/") for name in content}
    for number in range(1, 30):
        place = Location.parse(f"memory://{uuid.uuid4().hex}")
        for name, data in content.items():
            (place / "from" / name).write_bytes(data)
        with monkeypatch.context() as patch:
            ended = _breaks_off_after(
                number, patch, lambda place=place: move_files(place / "from", names, place / "to")
            )
        here, there = (place / "from").find(), (place / "to").find()
        assert {f"ore/{name}" for name in there} | set(here) == set(content), number
        move_files(place / "from", names, place / "to")
        assert {name: (place / "to" / name).read_bytes() for name in (place / "to").find()} == {
            new: content[name] for name, new in names.items()
        }
        assert not (place / "from").find()
        if ended:
            assert number > 5
            return
    raise AssertionError("it never came to its end")


def _breaks_off_after(number: int, patch, work) -> bool:
    """Whether `work` ended before operation `number` of the store, at which it breaks off."""
    from fsspec.implementations.memory import MemoryFileSystem

    done = Counter()
    for name in ("cp_file", "rm_file", "_rm"):
        method = getattr(MemoryFileSystem, name)

        def counted(self, *args, method=method, **kwargs):
            # What says who works lives and dies with the process.
            done["all"] += not any(name in str(args) for name in ("/leases/", "/.metadata"))
            if done["all"] >= number:
                raise KeyboardInterrupt
            return method(self, *args, **kwargs)

        patch.setattr(MemoryFileSystem, name, counted)
    try:
        work()
    except KeyboardInterrupt:
        return False
    return True


def test_a_copy_that_is_not_whole_deletes_nothing(monkeypatch):
    place = Location.parse(f"memory://{uuid.uuid4().hex}")
    (place / "from" / "a").write_bytes(b"content")

    def cut(self, names, target):
        (target / "a").write_bytes(b"con")

    monkeypatch.setattr(Location, "copy_files", cut)
    with pytest.raises(MissingDataError, match=r"not a whole copy of .*from/a; nothing was deleted"):
        move_files(place / "from", {"a": "a"}, place / "to")
    assert (place / "from" / "a").read_bytes() == b"content"


def test_all_files_of_a_scan_go_where_it_goes(inbox):
    voxels = ["b.vol", "b.vol.info", "b.pcr", "b.pca"]
    members = [["a.tif", "a.log"], voxels, ["c.nhdr", "c.raw.gz"], ["d.hdr", "d.img"]]
    for names in members:
        for name in names:
            (inbox.incoming / name).write_bytes(b"x")
        (inbox.incoming / f"{names[0][0]}.json").write_json({**DESCRIPTION, "name": names[0][0]})
    assert attempt(inbox).done.keys() == {"a", "b", "c", "d"}
    for names in members:
        assert files(inbox.done / names[0][0]) == sorted([*names, f"{names[0][0]}.json"])


def test_a_file_that_would_stay_behind_is_refused(folder):
    (folder.incoming / "a.mhd").write_text(
        "NDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = voxels.raw\n"
    )
    (folder.incoming / "voxels.raw").write_bytes(bytes(64))
    (folder.incoming / "a.json").write_json({**DESCRIPTION, "name": "a"})
    [failed] = process_inbox(InboxJob(folder, AT_ONCE)).failed.values()
    assert "voxels.raw: belongs to the scan" in failed


def test_said_voxels_come_before_their_header(inbox):
    for name in ("scan.json", "a.raw", "a.dat"):
        (inbox.incoming / "a" / name).write_bytes(b"x")
    (inbox.incoming / "a" / "scan.json").write_json({**DESCRIPTION, "name": "a", "source": {"raw": "2x2x2,uint8"}})
    sources = []
    attempt(inbox, lambda scan: sources.append(scan.source))
    assert sources == [str(inbox.incoming / "a" / "a.raw")]


def test_of_several_series_the_slices_of_one_count(inbox):
    drop(inbox, "ore", 0, source={"series": "x_*"}, slices=2)
    for name in ("x_0.tif", "y_0.tif", "y_1.tif"):
        (inbox.incoming / "ore" / name).write_bytes(b"x")
    assert waits(inbox) == {"ore": "1 of 2 slices"}
    (inbox.incoming / "ore" / "x_1.tif").write_bytes(b"x")
    assert attempt(inbox).done.keys() == {"ore"}


@pytest.mark.parametrize("names", [("IM.0001", "IM.0002"), ("1.2.840.1", "1.2.840.2"), ("0", "1", "DICOMDIR")])
def test_dicom_without_endings(inbox, names):
    drop(inbox, "ore", 0, slices=2)
    for name in names:
        (inbox.incoming / "ore" / name).write_bytes(b"x")
    assert attempt(inbox).done.keys() == {"ore"}
