"""`ps3d look`: what would be read of a source, before it is ingested."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any

from ps3d_app.flows.command.arguments import spacing_mm
from ps3d_app.flows.command.fields import add_fields, flag_of, given

if TYPE_CHECKING:
    from ps3d_core.inspection.source import SourceLook
    from ps3d_core.params import SourceParams

PURPOSE = "see what would be read of a file or folder, and how to ingest it"
EXAMPLES = """\
  ps3d look slices/                                    shape, spacing and where it was found, grey values, pictures
  ps3d look scanner-export/                            which scans are in a folder
  ps3d look scan.h5:/entry/data --roi 200:400,,        a part of one volume in an HDF5 file
  ps3d look scan.vol --raw 800x512x512,uint16          a file that is nothing but voxels

Nothing is written but a page with pictures of three slices, NAME-look.html in the current folder. A few slices all over
the scan are read, as ps3d ingest would read them; options say the same here and there, and the last line is the
command to ingest it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import SourceParams

    parser.add_argument("source", metavar="SOURCE", help="a file or folder of any format that ps3d ingest reads")
    parser.add_argument(
        "--spacing", type=spacing_mm, metavar="MM", help="edge of a voxel, as ps3d ingest takes it, in its place"
    )
    parser.add_argument(
        "--page", metavar="FILE", help="where the page with pictures is written (default: NAME-look.html)"
    )
    add_fields(parser.add_argument_group("what is read"), SourceParams)


def run(args: argparse.Namespace) -> None:
    """Print what would be read, and write a page with pictures; of a folder of several scans list these."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.errors import InputError
    from ps3d_core.inspection.source import lines_of, look, name_for, page_of, scans_in, write_page
    from ps3d_core.params import SourceParams
    from ps3d_core.scan.reader import CHOICES
    from ps3d_core.store.location import Location

    params = given(SourceParams, args)
    try:
        with shown() as progress:
            seen, pictures = look(args.source, params, spacing=args.spacing, progress=progress)
    except InputError:
        is_chosen = params.model_dump(exclude_defaults=True).keys() & {*CHOICES, "raw"}
        scans = [] if is_chosen else scans_in(Location.parse(args.source))
        if not scans:
            raise
        print(f"{args.source}: {'one scan' if len(scans) == 1 else f'{len(scans)} scans'} in it")
        for place, series, what in scans:
            print(f"  {what}\n    {shlex.join(('ps3d', 'look', place, *(('--series', series) if series else ())))}")
        return
    command = ingest_command(seen, params, args.source, args.spacing)
    page = Location.parse(args.page or f"{name_for(args.source)}-look.html")
    write_page(page, page_of(seen, pictures, command))
    print(f"{seen.description}")
    for word, said in [*lines_of(seen), *(("note", note) for note in seen.notes), ("page", str(page))]:
        print(f"  {word:<7} {said}")
    print(f"  next    {command}")


def ingest_command(seen: SourceLook, params: SourceParams, source: str, spacing: Any) -> str:
    """Return the command that ingests what was looked at, as far as it is known."""
    from ps3d_core.inspection.source import name_for
    from ps3d_core.scan.spacing import spacing_text

    place = f"./{source}" if source.startswith("-") else source
    said = ["ps3d", "ingest", place, "DATASET", "--name", name_for(source)]
    if spacing is not None or seen.spacing is None:
        said += ["--spacing", "MM" if spacing is None else spacing_text(spacing)]
    said += ["--particle-size", "auto"]
    for name, value in params.model_dump(exclude_defaults=True).items():
        text = str(value)
        # What begins with a minus would be taken for an option.
        joined = [f"{flag_of(name)}={text}"] if text.startswith("-") else [flag_of(name), text]
        said += [flag_of(name)] if value is True else joined
    if seen.values and seen.not_numbers and params.nan is None:
        said += [flag_of("nan"), "background"]
    return shlex.join(said)
