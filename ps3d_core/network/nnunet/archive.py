"""A stranger's archive, unpacked: every member is checked before anything of it is written.

Names that lead outside the folder, links, devices and absurd sizes condemn the whole archive, since an honest one has
none of them. Only the files that are wanted are written, so a model's archive may hold its training data as well.
"""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from ps3d_core.errors import InputError

MAX_MEMBERS: Final = 100_000
MAX_MEMBER_BYTES: Final = 8 * 2**30
MAX_BYTES: Final = 64 * 2**30
MAX_HEADER_BYTES: Final = 2**20
_HEADERS: Final = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_PIECE: Final = 2**20
_BROKEN: Final = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, NotImplementedError, ValueError),
)
_LEADS_OUTSIDE: Final = re.compile(r"^[A-Za-z]:|\\|[\x00-\x1f]")  # on some machine at least


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    is_file: bool
    """False for a folder."""
    oddity: str | None
    """What it is, when neither."""
    size: int
    open: Callable[[], IO[bytes] | None]


def is_archive(file: Path) -> bool:
    """Return whether the file is a zip or a tar, compressed or not; its name does not matter."""
    if zipfile.is_zipfile(file):
        return True
    try:
        with tarfile.open(file, tarinfo=_BoundedHeader):
            return True
    except tarfile.TarError:
        return False
    except (EOFError, zlib.error, lzma.LZMAError):
        return True  # compressed, and cut off or damaged: unpacking says so


def unpack(archive: Path, folder: Path, wanted: Callable[[PurePosixPath], bool]) -> None:
    """Write the wanted files of a zip or tar into `folder`.

    Raises:
        InputError: for an archive that is damaged or that no honest tool makes; what was written has to be removed.

    """
    try:
        with _opened(archive) as members:
            _unpack(members, folder, wanted)
    except InputError as error:
        raise InputError(f"{archive.name}: {error}") from error
    except _BROKEN as error:
        raise InputError(f"{archive.name}: not a readable archive ({error}); get a valid copy") from error


def _unpack(members: Iterator[_Member], folder: Path, wanted: Callable[[PurePosixPath], bool]) -> None:
    total = 0
    for number, member in enumerate(members, 1):
        path = _safe_path(member)
        total += member.size
        if number > MAX_MEMBERS or member.size > MAX_MEMBER_BYTES or total > MAX_BYTES:
            raise InputError(
                f"{number} members, the last of {member.size} bytes, {total} in all; at most {MAX_MEMBERS}, "
                f"{MAX_MEMBER_BYTES} and {MAX_BYTES} are unpacked; give the model's folder itself"
            )
        if member.is_file and wanted(path):
            _write(member, folder.joinpath(*path.parts))


def _safe_path(member: _Member) -> PurePosixPath:
    name = member.name
    path = PurePosixPath(name)
    shown = name[:100].encode("unicode_escape").decode("ascii")
    if member.oddity:
        raise InputError(f"member {shown} is {member.oddity}; only files and folders are unpacked")
    if path.is_absolute() or ".." in path.parts or _LEADS_OUTSIDE.search(name):
        raise InputError(f"member {shown} would be written outside of the folder; do not trust this archive")
    if len(name) > 1000:
        raise InputError(f"member {shown}... has a name of {len(name)} letters, at most 1000; repack the archive")
    return path


def _write(member: _Member, path: Path) -> None:
    if path.exists():
        raise InputError(f"member {member.name} occurs twice; repack the archive")
    path.parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(path.parent).free) < member.size:
        raise InputError(
            f"member {member.name} has {member.size} bytes and {path.parent} room for {free}; set TMPDIR to a "
            "folder on a larger disk"
        )
    source = member.open()
    if source is None:
        raise InputError(f"member {member.name} has no content; repack the archive")
    left = member.size
    with source, path.open("xb") as file:
        while piece := source.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise InputError(f"member {member.name} is larger than the {member.size} bytes it says")
            file.write(piece)
    if left:
        raise InputError(f"member {member.name} is {left} bytes short; get a valid copy")


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[_Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield (_in_zip(zipped, info) for info in zipped.infolist())
    else:
        with tarfile.open(archive, tarinfo=_BoundedHeader) as tarred:
            yield (_in_tar(tarred, info) for info in tarred)


class _BoundedHeader(tarfile.TarInfo):
    """Long names and extended headers are read whole, and a few kilobytes can unpack to more than there is memory."""

    def _proc_member(self, tarred: tarfile.TarFile) -> tarfile.TarInfo:
        # what tarfile calls for a header of any type, and offers to subclasses
        if self.type in _HEADERS and self.size > MAX_HEADER_BYTES:
            raise InputError(f"a header of {self.size} bytes, at most {MAX_HEADER_BYTES} are read; do not trust it")
        return super()._proc_member(tarred)  # type: ignore[misc,no-any-return]


def _in_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    oddity = None
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        oddity = "a link" if kind == stat.S_IFLNK else "a special file"
    elif info.flag_bits & 1:
        oddity = "encrypted"
    # `orig_filename` is what the archive says: zipfile cuts names at a NUL and turns the separators of Windows.
    return _Member(info.orig_filename, not info.is_dir(), oddity, info.file_size, lambda: archive.open(info))


def _in_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    oddity = None
    if info.issym() or info.islnk():
        oddity = "a link"
    elif info.issparse() or not (info.isreg() or info.isdir()):
        oddity = "a special file"
    return _Member(info.name, info.isreg(), oddity, info.size, lambda: archive.extractfile(info))
