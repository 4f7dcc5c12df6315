"""What a stack takes that has nothing to do: CPU seconds a minute, memory of every part, growth of the database.

Usage: python tests/benchmarks/idle_stack.py [--minutes 10] [--workers 1]

Starts `ps3d up` with an empty home and lets it come to rest before it measures. The machine has to be quiet: a CPU that
is shared takes longer for the same work.
"""

import argparse
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.orchestration.stack_process import Up, free_port

MOST_CPU_SECONDS_A_MINUTE, MOST_MIB, MOST_GROWTH_KB = 3.0, 500.0, 100.0
SETTLE_SECONDS = 60.0


@dataclass(frozen=True)
class Use:
    """What a process has used of the CPU, those it waited for included, and its share of the memory."""

    name: str
    seconds: float
    mib: float


def measure(process: psutil.Process) -> dict[int, Use]:
    """What all processes of a stack have used, by their number."""
    found = {}
    for each in (process, *process.children(recursive=True)):
        try:
            with each.oneshot():
                times, memory = each.cpu_times(), each.memory_full_info()
                seconds = times.user + times.system + times.children_user + times.children_system
                found[each.pid] = Use(_name(each.cmdline()), seconds, getattr(memory, "pss", memory.uss) / 2**20)
        except psutil.Error:
            continue  # ended meanwhile
    return found


def database_kb(home: Path) -> float:
    """Size of the database of the Prefect server.

    SQLite first writes into a log beside it, which it begins again every 4 MB, however little of that is new: the log
    is taken over before the database is looked at.
    """
    file = home / "prefect" / "prefect.db"
    with closing(sqlite3.connect(file, timeout=30)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return sum(each.stat().st_size for each in file.parent.glob("prefect.db*")) / 1000


def _name(command: list[str]) -> str:
    known = {
        "guard.py": "guard",
        "ps3d_app.flows.service.server_process": "Prefect server",
        "worker": "worker",
        "up": "supervisor",
    }
    words = {Path(word).name for word in command}
    return next((name for word, name in known.items() if word in words), Path(command[0]).name if command else "?")


def main() -> int:
    """Print the table; return 1 when a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ps3d-idle-") as folder:
        up = Up(Path(folder), "--s3-port", str(free_port()), "--workers", str(args.workers))
        try:
            up.await_ready()
            time.sleep(SETTLE_SECONDS)
            process = psutil.Process(up.process.pid)
            before, size, began = measure(process), database_kb(up.home), time.monotonic()
            time.sleep(60 * args.minutes)
            after, minutes = measure(process), (time.monotonic() - began) / 60
            growth = database_kb(up.home) - size
        finally:
            up.stop()
    nothing = Use("", 0.0, 0.0)
    print(f"{'':16s} {'CPU s/min':>9s} {'MiB':>7s}")
    for pid, use in sorted(after.items(), key=lambda item: item[1].name):
        print(f"{use.name:16s} {(use.seconds - before.get(pid, nothing).seconds) / minutes:9.2f} {use.mib:7.1f}")
    cpu = sum(use.seconds - before.get(pid, nothing).seconds for pid, use in after.items()) / minutes
    memory = sum(use.mib for use in after.values())
    print(f"{'together':16s} {cpu:9.2f} {memory:7.1f}   database +{growth:.0f} kB in {minutes:.1f} minutes")
    return int(cpu > MOST_CPU_SECONDS_A_MINUTE or memory > MOST_MIB or growth > MOST_GROWTH_KB)


if __name__ == "__main__":
    sys.exit(main())
