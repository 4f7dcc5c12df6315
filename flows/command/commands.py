"""The commands of `ps3d`, in the order in which the help lists them.

A command's module is light: it describes the command line and imports what does the work inside `run`.
"""

from __future__ import annotations

import argparse
from typing import Final, Protocol

from ps3d_app.flows.command import (
    compare,
    demo,
    evaluate,
    export,
    fetch,
    inbox,
    inbox_list,
    inbox_release,
    inbox_retry,
    ingest,
    inspect,
    instances,
    look,
    measure,
    meshes,
    model_calibrate,
    model_import,
    model_info,
    phantom,
    prepare_training,
    report,
    segment,
    sizes,
    status,
    train,
    up,
    zscore,
)


class Command(Protocol):
    """Interface of a command's module."""

    PURPOSE: str
    """One line, lower case, no full stop."""
    EXAMPLES: str
    # Where a command cannot do without optional packages, NEEDS names them; see `ps3d_core.extras`.

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""

    def run(self, args: argparse.Namespace) -> None:
        """Run the command. Raise its errors as they come; see `ps3d_app.flows.command.outcome`."""


COMMANDS: Final[dict[str, Command]] = {
    "demo": demo,
    "look": look,
    "ingest": ingest,
    "inspect": inspect,
    "segment": segment,
    "measure": measure,
    "sizes": sizes,
    "meshes": meshes,
    "report": report,
    "compare": compare,
    "evaluate": evaluate,
    "export": export,
    "zscore": zscore,
    "prepare-training": prepare_training,
    "train": train,
    "instances": instances,
    "inbox": inbox,
    "inbox list": inbox_list,
    "inbox retry": inbox_retry,
    "inbox release": inbox_release,
    "fetch": fetch,
    "phantom": phantom,
    "model info": model_info,
    "model import": model_import,
    "model calibrate": model_calibrate,
    "up": up,
    "status": status,
}
