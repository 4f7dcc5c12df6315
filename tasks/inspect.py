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
from ps3d_core.plan import SegmentJob


@step("region", of="{job.scan}")
def find_region(job: SegmentJob) -> None:
    """Find the region of a scan, or bring its mask to a form that is computed on."""
    before.find_region(job, run_progress(job.scan))


@step("inspect", of="{job.scan}")
def look_before(job: SegmentJob) -> Inspection:
    """Look at a scan, show what was seen, and tell it in an event when it is not simply to go on."""
    seen = before.look_before(job, run_progress(job.scan))
    create_markdown_artifact(
        rendered("inspection.md.jinja", seen=seen, lines=lines_of(seen)),
        key=artifact_key(seen.scan, "inspection"),
        description=f"{escaped(seen.scan)}: {seen.advice}",
    )
    if seen.advice != "go on":
        said = {"advice": seen.advice, "sentence": seen.sentence, "problems": list(seen.problems)}
        emit_event("scan.questionable", **about(seen.scan, str(job.dataset.root), scan=seen.scan, **said))
    return seen
