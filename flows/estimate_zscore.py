"""Flow: mean and standard deviation of a dataset. Mirrors `ps3d_core.scan.zscore.estimate_zscore` line for line."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow

from ps3d_core.params import Resources, ZScoreParams
from ps3d_core.scan.zscore import ZScoreRecord
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from tasks.zscore import finish_zscore, plan_zscore, read_scan


@flow(name="estimate-zscore", flow_run_name="z-score {dataset}")
def estimate_zscore(
    dataset: str,
    scans: Sequence[str] | None = None,
    params: ZScoreParams | None = None,
    resources: Resources | None = None,
) -> ZScoreRecord:
    """Mean and standard deviation over `scans` (default: all) of a dataset (path or URL), into its zscore.json.

    `resources` are those of the machine that runs the flow when absent.
    """
    plan = plan_zscore(Dataset(Location.parse(dataset)), scans, params, resources)
    shares = [read_scan(plan, scan) for scan in plan.scans]
    return finish_zscore(plan, shares)
