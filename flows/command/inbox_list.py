"""`ps3d inbox list`: what waits, what is worked on, what failed or is held and why, what is done."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ps3d_app.flows.command.arguments import whole_number

if TYPE_CHECKING:
    from ps3d_app.flows.service.inbox_view import Line

PURPOSE = "show what waits, runs, failed, is held and is done in an inbox"
EXAMPLES = """\
  ps3d inbox list                     the inbox of the stack that ps3d up runs here
  ps3d inbox list s3://bucket/lab     another one
  ps3d inbox list --json              for programs

States: unknown (no kind of scan), waits (for what), complete (taken by the next look), queued, works, cancelled and
stopped (ps3d inbox retry takes it again), failed (in failed/, with the reason), held (in held/, with what speaks
against its result: ps3d inbox release accepts it, retry takes it again), done."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "prefix", nargs="?", metavar="PREFIX", help="folder or URL that holds inbox/ (default: that of ps3d up)"
    )
    parser.add_argument(
        "--recent", type=whole_number(0), default=10, metavar="N", help="of what is done, the latest (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="a list of objects; times as in ISO 8601")


def run(args: argparse.Namespace) -> None:
    """Print a line for every entry of an inbox, or all entries as a list of JSON objects."""
    from ps3d_app.flows.service.inbox_view import view
    from ps3d_app.flows.service.known_api import known_api
    from ps3d_app.flows.service.stack.store import store_at
    from ps3d_core.inbox.layout import Inbox, require_usable_prefix
    from ps3d_core.printable import printable
    from ps3d_core.store.location import as_json

    inbox = Inbox(store_at(args.prefix))
    require_usable_prefix(inbox)
    lines = view(inbox, known_api(), args.recent)
    if args.json:
        print(as_json([_object(line) for line in lines]), end="")
        return
    if not lines:
        print(f"{inbox.incoming}: nothing")
    wide = max((len(line.entry.name) for line in lines), default=0)
    for line in lines:
        print(printable(f"{line.entry.name.ljust(wide)}  {line.state:<9}  {_time(line)}  {line.why}".rstrip()))


def _time(line: Line) -> str:
    import time

    since = line.entry.since
    return " " * 16 if not since else time.strftime("%Y-%m-%d %H:%M", time.localtime(since))


def _object(line: Line) -> dict[str, Any]:
    from datetime import UTC, datetime

    since = line.entry.since
    return {
        "name": line.entry.name,
        "state": line.state,
        "since": datetime.fromtimestamp(since, UTC).isoformat() if since else None,
        "why": line.why,
        "run": line.run,
    }
