"""Mean and spread of grey values that arrive in pieces.

Sums of squares grow with the mean and lose the spread by cancellation, so what is kept per piece is its count, its
mean and its sum of squared deviations from that mean, and pieces are merged by

    d = mean_b - mean_a,     mean = mean_a + d n_b / n,     deviations = dev_a + dev_b + d^2 n_a n_b / n

(Chan, Golub and LeVeque 1983). The same formula serves two kinds of numbers. Integers of up to 32 bits are summed
without rounding and give fractions: merging is then exact, in any order, of any blocks. Everything else gives float64,
where the order changes the last digits only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.store.ledger import Record

Number = Fraction | float

_MOST_INTEGERS: Final = 2**30  # at a time: their sums fit into 64 bits
_MOST_FLOATS: Final = 2**18  # at a time: as float64 they stay in the cache


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and sum of squared deviations from the mean; `a + b` are those of both together."""

    count: int = 0
    mean: Number = Fraction(0)
    deviations: Number = Fraction(0)

    def __add__(self, other: Moments) -> Moments:
        if not (self.count and other.count):
            return self if self.count else other
        count = self.count + other.count
        step = other.mean - self.mean
        return Moments(
            count,
            self.mean + step * other.count / count,
            self.deviations + other.deviations + step * step * self.count * other.count / count,
        )

    @property
    def std(self) -> float:
        """Standard deviation over all values (divided by the count, as numpy does)."""
        return sqrt(self.deviations / self.count) if self.count else 0.0

    def to_record(self) -> Record:
        """Return the moments as JSON: fractions as text, floats as numbers; both come back as they were."""
        return {"count": self.count, "mean": _to_json(self.mean), "deviations": _to_json(self.deviations)}

    @classmethod
    def from_record(cls, record: Record) -> Moments:
        """Return the moments that `to_record` wrote. Raise `ValueError`, `KeyError` or `TypeError` otherwise."""
        return cls(int(record["count"]), _from_json(record["mean"]), _from_json(record["deviations"]))


def merged(pieces: Iterable[Moments]) -> Moments:
    """Return the moments of all pieces together, merged in their order."""
    return reduce(Moments.__add__, pieces, Moments())


def moments_of(values: npt.NDArray[Any]) -> Moments:
    """Return the moments of an array of any shape and real dtype.

    Integers of up to 32 bits give exact fractions; floats, and integers of 64 bits, give float64 (not finite when a
    value is not).
    """
    values = values.astype(values.dtype.newbyteorder("="), copy=False).reshape(-1)
    exact = values.dtype.kind in "iu" and values.dtype.itemsize <= 4
    of_piece, size = (_of_integers, _MOST_INTEGERS) if exact else (_of_floats, _MOST_FLOATS)
    return merged([of_piece(values[start : start + size]) for start in range(0, values.size, size)])


def _of_integers(values: npt.NDArray[Any]) -> Moments:
    count = values.size
    total, low, high = (int(number) for number in _integer_sums(values))
    squares = (high << 32) + low
    return Moments(count, Fraction(total, count), Fraction(count * squares - total * total, count))


def _of_floats(values: npt.NDArray[Any]) -> Moments:
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is for the caller to refuse
        wide = values.astype(np.float64)
        mean = float(wide.mean())
        wide -= mean
        rest = float(wide.sum())  # what rounding the mean left over
        np.square(wide, out=wide)
        return Moments(len(wide), mean + rest / len(wide), float(wide.sum()) - rest * rest / len(wide))


@njit(nogil=True, cache=True)
def _integer_sums(values: npt.NDArray[Any]) -> tuple[np.int64, np.uint64, np.uint64]:
    """Sum, and sum of squares as its lower and upper halves of 32 bits, each summed by itself."""
    total = np.int64(0)
    low, high = np.uint64(0), np.uint64(0)
    for value in values:
        wide = np.int64(value)
        total += wide
        square = np.uint64(wide) * np.uint64(wide)  # modulo 2^64, which the square of no 32-bit number reaches
        low += square & np.uint64(0xFFFFFFFF)
        high += square >> np.uint64(32)
    return total, low, high


def _to_json(number: Number) -> str | float:
    return str(number) if isinstance(number, Fraction) else number


def _from_json(value: Any) -> Number:
    return Fraction(value) if isinstance(value, str) else float(value)
