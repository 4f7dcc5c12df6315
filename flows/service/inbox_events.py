"""Events that the watcher of an inbox sends to Prefect, each once for what it is about, whoever watches and how often.

What was told is kept in the inbox, as an empty file for each.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ps3d_app.flows.service.prefect_api import PrefectApi
from ps3d_app.tasks.events import about
from ps3d_core.inbox.arrivals import Stamp, unknown_in
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.listing import InboxListing, ListedScan
from ps3d_core.inbox.overview import UNKNOWN_KIND
from ps3d_core.inbox.reason import plain
from ps3d_core.params import InboxParams
from ps3d_core.store.ledger import fingerprint

WAITING: Final = "scan.waiting"
UNKNOWN: Final = "scan.unknown"


@dataclass(frozen=True, slots=True)
class News:
    """Event about an inbox that is sent once."""

    mark: str
    """By which it is known."""
    event: str
    name: str
    why: str
    payload: dict[str, Any]


class Told:
    """Record, kept in an inbox, of the events that were sent already."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._marks: set[str] | None = None

    def __contains__(self, news: News) -> bool:
        return news.mark in self._known()

    def add(self, news: News) -> None:
        """Keep in the inbox that this event was sent."""
        (self._inbox.told / news.mark).write_bytes(b"")
        self._known().add(news.mark)

    def _known(self) -> set[str]:
        if self._marks is None:
            self._marks = set(self._inbox.told.children())
        return self._marks


def tell_news(
    inbox: Inbox, listing: InboxListing, seen: Sequence[ListedScan], params: InboxParams, told: Told, api: PrefectApi
) -> list[str]:
    """Send an event for what has waited for hours, and for every file of an unknown kind; return a line for each."""
    said = []
    for news in (*_waiting(seen, params), *_unknown(listing)):
        if news not in told:
            content = about(news.name, str(inbox.prefix), why=news.why, **news.payload)
            moment = {"id": str(uuid.uuid4()), "occurred": datetime.now(UTC).isoformat()}
            api.post("/events", [{"event": news.event, **moment, **content}])
            told.add(news)
            said.append(f"{news.name}: {news.why}")
    return said


def _waiting(seen: Sequence[ListedScan], params: InboxParams) -> Iterator[News]:
    # Hours are counted; that the clocks of two machines differ by minutes does not matter.
    now = time.time()
    for one in seen:
        hours = (now - one.arrival.arrived) / 3600
        if one.waits_for is not None and one.arrival.arrived > 0 and hours >= params.waiting_hours:
            name, what = plain(one.label), plain(one.waits_for)
            mark = fingerprint(WAITING, one.arrival.digest)
            yield News(mark, WAITING, name, f"has waited for {hours:.1f} h for {what}", {"scan": name, "for": what})


def _unknown(listing: InboxListing) -> Iterator[News]:
    for file in unknown_in(listing.files):
        name, mark = plain(file), fingerprint(UNKNOWN, file, Stamp.of(listing.files[file]).mark)
        yield News(mark, UNKNOWN, name, UNKNOWN_KIND, {"file": name})
