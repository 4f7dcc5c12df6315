"""Files of sample data: what `ps3d_core.sample_data` says they may hold, as JSON that an editor can change."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from ps3d_core.errors import InputError
from ps3d_core.invalid import first_problem
from ps3d_core.sample_data import EXAMPLE, SampleFields
from ps3d_core.store.location import Location, from_json

MAX_BYTES: Final = 64 * 1024
_FIELDS: Final = TypeAdapter(SampleFields)


def sample_from(content: bytes, source: str) -> dict[str, str]:
    """Return the sample data that a JSON text holds; `source` is where it came from.

    Raise `InputError` in one line that names the field, what it must be and the remedy.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"{source}: more than {MAX_BYTES} bytes; must be a few fields like {EXAMPLE}")
    try:
        return _FIELDS.validate_python(from_json(content.removeprefix(b"\xef\xbb\xbf")))
    except ValidationError as error:
        raise InputError(f"{source}: {first_problem(error)}") from None
    except InputError as error:
        raise error.about(source) from None
    except (ValueError, RecursionError):
        raise InputError(f"{source}: not valid JSON; must be a few fields like {EXAMPLE}") from None


def read_sample(file: Location) -> dict[str, str]:
    """Return the sample data in `file`; empty when there is no such file. Raise `InputError` when it holds others."""
    return sample_from(file.read_bytes(), str(file)) if file.exists() else {}


def sample_file(path: str | Path) -> dict[str, str]:
    """Return the sample data in a file that a user names. Raise `InputError` when it cannot be used."""
    place = Location.parse(path)
    if not place.is_file():
        raise InputError(f"{place}: no such file; give one with fields like {EXAMPLE}")
    if (size := sum(info["size"] for info in place.find(hidden=True).values())) > MAX_BYTES:
        raise InputError(f"{place}: {size} bytes; must be a few fields like {EXAMPLE}, at most {MAX_BYTES} bytes")
    return read_sample(place)
