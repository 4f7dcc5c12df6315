"""Flow: scans that arrive in an inbox. Mirrors `ps3d_core.inbox.process.process_inbox` line for line."""

from __future__ import annotations

from prefect import flow
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.at_work import at_work
from flows.ingest_scan import ingest_scan
from flows.options import form
from flows.places import place
from ps3d_core.inbox.claim import Claim, accept, claimed, ingested
from ps3d_core.inbox.ending import judged, succeed
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.process import InboxJob, Poll
from ps3d_core.params import BUNDLED, InboxParams, Resources, SegmentParams
from ps3d_core.record import RunRecord
from tasks.inbox import OF_PREFECT, look_into, show_poll, tell, tell_failed, tell_segmented

IDLE = "Idle"
"""The state of a run that found nothing to do."""


@flow(name="process-inbox", flow_run_name="inbox {prefix}", on_running=[at_work])
@form
def process_inbox(
    prefix: str,
    params: InboxParams | None = None,
    model: str = BUNDLED,
    segmentation: SegmentParams | None = None,
    resources: Resources | None = None,
) -> Poll:
    """Take every complete scan from `prefix`/inbox/ through ingest, segmentation and measurement, in order of arrival.

    A scan that fails is moved to `prefix`/failed/ with the reason and does not stop the others. The run fails when
    something is wrong that is not a scan's fault; what was not finished is taken by the next run.

    Args:
        prefix: Folder or URL that holds inbox/, and gets dataset/, results/, done/ and failed/.
        params: When scans are taken, and what becomes of their files.
        model: For scans that name none: bundled, or folder or URL of a model.
        segmentation: Settings for scans that bring none.
        resources: What the run may use; the whole machine it runs on when left out.

    """
    job = InboxJob(
        Inbox(place(prefix)),
        params or InboxParams(),
        model,
        segmentation or SegmentParams(),
        resources or Resources(),
    )
    poll = Poll()
    for seen in poll.complete(look_into(job)):
        if not poll.has_room(job.params):
            break
        with poll.collected(seen.label), claimed(job.inbox, seen, job.params, get_run_logger().info) as claim:
            if claim is not None:
                poll.done[claim.label] = process_scan(claim.label, claim, job)
    show_poll(job, poll)
    poll.raise_any()
    # A state with a message for the UI; who calls the flow gets the poll in it. Of the polls of a week, hundreds have
    # found nothing for one that has: by another name they can be told apart wherever runs are listed.
    return Completed(name=IDLE if poll.is_idle else "Completed", message=str(poll), data=poll)  # type: ignore[return-value]


@flow(name="process-scan", flow_run_name="scan {label}", validate_parameters=False)
def process_scan(label: str, claim: Claim, job: InboxJob) -> RunRecord:
    """One scan that was taken from the inbox, `label` being its name."""
    from flows.segment_scan import segment_scan  # brings torch, which a look into an empty inbox does without

    with judged(claim, job.params, lambda reason: tell_failed(claim, reason), excused=OF_PREFECT):
        tell("scan.received", claim, attempt=claim.attempt)
        scan = accept(claim, job.model, job.segmentation)
        if not scan.ingested:
            ingest_scan(
                scan.source,
                str(job.inbox.dataset.root),
                scan.name,
                spacing=scan.spacing,
                particle_size=scan.particle_size,
                overwrite=True,
            )
            ingested(claim)
        record = segment_scan(
            str(job.inbox.dataset.root), scan.name, str(job.inbox.results), scan.model, scan.params, job.resources
        )
        tell_segmented(claim, record)
        succeed(claim, job.params)
        return record
