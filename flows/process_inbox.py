"""Flow: scans that arrive in an inbox. Mirrors `ps3d_core.inbox.process.process_inbox` line for line."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.logging import get_run_logger
from prefect.settings import get_current_settings
from prefect.states import Completed

from ps3d_app.flows.options import form
from ps3d_app.flows.process_scan import job_of, processed
from ps3d_app.flows.service.at_work import at_work
from ps3d_app.flows.service.dispatch import dispatch as start_runs
from ps3d_app.flows.service.prefect_api import PrefectApi
from ps3d_app.tasks.inbox import look_into, show_poll
from ps3d_core.inbox.claim import Claim, claimed
from ps3d_core.inbox.listing import InboxListing
from ps3d_core.inbox.process import InboxJob, Poll, settled
from ps3d_core.network import BUNDLED
from ps3d_core.params import InboxParams, Resources, SegmentParams
from ps3d_core.record import RunRecord

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
    dispatch: bool = False,
) -> Poll:
    """Take every complete scan from `prefix`/inbox/ through ingest, segmentation and measurement, in order of arrival.

    A scan that fails is moved to `prefix`/failed/ with the reason and does not stop the others. The run fails when
    something is wrong that is not a scan's fault; what was not finished is taken by the next run.

    Args:
        prefix: Folder or URL that holds inbox/, and gets dataset/, results/, done/, held/ and failed/.
        params: When scans are taken, and what becomes of their files.
        model: For scans that name none: bundled, or folder or URL of a model.
        segmentation: Settings for scans that bring none.
        resources: What the run may use; the whole machine it runs on when left out.
        dispatch: Process nothing in this run, but start one of the deployment process-scan for each scan.

    """
    job = job_of(prefix, params, model, segmentation, resources)
    if dispatch:
        given = {"params": params, "segmentation": segmentation, "resources": resources}
        options = {name: value.model_dump(mode="json") for name, value in given.items() if value is not None}
        return _dispatched(job, {"model": model, **options})
    poll = Poll()
    for seen in poll.complete(look_into(job)):
        if not poll.has_room(job.params):
            break
        with poll.collected(seen.label), claimed(job.inbox, seen, job.params, get_run_logger().info) as claim:
            if claim is not None:
                poll.add(claim, job.params, claimed_scan(claim.label, claim, job))
    show_poll(job, poll)
    poll.raise_any()
    # A state with a message for the UI; who calls the flow gets the poll in it. Of the polls of a week, hundreds have
    # found nothing for one that has: by another name they can be told apart wherever runs are listed.
    return Completed(name=IDLE if poll.is_idle else "Completed", message=str(poll), data=poll)  # type: ignore[return-value]


@flow(name="claimed-scan", flow_run_name="scan {label}", validate_parameters=False)
def claimed_scan(label: str, claim: Claim, job: InboxJob) -> RunRecord:
    """One scan that was taken from the inbox, `label` being its name."""
    return processed(claim, job)


def _dispatched(job: InboxJob, options: dict[str, Any]) -> Poll:
    """Start a run for each complete scan; nothing is processed here."""
    poll = Poll()
    seen = settled(job, InboxListing(job.inbox, job.params), get_run_logger().info)
    poll.complete(seen)
    settings = get_current_settings().api
    key = None if settings.auth_string is None else settings.auth_string.get_secret_value()
    api = PrefectApi(str(settings.url), key)
    said = start_runs(job.inbox, seen, job.params, options, api)
    show_poll(job, poll)
    for line in said:
        get_run_logger().info("%s", line)
    message = f"{len(said)} started" if said else "nothing to start"
    return Completed(name="Completed" if said else IDLE, message=message, data=poll)  # type: ignore[return-value]
