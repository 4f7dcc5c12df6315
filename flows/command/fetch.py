"""`ps3d fetch`: copy a result from its store to a folder."""

from __future__ import annotations

import argparse

PURPOSE = "copy a result (table, report, labels) to a folder"
EXAMPLES = """\
  ps3d fetch ore-7 results                           from the store of the stack that ps3d up runs here
  ps3d fetch s3://bucket/lab/results/ore-7 results   from anywhere; results/ore-7 is made
  ps3d fetch ore-7 results --without-labels          table and report only

Given again, it copies what is missing or has changed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("result", metavar="RESULT", help="folder or URL of a result, or a scan's name in the stack")
    parser.add_argument("dest", metavar="DEST", help="folder, in which one of the result's name is made")
    parser.add_argument("--without-labels", action="store_true", help="leave out the label image, which is the most")


def run(args: argparse.Namespace) -> None:
    """Copy a result to a folder, with a progress bar; print on stdout where it lies.

    Raise `InputError` when the destination is no folder of this machine, or is where the result lies.
    """
    from pathlib import Path

    from ps3d_app.flows.command.terminal import shown
    from ps3d_app.flows.service.stack.store import store_of_stack
    from ps3d_core.errors import InputError
    from ps3d_core.inbox.layout import Inbox
    from ps3d_core.store.fetching import fetch_folder
    from ps3d_core.store.kinds import not_usable
    from ps3d_core.store.layout import WORK, is_usable
    from ps3d_core.store.location import Location

    is_name = is_usable(args.result) and "://" not in args.result and not Path(args.result).exists()
    source = (
        Inbox(store_of_stack("the URL of the result")).result(args.result).root
        if is_name
        else Location.parse(args.result)
    )
    target = Location.parse(args.dest).local_path
    if target is None:
        raise InputError(f"{args.dest}: must be a folder of this machine; give one")
    if (problem := not_usable(source, "table")) is not None:
        raise problem
    if source.is_file():
        raise InputError(f"{source}: a file; give the folder of a result")
    folder = target / source.name
    if source.local_path is not None and folder.resolve() == source.local_path.resolve():
        raise InputError(f"{source}: is where it would be copied to; give another folder")
    without = [WORK, *([f"{source.name}.zarr"] if args.without_labels else [])]
    with shown() as progress:
        count = fetch_folder(source, folder, without=without, progress=progress)
    print(folder if count else f"{folder} (all was there)")
