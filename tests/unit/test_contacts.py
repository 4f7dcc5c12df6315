"""Contact areas: against counting by hand, against the surfaces of particles, and whatever the blocks."""

from __future__ import annotations

from collections import Counter
from itertools import product
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ps3d_core.contacts import merged, table
from ps3d_core.contacts import step as contacts
from ps3d_core.contacts.pair_counts import count_pairs_of, merge_pairs
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context, Outcomes
from ps3d_core.particles.surface import surface_area
from ps3d_core.particles.voxel_sums import block_sums
from ps3d_core.region.region import Region
from ps3d_core.steps.contacts import ContactAreas
from ps3d_core.store.layout import Result
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image

FORWARD = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
LABELS = hnp.arrays("u4", hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(0, 5))


@pytest.fixture
def root(tmp_path):
    return Location.parse(tmp_path)


def counted(labels):
    """Crossings of every pair, voxel by voxel."""
    padded, found = np.pad(labels, 1), Counter()
    for z, y, x in np.ndindex(labels.shape):
        for step in FORWARD:
            pair = sorted((int(labels[z, y, x]), int(padded[z + 1 + step[0], y + 1 + step[1], x + 1 + step[2]])))
            if pair[0] and pair[0] != pair[1]:
                found[(*pair, sum(map(abs, step)) - 1)] += 1
    return found


def crossings_of(counts):
    rows = zip(counts.lower.tolist(), counts.higher.tolist(), counts.crossings.tolist(), strict=True)
    return Counter({(a, b, kind): n for a, b, kinds in rows for kind, n in enumerate(kinds) if n})


def step_on(folder, labels, spacing=0.5):
    """The step on a result that has this label image only."""
    result = Result(folder, "ore")
    create_image(result.labels, labels.shape, "uint32", spacing=spacing, name="ore", label=True)[:] = labels
    plan = SimpleNamespace(
        work=folder / "work", job=SimpleNamespace(result=result), info=SimpleNamespace(spacing=spacing), region=Region()
    )
    return ContactAreas(plan, SimpleNamespace())


@given(LABELS)
def test_crossings_are_those_counted_by_hand(labels):
    counts = count_pairs_of(np.pad(labels, 1))
    assert crossings_of(counts) == counted(labels)
    assert (np.diff(counts.pairs.astype(np.int64)) > 0).all()


@given(LABELS)
def test_contacts_and_free_surface_are_the_surface_of_a_particle(labels):
    sums = block_sums(np.pad(labels, 1), (0, 0, 0), None)
    with_air = np.where(labels == 0, 6, labels)  # air as a particle that fills the rest, and all around
    padded = np.pad(with_air, 1, constant_values=6)
    counts = count_pairs_of(np.pad(padded, 1))
    for label, intercepts in zip(sums.labels, sums.intercepts, strict=True):
        own = (counts.lower == label) | (counts.higher == label)
        assert (counts.crossings[own].sum(axis=0) == 2 * intercepts).all()


@given(LABELS, st.integers(1, 5))
def test_counts_of_parts_add_up(labels, cut):
    padded, whole = np.pad(labels, 1), count_pairs_of(np.pad(labels, 1))
    parts = [padded[: cut + 2], padded[cut:]] if cut < labels.shape[0] else [padded]
    added = merge_pairs(count_pairs_of(np.ascontiguousarray(part)) for part in parts)
    assert (added.pairs == whole.pairs).all()
    assert (added.crossings == whole.crossings).all()


def test_a_block_with_many_more_pairs_than_places_at_first():
    labels = np.random.default_rng(0).permutation(np.arange(1, 20 * 30 * 40 + 1, dtype=np.uint32)).reshape(20, 30, 40)
    counts = count_pairs_of(np.pad(labels, 1))
    assert crossings_of(counts) == counted(labels)


def test_two_halves_of_a_cube_share_their_section(root):
    labels = np.zeros((12, 30, 30), np.uint32)
    labels[2:6, 5:25, 5:25], labels[6:10, 5:25, 5:25] = 1, 2
    step = step_on(root, labels)
    found = step.make(Outcomes(), Context())
    rows = pq.read_table(step.outputs["contacts"].open_reading()).to_pydict()
    assert (rows["label_a"], rows["label_b"], rows["faces"]) == ([1], [2], [400])
    # One direction straight across the section, four along face diagonals, four along body diagonals, which its rim has
    # fewer of. The section has 100 mm2; a plane along the grid reads 7 % low even without a rim.
    (expected,) = surface_area(np.array([[20 * 20, 4 * 20 * 19, 4 * 19 * 19]])) / 2 * 0.5**2
    assert rows["contact_area_mm2"] == pytest.approx([expected])
    assert 85 < expected < 93
    assert found.pairs == 1
    assert found.area_mm2 == pytest.approx(rows["contact_area_mm2"][0])


@pytest.mark.parametrize("particles", [0, 1])
def test_nothing_touches(root, particles):
    labels = np.zeros((6, 7, 8), np.uint32)
    labels[2:4, 2:4, 2:4] = particles
    step = step_on(root, labels)
    filled = 8 * particles / (6 * 7 * 8)
    found = contacts.Contacts(pairs=0, area_mm2=0, region_mm3=6 * 7 * 8 / 8, packing_fraction=filled)
    assert step.make(Outcomes(), Context()) == found
    rows = pq.read_table(step.outputs["contacts"].open_reading())
    assert (len(rows), rows.schema.names) == (0, table.SCHEMA.names)


@pytest.mark.parametrize("runner", [Runner(), Runner(workers=3)])
def test_no_block_and_no_worker_shows_in_the_file(root, monkeypatch, runner):
    labels = np.random.default_rng(1).integers(0, 40, (150, 140, 20)).astype(np.uint32)
    whole, parts = step_on(root / "a", labels), step_on(root / "b", labels)
    expected = whole.make(Outcomes(), Context())
    monkeypatch.setattr("ps3d_core.engine.block_step.GOOD_BLOCK_VOXELS", 1)
    assert len(parts.grid(Context(runner))) > 1
    assert parts.make(Outcomes(), Context(runner)) == expected
    for name, file in parts.outputs.items():
        assert file.read_bytes() == whole.outputs[name].read_bytes()


def test_rows_of_a_file_do_not_show_how_they_came():
    rng = np.random.default_rng(2)
    parts = [count_pairs_of(rng.integers(0, 9, (n, 6, 6)).astype(np.uint32)) for n in (4, 9, 5)]
    batches = list(merged.in_batches(parts, 7))
    assert [len(batch.pairs) for batch in batches[:-1]] == [7] * (len(batches) - 1)
    assert np.array_equal(np.concatenate([b.pairs for b in batches]), np.concatenate([p.pairs for p in parts]))


def test_blocks_that_are_finished_are_not_worked_on_again(root, monkeypatch):
    labels = np.random.default_rng(1).integers(0, 40, (150, 140, 20)).astype(np.uint32)
    monkeypatch.setattr("ps3d_core.engine.block_step.GOOD_BLOCK_VOXELS", 1)
    step, seen = step_on(root, labels), []
    work = ContactAreas.work

    def breaking(self, block, site):
        seen.append(block.index)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return work(self, block, site)

    monkeypatch.setattr(ContactAreas, "work", breaking)
    with pytest.raises(KeyboardInterrupt):
        step.make(Outcomes(), Context())
    step.make(Outcomes(), Context())
    assert seen == [0, 1, 1, *range(2, len(step.grid(Context())))]
