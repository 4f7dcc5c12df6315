"""Rows of runs come in the order of their keys, whole, however they were cut into runs and are asked for."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_core.errors import NoSpaceError
from ps3d_core.store import sorted_runs
from ps3d_core.store.sorted_runs import SortedRuns

KEYS = {"int64": 9, "uint32": 2**32 - 1, "uint64": 2**64 - 1}
"""Types of keys, and the highest that is drawn."""


@st.composite
def tables(draw):
    """Runs of rows, each in rising order of `key`; equal keys may be in one run and in several."""
    kind = draw(st.sampled_from(sorted(KEYS)))
    keys = st.lists(st.integers(0, KEYS[kind]) | st.integers(KEYS[kind] - 3, KEYS[kind]), max_size=300)
    runs, count = [], 0
    for drawn in draw(st.lists(keys, max_size=5)):
        rows = np.arange(count, count + len(drawn))
        count += len(drawn)
        wide = np.stack((rows, -rows), axis=1).astype(np.int16)
        runs.append({"key": np.sort(np.array(drawn, kind)), "row": rows, "wide": wide})
    return runs


def filled(runs):
    table = SortedRuns("key")
    for run in runs:
        table.add(run)
    return table


def joined(parts, name, like):
    return np.concatenate([part[name] for part in parts] or [np.empty(0, like)])


@given(tables(), st.sampled_from([1, 64, 200, 10**6]))
def test_ranges_hold_every_row_once_in_order_of_their_keys(runs, rows):
    found, before, table = [], -1, filled(runs)
    for parts in table.ranges(rows):
        keys = [int(key) for part in parts for key in part["key"]]
        assert before < min(keys)
        before = max(keys)
        assert all((np.sort(part["key"]) == part["key"]).all() for part in parts)
        ties = max(keys.count(key) for key in set(keys))
        assert len(keys) <= rows + (len(runs) + 1) * (sorted_runs.STRIDE + ties)
        found += parts
    order = np.argsort(joined(found, "row", np.int64))
    for name, like in (("key", np.int64), ("row", np.int64)):
        assert joined(found, name, like)[order].tolist() == joined(runs, name, like).tolist()
    assert all((part["wide"][:, 1] == -part["row"]).all() for part in found)


@given(tables(), st.data())
def test_rows_between_two_keys(runs, data):
    keys = sorted({int(key) for run in runs for key in run["key"]}) or [0]
    first = data.draw(st.sampled_from(keys) | st.integers(0, 2**63 - 1))
    last = data.draw(st.sampled_from(keys) | st.integers(0, 2**64 - 1))
    expected = [
        row for run in runs for key, row in zip(run["key"].tolist(), run["row"], strict=True) if first <= key <= last
    ]
    assert joined(filled(runs).between(first, last), "row", np.int64).tolist() == expected


@given(tables(), st.integers(1, 70))
def test_batches_do_not_show_where_runs_end(runs, rows):
    batches = list(filled(runs).batches(rows))
    assert joined(batches, "row", np.int64).tolist() == list(range(sum(len(run["key"]) for run in runs)))
    assert {len(batch["key"]) for batch in batches[:-1]} <= {rows}


def test_arrays_beside_the_rows_come_with_each_part_of_their_run():
    table = SortedRuns("key", ["scale"])
    table.add({"key": np.array([1, 5]), "scale": np.array([2.0, 3.0, 4.0])})
    table.add({"key": np.array([3]), "scale": np.array([])})
    assert [(part["key"].tolist(), part["scale"].tolist()) for part in table.between(2, 9)] == [
        ([5], [2.0, 3.0, 4.0]),
        ([3], []),
    ]


def open_files():
    """What all open files of this process are called; those without a name end in (deleted)."""
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if os.path.lexists(link)]


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """The folder of temporary files, into which all rows go."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sorted_runs, "HELD_BYTES", 1)
    return tmp_path


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed on Linux alone")
def test_the_file_has_no_name_and_goes_with_the_rows(on_disk):
    table = filled([{"key": np.arange(100), "row": np.arange(100)}])
    assert any(name.startswith(str(on_disk)) for name in open_files())
    assert list(on_disk.iterdir()) == []
    assert joined(table.between(7, 9), "row", np.int64).tolist() == [7, 8, 9]
    del table
    assert not any(name.startswith(str(on_disk)) for name in open_files())


def test_a_full_disk_is_said_with_the_place(on_disk):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    table = SortedRuns("key")
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(NoSpaceError, match=f"{on_disk}: file too large; make room"):
            table.add({"key": np.arange(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
