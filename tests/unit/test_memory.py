"""Freed memory goes back to the operating system."""

import subprocess
import sys

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


HEAPS_OF_THREADS = """
import ctypes, sys, threading
import {module}
ready = threading.Barrier(17)

def hold():
    things = [bytes(100_000) for _ in range(10)]
    ready.wait()
    ready.wait()

threads = [threading.Thread(target=hold) for _ in range(16)]
for thread in threads:
    thread.start()
ready.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
ready.wait()
"""


@pytest.mark.skipif(memory._options is None, reason="this C library has no heap per thread")
@pytest.mark.parametrize(("module", "shared"), [("ps3d_app.flows", True), ("ps3d_core", False)])
def test_threads_of_the_program_share_heaps(module, shared, tmp_path):
    """Importing the library changes nothing: heaps are shared by the program, or once blocks are worked on."""
    script, report = HEAPS_OF_THREADS.format(module=module), tmp_path / "heaps.xml"
    subprocess.run([sys.executable, "-c", script, str(report)], check=True)
    heaps = report.read_text().count("<heap ")
    assert heaps == memory.HEAPS if shared else heaps > memory.HEAPS


def test_nothing_happens_where_the_c_library_cannot(monkeypatch):
    monkeypatch.setattr(memory, "_trim", None)
    monkeypatch.setattr(memory, "_options", None)
    memory.release_memory()
    memory.share_heaps()
