"""One run at a time: a living owner is respected, a dead one is not waited for."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict

import psutil
import pytest

from ps3d_core.engine.blocks import Runner, run_blocks, stop_workers
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.store import lease
from ps3d_core.store.lease import (
    LeaseLostError,
    Owner,
    confirm_lease,
    in_turn,
    lease_mark,
    require_lease,
    sole_run,
    working_for,
)
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.location import Location


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    root = Location.parse(tmp_path if request.param == "folder" else f"memory://lease-{tmp_path.name}")
    return root / ".lease"


def held_by(place, number=1, **changes):
    process = psutil.Process()
    owner = Owner("other", lease._this_machine(), process.pid, lease._started(process), time.time())
    (place / f"{number}.json").write_json(asdict(owner) | changes)


def content(place):
    last = max(place.children(), key=lambda name: int(name.removesuffix(".json")))
    return (place / last).read_json()


def assert_refused(place, match):
    with pytest.raises(InputError, match=match), sole_run(place, "scan ore"):
        pass


def assert_free(place):
    with sole_run(place, "scan ore"):
        assert content(place)["token"] != "other"


def until(condition, seconds=30):
    give_up = time.monotonic() + seconds
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert condition()


def test_it_says_who_and_says_when_it_ends(place):
    with sole_run(place, "scan ore"):
        assert content(place)["pid"] == os.getpid()
        assert not content(place)["free"]
    assert content(place)["free"]


def test_numbers_grow_and_old_ones_go(place):
    for number in (1, 2, 3):
        with sole_run(place, "scan ore"):
            assert place.children() == [f"{number}.json"]


def test_second_run_is_refused_and_the_first_goes_on(place):
    with sole_run(place, "scan ore"):
        assert_refused(place, rf"scan ore: process {os.getpid()} on .*; wait")
        assert not content(place)["free"]


def test_an_error_frees_it(place):
    with pytest.raises(ZeroDivisionError), sole_run(place, "scan ore"):
        raise ZeroDivisionError
    assert_free(place)


def test_a_process_that_is_gone_is_not_waited_for(place):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    created = lease._started(psutil.Process(process.pid))
    held_by(place, pid=process.pid, started=created)
    assert_refused(place, str(process.pid))
    process.communicate(b"\n")
    assert_free(place)


def test_a_process_that_died_and_was_not_looked_after_is_not_waited_for(place):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    held_by(place, pid=process.pid, started=lease._started(psutil.Process(process.pid)))
    process.kill()
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    assert_free(place)
    process.communicate()


def test_a_file_that_goes_while_one_looks_belongs_to_a_new_owner(place, monkeypatch):
    held_by(place, free=True)
    monkeypatch.setattr(lease, "_read_owner", lambda file: file.remove_tree())
    assert_refused(place, "another run is working on it")


def test_a_number_that_others_have_left_behind_is_not_taken(place, monkeypatch):
    held_by(place, free=True)
    require_dead = lease._require_dead

    def slowly(*arguments):
        require_dead(*arguments)
        # Meanwhile one run has taken number 2 and ended, and the next one has cleared it away.
        held_by(place, number=3)
        (place / "1.json").remove_tree()

    monkeypatch.setattr(lease, "_require_dead", slowly)
    assert_refused(place, "another run is working on it")
    assert place.children() == ["3.json"]


def test_in_turn_each_has_its_moment(place):
    inside, most = [], []

    def add(number):
        with in_turn(place, "metadata"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.01)
            inside.remove(number)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4


def test_in_turn_says_once_that_it_watches_another_machine(place, monkeypatch):
    monkeypatch.setattr(lease, "STALE_SECONDS", 0.3)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.1)
    held_by(place, machine="elsewhere:x")
    changes = iter([0.0])

    def renew_once(text):
        said.append(text)
        for shift in changes:
            held_by(place, machine="elsewhere:x", renewed=shift)

    said = []
    with in_turn(place, "metadata", renew_once):
        pass
    assert len(said) == 1
    assert "a run on elsewhere did not say that it ended" in said[0]


def test_another_process_with_the_same_number_is_not_the_owner(place):
    held_by(place, started=lease._started(psutil.Process()) - 1000)
    assert_free(place)


def test_a_process_of_this_machine_that_stands_still_loses_it_after_a_watch(place, monkeypatch):
    monkeypatch.setattr(lease, "STALE_SECONDS", 1.0)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.05)
    held_by(place, renewed=time.time() - lease.STALE_SECONDS - 1)
    assert_free(place)


def test_a_clock_that_somebody_set_kills_no_run(place, monkeypatch):
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.05)

    def renews(_said):
        held_by(place, renewed=time.time() - 3000)

    held_by(place, renewed=time.time() - 3600)
    with pytest.raises(InputError, match="is working on it; wait"), sole_run(place, "scan ore", renews):
        pass


def test_when_a_process_was_created_does_not_follow_the_clock(monkeypatch):
    before = lease._started(psutil.Process())
    monkeypatch.setattr(psutil, "boot_time", lambda: 5.0)
    assert lease._started(psutil.Process()) == before


@pytest.mark.parametrize("clock", [-1e6, 0.0, 1e6], ids=lambda shift: f"clock{shift:+g}")
def test_another_machine_is_watched_whatever_its_clock_says(place, monkeypatch, clock):
    monkeypatch.setattr(lease, "STALE_SECONDS", 0.2)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.05)
    said = []
    held_by(place, machine="elsewhere:1:2", renewed=time.time() + clock)
    with sole_run(place, "scan ore", said.append):
        pass
    assert len(said) == 1
    assert "elsewhere" in said[0]


def test_another_machine_that_shows_life_is_respected(place, monkeypatch):
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.05)

    def shows_life(_said):
        held_by(place, machine="elsewhere:1:2", renewed=12345.0)

    held_by(place, machine="elsewhere:1:2", renewed=12344.0)
    with (
        pytest.raises(InputError, match="on elsewhere is working on it; wait"),
        sole_run(place, "scan ore", shows_life),
    ):
        pass


def test_containers_that_share_a_host_name_are_told_apart(place, monkeypatch):
    host, boot, table = lease._this_machine().split(":", 2)
    # Process 1 of another container: looked up here it would seem to be dead.
    held_by(place, machine=f"{host}:{boot}:other{table}", pid=1, started=0.0)
    assert not lease._read_owner(place / "1.json").is_here


def test_it_is_renewed(place, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    with sole_run(place, "scan ore"):
        first = content(place)["renewed"]
        until(lambda: content(place)["renewed"] > first)


def test_of_many_that_start_together_one_works(place):
    count = 8
    start, done, outcomes = threading.Barrier(count), threading.Barrier(count), []

    def run():
        start.wait()
        try:
            with sole_run(place, "scan ore"):
                outcomes.append("worked")
                done.wait(60)
        except InputError:
            outcomes.append("refused")
            done.wait(60)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * (count - 1) + ["worked"]


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_run_that_lost_its_place_stops_before_its_next_blocks(place, monkeypatch, at_once):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    blocks = list(BlockGrid((60, 1, 1), (1, 1, 1)))
    done = []

    def work(block):
        done.append(block.index)
        if block.index == 3:
            held_by(place, number=2)
            until(lambda: not any(thread.name == "lease" for thread in threading.enumerate()))
        elif block.index > 3:
            time.sleep(0.1)
        return {}

    ledger = Ledger(place.parent, "test", "0")
    with pytest.raises(LeaseLostError, match="another one took over"), sole_run(place, "scan ore"):
        run_blocks("test", blocks, work, ledger=ledger, runner=Runner(workers=at_once))
    assert len(done) < len(blocks)
    assert content(place)["token"] == "other", "the new owner's sign is left alone"


@pytest.mark.parametrize("how", ["require", "confirm"])
def test_those_who_work_for_a_run_notice_that_it_was_overtaken(place, monkeypatch, how):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.02)
    ask = {"require": require_lease, "confirm": confirm_lease}[how]
    marks = []
    with sole_run(place, "scan ore"):
        marks.append(lease_mark())
    with working_for(marks[0]):
        time.sleep(0.03)
        ask()
        held_by(place, number=2)
        time.sleep(0.03)
        with pytest.raises(LeaseLostError, match=r"scan ore: .* another one took over"):
            ask()
    ask()  # for nobody any more


def test_a_run_looks_at_the_store_before_it_says_that_it_is_done(place):
    with sole_run(place, "scan ore"):
        held_by(place, number=2)
        require_lease()  # nothing is known yet
        with pytest.raises(LeaseLostError):
            confirm_lease()


def _fails_while_others_are_at_work(block):
    if block.index == 0:
        raise ZeroDivisionError
    time.sleep(0.3)
    return {}


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_when_a_stage_fails_nothing_is_written_any_more(tmp_path, kind):
    ledger = Ledger(Location.parse(tmp_path), "test", "0")
    blocks = list(BlockGrid((8, 1, 1), (1, 1, 1)))
    with pytest.raises(ZeroDivisionError):
        run_blocks("test", blocks, _fails_while_others_are_at_work, ledger=ledger, runner=Runner(kind=kind, workers=2))
    known = ledger.finished()
    time.sleep(1)
    assert ledger.finished() == known
    stop_workers()


def test_a_damaged_file_does_not_block_for_ever(place, monkeypatch):
    monkeypatch.setattr(lease, "STALE_SECONDS", 0.2)
    (place / "1.json").write_text("{")
    assert_free(place)


def test_how_a_run_ended_is_not_hidden_by_a_store_that_fails(tmp_path):
    folder = Location.parse(tmp_path) / ".lease"

    def run():
        with sole_run(folder, "scan ore"):
            folder.remove_tree()
            (tmp_path / ".lease").write_text("in the way")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
