"""Types of command-line values, and the arguments that commands share.

Each type checks what it is given and says in one line what would be right.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)


def length_mm(text: str) -> float:
    """A positive length in mm: a number of mm, or one with its unit, like 12.5um."""
    number, unit = _length(text)
    return float(number * _MM_PER_UNIT[unit])


def voxel_mm(text: str) -> float:
    """The edge of a voxel in mm, like `length_mm`; one that no scanner has must be written with its unit."""
    return _edges([text])[0]


def spacing_mm(text: str) -> tuple[float, float, float]:
    """Edges of a voxel (z, y, x) in mm: one length for all, or three with commas between them."""
    sides = text.split(",")
    if len(sides) not in (1, 3):
        hint = f"; decimals are written {text.replace(',', '.')}" if len(sides) == 2 else ""
        raise argparse.ArgumentTypeError(f"{text}: must be one length or three, z,y,x, like 0.02,0.01,0.01{hint}")
    z, y, x = _edges(sides) * (1 if len(sides) == 3 else 3)
    return z, y, x


def edges_mm(texts: Sequence[str]) -> list[float]:
    """Edges of a voxel in mm, in the order given, like `spacing_mm`; `InputError` for what are none."""
    from ps3d_core.errors import InputError

    try:
        return _edges(texts)
    except argparse.ArgumentTypeError as error:
        raise InputError(str(error)) from error


def positive(text: str) -> int:
    """A whole number from 1."""
    return _number(text, int, lambda value: value >= 1, "a whole number from 1")


def not_negative(text: str) -> int:
    """A whole number from 0."""
    return _number(text, int, lambda value: value >= 0, "a whole number from 0")


def add_resources(
    group: argparse.ArgumentParser | argparse._ArgumentGroup, *, at_once: str = "blocks", runners: bool = False
) -> None:
    """Add --workers and --memory and, where a command has `runners`, --runner and --dask-scheduler.

    `at_once` says what there are as many of as workers.
    """
    group.add_argument(
        "--workers", type=positive, metavar="N", help=f"{at_once} at once (default: number of CPU cores)"
    )
    group.add_argument(
        "--memory", type=float, metavar="GB", help="memory the run may use, GiB (default: 60 %% of what is free)"
    )
    if runners:
        group.add_argument(
            "--runner", choices=("threads", "processes", "dask"), default="threads", help="default: threads"
        )
        group.add_argument("--dask-scheduler", metavar="ADDRESS", help="with --runner dask (default: a local cluster)")


def add_memory(parser: argparse.ArgumentParser) -> None:
    """Add --memory to a command that reads volumes slab by slab."""
    parser.add_argument(
        "--memory", type=float, default=4.0, metavar="GB", help="memory for slices on their way, GiB (default: 4)"
    )


def memory_bytes(args: argparse.Namespace) -> int:
    """What --memory says, in bytes; `InputError` for what is no amount of memory."""
    from ps3d_core.params import GIB, Resources

    return int(validated(Resources, args.options, memory_gib=args.memory).memory_gib * GIB)


def validated(model: type[Model], options: Mapping[str, str], **values: Any) -> Model:
    """`model` made of the values that are not None; `InputError` naming the option of a value that does not fit."""
    from pydantic import ValidationError

    from ps3d_core.errors import InputError
    from ps3d_core.invalid import first_problem

    def flag(field: str) -> str:
        name = field.partition(".")[0]  # not which of its values
        return options.get(name, name)

    try:
        return model(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise InputError(*first_problem(error, flag)) from error


def _edges(texts: Sequence[str]) -> list[float]:
    """Edges of one voxel in mm.

    A number without a unit is mm. Where only some have one, the others are in mm or in that, whichever makes a voxel of
    it; and where none has one, a voxel larger or smaller than any scanner's must be written with its unit.
    """
    units = {unit for _, unit in map(_length, texts)}
    readings = [_in_mm(texts, bare) for bare in (*sorted(units - {""}), "mm")]
    if units == {""}:
        for text, side in zip(texts, readings[0], strict=True):
            _check_bare(text.strip(), side)
    for sides in readings:
        if len(units) == 1 or max(sides) <= _MOST_STRETCHED * min(sides):
            return sides
    raise argparse.ArgumentTypeError(
        f"{','.join(texts)}: lengths in different units that make no voxel; write one unit"
    )


def _in_mm(texts: Sequence[str], bare: str) -> list[float]:
    # In decimals: 12.5um is exactly what 0.0125 is.
    return [float(number * _MM_PER_UNIT[unit or bare]) for number, unit in map(_length, texts)]


def _check_bare(text: str, side: float) -> None:
    if side >= _IMPOSSIBLE:
        raise argparse.ArgumentTypeError(f"{text}: must be below {_IMPOSSIBLE:g} mm; is {text}um meant?")
    if not _SMALLEST_BARE <= side <= _LARGEST_BARE:
        meant = f"{text}um" if side > 1 else f"{side * 1e6:g}um"  # micrometres, or metres
        raise argparse.ArgumentTypeError(
            f"{text}: a voxel of {text} mm; is {meant} meant? write the unit: {meant} or {text}mm"
        )


def _length(text: str) -> tuple[Decimal, str]:
    part = _LENGTH.fullmatch(text.strip())
    number = Decimal(part["number"]) if part else Decimal(0)
    if part is None or part["unit"] not in _MM_PER_UNIT or not 0 < float(number * _SMALLEST_UNIT) < inf:
        hint = f"; decimals are written {text.replace(',', '.')}" if _COMMA.fullmatch(text.strip()) else ""
        raise argparse.ArgumentTypeError(f"{text}: must be a length in mm above 0, like 0.0125 or 12.5um{hint}")
    return number, part["unit"]


_LENGTH = re.compile(r"(?P<number>[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?)\s*(?P<unit>[a-zµμ]*)")
_COMMA = re.compile(r"[0-9]+,[0-9]+ *[a-zµμ]*")
_UM, _SMALLEST_UNIT = Decimal("1e-3"), Decimal("1e-6")
_MM_PER_UNIT = {  # two ways to write the Greek letter
    "": Decimal(1),
    "nm": _SMALLEST_UNIT,
    "um": _UM,
    "µm": _UM,
    "μm": _UM,
    "mm": Decimal(1),
}
_SMALLEST_BARE, _LARGEST_BARE, _IMPOSSIBLE = 1e-4, 1.0, 1000.0  # mm
_MOST_STRETCHED = 20  # longest edge of a voxel to its shortest

Number = TypeVar("Number", int, float)


def _number(text: str, kind: Callable[[str], Number], fits: Callable[[Number], bool], wanted: str) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"{text}: must be {wanted}")
    return value
