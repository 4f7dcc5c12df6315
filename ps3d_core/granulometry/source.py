"""What a size analysis reads of a particle table: single columns, as arrays of numbers, or all rows in pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ps3d_core.errors import InputError
from ps3d_core.granulometry.curve import Floats
from ps3d_core.particles.window import Window, window_of
from ps3d_core.phases import phases_in
from ps3d_core.size_params import SizeKind
from ps3d_core.store.location import Location
from ps3d_core.store.parquet import from_parquet

ROWS: Final = 2**18
"""That are read at once."""
COLUMN: Final[dict[SizeKind, str]] = {"equivalent": "diameter_mm", "feret-min": "feret_min_mm", "sieve": "sieve_mm"}
NAME: Final[dict[SizeKind, str]] = {
    "equivalent": "equivalent diameter",
    "feret-min": "minimum Feret diameter x_Fe,min",
    "sieve": "sieve diameter (square hole)",
}
_BOX: Final = tuple(f"bbox_{axis}_{end}" for end in ("start", "stop") for axis in "zyx")

Use = Callable[[int, npt.NDArray[np.float64]], None]
UseBoxes = Callable[[int, npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]], None]


@dataclass(frozen=True)
class Source:
    """A particle table: where it is, which columns it has, and what it says that it shows."""

    table: Location
    names: tuple[str, ...]
    rows: int
    window: Window | None

    @classmethod
    def of(cls, table: Location) -> Source:
        """Open a table. Raise `CorruptDataError` when it is no Parquet file, `InputError` when it is no such table."""
        names, rows, window = from_parquet(table, _about, "measure again")
        source = cls(table, names, rows, window)
        source.require(["diameter_mm", "volume_mm3"], "measure again with ps3d measure or ps3d segment")
        return source

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases whose shares the table has."""
        return phases_in(self.names)

    @property
    def has_boxes(self) -> bool:
        """Whether it says where particles lie, and which are cut."""
        return {*_BOX, "touches_border"} <= set(self.names)

    def require(self, names: Sequence[str], *remedies: str) -> None:
        """Raise `InputError`, with the `remedies`, unless it has these columns."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise InputError(f"{self.table}: no column {missing[0]}", *remedies)

    def sizes(self, kind: SizeKind) -> Floats:
        """Return the sizes of all particles (n,), mm; NaN for what has none."""
        self.require([COLUMN[kind]], "measure again with columns of shape", "choose another <size>")
        return self.column(COLUMN[kind])

    def column(self, name: str) -> Floats:
        """Return a column of numbers (n,) as float64; NaN for "no value"."""
        values = np.empty(self.rows)

        def use(first: int, rows: npt.NDArray[np.float64]) -> None:
            values[first : first + len(rows)] = rows[:, 0]

        self.each([name], use)
        return values

    def boxes(self, use: UseBoxes) -> None:
        """Tell `use` the first row, low (k, 3), high (k, 3) and cut (k,) of all particles, piece by piece."""

        def split(first: int, rows: npt.NDArray[np.float64]) -> None:
            whole = np.nan_to_num(rows).astype(np.int64)
            use(first, whole[:, :3], whole[:, 3:6], whole[:, 6] != 0)

        self.each([*_BOX, "touches_border"], split)

    def each(self, names: Sequence[str], use: Use) -> None:
        """Tell `use` the first row and the values (k, columns) of all rows, piece by piece.

        Raise `InputError` for a column that is not of numbers. A piece may be told again after a disturbed read.
        """

        def read(file: pq.ParquetFile) -> None:
            first = 0
            for batch in file.iter_batches(batch_size=ROWS, columns=list(names)):
                if first + len(batch) > self.rows:
                    raise InputError(f"{self.table}: more rows than it says; measure again")
                use(first, np.stack([self._numbers(batch.column(name), name) for name in names], axis=1))
                first += len(batch)

        from_parquet(self.table, read, "measure again")

    def _numbers(self, column: pa.Array, name: str) -> Floats:
        kind = column.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            raise InputError(f"{self.table}: column {name} is of {kind}, not of numbers; measure again")
        if pa.types.is_boolean(kind):
            column = column.cast(pa.uint8())
        return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _about(file: pq.ParquetFile) -> tuple[tuple[str, ...], int, Window | None]:
    schema = file.schema_arrow
    return tuple(schema.names), int(file.metadata.num_rows), window_of(schema)
