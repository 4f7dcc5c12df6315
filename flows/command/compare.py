"""`ps3d compare`: results of several scans side by side."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ps3d_app.flows.command.pdf import add_pdf, printed

if TYPE_CHECKING:
    from datetime import datetime

PURPOSE = "compare results of several scans, and follow them over time"
EXAMPLES = """\
  ps3d compare results/ore-1 results/ore-2                    do these two differ, and by how much?
  ps3d compare results --since 2026-11-01 --output november   all results of a folder, over time
  ps3d compare table-a table-b --pdf                          tables of ps3d measure, too

Writes compare.html (table over time, curves, trends, shapes, composition, tests of difference), comparison.csv (a row
per scan) and differences.csv (a row per pair and property). Dates are those of the sample data, else of the run. Up to
six scans are all compared with each other; of more, each is compared with the earliest."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "results",
        nargs="+",
        metavar="RESULT",
        help="folder of a result (OUTPUT/NAME), of a table that ps3d measure wrote, or of many of them (OUTPUT)",
    )
    parser.add_argument(
        "--output", default="comparison", metavar="DIR", help="folder or URL for page and tables (default: comparison)"
    )
    parser.add_argument("--since", type=_date, metavar="DATE", help="only results from this date on, like 2026-11-30")
    add_pdf(parser)


def run(args: argparse.Namespace) -> None:
    """Compare results; print what differs and where the page lies."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.comparison.compare import compare
    from ps3d_core.comparison.results import found_results
    from ps3d_core.store.location import Location

    results = found_results([Location.parse(place) for place in args.results], args.since)
    output = Location.parse(args.output)
    with shown() as progress:
        found = compare(results, output, progress)
        pdf = printed(args, found.page, output / "compare.pdf", progress)
    sizes = [each for each in found.differences if each.of == "size"]
    differing = sum(each.shown for each in sizes)
    print(f"{len(found.scans)} scans: {differing} of {len(sizes)} pairs differ in size beyond chance")
    for each in sizes if len(sizes) == 1 else ():
        print(f"  {each.words}: distance {100 * each.distance:.1f} %, D50 by volume {1e3 * (each.change or 0):+.3g} um")
    print(f"  page    {found.page}")
    print(f"  tables  {found.table}, {found.pairs.name}")
    if pdf:
        print(f"  pdf     {output / 'compare.pdf'}")


def _date(text: str) -> datetime:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a date like 2026-11-30") from None
