"""`ps3d segment` as a person runs it: what is printed, what is not, how it is interrupted and continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.sorting import FlowRunSort

from ps3d_core.store.layout import Dataset, Result
from ps3d_core.store.location import Location

pytestmark = pytest.mark.usefixtures("server")

ROOT = Path(__file__).parents[2]
SCAN, OTHER = "Ore 2.5um", "ore_2,5µm"
OPTIONS = ["--no-tta", "--device", "cpu", "--workers", "1", "--memory", "4"]


def command(dataset: Dataset, output: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "ps3d_app.flows.command.cli",
        "segment",
        str(dataset.root),
        str(output),
        *OPTIONS,
        *more,
    ]


def environment() -> dict[str, str]:
    """Without the address of the server: the command has to find it running."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}


def run(dataset: Dataset, output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(dataset, output, *more), cwd=ROOT, env=environment(), capture_output=True, text=True)


def assert_clean(text: str) -> None:
    """Nothing that was meant for a developer."""
    for noise in ("Traceback", "Warning", "INFO", "ERROR", "Finished in state", "prefect."):
        assert noise not in text


def test_segment_all_but_a_bad_one(dataset: Dataset, tmp_path: Path) -> None:
    done = run(dataset, tmp_path, "--name", SCAN, "nothing")
    assert done.returncode == 2
    assert_clean(done.stdout + done.stderr)
    assert done.stdout.startswith(f"{SCAN}: ")
    assert str(Result(Location.parse(tmp_path), SCAN).report) in done.stdout
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"scan       {SCAN}: 64 x 68 x 80 voxels")
    assert any("/runs/flow-run/" in line and "ps3d up" in line for line in lines)
    assert lines[-1].startswith("ps3d: error: scan 'nothing': not in ")

    again = run(dataset, tmp_path, "--name", SCAN)
    assert again.returncode == 0
    assert again.stdout == done.stdout
    assert again.stderr == f"{SCAN}: already segmented with these parameters\n"


def test_interrupted_run_continues(dataset: Dataset, tmp_path: Path) -> None:
    with subprocess.Popen(
        command(dataset, tmp_path, "--name", OTHER),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has interrupts ignored, and what it starts inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("label cores"):  # the stage after prediction
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert_clean(rest)
    assert rest.splitlines()[-1] == "ps3d: error: interrupted; the same command continues where it stopped"
    assert not Result(Location.parse(tmp_path), OTHER).run.exists()
    with get_client(sync_client=True) as client:
        # Others are there as well: those of other tests, and scheduled ones once deployments are known.
        ours = FlowRunFilter(name=FlowRunFilterName(any_=[f"segment {OTHER}"]))
        [last] = client.read_flow_runs(flow_run_filter=ours, sort=FlowRunSort.START_TIME_DESC, limit=1)
    assert last.state is not None
    assert last.state.is_final()

    done = run(dataset, tmp_path, "--name", OTHER)
    assert done.returncode == 0
    assert not [line for line in done.stderr.splitlines() if line.startswith("predict")]
