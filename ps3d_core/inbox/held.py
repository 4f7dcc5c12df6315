"""What a person decides about a scan that is held: its result counts, and its files go to done/; or they come back.

That is in the scan's journal before any file moves, like every end, so whoever looks at the inbox next does the rest
when the process dies.
"""

from __future__ import annotations

from ps3d_core.errors import InputError
from ps3d_core.inbox.arrivals import Stamp
from ps3d_core.inbox.history import end_in, key_of, names_in
from ps3d_core.inbox.journal import Journal, Verdict, read_journal, write_journal
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.verdict import REASON_FILE, bring_to_end, free_folder, undecided
from ps3d_core.spelling import meant
from ps3d_core.store.layout import is_usable
from ps3d_core.store.lease import LeaseTakenError, Say, sole_run


def release(inbox: Inbox, name: str, say: Say = lambda text: None) -> str:
    """Accept a scan that is held as it is: move its files to done/. Return what was done, in one line.

    Args:
        inbox: where.
        name: of the scan.
        say: told when somebody else's lease is watched.

    Raises:
        InputError: no scan of this name is held, it is being worked on, or its result is gone.

    """
    name = name.removeprefix("held/")
    if not is_usable(name):
        raise _not_held(inbox, name)
    try:
        with sole_run(inbox.lease(name), f"scan {name}", say):
            folder = _released(inbox, name) or _release(inbox, name)
    except LeaseTakenError as error:
        raise InputError(f"{name}: is being worked on; let that end, then ask again") from error
    return f"{name}: accepted; {inbox.result(name).root} counts, its files are in {folder}"


def take_out(inbox: Inbox, name: str, folder: str) -> None:
    """Move the files of a scan that is held to `folder`, relative to the prefix, as who holds its lease has decided."""
    place = f"held/{name}"
    end = end_in(inbox, place)
    found = (inbox.prefix / place).find(hidden=True)
    journal = Journal(
        label=name,
        arrival=key_of(inbox, place),
        digest=end.digest if end is not None else "unknown",
        place=place,
        files={file: Stamp.of(info).mark for file, info in found.items() if file != REASON_FILE},
        verdict=Verdict(folder=folder),
    )
    write_journal(inbox, journal)
    bring_to_end(inbox, journal)


def _released(inbox: Inbox, name: str) -> str | None:
    """Where the files are after the rest of an earlier call, which was killed; None when there was none."""
    journal = read_journal(inbox, name)
    undecided(inbox, name)  # the rest of a move whose process died comes first, whichever it is
    folder = journal.verdict.folder if journal is not None and journal.verdict is not None else None
    is_release = journal is not None and journal.place == f"held/{name}" and (folder or "").startswith("done/")
    return folder if is_release else None


def _release(inbox: Inbox, name: str) -> str:
    if not (inbox.held / name).find(hidden=True):
        raise _not_held(inbox, name)
    if not (run := inbox.result(name).run).exists():
        raise InputError(f"{name}: there is no {run} any more; take the scan again by ps3d inbox retry {name}")
    folder = free_folder(inbox, f"done/{name}")
    take_out(inbox, name, folder)
    return folder


def _not_held(inbox: Inbox, name: str) -> InputError:
    names = names_in(inbox.held)
    near = meant(name, names)
    instead = f"did you mean {near}?" if near else f"held are {', '.join(names)}" if names else "no scan is held"
    return InputError(f"{name}: not in {inbox.held}; {instead}")
