"""A command's work as a Prefect flow run: connected to an API, and shown on the terminal all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ps3d_app.flows.service.local_server import Api, api, configured_url, running_url
from ps3d_app.flows.service.prefect_api import connect
from ps3d_app.flows.service.stack.recovery import settle_left_behind

if TYPE_CHECKING:
    from ps3d_core.progress import Progress


@contextmanager
def recorded(progress: Progress) -> Iterator[Api]:
    """Hold a connection to a Prefect API while the body runs, and yield the API.

    Flows may be imported and run in the body; `progress` hears what their tasks report.
    """
    if configured_url() is None and running_url() is None:
        progress.note("Prefect    starting the local server ...")
    with api() as connected:
        progress.note(f"Prefect    {connected.pages}")
        settle_left_behind(connect(connected.url))
        # Imports Prefect, whose settings the connection has made.
        from ps3d_app.tasks.progress import also_shown_to

        with also_shown_to(progress.emit):
            yield connected
