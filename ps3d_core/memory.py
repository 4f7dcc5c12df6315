"""Memory that was freed goes back to the operating system, which the C library does not do by itself.

glibc gives every thread a heap of its own and keeps there what was freed, torn into pieces that fit no large array.
Measured in prediction with two threads: a third more memory than is in use, another third in some runs, and more in
every later stage; no budget can know it. With two heaps for all threads it is gone, and nothing is slower. Where the C
library is another, nothing happens.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

HEAPS: Final = 2

REUSED_BYTES: Final = 128 * 2**20

# malloc.h
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

_LARGEST_REUSED: Final = 32 * 2**20  # glibc takes no more


def share_heaps() -> None:
    """Let all threads of this process share a few heaps; to be called before it has started many."""
    if _options is not None:
        _options(_M_ARENA_MAX, HEAPS)


def reuse_memory() -> None:
    """Let this process use freed memory again, up to `REUSED_BYTES` and until `release_memory`.

    glibc returns a freed chunk of an array at once, and the operating system must clear its pages for the next one.
    With a process per core that is a tenth of the time of a stage that reads and writes much.
    """
    if _options is not None:
        _options(_M_MMAP_THRESHOLD, _LARGEST_REUSED)
        _options(_M_TRIM_THRESHOLD, REUSED_BYTES)


def release_memory() -> None:
    """Give freed memory back to the operating system, which takes milliseconds."""
    if _trim is not None:
        _trim(0)


# malloc_trim is glibc's own; mallopt may be there elsewhere, with other options. Windows cannot name its own process.
_process = None if sys.platform == "win32" else ctypes.CDLL(None)
_trim = getattr(_process, "malloc_trim", None)
_options = _trim and getattr(_process, "mallopt", None)
