"""Contents of an inbox, together with what Prefect says of the runs that were started for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ps3d_app.flows.service.dispatch import most_runs, runs_of
from ps3d_app.flows.service.prefect_api import NoAnswerError, PrefectApi
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.overview import RECENT, Entry, overview
from ps3d_core.inbox.reason import plain
from ps3d_core.params import InboxParams

CANCELLED, STOPPED = "cancelled", "stopped"
ASKABLE: Final = (CANCELLED, STOPPED, "failed")
"""States of what has to be asked for to be taken again."""

_STATES: Final = {
    "SCHEDULED": "queued",
    "PENDING": "works",
    "RUNNING": "works",
    "CANCELLING": CANCELLED,
    "CANCELLED": CANCELLED,
    "FAILED": STOPPED,
    "PAUSED": "paused",
}
_ASK: Final = "ps3d inbox retry takes it again"


@dataclass(frozen=True, slots=True)
class Line:
    """An entry of an inbox, and the flow run that speaks of it."""

    entry: Entry
    state: str
    why: str
    run: str | None = None
    """Its id in Prefect."""


def view(inbox: Inbox, api: PrefectApi | None, recent: int = RECENT) -> list[Line]:
    """Return all entries of the inbox, with what Prefect says of their runs and `recent` of those that are done.

    Without an API, or with one that does not answer, the entries are as the store tells them.
    """
    entries = overview(inbox, recent=recent)
    keys = [entry.identity for entry in entries if entry.identity is not None]
    runs: Mapping[str, list[dict[str, Any]]] = {}
    if api is not None and keys:
        try:
            runs = runs_of(api, keys, most_runs(InboxParams()))
        except NoAnswerError as error:
            entries = [replace(one, why=one.why or str(error)) if one.identity else one for one in entries]
    return [_line(entry, runs.get(entry.identity or "", [])) for entry in entries]


def _line(entry: Entry, runs: list[dict[str, Any]]) -> Line:
    if not runs:
        return Line(entry, entry.state, entry.why)
    last = runs[-1]
    state = _STATES.get(last["state_type"], entry.state)
    said = plain((last["state"] or {}).get("message") or "")
    why = f"{_ASK}; {said}" if state == STOPPED and said else _ASK if state in (CANCELLED, STOPPED) else said
    return Line(entry, state, why, last["id"])
