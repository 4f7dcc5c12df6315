"""Damage at rest: a chunk that is gone or altered is named, whatever stage meets it, and never read as zeros."""

import shutil
from fnmatch import fnmatch

import pytest

from ps3d_core.errors import CorruptDataError, MissingDataError
from ps3d_core.pipeline import segment
from ps3d_core.store.location import Location
from tests.integration.test_pipeline import SCAN, finished, job_in  # noqa: F401

# What is damaged, and what to forget of a finished run so that the stage that reads it runs again.
CASES = {
    "scan": (f"dataset/images/{SCAN}.zarr/0", [f"output/{SCAN}/.work"]),
    "border-core": (
        "border-core-*.zarr",
        ["instances", "network-labels-*", "ledger/instances-*", "stages/instances-*"],
    ),
    "core labels": (
        "instances/cores-*/labels",
        ["instances/growth-*", "ledger/instances-grow-*", "stages/instances-*"],
    ),
    "grown labels": (
        "instances/growth-*/round-0001/labels",
        ["instances/summary-*", "network-labels-*", "ledger/instances-labels", "stages/instances-*"],
    ),
    "network labels": ("network-labels-*.zarr", ["resample", "ledger/resample-labels"]),
    "label image": (f"output/{SCAN}/{SCAN}.zarr/0", ["sums", "ledger/measure"]),
}


@pytest.fixture
def copied(finished, tmp_path):  # noqa: F811
    """A copy of a finished run whose record is withdrawn, so that it runs again from what it kept."""
    place, _ = finished
    shutil.copytree(str(place), tmp_path / "run")
    record = tmp_path / "run" / "output" / SCAN / "run.json"
    record.unlink()
    # What was written is remembered by its place; the copy has another one.
    segment(job_in(Location.parse(tmp_path / "run"), keep_work=True))
    record.unlink()
    return tmp_path / "run"


def below(place, pattern):
    work = place / "output" / SCAN / ".work"
    root = place if pattern.startswith(("dataset/", "output/")) else work
    found = [path for path in root.rglob("*") if fnmatch(str(path.relative_to(root)), pattern)]
    return [path for path in found if len(path.relative_to(root).parts) == len(pattern.split("/"))]


@pytest.mark.parametrize("how", ["deleted", "altered"])
@pytest.mark.parametrize("case", CASES)
def test_damage_is_named(copied, case, how):
    array, forgotten = CASES[case]
    [damaged] = below(copied, array)
    for pattern in forgotten:
        for path in below(copied, pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shards = sorted(path for path in (damaged / "c").rglob("*") if path.is_file())
    shard = max(shards, key=lambda path: path.stat().st_size)
    if how == "deleted":
        shard.unlink()
        expected = MissingDataError
    else:
        content = bytearray(shard.read_bytes())
        content[len(content) // 3] ^= 16
        shard.write_bytes(bytes(content))
        expected = CorruptDataError
    with pytest.raises(expected, match=str(damaged.relative_to(copied)).replace(".", r"\.")):
        segment(job_in(Location.parse(copied), keep_work=True))
    assert not (copied / "output" / SCAN / "run.json").exists()
