"""What pydantic found wrong with a value, in the words of this project: the value, its limit and what to do.

Parameters, metadata, descriptions and records are all checked by pydantic, whose own words ("Input should be greater
than 0") name neither the value nor a remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isnan
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from ps3d_core.errors import InputError

Model = TypeVar("Model", bound=BaseModel)

_SHOWN: Final = 60
_LIMITS: Final = {
    "greater_than": ("above {gt}", "give more"),
    "greater_than_equal": ("at least {ge}", "give more"),
    "less_than": ("below {lt}", "give less"),
    "less_than_equal": ("at most {le}", "give less"),
    "too_short": ("at least {min_length} values, not {actual_length}", "give more"),
    "too_long": ("at most {max_length} values, not {actual_length}", "give fewer"),
    "string_too_short": ("at least {min_length} character(s) long", "give a longer one"),
    "string_too_long": ("at most {max_length} characters long", "shorten it"),
    "string_pattern_mismatch": ("like the pattern {pattern}", "correct it"),
    "literal_error": ("{expected}", "choose one of them"),
    "finite_number": ("a finite number", "give one"),
}
# By what the names of pydantic's errors about types begin with.
_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "model": "an object of named values",
    "dict": "an object of named values",
    "tuple": "a list of values",
    "list": "a list of values",
}


class Problem(NamedTuple):
    """Message that says what is wrong, naming field, value and limit; and what to do about it."""

    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.text}; {self.remedy}"


def made(model: type[Model], called: Callable[[str], str] = str, **values: Any) -> Model:
    """Return an instance of `model` made of `values`.

    Raise `InputError`, which names the first field that is wrong as `called` tells, its value and its limit.
    """
    try:
        return model(**values)
    except ValidationError as error:
        raise InputError(*first_problem(error, called)) from error


def first_problem(error: ValidationError, called: Callable[[str], str] = str) -> Problem:
    """Return the first problem that pydantic found, like "batch_size 9999: must be at most 256; give less".

    `called` tells what a field is known as where the message is read; names of fields inside others follow dots.
    """
    first, *others = error.errors()
    kind, value = str(first["type"]), first["input"]
    field = _field(first)
    where = called(field) if field else ""
    if kind == "missing":
        return Problem(f"{where} is missing", "add it")
    if kind == "extra_forbidden":
        return Problem(f"{where} is not known here", "remove it, or correct its spelling")
    # Compared with any limit nan is found to be beyond it.
    kind = "finite_number" if isinstance(value, float) and isnan(value) else kind
    wanted, remedy = _wanted(kind, str(first["msg"]), first.get("ctx", {}))
    words = [str(each["ctx"]["expected"]) for each in others if each["type"] == "literal_error" and _is_of(each, field)]
    wanted = " or ".join([wanted, *words])
    # Of a whole object, our own words name the field that is wrong.
    given = f"{where} {_shown(value)}: " if where else "" if kind == "value_error" else f"{_shown(value)}: "
    return Problem(f"{given}{wanted}", remedy)


def _field(problem: Mapping[str, Any]) -> str:
    """Name of the field, without which of the types that it may have was tried: a word that no field is called."""
    return ".".join(str(part) for part in problem["loc"] if str(part).replace("_", "0").isalnum())


def _is_of(problem: Mapping[str, Any], field: str) -> bool:
    return _field(problem) == field and len(problem["loc"]) > field.count(".") + 1


def _wanted(kind: str, message: str, limits: dict[str, Any]) -> tuple[str, str]:
    if kind in _LIMITS:
        wanted, remedy = _LIMITS[kind]
        shown = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in limits.items()}
        return f"must be {wanted.format(**shown)}", remedy
    if kind == "value_error":
        wanted, _, remedy = message.removeprefix("Value error, ").partition("; ")
        return wanted, remedy or "correct it"
    if kind == "json_invalid":
        return f"not valid JSON ({message.removeprefix('Invalid JSON: ')})", "mend it"
    family = kind.partition("_")[0]
    if family in _KINDS:
        return f"must be {_KINDS[family]}", "give one"
    return f"{message[:1].lower()}{message[1:]}", "correct it"


def _shown(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
