"""A model's files in a local folder, wherever they come from: a folder or an archive, here or behind a URL."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from ps3d_core.errors import InputError, MissingDataError, StoreError
from ps3d_core.network.nnunet.archive import MAX_BYTES, MAX_MEMBER_BYTES, MAX_MEMBERS, is_archive, unpack
from ps3d_core.network.nnunet.folder import is_needed
from ps3d_core.store.location import Location

_PIECE: Final = 2**20
_WEB: Final = ("http", "https")
_MISSING: Final = (FileNotFoundError, MissingDataError)


@contextmanager
def local_folder(source: str, sha256: str | None = None) -> Iterator[Path]:
    """Hold a folder with the model's files while the body runs; it is temporary unless `source` is a local folder.

    Args:
        source: a folder, a zip or tar, or the URL of either on any store (folders not over http).
        sha256: what the archive's checksum has to be, in hexadecimal; for archives only.

    Raises:
        InputError: for a source that is not there, is neither, or does not have the checksum.
        StoreError: when a server does not deliver.

    """
    location = Location.parse(source)
    path = location.local_path
    if path is not None and not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    is_folder = path.is_dir() if path is not None else _is_remote_folder(location)
    if is_folder and sha256:
        raise InputError(f"SHA-256 {sha256}: {source} is a folder, and only an archive has a checksum; leave it out")
    if is_folder and path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="ps3d-model-") as temporary:
        files = Path(temporary) / "files"
        files.mkdir()
        if is_folder:
            _copy_folder(location, files)
        else:
            file = path or _fetched(location, Path(temporary) / (location.name.partition("?")[0][:100] or "archive"))
            _check_sum(file, sha256)
            if not is_archive(file):
                raise InputError(f"{source}: neither a folder nor a zip or tar archive; give the model's folder")
            unpack(file, files, is_needed)
        yield files


def _is_remote_folder(location: Location) -> bool:
    if location.scheme in _WEB:
        return False  # a web server has no folders that could be listed reliably
    with _deliveries(location):
        return location.is_dir()


def _copy_folder(location: Location, target: Path) -> None:
    with _deliveries(location):
        found = location.find()
    if len(found) > MAX_MEMBERS:
        raise InputError(f"{location}: {len(found)} files in it, at most {MAX_MEMBERS}; give the model's own folder")
    for name in filter(lambda name: is_needed(PurePosixPath(name)), found):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"{location}: the name {name} leads outside of the folder; rename it")
        copy = target.joinpath(*path.parts)
        copy.parent.mkdir(parents=True, exist_ok=True)
        _fetched(location / name, copy, MAX_MEMBER_BYTES)


def _fetched(location: Location, target: Path, limit: int = MAX_BYTES) -> Path:
    left = limit
    with _deliveries(location), location.open_streaming() as remote, target.open("wb") as file:
        while piece := remote.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise InputError(f"{location}: larger than {limit} bytes; give the model's folder itself")
            file.write(piece)
    return target


def _check_sum(file: Path, expected: str | None) -> None:
    if expected is None:
        return
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected.lower():
        raise InputError(f"{file.name}: its SHA-256 is {found}, not {expected}; get a valid copy")


@contextmanager
def _deliveries(location: Location) -> Iterator[None]:
    """Whatever a store's client raises becomes one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each client has a family of its own
        cause = _first_cause(error)
        if isinstance(error, _MISSING) and _means_missing(cause):
            raise InputError(f"{location}: no such file; check the address") from error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise StoreError(f"{location}: could not be fetched ({reason}); check the address or try again") from error


def _first_cause(error: BaseException) -> BaseException:
    return error if error.__cause__ is None else _first_cause(error.__cause__)


def _means_missing(cause: BaseException) -> bool:
    """fsspec calls everything a missing file, also a server that fails or does not answer, but says why it does."""
    unreachable = isinstance(cause, OSError) and not isinstance(cause, _MISSING)
    return not unreachable and getattr(cause, "status", 404) in (404, 410)
