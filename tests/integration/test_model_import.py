"""`ps3d model import` as a person uses it: from folders, archives, web and S3, to a model that segments."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ps3d_app.flows.command.cli import main
from ps3d_core.geometry.boxes import Box
from ps3d_core.network.bundle import load_bundle
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.store.arrays import read_box
from ps3d_core.store.layout import Result
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from tests.unit.nnunet_models import V1_NAME, V2_NAME, v1_folder, v2_folder

TASK = "Task310_particle_seg"


def import_to(target: object, *arguments: object) -> int:
    """Exit status of `ps3d model import SOURCE TARGET ...`."""
    source, *more = map(str, arguments)
    return main(["model", "import", source, str(target), *more])


def assert_refused(status: int, capsys: pytest.CaptureFixture[str], says: str) -> None:
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert captured.err.startswith("ps3d: error: ")
    assert captured.err.count("\n") == 1
    assert says in captured.err


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder above an nnU-Net 1 model."""
    v1_folder(tmp_path / "source" / TASK / V1_NAME)
    return tmp_path / "source" / TASK


def zipped(model: Path) -> Path:
    return Path(shutil.make_archive(str(model.parent / "model"), "zip", model.parent, model.name))


def tarred(model: Path) -> Path:
    return Path(shutil.make_archive(str(model.parent / "model"), "gztar", model.parent, model.name))


class Quiet(SimpleHTTPRequestHandler):
    """Python's own web server, which cannot send parts of a file."""

    def do_GET(self) -> None:
        if self.path == "/broken.zip":
            self.send_error(500)
        else:
            super().do_GET()

    def log_message(self, *args: Any) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    """Server that says nothing of clients that go once they have seen enough."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(model: Path) -> Iterator[str]:
    """Address of a server of the folder that `model` lies in."""
    with QuietServer(("127.0.0.1", 0), partial(Quiet, directory=str(model.parent))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_folder(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_to(tmp_path / "bundle", model) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{TASK}, {V1_NAME}: 1 fold(s)")
    assert [line.split()[0] for line in printed.splitlines()[1:4]] == ["assumed"] * 3
    assert all(flag in printed for flag in ("--target-particle-size", "--border-thickness", "--zscore"))
    assert main(["model", "info", str(tmp_path / "bundle"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["nnU-Net"] == "1"


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_with_its_checksum(
    model: Path, tmp_path: Path, pack: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    archive = pack(model)
    right = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert_refused(import_to(tmp_path / "bundle", archive, "--sha256", "0" * 64), capsys, right)
    assert not (tmp_path / "bundle").exists()
    assert import_to(tmp_path / "bundle", archive, "--sha256", right.upper()) == 0
    assert load_bundle(str(tmp_path / "bundle")).info.training["sha256"] == right


def test_from_the_web(model: Path, tmp_path: Path, web: str, capsys: pytest.CaptureFixture[str]) -> None:
    archive = zipped(model)
    right = hashlib.sha256(archive.read_bytes()).hexdigest()
    address = f"{web}/{archive.name}"
    assert import_to(tmp_path / "bundle", address, "--sha256", right) == 0
    assert import_to(tmp_path / "direct", model) == 0
    digests = [load_bundle(str(tmp_path / name)).info.digest for name in ("bundle", "direct")]
    assert digests[0] == digests[1]
    capsys.readouterr()
    assert_refused(import_to(tmp_path / "other", f"{web}/nothing.zip"), capsys, "no such file")
    assert_refused(import_to(tmp_path / "other", address, "--sha256", "0" * 64), capsys, "SHA-256")
    assert import_to(tmp_path / "other", f"{web}/broken.zip") == 1
    assert "could not be fetched (500" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_server_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_to(tmp_path / "bundle", "http://127.0.0.1:9/model.zip") == 1
    assert "could not be fetched" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_from_s3_to_s3(model: Path, s3: Location, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(import_to(s3 / "a", s3 / "nothing.zip"), capsys, "no such file")
    for file in filter(Path.is_file, model.rglob("*")):
        (s3 / "trained" / str(file.relative_to(model.parent))).write_bytes(file.read_bytes())
    (s3 / "model.zip").write_bytes(zipped(model).read_bytes())
    assert import_to(s3 / "a", s3 / "trained") == 0
    assert import_to(s3 / "b", s3 / "model.zip") == 0
    bundles = [load_bundle(s3 / name) for name in ("a", "b")]
    assert bundles[0].info.digest == bundles[1].info.digest
    assert len(bundles[0].networks(torch.device("cpu"))) == 1


class Calls:
    """Pickles as a call that leaves a marker."""

    def __init__(self, marker: Path) -> None:
        self.command = f"touch {marker}"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("file", ["plans.pkl", "fold_0/model_best.model.pkl", "fold_0/model_best.model"])
@pytest.mark.parametrize("pack", [lambda model: model, zipped, tarred], ids=["folder", "zip", "tar"])
def test_a_malicious_file_is_refused_and_nothing_is_left(
    model: Path, tmp_path: Path, file: str, pack: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    marker, target = tmp_path / "marker", model / V1_NAME / file
    content = {"plans_per_stage": Calls(marker), "state_dict": Calls(marker)}
    if target.suffix == ".pkl":
        target.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, target)
    assert_refused(import_to(tmp_path / "bundle", pack(model)), capsys, f"asks for {os.name}.system")
    assert not marker.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_malicious_second_fold_leaves_nothing_half_written(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fold = model / V1_NAME / "fold_1"
    fold.mkdir()
    torch.save({"state_dict": Calls(tmp_path / "marker")}, fold / "model_best.model")
    assert_refused(import_to(tmp_path / "new" / "bundle", model), capsys, f"asks for {os.name}.system")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_an_archive_that_climbs_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plans.pkl").write_bytes(b"")
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(tmp_path / "plans.pkl", "../../plans.pkl")
    assert_refused(import_to(tmp_path / "bundle", tmp_path / "evil.tar"), capsys, "outside of the folder")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--target-particle-size", "1"], "--target-particle-size 1"),
        (["--border-thickness", "0"], "--border-thickness 0"),
        (["--zscore", "5", "0"], "--zscore"),
        (["--fold", "7"], "fold 7"),
        (["--checkpoint", "final"], "no model_final_checkpoint.model"),
        (["--sha256", "abc"], "--sha256 'abc'"),
        (["--sha256", "0" * 64], "only an archive has a checksum"),
    ],
)
def test_values_that_cannot_be(
    model: Path, tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(import_to(tmp_path / "bundle", model, *arguments), capsys, says)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("make", "grey"),
    [
        (lambda place: v1_folder(place / V1_NAME), ["--zscore", "9000", "4000"]),
        (lambda place: v2_folder(place / V2_NAME), []),
    ],
    ids=["nnU-Net 1, fixed z-score", "nnU-Net 2, mean and deviation of the scan"],
)
def test_what_was_imported_segments(
    tmp_path: Path, make: Callable[[Path], Path], grey: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Random weights find nonsense; what matters is that every stage takes it."""
    params = PhantomParams(shape=(32, 32, 32), particle_size_voxels=14, seed=1, dtype="uint16")
    write_phantom(params, Location.parse(tmp_path / "data"), "ore", spacing=0.01)
    options = ["--target-particle-size", "12", "--border-thickness", "1", *grey]
    assert import_to(tmp_path / "bundle", make(tmp_path / "source"), *options) == 0
    run = ["--no-tta", "--device", "cpu", "--workers", "1", "--memory", "4", "--direct", "--model"]
    status = main(["segment", str(tmp_path / "data"), str(tmp_path / "out"), *run, str(tmp_path / "bundle")])
    assert status == 0, capsys.readouterr().err
    labels = open_image(Result(Location.parse(tmp_path / "out"), "ore").labels)
    assert labels.shape == (32, 32, 32)
    record = json.loads((tmp_path / "out" / "ore" / "run.json").read_text())
    assert len(np.unique(read_box(labels, Box.of(labels.shape)))) - 1 == record["counts"]["particles"]
