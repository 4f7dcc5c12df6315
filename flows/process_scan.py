"""Flow: one scan out of an inbox, as a run of its own. Mirrors `ps3d_core.inbox.process.process_scan` line for line.

The run is the scan's: cancel it, and the scan stays where it is until somebody asks for it again; retry it, and the
scan is taken again, out of failed/ or held/ if it went there.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import Abort
from prefect.logging import get_run_logger
from prefect.runtime import deployment
from prefect.runtime import flow_run as this_run
from prefect.states import AwaitingRetry, Completed
from prefect.types._datetime import now

from ps3d_app.flows.machine.leaving import leaving_soon
from ps3d_app.flows.options import form
from ps3d_app.flows.places import place
from ps3d_app.flows.service.at_work import at_work
from ps3d_app.tasks.inbox import OF_PREFECT, tell, tell_failed, tell_held, tell_segmented
from ps3d_core.inbox.again import retry
from ps3d_core.inbox.claim import Claim, GoneError, accept, begun_anew, ingested, require_all_files, sole_claim
from ps3d_core.inbox.history import ends, record_of
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.listing import InboxListing, ListedScan
from ps3d_core.inbox.process import InboxJob, require_workable
from ps3d_core.inbox.reason import reason_of
from ps3d_core.inbox.verdict import ScanFailedError, judged, reason_to_hold, succeed
from ps3d_core.network import BUNDLED
from ps3d_core.params import InboxParams, Resources, SegmentParams
from ps3d_core.record import RunRecord

GONE: Final = "Gone"
"""The state of a run whose scan has changed, or is not in the inbox any more."""
HELD: Final = "Held"
"""The state of a run whose scan was processed and waits for a person in held/."""
DELAYS_SECONDS: Final = (60, 300, 900, 3600)
"""Before the first, the second, ... further try; the last goes on."""
MOST_TRIES: Final = 24

_AT_ONCE: Final = InboxParams(settle_seconds=0)  # whether it is complete was judged by who started the run
_ENDED: Final = (StateType.CANCELLED, StateType.FAILED, StateType.COMPLETED)


@flow(name="process-scan", flow_run_name="scan {scan}", on_running=[at_work])
@form
def process_scan(
    prefix: str,
    scan: str,
    digest: str | None = None,
    params: InboxParams | None = None,
    model: str = BUNDLED,
    segmentation: SegmentParams | None = None,
    resources: Resources | None = None,
) -> RunRecord:
    """Take one complete scan from `prefix`/inbox/ through ingest, segmentation and measurement.

    A scan that fails is moved to `prefix`/failed/ with the reason. When something is wrong that is not the scan's
    fault, the run waits (AwaitingRetry) and tries again. Cancelled, it stays cancelled; retried, it takes the scan
    again, out of failed/ or held/ if it lies there.

    Args:
        prefix: Folder or URL that holds inbox/, and gets dataset/, results/, done/, held/ and failed/.
        scan: Name of the scan in the inbox.
        digest: Which files were meant; the run ends as Gone when others lie there. Whatever is there when left out.
        params: When scans are taken, and what becomes of their files.
        model: For a scan that names none: bundled, or folder or URL of a model.
        segmentation: Settings for a scan that brings none.
        resources: What the run may use; the whole machine it runs on when left out.

    """
    job = job_of(prefix, params, model, segmentation, resources)
    again = _is_asked_for_again()
    try:
        require_workable(job)
        seen = _find(job, scan, digest, again=again)
        with leaving_soon(), sole_claim(job.inbox, seen, _AT_ONCE, get_run_logger().info) as claim:
            return processed(begun_anew(claim) if again else claim, job)
    except GoneError as error:
        return Completed(name=GONE, message=str(error))  # type: ignore[return-value]
    except ScanFailedError:
        raise
    except Exception as error:
        _try_again_later(error)
        raise


def job_of(
    prefix: str,
    params: InboxParams | None,
    model: str,
    segmentation: SegmentParams | None,
    resources: Resources | None,
) -> InboxJob:
    """Return the job of the inbox at `prefix` with what a form says of it, and the defaults of what it leaves out."""
    return InboxJob(
        Inbox(place(prefix)),
        params or InboxParams(),
        model,
        segmentation or SegmentParams(),
        resources or Resources(),
    )


def processed(claim: Claim, job: InboxJob) -> RunRecord:
    """Bring a claimed arrival to its end within the current run; return the record of its segmentation."""
    # Bring torch, which Prefect does without when it loads this flow to see whether there are hooks, as after a cancel.
    from ps3d_app.flows.segment_scan import segment_scan
    from ps3d_app.tasks.ingest import ingest

    with judged(claim, job.params, lambda reason: tell_failed(claim, reason), excused=OF_PREFECT):
        tell("scan.received", claim, attempt=claim.attempt)
        scan = accept(claim, job.model, job.segmentation)
        if not scan.ingested:
            require_all_files(claim)
            # Not as runs below this one: who cancels the run cancels all there is.
            ingest(
                scan.source,
                job.inbox.dataset,
                scan.name,
                scan.ingest,
            )
            ingested(claim)
        record = segment_scan.fn(
            str(job.inbox.dataset.root), scan.name, str(job.inbox.results), scan.model, scan.params, job.resources
        )
        tell_segmented(claim, record)
        if (doubt := reason_to_hold(claim, job.params, record)) is not None:
            tell_held(claim, doubt)
        succeed(claim, job.params, doubt)
        return record if doubt is None else Completed(name=HELD, message=doubt, data=record)  # type: ignore[return-value]


def _find(job: InboxJob, scan: str, digest: str | None, *, again: bool) -> ListedScan:
    """The scan in the inbox; brought back there when the run was retried after it had failed."""
    named = _called(job.inbox, scan)
    if (seen := next((seen for seen in named if digest in (None, seen.arrival.digest)), None)) is not None:
        return seen
    end = next((end for end in ends(job.inbox) if end.digest == digest), None)
    if end is None or not end.folder.startswith(("failed/", "held/") if again else "failed/"):
        where = (
            f"it is in {job.inbox.prefix / end.folder}" if end else "its files have changed" if named else "it has gone"
        )
        raise GoneError(f"{scan}: not in the inbox as it was when the run was asked for; {where}")
    if not again:  # it was killed between its work and its last word
        record = record_of(job.inbox, end)
        raise ScanFailedError(scan, (record and record.reason) or "failed before", end.folder)
    get_run_logger().info(retry(job.inbox, end.folder, {}))
    if not (named := _called(job.inbox, scan)):
        raise GoneError(f"{scan}: somebody else took it out of {end.folder}")
    return named[0]


def _called(inbox: Inbox, scan: str) -> list[ListedScan]:
    return [seen for seen in InboxListing(inbox, _AT_ONCE).scans() if seen.label == scan]


def _is_asked_for_again() -> bool:
    """Whether somebody retried this run after it had ended.

    A crash does not count: who takes dead runs up again may do so by itself, and each such time is an attempt.
    """
    if not deployment.id:
        return False
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(UUID(this_run.id))
    kinds = [state.type for state in sorted(states, key=lambda state: state.timestamp)]
    since = 0  # the run began before, not counting this time
    for number, kind in enumerate(kinds[:-1]):
        if kind == StateType.RUNNING:
            since = number
    return any(kind in _ENDED for kind in kinds[since:])


def _try_again_later(error: Exception) -> None:
    """Schedule this run anew and leave, so that others have its place meanwhile; return after too many times.

    Prefect's own retries would wait within the process, and would also repeat what fails for good.
    """
    if not deployment.id or this_run.run_count > MOST_TRIES:
        return
    delay = DELAYS_SECONDS[min(this_run.run_count, len(DELAYS_SECONDS)) - 1]
    reason = reason_of(error)
    get_run_logger().warning("%s; trying again in %s s", reason, delay, exc_info=error)
    state: State[None] = AwaitingRetry(scheduled_time=now("UTC") + timedelta(seconds=delay), message=reason)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(this_run.id), state, force=True)
        # There is no process from now on: who cancels the run need not wait for one to end.
        client.request("PATCH", "/flow_runs/{id}", path_params={"id": this_run.id}, json={"infrastructure_pid": None})
    raise Abort(reason) from error
