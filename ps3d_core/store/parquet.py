"""Parquet files read in parts, which no store verifies: every page carries a checksum, and is read against it.

A page that is not what was written is read again, as what was disturbed on its way may be; what stays wrong is damage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ps3d_core.errors import CorruptDataError
from ps3d_core.store.location import Location

Read = TypeVar("Read")

WRITING: Final[dict[str, Any]] = {"compression": "zstd", "write_page_checksum": True}
"""What writers of Parquet files are told."""
READS: Final = 3
"""Of a file before it counts as damaged."""


def from_parquet(place: Location, read: Callable[[pq.ParquetFile], Read], remedy: str) -> Read:
    """Return what `read` makes of a Parquet file; it may be called again after a page was disturbed.

    Raise `CorruptDataError`, with the `remedy`, when the file is none, or is not what was written.
    """
    for left in range(READS - 1, -1, -1):
        try:
            with place.open_reading() as stream, pq.ParquetFile(stream, page_checksum_verification=True) as file:
                return read(file)
        except (pa.ArrowException, OSError) as error:
            if not _is_damage(error):
                raise
            if not left:
                raise CorruptDataError(f"{place}: not a Parquet file ({error}); {remedy}") from error
    raise AssertionError


def _is_damage(error: Exception) -> bool:
    """Whether an error is about what was read; a checksum that is wrong is an OSError like any of a store."""
    return isinstance(error, pa.ArrowException) or "checksum" in str(error).lower() or "CRC" in str(error)
