"""Types of command-line values: each checks what it is given and says in one line what would be right."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)


def length_mm(text: str) -> float:
    """A positive length in mm."""
    return _number(text, float, lambda value: isfinite(value) and value > 0, "a length in mm above 0, like 0.0125")


def positive(text: str) -> int:
    """A whole number from 1."""
    return _number(text, int, lambda value: value >= 1, "a whole number from 1")


def not_negative(text: str) -> int:
    """A whole number from 0."""
    return _number(text, int, lambda value: value >= 0, "a whole number from 0")


def validated(model: type[Model], flags: Mapping[str, str], **values: Any) -> Model:
    """`model` made of the values that are not None; `InputError` naming the flag of a value that does not fit."""
    from pydantic import ValidationError

    from ps3d_core.errors import InputError

    try:
        return model(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        flag = flags.get(name, f"--{name.replace('_', '-')}")
        problem = str(first["msg"]).removeprefix("Value error, ")
        raise InputError(f"{flag} {first['input']}: {problem}") from error


Number = TypeVar("Number", int, float)


def _number(text: str, kind: Callable[[str], Number], fits: Callable[[Number], bool], wanted: str) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"{text}: must be {wanted}")
    return value
