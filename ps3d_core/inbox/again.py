"""Asking for a scan once more: one that failed or is held comes back, one that was cancelled is wanted again.

Whoever starts runs for arrivals starts one for each identity. A sign in the inbox changes the identity of what lies
under a key, so a scan that was asked for again is another one. Files come back in an order that a kill at any moment
leaves waiting and not half a scan: first the sign, then the files, last the description, without which nothing is
taken. The same command goes on from there. Of one that is held, the results go first; how its files come is in `held`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from ps3d_core.errors import InputError
from ps3d_core.inbox.arrivals import Arrival, sign_of
from ps3d_core.inbox.claim import forget_attempts
from ps3d_core.inbox.description import EXAMPLE, FILE, MAX_BYTES, read_description
from ps3d_core.inbox.held import take_out
from ps3d_core.inbox.history import files_of, forget, key_of, names_in
from ps3d_core.inbox.journal import INCOMING
from ps3d_core.inbox.layout import Inbox, label_for
from ps3d_core.inbox.listing import InboxListing
from ps3d_core.inbox.verdict import REASON_FILE, remove_results, undecided
from ps3d_core.params import InboxParams
from ps3d_core.spelling import meant
from ps3d_core.store.layout import is_usable
from ps3d_core.store.lease import LeaseTakenError, Say, sole_run
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location, as_json, from_json
from ps3d_core.store.moving import move_files

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def identity(inbox: Inbox, arrival: Arrival) -> str:
    """Return a digest that differs whenever files, their versions, the place or the times of asking differ."""
    return fingerprint(str(inbox.prefix), arrival.digest, arrival.asked)


def ask_again(inbox: Inbox, key: str) -> None:
    """Give what lies in the inbox under `key`, or comes there next, another identity."""
    (inbox.incoming / sign_of(key)).write_text(uuid.uuid4().hex)


def retry(inbox: Inbox, name: str, changes: Mapping[str, Any], say: Say = lambda text: None) -> str:
    """Take a scan again: from failed/ or held/, or from the inbox where it lies cancelled. Return one line about it.

    Args:
        inbox: where.
        name: of the folder in failed/ or held/, with or without that before it, or of the scan in the inbox.
        changes: values for its description, by field.
        say: told when somebody else's lease is watched.

    Raises:
        InputError: nothing is called so, or two are, it is being worked on, or its description would still be wrong.

    """
    label = label_for(name.removeprefix("failed/").removeprefix("held/"))
    try:
        with sole_run(inbox.lease(label), f"scan {label}", say):
            undecided(inbox, label)  # the rest of a move whose process died comes first
            if (folder := _folder_of(inbox, name)) is not None:
                return _bring_back(inbox, folder, changes)
            if (arrival := _in_inbox(inbox, name)) is not None:
                return _ask_for(inbox, arrival, label, changes)
    except LeaseTakenError as error:
        raise InputError(f"{name}: is being worked on; let that end, or cancel its run, then ask again") from error
    raise InputError(
        f"{name}: not in {inbox.failed}, {inbox.held} or {inbox.incoming}; "
        f"{_instead(name, [*names_in(inbox.failed), *names_in(inbox.held)])}"
    )


def _folder_of(inbox: Inbox, name: str) -> str | None:
    """The folder that is meant, relative to the prefix; None when none of this name has files in it."""
    start, _, rest = name.rpartition("/")
    starts = [start] if start in ("failed", "held") else ["failed", "held"] if not start else []
    there = [f"{one}/{rest}" for one in starts if is_usable(rest) and files_of(inbox.prefix / one / rest)]
    if len(there) > 1:
        raise InputError(f"{name}: is in failed/ and in held/; say which: {' or '.join(there)}")
    return there[0] if there else None


def _bring_back(inbox: Inbox, place: str, changes: Mapping[str, Any]) -> str:
    state, _, name = place.partition("/")
    folder = inbox.prefix / place
    names = [file for file in files_of(folder) if file != REASON_FILE]
    key = key_of(inbox, place)
    back = f"{INCOMING}/{key[:-1]}" if key.endswith("/") else INCOMING
    target = inbox.prefix / back
    description = FILE if key.endswith("/") else f"{key}.json"
    said = f"{name}: back in the inbox, as {target / description}"
    if changes:
        _change(folder / description, name, changes)
        names = sorted({*names, description})
    _require_room(folder, names, target)
    ask_again(inbox, key)
    if state == "held":
        remove_results(inbox, name)
        take_out(inbox, name, back)
        return said
    move_files(folder, {file: file for file in names if file != description}, target)
    move_files(folder, {file: file for file in names if file == description}, target)
    folder.remove_tree()
    forget(inbox, place)
    return said


def _ask_for(inbox: Inbox, arrival: Arrival, label: str, changes: Mapping[str, Any]) -> str:
    forget_attempts(inbox, label)
    if changes:
        _change(inbox.incoming / arrival.description, arrival.name, changes)
    ask_again(inbox, arrival.key)
    return f"{label}: asked for again"


def _in_inbox(inbox: Inbox, name: str) -> Arrival | None:
    seen = InboxListing(inbox, InboxParams(settle_seconds=0)).scans()
    return next((one.arrival for one in seen if name in (one.label, one.arrival.name)), None)


def _change(file: Location, name: str, changes: Mapping[str, Any]) -> None:
    """Put `changes` into a description, which has to be a good one then; a missing one is made."""
    content: Any = {"name": name}
    if file.exists():
        try:
            content = from_json(file.read_start(MAX_BYTES).removeprefix(_BYTE_ORDER_MARK))
        except ValueError as error:
            raise InputError(f"{file}: not valid JSON ({error}); write it anew, like {EXAMPLE}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: must be an object of named values, like {EXAMPLE}; write it anew")
    text = as_json({**content, **changes})
    read_description(text.encode(), PurePosixPath(file.url).name)
    file.write_text(text)


def _require_room(folder: Location, names: list[str], target: Location) -> None:
    """Raise `InputError` when something else lies where the files came from."""
    here, there = folder.find(hidden=True), target.find(hidden=True) if target.exists() else {}
    other = next((name for name in names if name in there and there[name]["size"] != here[name]["size"]), None)
    if other is not None:
        raise InputError(f"{target / other}: another file, which {folder / other} is not; take one of them away")


def _instead(name: str, names: list[str]) -> str:
    if near := meant(name, names):
        return f"did you mean {near}?"
    return f"there are {', '.join(names)}" if names else "nothing failed or is held; see ps3d inbox list"
