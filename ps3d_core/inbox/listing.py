"""Which scans are complete: a look at the inbox costs one listing, and a few requests more only where something waits.

Something that is wrong, like a description that cannot be read, may be half written. So it is judged when nothing has
changed for the settle time, and waits until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.inbox.arrivals import README_FILE, Arrival, arrivals_in
from ps3d_core.inbox.description import MAX_BYTES, ScanDescription, read_description, read_name
from ps3d_core.inbox.layout import README, Inbox, label_for
from ps3d_core.params import InboxParams
from ps3d_core.scan.slice_names import chosen_by

Descriptions = dict[str, tuple[str, bytes]]
"""Content of descriptions, with the mark of the file that it was read from."""
STILL_SECONDS = 5.0
"""Where files grow while they are written, a folder with all its slices must have been left alone for so long."""


@dataclass(frozen=True, slots=True)
class ListedScan:
    """Arrival as a look found it."""

    arrival: Arrival
    label: str
    """What it is called: its scan's name, or the name that it was dropped under where there is none."""
    description: ScanDescription | None = None
    problem: str | None = None
    """Why it cannot be a scan."""
    waits_for: str | None = None
    """None when it is complete, or complete enough to be judged."""


class InboxListing:
    """One look at the inbox."""

    def __init__(self, inbox: Inbox, params: InboxParams, known: Descriptions | None = None) -> None:
        """List the inbox. With `known`, from the look before, only descriptions that are new are read."""
        self._inbox, self._params = inbox, params
        self._clock: float | None = None
        self._before = known or {}
        self.descriptions: Descriptions = {}
        self.files: Mapping[str, Mapping[str, Any]] = inbox.incoming.find(hidden=True)
        self.arrivals = arrivals_in(self.files)
        if not self.files:
            # It tells people what to drop, and keeps the folder there on stores that know none without a file.
            (inbox.incoming / README_FILE).write_text(README)

    def scans(self) -> list[ListedScan]:
        """Return all arrivals as they were found, in order of arrival."""
        return [self.examine(arrival) for arrival in self.arrivals]

    def find(self, key: str) -> Arrival | None:
        """Return the arrival of this key, None when there is none."""
        return next((arrival for arrival in self.arrivals if arrival.key == key), None)

    def examine(self, arrival: Arrival) -> ListedScan:
        """Return the arrival as it was found: whether it is complete, and what is wrong with it."""
        label = label_for(arrival.name)
        if (problem := _wrong_with_files(arrival)) is not None:
            return self._judged(ListedScan(arrival, label, problem=problem))
        if (missing := _missing(arrival)) is not None:
            return ListedScan(arrival, label, waits_for=missing)
        try:
            content = self._content(arrival)
        except (MissingDataError, PermissionError):
            return ListedScan(arrival, label, waits_for=f"{arrival.description} to be readable")
        label = read_name(content) or label
        try:
            described = ListedScan(arrival, label, read_description(content, arrival.description.rpartition("/")[2]))
        except InputError as error:
            return self._judged(ListedScan(arrival, label, problem=str(error)))
        return self._complete(described)

    def _complete(self, seen: ListedScan) -> ListedScan:
        assert seen.description is not None  # noqa: S101
        there, wanted = _slices_of(seen.arrival, seen.description.source.series), seen.description.slices
        if wanted is None or not seen.arrival.is_folder or not there:
            return self._when_quiet(seen, self._params.settle_seconds)
        if there < wanted:
            return ListedScan(
                seen.arrival, seen.label, seen.description, waits_for=f"{wanted - there} of {wanted} slices"
            )
        if there > wanted:
            problem = f"{there} slices, but scan.json says {wanted}; remove those of another scan, or correct scan.json"
            return self._judged(ListedScan(seen.arrival, seen.label, problem=problem))
        grows = self._inbox.prefix.local_path is not None
        return self._when_quiet(seen, min(STILL_SECONDS, self._params.settle_seconds) if grows else 0.0)

    def _content(self, arrival: Arrival) -> bytes:
        stamp = arrival.files[arrival.description]
        file = self._inbox.incoming / arrival.description
        mark, content = self._before.get(arrival.description, ("", b""))
        if mark != stamp.mark:
            # S3 has no first bytes of an empty file.
            content = file.read_start(MAX_BYTES + 1) if stamp.size else b""
        self.descriptions[arrival.description] = (stamp.mark, content)
        return content

    def _judged(self, seen: ListedScan) -> ListedScan:
        return self._when_quiet(seen, self._params.settle_seconds)

    def _when_quiet(self, seen: ListedScan, seconds: float) -> ListedScan:
        if seconds <= 0 or self._now() - seen.arrival.changed(self._now()) >= seconds:
            return seen
        waits_for = f"{seconds:g} s without a change"
        return ListedScan(seen.arrival, seen.label, seen.description, seen.problem, waits_for)

    def _now(self) -> float:
        """Time of the store, by whose clock the files are dated too."""
        if self._clock is None:
            self._inbox.clock.write_bytes(b"")
            self._clock = self._inbox.clock.changed()
        return self._clock


def _slices_of(arrival: Arrival, series: str | None) -> int:
    """Number of slices that are there, of one series where its names tell; 0 where they do not."""
    slices = [name.rpartition("/")[2] for name in arrival.slices]
    return len(slices if series is None else chosen_by(series, slices))


def _missing(arrival: Arrival) -> str | None:
    if arrival.description not in arrival.files:
        return arrival.description
    if not arrival.sources:
        if not arrival.is_folder:
            return "an image of this name"
        endings = sorted({PurePosixPath(name).suffix.lower() for name in arrival.files} - {"", ".json"})
        return f"slices ({endings[0]} files are none)" if endings else "slices"
    return None


def _wrong_with_files(arrival: Arrival) -> str | None:
    odd = sorted(name for name, stamp in arrival.files.items() if not stamp.is_plain)
    if odd:
        return f"{odd[0]!r}: a link, or no plain file; drop the files themselves"
    if len(arrival.sources) > 1:
        names = " and ".join(sorted(source.rpartition("/")[2] for source in arrival.sources)[:2])
        return f"{names} with one description; must be one image; give each its own folder"
    if arrival.description in arrival.files and arrival.files[arrival.description].size > MAX_BYTES:
        size = arrival.files[arrival.description].size
        return (
            f"{arrival.description.rpartition('/')[2]}: {size} bytes; must be at most {MAX_BYTES}; write fewer fields"
        )
    return None
