"""The inbox as Prefect sees it: the look as a task, events that automations can wait for, failures to read."""

from __future__ import annotations

from typing import Any, Literal

import httpx
from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_run_logger

from ps3d_app.tasks.events import about
from ps3d_app.tasks.keys import artifact_key
from ps3d_app.tasks.markdown import escaped
from ps3d_app.tasks.transient import RETRIES, RETRY_DELAYS_SECONDS, retry_condition
from ps3d_core.inbox import process as core
from ps3d_core.inbox.claim import Claim
from ps3d_core.inbox.listing import ListedScan
from ps3d_core.inbox.process import InboxJob, Poll
from ps3d_core.record import RunRecord

OF_PREFECT = (httpx.HTTPError, PrefectHTTPStatusError)
"""Failures of the Prefect API, of which no scan is guilty."""

Happening = Literal["scan.received", "scan.segmented", "scan.doubtful", "scan.held", "scan.failed"]


@task(
    name="look",
    task_run_name="look into {job.inbox.incoming}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_SECONDS,
    retry_condition_fn=retry_condition,
)
def look_into(job: InboxJob) -> list[ListedScan]:
    """Return everything in the inbox, in order of arrival."""
    return core.look_into(job, get_run_logger().info)


def tell(happening: Happening, claim: Claim, **payload: Any) -> None:
    """Emit an event about a scan. After a crash the same event may come a second time."""
    emit_event(happening, **about(claim.label, str(claim.inbox.prefix), scan=claim.label, **payload))


def tell_segmented(claim: Claim, record: RunRecord) -> None:
    """Emit that a scan is done, with what was found and where it lies; and another event when it is doubtful."""
    result, verdict = claim.inbox.result(claim.label), record.verdict
    tell(
        "scan.segmented",
        claim,
        particles=record.particles,
        grade=verdict.grade,
        labels=str(result.labels),
        table=str(result.table_csv),
        report=str(result.report),
    )
    if verdict.doubt is not None:
        said = {"grade": verdict.grade, "verdict": verdict.sentence, "reasons": list(verdict.reasons)}
        tell("scan.doubtful", claim, **said, report=str(result.report))


def tell_held(claim: Claim, doubt: str) -> None:
    """Emit that a scan waits in held/ for a person, with what speaks most against its result."""
    tell("scan.held", claim, reason=doubt, report=str(claim.inbox.result(claim.label).report))


def tell_failed(claim: Claim, reason: str) -> None:
    """Emit that a scan failed, and show the reason on the page of its run."""
    create_markdown_artifact(
        escaped(reason),
        key=artifact_key(claim.label, "failed"),
        description=f"{escaped(claim.label)}: moved to failed/",
    )
    tell("scan.failed", claim, reason=reason)


def show_poll(job: InboxJob, poll: Poll) -> None:
    """Write what waits to the log; show a table of what came of all scans, where any was taken."""
    for label, what in poll.waiting.items():
        get_run_logger().info("%s: waits for %s", label, what)
    if poll.is_idle:
        return
    rows = [{"scan": label, "state": "done", "particles": record.particles} for label, record in poll.done.items()]
    rows += [
        {"scan": label, "state": "held", "particles": record.particles, "why": record.verdict.doubt}
        for label, record in poll.held.items()
    ]
    rows += [{"scan": label, "state": "failed", "why": reason} for label, reason in poll.failed.items()]
    rows += [{"scan": label, "state": "waits for", "why": what} for label, what in poll.waiting.items()]
    create_table_artifact(
        [{"scan": "", "state": "", "particles": "", "why": "", **_escaped(row)} for row in rows],
        key=artifact_key(str(job.inbox.prefix), "inbox"),
        description=f"{escaped(str(job.inbox.incoming))}: {poll}",
    )


def _escaped(row: dict[str, Any]) -> dict[str, Any]:
    return {key: escaped(value) if isinstance(value, str) else value for key, value in row.items()}
