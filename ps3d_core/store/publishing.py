"""Loose files of a result (tables, reports, records), which have no room for a mark of who made them.

What was written is kept beside them, in `RECEIPT`: the SHA-256 of each file, noted before the file appears. So a file
is known as ps3d's after any crash. One that somebody has changed since is kept under another name before a new one
takes its place, and one that ps3d never wrote is left alone.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.store.aside import set_aside
from ps3d_core.store.claim import Output, require_ours
from ps3d_core.store.location import Location, writing_to
from ps3d_core.store.ownership import is_link

RECEIPT: Final = ".ps3d-files.json"
_PIECE: Final = 2**20
_KEPT: Final = 4  # digests of a file: what lies there after any crash is one of the last

Receipt = dict[str, list[str]]
_RECEIPT: Final = TypeAdapter(Receipt, config=ConfigDict(strict=True))


def is_published(file: Location) -> bool:
    """Whether ps3d wrote a file of this name here, whatever has become of it; never true of a link."""
    return not is_link(file) and file.name in _receipt(file.parent)


def publish(file: Location, source: Path) -> Location | None:
    """Put a copy of the local file `source` at `file`; return where a changed file that lay there is kept, if one did.

    Raises `InputError` when a file is there that ps3d did not write.
    """
    folder, digest = file.parent, _sha256(Location.parse(source))
    receipt = _receipt(folder)
    kept = None
    if file.exists() or is_link(file):
        if not is_published(file):
            raise InputError(
                f"{file}: is there already, and ps3d did not make it; move it away or choose another place"
            )
        if _sha256(file) not in receipt[file.name]:
            kept = set_aside(file)
    receipt[file.name] = [*(one for one in receipt.get(file.name, []) if one != digest), digest][-_KEPT:]
    (folder / RECEIPT).write_json(receipt)
    if file.exists() or not _created(file, source):
        file.upload(source)
    return kept


def adopt(file: Location) -> None:
    """Count a file that is there as published: one of an earlier release, which kept no `RECEIPT`."""
    receipt = _receipt(file.parent)
    if file.name not in receipt:
        (file.parent / RECEIPT).write_json({**receipt, file.name: [_sha256(file)]})


def publish_text(file: Location, text: str) -> Location | None:
    """Put a UTF-8 text at `file`, as `publish` does."""
    with tempfile.TemporaryDirectory(prefix="ps3d-text-") as folder:
        source = Path(folder) / "text"
        source.write_text(text, "utf-8")
        return publish(file, source)


def withdraw(file: Location) -> Location | None:
    """Remove a published file; return where it is kept when somebody has changed it since. Absence is fine."""
    if not file.exists():
        return None
    require_ours(Output(file, is_published))
    if _sha256(file) not in _receipt(file.parent)[file.name]:
        return set_aside(file)
    file.remove_tree()
    return None


def _created(file: Location, source: Path) -> bool:
    """Make a new file of a whole copy in one step, if the file system can; nothing is replaced."""
    if (path := file.local_path) is None:
        return False
    temporary = file.parent / f".{file.name}.{os.urandom(16).hex()}.tmp"
    temporary.upload(source)
    try:
        with writing_to(file):
            os.link(str(temporary), path)
    except FileExistsError as error:
        raise InputError(f"{file}: has appeared there meanwhile; move it away or choose another place") from error
    except OSError:
        return False
    finally:
        temporary.remove_tree()
    return True


def _receipt(folder: Location) -> Receipt:
    file = folder / RECEIPT
    if not file.exists() and not is_link(file):
        return {}
    try:
        return _RECEIPT.validate_python(file.read_json())
    except (InputError, MissingDataError, ValidationError, OSError) as error:
        raise InputError(
            f"{file}: must say what ps3d wrote in this folder, and cannot be read; restore it, or choose another place"
        ) from error


def _sha256(file: Location) -> str:
    digest = hashlib.sha256()
    with file.open_reading() as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
