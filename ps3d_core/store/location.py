"""A place on any fsspec store: a folder, s3://bucket/prefix or memory://.

`Location` is a value (one URL): it pickles, compares and travels to worker processes; connections are made where it
is used. Folders are written through a temporary file and a rename, object stores replace objects whole, so a
reader never sees half a file.
"""

from __future__ import annotations

import errno
import io
import json
import os
import posixpath
import re
import shutil
import stat
import threading
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import fsspec
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

from ps3d_core.errors import AccessDeniedError, CorruptDataError, InputError, MissingDataError, NoSpaceError
from ps3d_core.store.written import note_write

if TYPE_CHECKING:
    import numpy.typing as npt
    from zarr.abc.store import Store

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNREADABLE = (ValueError, LookupError, EOFError, OSError, NotImplementedError, zlib.error, zipfile.BadZipFile)
_PARSING: Final = threading.Lock()
"""Held while NumPy parses headers of arrays as Python: before 3.11.8 and 3.12.2, two threads that do so at once can
fail with a `SystemError` (https://github.com/python/cpython/issues/106905)."""
_PATTERN = re.compile(r"[*?\[]")
_SPECIAL = (
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)
_SAME_STORE: Final = {"s3a": "s3", "local": "file", "gcs": "gs", "az": "abfs"}
"""Other names that fsspec has for a store."""
_OBJECTS: Final = ("s3", "gs", "abfs")
_WEB: Final = ("http", "https")
ZARR_METADATA: Final = (".zarray", ".zattrs", ".zgroup", "zarr.json")
"""Files by which the folder of a Zarr is known where nothing is listed, sorted."""
_STORES: Final = ("file", "memory", *_OBJECTS, *_WEB)
"""What keeps files under URLs that say all there is to say: no archives, wrappers, nor hosts that want a login."""
_FILE_URL: Final = re.compile(r"(file|local):(//(localhost)?(?=/)|(?=/[^/]))", re.IGNORECASE)
"""What stands before the absolute path in all ways that a `file` URL is written."""


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """One folder or file on a store, named by an absolute URL. Make it with `Location.parse`."""

    url: str

    @classmethod
    def parse(cls, text: str | os.PathLike[str] | Location) -> Location:
        """Return the location of a URL, a path (made absolute) or a `Location`. Raise `InputError` for anything else.

        One place has one URL: `.` and `..` are resolved here, and nowhere else, as the store would resolve them.
        """
        if isinstance(text, Location):
            return text
        raw = os.fspath(text)
        if "\0" in raw:
            raise InputError(f"{raw!r}: has a NUL in it, which no name may have; give another")
        scheme, separator, path = _FILE_URL.sub("", raw, count=1).partition("://")
        if not separator:
            return cls(_absolute(scheme, raw))
        scheme = _SAME_STORE.get(scheme.lower(), scheme.lower())
        if scheme == "file":
            return cls(_absolute(path, raw))
        if scheme not in _STORES:
            raise InputError(
                f"{scheme}://: this store is not supported; give a folder, s3://bucket/prefix or memory://name"
            )
        if scheme in _WEB:
            return cls(f"{scheme}://{_with_host(path, raw)}")
        return cls(f"{scheme}://{_without_dots(path, raw, has_buckets=scheme in _OBJECTS)}")

    def __truediv__(self, name: str) -> Location:
        return Location(f"{self.url.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """Last part of the path."""
        return posixpath.basename(self.url.partition("?")[0] if self.scheme in _WEB else self.url)

    @property
    def is_listed(self) -> bool:
        """Whether the store says what lies in a folder; web servers do not."""
        return self.scheme not in _WEB

    @property
    def parent(self) -> Location:
        """Folder that the file or folder lies in."""
        return Location(posixpath.dirname(self.url))

    def seen_from(self, folder: Location) -> str:
        """Return the path from a `folder` of the same store to here, with ".." for each step up.

        It stays the same when both are moved together.
        """
        return posixpath.relpath(self.url, folder.url)

    @property
    def local_path(self) -> Path | None:
        """Path on the local file system; None for a place on any other store."""
        return None if "://" in self.url else Path(self.url)

    def exists(self) -> bool:
        """Return whether there is a file, a local folder, or a prefix with a file below it.

        On web servers, which list nothing, a folder is one with metadata of a Zarr.
        """
        if (path := self.local_path) is not None:
            return path.exists()
        if not self.is_listed:
            return self.is_dir() or self.is_file()
        return self.is_file() or self._holds_a_file(self._path)

    def is_file(self) -> bool:
        """Return whether there is a file; on an object store in a single request, of which `exists` needs two."""
        if (path := self.local_path) is not None:
            return path.is_file()
        return bool(self._fs.isfile(self._path))

    def is_dir(self) -> bool:
        """Return whether there is a folder, or a prefix under which something lies."""
        if (path := self.local_path) is not None:
            return path.is_dir()
        if not self.is_listed:
            return bool(self.children())
        return self._holds_a_file(self._path)

    def children(self) -> list[str]:
        """Return the names directly below this folder, sorted; empty when it does not exist.

        On web servers, which list nothing, these are the files of a Zarr's metadata that are there.
        """
        if not self.is_listed:
            return [] if "?" in self.url else [name for name in ZARR_METADATA if (self / name)._can_be_read()]
        try:
            entries = self._fs.ls(self._path, detail=False, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        # An object store may list a folder as its own member.
        members = {str(entry).rstrip("/") for entry in entries} - {self._path.rstrip("/")}
        return sorted({posixpath.basename(member) for member in members} - {""})

    def find(self, *, hidden: bool = False) -> dict[str, dict[str, Any]]:
        """Return all files below this folder by relative name, with what the store says of each (size, ETag, mtime).

        Files whose own name begins with a dot are left out unless `hidden`.
        """
        root = self._path.rstrip("/")
        found = self._found()
        names = {str(path).removeprefix(root).lstrip("/"): dict(info) for path, info in found.items()}
        return {
            name: info
            for name, info in names.items()
            # Object stores may list an emptied folder, or one that a client made, as if it were a file.
            if info.get("type") != "directory" and (hidden or not posixpath.basename(name).startswith("."))
        }

    def _found(self) -> dict[str, dict[str, Any]]:
        while True:
            try:
                return cast(dict[str, dict[str, Any]], self._fs.find(self._path, detail=True, refresh=True))
            except RuntimeError:
                # The memory store is a dictionary, which other threads may change while it is listed.
                if self.scheme != "memory":
                    raise

    def changed(self) -> float:
        """Return when the file was last written, in seconds since 1970 by the clock of the store."""
        modified: datetime = self._fs.modified(self._path)
        return modified.timestamp()

    def require_plain(self) -> None:
        """Raise `InputError` when a pipe, a socket or a device is there, whose reading may never end or never begin.

        Raises the `OSError` of the system when nothing is there.
        """
        path = self.local_path
        if path is None:
            return
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            kind = next((name for is_one, name in _SPECIAL if is_one(mode)), "special file")
            raise InputError(f"{self}: a {kind}, not a file with content of its own; copy the content to a plain file")

    def read_bytes(self) -> bytes:
        """Return the content of the file. Raise `MissingDataError` when it is not there."""
        try:
            self.require_plain()
            return bytes(self._fs.cat_file(self._path))
        except FileNotFoundError as error:
            raise MissingDataError(f"{self}: no such file; check the path or run the step that makes it") from error

    def read_start(self, count: int) -> bytes:
        """Return the first `count` bytes of the file, or all of them. Raise `MissingDataError` when it is not there."""
        try:
            self.require_plain()
            return bytes(self._fs.cat_file(self._path, start=0, end=count))
        except FileNotFoundError as error:
            raise MissingDataError(f"{self}: no such file; check the path or run the step that makes it") from error

    def write_bytes(self, data: bytes) -> None:
        """Replace the file with `data`, whole or not at all."""
        if (path := self.local_path) is None:
            self._fs.pipe_file(self._path, data)
        else:
            with writing_to(self), _replacing(path) as temporary:
                temporary.write_bytes(data)
        note_write(self.url, data)

    def create_json(self, value: Any) -> bool:
        """Write `value` as JSON if there is no such file; of several that try at once, one gets True."""
        data = as_json(value).encode("utf-8")
        if (path := self.local_path) is not None:
            return _create(path, data)
        try:
            self._fs.pipe_file(self._path, data, mode="create")
        except OSError as error:
            if isinstance(error, FileExistsError) or _says_it_exists(error):
                return False
            raise
        return True

    def open_reading(self) -> BinaryIO:
        """Return a seekable stream over the file, for formats that read parts of it. The caller closes it.

        Raise `MissingDataError` when the file is not there.
        """
        return self._open_reading()

    def open_writing(self) -> BinaryIO:
        """Return a stream to write a new file from front to back. The caller closes it."""
        if (path := self.local_path) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        return cast(BinaryIO, self._fs.open(self._path, "wb"))

    def open_streaming(self) -> BinaryIO:
        """Return a stream to read the file once from front to back. The caller closes it.

        Works also with web servers that cannot send parts. Raise `MissingDataError` when the file is not there.
        """
        return self._open_reading(**({"block_size": 0} if self.scheme in _WEB else {}))

    def upload(self, source: Path) -> None:
        """Replace the file with a copy of the local file `source`, whole or not at all, in little memory."""
        if (path := self.local_path) is None:
            self._fs.put_file(str(source), self._path)
            return
        with writing_to(self), _replacing(path) as temporary:
            shutil.copyfile(source, temporary)

    def read_text(self) -> str:
        """Return the content of the file as UTF-8 text."""
        return self.read_bytes().decode("utf-8")

    def write_text(self, text: str) -> None:
        """Replace the file with UTF-8 text."""
        self.write_bytes(text.encode("utf-8"))

    def read_json(self) -> Any:
        """Return the content of the file as JSON; raise `InputError` when it is not JSON."""
        text = self.read_bytes()
        try:
            return from_json(text)
        except InputError as error:
            raise error.about(str(self)) from None
        except RecursionError as error:
            raise InputError(f"{self}: not valid JSON (nested too deep); mend or remove the file") from error
        except ValueError as error:
            raise InputError(f"{self}: not valid JSON ({error}); mend or remove the file") from error

    def write_json(self, value: Any) -> None:
        """Replace the file with `value` as JSON."""
        self.write_text(as_json(value))

    def read_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the named arrays that `write_arrays` wrote. Never unpickles.

        Raise `CorruptDataError` when the file cannot be read as arrays.
        """
        import numpy as np

        data = self.read_bytes()
        try:
            with _PARSING, np.load(io.BytesIO(data), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except _UNREADABLE as error:
            raise CorruptDataError(f"{self}: not a readable array file ({error}); remove it and run again") from error

    def write_arrays(self, **arrays: npt.NDArray[Any]) -> None:
        """Replace the file with named arrays (npz)."""
        import numpy as np

        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        self.write_bytes(buffer.getvalue())

    def remove_tree(self) -> None:
        """Delete the file or folder and everything below it; absence is fine."""
        if (path := self.local_path) is not None:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            return
        if _PATTERN.search(self._path):
            # fsspec would take the path for a pattern and delete whatever matches.
            self.remove_files(list(self.find(hidden=True)))
            return
        try:
            self._fs.rm(self._path, recursive=True)
        except FileNotFoundError:
            return

    def copy_files(self, names: Mapping[str, str], target: Location) -> None:
        """Copy files of this folder to `target`, inside the store: {relative name here: relative name there}."""
        here, there = self._path.rstrip("/"), target._path.rstrip("/")
        if names:
            self._fs.copy([f"{here}/{name}" for name in names], [f"{there}/{name}" for name in names.values()])

    def remove_files(self, names: Iterable[str]) -> None:
        """Delete these files of this folder; absence is fine."""
        paths = [f"{self._path.rstrip('/')}/{name}" for name in names]
        plain = [path for path in paths if not _PATTERN.search(path)]
        with suppress(FileNotFoundError):
            if plain:
                self._fs.rm(plain)
        for path in set(paths) - set(plain):
            with suppress(FileNotFoundError):
                self._fs.rm_file(path)

    def rename(self, target: Location) -> None:
        """Move the file or folder to `target`, which must not exist: one step on a folder, copies on object stores."""
        source_path, target_path = self.local_path, target.local_path
        if source_path is not None and target_path is not None:
            target_path.parent.mkdir(parents=True, exist_ok=True)
            source_path.rename(target_path)
            return
        # Object by object: fsspec's own move also tries to copy prefixes, which are no objects.
        names = self.find(hidden=True)
        if list(names) == [""]:  # a single object
            self._fs.copy(self._path, target._path)
        else:
            self.copy_files({name: name for name in names}, target)
        self.remove_tree()

    def zarr_store(self, *, read_only: bool = False) -> Store:
        """Return a Zarr store rooted here; one that may write notes what it writes."""
        from zarr.storage import FsspecStore, LocalStore  # takes a while to import, and most commands open no array

        from ps3d_core.store.noting import NotingStore

        store: Store
        if (path := self.local_path) is not None:
            store = LocalStore(path, read_only=read_only)
        else:
            kind = FsspecStore if self.is_listed else _web_store()
            store = kind(_connected(self.scheme, asynchronous=True), path=self._path, read_only=read_only)
        return store if read_only else NotingStore(store, self.url)

    def _open_reading(self, **options: Any) -> BinaryIO:
        try:
            self.require_plain()
            return cast(BinaryIO, self._fs.open(self._path, "rb", **options))
        except FileNotFoundError as error:
            raise MissingDataError(f"{self}: no such file; check the path or run the step that makes it") from error

    def _can_be_read(self) -> bool:
        try:
            return self.is_file()
        except AccessDeniedError:  # as some servers answer for what is not there
            return False

    def _holds_a_file(self, prefix: str) -> bool:
        # Some S3 servers go on listing prefixes whose objects were deleted.
        try:
            entries = self._fs.ls(prefix, detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return False
        below = [entry["name"] for entry in entries if entry["type"] == "directory"]
        is_file = any(entry["type"] == "file" and entry["name"].rstrip("/") != prefix for entry in entries)
        return is_file or any(self._holds_a_file(name) for name in below)

    @property
    def scheme(self) -> str:
        """fsspec protocol: "file", "s3", "memory"."""
        return self.url.partition("://")[0] if "://" in self.url else "file"

    @property
    def _fs(self) -> fsspec.AbstractFileSystem:
        return _connected(self.scheme, asynchronous=False)

    @property
    def _path(self) -> str:
        return str(self._fs._strip_protocol(self.url))


def _absolute(path: str, raw: str) -> str:
    """The absolute path. What stands before a `..` is followed through links, as the system does."""
    if not path:
        raise InputError(f"{raw!r}: names no place; give a folder, s3://bucket/prefix or memory://name")
    try:
        parts = Path(path).expanduser().absolute().parts
    except RuntimeError as error:
        raise InputError(f"{raw}: no such user on this machine; give the whole path") from error
    except FileNotFoundError as error:
        raise InputError(f"{raw}: the current folder was removed; go to another, or give the whole path") from error
    if ".." in parts:
        after = len(parts) - parts[::-1].index("..")
        parts = (os.path.realpath(Path(*parts[:after])), *parts[after:])
    return Path(*parts).as_posix()


def _with_host(path: str, raw: str) -> str:
    if path.startswith("/") or not path:
        raise InputError(f"{raw}: names no host; give https://host/path")
    return path.rstrip("/")


def _without_dots(path: str, raw: str, *, has_buckets: bool) -> str:
    """The path in a URL. Object stores have no folders to go up in, and may take the dots for names.

    Empty parts go too: some servers take them for names, and others for nothing.
    """
    if has_buckets and path.partition("/")[0] in ("", ".", ".."):
        raise InputError(f"{raw}: names no bucket; give {raw.partition('://')[0]}://bucket/prefix")
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if len(kept) < 2:
                raise InputError(f"{raw}: leads out of its bucket; give the URL of the place itself")
            kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    if not kept:
        raise InputError(f"{raw}: names no place; give {raw.partition('://')[0]}://name")
    return "/".join(kept)


@contextmanager
def writing_to(place: Location) -> Iterator[None]:
    """Raise `NoSpaceError`, which names `place`, when the body writes files there and no room is left."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE and not isinstance(error, NoSpaceError):
            reason = os.strerror(error.errno).lower()
            raise NoSpaceError(
                f"{place}: {reason}; make room or lift the limit there, then give the same command again"
            ) from error
        raise


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when the block ends without error; links stay, and lead to it."""
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _create(path: Path, data: bytes) -> bool:
    """Write a new file and return True; False when there is one."""
    with writing_to(Location(path.as_posix())):
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("xb") as file:
                    file.write(data)
                return True
            except FileExistsError:
                return False
            except FileNotFoundError:
                continue  # somebody who ended has just removed the folder


def from_json(text: bytes) -> Any:
    """Return what JSON says. Raise `InputError` when it says two things of one key.

    What is no JSON raises the errors of `json.loads`.
    """
    return json.loads(text, object_pairs_hook=_of_one_meaning)


def _of_one_meaning(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in members if keys.count(key) > 1)
        raise InputError(f"{twice!r} is given twice; keep the one that is right")
    return members


def as_json(value: Any) -> str:
    """Return `value` as JSON that people can read, as all JSON files here are written."""
    return json.dumps(value, indent=2) + "\n"


def _web_store() -> Callable[..., Store]:
    from ps3d_core.store.guarded import WebStore

    return WebStore


def _connected(scheme: str, *, asynchronous: bool) -> fsspec.AbstractFileSystem:
    if scheme in _WEB:
        from ps3d_core.store.s3 import read_timeout

        return _web(asynchronous, read_timeout(), os.getpid())
    if scheme != "s3":
        try:
            return _filesystem(scheme, asynchronous)
        except ImportError as error:
            raise InputError(
                f"{scheme}://: a package for this store is missing ({error}); install it, or give a folder or "
                "s3://bucket/prefix"
            ) from error
    from ps3d_core.store.s3 import read_timeout

    account = (os.environ.get("AWS_ENDPOINT_URL"), os.environ.get("AWS_ACCESS_KEY_ID"))
    return _s3(asynchronous, account, read_timeout(), os.getpid())


@cache
def _filesystem(scheme: str, asynchronous: bool) -> fsspec.AbstractFileSystem:
    # None may remember listings: others write too.
    if asynchronous and fsspec.get_filesystem_class(scheme).async_impl:
        return fsspec.filesystem(scheme, use_listings_cache=False, asynchronous=True)
    filesystem = fsspec.filesystem(scheme, use_listings_cache=False)
    return AsyncFileSystemWrapper(filesystem, asynchronous=True) if asynchronous else filesystem


@cache
def _web(asynchronous: bool, read_seconds: float, _process: int) -> fsspec.AbstractFileSystem:
    from ps3d_core.store.web import WebFiles

    return WebFiles(asynchronous=asynchronous, read_seconds=read_seconds, skip_instance_cache=True)


@cache
def _s3(
    asynchronous: bool, _account: tuple[str | None, ...], read_seconds: float, _process: int
) -> fsspec.AbstractFileSystem:
    # Keyed on the account, and on the process: connections must not cross a fork.
    from ps3d_core.store.s3 import connect

    return connect(asynchronous=asynchronous, read_seconds=read_seconds)


def _says_it_exists(error: OSError) -> bool:
    """Whether S3 refused to create an object because there is one, or one is just being made."""
    answer = getattr(error.__cause__, "response", {})
    return answer.get("Error", {}).get("Code") in {"PreconditionFailed", "ConditionalRequestConflict"}
