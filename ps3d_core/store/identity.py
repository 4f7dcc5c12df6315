"""What makes two inputs the same input, without reading their voxels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location


def content_identity(location: Location) -> str:
    """Digest over the names, sizes and versions of all objects below `location`.

    The version of an object is its ETag on object stores and its modification time on a folder: an object written
    again counts as changed. Sidecar files that begin with a dot do not count.
    """
    objects = location.find()
    return fingerprint(sorted((name, info["size"], _version(info)) for name, info in objects.items()))


def _version(info: Mapping[str, Any]) -> str:
    for key in ("ETag", "etag", "mtime", "LastModified", "created"):
        if info.get(key) is not None:
            return str(info[key])
    return ""
