"""How work on an arrival ends: what was decided is written down first, then done, so that a killed end is made up for.

Every step may be repeated. Only files that are still what they were when the arrival was taken are moved; what was
changed or added since is a new arrival.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from ps3d_core.errors import OF_THE_INPUT, InputError, Ps3dError
from ps3d_core.inbox.arrivals import LEFT, Stamp, sign_of
from ps3d_core.inbox.history import forget, note_end
from ps3d_core.inbox.journal import INCOMING, Journal, Verdict, read_journal, write_journal
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.reason import plain, reason_of
from ps3d_core.params import InboxParams
from ps3d_core.store.faults import is_of_the_surroundings
from ps3d_core.store.lease import LeaseLostError, LeaseTakenError
from ps3d_core.store.location import Location
from ps3d_core.store.moving import move_files

if TYPE_CHECKING:
    from ps3d_core.inbox.claim import Claim
    from ps3d_core.record import RunRecord

REASON_FILE = "reason.txt"
Announce = Callable[[str], None]


class ScanFailedError(InputError):
    """A scan could not be processed and was moved to failed/."""

    def __init__(self, label: str, reason: str, folder: str) -> None:
        known = reason.startswith((f"{label}:", f"scan {label!r}", f"scan name {label!r}"))  # it names its scan itself
        super().__init__(f"{reason if known else f'{label}: {reason}'} (moved to {folder})")
        self.label, self.reason, self.folder = label, reason, folder

    @property
    def name(self) -> str:
        """Name of the scan's folder in failed/."""
        return self.folder.rpartition("/")[2]

    def __reduce__(self) -> tuple[Any, ...]:
        return ScanFailedError, (self.label, self.reason, self.folder)  # what Prefect keeps of a failed run


@contextmanager
def judged(
    claim: Claim,
    params: InboxParams,
    announce: Announce = lambda reason: None,
    excused: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Hold the work on a claimed arrival while the body runs: an error decides what becomes of it, and is raised again.

    Bad input ends in failed/ and becomes `ScanFailedError`, after `announce` was told the reason. What is not the
    scan's fault (stores, permissions, an interrupt, the `excused`) leaves it for the next poll as if nothing had been.
    Anything else counts as an attempt, of which there are few, and so does the death of the process.
    """
    _begin(claim)
    try:
        yield
    except LeaseLostError:
        raise  # it is another's now
    except LeaseTakenError:
        _forgive(claim)
        raise
    except Exception as error:
        blameless = is_of_the_surroundings(error)
        bad = isinstance(error, OF_THE_INPUT) and not blameless
        if blameless or (isinstance(error, excused) and not bad):
            _forgive(claim)
        elif bad or claim.attempt >= params.attempts:
            folder = free_folder(claim.inbox, f"failed/{claim.label}")
            reason = _as_moved(claim, reason_of(error), folder)
            announce(reason)
            _end(claim, Verdict(folder=folder, reason=reason))
            raise ScanFailedError(claim.label, reason, folder) from error
        raise
    except BaseException:
        _forgive(claim)
        raise


def reason_to_hold(claim: Claim, params: InboxParams, record: RunRecord) -> str | None:
    """Return why a scan with this result is set aside for a person; None when it is not.

    What the scan's own description says comes before what the inbox does. A scan whose verdict is unknown is not held:
    that is so of every scan of a model without calibration, and says nothing against this one.
    """
    own = claim.description.on_doubt if claim.description is not None else None
    return record.verdict.doubt if (own or params.on_doubt) == "hold" else None


def succeed(claim: Claim, params: InboxParams, doubt: str | None = None) -> None:
    """Move the source of a scan whose results are there to done/, or mark it as done where it is.

    With a `doubt` it goes to held/ instead, until a person has decided, see `held`.
    """
    if doubt is not None:
        # No other name than its own, by which its results are found. What lies there already stays.
        _end(claim, Verdict(folder=f"held/{claim.label}", reason=plain(doubt)))
        return
    folder = None if params.leave_sources else free_folder(claim.inbox, f"done/{claim.label}")
    _end(claim, Verdict(folder=folder))


def undecided(inbox: Inbox, label: str) -> Journal | None:
    """Return the journal of a scan about which nothing was decided, None when there is none.

    One that was decided about is brought to its end before. Only the holder of the label's lease may ask.
    """
    journal = read_journal(inbox, label)
    if journal is None or journal.verdict is None:
        return journal
    bring_to_end(inbox, journal)
    return None


def bring_to_end(inbox: Inbox, journal: Journal) -> None:
    """Do what was decided about an arrival, or the rest of it."""
    verdict = journal.verdict
    assert verdict is not None  # noqa: S101
    if verdict.failed:
        discard(inbox, journal)
    if verdict.folder is None:
        (inbox.incoming / LEFT / journal.digest).write_text(f"{plain(journal.label)}\n")
    else:
        target = inbox.prefix / verdict.folder
        if verdict.reason is not None:
            (target / REASON_FILE).write_text(f"{verdict.reason}\n")
        _move(inbox, journal, target)
        note_end(inbox, journal)
    if journal.place == INCOMING:
        _mark_the_key(inbox, journal)
    else:
        _leave(inbox, journal.place)
    inbox.journal(journal.label).remove_tree()


def _mark_the_key(inbox: Inbox, journal: Journal) -> None:
    """Give the next arrival under the key of a scan that failed another identity, even with the same files in it."""
    sign = inbox.incoming / sign_of(journal.arrival)
    if journal.verdict is not None and journal.verdict.failed:
        sign.write_text(uuid.uuid4().hex)
    else:
        sign.remove_tree()


def discard(inbox: Inbox, journal: Journal) -> None:
    """Remove what unfinished work on an arrival left under its name, if the name was its own."""
    if journal.accepted:
        remove_results(inbox, journal.label)


def remove_results(inbox: Inbox, label: str) -> None:
    """Remove what was made of a scan: its results, and its image in the dataset."""
    inbox.result(label).remove()
    inbox.dataset.remove_scan(label)


def free_folder(inbox: Inbox, folder: str) -> str:
    """Return `folder`, or the first of FOLDER-2, FOLDER-3, ... without a file in it: earlier ones of this name stay."""
    names = (folder if number == 1 else f"{folder}-{number}" for number in count(1))
    return next(name for name in names if not (inbox.prefix / name).find(hidden=True))


def _begin(claim: Claim) -> None:
    journal = read_journal(claim.inbox, claim.label)
    if journal is not None:
        write_journal(claim.inbox, journal.model_copy(update={"attempts": claim.attempt}))


def _leave(inbox: Inbox, place: str) -> None:
    """Clear away what told of files that were set aside in `place`; what somebody else put there stays."""
    folder = inbox.prefix / place
    (folder / REASON_FILE).remove_tree()
    if not folder.find(hidden=True):
        folder.remove_tree()
    forget(inbox, place)


def _as_moved(claim: Claim, reason: str, folder: str) -> str:
    """The reason, with the paths that the files have when it is read."""
    dropped = f"{claim.inbox.incoming}/{claim.arrival if claim.arrival.endswith('/') else ''}"
    moved = f"{claim.inbox.prefix / folder}/"
    return reason.replace(dropped, moved).replace(dropped.rstrip("/") + ":", moved.rstrip("/") + ":")


def _end(claim: Claim, verdict: Verdict) -> None:
    journal = read_journal(claim.inbox, claim.label)
    if journal is None:
        return
    journal = journal.model_copy(update={"verdict": verdict})
    write_journal(claim.inbox, journal)
    bring_to_end(claim.inbox, journal)


def _forgive(claim: Claim) -> None:
    """Take back that an attempt was made, if the store lets us; else it counts."""
    with suppress(OSError, Ps3dError):
        journal = read_journal(claim.inbox, claim.label)
        if journal is not None and journal.verdict is None and journal.attempts:
            write_journal(claim.inbox, journal.model_copy(update={"attempts": journal.attempts - 1}))


def _move(inbox: Inbox, journal: Journal, target: Location) -> None:
    """Move the files of an arrival. Its description goes last: without it nothing is taken out of the inbox."""
    source, moves = inbox.prefix / journal.place, _moves(inbox, journal)
    last = {name: new for name, new in moves.items() if new == journal.description}
    move_files(source, {name: new for name, new in moves.items() if name not in last}, target)
    move_files(source, last, target)


def _moves(inbox: Inbox, journal: Journal) -> dict[str, str]:
    """Which files go where, relative to the place where they lie and to the target."""
    listing = (inbox.prefix / journal.place).find(hidden=True)
    unchanged = (
        name for name, mark in journal.files.items() if name in listing and Stamp.of(listing[name]).mark == mark
    )
    folder = journal.arrival if journal.place == INCOMING and journal.arrival.endswith("/") else ""
    return {name: _inside(name.removeprefix(folder)) for name in unchanged}


def _inside(name: str) -> str:
    """`name` when it leads to a file below the target, else another one that does."""
    parts = name.split("/")
    if all(part.isprintable() and part.strip(".") for part in parts) and name != REASON_FILE:
        return name
    return f"file-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:16]}"
