"""Damage at rest: a chunk of the scan that is gone or altered is named and never read as zeros; of intermediates, each
is made again when a run goes on, whatever stage would have met it."""

import shutil
from fnmatch import fnmatch

import pytest

from ps3d_core.errors import CorruptDataError, MissingDataError
from ps3d_core.pipeline import segment
from ps3d_core.store.location import Location
from tests.integration.test_pipeline import SCAN, everything_of, finished, job_in  # noqa: F401

# What is damaged, and what to forget of a finished run so that the stage that reads it runs again.
LABELS = [f"output/{SCAN}/{SCAN}.zarr", "resample", "ledger/stage-labels"]
PARTICLES = [
    "network-labels-*",
    "instances/ledger/write-labels",
    "ledger/stage-instances-summary",
    "ledger/stage-instances",
    *LABELS,
]
CASES = {
    "border-core": ("border-core-*.zarr", ["instances", *PARTICLES]),
    "core labels": ("instances/cores/*/labels", ["instances/grow-*", "instances/ledger/grow-*", *PARTICLES]),
    "grown labels": ("instances/grow-0001/*/labels", PARTICLES),
    "network labels": ("network-labels-*.zarr", LABELS),
    "label image": (f"output/{SCAN}/{SCAN}.zarr/0", ["particles", "ledger/particles", "ledger/stage-particles"]),
}


@pytest.fixture
def copied(finished, tmp_path):  # noqa: F811
    """A copy of a finished run whose record is withdrawn, so that it runs again from what it kept."""
    place, _ = finished
    shutil.copytree(str(place), tmp_path / "run")
    (tmp_path / "run" / "output" / SCAN / "run.json").unlink()
    return tmp_path / "run"


def below(place, pattern):
    work = place / "output" / SCAN / ".work"
    root = place if pattern.startswith(("dataset/", "output/")) else work
    found = [path for path in root.rglob("*") if fnmatch(str(path.relative_to(root)), pattern)]
    return [path for path in found if len(path.relative_to(root).parts) == len(pattern.split("/"))]


def damage(array, how):
    """Delete or alter the largest shard of an array."""
    shards = [path for path in (array / "c").rglob("*") if path.is_file()]
    shard = max(shards, key=lambda path: path.stat().st_size)
    if how == "deleted":
        shard.unlink()
        return
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 16
    shard.write_bytes(bytes(content))


@pytest.mark.parametrize(("how", "expected"), [("deleted", MissingDataError), ("altered", CorruptDataError)])
def test_damage_to_the_scan_is_named(copied, how, expected):
    image = f"dataset/images/{SCAN}.zarr/0"
    damage(copied / image, how)
    with pytest.raises(expected, match=image.replace(".", r"\.")):
        segment(job_in(Location.parse(copied), keep_work=True))
    assert not (copied / "output" / SCAN / "run.json").exists()


@pytest.mark.parametrize("how", ["deleted", "altered"])
@pytest.mark.parametrize("case", CASES)
def test_damaged_intermediates_are_made_again(copied, finished, case, how):  # noqa: F811
    array, forgotten = CASES[case]
    [damaged] = below(copied, array)
    for pattern in forgotten:
        for path in below(copied, pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    damage(damaged, how)
    job = job_in(Location.parse(copied), keep_work=True)
    segment(job)
    assert everything_of(job) == everything_of(job_in(finished[0]))
