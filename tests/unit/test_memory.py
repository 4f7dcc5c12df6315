"""Freed memory goes back to the operating system."""

import psutil
import pytest

from ps3d_core import memory


@pytest.mark.skipif(memory._trim is None, reason="this C library has no malloc_trim")
def test_what_is_freed_between_things_that_stay_is_returned():
    process = psutil.Process()
    things = [bytes(10_000) for _ in range(20_000)]
    full = process.memory_info().rss
    kept = things[::50]
    del things
    memory.release_memory()
    assert process.memory_info().rss < full - 1e8
    assert len(kept) == 400


def test_nothing_happens_where_the_c_library_cannot(monkeypatch):
    monkeypatch.setattr(memory, "_trim", None)
    memory.release_memory()
