"""`ps3d sizes`: size distributions of a particle table, as laboratories give them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

from ps3d_app.flows.command.arguments import length_mm

if TYPE_CHECKING:
    from ps3d_core.granulometry.model import Distribution, Estimate, SizeAnalysis
    from ps3d_core.granulometry.params import MeasuredCurve
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
    from ps3d_core.granulometry.measured import ColumnKind, SizeUnit
    from ps3d_core.granulometry.params import SizeKind, Weighting

    parser.add_argument("table", metavar="TABLE", help="folder of a result or a table, or particles.parquet itself")
    parser.add_argument("--density", metavar="G/CM3", help="of all particles, or of each phase: NAME=G/CM3,NAME=G/CM3")
    parser.add_argument(
        "--size", choices=get_args(SizeKind), default="equivalent", help="over which size (default: equivalent)"
    )
    parser.add_argument(
        "--weighting",
        choices=get_args(Weighting),
        help="which distribution is fitted and compared (default: mass where densities are known, else volume)",
    )
    parser.add_argument(
        "--classes",
        default="iso",
        metavar="SIEVES",
        help="iso, iso-r20, iso-r40-3 or astm; apertures like 0.063,0.125,250um; or a file of them (default: iso)",
    )
    parser.add_argument("--sieve", metavar="FILE.csv", help="measured curve to compare with")
    parser.add_argument("--sieve-unit", choices=get_args(SizeUnit), help="of its sizes, where its header does not say")
    parser.add_argument(
        "--sieve-column",
        choices=get_args(ColumnKind),
        help="what its shares are, where its header does not say: passing or retained in all, or that of each class",
    )
    parser.add_argument("--confidence", type=float, default=0.95, metavar="F", help="of the intervals (default: 0.95)")
    parser.add_argument(
        "--output", metavar="DIR", help="folder for tables and charts (default: sizes, beside the table)"
    )
    parser.add_argument("--json", action="store_true", help="print the whole analysis as JSON")


def run(args: argparse.Namespace) -> None:
    """Analyse one table, print the figures, write tables and charts."""
    from ps3d_core.granulometry.analysis import size_analysis
    from ps3d_core.granulometry.earlier import recorded_window
    from ps3d_core.granulometry.params import SizeParams
    from ps3d_core.granulometry.write import write_sizes
    from ps3d_core.invalid import made
    from ps3d_core.store.location import Location

    table = _table(args.table)
    params = made(
        SizeParams,
        _flag,
        size=args.size,
        weighting=args.weighting,
        classes=_classes(args.classes),
        sieve=_measured(args),
        confidence=args.confidence,
        **_densities(args.density),
    )
    analysis = size_analysis(table, params, window=recorded_window(table))
    output = Location.parse(args.output) if args.output else table.parent / "sizes"
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
    from ps3d_core.errors import InputError
    from ps3d_core.store.location import Location

    place = Location.parse(given)
    if not place.exists():
        raise InputError(f"{place}: nothing there; check the path")
    if place.is_dir():
        table = place / "particles.parquet"
        if not table.exists():
            raise InputError(
                f"{place}: no particles.parquet; give the folder of a result, or of a table of ps3d measure"
            )
        return table
    if place.name.endswith(".csv"):
        raise InputError(f"{place}: a text table; give particles.parquet, which lies beside it")
    return place


def _densities(text: str | None) -> dict[str, Any]:
    """What --density says: one for all, or one for each phase."""
    if text is None:
        return {}
    if "=" not in text:
        return {"density": _density(text, text)}
    pairs = [part.partition("=") for part in text.split(",")]
    names = [name.strip() for name, _, _ in pairs]
    if len(set(names)) < len(names):
        from ps3d_core.errors import InputError

        raise InputError(f"--density {text[:60]}: a phase is named twice; give each once")
    return {"densities": {name.strip(): _density(value, text) for name, _, value in pairs}}


def _density(value: str, text: str) -> float:
    from ps3d_core.errors import InputError

    try:
        return float(value)
    except ValueError:
        raise InputError(
            f"--density {text[:60]}: {value[:30]!r} is no number; give g/cm3 like 2.65, or quartz=2.65,pyrite=5.01"
        ) from None


def _classes(text: str) -> str | tuple[float, ...]:
    """What --classes says: a series, or apertures in mm, given or in a file."""
    from ps3d_core.errors import InputError
    from ps3d_core.granulometry.measured import MOST_BYTES, decoded
    from ps3d_core.granulometry.series import APERTURES
    from ps3d_core.store.location import Location

    if text in APERTURES:
        return text
    words = text
    if not text[:1].isdigit() or Location.parse(text).is_file():
        place = Location.parse(text)
        if not place.is_file():
            raise InputError(f"--classes {text[:60]}: no such file; give {', '.join(APERTURES)}, apertures or a file")
        words = decoded(place.read_start(MOST_BYTES + 1), place.name)
    parts = words.replace(";", "\n").replace(",", "\n").split("\n")
    try:
        return tuple(length_mm(part.strip()) for part in parts if part.strip())
    except argparse.ArgumentTypeError as error:
        raise InputError(f"--classes {text[:60]}: {error}; give apertures like 0.063,0.125,250um") from error


def _measured(args: argparse.Namespace) -> MeasuredCurve | None:
    from ps3d_core.errors import InputError
    from ps3d_core.granulometry.measured import MOST_BYTES, decoded, measured_curve
    from ps3d_core.store.location import Location

    if args.sieve is None:
        return None
    place = Location.parse(args.sieve)
    if not place.is_file():
        raise InputError(f"{place}: no such file; check the path")
    text = decoded(place.read_start(MOST_BYTES + 1), place.name)
    return measured_curve(text, place.name, unit=args.sieve_unit, kind=args.sieve_column)


def _flag(field: str) -> str:
    name = field.partition(".")[0]
    return {"densities": "--density", "sieve": "--sieve"}.get(name, f"--{name}")
