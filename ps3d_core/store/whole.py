"""What lies on a store now, to be compared with what was written there.

Object stores that list the MD5 of what they hold are asked for it; elsewhere contents are read, a few at a time.
Names that begin with a dot do not count.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from ps3d_core.errors import MissingDataError
from ps3d_core.store.digest import Digest, ObjectDigest
from ps3d_core.store.location import Location

READS_AT_ONCE: Final = 8

_MD5: Final = re.compile(r'"?([0-9a-f]{32})"?')
_CHUNK: Final = re.compile(r"(.+)/c(?:/\d+)+")
_NOTHING: Final = Digest.of_objects({})


def digest_of(place: Location, without: Collection[str] = ()) -> Digest:
    """Return the digest of the file or folder at `place`, but for the names `without`.

    It is the digest of no objects when nothing is there.
    """
    found = {
        name: info
        for name, info in place.find().items()
        if name not in without and not any(part.startswith(".") for part in name.split("/"))
    }

    def of_one(name: str) -> ObjectDigest:
        return _listed(found[name]) or _read(place / name if name else place)

    with ThreadPoolExecutor(READS_AT_ONCE, "digest") as pool:
        return Digest.of_objects(dict(zip(found, pool.map(of_one, found), strict=True)))


def still_as_written(written: Mapping[Location, Digest]) -> set[Location]:
    """Return the files that are still as they were `written`, with the digests given."""
    whole = {file for file, digest in _listed_files(written).items() if digest == written[file]}
    # Some stores list what looks like an MD5 and is none, so only the content proves that a file has changed.
    rest = [file for file in written if file not in whole]
    with ThreadPoolExecutor(READS_AT_ONCE, "digest") as pool:
        digests = pool.map(_digest_of_file, rest)
        return whole | {file for file, digest in zip(rest, digests, strict=True) if digest == written[file]}


def _listed_files(files: Iterable[Location]) -> dict[Location, Digest]:
    """Digests of those files that a listing tells; of object stores, one listing for each folder or array."""
    by_folder: dict[Location, list[Location]] = {}
    for file in files:
        if file.local_path is None:
            chunk = _CHUNK.fullmatch(file.url)
            by_folder.setdefault(Location(chunk[1]) if chunk else file.parent, []).append(file)
    digests = {}
    for folder, members in by_folder.items():
        listing = folder.find()
        for file in members:
            info = listing.get(file.url.removeprefix(f"{folder.url}/"))
            if info is not None and (listed := _listed(info)) is not None:
                digests[file] = Digest.of_object(*listed)
    return digests


def _digest_of_file(file: Location) -> Digest:
    try:
        return Digest.of_object(*_read(file))
    except (MissingDataError, IsADirectoryError, NotADirectoryError):
        return _NOTHING


def _listed(info: Mapping[str, Any]) -> ObjectDigest | None:
    """Return the digest that the listing of an object store says, where its ETag is the MD5 of the content."""
    match = _MD5.fullmatch(str(info.get("ETag", "")))
    return ObjectDigest(int(info["size"]), match[1]) if match else None


def _read(file: Location) -> ObjectDigest:
    path = file.local_path
    try:
        file.require_plain()
        opened: Any = file.open_reading() if path is None else path.open("rb")
        with opened as stream:
            md5 = hashlib.file_digest(stream, _new_md5).hexdigest()
            return ObjectDigest(stream.seek(0, os.SEEK_END), md5)
    except FileNotFoundError as error:
        raise MissingDataError(f"{file}: gone while it was read; give the same command again") from error


def _new_md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
