"""The inbox in one process, in order: read this file first.

    arrival  ->  complete?  ->  claim  ->  ingest  ->  segment, measure  ->  done/
                 (waits)        (others skip it)                            held/ with what speaks against the result
                                                                            failed/ with the reason

Any number of processes may do this at the same time. Each step goes on where a killed process stopped, and a poll that
finds nothing costs one listing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from ps3d_core.inbox.claim import Claim, accept, claimed, ingested, recover, require_all_files
from ps3d_core.inbox.layout import Inbox, require_usable_prefix
from ps3d_core.inbox.listing import InboxListing, ListedScan
from ps3d_core.inbox.reason import plain
from ps3d_core.inbox.verdict import ScanFailedError, judged, reason_to_hold, succeed
from ps3d_core.network import BUNDLED
from ps3d_core.params import InboxParams, Resources, SegmentParams
from ps3d_core.progress import SILENT, Progress
from ps3d_core.record import RunRecord
from ps3d_core.store.lease import Say

logger = logging.getLogger("ps3d")


@dataclass(frozen=True, slots=True)
class InboxJob:
    """An inbox, and how scans that arrive there are processed."""

    inbox: Inbox
    params: InboxParams = field(default_factory=InboxParams)
    model: str = BUNDLED
    segmentation: SegmentParams = field(default_factory=SegmentParams)
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True, slots=True)
class Poll:
    """Outcome of one poll, by label; scans that failed by the name of their folder in failed/."""

    done: dict[str, RunRecord] = field(default_factory=dict)
    held: dict[str, RunRecord] = field(default_factory=dict)
    """Processed and moved to held/, for the doubt in the verdict of its record."""
    failed: dict[str, str] = field(default_factory=dict)
    """Moved to failed/, for the reason given."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Not complete: what it waits for."""
    errors: dict[str, Exception] = field(default_factory=dict)
    """Left in the inbox for the next poll, because something went wrong that is not the scan's fault."""

    def complete(self, seen: Sequence[ListedScan]) -> list[ListedScan]:
        """Return the arrivals that can be taken; note the others as waiting."""
        for one in seen:
            if one.waits_for is not None:
                self.waiting[_unlike(self.waiting, one.label)] = plain(one.waits_for)
        return [one for one in seen if one.waits_for is None]

    @contextmanager
    def collected(self, label: str) -> Iterator[None]:
        """Keep an error that the body raises, by `label`, and go on. Interrupts pass."""
        try:
            yield
        except ScanFailedError as error:
            logger.info("scan %s failed", label, exc_info=error)
            self.failed[error.name] = error.reason
        except Exception as error:
            logger.exception("scan %s broke off", label)
            self.errors[_unlike(self.errors, label)] = error

    def add(self, claim: Claim, params: InboxParams, record: RunRecord) -> None:
        """Note a scan that was processed, as done or as held."""
        kind = self.done if reason_to_hold(claim, params, record) is None else self.held
        kind[claim.label] = record

    def has_room(self, params: InboxParams) -> bool:
        """Return whether another scan may be taken."""
        taken = len(self.done) + len(self.held) + len(self.failed) + len(self.errors)
        return params.max_scans is None or taken < params.max_scans

    @property
    def is_idle(self) -> bool:
        """Flag that is true when no scan was taken."""
        return not (self.done or self.held or self.failed or self.errors)

    def raise_any(self) -> None:
        """Raise the first of the errors that are not a scan's fault; the others are in the log."""
        for error in self.errors.values():
            raise error

    def __str__(self) -> str:
        """Return the outcome in one line."""
        counts = {
            "processed": len(self.done),
            "held": len(self.held),
            "failed": len(self.failed),
            "not complete": len(self.waiting),
            "to be tried again": len(self.errors),
        }
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing to do"


def process_inbox(job: InboxJob, progress: Progress = SILENT) -> Poll:
    """Process every scan that is complete, in order of arrival. One that fails does not stop the others."""
    poll = Poll()
    for seen in poll.complete(look_into(job, progress.note)):
        if not poll.has_room(job.params):
            break
        with poll.collected(seen.label), claimed(job.inbox, seen, job.params, progress.note) as claim:
            if claim is not None:
                poll.add(claim, job.params, process_scan(claim, job, progress))
    return poll


def look_into(job: InboxJob, say: Say = lambda text: None) -> list[ListedScan]:
    """Return everything in the inbox, in order of arrival. What dead workers left behind is cleared up.

    Raise `InputError` when not the scans are at fault but the inbox, its dataset or its model.
    """
    require_usable_prefix(job.inbox)
    listing = InboxListing(job.inbox, job.params)
    seen = settled(job, listing, say)
    if any(one.waits_for is None for one in seen):
        require_workable(job)
    return seen


def settled(job: InboxJob, listing: InboxListing, say: Say = lambda text: None) -> list[ListedScan]:
    """Return what a look found, in order of arrival.

    What dead workers left behind is cleared up before, unless the inbox is empty.
    """
    seen = listing.scans()
    if seen:
        recover(job.inbox, listing, [one.label for one in seen if one.waits_for is None], say)
    return seen


def require_workable(job: InboxJob) -> None:
    """Raise `InputError` when no scan could be processed, because of the dataset or the model of the inbox."""
    from ps3d_core.network.bundle import load_bundle  # brings torch, which a look does without

    job.inbox.dataset.read_metadata()
    load_bundle(job.model)


def process_scan(claim: Claim, job: InboxJob, progress: Progress = SILENT) -> RunRecord:
    """Bring a claimed arrival to its end; return the record of its segmentation.

    Raise `ScanFailedError` when it was moved to failed/, and whatever else went wrong.
    """
    from ps3d_core.pipeline import segment
    from ps3d_core.plan import SegmentJob
    from ps3d_core.scan.ingest import ingest

    with judged(claim, job.params):
        scan = accept(claim, job.model, job.segmentation)
        if not scan.ingested:
            require_all_files(claim)
            ingest(
                scan.source,
                job.inbox.dataset,
                scan.name,
                scan.ingest,
                progress=progress,
            )
            ingested(claim)
        record = segment(
            SegmentJob(job.inbox.dataset, scan.name, job.inbox.results, scan.model, scan.params, job.resources),
            progress,
        )
        succeed(claim, job.params, reason_to_hold(claim, job.params, record))
        return record


def _unlike(names: Collection[str], label: str) -> str:
    """`label`, or the first of LABEL-2, LABEL-3, ... that is not among `names`: two arrivals may be called the same."""
    others = (label if number == 1 else f"{label}-{number}" for number in count(1))
    return next(name for name in others if name not in names)
