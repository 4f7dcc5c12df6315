"""`ps3d inbox retry`: take a scan again that failed, is held or was cancelled."""

from __future__ import annotations

import argparse

from ps3d_app.flows.command.arguments import size_mm, stated_spacing_mm

PURPOSE = "take scans again that failed, are held or were cancelled"
EXAMPLES = """\
  ps3d inbox retry ore-7                              in the inbox of the stack that ps3d up runs here
  ps3d inbox retry s3://bucket/lab ore-7              in another one
  ps3d inbox retry ore-7 --spacing 12.5um             with its description corrected
  ps3d inbox retry ore-7 --model sand                 with another model, that of PREFIX/models/sand/
  ps3d inbox retry --all                              everything that failed, stopped or was cancelled

What lies in failed/NAME/ or held/NAME/ goes back into the inbox, and the next look takes it. The result of what was
held is removed. Where both are there, say failed/NAME or held/NAME. For other settings, edit scan.json there first."""


CHANGES = ("spacing", "particle_size", "particles", "model")
"""Fields of scan.json that may be given anew."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "words", nargs="*", metavar="[PREFIX] NAME", help="folder in failed/ or held/, or scan in the inbox"
    )
    parser.add_argument("--all", action="store_true", help="all of these but what is held")
    parser.add_argument("--spacing", type=stated_spacing_mm, metavar="MM", help="the right one: mm, or with a unit")
    parser.add_argument("--particle-size", type=size_mm, metavar="MM", help="the right one: mm, with a unit, or auto")
    parser.add_argument("--particles", choices=("bright", "dark", "auto"), help="than what is around them")
    parser.add_argument("--model", metavar="NAME", help="another one: bundled, or a folder in PREFIX/models/")


def run(args: argparse.Namespace) -> None:
    """Ask for each scan again; print on stdout what was done.

    Raise `InputError` when the arguments are not [PREFIX] NAME, or with --all [PREFIX].
    """
    from ps3d_app.flows.service.inbox_view import ASKABLE, view
    from ps3d_app.flows.service.known_api import known_api
    from ps3d_app.flows.service.stack.store import store_at
    from ps3d_core.errors import InputError
    from ps3d_core.inbox.again import retry
    from ps3d_core.inbox.layout import Inbox, require_usable_prefix

    wanted = 0 if args.all else 1
    if len(args.words) not in (wanted, wanted + 1):
        words = " ".join(args.words) or "no name"
        raise InputError(f"{words}: must be [PREFIX] NAME", "give one like ore-7", "give <all> and no name")
    inbox = Inbox(store_at(args.words[0] if len(args.words) > wanted else None))
    require_usable_prefix(inbox)
    names = args.words[-1:] if not args.all else []
    if args.all:
        names = [line.entry.name for line in view(inbox, known_api(), 0) if line.state in ASKABLE]
    given = {field: value for field in CHANGES if (value := getattr(args, field)) is not None}
    for name in names:
        print(retry(inbox, name, given), flush=True)
    if not names:
        print("nothing has failed, stopped or was cancelled")
