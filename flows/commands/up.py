"""`ps3d up`: the local Prefect server in the foreground."""

from __future__ import annotations

import argparse
import signal

PURPOSE = "run the local Prefect server until Ctrl-C"
EXAMPLES = """\
  ps3d up                           look at finished runs; commands given meanwhile use this server

The server listens on 127.0.0.1 only. Its history is kept in ~/.ps3d/prefect
(PS3D_HOME changes the place)."""


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> None:
    """Serve until interrupted, which is how it is meant to end."""
    from flows.local_server import local_server

    try:
        print("starting the Prefect server ...", flush=True)
        with local_server() as url:
            print(f"{url.removesuffix('/api')}   (Ctrl-C stops it)", flush=True)
            while True:
                signal.pause()
    except KeyboardInterrupt:
        print("stopped")
