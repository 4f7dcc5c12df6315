"""Flow: the scans of a dataset, one after another. A scan that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow

from ps3d_app.flows.failures import Failures
from ps3d_app.flows.options import form
from ps3d_app.flows.places import place
from ps3d_app.flows.segment_scan import segment_scan
from ps3d_app.flows.service.at_work import at_work
from ps3d_core.network import BUNDLED
from ps3d_core.params import Resources, SegmentParams
from ps3d_core.record import RunRecord
from ps3d_core.store.layout import Dataset


@flow(name="segment-dataset", flow_run_name="segment {dataset}", on_running=[at_work])
@form
def segment_dataset(
    dataset: str,
    output: str,
    scans: Sequence[str] | None = None,
    model: str = BUNDLED,
    params: SegmentParams | None = None,
    resources: Resources | None = None,
    keep_work: bool = False,
) -> dict[str, RunRecord]:
    """Find and measure every particle of several scans, one after another. One that fails does not stop the others.

    Args:
        dataset: Dataset that holds the scans: URL or absolute path; ingest-scan makes one.
        output: Folder or URL for results, one folder per scan.
        scans: Names of the scans; all scans of the dataset when left out.
        model: Model to use: bundled, or folder or URL of a model (ps3d model import makes one of nnU-Net's).
        params: Everything that decides the result.
        resources: What the run may use; the whole machine it runs on when left out.
        keep_work: Keep intermediates and the ledger (.work) after success.

    Returns:
        The content of run.json of each scan.

    Raises:
        InputError: when the dataset has no scans.
        ScansFailedError: at the end, naming the scans that failed and why.

    """
    failures = Failures()
    records: dict[str, RunRecord] = {}
    for scan in scans or Dataset(place(dataset)).require_names():
        with failures.collected(scan):
            records[scan] = segment_scan(dataset, scan, output, model, params, resources, keep_work)
    failures.raise_any()
    return records
