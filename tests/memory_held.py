"""Memory that held something before: what reads it before writing it gives other results with every content."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

NAN, LARGE = 0xFF, 0x7F
"""Bytes that make all floating-point numbers NaN, or as large as single precision holds."""

_M_PERTURB = -6


@contextmanager
def memory_held(byte: int) -> Iterator[None]:
    """Fill all memory that this process gets with a byte, arrays of numpy and of numba among it; with glibc alone."""
    option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if option is None:
        yield
        return
    option(_M_PERTURB, 0x100 | (byte ^ 0xFF))
    try:
        assert (np.empty(10**6, np.uint8) == byte).all()
        yield
    finally:
        option(_M_PERTURB, 0)
