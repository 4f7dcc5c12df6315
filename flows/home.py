"""The folder in which ps3d keeps what is not a result: logs and the history of its local Prefect server."""

from __future__ import annotations

import os
from pathlib import Path

from ps3d_core.errors import InputError

VARIABLE = "PS3D_HOME"


def home_folder(*parts: str) -> Path:
    """A folder below $PS3D_HOME (default ~/.ps3d), made when it is not there.

    Raises `InputError` where it cannot be made.
    """
    folder = Path(os.environ.get(VARIABLE) or Path.home() / ".ps3d").absolute().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); set {VARIABLE} to a writable folder") from error
    return folder
