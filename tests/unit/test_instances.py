"""Border-core labels to particles: against the definition, and independent of blocks, halo, workers and store."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from ps3d_core.border_core import classes, split
from ps3d_core.border_core.labels import border_core_to_instances, run_instances
from ps3d_core.border_core.output import claim_output
from ps3d_core.border_core.voxel_counts import measure_labels, relative_lengths
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.geometry.boxes import Box
from ps3d_core.memory_model import BLOCK_WORKER_BYTES
from ps3d_core.store.arrays import create_array, open_array, read_box
from ps3d_core.store.content import keep_changed, note_content
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image
from tests.unit.instances_runs import MEMORY, blobs, labels_of, planned, stored
from tests.unit.naive_instances import FACES, naive_instances, remaining_cores

sides = st.tuples(*[st.integers(1, 12)] * 3)


@st.composite
def blocks(draw, shape):
    """Blocks of any sides that cut each axis into at most three, not too many in all."""
    sides = [draw(st.integers(-(-n // 3), n)) for n in shape]
    if np.prod([-(-n // side) for n, side in zip(shape, sides, strict=True)]) > 12:
        sides[draw(st.integers(0, 2))] = 12
    return tuple(sides)


@st.composite
def volumes(draw):
    """Random classes: noise, mostly foreground, or balls; of any shape, down to one voxel thin."""
    shape = draw(sides)
    kind = draw(st.sampled_from(["noise", "dense", "balls"]))
    if kind == "noise":
        return draw(arrays(np.uint8, shape, elements=st.integers(0, 2)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "balls":
        return blobs(rng, shape, draw(st.integers(1, 12)))
    return rng.choice(3, size=shape, p=(0.05, 0.75, 0.2)).astype(np.uint8)


def run_once(border_core, runner=None, **options):
    """Labels of a volume, in a place of its own."""
    with tempfile.TemporaryDirectory() as folder:
        place = Location.parse(Path(folder))
        return labels_of(planned(place, stored(place, border_core), **options), runner)


@st.composite
def cut_volumes(draw):
    """A volume and a cut of it into blocks."""
    border_core = draw(volumes())
    return border_core, draw(blocks(border_core.shape))


@given(case=cut_volumes(), halo=st.integers(1, 4), share=st.sampled_from([0.0, 0.005, 0.4, 1.0]))
@example(case=(np.ones((5, 4, 9), np.uint8), (3, 4, 3)), halo=1, share=0.0)
@example(case=(np.zeros((3, 3, 3), np.uint8), (2, 3, 3)), halo=2, share=0.005)
@example(case=(np.full((4, 7, 2), 2, np.uint8), (3, 3, 1)), halo=2, share=0.005)
@settings(max_examples=25)
def test_any_cut_gives_the_definition(case, halo, share):
    border_core, block = case
    labels = run_once(border_core, block_shape=block, halo=halo, min_rel_particle_size=share)
    np.testing.assert_array_equal(labels, naive_instances(border_core, share))


@given(case=cut_volumes(), halo=st.integers(1, 4), greatest=st.sampled_from([0.0, 0.5, 0.71, 0.9]))
@example(case=(np.array([[[1, 1, 2, 1], [1, 1, 1, 1]]], np.uint8), (1, 1, 2)), halo=1, greatest=0.71)
@settings(max_examples=25)
def test_any_cut_splits_cores_at_the_same_necks(case, halo, greatest):
    border_core, block = case
    labels = run_once(border_core, block_shape=block, halo=halo, smallest_core=1, greatest_neck=greatest)
    cores, _ = ndimage.label(border_core == 1, FACES)
    expected = naive_instances(border_core, greatest_neck=greatest, cores=cores)
    np.testing.assert_array_equal(labels, expected)


@pytest.fixture(scope="module")
def necks():
    """Cores with necks: a chain that is larger than a block and its margin, and pairs of balls along all axes."""
    border_core = np.zeros((40, 44, 120), np.uint8)
    grid = np.stack(np.meshgrid(*map(np.arange, border_core.shape), indexing="ij"), -1)
    balls = [((20, 20, 10 + 16 * link), 9) for link in range(7)]
    for column in range(8):
        first = np.array((5, 6 + 25 * (column % 2), 8 + 14 * column))
        step = np.roll((10, 0, 0), column)
        balls += [(first, 5.2), (first + step, 5.2)]
    for centre, radius in balls:
        inside = radius**2 - ((grid - centre) ** 2).sum(-1)
        border_core[(border_core == 0) & (inside > -2 * radius)] = 2
        border_core[inside > 0] = 1
    return border_core


@pytest.mark.parametrize(
    ("block", "runner"),
    [
        *((block, Runner()) for block in (None, (16, 16, 16), (40, 7, 23), (19, 44, 40))),
        ((19, 44, 40), Runner(kind="processes", workers=2)),
    ],
)
def test_necks_do_not_depend_on_blocks_or_workers(tmp_path, necks, block, runner):
    place = Location.parse(tmp_path)
    plan = planned(place, stored(place, necks), block_shape=block, halo=4, greatest_neck=0.5)
    np.testing.assert_array_equal(labels_of(plan, runner), naive_instances(necks, greatest_neck=0.5))
    summary = run_instances(plan)
    whole = run_instances(planned(place / "whole", plan.border_core, block_shape=block, halo=4))
    assert summary.split > 5
    assert summary.cores >= whole.cores + summary.split
    assert whole.split == 0


def test_a_core_in_too_large_a_box_stays_whole(tmp_path, necks, monkeypatch):
    monkeypatch.setattr(split, "LARGEST", 19 * 19 * 60)
    place = Location.parse(tmp_path)
    labels = labels_of(planned(place, stored(place, necks), greatest_neck=0.5))
    assert len({int(labels[20, 20, 10 + 16 * link]) for link in range(7)}) == 1


@pytest.fixture(scope="module")
def particles():
    """Particles that touch, small cores, coreless specks and long ways to the next core, larger than a block."""
    rng = np.random.default_rng(5)
    border_core = blobs(rng, (40, 36, 50), 50, thickness=1.6)
    without_cores = border_core[8:28, 10:30, 15:40]
    without_cores[without_cores == 1] = 2
    return border_core


@pytest.fixture(scope="module")
def expected(particles):
    return naive_instances(particles, 0.005)


@pytest.mark.parametrize("block", [None, (16, 16, 16), (32, 32, 32), (24, 16, 48), (40, 7, 23), (19, 36, 11)])
def test_block_shapes(tmp_path, particles, expected, block):
    place = Location.parse(tmp_path)
    plan = planned(place, stored(place, particles), block_shape=block, halo=4, min_rel_particle_size=0.005)
    np.testing.assert_array_equal(labels_of(plan), expected)


@pytest.mark.parametrize("runner", [Runner(workers=2), Runner(kind="processes", workers=2)], ids=lambda r: r.kind)
def test_workers(tmp_path, particles, expected, runner):
    place = Location.parse(tmp_path)
    plan = planned(place, stored(place, particles), block_shape=(32, 16, 48), min_rel_particle_size=0.005)
    np.testing.assert_array_equal(labels_of(plan, runner), expected)


def test_object_store(particles, expected):
    place = Location.parse(f"memory://{uuid.uuid4().hex}")
    plan = planned(place, stored(place, particles), block_shape=(40, 36, 25), min_rel_particle_size=0.005)
    np.testing.assert_array_equal(labels_of(plan), expected)


def test_summary_counts_what_happened(tmp_path, particles):
    place = Location.parse(tmp_path)
    summary = run_instances(planned(place, stored(place, particles), block_shape=(20, 36, 25), halo=4))
    labels, cores = naive_instances(particles), remaining_cores(particles).max()
    assert summary.rounds > 1
    assert summary.small_cores > 0
    assert (summary.particles, summary.cores, summary.dropped) == (labels.max(), cores, 0)
    assert summary.coreless == labels.max() - cores > 0
    assert summary.voxels == np.count_nonzero(labels)


def test_files_do_not_show_the_blocks(tmp_path, particles):
    """The output is written in shards of its own: the same objects, byte for byte."""
    images = []
    for name, block in (("a", (16, 32, 48)), ("b", (40, 36, 50))):
        place = Location.parse(tmp_path / name)
        labels_of(planned(place, stored(place, particles), block_shape=block))
        files = sorted((tmp_path / name / "labels" / "c").rglob("*"))
        images.append([(file.relative_to(tmp_path / name), file.read_bytes()) for file in files if file.is_file()])
    assert images[0] == images[1]


def test_nearest_core_wins_and_ties_go_to_the_higher():
    line = np.full((1, 1, 24), 2, np.uint8)
    line[0, 0, [0, 1, 2, 3, 9, 10, 11, 12]] = 1
    # Beyond the volume nothing is near, but in a line of one voxel only the ends of a core touch something else.
    labels = run_once(line, block_shape=(1, 1, 5), halo=1)
    assert labels[0, 0].tolist() == [1] * 6 + [2] * 18


def test_a_corridor_of_many_rounds():
    """A spiral of border with one core at its end: one particle, however many rounds and blocks it takes."""
    spiral = np.zeros((3, 21, 21), np.uint8)
    top, left, bottom, right = 0, 0, 20, 20
    while top < bottom:
        # Down the outside, along the bottom, up the other side, back along the top, one turn further in.
        spiral[1, top, left : right + 1] = spiral[1, top : bottom + 1, right] = 2
        spiral[1, bottom, left : right + 1] = spiral[1, top + 2 : bottom + 1, left] = 2
        spiral[1, top + 2, left : left + 3] = 2
        top, left, bottom, right = top + 2, left + 2, bottom - 2, right - 2
    spiral[:, 8:13, 8:13] = 1
    expected = naive_instances(spiral)
    with tempfile.TemporaryDirectory() as folder:
        place = Location.parse(Path(folder))
        plan = planned(place, stored(place, spiral), block_shape=(3, 11, 11), halo=6)
        summary = run_instances(plan)
        np.testing.assert_array_equal(labels_of(plan), expected)
    assert expected.max() == 1
    assert summary.rounds > 10


def test_a_pocket_inside_a_block_takes_no_round_of_its_own():
    """A corridor longer than many halos, which ends before the block does, or goes on beyond it."""
    line = np.zeros((1, 1, 48), np.uint8)
    line[..., 2:7], line[..., 7:30] = 1, 2
    for length, rounds in ((23, lambda n: n == 1), (32, lambda n: n > 5)):
        line[..., 7 : 7 + length] = 2
        with tempfile.TemporaryDirectory() as folder:
            place = Location.parse(Path(folder))
            plan = planned(place, stored(place, line), block_shape=(1, 1, 32), halo=3)
            summary = run_instances(plan)
            np.testing.assert_array_equal(labels_of(plan), naive_instances(line))
        assert rounds(summary.rounds)


def test_coreless_components_join_across_edges_and_corners():
    border = np.zeros((8, 8, 8), np.uint8)
    for i in range(8):
        border[i, i, i] = border[i, 7 - i, 0] = 2
    labels = run_once(border, block_shape=(4, 4, 4))
    assert set(np.unique(labels)) == {0, 1, 2}
    np.testing.assert_array_equal(labels, naive_instances(border))


def test_ids_cores_first_in_scan_order_then_coreless():
    border_core = np.zeros((6, 6, 20), np.uint8)
    border_core[0, 0, 0] = 2
    border_core[0:5, 0:5, 12:17] = 1
    border_core[1:6, 1:6, 3:8] = 1
    labels = run_once(border_core, block_shape=(3, 3, 4))
    assert [labels[0, 0, 12], labels[1, 1, 3], labels[0, 0, 0]] == [1, 2, 3]


def test_the_edge_of_the_scan_makes_no_core_small():
    """A slab of core along a face: every voxel is near its inner side only in the last two planes."""
    border_core = np.zeros((9, 12, 12), np.uint8)
    border_core[:4] = 1
    border_core[6:] = 2
    assert remaining_cores(border_core).max() == 1
    np.testing.assert_array_equal(run_once(border_core, block_shape=(5, 6, 7)), naive_instances(border_core))


@pytest.mark.parametrize("block", [None, (3, 5, 4)])
def test_cores_below_a_number_of_voxels_become_border(block):
    """Two cores that touch through border, of 12 and 8 voxels; ParticleSeg3D's rule takes neither, each being flat."""
    border_core = np.full((4, 6, 9), 2, np.uint8)
    border_core[1:3, 1:4, 1:3] = 1
    border_core[1:3, 1:3, 6:8] = 1

    def particles(smallest_core):
        return run_once(border_core, smallest_core=smallest_core, block_shape=block)

    assert particles(8).max() == 2
    assert particles(8)[1, 1, 6] != particles(8)[1, 1, 1]
    assert particles(9).max() == 1
    assert particles(13).max() == 1  # no core is left: the component is a particle of its own
    np.testing.assert_array_equal(particles(None), naive_instances(border_core))
    assert remaining_cores(border_core).max() == 0


def kept_of(labels, certainty, share, least):
    """The definition: particles that are large enough and certain enough, with dense ids."""
    ids = np.arange(1, labels.max() + 1)
    voxels = np.array([(labels == n).sum() for n in ids])
    certain = np.array([certainty[labels == n].mean() for n in ids]) / 255
    kept = (voxels >= share * voxels.mean()) & (certain >= least) if len(ids) else np.empty(0, bool)
    return np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)])[labels]


@given(case=cut_volumes(), share=st.sampled_from([0.0, 0.4]), least=st.sampled_from([0.0, 0.45, 0.501, 1.0]))
@settings(max_examples=25)
def test_uncertain_particles_are_dropped(case, share, least):
    border_core, block = case
    certainty = np.random.default_rng(border_core.size).integers(0, 256, border_core.shape, np.uint8)
    certainty[border_core.shape[0] // 2 :] = 255
    with tempfile.TemporaryDirectory() as folder:
        place = Location.parse(Path(folder))
        known = stored(place, certainty, "certainty")
        options = {"certainty": known, "min_rel_particle_size": share, "least_certainty": least, "halo": 2}
        labels = labels_of(planned(place, stored(place, border_core), block_shape=block, **options))
    np.testing.assert_array_equal(labels, kept_of(naive_instances(border_core), certainty, share, least))


@given(case=cut_volumes(), most=st.sampled_from([1.5, 1.9, 2.4]))
@settings(max_examples=25)
def test_long_particles_are_dropped(case, most):
    border_core, block = case
    everything = naive_instances(border_core)
    lengths = [0.0]
    for n in range(1, everything.max() + 1):
        where = np.argwhere(everything == n)
        sides = np.ptp(where, axis=0) + 1
        ball, disc = (6 / np.pi * len(where)) ** (1 / 3), (4 / np.pi * len(where) / sides.min()) ** 0.5
        lengths.append(np.sqrt((sides**2).sum()) / max(ball, disc))
    kept = np.array(lengths) <= most
    expected = np.where(kept, np.cumsum(kept) - 1, 0)[everything]
    labels = run_once(border_core, block_shape=block, halo=2, greatest_length=most)
    np.testing.assert_array_equal(labels, expected)


def test_how_long_particles_are_for_their_size():
    """A ball, a rod of 16:1, a disc in a single slice, and a crescent of a tube's wall in ten slices."""
    grid = np.indices((60, 60, 60))
    ball = ((grid - 29.5) ** 2).sum(0) < 20**2
    rod = (((grid[:2] - 29.5) ** 2).sum(0) < 1.8**2) & (abs(grid[2] - 29.5) < 28)
    disc = (((grid[1:] - 29.5) ** 2).sum(0) < 25**2) & (grid[0] == 5)
    _, y, x = np.indices((10, 200, 200))
    radius = np.sqrt((y - 100) ** 2 + (x - 260) ** 2)
    crescent = (radius > 172) & (radius < 175)
    lengths = []
    for thing in (ball, rod, disc, crescent):
        measures = measure_labels(thing.astype(np.uint32), (7, 0, 3), None)
        lengths.append(relative_lengths(measures.voxels, measures.reach)[0])
    assert lengths[0] == pytest.approx(3**0.5, rel=0.02)
    assert lengths[1] == pytest.approx(4, rel=0.1)
    assert lengths[2] == pytest.approx(2**0.5, rel=0.02)
    assert lengths[3] > 5


def test_how_many_were_uncertain_is_said(tmp_path):
    border_core = np.zeros((6, 6, 20), np.uint8)
    border_core[1:5, 1:5, 1:5] = border_core[1:5, 1:5, 8:12] = 1
    border_core[1:3, 1:3, 15:17] = 1
    place = Location.parse(tmp_path)
    known = stored(
        place, np.where(np.arange(20) < 6, 100, 200).astype(np.uint8) * np.ones((6, 6, 1), np.uint8), "known"
    )
    options = {"certainty": known, "min_rel_particle_size": 0.5, "least_certainty": 0.5, "smallest_core": 1}
    plan = planned(place, stored(place, border_core), **options)
    summary = run_instances(plan)
    assert (summary.particles, summary.dropped, summary.unsure, summary.voxels) == (1, 1, 1, 64)


def test_what_nobody_knows_is_not_asked_for(tmp_path):
    place = Location.parse(tmp_path)
    with pytest.raises(InputError, match="nobody knows how certain"):
        planned(place, stored(place, np.ones((4, 4, 4), np.uint8)), least_certainty=0.5)


def test_another_smallest_core_is_another_result(tmp_path):
    border_core = blobs(np.random.default_rng(3), (20, 20, 20), 8)
    source = stored(Location.parse(tmp_path), border_core)
    plans = [planned(Location.parse(tmp_path), source, smallest_core=n) for n in (None, 1, 9999)]
    assert [plan.core_rule for plan in plans] == [(), (1,), (9999,)]
    kept = [labels_of(plan) for plan in plans]
    assert kept[1].max() > kept[2].max()
    np.testing.assert_array_equal(kept[0], naive_instances(border_core))


def test_more_particles_than_16_bits():
    """68,921 particles, all in one block or cut into four: ids are dense, none is merged or lost."""
    n = 41
    cell = np.zeros((4, 4, 4), np.uint8)
    cell[1:, 1:, 1:] = 2
    border_core = np.tile(cell, (n, n, n))
    ids = np.arange(1, n**3 + 1).reshape(n, 1, n, 1, n, 1)
    for block in ((164, 164, 164), (164, 96, 128)):
        cells = run_once(border_core, block_shape=block).reshape(n, 4, n, 4, n, 4)
        assert cells.max() == n**3
        assert (cells[:, 1:, :, 1:, :, 1:] == ids).all()


def test_pruning_uses_the_mean_over_particles():
    border_core = np.zeros((3, 3, 60), np.uint8)
    border_core[:, :, 0:20] = border_core[:, :, 21:41] = 2
    border_core[1, 1, 50:54] = 2
    # 180 + 180 + 4 voxels: the mean is 121.3.
    assert run_once(border_core, min_rel_particle_size=4 / 121).max() == 2
    assert run_once(border_core, min_rel_particle_size=4 / 122).max() == 3


def test_nothing_to_find(tmp_path):
    place = Location.parse(tmp_path)
    summary = run_instances(planned(place, stored(place, np.zeros((5, 6, 7), np.uint8))))
    assert (summary.particles, summary.voxels) == (0, 0)


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float64, np.uint16])
def test_any_number_type(dtype):
    border_core = np.zeros((6, 6, 6))
    border_core[1:5, 1:5, 1:5] = 1
    assert run_once(border_core.astype(dtype)).max() == 1


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_foreign_array_may_leave_out_empty_chunks(tmp_path, zarr_format):
    border_core = np.zeros((12, 12, 12), np.uint8)
    border_core[1:5, 1:5, 1:5] = 1
    array = zarr.create_array(
        tmp_path / "bc", shape=border_core.shape, chunks=(6, 6, 6), dtype="u1", zarr_format=zarr_format
    )
    array[:] = border_core
    assert array.nchunks_initialized == 1
    place = Location.parse(tmp_path)
    plan = planned(place, place / "bc", block_shape=(6, 6, 6))
    np.testing.assert_array_equal(labels_of(plan), border_core)


def test_a_missing_chunk_of_our_own_array_is_an_error(tmp_path):
    place = Location.parse(tmp_path)
    source = stored(place, np.ones((4, 4, 4), np.uint8))
    (source / "c" / "0" / "0" / "0").remove_tree()
    with pytest.raises(MissingDataError, match="chunk is missing"):
        run_instances(planned(place, source))


def test_an_image_stands_for_its_full_resolution(tmp_path):
    border_core = np.zeros((6, 6, 6), np.uint8)
    border_core[1:5, 1:5, 1:5] = 1
    place = Location.parse(tmp_path)
    create_image(place / "image", border_core.shape, np.uint8, spacing=None, name="bc")[:] = border_core
    plan = planned(place, place / "image")
    assert plan.border_core == place / "image" / "0"
    np.testing.assert_array_equal(labels_of(plan), border_core)


@pytest.mark.parametrize("chunk", [1, 5, 40])
def test_classes_of_another_type_are_read_in_slabs(tmp_path, monkeypatch, chunk):
    expected = np.random.default_rng(0).integers(0, 3, (200, 6, 5))
    array = zarr.create_array(tmp_path / "bc", shape=expected.shape, chunks=(chunk, 6, 5), dtype="f8")
    array[:] = expected
    boxes = []
    monkeypatch.setattr(classes, "read_box", lambda array, box: boxes.append(box) or read_box(array, box))
    box = Box((7, 1, 2), (193, 6, 4))
    found = classes.read_classes(array, box)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected[box.slices])
    assert max(part.shape[0] for part in boxes) <= max(chunk, classes.SLAB + chunk - 1)
    assert [part.start[0] % chunk for part in boxes[1:]] == [0] * (len(boxes) - 1)


@pytest.mark.parametrize(("value", "dtype"), [(3, np.uint8), (0.5, np.float32), (np.nan, np.float64), (-1, np.int16)])
def test_other_values_are_refused(tmp_path, value, dtype):
    place = Location.parse(tmp_path)
    border_core = np.zeros((4, 4, 4), dtype)
    border_core[1, 2, 3] = value
    with pytest.raises(InputError, match=r"only 0 \(background\), 1 \(core\) and 2 \(border\)"):
        run_instances(planned(place, stored(place, border_core)))


def test_unusable_parameters(tmp_path):
    place = Location.parse(tmp_path)
    source = stored(place, np.zeros((300, 4, 4), np.uint8))
    for options, message in (
        ({"min_rel_particle_size": 1.5}, "at most 1"),
        ({"min_rel_particle_size": float("nan")}, "min_rel_particle_size nan"),
        ({"block_shape": (0, 4, 4)}, "sides are 1 to 128"),
        ({"block_shape": (150, 4, 4)}, "multiples of 16"),
        ({"memory_bytes": BLOCK_WORKER_BYTES}, "raise memory"),
    ):
        with pytest.raises(InputError, match=message):
            planned(place, source, **options)
    with pytest.raises(InputError, match="the same array"):
        border_core_to_instances(source, source, place / "work", context=Context(memory_bytes=MEMORY))
    with pytest.raises(MissingDataError):
        planned(place, place / "nothing")


def test_an_output_of_another_kind_is_left_alone(tmp_path):
    place = Location.parse(tmp_path)
    source = stored(place, np.zeros((4, 4, 4), np.uint8))
    plan = planned(place, source)
    (place / "labels" / "thesis.txt").write_text("ten years")
    with pytest.raises(InputError, match="something other"):
        run_instances(plan)
    with pytest.raises(InputError, match="something other"):
        planned(place, source)
    assert (place / "labels" / "thesis.txt").read_text() == "ten years"


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("shape", [(4, 4, 4), (5, 6, 7)])
def test_annotations_are_not_written_over(tmp_path, shape, zarr_format):
    place = Location.parse(tmp_path)
    source = stored(place, np.ones((4, 4, 4), np.uint8))
    zarr.create_array(tmp_path / "labels", shape=shape, dtype="u4", zarr_format=zarr_format)[:] = 7
    with pytest.raises(InputError, match="labels that ps3d instances did not make; choose another output or remove"):
        planned(place, source)
    assert (zarr.open_array(tmp_path / "labels", mode="r")[:] == 7).all()


def test_an_earlier_result_is_written_over(tmp_path):
    """Also one that a crash left before its first block: the output says whose it is from the first moment."""
    place = Location.parse(tmp_path)
    run_instances(planned(place, stored(place, np.ones((4, 4, 4), np.uint8))))
    plan = planned(place, stored(place, np.ones((5, 6, 7), np.uint8), "other"), input_fingerprint="other")
    plan.output.remove_tree()
    claim_output(plan.output, (3, 3, 3), "begun", Ledger(plan.folder, "write-labels", "begun"))
    plan = planned(place, plan.border_core, input_fingerprint="other")
    assert (labels_of(plan) == np.ones((5, 6, 7))).all()


def test_groups_are_no_arrays(tmp_path):
    place = Location.parse(tmp_path)
    source = stored(place, np.ones((4, 4, 4), np.uint8))
    zarr.create_group(tmp_path / "plain")
    with pytest.raises(InputError, match="not an OME-Zarr"):
        planned(place, place / "plain")
    create_image(place / "labels", (4, 4, 4), np.uint32, spacing=None, name="labels", label=True)
    with pytest.raises(InputError, match="something other than a label array; choose another output"):
        planned(place, source)


def test_the_plan_fits_its_budget(tmp_path):
    place = Location.parse(tmp_path)
    source = stored(place, np.zeros((8, 8, 8), np.uint8))
    plan = planned(place, source)
    assert plan.block_shape == (8, 8, 8)
    assert not plan.output.exists()
    for shape, workers in (((2000, 2000, 2000), 1), ((2000, 2000, 2000), 4), ((700, 900, 333), 2)):
        large = place / f"{shape}-{workers}"
        array_location = large / "border_core"
        create_array(array_location, shape, np.uint8)
        plan = planned(large, array_location, memory_bytes=4 * 2**30, workers=workers)
        assert plan.memory_bytes * workers <= 4 * 2**30
        assert len(plan.blocks()) >= (2 * workers if workers > 1 else 1)
        assert open_array(array_location).shape == plan.shape


def test_particles_that_somebody_corrected_are_kept(tmp_path):
    output = Location.parse(tmp_path / "particles.zarr")
    array = create_array(output, (4, 4, 4), np.uint32, attributes={"ps3d_result": "a"})
    array[:] = 1
    said: list[str] = []
    keep_changed(output, said.append)  # not finished
    note_content(output)
    keep_changed(output, said.append)  # as it was written
    assert said == []
    zarr.open_array(tmp_path / "particles.zarr", mode="r+")[0, 0, 0] = 7
    keep_changed(output, said.append)
    assert len(said) == 1
    assert zarr.open_array(tmp_path / "particles.zarr.kept-1", mode="r")[0, 0, 0] == 7
    assert not output.exists()
