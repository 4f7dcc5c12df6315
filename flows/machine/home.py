"""The folder in which ps3d keeps what is not a result: logs, the history of its local Prefect server, checkpoints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ps3d_app.flows.machine.private import private_folder
from ps3d_core.errors import InputError

if TYPE_CHECKING:
    from ps3d_core.store.location import Location

VARIABLE = "PS3D_HOME"


def home_folder(*parts: str) -> Path:
    """Return a folder below $PS3D_HOME (default ~/.ps3d) that nobody but its owner can look into.

    Make it when it is not there. Raise `InputError` when it cannot be made.
    """
    home = Path(os.environ.get(VARIABLE) or Path.home() / ".ps3d").absolute()
    folder = home.joinpath(*parts)
    try:
        # The home itself may be a folder of the user's that was there before: what is ours in it is shut.
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        for number in range(1, len(parts) + 1):
            private_folder(home.joinpath(*parts[:number]))
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); set {VARIABLE} to a writable folder") from error
    return folder


def training_folder(bundle: Location) -> Location | None:
    """Return the folder in which nnU-Net works when nobody names one, None for the one beside the model.

    It is below $PS3D_HOME for a model that goes to another machine. Every training of one model has the same folder,
    and so goes on at its checkpoint.
    """
    from ps3d_core.store.ledger import fingerprint
    from ps3d_core.store.location import Location

    if bundle.local_path is not None:
        return None
    return Location.parse(home_folder("training", f"{bundle.name}-{fingerprint(bundle.url)[:12]}"))
