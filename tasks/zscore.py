"""The steps of a z-score as Prefect tasks, under the names they have in ps3d_core; one task run per scan."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import create_table_artifact

from ps3d_app.tasks.keys import artifact_key
from ps3d_app.tasks.markdown import escaped
from ps3d_app.tasks.progress import run_progress
from ps3d_app.tasks.step import step
from ps3d_core.params import Resources, ZScoreParams
from ps3d_core.scan import zscore as core
from ps3d_core.scan.scan_grey import ScanToRead
from ps3d_core.scan.zscore import ScanShare, ZScorePlan, ZScoreRecord
from ps3d_core.store.layout import Dataset


@step("plan z-score", of="{dataset.root}")
def plan_zscore(
    dataset: Dataset, names: Sequence[str] | None, params: ZScoreParams | None, resources: Resources | None
) -> ZScorePlan:
    """Check the request for a z-score and return its plan."""
    return core.plan_zscore(dataset, names, params, resources)


@step("read grey values", of="{scan.name}")
def read_scan(plan: ZScorePlan, scan: ScanToRead) -> ScanShare:
    """Read the voxels of one scan, all or those drawn; return its share of the result."""
    return core.read_scan(plan, scan, run_progress(scan.name))


@step("finish z-score", of="{plan.dataset.root}")
def finish_zscore(plan: ZScorePlan, shares: Sequence[ScanShare]) -> ZScoreRecord:
    """Write zscore.json, show it and return its content."""
    record = core.finish_zscore(plan, shares)
    rows = [{"scan": "all", "voxels": record.dataset_voxels, "mean": _shown(record.mean), "std": _shown(record.std)}]
    for name, grey in record.scans.items():
        shown = {"mean": _shown(grey.mean), "std": _shown(grey.std)}
        rows.append({"scan": escaped(name), "voxels": grey.voxels, **shown})
    create_table_artifact(
        rows,
        key=artifact_key(str(plan.dataset.root), "zscore"),
        description=f"grey values of {escaped(str(plan.dataset.root))}, {record.method}",
    )
    return record


def _shown(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
