"""Flow: mean and standard deviation of a dataset. Mirrors `ps3d_core.scan.zscore.estimate_zscore` line for line."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow
from prefect.logging import get_run_logger

from ps3d_app.flows.options import form
from ps3d_app.flows.places import place
from ps3d_app.flows.service.at_work import at_work
from ps3d_app.tasks.zscore import finish_zscore, plan_zscore, read_scan
from ps3d_core.params import Resources, ZScoreParams
from ps3d_core.scan.zscore import ZScoreRecord, zscore_claimed
from ps3d_core.store.layout import Dataset


@flow(name="estimate-zscore", flow_run_name="z-score {dataset}", on_running=[at_work])
@form
def estimate_zscore(
    dataset: str,
    scans: Sequence[str] | None = None,
    params: ZScoreParams | None = None,
    resources: Resources | None = None,
) -> ZScoreRecord:
    """Find mean and standard deviation of a dataset's grey values, and keep them in its zscore.json.

    Args:
        dataset: Dataset whose scans are read: URL or absolute path.
        scans: Names of the scans; all scans of the dataset when left out.
        params: How they are found; every voxel is read when left out.
        resources: What the run may use; the whole machine it runs on when left out.

    Returns:
        The content of zscore.json.

    """
    plan = plan_zscore(Dataset(place(dataset)), scans, params, resources)
    with zscore_claimed(plan, get_run_logger().info):
        shares = [read_scan(plan, scan) for scan in plan.scans]
        return finish_zscore(plan, shares)
