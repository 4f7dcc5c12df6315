"""What a run leaves on its page in Prefect: plan, size distribution, where the results lie."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from ps3d_core.plan import SegmentPlan
from ps3d_core.record import RunRecord
from ps3d_core.store.location import Location
from tasks.keys import artifact_key


def show_plan(scan: str, lines: Iterable[str]) -> None:
    """The plan, as it is printed on the terminal."""
    text = "\n".join(lines)
    create_markdown_artifact(
        f"```\n{text}\n```", key=artifact_key(scan, "plan"), description=f"{scan}: what will be done and what it costs"
    )


def show_results(plan: SegmentPlan, record: RunRecord) -> None:
    """Size distribution and links to labels, table and report."""
    scan, result = plan.job.scan, plan.job.result
    create_table_artifact(
        _sizes(record),
        key=artifact_key(scan, "size-distribution"),
        description=f"{scan}: {record.particles} particles; equivalent sphere diameters, mm, by volume",
    )
    for kind, location in (("report", result.report), ("table", result.table_csv), ("labels", result.labels)):
        create_link_artifact(
            address_of(location), link_text=location.name, key=artifact_key(scan, kind), description=f"{scan}: {kind}"
        )


def address_of(location: Location) -> str:
    """What a browser opens."""
    return str(location) if location.local_path is None else location.local_path.as_uri()


def _sizes(record: RunRecord) -> list[dict[str, Any]]:
    size = record.counts["size"]["by_volume"]
    if size is None:
        return [{"percentile": "none", "diameter_mm": None}]
    return [{"percentile": name.upper(), "diameter_mm": round(size[name], 6)} for name in ("d10", "d50", "d90")]
