"""Flow: scans that arrive in an inbox. Mirrors `ps3d_core.inbox.process.process_inbox` line for line."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.ingest_scan import ingest_scan
from flows.places import place
from flows.segment_scan import segment_scan
from ps3d_core.inbox.claim import Claim, accept, claimed, ingested
from ps3d_core.inbox.ending import judged, succeed
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.process import InboxJob, Poll
from ps3d_core.network.bundle import BUNDLED
from ps3d_core.params import InboxParams, Resources, SegmentParams
from ps3d_core.record import RunRecord
from tasks.inbox import look_into, show_poll, tell, tell_failed, tell_segmented

Prefix = Annotated[str, Field(min_length=1, description="folder or URL that holds inbox/, results/, done/, failed/")]
Model = Annotated[str, Field(description="for scans that name none: bundled, or folder or URL of a model")]


@flow(name="process-inbox", flow_run_name="inbox {prefix}")
def process_inbox(
    prefix: Prefix,
    params: InboxParams | None = None,
    model: Model = BUNDLED,
    segmentation: SegmentParams | None = None,
    resources: Resources | None = None,
) -> State[Poll]:
    """Take every complete scan from `prefix`/inbox/ through ingest, segmentation and measurement, in order of arrival.

    A scan that fails is moved to `prefix`/failed/ with the reason and does not stop the others. The run fails when
    something is wrong that is not a scan's fault; what was not finished is taken by the next run.

    Args:
        prefix: Folder or URL that holds inbox/; dataset/, results/, done/ and failed/ appear beside it.
        params: When scans are taken, and what becomes of their sources.
        model: For scans that name none: bundled, or folder or URL of a model.
        segmentation: Everything that decides the result, for scans whose scan.json does not say otherwise.
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
        with poll.collected(seen.label), claimed(job.inbox, seen, job.params, get_run_logger().info) as claim:
            if claim is not None and poll.has_room(job.params):
                poll.done[claim.label] = process_scan(claim.label, claim, job)
    show_poll(job, poll)
    poll.raise_any()
    return Completed(message=str(poll), data=poll)


@flow(name="process-scan", flow_run_name="scan {label}", validate_parameters=False)
def process_scan(label: str, claim: Claim, job: InboxJob) -> RunRecord:
    """One scan that was taken from the inbox, `label` being its name."""
    with judged(claim, job.params, lambda reason: tell_failed(claim, reason)):
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
