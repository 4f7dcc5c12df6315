"""The z-score on a real object store, and after kill -9."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ps3d_app.flows.command.cli import main
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image

SHAPES = {"one": (50, 60, 70), "two": (33, 64, 40)}


def fill(dataset: Dataset) -> np.ndarray:
    rng = np.random.default_rng(4)
    values = []
    for name, shape in SHAPES.items():
        volume = rng.normal(20_000, 3000, shape).astype("uint16" if name == "one" else "float32")
        small = {"chunks": (8, 8, 8), "shards": (16, 16, 16)}
        create_image(dataset.image(name), shape, volume.dtype, spacing=0.01, name=name, **small)[:] = volume
        values.append(volume.ravel().astype(np.float64))
    return np.concatenate(values)


@pytest.mark.parametrize("how", [[], ["--samples", "20000", "--seed", "1"]])
def test_command_on_s3(s3: Location, how: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    dataset = Dataset(s3)
    values = fill(dataset)
    assert main(["zscore", str(s3), *how]) == 0
    assert f"{s3}/zscore.json" in capsys.readouterr().out
    record = dataset.zscore.read_json()
    if how:
        low, high = record["confidence"]["mean"]
        assert low < values.mean() < high
    else:
        assert record["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert record["std"] == pytest.approx(values.std(), rel=1e-12)
    assert {name for name in s3.find() if not name.startswith("images/")} == {"zscore.json"}


def test_after_kill_9(tmp_path: Path) -> None:
    """A process that dies between two blocks leaves what it knew; the next one ends with the same bytes."""
    dataset = Dataset(Location.parse(tmp_path))
    fill(dataset)
    command = [sys.executable, "-c", _RUN.format(root=str(tmp_path), die_after=0)]
    assert subprocess.run(command, capture_output=True, text=True).returncode == 0
    expected = dataset.zscore.read_bytes()
    dataset.zscore.remove_tree()

    command = [sys.executable, "-c", _RUN.format(root=str(tmp_path), die_after=9)]
    assert subprocess.run(command, capture_output=True, text=True).returncode == -9
    assert not dataset.zscore.exists()
    assert len(list((tmp_path / ".zscore").rglob("[0-9]*.json"))) == 9

    command = [sys.executable, "-c", _RUN.format(root=str(tmp_path), die_after=0)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["already"] == 9
    assert dataset.zscore.read_bytes() == expected


_RUN = """
import json, os, signal
from ps3d_core.params import Resources
from ps3d_core.progress import Progress, StageAdvanced, StageStarted
from ps3d_core.scan import scan_grey, zscore
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location

scan_grey.BLOCK_BYTES = 20_000
already = 0

def listen(event):
    global already
    if isinstance(event, StageStarted):
        already += event.already
    if isinstance(event, StageAdvanced) and event.done == {die_after}:
        os.kill(os.getpid(), signal.SIGKILL)

zscore.estimate_zscore(
    Dataset(Location.parse({root!r})), resources=Resources(workers=1, memory_gib=1), progress=Progress(listen)
)
print(json.dumps({{"already": already}}))
"""
