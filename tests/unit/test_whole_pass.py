"""Particles as wholes: each is seen once, whole, with what is around it, however the label image is cut."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import pyarrow.parquet as pq
import pytest
from labelled import stored, voronoi
from scipy.ndimage import find_objects

from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.errors import CorruptDataError
from ps3d_core.measuring import chosen
from ps3d_core.measuring.measure import measure_sample
from ps3d_core.particles import boxes, cutouts, merged
from ps3d_core.particles.by_label import BlockValues
from ps3d_core.particles.column import Column
from ps3d_core.particles.sample import Sample
from ps3d_core.particles.table import About, read_table
from ps3d_core.particles.whole import MARGIN, Cutout, WholeMeasure
from ps3d_core.particles.window import KEY
from ps3d_core.store import sorted_runs
from ps3d_core.store.location import Location

SHAPE = (70, 60, 50)


@dataclass(frozen=True)
class Seen(WholeMeasure):
    """What a measure sees of each particle: its voxels, and sums over its box with the margin."""

    factor: int = 1

    bytes_per_voxel = 8.0

    @property
    def columns(self):
        names = ("seen_voxels", "seen_grey", "seen_other", "seen_around")
        return tuple(Column(name, "int64", "1", "for the test") for name in names)

    @property
    def parameters(self):
        return (self.factor,)

    @property
    def images(self):
        return ("grey", "other")

    def values(self, cutout: Cutout):
        rows = []
        for label, low, high in zip(cutout.ids, cutout.low, cutout.high, strict=True):
            assert (low >= MARGIN).all()
            assert (high + MARGIN < cutout.labels.shape).all()
            box = tuple(slice(a - MARGIN, b + MARGIN + 1) for a, b in zip(low, high, strict=True))
            inside = cutout.labels[box] == label
            grey, other = cutout.images["grey"][box], cutout.images["other"][box]
            around = int((cutout.labels[box] > 0).sum())
            rows.append((inside.sum(), grey.sum(dtype=np.int64), other[inside].sum() * self.factor, around))
        names = (column.name for column in self.columns)
        return dict(zip(names, np.array(rows, np.int64).reshape(-1, 4).T, strict=True))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = Location.parse(tmp_path_factory.mktemp("whole"))
    labels = voronoi(SHAPE, 60, seed=3, filled=0.8)
    labels[labels == 7] = 4_000_000_000  # labels have gaps of any width
    rng = np.random.default_rng(1)
    stored(root / "labels", labels, (32, 32, 32))
    stored(root / "grey", rng.integers(0, 200, SHAPE).astype(np.uint8), (64, 64, 64))
    stored(root / "other", rng.integers(0, 9000, SHAPE).astype(np.uint16), (64, 64, 64))
    return root


@pytest.fixture(autouse=True)
def measured_by_it(monkeypatch):
    monkeypatch.setattr(chosen, "measures_of", lambda params, phases=None: (Seen(),))


def sample_of(place):
    return Sample(place / "labels", place / "grey", 0.5, (("other", place / "other"),))


def table_of(place, folder, **options):
    measure_sample(sample_of(place), folder, work=folder / "work", **options)
    return (folder / "particles.parquet").read_bytes(), (folder / "particles.csv").read_bytes()


def test_each_particle_is_seen_whole_with_what_is_around_it(place, tmp_path):
    folder = Location.parse(tmp_path)
    table_of(place, folder)
    rows = read_table(folder / "particles.parquet").to_pydict()
    labels, grey, other = (np.asarray(stored_array(place / name)) for name in ("labels", "grey", "other"))
    padded, around = np.pad(labels, MARGIN), np.pad(grey, MARGIN, "edge")
    assert rows["seen_voxels"] == rows["voxels"]
    assert rows["seen_other"] == [int(other[labels == label].sum()) for label in rows["label"]]
    dense = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    for row, box in enumerate(find_objects(dense)):
        grown = tuple(slice(side.start, side.stop + 2 * MARGIN) for side in box)
        assert rows["seen_grey"][row] == around[grown].sum()
        assert rows["seen_around"][row] == (padded[grown] > 0).sum()


def stored_array(place):
    from ps3d_core.store.ome import open_image

    return open_image(place)[:]


@pytest.mark.parametrize(
    ("small", "tile", "at_once", "runner"), [(8, 16, 7, "threads"), (1, 64, 2**18, "processes"), (99, 8, 3, "threads")]
)
def test_no_byte_depends_on_blocks_cutouts_or_workers(place, tmp_path, monkeypatch, small, tile, at_once, runner):
    reference = table_of(place, Location.parse(tmp_path / "one"), block_shape=SHAPE)
    if runner == "threads":
        monkeypatch.setattr(cutouts, "SMALL", small)
        monkeypatch.setattr(cutouts, "TILE", tile)
    context = Context(runner=Runner(kind=runner, workers=2))
    blocks = table_of(place, Location.parse(tmp_path / "many"), block_shape=(32, 32, 32), context=context)
    assert len(reference[0]) > 1000
    assert blocks == reference
    monkeypatch.setattr(merged, "LABELS_AT_ONCE", at_once)
    ranges = table_of(place, Location.parse(tmp_path / "ranges"), block_shape=(64, 32, 32))
    assert ranges[1] == reference[1]  # row groups, which Parquet shows, are of another size


def test_the_order_of_labels_decides_the_order_of_rows_alone(place, tmp_path, monkeypatch):
    labels = stored_array(place / "labels")
    before = np.unique(labels)[1:]
    after = np.random.default_rng(4).permutation(before)
    others = Location.parse(tmp_path / "others")
    stored(others / "labels", np.where(labels, after[np.searchsorted(before, labels)], 0).astype(np.uint32))
    sample = Sample(others / "labels", place / "grey", 0.5, (("other", place / "other"),))
    table_of(place, Location.parse(tmp_path / "one"))
    monkeypatch.setattr(merged, "LABELS_AT_ONCE", 7)
    monkeypatch.setattr(boxes, "PARTICLES_AT_ONCE", 1)
    monkeypatch.setattr(sorted_runs, "STRIDE", 2)
    monkeypatch.setattr(sorted_runs, "HELD_BYTES", 1)
    measure_sample(sample, others, work=others / "work", block_shape=(32, 32, 32))
    one = read_table(Location.parse(tmp_path / "one" / "particles.parquet")).to_pylist()
    relabelled = [row | {"label": label} for row, label in zip(one, after.tolist(), strict=True)]
    assert read_table(others / "particles.parquet").to_pylist() == sorted(relabelled, key=itemgetter("label"))


def test_giants_are_looked_at_in_whole_steps_of_voxels(place, monkeypatch):
    labels, other = stored_array(place / "labels"), stored_array(place / "other")
    others = {"o": place_array(place / "other")}
    image = cutouts.Images(labels=place_array(place / "labels"), others=others, edges=(1.0, 2.0, 3.0), name="l")
    monkeypatch.setattr(cutouts, "SMALL", 0)
    monkeypatch.setattr(cutouts, "MOST_VOXELS", 1000)
    for label in np.unique(labels)[1:]:
        points = np.argwhere(labels == label)
        low, high = points.min(axis=0), points.max(axis=0)
        one_box = cutouts.Boxes(np.array([label], np.uint32), low[None].astype(np.int32), high[None].astype(np.int32))
        (one,) = cutouts.cutouts(image, one_box)
        step = max(1, int(np.ceil(np.cbrt(np.prod(high - low + 1.0) / 1000))))
        wide = tuple((MARGIN * step, 4 * MARGIN * step) for _ in range(3))
        around = np.pad(labels, wide)
        start = low  # of the margin, in the padded array
        view = around[tuple(slice(a, a + s * step, step) for a, s in zip(start, one.labels.shape, strict=True))]
        assert np.array_equal(one.labels, view)
        assert one.edges == (step * 1.0, step * 2.0, step * 3.0)
        seen = one.labels == label
        assert seen.any()
        points = np.argwhere(seen)
        assert (one.low[0] == points.min(axis=0)).all()
        assert (one.high[0] == points.max(axis=0)).all()
        full = np.pad(other, wide, "edge")
        expected = full[tuple(slice(a, a + s * step, step) for a, s in zip(start, one.labels.shape, strict=True))]
        assert np.array_equal(one.images["o"][seen], expected[seen])


def test_a_thin_giant_is_not_missed_by_whole_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(cutouts, "SMALL", 0)
    monkeypatch.setattr(cutouts, "MOST_VOXELS", 100)
    plate = np.zeros((40, 40, 40), np.uint32)
    plate[np.arange(40), :, np.arange(40)] = 5  # one voxel thick, along a diagonal
    plate[::2] = 0
    plate[:, ::2] = 0
    place = Location.parse(tmp_path / "plate")
    stored(place, plate, (40, 40, 40))
    points = np.argwhere(plate)
    low, high = points.min(axis=0)[None].astype(np.int32), points.max(axis=0)[None].astype(np.int32)
    image = cutouts.Images(place_array(place), {}, (1.0, 1.0, 1.0), "plate")
    (one,) = cutouts.cutouts(image, cutouts.Boxes(np.array([5], np.uint32), low, high))
    seen = np.argwhere(one.labels == 5)
    assert len(seen)
    assert (seen.min(axis=0) == one.low[0]).all()


def place_array(place):
    from ps3d_core.store.ome import open_image

    return open_image(place)


def test_a_changed_measure_is_measured_again_and_the_sums_are_not(place, tmp_path, monkeypatch):
    folder = Location.parse(tmp_path)
    one = table_of(place, folder)
    assert table_of(place, folder) == one
    monkeypatch.setattr(chosen, "measures_of", lambda params, phases=None: (Seen(factor=2),))
    table_of(place, folder)
    rows = read_table(folder / "particles.parquet").to_pydict()
    labels, other = stored_array(place / "labels"), stored_array(place / "other")
    assert rows["seen_other"][0] == 2 * int(other[labels == rows["label"][0]].sum())


def test_few_workers_where_memory_is_short(place, tmp_path):
    context = Context(runner=Runner(workers=8), memory_bytes=2**30)
    reference = table_of(place, Location.parse(tmp_path / "one"))
    assert table_of(place, Location.parse(tmp_path / "two"), context=context) == reference


def test_a_label_that_no_block_has_measured_is_an_error(tmp_path):
    place = Location.parse(tmp_path)
    (place / "0.npz").write_arrays(ids=np.array([2, 5], np.uint32), x=np.array([0.5, 1.5]))

    class Here:
        def __init__(self):
            self.place = place

        def file(self, block):
            return place / f"{block}.npz"

    values = BlockValues([{"labels": 2}, {"labels": 0}], Here())
    assert values.of(np.array([2, 5], np.uint32))["x"].tolist() == [0.5, 1.5]
    with pytest.raises(CorruptDataError, match="nothing of label 3"):
        values.of(np.array([2, 3, 5], np.uint32))


def test_a_table_says_in_which_window_it_was_seen(place, tmp_path):
    folder = Location.parse(tmp_path)
    table_of(place, folder)
    about = About.model_validate_json(pq.read_schema(folder.local_path / "particles.parquet").metadata[KEY])
    assert (about.shape, about.spacing, about.origin) == (SHAPE, 0.5, (0.0, 0.0, 0.0))
