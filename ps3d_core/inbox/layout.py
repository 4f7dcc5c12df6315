"""Where everything lies below the prefix of an inbox."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from ps3d_core.errors import InputError
from ps3d_core.store.layout import Dataset, Result, checked_name, is_usable
from ps3d_core.store.location import Location

README = """\
A scan is taken from here when it is complete:

  FOLDER/   slices, one file of a scan or one NAME.zarr, and a file scan.json
  NAME.tif  or a file of another format, with all that is called like it, and NAME.json beside it;
            NAME.zarr/ with scan.json in it

{"name": "ore-7", "spacing": 0.0125, "particle_size": 0.3, "slices": 1000}

Lengths are in mm; "spacing" is three of them, [z, y, x], where voxels are no cubes. With "slices" a folder is taken as
soon as so many slices are there, without when nothing has changed for a while. Results appear in ../results, what was
processed in ../done, what could not be in ../failed with the reason in reason.txt, and in ../held what somebody has to
look at first.
"""
READABLE = 40


@dataclass(frozen=True, slots=True)
class Inbox:
    """An inbox and what becomes of the scans in it."""

    prefix: Location

    @property
    def incoming(self) -> Location:
        """Folder of what was dropped."""
        return self.prefix / "inbox"

    @property
    def dataset(self) -> Dataset:
        """Dataset of the scans that were taken."""
        return Dataset(self.prefix / "dataset")

    @property
    def results(self) -> Location:
        """Folder of labels, table and report of each scan."""
        return self.prefix / "results"

    def result(self, name: str) -> Result:
        """Return the result folder of one scan."""
        return Result(self.results, name)

    def model(self, name: str) -> Location:
        """Return the folder of a model that a scan may ask for by name."""
        return self.prefix / "models" / checked_name(name)

    @property
    def done(self) -> Location:
        """Folder of the sources of scans that were processed."""
        return self.prefix / "done"

    @property
    def failed(self) -> Location:
        """Folder of what could not be processed, each with its reason.txt."""
        return self.prefix / "failed"

    @property
    def held(self) -> Location:
        """Folder of the sources of scans whose results a person has to look at first, each with its reason.txt."""
        return self.prefix / "held"

    @property
    def clock(self) -> Location:
        """File that is written to learn what time the store has."""
        return self.prefix / ".inbox" / "clock"

    @property
    def ended(self) -> Location:
        """Folder of the records of scans that were processed, are held or failed, see `history`."""
        return self.prefix / ".inbox" / "ended"

    @property
    def told(self) -> Location:
        """Folder of empty files that stand for what was said already, for what is said once."""
        return self.prefix / ".inbox" / "told"

    def lease(self, label: str) -> Location:
        """Return the folder that says who works on the scan of this label at present."""
        return self.prefix / ".inbox" / "leases" / checked_name(label)

    @property
    def journals(self) -> Location:
        """Folder of the journals of scans that are being worked on: one file per label, which goes at the end."""
        return self.prefix / ".inbox" / "journals"

    def journal(self, label: str) -> Location:
        """Return the file of the journal of one label."""
        return self.journals / f"{checked_name(label)}.json"


def label_for(text: str) -> str:
    """Return a folder name for what is called `text`: the text itself where it can be one.

    Else it is the readable part of the text with a digest of the whole.
    """
    if is_usable(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    return "-".join(part for part in (re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:READABLE], digest) if part)


def require_usable_prefix(inbox: Inbox) -> None:
    """Raise `InputError` when a file lies where the inbox should be."""
    path = inbox.incoming.local_path
    if path is not None and path.exists() and not path.is_dir():
        raise InputError(f"{inbox.incoming}: a file; must be a folder that scans are dropped into; give another prefix")
