"""Whether a Zarr that ps3d finished is still what it was: somebody may have corrected it by hand.

The digest of everything below it is kept among its own attributes, so it travels with the Zarr and outlives the run's
record. What was changed is set aside before something new takes its place.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from ps3d_core.store.aside import set_aside
from ps3d_core.store.lease import Say
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import MARK, remove_unfinished, zarr_attributes
from ps3d_core.store.whole import digest_of

_METADATA: Final = "zarr.json"
_CONTENT: Final = "content"


def note_content(place: Location) -> None:
    """Note that the Zarr group or array at `place` is finished as it is; remove what killed processes left in it."""
    remove_unfinished(place)
    _write(place, _content(place))


def forget_content(place: Location) -> None:
    """Note that the Zarr group or array at `place` is in the making again."""
    if _is_finished(place):
        _write(place, None)


def is_as_written(place: Location) -> bool:
    """Return whether the Zarr at `place` was finished, and is as it was then."""
    return _is_finished(place) and _about(place)[_CONTENT] == _content(place)


def keep_changed(place: Location, say: Say) -> None:
    """Set aside a finished Zarr that was changed since, and say so."""
    if _is_finished(place) and not is_as_written(place):
        say(f"{place}: not as it was written; kept as {set_aside(place)}, and made again")


def _is_finished(place: Location) -> bool:
    return _about(place).get(_CONTENT) is not None


def _content(place: Location) -> dict[str, Any]:
    return asdict(digest_of(place, without=(_METADATA,)))


def _about(place: Location) -> dict[str, Any]:
    about = zarr_attributes(place).get(MARK)
    return about if isinstance(about, dict) else {}


def _write(place: Location, content: dict[str, Any] | None) -> None:
    metadata = (place / _METADATA).read_json()
    about = {key: value for key, value in _about(place).items() if key != _CONTENT}
    if content is not None:
        about[_CONTENT] = content
    metadata["attributes"][MARK] = about
    (place / _METADATA).write_json(metadata)
