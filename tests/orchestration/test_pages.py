"""Prefect's pages in a browser: they ask for the key, work behind every lock, and ask nothing of any other host."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from ps3d_app.flows.segment_scan import segment_scan
from ps3d_app.flows.service.local_server import Api, first_page, server_folder
from ps3d_app.flows.service.server_key import kept_key
from ps3d_app.flows.service.stack.bootstrap import bootstrap, read_file
from ps3d_core.store.layout import Dataset
from tests.orchestration.chromium import browser, hosts_asked, program
from tests.orchestration.conftest import PARAMS, RESOURCES

SCAN = "Ore 2.5um"
FORM = "prune-work"


@pytest.mark.skipif(program() is None, reason="no Chromium on this machine")
def test_the_pages_that_we_link_to_ask_no_other_host(server: Api, dataset: Dataset, tmp_path: Path) -> None:
    bootstrap(read_file(str(tmp_path)))
    output = str(tmp_path / "out")
    state = segment_scan(str(dataset.root), SCAN, output, params=PARAMS, resources=RESOURCES, return_state=True)
    run = state.state_details.flow_run_id
    assert run is not None
    with get_client(sync_client=True) as client:
        form = next(each.id for each in client.read_deployments() if each.name == FORM)
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        shown = {artifact.type: artifact.id for artifact in client.read_artifacts(artifact_filter=of_run)}
    profile = tmp_path / "browser"
    profile.mkdir()
    with browser(profile) as page:
        page.open(first_page(server.ui), "Login")
        page.type("input[type=password]", str(kept_key(server_folder())))
        page.await_text("Active Work Pools")
        page.picture(tmp_path / "dashboard.png")
        page.open(f"{server.ui}/deployments/deployment/{form}/run", "Parameters")
        page.picture(tmp_path / "form.png")
        page.click("Submit")
        page.await_text("scheduled to start")
        page.open(f"{server.ui}/runs/flow-run/{run}", f"segment {SCAN}")
        page.picture(tmp_path / "run.png")
        for kind, artifact in shown.items():
            page.open(f"{server.ui}/artifacts/artifact/{artifact}", "Artifact")
            page.picture(tmp_path / f"artifact-{kind}.png")
        refused = ("Content Security Policy", "unsafe-eval")
        assert not [complaint for complaint in page.complaints if any(word in complaint for word in refused)]
    assert hosts_asked(profile, "127.0.0.1") == {"127.0.0.1"}
    with get_client(sync_client=True) as client:
        assert form in {each.deployment_id for each in client.read_flow_runs() if not each.auto_scheduled}
