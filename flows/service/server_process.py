"""The process of the local Prefect server: `prefect server start`, and a watch that ends it when nobody uses it.

Run by `local_server` as `python -P -m ps3d_app.flows.service.server_process FOLDER PORT`.
"""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from functools import partialmethod
from pathlib import Path
from typing import Any

from ps3d_app.flows.machine.locks import exclusive_if_free
from ps3d_app.flows.service.server_door import Door
from ps3d_app.flows.service.server_settings import api_url, ui_url
from ps3d_core.memory import release_memory

LOOK_EVERY_SECONDS = 0.25
SHUTDOWN_SECONDS = 15.0
TIDY_EVERY_SECONDS = 60.0


def main(folder: Path, port: int) -> None:
    """Serve Prefect on `port` of 127.0.0.1, with its files in `folder`, until the last user has gone."""
    with exclusive_if_free(folder / "server.lock") as alone:
        if not alone:
            sys.exit("another server uses this folder")
        address = {"url": api_url(port), "ui": ui_url(port), "host": socket.gethostname(), "pid": os.getpid()}
        (folder / "server.json").write_text(json.dumps(address))
        os.chdir(folder)  # a prefect.toml or .env of the user's folder is not for this server
        _put_door(folder)
        _slow_down_docket()
        if not (folder / "memo_store.toml").exists():  # Prefect's note that its database is filled
            _make_database_aside()
        threading.Thread(target=_leave_when_unused, args=(folder,), daemon=True).start()
        sys.argv = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        runpy.run_module("prefect", run_name="__main__", alter_sys=True)


def _put_door(folder: Path) -> None:
    """Let what Prefect serves, and what it asks of itself, go through the door; serve its second look on demand."""
    import prefect
    from prefect.server.api import server
    from prefect.settings import get_current_settings

    pages = get_current_settings().server.ui
    if not pages.v2_enabled:
        prefect.__ui_v2_static_path__ = folder / "none"  # else every page of the first one advertises it
    create = server.create_app

    def create_with_door(*args: Any, **options: Any) -> Door:
        return Door(create(*args, **options), str(pages.api_url))

    server.create_app = create_with_door  # type: ignore[assignment]  # all that is asked of it is to be ASGI


def _slow_down_docket() -> None:
    """Let the queue of the server's own services look for work once a second, not four times.

    It has no setting of Prefect's. They are due every half minute or less often, see `server_pace`.
    """
    from docket import Worker

    seldom = {"minimum_check_interval": timedelta(seconds=1), "scheduling_resolution": timedelta(seconds=1)}
    Worker.__init__ = partialmethod(Worker.__init__, **seldom)  # type: ignore[method-assign, assignment]


def _make_database_aside() -> None:
    """Make and fill a new database in a process of its own, since what that takes is never given back.

    It is some 40 MiB, most of it for the kinds of blocks that the pages offer. A server that finds them has nothing to
    do. Whatever goes wrong here comes up again when the server starts, and is told there. Has to come before any
    thread is started, as a fork has only the one that asks for it.
    """
    if (child := os.fork()) == 0:
        status = 1
        with suppress(BaseException):
            asyncio.run(_make_database())
            status = 0
        os._exit(status)
    os.waitpid(child, 0)


async def _make_database() -> None:
    from prefect.server.api.server import _memoize_block_auto_registration
    from prefect.server.database import provide_database_interface
    from prefect.server.models.block_registration import run_block_auto_registration

    database = provide_database_interface()

    async def add_blocks() -> None:
        async with await database.session() as session:
            await run_block_auto_registration(session=session)

    await database.create_db()
    await _memoize_block_auto_registration(add_blocks)()


def _leave_when_unused(folder: Path) -> None:
    tidied = time.monotonic()
    while True:
        time.sleep(LOOK_EVERY_SECONDS)
        if time.monotonic() - tidied > TIDY_EVERY_SECONDS:
            release_memory()
            tidied = time.monotonic()
        try:
            # Holding the gate until the process has ended makes a newcomer wait and then start a server of its own.
            with exclusive_if_free(folder / "gate.lock") as gate_is_ours:
                if not gate_is_ours:
                    continue
                with exclusive_if_free(folder / "users.lock") as unused:
                    if not unused:
                        continue
                    _leave()
        except OSError:
            if not folder.exists():  # nobody will ever find this server again
                _leave()


def _leave() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SHUTDOWN_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
