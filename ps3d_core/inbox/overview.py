"""What there is in an inbox, in words: what waits for what, is worked on, failed or is held and why, and is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from ps3d_core.errors import MissingDataError
from ps3d_core.inbox.again import identity
from ps3d_core.inbox.arrivals import unknown_in
from ps3d_core.inbox.history import ends, names_in
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.listing import InboxListing, ListedScan
from ps3d_core.inbox.reason import plain
from ps3d_core.inbox.verdict import REASON_FILE
from ps3d_core.params import InboxParams
from ps3d_core.store.lease import is_held
from ps3d_core.store.location import Location

RECENT = 10
"""Scans that are done, of which so many are listed."""

State = Literal["unknown", "waits", "complete", "works", "failed", "held", "done"]
UNKNOWN_KIND = "neither a file of a scan nor a description; a Zarr or slices are dropped as a folder"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in the inbox, or one that was there before."""

    name: str
    state: State
    since: float | None
    """When its last file came, or when it ended; seconds since 1970 by the clock of the store, None where unknown."""
    why: str = ""
    """What it waits for, or why it failed or is held."""
    identity: str | None = None
    """Of an arrival: what runs that are started for it are known by."""


def overview(inbox: Inbox, params: InboxParams | None = None, recent: int = RECENT) -> list[Entry]:
    """Return everything in the inbox in order of arrival, then what failed, is held, and the `recent` latest done."""
    listing = InboxListing(inbox, params or InboxParams())
    unknown = [Entry(plain(name), "unknown", None, UNKNOWN_KIND) for name in unknown_in(listing.files)]
    return [*unknown, *(_arrived(inbox, seen) for seen in listing.scans()), *_ended(inbox, recent)]


def _arrived(inbox: Inbox, seen: ListedScan) -> Entry:
    key = identity(inbox, seen.arrival)
    if seen.waits_for is not None:
        return Entry(plain(seen.label), "waits", seen.arrival.arrived, plain(seen.waits_for), key)
    works = is_held(inbox.lease(seen.label))
    return Entry(plain(seen.label), "works" if works else "complete", seen.arrival.arrived, "", key)


def _ended(inbox: Inbox, recent: int) -> list[Entry]:
    known = {end.folder: end.when for end in reversed(ends(inbox))}
    aside = (*_set_aside(inbox, "failed", known), *_set_aside(inbox, "held", known))
    done = [
        Entry(name, "done", when)
        for folder, when in sorted(known.items(), key=lambda end: end[1], reverse=True)
        for state, _, name in [folder.partition("/")]
        if state == "done"
    ]
    return [*aside, *islice(done, recent)]


def _set_aside(inbox: Inbox, state: Literal["failed", "held"], known: Mapping[str, float]) -> list[Entry]:
    """What lies in failed/ or held/, in order of time."""
    place = inbox.prefix / state
    found = [
        Entry(name, state, known.get(f"{state}/{name}"), _reason(place / name)) for name in reversed(names_in(place))
    ]
    return sorted(found, key=lambda entry: entry.since or 0.0)


def _reason(folder: Location) -> str:
    try:
        return plain((folder / REASON_FILE).read_text().strip())
    except (MissingDataError, UnicodeDecodeError):
        return f"no {REASON_FILE}"
