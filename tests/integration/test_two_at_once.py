"""Two commands that write to one place at the same time: what is there afterwards is whole, and is one of the two."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import zarr

from ps3d_core.scan.sources import open_scan
from tests.integration.writing_commands import ROUNDS, SIZES, TINY, prepare


class Pair(NamedTuple):
    """Two commands, and what is to be looked at afterwards."""

    one: str
    other: str
    look: Callable[[Path], str]
    before: str = ""
    """Command that is given first."""


def voxels(*names: str) -> Callable[[Path], str]:
    """The digest of volumes of any format."""

    def look(place: Path) -> str:
        digests = []
        for name in names:
            with open_scan(str(place / name)) as reader:
                digests.append(hashlib.sha256(reader.read(0, reader.shape[0]).tobytes()).hexdigest())
        return " ".join(digests)

    return look


def array(name: str) -> Callable[[Path], str]:
    return lambda place: hashlib.sha256(np.asarray(zarr.open_array(place / name, mode="r")[:]).tobytes()).hexdigest()


def content(*names: str) -> Callable[[Path], str]:
    return lambda place: " ".join(hashlib.sha256((place / name).read_bytes()).hexdigest() for name in names)


def scan(name: str) -> Callable[[Path], str]:
    """Voxels and entry of a scan of the dataset."""

    def look(place: Path) -> str:
        entry = json.loads((place / "data" / "metadata.json").read_text())[name]
        return f"{voxels(f'data/images/{name}.zarr')(place)} {entry}"

    return look


def zscore(place: Path) -> str:
    record = json.loads((place / "data" / "zscore.json").read_text())
    return f"{record['mean']} {record['std']} {record['method']}"


def model(place: Path) -> str:
    return f"{json.loads((place / 'out/bundle/bundle.json').read_text())['target_particle_size']}"


TABLE = ("particles.csv", "particles.parquet")
RESULT = tuple(f"out/results/ore/{name}" for name in TABLE)
SEGMENT = f"segment data out/results --name ore {TINY}"
PREPARE = "prepare-training data out/training --name ore --per-scan --target-particle-size 10 --workers 1"

PAIRS = {
    "ingest": Pair(
        f"ingest slices data --name new {SIZES}",
        "ingest scan-turned.zarr data --name new --spacing 0.02 --particle-size 0.1",
        scan("new"),
    ),
    "ingest over": Pair(
        f"ingest slices data --name ore --overwrite {SIZES}",
        "ingest scan-turned.zarr data --name ore --overwrite --spacing 0.02 --particle-size 0.1",
        scan("ore"),
    ),
    "ingest and phantom": Pair(
        f"ingest slices data --name new {SIZES}",
        "phantom data --name new --shape 16 16 16 --particle-size-voxels 6 --seed 1",
        scan("new"),
    ),
    "ingest labels": Pair(
        "ingest labels.zarr data --name bare --labels",
        "ingest labels-turned.zarr data --name bare --labels",
        voxels("data/instance_seg/bare.zarr"),
    ),
    "export slices": Pair(
        "export scan.zarr out/x --format tiff", "export scan-turned.zarr out/x --format tiff", voxels("out/x")
    ),
    "export over": Pair(
        "export scan.zarr out/x --format tiff --overwrite",
        "export scan-turned.zarr out/x --format tiff --overwrite",
        voxels("out/x"),
        "export labels.zarr out/x --format tiff",
    ),
    "export tiff": Pair(
        "export scan.zarr out/x.tif --format tiff",
        "export scan-turned.zarr out/x.tif --format tiff",
        voxels("out/x.tif"),
    ),
    "export nifti": Pair(
        "export scan.zarr out/x.nii.gz --format nifti",
        "export scan-turned.zarr out/x.nii.gz --format nifti",
        voxels("out/x.nii.gz"),
    ),
    "export zarr": Pair(
        "export scan.zarr out/x --format zarr", "export scan-turned.zarr out/x --format zarr", voxels("out/x")
    ),
    "export zarr and slices": Pair(
        "export scan.zarr out/x --format zarr", "export scan-turned.zarr out/x --format tiff", voxels("out/x")
    ),
    "zscore": Pair("zscore data --workers 1", "zscore data --samples 1000 --workers 1", zscore),
    "instances": Pair(
        "instances classes.zarr out/p.zarr --workers 1",
        "instances classes-turned.zarr out/p.zarr --workers 1",
        array("out/p.zarr"),
    ),
    "measure": Pair(
        "measure labels.zarr out/t --spacing 0.01",
        "measure labels-turned.zarr out/t --spacing 0.02",
        content(*(f"out/t/{name}" for name in TABLE)),
    ),
    "phantom": Pair(
        "phantom data --name new --shape 16 16 16 --particle-size-voxels 6 --seed 1",
        "phantom data --name new --shape 16 16 16 --particle-size-voxels 6 --seed 2",
        voxels("data/images/new.zarr", "data/instance_seg/new.zarr"),
    ),
    "segment": Pair(SEGMENT, f"{SEGMENT} --min-rel-particle-size 0.9", content(*RESULT)),
    "segment and measure": Pair(SEGMENT, "measure labels.zarr out/results/ore --spacing 0.01", content(*RESULT)),
    "prepare-training": Pair(
        f"{PREPARE} --border-thickness 1",
        f"{PREPARE} --border-thickness 2",
        voxels("out/training/Dataset500_ParticleSeg3D/labelsTr/ore.nii.gz"),
    ),
    "model import": Pair(
        "model import model out/bundle --target-particle-size 20",
        "model import model out/bundle --target-particle-size 30",
        model,
    ),
    "conversions": Pair(
        "ps3d_zarr2tiff -i scan.zarr -o out", "export scan-turned.zarr out/scan --format tiff", voxels("out/scan")
    ),
}


class Server:
    """A process that runs one command after another."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.writing_commands", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert self._read() == "ready"

    def start(self, place: Path, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{place}\t{command}\n")
        self._process.stdin.flush()

    def status(self) -> int:
        return int(self._read())

    def end(self) -> None:
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("inputs")
    prepare(place)
    return place


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Server]]:
    servers = [Server(), Server()]
    yield servers
    for server in servers:
        server.end()


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_there_afterwards_is_one_of_the_two(
    inputs: Path, tmp_path: Path, servers: list[Server], name: str
) -> None:
    pair = PAIRS[name]

    def fresh(label: str) -> Path:
        place = tmp_path / label
        shutil.copytree(inputs, place)
        if pair.before:
            servers[0].start(place, pair.before)
            assert servers[0].status() == 0
        return place

    alone = []
    for number, command in enumerate((pair.one, pair.other)):
        place = fresh(f"alone-{number}")
        servers[number].start(place, command)
        assert servers[number].status() == 0
        alone.append(pair.look(place))
    assert alone[0] != alone[1]
    for number in range(ROUNDS):
        place = fresh(f"both-{number}")
        for server, command in zip(servers, (pair.one, pair.other)[:: 1 - 2 * (number % 2)], strict=True):
            server.start(place, command)
        statuses = sorted(server.status() for server in servers)
        assert statuses in ([0, 0], [0, 2]), statuses
        assert pair.look(place) in alone
        shutil.rmtree(place)
