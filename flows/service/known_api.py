"""The Prefect API that a command would use, if there is one already; nothing is started."""

from __future__ import annotations

from ps3d_app.flows.service.local_server import configured_url, running_url
from ps3d_app.flows.service.prefect_api import PrefectApi, connect


def known_api() -> PrefectApi | None:
    """Return the configured API, else that of the local server when it runs, else None."""
    url = configured_url() or running_url()
    return None if url is None else connect(url)
