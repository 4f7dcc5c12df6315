"""What became of arrivals: a small record of every end, all of them found by one listing.

.inbox/ended/failed/ore-2/DIGEST.json       the files are in failed/ore-2, and were the arrival of this digest
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.inbox.arrivals import Stamp
from ps3d_core.inbox.description import FILE
from ps3d_core.inbox.journal import INCOMING, Journal
from ps3d_core.inbox.layout import Inbox
from ps3d_core.store.location import Location

_ENDING: Final = ".json"


class Record(BaseModel):
    """Key and reason that are kept of an arrival that came to its end."""

    model_config = ConfigDict(frozen=True)

    arrival: str
    """Its key in the inbox."""
    reason: str | None = None
    """Why it failed, or was held."""


@dataclass(frozen=True, slots=True)
class Ended:
    """End of an arrival, as the listing tells of it."""

    folder: str
    """Where the files went, relative to the prefix: done/NAME, held/NAME or failed/NAME."""
    digest: str
    """Of the arrival."""
    when: float
    """Seconds since 1970, by the clock of the store."""


def names_in(place: Location) -> list[str]:
    """Return the names of the folders in done/, held/ or failed/ with files in them, sorted."""
    return [name for name in place.children() if files_of(place / name)]


def files_of(folder: Location) -> list[str]:
    """Return the names of all files in a folder of done/, held/ or failed/, hidden ones included, sorted."""
    return sorted(folder.find(hidden=True))


def note_end(inbox: Inbox, journal: Journal) -> None:
    """Keep a record of an arrival that came to its end in done/, held/ or failed/, rather than back into the inbox."""
    verdict = journal.verdict
    if verdict is not None and verdict.folder is not None and verdict.folder.partition("/")[0] != INCOMING:
        record = Record(arrival=journal.arrival, reason=verdict.reason)
        _place(inbox, verdict.folder, journal.digest).write_json(record.model_dump(mode="json"))


def ends(inbox: Inbox) -> list[Ended]:
    """Return all ends that are known, the latest first."""
    found = []
    for name, info in inbox.ended.find().items():
        folder, _, file = name.rpartition("/")
        if file.endswith(_ENDING):
            found.append(Ended(folder, file.removesuffix(_ENDING), max(Stamp.of(info).times, default=0.0)))
    return sorted(found, key=lambda end: end.when, reverse=True)


def end_in(inbox: Inbox, folder: str) -> Ended | None:
    """Return the latest end in `folder`, relative to the prefix; None when none is known."""
    return next((end for end in ends(inbox) if end.folder == folder), None)


def record_of(inbox: Inbox, end: Ended) -> Record | None:
    """Return the record of an end; None when it is gone or cannot be read."""
    try:
        return Record.model_validate(_place(inbox, end.folder, end.digest).read_json())
    except (InputError, MissingDataError, ValidationError):
        return None


def key_of(inbox: Inbox, folder: str) -> str:
    """Return the key under which the files in `folder` were dropped; what is likely where nobody kept it."""
    end = end_in(inbox, folder)
    record = record_of(inbox, end) if end is not None else None
    if record is not None:
        return record.arrival
    names = files_of(inbox.prefix / folder)
    described = [file.removesuffix(".json") for file in names if file.endswith(".json") and "/" not in file]
    return described[0] if FILE not in names and described else f"{folder.partition('/')[2]}/"


def forget(inbox: Inbox, folder: str) -> None:
    """Remove the records of `folder`, whose files are taken elsewhere."""
    (inbox.ended / folder).remove_tree()


def _place(inbox: Inbox, folder: str, digest: str) -> Location:
    return inbox.ended / folder / f"{digest}{_ENDING}"
