"""Training with the real nnU-Net: the README's script as printed; then more epochs, killed and continued by the flow.

The second training goes on with the data that nnU-Net preprocessed for the first, as a user's would.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest
import torch
from prefect.client.orchestration import get_client

from ps3d_app.flows.train_model import train_model
from ps3d_app.tasks.progress import also_shown_to
from ps3d_core.errors import InputError
from ps3d_core.network.bundle import load_bundle
from ps3d_core.network.nnunet.importing import import_model
from ps3d_core.network.normalisation import ZScore
from ps3d_core.progress import Event, Noted, Progress, StageStarted
from ps3d_core.record import read_record
from ps3d_core.store.layout import Result
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.location import Location
from ps3d_core.training.nnunet.child import WORKER
from ps3d_core.training.nnunet.plan import Planned, TrainJob, TrainPlan, plan_training
from ps3d_core.training.nnunet.run import PrepareData, TrainFold, fold_folder, train_fold
from ps3d_core.training.nnunet.train import train
from ps3d_core.training.nnunet.workplace import final_checkpoint
from tests.orchestration.stack_process import assert_becomes
from tests.orchestration.test_flows import artifacts_of, run_id, tasks_of
from tests.tiny_training import FLAGS, PARAMS, RESOURCES

pytestmark = pytest.mark.usefixtures("server")

README = Path(__file__).parents[2] / "README.md"
PREDICTOR = """
import sys
import numpy as np, torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
model, patch, logits = sys.argv[1:]
predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
predictor.initialize_from_trained_model_folder(model, (0,), "checkpoint_final.pth")
predictor.network.load_state_dict(predictor.list_of_parameters[0])
with torch.inference_mode():
    np.save(logits, predictor.network.eval()(torch.from_numpy(np.load(patch))).numpy())
"""


class Finished(NamedTuple):
    job: TrainJob
    plan: TrainPlan
    state: Any
    events: list[Event]
    orphans: list[psutil.Process]


@pytest.fixture(scope="module")
def followed(server: object, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the script of the README's chapter on training was run, and what it printed."""
    [chapter] = re.findall(r"^## Your own model\n(.*?)^## ", README.read_text(), re.MULTILINE | re.DOTALL)
    script = textwrap.dedent("".join(re.findall(r"^    .*\n", chapter, re.MULTILINE)))
    place = tmp_path_factory.mktemp("readme")
    done = subprocess.run(["/bin/sh", "-euc", script], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place, done.stdout


@pytest.fixture(scope="module")
def finished(followed: tuple[Path, str]) -> Finished:
    """Another training on the same data, killed after an epoch and continued by the flow."""
    place, _ = followed
    work = Location.parse(place / "my-model.training")
    job = TrainJob(Location.parse(place / "training"), Location.parse(place / "model"), PARAMS, RESOURCES, work)
    plan = plan_training(job)
    planned = planned_for(plan)
    assert planned is not None, "the README's script and PARAMS have to agree on the plan"
    orphans = killed_after_an_epoch(job, plan)
    assert not final_checkpoint(fold_folder(plan, planned, 0)).exists()
    assert not job.bundle.exists()
    events: list[Event] = []
    with also_shown_to(events.append):
        state = train_model(str(job.data), str(job.bundle), PARAMS, RESOURCES, str(work), return_state=True)
    return Finished(job, plan, state, events, orphans)


def planned_for(plan: TrainPlan) -> Planned | None:
    """What nnU-Net planned; None when its preprocessed data is not there, or not as it was written."""
    entry = Ledger(Location.parse(plan.workplace.root), "stage-prepare", PrepareData(plan).fingerprint).kept()
    return None if entry is None else Planned.model_validate(entry.record)


def killed_after_an_epoch(job: TrainJob, plan: TrainPlan) -> list[psutil.Process]:
    """Run the command, kill it without mercy once nnU-Net has a checkpoint; return what is left of its children."""
    where = [str(job.data), str(job.bundle), "--work", str(job.work), "--direct"]
    command = [sys.executable, "-m", "ps3d_app.flows.command.cli", "train", *where, *FLAGS.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while not list(plan.workplace.results.rglob("checkpoint_latest.pth")):
            assert process.poll() is None, process.communicate()[0].decode()
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
    assert children
    return psutil.wait_procs(children, timeout=120)[1]


def test_the_readme_leads_from_slices_and_labels_to_a_model_in_use(followed: tuple[Path, str]) -> None:
    place, printed = followed
    bundle = load_bundle(str(place / "my-model"))
    assert bundle.info.target_particle_size == 14
    result = Result(Location.parse(place / "results"), "ore-1")
    record = read_record(result.run)
    assert record is not None
    assert record.model["digest"] == bundle.info.digest
    assert record.particles >= 1
    assert result.table_csv.exists()
    assert "ps3d segment DATA RESULTS --model my-model" in printed


def test_nothing_survives_the_command(finished: Finished) -> None:
    assert not finished.orphans


def test_the_flow_goes_on_at_the_last_epoch(finished: Finished) -> None:
    assert finished.state.is_completed(), finished.state.message
    stages = {event.stage: event for event in finished.events if isinstance(event, StageStarted)}
    assert "nnU-Net prepares" not in stages
    fold = stages["train fold 0"]
    assert fold.total == 6
    assert fold.already in (2, 4)
    [curve] = load_bundle(finished.job.bundle).info.training["curves"]
    assert curve["epoch"] == [1, 2, 3]
    assert len(curve["train_loss"]) == len(curve["validation_loss"]) == 3


def test_the_bundle_says_what_inference_needs(finished: Finished) -> None:
    info = load_bundle(finished.job.bundle).info
    assert info.target_particle_size == 14
    assert info.border_thickness == 2
    assert isinstance(info.normalisation, ZScore)
    assert info.normalisation == finished.plan.record.normalisation
    assert info.patch_size == (24, 24, 24)
    assert info.architecture.features_per_stage == (4, 8, 16)
    assert info.training["trainer"] == "nnUNetTrainer"
    assert {"nnunetv2", "torch"} <= set(info.training["software"])
    [row, mean] = info.accuracy
    assert row["fold"] == 0
    assert row["scan"] in info.training["cases"]
    assert mean["scan"] == "mean"
    assert {"f1_at_0.5", "f1_at_0.75", "panoptic_quality", "splits", "merges"} <= set(row)
    assert float(row["particles"] or 0) > 5


def test_its_network_is_that_of_nnunet(finished: Finished, tmp_path: Path) -> None:
    planned = planned_for(finished.plan)
    assert planned is not None
    model = fold_folder(finished.plan, planned, 0).parent
    patch = np.random.default_rng(0).normal(size=(1, 1, 24, 24, 24)).astype(np.float32)
    np.save(tmp_path / "patch.npy", patch)
    arguments = [str(model), str(tmp_path / "patch.npy"), str(tmp_path / "logits.npy")]
    subprocess.run(
        [sys.executable, "-c", PREDICTOR, *arguments],
        check=True,
        capture_output=True,
        env=finished.plan.workplace.environment(workers=1, augmenters=1),
    )
    [network] = load_bundle(finished.job.bundle).networks(torch.device("cpu"))
    with torch.inference_mode():
        ours = network(torch.from_numpy(patch)).numpy()
    theirs = np.load(tmp_path / "logits.npy")
    assert np.ptp(theirs) > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_artifacts_and_tasks(finished: Finished) -> None:
    with get_client(sync_client=True) as client:
        shown = artifacts_of(client, run_id(finished.state))
        steps = ("plan training", "prepare nnU-Net", "train fold", "pack", "validate fold", "publish")
        assert_becomes(lambda: tasks_of(client, run_id(finished.state)), dict.fromkeys(steps, "Completed"))
    tables = "".join(str(artifact.data) for artifact in shown if artifact.type == "table")
    assert all(word in tables for word in ("validation_loss", "panoptic_quality"))
    assert any("train fold 0" in str(artifact.description) for artifact in shown if artifact.type == "progress")


def test_a_second_run_does_nothing(finished: Finished) -> None:
    before = {name: info["mtime"] for name, info in finished.job.bundle.find().items()}
    events: list[Event] = []
    again = train(finished.job, Progress(events.append))
    assert again == finished.state.result()
    assert [event for event in events if not isinstance(event, Noted)] == []
    assert {name: info["mtime"] for name, info in finished.job.bundle.find().items()} == before


@pytest.mark.soak
def test_a_fold_that_ended_is_not_trained_again(finished: Finished) -> None:
    """As it is found when the call was killed between nnU-Net's end and the entry in the ledger."""
    planned = planned_for(finished.plan)
    assert planned is not None
    step = TrainFold(finished.plan, planned, 0)
    checkpoint = final_checkpoint(fold_folder(finished.plan, planned, 0))
    before = torch.load(checkpoint, weights_only=False)["network_weights"]
    Ledger(Location.parse(finished.plan.workplace.root), "stage-train-fold", step.fingerprint).clear()
    events: list[Event] = []
    curve = train_fold(finished.plan, planned, 0, Progress(events.append))
    [stage] = [event for event in events if isinstance(event, StageStarted)]
    assert (stage.already, stage.total) == (6, 6)
    assert curve.epochs == 3
    after = torch.load(checkpoint, weights_only=False)["network_weights"]
    assert all(torch.equal(before[name], after[name]) for name in before)


class Calls:
    def __init__(self, marker: Path) -> None:
        self.command = f"touch {marker}"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_malicious_checkpoint_in_such_a_folder_is_refused(finished: Finished, tmp_path: Path) -> None:
    planned = planned_for(finished.plan)
    assert planned is not None
    model = tmp_path / "model"
    shutil.copytree(fold_folder(finished.plan, planned, 0).parent, model)
    checkpoint = final_checkpoint(model / "fold_0")
    content = torch.load(checkpoint, weights_only=False)
    torch.save(content | {"logging": Calls(tmp_path / "marker")}, checkpoint)
    with pytest.raises(InputError, match=rf"asks for {os.name}\.system"):
        import_model(str(model), Location.parse(tmp_path / "bundle"))
    assert not (tmp_path / "marker").exists()


def test_interrupting_stops_nnunet(finished: Finished, tmp_path: Path) -> None:
    job = replace(finished.job, bundle=Location.parse(tmp_path / "other"), work=None)
    started: list[psutil.Process] = []

    def interrupt() -> None:
        while not (workers := nnunet_processes()):
            time.sleep(0.02)
        started.extend(workers)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            train(job)
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    assert started
    assert not psutil.wait_procs(started, timeout=120)[1]
    assert not job.bundle.exists()


def nnunet_processes() -> list[psutil.Process]:
    """Those that this process started, directly or not."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if WORKER in process.cmdline():
                found.append(process)
    return found


@pytest.mark.soak
def test_a_training_starts_with_the_weights_of_a_model(finished: Finished, tmp_path: Path) -> None:
    """With next to no learning rate they are all still there at the end."""
    start, target = load_bundle(finished.job.bundle), Location.parse(tmp_path / "model")
    brief = {"epochs": 1, "iterations": 1, "learning_rate": 1e-9, "border_weight": 2.0, "patch": None, "features": None}
    params = PARAMS.model_copy(update=brief | {"start_from": str(start.location)})
    train(replace(finished.job, bundle=target, params=params))
    bundle = load_bundle(target)
    assert bundle.info.training["started from"] == {"name": start.info.name, "digest": start.info.digest}
    assert bundle.info.architecture == start.info.architecture
    assert bundle.info.patch_size == start.info.patch_size
    [before], [after] = start.networks(torch.device("cpu")), bundle.networks(torch.device("cpu"))
    for (name, old), (_, new) in zip(before.named_parameters(), after.named_parameters(), strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-6, msg=name)
