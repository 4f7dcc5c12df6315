"""Taking a scan: of several that look at the inbox at the same time, one gets it, and goes on where a dead one stopped.

The lease is held for the name of the scan, so everything that happens under one name happens one after another, also
when two arrivals have the same name. What outlives the holder is in the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace

from ps3d_core.errors import InputError, Ps3dError
from ps3d_core.inbox.description import ScanDescription
from ps3d_core.inbox.history import files_of
from ps3d_core.inbox.journal import Journal, read_journal, write_journal
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.listing import InboxListing, ListedScan
from ps3d_core.inbox.verdict import discard, undecided
from ps3d_core.network import BUNDLED
from ps3d_core.params import InboxParams, IngestParams, SegmentParams
from ps3d_core.store.layout import checked_name
from ps3d_core.store.lease import LeaseTakenError, Say, sole_run


@dataclass(frozen=True, slots=True)
class Claim:
    """An arrival that is ours for as long as the lease is held."""

    inbox: Inbox
    label: str
    """What it is called."""
    arrival: str
    """Its key in the inbox."""
    digest: str
    source: str
    """What to ingest."""
    description: ScanDescription | None
    attempt: int
    """Counted from 1."""
    problem: str | None
    """Why it will not be processed."""


@dataclass(frozen=True, slots=True)
class AcceptedScan:
    """A claimed arrival that is a scan, under a name that is free."""

    name: str
    source: str
    ingest: IngestParams
    model: str
    params: SegmentParams
    ingested: bool


class NotClaimedError(Ps3dError):
    """Refusal of an arrival that cannot be had."""


class BusyError(NotClaimedError):
    """Refusal of an arrival for now: another run has it, or another scan of its name comes first."""


class GoneError(NotClaimedError):
    """Refusal of an arrival for good: it has changed, or is not there any more."""


@contextmanager
def sole_claim(inbox: Inbox, seen: ListedScan, params: InboxParams, say: Say) -> Iterator[Claim]:
    """Hold an arrival while the body runs. Raise `BusyError` or `GoneError` when it cannot be had."""
    with ExitStack() as stack:
        try:
            stack.enter_context(sole_run(inbox.lease(seen.label), f"scan {seen.label}", say))
        except LeaseTakenError as error:
            raise BusyError(f"{seen.label}: another worker has it") from error
        yield _take(inbox, seen, params)


@contextmanager
def claimed(inbox: Inbox, seen: ListedScan, params: InboxParams, say: Say) -> Iterator[Claim | None]:
    """Hold an arrival while the body runs; yield the claim.

    Yield None when the arrival cannot be had now, because another has it or it has changed; `say` is told why.
    """
    with ExitStack() as stack:
        try:
            claim = stack.enter_context(sole_claim(inbox, seen, params, say))
        except NotClaimedError as error:
            say(str(error))
            yield None
        else:
            yield claim


def recover(inbox: Inbox, listing: InboxListing, known: Iterable[str], say: Say) -> None:
    """Clear up after workers that died when nothing was left of their arrival that could be taken again.

    `known` are the labels of arrivals that can, which go on by themselves.
    """
    labels = {name.removesuffix(".json") for name in inbox.journals.children() if name.endswith(".json")}
    for label in sorted(labels - set(known)):
        with suppress(LeaseTakenError), sole_run(inbox.lease(label), f"scan {label}", say):
            journal = undecided(inbox, label)
            if journal is not None and listing.find(journal.arrival) is None:
                discard(inbox, journal)  # somebody took it out of the inbox again
                inbox.journal(label).remove_tree()


def accept(claim: Claim, model: str, defaults: SegmentParams) -> AcceptedScan:
    """Return the scan to process, with what its description does not say.

    Raise `InputError` when the arrival is no scan, or when the name is taken.
    """
    description = claim.description
    if claim.problem is not None or description is None:
        raise InputError(claim.problem or "no description")
    journal = journal_of(claim)
    if not journal.accepted:
        _require_free(claim.inbox, description.name)
        journal = journal.model_copy(update={"accepted": True})
        write_journal(claim.inbox, journal)
    own = description.model
    return AcceptedScan(
        name=description.name,
        source=claim.source,
        ingest=description.as_ingested,
        model=model if own is None else BUNDLED if own == BUNDLED else str(claim.inbox.model(own)),
        params=description.settings.fitted_to(defaults),
        ingested=journal.ingested,
    )


def require_all_files(claim: Claim) -> None:
    """Raise `InputError` where an image that was dropped without a folder needs files that were not taken with it.

    They would stay behind when it is moved.
    """
    from ps3d_core.scan.sources import open_scan  # brings libraries that a look does without

    if claim.arrival.endswith("/") or claim.description is None:
        return
    params = claim.description.source.model_copy(update={"crop": None, "every": 1, "nan": None})
    with open_scan(claim.source, params) as reader:
        beside = reader.beside
    taken = {(claim.inbox.incoming / name).url for name in journal_of(claim).files}
    if other := next((file for file in beside if file.url not in taken), None):
        raise InputError(f"{other.name}: belongs to the scan and is not named like it; drop all its files in a folder")


def ingested(claim: Claim) -> None:
    """Note that the scan is in the dataset."""
    write_journal(claim.inbox, journal_of(claim).model_copy(update={"ingested": True}))


def journal_of(claim: Claim) -> Journal:
    """Return the journal of the claimed arrival. Raise `InputError` when it is gone."""
    journal = read_journal(claim.inbox, claim.label)
    if journal is None:
        raise InputError(f"{claim.inbox.journal(claim.label)}: is gone; do not remove it while a worker runs")
    return journal


def begun_anew(claim: Claim) -> Claim:
    """Return the claim with all earlier attempts forgotten, here and in the journal.

    That is right when somebody asks for the scan again.
    """
    forget_attempts(claim.inbox, claim.label)
    problem = None if claim.problem == _too_often(claim.attempt - 1) else claim.problem
    return replace(claim, attempt=1, problem=problem)


def forget_attempts(inbox: Inbox, label: str) -> None:
    """Forget how often work on a scan broke off. Only the holder of its lease may do so."""
    journal = read_journal(inbox, label)
    if journal is not None and journal.verdict is None and journal.attempts:
        write_journal(inbox, journal.model_copy(update={"attempts": 0}))


def _too_often(attempts: int) -> str:
    return (
        f"begun {attempts} times, and each time the work on it broke off; the scan may need more memory than there is; "
        "see the log of its runs, then drop it again"
    )


def _take(inbox: Inbox, seen: ListedScan, params: InboxParams) -> Claim:
    journal = undecided(inbox, seen.label)
    # What was seen may be old: while we did something else, others may have worked on it.
    listing = InboxListing(inbox, params)
    arrival = listing.find(seen.arrival.key)
    if arrival is None:
        raise GoneError(f"{seen.label}: is not in the inbox any more")
    fresh = listing.examine(arrival)
    if fresh.waits_for is not None:
        raise GoneError(f"{seen.label}: has changed and waits for {fresh.waits_for}")
    if fresh.label != seen.label:
        raise GoneError(f"{seen.label}: is called {fresh.label} now")
    if journal is not None and (journal.arrival, journal.digest) != (fresh.arrival.key, fresh.arrival.digest):
        other = listing.find(journal.arrival)
        if other is not None and other.key != fresh.arrival.key and other.digest == journal.digest:
            raise BusyError(f"{seen.label}: another scan of this name, {other.key}, comes first")
        discard(inbox, journal)
        journal = None
    if journal is None:
        files = {name: stamp.mark for name, stamp in fresh.arrival.files.items()}
        journal = Journal(label=fresh.label, arrival=fresh.arrival.key, digest=fresh.arrival.digest, files=files)
    problem = fresh.problem
    if journal.attempts >= params.attempts:
        problem = _too_often(journal.attempts)
    write_journal(inbox, journal)
    is_raw = fresh.description is not None and fresh.description.source.raw is not None
    source = str(inbox.incoming / fresh.arrival.source(is_raw=is_raw))
    described, attempt = fresh.description, journal.attempts + 1
    return Claim(inbox, fresh.label, journal.arrival, journal.digest, source, described, attempt, problem)


def _require_free(inbox: Inbox, name: str) -> None:
    from ps3d_core.store.ome import GROUP_FILE  # brings libraries that a look does without

    places = {
        inbox.done / checked_name(name): (inbox.done / name).exists(),
        inbox.held / name: bool(files_of(inbox.held / name)),
        inbox.result(name).root: inbox.result(name).run.exists(),
        inbox.dataset.image(name): (inbox.dataset.image(name) / GROUP_FILE).exists(),
    }
    taken = [str(place) for place, is_taken in places.items() if is_taken]
    if taken:
        raise InputError(
            f"scan name {name!r}: there is one of this name already; give another name in scan.json, or remove "
            f"{' and '.join(taken)}"
        )
