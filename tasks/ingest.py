"""Ingest as a Prefect task."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from ps3d_app.tasks.keys import artifact_key
from ps3d_app.tasks.markdown import escaped, rendered
from ps3d_app.tasks.progress import run_progress
from ps3d_app.tasks.transient import RETRIES, RETRY_DELAYS_SECONDS, retry_condition
from ps3d_core.geometry.boxes import shape_text
from ps3d_core.params import IngestParams
from ps3d_core.scan import ingest as core
from ps3d_core.scan.ingest import IngestSummary
from ps3d_core.store.layout import Dataset


@task(
    name="ingest",
    task_run_name="ingest: {name}",
    cache_policy=NO_CACHE,  # a source that changed under the same name must be read again
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=retry_condition,
)
def ingest(
    source: str,
    dataset: Dataset,
    name: str,
    params: IngestParams,
) -> IngestSummary:
    """Copy one scan into a dataset, show what was ingested and return it."""
    summary = core.ingest(source, dataset, name, params, progress=run_progress(name))
    shown = summary.model_dump() | {"shape": shape_text(summary.shape), "seconds": round(summary.seconds, 1)}
    create_markdown_artifact(
        rendered("ingested.md.jinja", rows=shown.items()),
        key=artifact_key(name, "scan"),
        description=f"{escaped(name)}: the scan as ingested",
    )
    return summary
