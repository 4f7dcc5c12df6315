"""The steps of a z-score as Prefect tasks, under the names they have in ps3d_core; one task run per scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from prefect import Task, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from ps3d_core.params import Resources, ZScoreParams
from ps3d_core.scan import zscore as core
from ps3d_core.scan.zscore import ScanShare, ScanToRead, ZScorePlan, ZScoreRecord
from ps3d_core.store.layout import Dataset
from tasks.keys import artifact_key
from tasks.markdown import escaped
from tasks.progress import run_progress
from tasks.transient import RETRIES, RETRY_DELAYS_SECONDS, retry_condition

P = ParamSpec("P")
R = TypeVar("R")


def _step(name: str, of: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    return task(
        name=name,
        task_run_name=f"{name}: {of}",
        cache_policy=NO_CACHE,  # the core knows what it has read, and keeps that with the data
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=RETRY_DELAYS_SECONDS,
        retry_condition_fn=retry_condition,
    )


@_step("plan z-score", of="{dataset.root}")
def plan_zscore(
    dataset: Dataset, names: Sequence[str] | None, params: ZScoreParams | None, resources: Resources | None
) -> ZScorePlan:
    """Check the request."""
    return core.plan_zscore(dataset, names, params, resources)


@_step("read grey values", of="{scan.name}")
def read_scan(plan: ZScorePlan, scan: ScanToRead) -> ScanShare:
    """Read the voxels of one scan: all, or those drawn."""
    return core.read_scan(plan, scan, run_progress(scan.name))


@_step("finish z-score", of="{plan.dataset.root}")
def finish_zscore(plan: ZScorePlan, shares: Sequence[ScanShare]) -> ZScoreRecord:
    """Write zscore.json and show it."""
    record = core.finish_zscore(plan, shares)
    rows = [{"scan": "all", "voxels": record.dataset_voxels, "mean": record.mean, "std": record.std}]
    for name, grey in record.scans.items():
        rows.append({"scan": escaped(name), "voxels": grey.voxels, "mean": grey.mean, "std": grey.std})
    create_table_artifact(
        rows,
        key=artifact_key(str(plan.dataset.root), "zscore"),
        description=f"grey values of {escaped(str(plan.dataset.root))}, {record.method}",
    )
    return record
