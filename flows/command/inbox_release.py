"""`ps3d inbox release`: accept a scan that is held."""

from __future__ import annotations

import argparse

PURPOSE = "accept a scan that is held, as it is"
EXAMPLES = """\
  ps3d inbox release ore-7                   in the inbox of the stack that ps3d up runs here
  ps3d inbox release s3://bucket/lab ore-7   in another one

Look at the report in PREFIX/results/NAME/ first. The files move from PREFIX/held/NAME/ to PREFIX/done/NAME/; the result
stays as it is. To try the scan once more instead, with another particle size for instance: ps3d inbox retry."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("words", nargs="*", metavar="[PREFIX] NAME", help="scan in held/; ps3d inbox list shows them")


def run(args: argparse.Namespace) -> None:
    """Accept a scan that is held; print on stdout what was done.

    Raise `InputError` when the arguments are not [PREFIX] NAME, or no scan of this name is held.
    """
    from ps3d_app.flows.service.stack.store import store_at
    from ps3d_core.errors import InputError
    from ps3d_core.inbox.held import release
    from ps3d_core.inbox.layout import Inbox, require_usable_prefix

    if len(args.words) not in (1, 2):
        raise InputError(f"{' '.join(args.words) or 'no name'}: must be [PREFIX] NAME; give one like ore-7")
    inbox = Inbox(store_at(args.words[0] if len(args.words) > 1 else None))
    require_usable_prefix(inbox)
    print(release(inbox, args.words[-1]), flush=True)
