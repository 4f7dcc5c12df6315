"""One run at a time: a living owner is respected, a dead one is not waited for."""

import os
import subprocess
import sys
import time
from dataclasses import asdict
from threading import Barrier, Thread

import psutil
import pytest

from ps3d_core.errors import InputError
from ps3d_core.store import lease
from ps3d_core.store.lease import Owner, sole_run
from ps3d_core.store.location import Location


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    root = Location.parse(tmp_path if request.param == "folder" else f"memory://lease-{tmp_path.name}")
    return root / ".lease.json"


def held_by(place, **changes):
    process = psutil.Process()
    owner = Owner("other", lease.socket.gethostname(), process.pid, process.create_time(), time.time())
    place.write_json(asdict(owner) | changes)


def test_nothing_is_left_behind(place):
    with sole_run(place, "scan ore"):
        assert place.read_json()["pid"] == os.getpid()
    assert not place.exists()


def test_second_run_is_refused_and_the_first_goes_on(place):
    with sole_run(place, "scan ore"):
        with (
            pytest.raises(InputError, match=rf"scan ore: process {os.getpid()} on .*; wait"),
            sole_run(place, "scan ore"),
        ):
            pass
        assert place.exists()


def test_an_error_frees_it(place):
    with pytest.raises(ZeroDivisionError), sole_run(place, "scan ore"):
        raise ZeroDivisionError
    assert not place.exists()


def test_a_process_that_is_gone_is_not_waited_for(place):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    created = psutil.Process(process.pid).create_time()
    held_by(place, pid=process.pid, started=created)
    with pytest.raises(InputError, match=str(process.pid)), sole_run(place, "scan ore"):
        pass
    process.communicate(b"\n")
    with sole_run(place, "scan ore"):
        assert place.read_json()["pid"] == os.getpid()


def test_another_process_with_the_same_number_is_not_the_owner(place):
    held_by(place, started=psutil.Process().create_time() - 1000)
    with sole_run(place, "scan ore"):
        pass


def test_another_machine_counts_while_it_shows_life(place):
    held_by(place, host="elsewhere", renewed=time.time() - lease.STALE_SECONDS / 2)
    with pytest.raises(InputError, match="elsewhere"), sole_run(place, "scan ore"):
        pass
    held_by(place, host="elsewhere", renewed=time.time() - lease.STALE_SECONDS - 1)
    with sole_run(place, "scan ore"):
        pass


def test_it_is_renewed(place, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    with sole_run(place, "scan ore"):
        first = place.read_json()["renewed"]
        give_up = time.monotonic() + 30
        while place.read_json()["renewed"] == first and time.monotonic() < give_up:
            time.sleep(0.02)
        assert place.read_json()["renewed"] > first


def test_of_two_that_start_together_one_works(place):
    barrier, outcomes = Barrier(2), []

    def run():
        barrier.wait()
        try:
            with sole_run(place, "scan ore"):
                outcomes.append("worked")
                time.sleep(3 * lease.SETTLE_SECONDS)
        except InputError:
            outcomes.append("refused")

    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused", "worked"]


def test_a_damaged_file_does_not_block(place):
    place.write_text("{")
    with sole_run(place, "scan ore"):
        assert place.read_json()["token"]
