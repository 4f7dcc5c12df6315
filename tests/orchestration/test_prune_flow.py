"""The prune flow on a real server: a dry run lists and keeps, a real one frees what it listed."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State

from ps3d_app.flows.prune_work import prune_work
from ps3d_core.params import RetentionParams
from ps3d_core.store.layout import Result
from ps3d_core.store.lease import sole_run
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import mark_own
from tests.orchestration.test_flows import artifacts_of, run_id

pytestmark = pytest.mark.usefixtures("server")

NOW = RetentionParams(older_than_days=0)
NASTY = "<img src=x onerror=y>"


def shown_by(state: State[int]) -> tuple[str, str]:
    """Description and rows of the one table of a run."""
    with get_client(sync_client=True) as client:
        (table,) = artifacts_of(client, run_id(state))
    return str(table.description), str(table.data)


def test_dry_run_then_real(tmp_path: Path) -> None:
    output = Location.parse(tmp_path)
    for scan in (NASTY, "running"):
        mark_own(Result(output, scan).work)
        (Result(output, scan).work / "a.npz").write_bytes(b"x" * 2_000_000)
    with sole_run(Result(output, "running").lease, "scan running"):
        dry = prune_work(str(output), NOW, return_state=True)
        assert dry.result() == 2_000_000
        description, rows = shown_by(dry)
        assert description.startswith("2.0 MB would be freed")
        assert description.endswith("nothing was removed (dry run)")
        assert "would go" in rows
        assert "stays" in rows
        assert NASTY not in rows
        assert Result(output, NASTY).work.find()

        real = prune_work(str(output), NOW, dry_run=False, return_state=True)
        assert real.result() == 2_000_000
        assert not Result(output, NASTY).work.exists()
        assert Result(output, "running").work.find()
    again = prune_work(str(output), NOW, dry_run=False, return_state=True)
    assert again.result() == 2_000_000
    assert "running" in shown_by(again)[1]
    assert shown_by(prune_work(str(output), NOW, return_state=True))[0].startswith("0.0 MB")
