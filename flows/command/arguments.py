"""Types of command-line values, and the arguments that commands share.

Each type checks what it is given and says in one line what would be right.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ps3d_core.errors import InputError
from ps3d_core.geometry import lengths

if TYPE_CHECKING:
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)


def length_mm(text: str) -> float:
    """Return a positive length in mm from a number of mm, or one with its unit, like 12.5um.

    Raise `argparse.ArgumentTypeError` when the text is no such length.
    """
    return _told(lengths.length_mm, text)


def voxel_mm(text: str) -> float:
    """Return the edge of a voxel in mm from a text like those of `length_mm`.

    Raise `argparse.ArgumentTypeError` when the text is no such length. An edge that no scanner has must be written with
    its unit.
    """
    return _told(lengths.edges_mm, [text])[0]


def spacing_mm(text: str) -> tuple[float, float, float]:
    """Return the edges of a voxel (z, y, x) in mm from one length for all, or three with commas between them.

    Raise `argparse.ArgumentTypeError` when the text is neither.
    """
    sides = text.split(",")
    if len(sides) not in (1, 3):
        hint = f"; decimals are written {text.replace(',', '.')}" if len(sides) == 2 else ""
        raise argparse.ArgumentTypeError(f"{text}: must be one length or three, z,y,x, like 0.02,0.01,0.01{hint}")
    z, y, x = _told(lengths.edges_mm, sides) * (1 if len(sides) == 3 else 3)
    return z, y, x


def positive(text: str) -> int:
    """Return a whole number from 1.

    Raise `argparse.ArgumentTypeError` when the text is none.
    """
    return _number(text, int, lambda value: value >= 1, "a whole number from 1")


def not_negative(text: str) -> int:
    """Return a whole number from 0.

    Raise `argparse.ArgumentTypeError` when the text is none.
    """
    return _number(text, int, lambda value: value >= 0, "a whole number from 0")


def add_resources(
    group: argparse.ArgumentParser | argparse._ArgumentGroup, *, at_once: str = "blocks", runners: bool = False
) -> None:
    """Add --workers and --memory and, where a command has `runners`, --runner and --dask-scheduler.

    `at_once` says in the help of --workers what is processed at once, as many as there are workers.
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
    """Return the amount of memory that --memory says, in bytes.

    Raise `InputError` when it is no amount of memory.
    """
    from ps3d_core.params import GIB, Resources

    return int(validated(Resources, args.options, memory_gib=args.memory).memory_gib * GIB)


def validated(model: type[Model], options: Mapping[str, str], **values: Any) -> Model:
    """Return an instance of `model` made of the values that are not None.

    Raise `InputError`, which names the option, when a value does not fit.
    """
    from pydantic import ValidationError

    from ps3d_core.invalid import first_problem

    def flag(field: str) -> str:
        name = field.partition(".")[0]  # not which of its values
        return options.get(name, name)

    try:
        return model(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise InputError(*first_problem(error, flag)) from error


def _told(read: Callable[[Given], Read], given: Given) -> Read:
    """Return what `read` makes of `given`; raise its complaint as one that argparse takes as it is."""
    try:
        return read(given)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


Given = TypeVar("Given")
Read = TypeVar("Read")
Number = TypeVar("Number", int, float)


def _number(text: str, kind: Callable[[str], Number], fits: Callable[[Number], bool], wanted: str) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"{text}: must be {wanted}")
    return value
