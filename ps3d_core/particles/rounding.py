"""Numbers as people write them."""

from __future__ import annotations

from math import floor, isfinite, log10


def significant(value: float) -> str:
    """Return three significant digits as text, without exponent for everyday sizes."""
    if value == 0 or not isfinite(value):
        return "0" if value == 0 else "–"
    digits = 2 - floor(log10(abs(value)))
    return f"{value:.{digits}f}" if 0 <= digits <= 7 else f"{value:,.0f}" if digits < 0 else f"{value:.3g}"


def round_length(length: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that does not exceed `length`."""
    scale = 10.0 ** floor(log10(length))
    return max(k * scale for k in (1, 2, 5) if k * scale <= length * (1 + 1e-9))
