"""Loose files of a result (tables, reports, records), which have no room for a mark of who made them.

What was written is kept beside them, in `RECEIPT`: the SHA-256 of each file, noted as pending before the file appears,
and as written when it has. So a file is known as ps3d's after any crash. One that somebody has changed since is kept
under another name before a new one takes its place, and one that ps3d never wrote is left alone.

There it says as well what was made of a file, or of a label image, and lies in the same folder (`store.deriving`): its
products. They go before anything else takes the place of what they were made of.

A folder may come from anybody, its `RECEIPT` with it. What that says is believed of the folder alone: names that lead
elsewhere, or round in a circle, and links on the way, take nothing away.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError

from ps3d_core.errors import InputError, MissingDataError, NoSpaceError
from ps3d_core.store.aside import set_aside
from ps3d_core.store.claim import Output, require_ours, silent
from ps3d_core.store.location import Location, writing_to
from ps3d_core.store.ownership import MARK_FILE, files_below, is_link, remove_if_empty
from ps3d_core.store.whole import digest_of

RECEIPT: Final = ".ps3d-files.json"
_PIECE: Final = 2**20
_LONGEST: Final = 255
"""Bytes of one name."""
_LONGEST_PATH: Final = 1024
"""Bytes of the path of a product: what object stores allow."""


def can_be_product(name: str) -> bool:
    """Return whether a path relative to a folder leads to a place below it that can be noted as made of something.

    What begins with a dot, at any step, is none.
    """
    try:
        path = name.encode()
    except UnicodeEncodeError:
        return False
    usable = all(part and part[0:1] != b"." and len(part) <= _LONGEST for part in path.split(b"/"))
    return usable and b"\0" not in path and len(path) <= _LONGEST_PATH


def _checked_product(name: str) -> str:
    if not can_be_product(name):
        raise ValueError("leads out of its folder")
    return name


def _checked_file(name: str) -> str:
    if "/" in name or name in ("", ".", "..", RECEIPT):
        raise ValueError("must be the name of a file")
    return name


class Entry(BaseModel):
    """SHA-256 of what was written to one file, and of what is just about to be; and what was made of it.

    `products` are places relative to the folder, with the digest of what lies there; None while it is being written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    written: str | None = None
    pending: str | None = None
    products: dict[Annotated[str, AfterValidator(_checked_product)], str | None] = {}


Receipt = dict[Annotated[str, AfterValidator(_checked_file)], Entry]
_RECEIPT: Final = TypeAdapter(Receipt)
_say: ContextVar[Callable[[str], None]] = ContextVar("say", default=silent)


def is_published(file: Location) -> bool:
    """Return whether ps3d wrote the file that is here, whatever has become of it since; never true of a link."""
    if is_link(file) or not file.exists():
        return False
    entry = read_receipt(file.parent).get(file.name, Entry())
    # Pending alone says that ps3d was about to write it, and may have been killed before.
    return entry.written is not None or (entry.pending is not None and _sha256(file) == entry.pending)


def is_as_written(file: Location) -> bool:
    """Return whether ps3d wrote the file that is here, and nobody has changed it since."""
    return is_published(file) and _sha256(file) == read_receipt(file.parent)[file.name].written


def publish(file: Location, content: bytes | Path) -> Location | None:
    """Put `content`, or a copy of a local file, at `file`; return where a changed file that lay there is kept, if any.

    Raises `InputError` when a file is there that ps3d did not write.
    """
    kept = _out_of_the_way(file)
    digest = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else _sha256(Location.parse(content))
    receipt = read_receipt(file.parent)
    if (kept is not None or receipt.get(file.name, Entry()).written != digest) and withdraw_products(file, receipt):
        receipt = read_receipt(file.parent)
    entry = receipt.get(file.name, Entry())
    written = entry.written if file.exists() else None
    _note(file, entry.model_copy(update={"written": written, "pending": digest}), receipt)
    if file.exists() or not _created(file, content):
        file.write_bytes(content) if isinstance(content, bytes) else file.upload(content)
    _note(file, entry.model_copy(update={"written": digest, "pending": None}))
    return kept


def publish_text(file: Location, text: str) -> Location | None:
    """Put a UTF-8 text at `file`; return where a changed file that lay there is kept, if any.

    Raises `InputError` when a file is there that ps3d did not write.
    """
    return publish(file, text.encode("utf-8"))


def withdraw(file: Location) -> Location | None:
    """Remove a published file; return where it is kept when somebody has changed it since. Absence is fine."""
    receipt = read_receipt(file.parent)
    return _withdraw_alone(file, read_receipt(file.parent) if withdraw_products(file, receipt) else receipt)


def withdraw_products(source: Location, receipt: Receipt | None = None) -> bool:
    """Remove what was made of the file or image `source` and lies in its folder, and what was made of that.

    Of what somebody has changed since, or has put there, nothing goes: it is kept under another name. Return whether
    there was anything; `receipt` is that of the folder, where it has just been read.
    """
    entry = (read_receipt(source.parent) if receipt is None else receipt).get(source.name, Entry())
    if not entry.products:
        return False
    for place, (digest, origin) in reversed(_all_products(source, entry).items()):
        if place.exists() and not leads_out(place, origin.parent):
            kept = _withdraw_product(place, digest)
            _remove_folders(place, origin.parent)
            gone = f"kept as {kept}" if kept else "removed, make it again"
            _say.get()(f"{place}: of an earlier {origin.name}; {gone}")
    _note(source, entry.model_copy(update={"products": {}}))
    return True


def note_products(
    source: Location, products: Mapping[str, str | None], without: Collection[str] = ()
) -> dict[str, str | None]:
    """Note what is made of `source`: places relative to its folder, each with the digest of what lies there.

    None stands for what is about to be written, and for what the receipt of its own folder tells; `without` are places
    where nothing came to be. Return what was noted before.
    """
    entry = read_receipt(source.parent).get(source.name, Entry())
    known = {name: digest for name, digest in {**entry.products, **products}.items() if name not in without}
    if known != entry.products:
        _note(source, entry.model_copy(update={"products": known}))
    return entry.products


@contextmanager
def telling(say: Callable[[str], None]) -> Iterator[None]:
    """Let `say` be told of products that go while the body runs."""
    before = _say.set(say)
    try:
        yield
    finally:
        _say.reset(before)


def adopt(file: Location) -> None:
    """Count a file that is there as published: one of an earlier release, which kept no `RECEIPT`."""
    entry = read_receipt(file.parent).get(file.name, Entry())
    if entry.written is None and entry.pending is None:
        _note(file, entry.model_copy(update={"written": _sha256(file)}))


def read_receipt(folder: Location) -> Receipt:
    """Return what ps3d wrote in `folder`, by file name.

    Raise `InputError` when `RECEIPT` cannot be read: it may be somebody's own file.
    """
    file = folder / RECEIPT
    if not file.exists() and not is_link(file):
        return {}
    try:
        return _RECEIPT.validate_python(file.read_json())
    except (InputError, MissingDataError, ValidationError, OSError) as error:
        raise InputError(
            f"{file}: must say what ps3d wrote in this folder, and cannot be read; restore it, or choose another place"
        ) from error


def leads_out(place: Location, folder: Location) -> bool:
    """Return whether links on the way from `folder` to a place below it lead elsewhere."""
    path, root = place.local_path, folder.local_path
    if path is None or root is None:
        return False
    return not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(root))


def _all_products(source: Location, entry: Entry) -> dict[Location, tuple[str | None, Location]]:
    """What was made of `source`, of that, and so on, each once and after what it was made of: its digest, and that."""
    found: dict[Location, tuple[str | None, Location]] = {}
    waiting, receipts = [(source, entry)], dict[Location, Receipt]()
    for origin, known in waiting:
        for name, digest in known.products.items():
            place = origin.parent / name
            if place != source and place not in found:
                found[place] = digest, origin
                if not leads_out(place, origin.parent):
                    if (folder := place.parent) not in receipts:
                        receipts[folder] = read_receipt(folder)
                    waiting.append((place, receipts[folder].get(place.name, Entry())))
    return found


def _withdraw_product(place: Location, digest: str | None) -> Location | None:
    """Remove what lies there, as it was made; return where it is kept when it is not."""
    if is_published(place):
        return _withdraw_alone(place, read_receipt(place.parent))
    kept = None
    if digest is not None and digest_of(place).digest == digest and not _holds_others(place):
        place.remove_tree()
    else:
        kept = set_aside(place)
    if place.name in (receipt := read_receipt(place.parent)):
        _note(place, Entry(), receipt)
    return kept


def _holds_others(place: Location) -> bool:
    """Whether files lie in a folder that its digest does not tell of: hidden ones, and links."""
    if is_link(place):
        return True
    names = list(files_below(place))
    hidden = any(part.startswith(".") for name in names if name != MARK_FILE for part in name.split("/"))
    return hidden or any(is_link(place / name) for name in names)


def _withdraw_alone(file: Location, receipt: Receipt) -> Location | None:
    if (kept := _out_of_the_way(file)) is not None:
        _say.get()(f"{file}: not as it was written; kept as {kept}")
    file.remove_tree()
    if file.name in receipt:
        _note(file, Entry(), receipt)
    return kept


def _out_of_the_way(file: Location) -> Location | None:
    """Set aside a published file that somebody has changed; return where it is kept, None when it is as it was."""
    if not file.exists() and not is_link(file):
        return None
    require_ours(Output(file, is_published))
    entry = read_receipt(file.parent)[file.name]
    return None if _sha256(file) in (entry.written, entry.pending) else set_aside(file)


def _note(file: Location, entry: Entry, receipt: Receipt | None = None) -> None:
    """Note what is known of a file, in a `receipt` that has just been read; nothing where the entry says nothing."""
    receipt = (read_receipt(file.parent) if receipt is None else receipt) | {file.name: entry}
    said = {name: known.model_dump(exclude_defaults=True) for name, known in receipt.items() if known != Entry()}
    if said:
        (file.parent / RECEIPT).write_json(said)
    else:
        (file.parent / RECEIPT).remove_tree()


def _remove_folders(place: Location, above: Location) -> None:
    """Remove the folders between a product that is gone and the folder `above`, where nothing is in them."""
    path, end = place.local_path, above.local_path
    while path is not None and end is not None and (path := path.parent) != end and path.is_relative_to(end):
        remove_if_empty(path)


def _created(file: Location, content: bytes | Path) -> bool:
    """Make a new file in one step, if the file system can; nothing is replaced."""
    if (path := file.local_path) is None:
        return False
    temporary = path.with_name(f".{path.name}.{os.urandom(16).hex()}.tmp")
    try:
        with writing_to(file):
            if isinstance(content, bytes):
                temporary.write_bytes(content)
            else:
                shutil.copyfile(content, temporary)
        os.link(temporary, path)
    except FileExistsError as error:
        raise InputError(f"{file}: has appeared there meanwhile; move it away or choose another place") from error
    except OSError as error:
        if isinstance(error, NoSpaceError):
            raise
        return False  # no links here
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _sha256(file: Location) -> str:
    digest = hashlib.sha256()
    with file.open_reading() as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
