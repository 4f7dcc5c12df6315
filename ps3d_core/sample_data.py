"""What a laboratory says of a sample: its number, who measured it, for whom, and whatever else it keeps.

Sample data come from outside and decide nothing but what reports say. So they are a few short lines of text: names and
values are bounded, on one line each, and of characters that are seen. They lie with the dataset, in samples/NAME.json,
where an editor can change them; the scan and metadata.json, which other programs read, know nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from ps3d_core.errors import InputError
from ps3d_core.invalid import first_problem

ID, DATE, LICENCE, OPERATOR, CUSTOMER, MATERIAL = "id", "date", "licence", "operator", "customer", "material"
TITLES: Final = {
    ID: "Sample",
    MATERIAL: "Material",
    CUSTOMER: "Customer",
    DATE: "Date",
    OPERATOR: "Operator",
    LICENCE: "Licence",
}
"""What fields with a meaning of their own are called on a page, in the order they are shown; others follow."""

MAX_FIELDS: Final = 40
MAX_NAME: Final = 60
MAX_VALUE: Final = 500
EXAMPLE: Final = '{"id": "A-17", "operator": "J. Doe", "date": "2026-11-30"}'


def checked_sample(given: Any) -> dict[str, str]:
    """Return sample data as texts by name, in the order given; numbers become texts.

    Raise `ValueError`, in the form that `invalid` words, for anything but a few short lines.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"sample data must be an object of named texts, like {EXAMPLE}; give one")
    if len(given) > MAX_FIELDS:
        raise ValueError(f"{len(given)} fields of sample data: must be at most {MAX_FIELDS}; leave some out")
    fields = {_name(name): _value(name, value) for name, value in given.items()}
    if len(fields) < len(given):
        raise ValueError("two fields of the sample data have one name; keep the one that is right")
    if DATE in fields and date_of(fields) is None:
        raise ValueError(f"date {fields[DATE]!r}: must be like 2026-11-30 or 2026-11-30T14:05; correct it")
    return fields


SampleFields = Annotated[dict[str, str], BeforeValidator(checked_sample)]
"""Sample data of a scan: texts by the names of their fields."""

_FIELDS: Final = TypeAdapter(SampleFields)


def field_of(text: str) -> tuple[str, str]:
    """Return name and value of a field that was said as NAME=VALUE. Raise `InputError` when it cannot be used."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"field {text[:MAX_NAME]!r}: must be NAME=VALUE; add what the field holds")
    return next(iter(sample_of({name: value}).items()))


def sample_of(given: Mapping[str, str | float]) -> dict[str, str]:
    """Return sample data as they may be kept. Raise `InputError` when they cannot be used."""
    try:
        return _FIELDS.validate_python(given)
    except ValidationError as error:
        raise InputError(f"sample data: {first_problem(error)}") from None


def titled(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return (title, value) lines for a page: those with a meaning of their own first, others as they were given."""
    known = [(title, fields[name]) for name, title in TITLES.items() if name in fields]
    return known + [(name[:1].upper() + name[1:], text) for name, text in fields.items() if name not in TITLES]


def date_of(fields: Mapping[str, str]) -> datetime | None:
    """Return the date of the sample, without a time zone where none is said; None where there is no date."""
    try:
        return datetime.fromisoformat(fields[DATE])
    except (KeyError, ValueError):
        return None


def _name(name: Any) -> str:
    text = name.strip() if isinstance(name, str) else ""
    if not (text and text.isprintable() and len(text) <= MAX_NAME and "=" not in text):
        raise ValueError(
            f"field {_shown(name)} of the sample data: a name must be 1 to {MAX_NAME} printable characters without =; "
            "give another"
        )
    return {"license": LICENCE}.get(text, text)


def _value(name: Any, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{value:.15g}" if isinstance(value, float) else str(value) if is_number else value
    text = text.strip() if isinstance(text, str) else ""
    if not (text and text.isprintable() and len(text) <= MAX_VALUE):
        raise ValueError(
            f"field {_shown(name)} of the sample data: must be a text or number of 1 to {MAX_VALUE} printable "
            "characters; correct it"
        )
    return text


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}..."
