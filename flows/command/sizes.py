"""`ps3d sizes`: size distributions of a particle table, as laboratories give them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ps3d_app.flows.command.size_options import add_size_options, size_params

if TYPE_CHECKING:
    from ps3d_core.granulometry.model import Distribution, Estimate, SizeAnalysis
    from ps3d_core.store.location import Location

PURPOSE = "size distributions of a particle table, beside a sieve's"
EXAMPLES = """\
  ps3d sizes results/ore                            by number and volume, in classes of ISO 3310-1
  ps3d sizes results/ore --density 2.65             by mass, too: g/cm3
  ps3d sizes results/ore --density quartz=2.65,pyrite=5.01 --size sieve --sieve sieves.csv
  ps3d sizes table/particles.parquet --classes 63um,125um,0.25,0.5 --output sizes

Nothing is measured again. The table says which sizes there are: the sieve diameter and the minimum Feret diameter come
with --columns shape of segment and measure. A sieve weighs mass and lets particles pass by their width, so compare it
with --size sieve and a density; over the equivalent diameter curves of real shapes lie apart.

FILE.csv has a size and a passing or retained share in each line, as sieves, Camsizers and lasers are exported: with
semicolons and decimal commas or the other way round, and um or mm in its header."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("table", metavar="TABLE", help="folder of a result or a table, or particles.parquet itself")
    add_size_options(parser)
    parser.add_argument(
        "--output", metavar="DIR", help="folder for tables and charts (default: sizes, beside the table)"
    )
    parser.add_argument("--json", action="store_true", help="print the whole analysis as JSON")


def run(args: argparse.Namespace) -> None:
    """Analyse one table, print the figures, write tables and charts."""
    from ps3d_core.granulometry.analysis import size_analysis
    from ps3d_core.granulometry.earlier import recorded_window
    from ps3d_core.granulometry.write import NAMES, write_sizes
    from ps3d_core.store.deriving import deriving
    from ps3d_core.store.location import Location

    table = _table(args.table)
    params = size_params(args)
    output = Location.parse(args.output) if args.output else table.parent / "sizes"
    with deriving(table, [output / name for name in NAMES]):
        analysis = size_analysis(table, params, window=recorded_window(table))
        write_sizes(analysis, output)
    if args.json:
        print(analysis.model_dump_json(indent=2))
        return
    for line in lines_of(analysis):
        print(line)
    print(f"  files   {output / 'size_distribution.csv'}, size_classes.csv, charts (SVG and PNG)")


def lines_of(analysis: SizeAnalysis) -> Iterator[str]:
    """Yield the figures of an analysis as lines of text for a person."""
    from ps3d_core.granulometry.source import NAME
    from ps3d_core.printable import printable

    left = f", {analysis.left_out} without it are left out" if analysis.left_out else ""
    yield f"{analysis.particles} particles over the {NAME[analysis.params.size]}{left}"
    yield f"{'':24}{'D10, mm':>26}{'D50, mm':>26}{'D90, mm':>26}"
    for each in analysis.distributions:
        yield _row(f"by {each.weighting}", each)
    if (edge := analysis.edge) is not None and edge.cut:
        for each in edge.distributions:
            yield _row(f"by {each.weighting}, corrected", each)
        yield f"corrected for {edge.cut} particles that the edge cuts, from {edge.whole} whole ones"
        for doubt in edge.doubts:
            yield f"  do not rely on the corrected figures: {doubt}"
    for fit in analysis.fits[analysis.params.headline]:
        known = f"x' {fit.size_mm:.4g} mm, n" if fit.name == "rosin-rammler" else f"median {fit.size_mm:.4g} mm, s"
        name = f"{fit.name} by {analysis.params.headline}"
        yield f"{name:<27}{known} {fit.width:.3g}; R2 {fit.r2:.4f}, off by {100 * fit.distance:.1f} % at most"
    if (sieve := analysis.sieve) is not None:
        yield (
            f"{printable(sieve.name)}: largest distance {100 * sieve.distance:.1f} % at {sieve.distance_at_mm:.4g} mm, "
            f"area {sieve.area:.4f} decades"
        )
        for name, (theirs, ours) in sieve.percentiles.items():
            far = "not reached" if theirs is None else f"{theirs:.4g} mm, ours {100 * (ours / theirs - 1):+.1f} %"
            yield f"  {name}  {far}"
    for note in analysis.notes:
        yield f"note: {note}"


def _row(name: str, each: Distribution) -> str:
    return f"{name:<24}{_estimate(each.d10):>26}{_estimate(each.d50):>26}{_estimate(each.d90):>26}"


def _estimate(it: Estimate) -> str:
    return f"{it.value:.4g}" if it.low is None else f"{it.value:.4g} ({it.low:.4g} to {it.high:.4g})"


def _table(given: str) -> Location:
    from ps3d_core.store.kinds import not_usable, unfinished
    from ps3d_core.store.location import Location

    place = Location.parse(given)
    if (problem := not_usable(place, "table")) is not None:
        raise problem
    table = place / "particles.parquet" if place.is_dir() else place
    if (problem := unfinished(table.parent)) is not None:
        raise problem
    return table
