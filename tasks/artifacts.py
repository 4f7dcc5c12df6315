"""Artifacts that a run leaves on its page in Prefect: plan, pictures, sizes, largest particles, where the results lie.

Pictures are part of the markdown (data: URLs), so the page needs no access to the store.
"""

from __future__ import annotations

from collections.abc import Iterable

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from ps3d_app.tasks.keys import artifact_key
from ps3d_app.tasks.markdown import escaped, rendered
from ps3d_core.particles import preview
from ps3d_core.plan import SegmentPlan
from ps3d_core.record import RunRecord


def show_plan(scan: str, lines: Iterable[str]) -> None:
    """Show the plan on the run's page as it is printed on the terminal.

    Each line is a word and what it says, two spaces or more apart.
    """
    rows = (line.partition("  ") for line in lines)
    create_markdown_artifact(
        rendered("plan.md.jinja", lines=[(word, said) for word, _, said in rows]),
        key=artifact_key(scan, "plan"),
        description=f"{escaped(scan)}: what will be done and what it costs",
    )


def show_results(plan: SegmentPlan, record: RunRecord) -> None:
    """Show on the run's page pictures, size distribution, largest particles, and where labels, table and report lie."""
    scan, result, name = plan.job.scan, plan.job.result, escaped(plan.job.scan)
    found = f"{name}: {record.particles} particles"
    curve = b""
    if record.particles:
        sample = preview.sample_of(result.labels, result.table_parquet, plan.info.spacing)
        create_table_artifact(
            preview.size_rows(sample),
            key=artifact_key(scan, "size-distribution"),
            description=f"{found}; equivalent sphere diameters",
        )
        create_table_artifact(
            preview.largest_rows(sample),
            key=artifact_key(scan, "largest"),
            description=f"{name}: the largest particles; one far larger than the others is often several in one",
        )
        curve = preview.size_curve(sample).encode()
    pictures = preview.pictures(result.labels, plan.image, spacing=plan.info.spacing)
    create_markdown_artifact(
        rendered(
            "result.md.jinja",
            scan=scan,
            particles=record.particles,
            result=result,
            verdict=record.counts["verdict"],
            curve=curve,
            pictures=pictures,
        ),
        key=artifact_key(scan, "result"),
        description=f"{found}: pictures, sizes, and where the results lie",
    )
