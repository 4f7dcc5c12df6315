"""Memory that was freed goes back to the operating system.

The C library keeps what a block freed for the next allocation, torn into pieces that fit no large array, in one heap
per thread: over the stages of a run hundreds of MB that nobody uses, and that no budget can know.
"""

from __future__ import annotations

import ctypes
import sys


def release_memory() -> None:
    """Return freed memory, which takes milliseconds; does nothing where the C library has no such call."""
    if _trim is not None:
        _trim(0)


# Part of glibc, not of other C libraries. Windows cannot look into the process itself.
_trim = None if sys.platform == "win32" else getattr(ctypes.CDLL(None), "malloc_trim", None)
