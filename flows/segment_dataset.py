"""Flow: the scans of a dataset, one after another. A scan that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow

from flows.failures import Failures
from flows.segment_scan import segment_scan
from ps3d_core.network.bundle import BUNDLED
from ps3d_core.params import Resources, SegmentParams
from ps3d_core.record import RunRecord
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location


@flow(name="segment-dataset", flow_run_name="segment {dataset}")
def segment_dataset(
    dataset: str,
    output: str,
    scans: Sequence[str] | None = None,
    model: str = BUNDLED,
    params: SegmentParams | None = None,
    resources: Resources | None = None,
    keep_work: bool = False,
) -> dict[str, RunRecord]:
    """Segment `scans` (default: all) of a dataset; each is a subflow that may use the whole machine.

    Raises `ScansFailedError` at the end, naming the scans that failed.
    """
    failures = Failures()
    records: dict[str, RunRecord] = {}
    for scan in scans or Dataset(Location.parse(dataset)).names():
        with failures.collected(scan):
            records[scan] = segment_scan(dataset, scan, output, model, params, resources, keep_work)
    failures.raise_any()
    return records
