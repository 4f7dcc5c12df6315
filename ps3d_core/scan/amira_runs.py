"""Runs of bytes as Amira packs labels, unrolled."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

LITERAL = 128
"""A number from here on says how many bytes follow as they are; below, how often the next byte is meant."""


@numba.njit(cache=True)
def unroll(packed: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Fill `out` with what `packed` stands for, as far as it has room and runs are whole.

    Return the bytes of both that were used.
    """
    taken, made = 0, 0
    while taken + 1 < len(packed):
        count = packed[taken] % LITERAL
        is_literal = packed[taken] >= LITERAL
        length = 1 + (count if is_literal else 1)
        if taken + length > len(packed) or made + count > len(out):
            break
        for index in range(count):
            out[made + index] = packed[taken + 1 + (index if is_literal else 0)]
        taken, made = taken + length, made + count
    return taken, made
