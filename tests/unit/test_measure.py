"""Measuring whole label images: the answer, and that nothing about the run shows in it."""

import tracemalloc
import uuid
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import stored, sums_of, voronoi

from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context, Outcomes
from ps3d_core.errors import InputError
from ps3d_core.measuring import measure
from ps3d_core.measuring.measure import Foreign, GivenLabels, measure_particles
from ps3d_core.particles import merged, table
from ps3d_core.particles.exact_sums import normalised, sum_of_squares, total
from ps3d_core.particles.label_index import as_labels, index_labels, row_of
from ps3d_core.particles.sample import Sample
from ps3d_core.particles.sums import LabelSums, merge
from ps3d_core.particles.table import read_columns
from ps3d_core.progress import Noted, Progress
from ps3d_core.store import sorted_runs
from ps3d_core.store.location import Location

SHAPE = (18, 21, 24)
GREY_TYPES = ["uint8", "uint16", "int16", "float32", "float64"]
shapes = st.tuples(*(st.integers(1, 9) for _ in range(3)))
blocks = st.tuples(*(st.integers(1, 10) for _ in range(3)))
seeds = st.integers(0, 2**32 - 1)


def grey_of(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        # Values over 60 decades, of both signs: where a floating-point sum depends on the order most.
        return (rng.normal(size=shape) * 10.0 ** rng.uniform(-30, 15, shape)).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def equal(a, b):
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True))


@settings(max_examples=60)
@given(shape=shapes, block=blocks, seed=seeds, dtype=st.sampled_from(GREY_TYPES))
def test_sums_do_not_depend_on_blocks(shape, block, seed, dtype):
    labels = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint32) * 1_000_000_007 % (2**32 - 5)
    image = grey_of(shape, dtype, seed)
    if shape[0] > 4 and np.dtype(dtype).kind == "f":
        image[0, 0, 0], image[3, 0, 0] = np.nan, -np.inf
    assert equal(sums_of(labels, image), sums_of(labels, image, block))


@settings(max_examples=60)
@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_grey_sums_are_exact(values):
    from fractions import Fraction

    image = np.array(values, np.float32).reshape(1, 1, -1)
    sums = sums_of(np.ones(image.shape, np.uint32), image)
    exact = [Fraction(float(v)) for v in image.ravel()]
    assert total(sums.grey_total)[0] == pytest.approx(float(sum(exact)), rel=1e-15, abs=0)
    assert sum_of_squares(sums.grey_squares)[0] == pytest.approx(float(sum(v * v for v in exact)), rel=1e-15, abs=0)
    assert (sums.grey_low[0], sums.grey_high[0]) == (image.min(), image.max())
    assert np.array_equal(normalised(sums.grey_total), sums.grey_total)


@settings(max_examples=30)
@given(seed=seeds, shape=shapes)
def test_labels_are_names_only(seed, shape):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, shape).astype(np.uint32)
    names = np.concatenate([[0], 1 + rng.choice(2**32 - 2, 5, replace=False)]).astype(np.uint32)
    image = grey_of(shape, "uint16", seed)
    a, b = sums_of(labels, image), sums_of(names[labels], image)
    order = np.searchsorted(b.labels, names[a.labels])
    assert all(np.array_equal(x, y[order]) for x, y in zip(a[1:], b[1:], strict=True))


def test_index_of_many_labels():
    labels = np.random.default_rng(0).integers(0, 2**32, (20, 20, 20)).astype(np.uint32)
    index = index_labels(labels)
    assert np.array_equal(index.labels, np.setdiff1d(labels, [0]))
    for i in range(0, len(index.labels), 97):
        assert row_of(index.labels[i], index) == i


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "uint64", "bool", "float32", ">u4"])
def test_labels_of_any_integer_type(dtype):
    array = np.array([0, 1, 1], dtype)
    assert as_labels(array, "labels").dtype == np.uint32


@pytest.mark.parametrize(
    "array",
    [
        np.array([-1], np.int16),
        np.array([2**32], np.int64),
        np.array([2**40 + 1], np.uint64),
        np.array([1.5]),
        np.array([2.0**32]),
        np.array([np.nan]),
        np.array([np.inf], np.float32),
        np.array([1j]),
    ],
)
def test_labels_that_cannot_be(array):
    with pytest.raises(InputError, match=r"labels.*;"):
        as_labels(array, "labels")


@pytest.fixture(scope="module")
def volume():
    labels = voronoi(SHAPE, 30, seed=2)
    return labels, grey_of(SHAPE, "float32", 5)


@pytest.fixture(scope="module")
def place(tmp_path_factory, volume):
    root = Location.parse(tmp_path_factory.mktemp("measure"))
    stored(root / "labels.zarr", volume[0])
    stored(root / "image.zarr", volume[1])
    return root


def run(place, work, block_shape=None, **context):
    """Bytes of both files and the summary of one measurement in its own folder."""
    output, context = work / "out", Context(**context)
    options = {"image": place / "image.zarr", "spacing": 0.01, "block_shape": block_shape, "context": context}
    summary = measure_particles(place / "labels.zarr", output, work=work / "work", **options)
    return (output / "particles.parquet").read_bytes(), (output / "particles.csv").read_bytes(), summary


def step_on(place, work, block_shape):
    """The step that measures the labels of a place without their grey values."""
    sample = Sample(place / "labels.zarr", None, 1.0)
    return GivenLabels(sample, ("labels", None), work / "out", work / "work", block_shape=block_shape)


@pytest.fixture(scope="module")
def reference(place, tmp_path_factory):
    return run(place, Location.parse(tmp_path_factory.mktemp("reference")), block_shape=SHAPE)


@pytest.mark.parametrize(
    ("block", "runner"),
    [
        ((8, 8, 8), Runner()),
        ((5, 21, 7), Runner(workers=2)),
        ((18, 1, 24), Runner()),
        ((16, 16, 16), Runner(kind="processes", workers=1)),
    ],
)
def test_files_do_not_depend_on_blocks_and_workers(place, reference, tmp_path, block, runner):
    assert run(place, Location.parse(tmp_path), block_shape=block, runner=runner) == reference


def test_files_do_not_depend_on_the_store(volume, reference):
    place = Location.parse(f"memory://{uuid.uuid4().hex}")
    stored(place / "labels.zarr", volume[0])
    stored(place / "image.zarr", volume[1])
    assert run(place, place, memory_bytes=2**20) == reference


def test_rows_in_ranges_of_labels(place, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(merged, "LABELS_AT_ONCE", 7)
    output = Location.parse(tmp_path)
    _, csv, summary = run(place, output, block_shape=(8, 8, 8))
    assert (csv, summary) == reference[1:]


def left_by_blocks(place, labels, block_shape):
    """Records of the blocks of a measurement, and where they have left their sums."""
    stored(place / "labels.zarr", labels)
    step = step_on(place, place, block_shape)
    site = step.site(step.grid(Context()))
    return [step.work(block, site) for block in site.grid], site


def test_a_range_of_labels_in_many_blocks_takes_little_memory(tmp_path, monkeypatch):
    """What is held is one file and a few ranges, not the rows of all files that may have labels of the range."""
    labels = np.random.default_rng(0).integers(1, 513, (64, 16, 16)).astype(np.uint32)
    records, site = left_by_blocks(Location.parse(tmp_path), labels, (2, 16, 16))
    one_file = sum(column.nbytes for column in LabelSums.from_arrays(site.file(0).read_arrays()))
    monkeypatch.setattr(merged, "LABELS_AT_ONCE", 16)
    monkeypatch.setattr(sorted_runs, "STRIDE", 4)
    monkeypatch.setattr(sorted_runs, "HELD_BYTES", 1)
    tracemalloc.start()
    try:
        particles = merged.MergedSums(records, site)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * one_file  # all of them are 32
    found = list(particles)
    assert [len(part.labels) for part in found] == [16] * 32
    assert equal(merge(found), sums_of(labels))


def test_what_blocks_leave_is_read_once_whatever_the_order_of_labels(tmp_path, monkeypatch):
    labels = np.random.default_rng(0).permutation(np.arange(1, 4097, dtype=np.uint32)).reshape(16, 16, 16)
    records, site = left_by_blocks(Location.parse(tmp_path), labels, (4, 8, 16))
    read, seen = Location.read_bytes, Counter()

    def counted(self):
        seen[self.url] += 1
        return read(self)

    monkeypatch.setattr(Location, "read_bytes", counted)
    monkeypatch.setattr(merged, "LABELS_AT_ONCE", 100)
    particles = merged.MergedSums(records, site)
    assert equal(merge(particles), sums_of(labels))
    assert equal(merge(particles), sums_of(labels))
    assert seen == Counter(site.file(block.index).url for block in site.grid)


def test_labels_with_wide_gaps(tmp_path):
    labels = np.zeros((6, 6, 6), np.uint32)
    labels[1, 1, 1], labels[1, 1, 4], labels[4, 4, :] = 1, 2**31, 2**32 - 1
    place = Location.parse(tmp_path)
    stored(place / "labels.zarr", labels)
    options = {"spacing": 1.0, "work": place / "work", "block_shape": (3, 3, 3)}
    summary = measure_particles(place / "labels.zarr", place, **options)
    columns = read_columns(place / "particles.parquet", ["label", "voxels", "touches_border", "grey_mean"])
    assert columns["label"].tolist() == [1, 2**31, 2**32 - 1]
    assert columns["voxels"].tolist() == [1, 1, 6]
    assert columns["touches_border"].tolist() == [False, False, True]
    assert np.isnan(columns["grey_mean"]).all()
    assert (summary.particles, summary.voxels, summary.touching_border) == (3, 8, 1)
    # Rows are merged together however far apart their labels are.
    assert pq.ParquetFile(tmp_path / "particles.parquet").num_row_groups == 1


def measured_blocks(monkeypatch, killed_at=None):
    """Indices of the blocks that are measured from now on; the one at place `killed_at` of them is not finished."""
    seen, work = [], GivenLabels.work

    def noting(self, block, site):
        seen.append(block.index)
        if len(seen) - 1 == killed_at:
            raise KeyboardInterrupt
        return work(self, block, site)

    monkeypatch.setattr(GivenLabels, "work", noting)
    return seen


def test_finished_blocks_are_not_measured_again_unless_their_sums_are_gone(place, tmp_path, monkeypatch):
    step = step_on(place, Location.parse(tmp_path), (9, 9, 9))
    site = step.site(step.grid(Context()))
    first = step.make(Outcomes(), Context())
    sums = site.file(2).read_bytes()
    seen = measured_blocks(monkeypatch)
    site.file(2).remove_tree()
    assert step.make(Outcomes(), Context()) == first
    assert seen == [2]
    assert site.file(2).read_bytes() == sums


def test_a_killed_measurement_goes_on_at_its_finished_blocks(place, reference, tmp_path, monkeypatch):
    seen = measured_blocks(monkeypatch, killed_at=2)
    with pytest.raises(KeyboardInterrupt):
        run(place, Location.parse(tmp_path), block_shape=(9, 9, 9))
    assert run(place, Location.parse(tmp_path), block_shape=(9, 9, 9)) == reference
    assert seen == [0, 1, 2, *range(2, 18)]


def test_what_was_measured_is_measured_again_only_for_a_raised_version_or_a_damaged_table(
    place, reference, tmp_path, monkeypatch
):
    work = Location.parse(tmp_path)
    seen = measured_blocks(monkeypatch)

    def measured_again():
        seen.clear()
        assert run(place, work, block_shape=SHAPE) == reference
        return bool(seen)

    assert measured_again()
    assert not measured_again()
    for module in (measure, table):
        monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
        assert measured_again()
        assert not measured_again()
    (work / "out" / "particles.csv").write_bytes(b"label\n")
    assert not measured_again()  # the sums are whole: only the table is made


def test_labels_that_are_refused_are_so_whatever_was_measured_before(tmp_path):
    place = Location.parse(tmp_path)
    stored(place / "mask.zarr", np.ones((6, 6, 6), np.uint8))
    notes = []
    context = Context(progress=Progress(lambda event: notes.append(event.text) if isinstance(event, Noted) else None))

    def measured(**foreign):
        given = Foreign("mask", **foreign)
        options = {"spacing": 1.0, "work": place / "work", "foreign": given, "context": context}
        return measure_particles(place / "mask.zarr", place, **options).particles

    with pytest.raises(InputError, match=r"mask: one label only.*any_labels"):
        measured()
    assert not (place / "particles.csv").exists()
    assert measured(as_they_are=True) == measured(as_they_are=True) == 1
    assert len(notes) == 2
    assert notes[0] == notes[1]
    with pytest.raises(InputError, match="mask: one label only"):
        measured()


def test_nothing_there(tmp_path):
    place = Location.parse(tmp_path)
    stored(place / "labels.zarr", np.zeros((4, 4, 4), np.uint32))
    summary = measure_particles(place / "labels.zarr", place, spacing=0.1, work=place / "work")
    assert (summary.particles, summary.by_volume, summary.by_number) == (0, None, None)
    assert (place / "particles.csv").read_text().count("\n") == 1


def test_a_voxel_that_is_not_a_number_marks_its_particle():
    labels = np.ones((2, 2, 4), np.uint32)
    labels[..., 2:] = 2
    image = np.ones(labels.shape, np.float32)
    image[0, 0, 1] = np.nan
    from ps3d_core.particles.shape import particle_columns

    columns = particle_columns(sums_of(labels, image, (1, 1, 1)), labels.shape, 1.0, grey=True)
    for name in ("grey_mean", "grey_std", "grey_min", "grey_max"):
        assert np.isnan(columns[name][0])
        assert np.isfinite(columns[name][1])


def test_what_does_not_fit_is_refused(place, tmp_path):
    work = Location.parse(tmp_path)
    small = stored(work / "small.zarr", np.zeros((4, 4, 4), np.uint16))
    floats = stored(work / "floats.zarr", np.full(SHAPE, 0.25, np.float32))
    labels = place / "labels.zarr"
    with pytest.raises(InputError, match=r"shape \(4, 4, 4\)"):
        measure_particles(labels, work, image=small, spacing=1.0, work=work / "work")
    with pytest.raises(InputError, match=r"value 0\.25: labels are whole numbers"):
        measure_particles(floats, work, spacing=1.0, work=work / "work")
    with pytest.raises(InputError, match="spacing"):
        measure_particles(labels, work, spacing=0.0, work=work / "work")
    with pytest.raises(InputError, match="chunks of"):
        measure_particles(labels, work, spacing=1.0, work=work / "work", context=Context(memory_bytes=100))
    with pytest.raises(InputError, match=r"more than 1073741824 voxels; choose smaller blocks"):
        measure_particles(labels, work, spacing=1.0, work=work / "work", block_shape=(2**10, 2**10, 2**10 + 1))
    assert not (work / "particles.csv").exists()


def test_blocks_of_a_foreign_array_need_not_be_its_one_huge_chunk():
    import zarr

    from ps3d_core.store.chunking import block_alignment

    huge = zarr.create_array({}, shape=(600, 600, 600), chunks=(600, 600, 600), dtype="uint8")
    slices = zarr.create_array({}, shape=(600, 600, 600), chunks=(1, 600, 600), dtype="uint8")
    assert block_alignment(huge) == (128, 128, 128)
    assert block_alignment(slices) == (1, 600, 600)
