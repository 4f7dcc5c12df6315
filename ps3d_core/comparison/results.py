"""Which results are compared: folders of single results, and folders of many, as a person names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ps3d_core.errors import InputError
from ps3d_core.record import RunRecord, read_record
from ps3d_core.sample_data import date_of
from ps3d_core.store.layout import RUN
from ps3d_core.store.location import Location

TABLE: Final = "particles.parquet"
MOST: Final = 500
"""Results that are compared at once."""


@dataclass(frozen=True, slots=True)
class FoundResult:
    """A particle table, and the record of the run that made it, where ps3d segment did."""

    folder: Location
    record: RunRecord | None

    @property
    def table(self) -> Location:
        """The particle table."""
        return self.folder / TABLE

    @property
    def date(self) -> datetime | None:
        """Date of the sample, or else when the scan was segmented; UTC where no zone is said. None for bare tables."""
        if self.record is None:
            return None
        date = date_of(self.record.sample) or datetime.fromisoformat(self.record.finished)
        return date if date.tzinfo else date.replace(tzinfo=UTC)


def found_results(places: Sequence[Location], since: datetime | None = None) -> list[FoundResult]:
    """Return the results at `places` and in folders of results, from `since` on, the earliest first.

    What has no date comes first; with `since` it is left out. Raise `InputError` where there are none, where there are
    too many, and where a record cannot be read.
    """
    folders = list(dict.fromkeys(folder for place in places for folder in _folders(place)))
    if len(folders) > MOST:
        raise InputError(f"{len(folders)} results: must be at most {MOST}; name fewer, or compare in parts")
    found = [FoundResult(folder, read_record(folder / RUN)) for folder in folders]
    if since is not None:
        after = since if since.tzinfo else since.replace(tzinfo=UTC)
        found = [each for each in found if each.date is not None and each.date >= after]
        if not found:
            raise InputError(f"no result of {after.date()} or later among {len(folders)}; give an earlier date")
    return sorted(found, key=lambda each: (each.date or datetime.min.replace(tzinfo=UTC), each.folder.url))


def _folders(place: Location) -> list[Location]:
    if (place / TABLE).exists():
        return [place]
    if not place.exists():
        raise InputError(f"{place}: nothing there; give folders of results")
    below = [place / name for name in place.children() if not name.startswith(".")]
    found = [folder for folder in below if (folder / TABLE).exists()]
    if not found:
        raise InputError(f"{place}: no {TABLE} in it, nor in its folders; give results of ps3d segment or ps3d measure")
    return found
