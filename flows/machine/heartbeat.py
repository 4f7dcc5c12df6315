"""The sign of life of a program that has no port to be asked at: a file that it touches every time it comes around.

`ps3d status` looks at the age of the file: a process that is frozen, or hangs in a question to a store, exists and does
nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "PS3D_HEARTBEAT"


def beat() -> None:
    """Touch the file that this process was given in $PS3D_HEARTBEAT, if it was given one."""
    if path := os.environ.get(VARIABLE):
        Path(path).touch()
