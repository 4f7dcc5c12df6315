"""Interrupted and repeated runs of the instances stage: equal bytes, and no work done twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from ps3d_core.border_core.labels import Particles, run_instances, steps_of
from ps3d_core.border_core.pieces import MAX_IDS, check_ids, serial_offsets
from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Box
from ps3d_core.progress import Progress, StageAdvanced, StageStarted
from ps3d_core.store.arrays import create_array, open_array, read_box
from ps3d_core.store.location import Location
from tests.unit.instances_runs import blobs, labels_of, planned, stored
from tests.unit.naive_instances import naive_instances

BLOCK = (16, 14, 12)


class Crash(BaseException):
    """Ends a run at once, as a signal would: nothing catches it."""


class CrashAfter:
    """Listener that ends the run after a number of blocks (of one stage), and counts the blocks done in all."""

    def __init__(self, blocks, stage=None):
        self.left = blocks
        self.stage = stage
        self.done = Counter()

    def __call__(self, event):
        if isinstance(event, StageAdvanced):
            self.done[event.stage] += event.amount
            self.left -= self.stage in {None, event.stage}
            if self.left == 0:
                raise Crash


@pytest.fixture(scope="module")
def particles():
    return blobs(np.random.default_rng(3), (30, 28, 36), 30, thickness=1.5)


@pytest.fixture(scope="module")
def expected(particles):
    return naive_instances(particles, 0.005)


def plan_for(place, particles):
    source = place / "border_core" if (place / "border_core").exists() else stored(place, particles)
    return planned(place, source, block_shape=BLOCK, halo=3, min_rel_particle_size=0.005)


def intermediates(plan, rounds):
    """Steps in blocks, with the arrays of labels that they leave to later steps."""
    cores, _, growth, *_ = steps_of(plan)
    yield cores, cores.labels
    for number in range(1, rounds + 1):
        yield growth.round(number), growth.left_by(number).place / "labels"


def read(plan):
    return read_box(open_array(plan.output), Box.of(plan.shape))


def test_crashes_between_blocks_cost_nothing(tmp_path, particles, expected):
    """A run that ends after every seventh block gets there all the same, and does no block twice."""
    plan = plan_for(Location.parse(tmp_path), particles)
    undisturbed = CrashAfter(10**9)
    run_instances(plan_for(Location.parse(tmp_path / "undisturbed"), particles), progress=Progress(undisturbed))
    done, crashes = Counter(), 0
    while True:
        listener = CrashAfter(7)
        try:
            run_instances(plan, progress=Progress(listener))
        except Crash:
            crashes += 1
        else:
            break
        finally:
            done += listener.done
    assert crashes >= 3
    np.testing.assert_array_equal(read(plan), expected)
    for stage, blocks in undisturbed.done.items():
        # Merging is one step, and starts over; blocks do not.
        assert done[stage] == blocks or stage.startswith("merge")


def test_a_changed_neck_redoes_what_depends_on_it(tmp_path, particles):
    """Crashes while cores are split cost nothing, and another width of necks does not label cores again."""
    place, options = Location.parse(tmp_path), {"block_shape": BLOCK, "halo": 3, "smallest_core": 1}
    source = stored(place, particles)
    plan = planned(place, source, greatest_neck=0.7, **options)
    with pytest.raises(Crash):
        run_instances(plan, progress=Progress(CrashAfter(4, "split cores")))
    listener = CrashAfter(10**9)
    run_instances(plan, progress=Progress(listener))
    assert listener.done["split cores"] == len(plan.blocks()) - 4
    cores = ndimage.label(particles == 1)[0]
    np.testing.assert_array_equal(read(plan), naive_instances(particles, greatest_neck=0.7, cores=cores))
    listener = CrashAfter(10**9)
    other = planned(place, source, greatest_neck=0.5, **options)
    run_instances(other, progress=Progress(listener))
    assert listener.done["label cores"] == 0
    assert listener.done["split cores"] == len(plan.blocks())
    np.testing.assert_array_equal(read(other), naive_instances(particles, greatest_neck=0.5, cores=cores))


def test_crashes_inside_blocks_cost_the_block(tmp_path, particles, expected):
    """What is in flight when the power fails has no ledger entry, and its data may be there or not."""
    plan = plan_for(Location.parse(tmp_path), particles)
    for step, labels in intermediates(plan, rounds=2):
        with pytest.raises(Crash):
            run_instances(plan, progress=Progress(CrashAfter(3, step.title)))
        entry = min(Path(step.ledger(plan.blocks()).location.url).iterdir())
        z, y, x = plan.blocks()[int(entry.stem)].position
        entry.unlink()
        (Path(labels.url) / "c" / str(z) / str(y) / str(x)).unlink()
    run_instances(plan)
    np.testing.assert_array_equal(read(plan), expected)


def test_intermediates_have_large_chunks(tmp_path, particles):
    """A block that is read in many chunks takes Zarr several times as long."""
    plan = plan_for(Location.parse(tmp_path), particles)
    run_instances(plan)
    for _, labels in intermediates(plan, rounds=1):
        array = open_array(labels)
        assert (array.chunks, array.shards) == (BLOCK, None)


def test_a_second_run_does_nothing(tmp_path, particles):
    plan = plan_for(Location.parse(tmp_path), particles)
    summary = run_instances(plan)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    events = []
    assert run_instances(plan, progress=Progress(events.append)) == summary
    assert events == []
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_changed_parameter_redoes_what_depends_on_it(tmp_path, particles, expected):
    place = Location.parse(tmp_path)
    plan = plan_for(place, particles)
    run_instances(plan)
    other = planned(place, plan.border_core, block_shape=BLOCK, halo=3, min_rel_particle_size=0.9)
    events = []
    run_instances(other, progress=Progress(events.append))
    redone = {event.stage for event in events if isinstance(event, StageStarted) and event.already < event.total}
    assert redone - {"merge cores", "merge coreless"} == {"write labels"}
    np.testing.assert_array_equal(read(other), naive_instances(particles, 0.9))
    # And back: the image holds the other result, whatever the ledger of this one remembers.
    run_instances(plan)
    np.testing.assert_array_equal(read(plan), expected)


def test_a_deleted_or_replaced_output_is_written_again(tmp_path, particles, expected):
    plan = plan_for(Location.parse(tmp_path), particles)
    run_instances(plan)
    plan.output.remove_tree()
    np.testing.assert_array_equal(labels_of(plan), expected)
    create_array(plan.output, (3, 3, 3), np.uint32, overwrite=True)
    np.testing.assert_array_equal(labels_of(plan), expected)


def test_an_output_left_unfinished_by_another_run_is_not_taken_for_finished(tmp_path, particles, expected):
    """Finished; deleted; begun again by a run with other blocks, which crashes: the ledger of the first knows all."""
    plan = plan_for(Location.parse(tmp_path), particles)
    run_instances(plan)
    plan.output.remove_tree()
    others = planned(Location.parse(tmp_path), plan.border_core, block_shape=(10, 28, 20), min_rel_particle_size=0.005)
    create_array(plan.output, plan.shape, np.uint32, chunks=(10, 10, 10), shards=(10, 10, 10))
    with pytest.raises(Crash):
        run_instances(others, progress=Progress(CrashAfter(2, "write labels")))
    run_instances(plan)
    np.testing.assert_array_equal(read(plan), expected)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "labels").rglob("*")}
    # The same result is there, it does not matter through which blocks.
    run_instances(others)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "labels").rglob("*")} == before


def test_a_changed_input_is_noticed(tmp_path, particles):
    place = Location.parse(tmp_path)
    source = stored(place, particles)
    one = planned(place, source, input_fingerprint=None)
    (Path(source.url) / "c" / "0" / "0" / "0").touch()
    other = planned(place, source, input_fingerprint=None)
    for one_s, other_s in zip(steps_of(one), steps_of(other), strict=True):
        assert one_s.fingerprint != other_s.fingerprint


def test_only_the_output_and_its_summary_do_not_depend_on_how_the_volume_is_cut(tmp_path, particles):
    place = Location.parse(tmp_path)
    one = plan_for(place, particles)
    other = planned(place, one.border_core, block_shape=(10, 28, 20), halo=3, min_rel_particle_size=0.005)
    assert Particles(one).fingerprint == Particles(other).fingerprint
    for one_s, other_s in zip(steps_of(one), steps_of(other), strict=True):
        assert one_s.fingerprint != other_s.fingerprint


def test_more_pieces_than_ids_are_refused():
    check_ids(MAX_IDS)
    with pytest.raises(InputError, match="32-bit ids end at 4294967295"):
        check_ids(MAX_IDS + 1)
    with pytest.raises(InputError, match="4400000000 connected pieces"):
        serial_offsets(3, {0: 2_000_000_000, 2: 2_400_000_000})
    assert serial_offsets(3, {0: 5, 2: 7}).tolist() == [0, 5, 5, 12]


@pytest.mark.parametrize("stage", ["label cores", "grow particles"])
def test_killed(tmp_path, particles, expected, stage):
    """SIGKILL to a run in a process of its own, after three blocks of a stage and while others are in flight."""
    plan = plan_for(Location.parse(tmp_path), particles)
    killed = subprocess.run([sys.executable, "-c", _KILLED.format(block=BLOCK, stage=stage), str(tmp_path)])
    assert killed.returncode == -signal.SIGKILL
    assert not plan.output.exists()
    np.testing.assert_array_equal(labels_of(plan), expected)


_KILLED = """
import os, signal, sys
from ps3d_core.engine.blocks import Runner
from ps3d_core.border_core.labels import run_instances
from ps3d_core.progress import Progress, StageAdvanced
from ps3d_core.store.location import Location
from tests.unit.instances_runs import planned

def listen(event):
    if isinstance(event, StageAdvanced) and event.stage == {stage!r} and event.done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

place = Location.parse(sys.argv[1])
plan = planned(place, place / "border_core", block_shape={block}, halo=3, min_rel_particle_size=0.005)
run_instances(plan, runner=Runner(workers=2), progress=Progress(listen))
"""
