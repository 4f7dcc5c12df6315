"""Results and work folders of the release before are read and gone on with; nothing that they have is made again.

`data/earlier_release.tar.gz` was made by the code of 28 November 2026: a scan of 24 cubed, its finished result, and the
result of a run that was killed when it began to bring labels to the scan grid. Its bundled model was the first
edition, from which the present one differs in one number, and in saying what is no particle.
"""

from __future__ import annotations

import copy
import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from ps3d_core.engine.step import Step
from ps3d_core.network.bundle import ModelFacts, load_bundle, save_bundle
from ps3d_core.params import PredictParams, Resources, SegmentParams
from ps3d_core.pipeline import run_of, segment
from ps3d_core.plan import SegmentJob, plan_segmentation
from ps3d_core.progress import Noted, Progress
from ps3d_core.record import read_record
from ps3d_core.store import lease
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location

DIGEST = "dcac4697cd3fb7bbc9acebfb5229ad7b39ecd6099dce37705713dd58f68a2d4e"
BIAS_OF_CORES = 0.05859375
ARCHIVE = Path(__file__).parent / "data" / "earlier_release.tar.gz"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        # The first releases of Python 3.11 have no filters; those that have them ask for one.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)
    return tmp_path


def first_edition(place: Path) -> str:
    """The bundled model as that release had it."""
    bundle = load_bundle()
    (network,) = bundle.networks(torch.device("cpu"))
    network = copy.deepcopy(network)
    last = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv3d)][-1]
    with torch.no_grad():
        last.bias[1] = BIAS_OF_CORES
    names = ("name", "architecture", "patch_size", "target_particle_size", "normalisation", "border_thickness")
    facts = ModelFacts(**{name: getattr(bundle.info, name) for name in names})
    saved = save_bundle(str(place / "model"), {0: network}, facts, half_precision=True)
    assert saved.info.digest == DIGEST
    return str(place / "model")


def job_in(place: Path, output: str) -> SegmentJob:
    params = SegmentParams(predict=PredictParams(quality="reference", mirror=False, device="cpu"))
    data, resources = Dataset(Location.parse(place / "data")), Resources(workers=1, memory_gib=2)
    model = first_edition(place)
    return SegmentJob(data, "ore", Location.parse(place / output), model, params=params, resources=resources)


def made_steps(job: SegmentJob, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the steps that are made from now on, as they are."""
    made: list[str] = []

    def noting(kind: type[Step]) -> object:
        make = kind.make

        def noted(step: Step, *args: object) -> object:
            made.append(step.name)
            return make(step, *args)

        return noted

    for step in run_of(plan_segmentation(job)).steps:
        monkeypatch.setattr(type(step), "make", noting(type(step)))
    return made


def test_a_finished_result_gets_what_is_new_and_keeps_what_it_has(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_in(place, "finished")
    before, result = read_record(job.result.run), place / "finished" / "ore"
    assert before is not None
    kept = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in (result / "ore.zarr").rglob("c/*/*/*")}
    made = made_steps(job, monkeypatch)
    said: list[str] = []
    after = segment(job, Progress(lambda event: said.append(event.text) if isinstance(event, Noted) else None))
    assert made == ["contacts", "particles", "verdict", "report"]  # the table has new columns
    assert said == ["ore: finished before, with other parameters or an earlier release; what is still valid stays"]
    assert after.parts["labels"] == before.parts["labels"]
    assert set(after.parts) - set(before.parts) == {"contacts", "contacts_csv", "packing", "crate"}
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in kept} == kept
    labels = {*pq.read_table(result / "particles.parquet")["label"].to_pylist()}
    contacts = pq.read_table(result / "contacts.parquet")
    assert {*contacts["label_a"].to_pylist(), *contacts["label_b"].to_pylist()} <= labels
    made.clear()
    assert segment(job) == after
    assert not made


def test_a_killed_run_goes_on_from_its_work_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The killed run was on another machine, so its lease is watched for so long before it counts as dead.
    monkeypatch.setattr(lease, "STALE_SECONDS", 0.1)
    job = job_in(place, "interrupted")
    made = made_steps(job, monkeypatch)
    record = segment(job)
    assert made == ["labels", "contacts", "particles", "verdict", "report"]
    finished = json.loads((place / "finished" / "ore" / "run.json").read_text())
    table, expected = (pq.read_table(place / run / "ore" / "particles.parquet") for run in ("interrupted", "finished"))
    assert table.schema.names[: len(expected.schema)] == expected.schema.names
    table = table.select(expected.schema.names)
    # NumPy's powers differ in the last digit between processors, and another one made the archive.
    assert table.to_pylist() == [pytest.approx(row, rel=1e-14, nan_ok=True) for row in expected.to_pylist()]
    assert record.particles == finished["counts"]["particles"]
