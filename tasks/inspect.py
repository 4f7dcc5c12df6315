"""The look before a segmentation, as Prefect tasks: shown on the page of the run, and told in an event."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from ps3d_app.tasks.events import about
from ps3d_app.tasks.keys import artifact_key
from ps3d_app.tasks.markdown import escaped, rendered
from ps3d_app.tasks.progress import run_progress
from ps3d_app.tasks.step import step
from ps3d_core import before
from ps3d_core.inspection.record import Inspection
from ps3d_core.inspection.words import lines_of
from ps3d_core.plan import SegmentJob, SegmentPlan


@step("inspect", of="{job.scan}")
def look_where_asked(job: SegmentJob) -> Inspection | None:
    """Look at a scan whose particle size or polarity is to be found, and show what was seen."""
    return _shown(before.look_where_asked(job, run_progress(job.scan)), str(job.dataset.root))


@step("inspect", of="{plan.job.scan}")
def look_where_long(plan: SegmentPlan) -> Inspection | None:
    """Look at a scan whose prediction takes long, and show what was seen."""
    return _shown(before.look_where_long(plan, run_progress(plan.job.scan)), str(plan.job.dataset.root))


def _shown(seen: Inspection | None, dataset: str) -> Inspection | None:
    if seen is None:
        return None
    create_markdown_artifact(
        rendered("inspection.md.jinja", seen=seen, lines=lines_of(seen)),
        key=artifact_key(seen.scan, "inspection"),
        description=f"{escaped(seen.scan)}: {seen.advice}",
    )
    if seen.advice != "go on":
        said = {"advice": seen.advice, "sentence": seen.sentence, "problems": list(seen.problems)}
        emit_event("scan.questionable", **about(seen.scan, dataset, scan=seen.scan, **said))
    return seen
