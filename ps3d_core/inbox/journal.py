"""How far the scan of one name has come: written before each step, so that whoever comes next goes on from there.

The journal also says to which arrival a name belongs while it is worked on; it goes when all is done. Only the holder
of the label's lease touches it.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ps3d_core.errors import InputError
from ps3d_core.inbox.description import FILE
from ps3d_core.inbox.layout import Inbox
from ps3d_core.invalid import first_problem

INCOMING: Final = "inbox"
"""Where the files of an arrival lie, relative to the prefix."""


class Verdict(BaseModel):
    """Decision about an arrival, made before any file is moved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str | None
    """Where its files go, relative to the prefix; None to leave them."""
    reason: str | None = None
    """Why it failed, or is held."""

    @property
    def failed(self) -> bool:
        """Flag that is true when the scan could not be processed, so that nothing stays of the work on it."""
        return self.folder is not None and self.folder.startswith("failed/")


class Journal(BaseModel):
    """State of one arrival that was taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    label: str
    arrival: str
    """Its key in the inbox."""
    digest: str
    place: str = INCOMING
    """Where its files lie, relative to the prefix: in the inbox, or in held/NAME once a person has decided about it."""
    files: dict[str, str]
    """Mark (size and version) of every file that was there when it was taken, by name relative to the place."""
    attempts: int = 0
    """How often work on it was begun; those that ended for a passing reason do not count."""
    accepted: bool = False
    """The name was free, so what lies under it in dataset and results is this arrival's."""
    ingested: bool = False
    verdict: Verdict | None = Field(default=None, alias="ending")

    @property
    def description(self) -> str:
        """Name of the description among its files, where these have a folder of their own."""
        return FILE if self.arrival.endswith("/") else f"{self.arrival}.json"


def read_journal(inbox: Inbox, label: str) -> Journal | None:
    """Return the journal of a label, None when there is none. Raise `InputError` when the file is no journal."""
    place = inbox.journal(label)
    if not place.exists():
        return None
    try:
        return Journal.model_validate(place.read_json())
    except ValidationError as error:
        problem = first_problem(error).text
        raise InputError(f"{place}: not a journal ({problem}); remove it to take the scan again") from error


def write_journal(inbox: Inbox, journal: Journal) -> None:
    """Write the journal of a label, in the place of an earlier one."""
    inbox.journal(journal.label).write_json(journal.model_dump(mode="json", by_alias=True))
