"""Labels on another grid: the vote against its definition, then blockwise with dense ids."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ps3d_core.border_core import to_scan_grid
from ps3d_core.border_core.to_scan_grid import plan_resampling, resample_labels
from ps3d_core.border_core.vote import LabelVote, vote_labels
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Box
from ps3d_core.progress import Progress, StageStarted
from ps3d_core.store.arrays import create_array, open_array, read_box, write_box
from ps3d_core.store.location import Location

MEMORY = 2**31
PARTICLES = 89

sides = st.tuples(*[st.integers(1, 6)] * 3)
label_volumes = sides.flatmap(lambda shape: arrays(np.uint32, shape, elements=st.sampled_from([0, 1, 2, 3, 2**32 - 1])))


def by_definition(labels, shape, sign=-1):
    """Exact fractions, one voxel at a time; `sign` -1 gives ties to the lower id, 1 to the higher."""
    elected = np.zeros(shape, np.uint32)
    for target in product(*map(range, shape)):
        axes = []
        for t, n_source, n_target in zip(target, labels.shape, shape, strict=True):
            source = (t + Fraction(1, 2)) * Fraction(n_source, n_target) - Fraction(1, 2)
            source = min(max(source, Fraction(0)), Fraction(n_source - 1))
            lower = int(source)
            axes.append(((lower, 1 - (source - lower)), (min(lower + 1, n_source - 1), source - lower)))
        votes: dict[int, Fraction] = {}
        for (z, weight_z), (y, weight_y), (x, weight_x) in product(*axes):
            label = int(labels[z, y, x])
            votes[label] = votes.get(label, Fraction(0)) + weight_z * weight_y * weight_x
        elected[target] = max(votes, key=lambda label: (votes[label], sign * label))
    return elected


@given(labels=label_volumes, shape=sides, ties=st.sampled_from(["lower", "higher"]))
@settings(max_examples=40)
def test_the_definition(labels, shape, ties):
    expected = by_definition(labels, shape, 1 if ties == "higher" else -1)
    np.testing.assert_array_equal(vote_labels(labels, shape, ties=ties), expected)


@given(labels=label_volumes, shape=sides, data=st.data())
@settings(max_examples=60)
def test_a_box_alone_is_the_box_of_the_whole(labels, shape, data):
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    vote, box = LabelVote(labels.shape, shape), Box(start, stop)
    part = vote(np.ascontiguousarray(labels[vote.source_box(box).slices]), box)
    np.testing.assert_array_equal(part, vote_labels(labels, shape)[box.slices])


@given(label_volumes)
def test_the_same_grid_changes_nothing(labels):
    np.testing.assert_array_equal(vote_labels(labels, labels.shape), labels)


def test_exact_ties():
    pair = np.array([[[7, 3]]], np.uint32)
    assert vote_labels(pair, (1, 1, 1)).tolist() == [[[3]]]
    assert vote_labels(pair, (1, 1, 1), ties="higher").tolist() == [[[7]]]
    # Thirds are no binary fractions; whole-number weights make the tie a tie all the same.
    assert vote_labels(np.array([[[9, 9, 4, 5, 5]]], np.uint32), (1, 1, 3))[0, 0].tolist() == [9, 4, 5]
    assert vote_labels(np.array([[[5, 1, 1, 5]]], np.uint32), (1, 1, 2)).tolist() == [[[1, 1]]]


def test_absurd_grids_are_refused():
    with pytest.raises(InputError, match="coarser grid"):
        LabelVote((4, 4, 4), (2**21, 2**20, 2**20))


def stored(place, labels):
    """`labels` as an array on the store."""
    write_box(create_array(place / "source", labels.shape, np.uint32), Box.of(labels.shape), labels)
    return place / "source"


def planned(place, source, target_shape, **options):
    """A plan that keeps everything below `place`."""
    options = {"particles": PARTICLES, "context": Context(memory_bytes=MEMORY)} | options
    return plan_resampling(source, place / "target", place / "work", target_shape, **options)


@pytest.fixture(scope="module")
def particles():
    """89 particles of ids up to 90; two of them, the last one included, are lost on the coarser grid."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 89, (10, 12, 9)).astype(np.uint32)
    labels = labels.repeat(5, 0).repeat(5, 1).repeat(5, 2)
    labels[labels == 17] = 0
    labels[26, 31, 21], labels[26, 36, 21] = 17, 90
    return labels


@pytest.mark.parametrize("target_shape", [(21, 30, 35), (50, 60, 45), (60, 41, 70)])
@pytest.mark.parametrize("block", [None, (16, 16, 16), (16, 48, 32)])
def test_blocks_do_not_show_and_ids_are_dense(tmp_path, particles, target_shape, block):
    place = Location.parse(tmp_path)
    source = stored(place, particles)
    create_array(place / "target", target_shape, np.uint32, chunks=(8, 8, 8), shards=(16, 16, 16))
    voted = vote_labels(particles, target_shape)
    remaining, expected = np.unique(voted, return_inverse=True)
    plan = planned(place, source, target_shape, block_shape=block, source_fingerprint="x")
    record = resample_labels(plan, runner=Runner(workers=2))
    result = read_box(open_array(plan.target), Box.of(target_shape))
    np.testing.assert_array_equal(result, expected.reshape(target_shape))
    assert record.particles == len(remaining) - 1
    assert record.voxels == np.count_nonzero(voted)
    assert record.vanished == PARTICLES - record.particles
    assert record.vanished == {(21, 30, 35): 2, (50, 60, 45): 0, (60, 41, 70): 1}[target_shape]


def test_a_finished_image_is_not_touched_again(tmp_path, particles):
    place = Location.parse(tmp_path)
    source = stored(place, particles)
    for target_shape in ((50, 60, 45), (21, 30, 35)):
        here = place / str(target_shape[0])
        plan = planned(here, source, target_shape)
        record = resample_labels(plan)
        before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("c/*/*/*")}
        assert resample_labels(plan) == record
        assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("c/*/*/*")} == before


def ballots(monkeypatch, deadly=0):
    """Blocks that are voted on from now on; the one of number `deadly` kills the run."""
    counted, vote = [], to_scan_grid.elected

    def noted(plan, block):
        counted.append(block.index)
        if len(counted) == deadly:
            raise RuntimeError("killed")
        return vote(plan, block)

    monkeypatch.setattr(to_scan_grid, "elected", noted)
    return counted


GRIDS = {"dense": ((50, 60, 45), 1), "gaps": ((21, 30, 35), 2)}
"""Shape of a target on which all particles are left, and of one on which some vanish; how often it is written."""


@pytest.fixture(params=GRIDS)
def grid(request):
    return GRIDS[request.param]


@pytest.fixture(scope="module")
def dense(particles):
    return np.unique(particles, return_inverse=True)[1].reshape(particles.shape).astype(np.uint32)


def test_a_killed_run_goes_on_at_its_finished_blocks(tmp_path, dense, grid, monkeypatch):
    place, (shape, passes), block = Location.parse(tmp_path), grid, (32, 32, 32)
    source, voted = stored(place, dense), vote_labels(dense, shape)
    blocks = len(BlockGrid(shape, block))
    for deadly in range(1, passes * blocks + 1):
        here = place / str(deadly)
        create_array(here / "target", shape, np.uint32, chunks=(16, 16, 16), shards=block)
        plan = planned(here, source, shape, block_shape=block)
        with monkeypatch.context() as patch:
            begun = ballots(patch, deadly)
            with pytest.raises(RuntimeError, match="killed"):
                resample_labels(plan)
        with monkeypatch.context() as patch:
            ended = ballots(patch)
            record = resample_labels(plan)
        assert len(begun) - 1 + len(ended) == passes * blocks
        assert record.vanished == PARTICLES - len(np.unique(voted)) + 1
        result = read_box(open_array(plan.target), Box.of(shape))
        np.testing.assert_array_equal(result, np.unique(voted, return_inverse=True)[1].reshape(shape))


def test_a_raised_version_votes_again(tmp_path, dense, grid, monkeypatch):
    place, (shape, passes) = Location.parse(tmp_path), grid
    plan = planned(place, stored(place, dense), shape)
    record = resample_labels(plan)
    made = ballots(monkeypatch)
    assert resample_labels(plan) == record
    assert not made
    monkeypatch.setattr(to_scan_grid, "VERSION", to_scan_grid.VERSION + 1)
    assert resample_labels(plan) == record
    assert len(made) == passes


def test_damaged_labels_are_written_again(tmp_path, dense, grid, monkeypatch):
    place, (shape, _) = Location.parse(tmp_path), grid
    plan = planned(place, stored(place, dense), shape)
    record, shard = resample_labels(plan), plan.target / "c/0/0/0"
    expected = shard.read_bytes()
    shard.write_bytes(expected[:-9])
    made = ballots(monkeypatch)
    assert resample_labels(plan) == record
    assert made == [0]
    assert shard.read_bytes() == expected


def test_ids_without_gaps_are_written_once(tmp_path):
    place, shape = Location.parse(tmp_path), (12, 12, 12)
    dense = np.arange(27, dtype=np.uint32).reshape(3, 3, 3).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    events = []
    resample_labels(planned(place, stored(place, dense), shape), progress=Progress(events.append))
    assert [event.stage for event in events if isinstance(event, StageStarted)] == ["resample labels"]


def test_the_target_is_written_anew_when_something_else_was_there(tmp_path, particles):
    place = Location.parse(tmp_path)
    first = planned(place, stored(place, particles), (21, 30, 35), source_fingerprint="one")
    record = resample_labels(first)
    expected = read_box(open_array(first.target), Box.of((21, 30, 35)))
    empty = place / "other"
    write_box(create_array(empty, particles.shape, np.uint32), Box.of(particles.shape), np.zeros_like(particles))
    assert resample_labels(planned(place, empty, (21, 30, 35), source_fingerprint="two")).particles == 0
    assert not read_box(open_array(first.target), Box.of((21, 30, 35))).any()
    assert resample_labels(first) == record
    np.testing.assert_array_equal(read_box(open_array(first.target), Box.of((21, 30, 35))), expected)


def test_unusable_sources(tmp_path):
    place = Location.parse(tmp_path)
    create_array(place / "grey", (4, 4, 4), np.uint16)
    with pytest.raises(InputError, match="labels are uint32"):
        planned(place, place / "grey", (4, 4, 4))
    with pytest.raises(InputError, match="the same array"):
        plan_resampling(
            stored(place, np.zeros((4, 4, 4), np.uint32)),
            place / "source",
            place / "w",
            (4, 4, 4),
            particles=0,
            context=Context(memory_bytes=MEMORY),
        )
