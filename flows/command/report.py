"""`ps3d report`: the page of a finished result made anew, and on paper."""

from __future__ import annotations

import argparse

from ps3d_app.flows.command.pdf import add_pdf, printed
from ps3d_app.flows.command.sample import add_sample, sample_given

PURPOSE = "make the report of a finished result anew, or print it"
EXAMPLES = """\
  ps3d report results/ore                                     after samples/ore.json of the dataset has changed
  ps3d report results/ore --sample-id A-17 --field operator="J. Doe" --field date=2026-11-30
  ps3d report results/ore --sample sample.json --pdf          and as report.pdf, on A4
  ps3d report results/ore --pdf Letter

Nothing is segmented or measured: the page is drawn from the tables and the label image that are there, run.json and
ro-crate-metadata.json follow. Sample data that are given are entered in the dataset, too, where it is still there, so
that a later ps3d segment leaves the page as it is. A copy of a result has sample data of its own."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("result", metavar="RESULT", help="folder of one result, OUTPUT/NAME of ps3d segment")
    add_pdf(parser)
    add_sample(parser.add_argument_group("sample data, instead of what is known"))


def run(args: argparse.Namespace) -> None:
    """Make the page of a result anew and print where it lies."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.remade import remake_report
    from ps3d_core.store.location import Location

    with shown() as progress:
        result, record = remake_report(Location.parse(args.result), sample_given(args), progress)
        pdf = printed(args, result.report, result.pdf, progress)
    print(f"{record.scan}: {record.particles} particles")
    print(f"  report  {result.report}")
    if pdf:
        print(f"  pdf     {result.pdf}")
