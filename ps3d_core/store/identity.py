"""What makes two inputs the same input, without reading their voxels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ps3d_core.errors import InputError
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location


def content_identity(location: Location) -> str:
    """Return a digest over the names, sizes and versions of all objects below `location`.

    The version of an object is its ETag on object stores and its modification time on a folder: an object written
    again counts as changed. Sidecar files that begin with a dot do not count.
    """
    objects = location.find()
    return fingerprint(sorted((name, info["size"], _version(info)) for name, info in objects.items()))


def identities(inputs: Iterable[Location]) -> dict[Location, str]:
    """Return the present `content_identity` of each of the `inputs`, for `require_unchanged`.

    Inputs on web servers, which list nothing, are left out.
    """
    return {place: content_identity(place) for place in inputs if place.scheme not in ("http", "https")}


def require_unchanged(before: Mapping[Location, str]) -> None:
    """Raise `InputError` when an input is no longer what it was: what was made of it would be of two versions."""
    for place, identity in before.items():
        if content_identity(place) != identity:
            raise InputError(f"{place}: was changed while it was read; give the same command again")


def _version(info: Mapping[str, Any]) -> str:
    for key in ("ETag", "etag", "mtime", "LastModified", "created"):
        if info.get(key) is not None:
            return str(info[key])
    return ""
