"""The pool gpu is paused while it has no worker: Prefect shows a pool without one as broken, which it is not.

A worker that comes, of this machine or of another, opens it again. What the operator pauses or opens stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ps3d_app.flows.service.prefect_api import PrefectApi

POOL: Final = "gpu"


def pause_while_empty(api: PrefectApi, mark: Path) -> None:
    """Pause or open the pool as its workers come and go; the file `mark` says that it was paused here.

    Raise `NoAnswerError` when the server does not answer.
    """
    pool = api.get(f"/work_pools/{POOL}")
    workers = api.post(f"/work_pools/{POOL}/workers/filter", {})
    manned = any(worker["status"] == "ONLINE" for worker in workers)
    if manned and mark.exists():
        api.patch(f"/work_pools/{POOL}", {"is_paused": False})
        mark.unlink()
    elif not manned and not pool["is_paused"] and not mark.exists():
        api.patch(f"/work_pools/{POOL}", {"is_paused": True})
        mark.touch()
