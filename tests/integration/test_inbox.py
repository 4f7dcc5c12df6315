"""Twelve scans dropped at once and two workers: eight results once each, half held; bad ones explained, one waits."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ps3d_app.flows.command.cli import main
from ps3d_app.flows.service.dispatch import dispatch
from ps3d_app.flows.service.inbox_events import Told, tell_news
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.listing import Descriptions, InboxListing
from ps3d_core.inbox.process import InboxJob, process_inbox, settled
from ps3d_core.params import InboxParams
from ps3d_core.store import s3 as s3_connection
from ps3d_core.store.location import Location
from tests.integration.inbox_drops import SIDE, described, drop, slice_files
from tests.integration.inbox_worker import BEGUN, SEGMENTED

ROOT = Path(__file__).parents[2]
GOOD = [f"ore {number}" for number in range(8)]
DONE, HELD = GOOD[:4], GOOD[4:]
"""Their few particles are doubtful; half of the scans say that they are to be held then."""
REASONS = {
    "cut": "slice_0007.tif: truncated",
    "no spacing": "particle_size is missing",
    "evil": "name '../../evil': must be",
}


@pytest.fixture
def on_folder(tmp_path) -> Inbox:
    return Inbox(Location.parse(tmp_path) / "facility")


@pytest.fixture
def on_s3(s3) -> Inbox:
    return Inbox(s3 / "facility")


def start(inbox: Inbox, deadly: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.inbox_worker", str(inbox.prefix), *([str(deadly)] if deadly else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def drop_twelve(inbox: Inbox) -> None:
    for name in DONE:
        drop(inbox.incoming, name)
    drop(inbox.incoming, "cut", truncated=7)
    drop(inbox.incoming, "no spacing", particle_size=None)
    drop(inbox.incoming, "evil", name="../../evil")
    drop(inbox.incoming, "unfinished", slices=SIDE - 1)
    for name in HELD:
        drop(inbox.incoming, name, on_doubt="hold")


def assert_end_state(inbox: Inbox) -> None:
    assert inbox.results.children() == GOOD
    tables = {inbox.result(name).table_csv.read_bytes() for name in GOOD}
    assert len(tables) == 1, "the scans are the same, and so are their particles"
    assert min(len(table.splitlines()) for table in tables) > 3
    assert all(inbox.result(name).run.exists() and inbox.result(name).report.exists() for name in GOOD)
    assert inbox.dataset.names() == GOOD
    assert sorted(inbox.dataset.read_metadata()) == GOOD
    assert (inbox.done.children(), inbox.held.children()) == (DONE, HELD)
    for name in DONE:
        assert len((inbox.done / name).find()) == SIDE + 1
    for name in HELD:
        assert len((inbox.held / name).find()) == SIDE + 2
        assert "particles are too few" in (inbox.held / name / "reason.txt").read_text()
    for place in (inbox.done / DONE[0], inbox.held / HELD[0]):
        assert (place / "slice_0003.tif").read_bytes() == slice_files()[3]
    assert inbox.failed.children() == sorted(REASONS)
    for name, reason in REASONS.items():
        said = (inbox.failed / name / "reason.txt").read_text()
        assert reason in said
        assert said.count("\n") == 1
        assert len((inbox.failed / name).find()) == SIDE + 2
    assert {name.partition("/")[0] for name in inbox.incoming.find()} <= {"unfinished", "README.txt"}
    assert len((inbox.incoming / "unfinished").find()) == SIDE
    assert inbox.journals.children() == []
    around = {name.partition("/")[0] for name in inbox.prefix.parent.find(hidden=True)}
    assert around == {"facility"}, "nothing left the prefix"


def words(said: str, word: str) -> Counter[str]:
    return Counter(line.removeprefix(f"{word} ") for line in said.splitlines() if line.startswith(f"{word} "))


@pytest.mark.slow
def test_twelve_scans_and_two_workers(on_folder):
    inbox = on_folder
    drop_twelve(inbox)
    workers = [start(inbox), start(inbox)]
    said = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    assert words("".join(said), BEGUN) == Counter(GOOD)
    assert words("".join(said), SEGMENTED) == Counter(GOOD)
    assert_end_state(inbox)


def until_it_has_begun(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line.startswith(BEGUN):
            return


@pytest.mark.soak
def test_a_worker_is_killed_in_the_middle(on_s3):
    inbox = on_s3
    drop_twelve(inbox)
    # One scan takes more writes than that, so it dies in its first one however slow it is beside the other.
    where = int(os.environ.get("PS3D_KILL_AT", "40"))
    killed = start(inbox, deadly=where)
    assert killed.stdout is not None
    begun = list(until_it_has_begun(killed.stdout))
    other = start(inbox)
    said = ["".join(begun) + killed.communicate()[0], other.communicate()[0]]
    assert (killed.returncode, other.returncode) == (-signal.SIGKILL, 0), said
    last = start(inbox)  # the next poll of the schedule
    said.append(last.communicate()[0])
    assert last.returncode == 0, said
    print(f"killed at write {where}:", *said)
    assert max(words("".join(said), SEGMENTED).values()) == 1
    # At most the scan in the dead worker's hands was begun again.
    assert words("".join(said), BEGUN).total() <= len(GOOD) + 1
    assert_end_state(inbox)


def test_an_inbox_whose_last_scan_has_gone_is_empty(on_s3):
    drop(on_s3.incoming, "ore", slices=2)
    on_s3.incoming.remove_tree()  # the server remembers the folder
    assert str(process_inbox(InboxJob(on_s3, InboxParams(settle_seconds=0)))) == "nothing to do"
    assert on_s3.incoming.find().keys() == {"README.txt"}


def test_an_idle_poll_is_one_request(on_s3, monkeypatch):
    job = InboxJob(on_s3)
    process_inbox(job)  # the first one leaves a note of what to drop
    asked = []
    call = s3_connection._PersistentClient._make_api_call

    async def counted(self, operation, parameters):
        asked.append(operation)
        return await call(self, operation, parameters)

    monkeypatch.setattr(s3_connection._PersistentClient, "_make_api_call", counted)
    assert str(process_inbox(job)) == "nothing to do"
    assert asked == ["ListObjectsV2"]


def test_a_look_at_many_objects_is_a_few_requests(on_s3, monkeypatch):
    content = {f"{on_s3.incoming._path}/growing/s{number:05d}.tif": b"x" for number in range(2001)}
    content |= {f"{on_s3.done._path}/ore {number}/s.tif": b"x" for number in range(300)}
    on_s3.prefix._fs.pipe(content)
    (on_s3.incoming / "growing" / "scan.json").write_text(described(name="growing", slices=3001))
    job, told = InboxJob(on_s3, InboxParams(settle_seconds=0)), Told(on_s3)

    asked = []
    call = s3_connection._PersistentClient._make_api_call

    async def counted(self, operation, parameters):
        asked.append(operation)
        return await call(self, operation, parameters)

    monkeypatch.setattr(s3_connection._PersistentClient, "_make_api_call", counted)
    known: Descriptions = {}
    for most in (7, 6):  # what was read is not read again
        asked.clear()
        listing = InboxListing(on_s3, job.params, known)
        [seen] = settled(job, listing)
        known = listing.descriptions
        assert seen.waits_for == "1000 of 3001 slices"
        assert tell_news(on_s3, listing, [seen], job.params, told, None) == []
        assert dispatch(on_s3, [seen], job.params, {}, None) == []
        assert len(asked) <= most, Counter(asked)
    assert set(asked) == {"ListObjectsV2"}


@pytest.mark.parametrize("place", ["on_folder", "on_s3"])
def test_the_command_holds_and_a_person_decides(request, place, capsys):
    inbox = request.getfixturevalue(place)
    prefix = str(inbox.prefix)
    look = ["inbox", prefix, "--direct", "--settle", "0", "--workers", "1", "--memory", "2", "--on-doubt", "hold"]
    drop(inbox.incoming, "ore")
    drop(inbox.incoming, "kept", on_doubt="keep")
    assert main(look) == 0, "no failure"
    said = capsys.readouterr()
    assert re.search(r"^kept: \d+ particles; ", said.out, re.MULTILINE)
    assert re.search(r"^ore: held: doubtful: .*; \d+ particles; .*ore/report\.html$", said.out, re.MULTILINE)
    assert "1 processed, 1 held; ps3d inbox release NAME accepts what is held" in said.err
    assert main(["inbox", "list", prefix]) == 0
    assert re.search(r"^ore  +held .*doubtful: ", capsys.readouterr().out, re.MULTILINE)

    assert main(["inbox", "retry", prefix, "--all"]) == 0
    assert capsys.readouterr().out == "nothing has failed, stopped or was cancelled\n"
    assert main(["inbox", "retry", prefix, "ore", "--model", "bundled"]) == 0
    assert not inbox.result("ore").run.exists()
    assert main(look) == 0
    assert inbox.held.children() == ["ore"]
    table = inbox.result("ore").table_csv.read_bytes()
    assert main(["inbox", "release", prefix, "ore"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("ore: accepted; ")
    assert (inbox.done.children(), inbox.held.children()) == (["kept", "ore"], [])
    assert inbox.result("ore").table_csv.read_bytes() == table
    assert main(["inbox", "release", prefix, "ore"]) == 2
    assert "ore: not in " in capsys.readouterr().err
    assert main(["inbox", "release"]) == 2


def test_the_command_without_a_server(on_folder, capsys):
    drop(on_folder.incoming, "ore")
    drop(on_folder.incoming, "bad", particle_size=None)
    assert main(["inbox", str(on_folder.prefix), "--direct", "--settle", "0", "--workers", "1", "--memory", "2"]) == 2
    said = capsys.readouterr()
    assert re.search(r"^ore: \d+ particles; .*report\.html$", said.out, re.MULTILINE)
    assert "bad: failed: scan.json: particle_size is missing" in said.out
    assert said.err.splitlines()[-1].startswith("ps3d: error: bad: moved to ")
    assert on_folder.done.children() == ["ore"]
    assert main(["inbox", str(on_folder.prefix), "--direct"]) == 0
