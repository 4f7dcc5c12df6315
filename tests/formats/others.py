"""The independent reader of a format in a process of its own, which may crash or hang on damaged files.

    python -m tests.formats.others "MetaImage .mhd"

The program reads sources from its standard input, a path a line, saves the voxels of each as SOURCE.npy beside its
folder and answers with a line.
"""

from __future__ import annotations

import select
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.formats.file_format import Volume, format_named

SECONDS = 20


class Others:
    """The independent reader of the format `name`; started when it is first asked, and again when it has crashed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, source: Path) -> Volume | None:
        """What it makes of a source; None when it refuses, crashes or hangs."""
        if self._process is None:
            command = [sys.executable, "-m", "tests.formats.others", self._name]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{source}\n".encode())
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        answer = self._process.stdout.readline() if ready else b""
        if not answer:
            self.close()
        return np.load(result_of(source)) if answer == b"read\n" else None

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def result_of(source: Path) -> Path:
    """Where the voxels of a source are saved."""
    return source.parent.parent / "others.npy"


def main(name: str) -> None:
    """Answer until nobody asks any more."""
    form = format_named(name)
    for line in sys.stdin:
        source = Path(line.removesuffix("\n"))
        try:
            np.save(result_of(source), form.read(source))
            answer = "read"
        except Exception:
            answer = "refused"
        print(answer, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
