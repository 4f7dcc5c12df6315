"""Which results are compared: folders of single results, and folders of many, as a person names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from ps3d_core.errors import CorruptDataError, InputError
from ps3d_core.record import RunRecord, read_record
from ps3d_core.sample_data import date_of
from ps3d_core.store.kinds import not_usable, unfinished
from ps3d_core.store.layout import RUN
from ps3d_core.store.location import Location

TABLE: Final = "particles.parquet"
MOST: Final = 500
"""Results that are compared at once."""
_DEEPEST: Final = 12
"""Names of folders that tell results of one name apart, at most."""
UNUSABLE: Final = (InputError, CorruptDataError)
"""What is wrong with a result that cannot be compared, whatever is tried."""


@dataclass(frozen=True, slots=True)
class FoundResult:
    """A particle table, and the record of the run that made it, where ps3d segment did.

    Attributes:
        folder: of the table.
        record: of the run; None where there is none, or where it cannot be read, which `problem` then says.
        title: what it is called beside the others; `name` where that is of one alone.
        named: whether a person named it, and not only the folder of many in which it was found.
        problem: why it cannot be compared; None as far as is known.

    """

    folder: Location
    record: RunRecord | None
    title: str = ""
    named: bool = True
    problem: str | None = None

    @property
    def name(self) -> str:
        """Name of the scan, or else of the folder."""
        return self.folder.name if self.record is None else self.record.scan

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
    too many, and where the record of one that was named cannot be read.
    """
    given = [(folder, named) for place in places for folder, named in _folders(place)]
    folders = list(dict.fromkeys(folder for folder, _ in given))
    if len(folders) > MOST:
        raise InputError(f"{len(folders)} results: must be at most {MOST}; name fewer, or compare in parts")
    found = [_found(folder, named=(folder, True) in given) for folder in folders]
    if since is not None:
        after = since if since.tzinfo else since.replace(tzinfo=UTC)
        found = [each for each in found if each.problem or (each.date is not None and each.date >= after)]
        if all(each.problem for each in found):
            raise InputError(f"no result of {after.date()} or later among {len(folders)}; give an earlier date")
    order = sorted(found, key=lambda each: (each.date or datetime.min.replace(tzinfo=UTC), each.folder.url))
    return _told_apart(order)


def _found(folder: Location, *, named: bool) -> FoundResult:
    try:
        if (problem := unfinished(folder)) is not None:
            raise problem
        return FoundResult(folder, read_record(folder / RUN), named=named)
    except UNUSABLE as error:
        if named:
            raise
        return FoundResult(folder, None, named=False, problem=str(error))


def _told_apart(found: list[FoundResult]) -> list[FoundResult]:
    """The results with titles, which are names, and of equal names those with as much of their places as it takes."""
    titles = [each.name for each in found]
    for name in {title for title in titles if titles.count(title) > 1}:
        alike = [k for k, each in enumerate(found) if each.name == name]
        for depth in range(1, _DEEPEST + 1):
            tails = [_tail(found[k].folder, depth) for k in alike]
            if len(set(tails)) == len(tails):
                break
        for k, tail in zip(alike, tails, strict=True):
            titles[k] = f"{name} ({tail})"
    return [replace(each, title=title) for each, title in zip(found, titles, strict=True)]


def _tail(folder: Location, depth: int) -> str:
    names: list[str] = []
    while folder.name and len(names) < depth:
        names.append(folder.name)
        folder = folder.parent
    return "/".join(reversed(names))


def _folders(place: Location) -> list[tuple[Location, bool]]:
    """Folders of results, and whether each was named itself."""
    if (place / TABLE).exists():
        return [(place, True)]
    if place.is_file():
        raise InputError(f"{place}: a file; give folders of results, like {place.parent}")
    if (problem := unfinished(place)) is not None:
        raise problem
    below = [place / name for name in place.children() if not name.startswith(".")]
    found = [(folder, False) for folder in below if (folder / TABLE).exists()]
    if not found and (problem := not_usable(place, "table")) is not None:
        raise problem
    if not found:
        raise InputError(f"{place}: no {TABLE} in it, nor in its folders; give results of ps3d segment or ps3d measure")
    return found
