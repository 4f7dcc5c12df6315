"""Options that say how size distributions are given, for all commands that give some."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, get_args

from ps3d_app.flows.command.arguments import length_mm

if TYPE_CHECKING:
    from ps3d_app.flows.command.fields import Options
    from ps3d_core.size_params import MeasuredCurve, SizeParams


def add_density(to: Options) -> None:
    """Add the option of densities."""
    to.add_argument("--density", metavar="G/CM3", help="of all particles, or of each phase: NAME=G/CM3,NAME=G/CM3")


def add_size_options(to: Options) -> None:
    """Add the options of size distributions."""
    from ps3d_core.granulometry.measured import ColumnKind, SizeUnit
    from ps3d_core.size_params import SizeKind, Weighting

    add_density(to)
    to.add_argument(
        "--size", choices=get_args(SizeKind), default="equivalent", help="over which size (default: equivalent)"
    )
    to.add_argument(
        "--weighting",
        choices=get_args(Weighting),
        help="which distribution is fitted and compared (default: mass where densities are known, else volume)",
    )
    to.add_argument(
        "--classes",
        default="iso",
        metavar="SIEVES",
        help="iso, iso-r20, iso-r40-3 or astm; apertures like 0.063,0.125,250um; or a file of them (default: iso)",
    )
    to.add_argument("--sieve", metavar="FILE.csv", help="measured curve to compare with")
    to.add_argument("--sieve-unit", choices=get_args(SizeUnit), help="of its sizes, where its header does not say")
    to.add_argument(
        "--sieve-column",
        choices=get_args(ColumnKind),
        help="what its shares are, where its header does not say: passing or retained in all, or that of each class",
    )
    to.add_argument("--confidence", type=float, default=0.95, metavar="F", help="of the intervals (default: 0.95)")


def size_params(args: argparse.Namespace) -> SizeParams:
    """Return what the options say, of a command that has all of them or that of densities alone.

    Raise `InputError`, which names the option, for what cannot be.
    """
    from ps3d_core.invalid import made
    from ps3d_core.size_params import SizeParams

    said = _densities(args.density)
    if hasattr(args, "classes"):
        given = {name: getattr(args, name) for name in ("size", "weighting", "confidence")}
        said |= given | {"classes": _classes(args.classes), "sieve": _measured(args)}
    return made(SizeParams, _flag, **said)


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
