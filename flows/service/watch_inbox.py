"""The watcher of an inbox: looks every few seconds in one long-lived process, and starts runs when there is something.

    python -P -m ps3d_app.flows.service.watch_inbox             what the deployment process-inbox says, unless paused
    python -P -m ps3d_app.flows.service.watch_inbox PREFIX --every 60

Talks to the API in PREFECT_API_URL (PREFECT_API_AUTH_STRING) and to the store with the AWS_ variables. It imports
neither torch nor Prefect, so it stays small and costs next to nothing; a server or a store that is away for a while is
waited for.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pydantic import ValidationError

from ps3d_app.flows.machine.heartbeat import beat
from ps3d_app.flows.service.dispatch import dispatch
from ps3d_app.flows.service.inbox_events import Told, tell_news
from ps3d_app.flows.service.prefect_api import PrefectApi, connect
from ps3d_core.errors import InputError, Ps3dError
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.listing import Descriptions, InboxListing
from ps3d_core.inbox.process import InboxJob, settled
from ps3d_core.invalid import first_problem
from ps3d_core.memory import release_memory
from ps3d_core.params import InboxParams
from ps3d_core.printable import printable, without_keys
from ps3d_core.store.location import Location

EVERY_SECONDS: Final = 15.0
ANSWER_SECONDS: Final = 30.0
"""How long the server may be silent; nobody waits for us."""
ASK_EVERY_SECONDS: Final = 60.0
"""How often the deployment is asked for anew."""
BEAT_EVERY_SECONDS: Final = 5.0
DEPLOYMENT: Final = "process-inbox/process-inbox"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Watched:
    """Inbox that is looked after, with the parameters of the runs that are started for it."""

    inbox: Inbox
    params: InboxParams
    options: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the runs besides those that name the scan."""
    paused: bool = False


class Source(Protocol):
    """Source of the inbox to be looked after, which may be another one at each call."""

    def __call__(self) -> Watched:
        """Return the inbox to look after at present."""


class FromDeployment:
    """Parameters of the deployment process-inbox, which can be changed and paused in the UI."""

    def __init__(self, api: PrefectApi) -> None:
        self._api = api
        self._watched: Watched | None = None
        self._asked = 0.0

    def __call__(self) -> Watched:
        """Return the inbox to look after, as the server named it a moment ago."""
        if self._watched is None or time.monotonic() - self._asked >= ASK_EVERY_SECONDS:
            found = self._api.get(f"/deployments/name/{DEPLOYMENT}")
            self._watched = watched(found["parameters"], paused=bool(found["paused"]))
            self._asked = time.monotonic()
        return self._watched


def watched(parameters: Mapping[str, Any], *, paused: bool = False) -> Watched:
    """Return the inbox to look after that the `parameters` of the flow process-inbox name.

    Raise `InputError` when they cannot be meant.
    """
    own = {
        name: value for name, value in parameters.items() if name in ("params", "model", "segmentation", "resources")
    }
    try:
        params = InboxParams.model_validate(own.get("params") or {})
    except ValidationError as error:
        raise InputError(f"deployment {DEPLOYMENT}, params: {first_problem(error)}") from error
    if not (prefix := parameters.get("prefix")):
        raise InputError(f"deployment {DEPLOYMENT}: no prefix among its parameters; say where the inbox is")
    return Watched(Inbox(Location.parse(str(prefix))), params, own, paused)


class Watcher:
    """Watcher of an inbox, which remembers what it has read and told."""

    def __init__(self, source: Source, api: PrefectApi, say: Say) -> None:
        self._source, self._api, self._say = source, api, say
        self._told: dict[Inbox, Told] = {}
        self._descriptions: Descriptions = {}

    def look(self) -> None:
        """Look into the inbox once; start runs for what is complete and tell what is new."""
        now = self._source()
        if now.paused:
            return
        look = InboxListing(now.inbox, now.params, self._descriptions)
        seen = settled(InboxJob(now.inbox, now.params), look, self._say)
        self._descriptions = look.descriptions
        told = self._told.setdefault(now.inbox, Told(now.inbox))
        lines = dispatch(now.inbox, seen, now.params, now.options, self._api)
        for line in (*lines, *tell_news(now.inbox, look, seen, now.params, told, self._api)):
            self._say(line)


def keep_watching(watcher: Watcher, every: float, say: Say) -> None:
    """Look every `every` seconds until interrupted. What goes wrong is said once and then waited for."""
    trouble = None
    while True:
        try:
            watcher.look()
            if trouble is not None:
                say("looking again")
            trouble = None
            release_memory()  # a look takes some, and most find nothing
        except (Ps3dError, OSError) as error:
            if (text := str(error)) != trouble:
                say(f"{text}; trying again every {every:g} s")
            trouble = text
        _wait(every)


def _wait(seconds: float) -> None:
    """Wait, with signs of life."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        beat()
        time.sleep(min(left, BEAT_EVERY_SECONDS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch an inbox until stopped; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -P -m ps3d_app.flows.service.watch_inbox", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("prefix", nargs="?", help="folder or URL that holds inbox/ (default: what process-inbox says)")
    parser.add_argument("--every", type=float, default=EVERY_SECONDS, metavar="SECONDS")
    args = parser.parse_args(arguments)
    try:
        api = _api()
        given = None if args.prefix is None else watched({"prefix": args.prefix})
    except InputError as error:
        print(f"watch_inbox: error: {error}", file=sys.stderr)
        return 2
    source: Source = FromDeployment(api) if given is None else lambda: given
    with suppress(KeyboardInterrupt):
        keep_watching(Watcher(source, api, _print), args.every, _print)
    return 130


def _api() -> PrefectApi:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        raise InputError("PREFECT_API_URL is not set; set it to the API of a server, like http://host:4200/api")
    api = connect(url)
    api.seconds = ANSWER_SECONDS
    return api


def _print(line: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {printable(without_keys(line))}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
