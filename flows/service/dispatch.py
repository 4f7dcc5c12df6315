"""A run of its own for every scan that is complete: started once, placed on a work pool, started again when it crashed.

What was started is known by its idempotency key, the identity of the arrival, so any number of lookers start each scan
once, and a run that somebody cancelled is not started again. Knows the Prefect API as plain HTTP only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from ps3d_app.flows.service.prefect_api import NoAnswerError, PrefectApi
from ps3d_core.inbox.again import identity
from ps3d_core.inbox.layout import Inbox
from ps3d_core.inbox.listing import InboxListing, ListedScan
from ps3d_core.inbox.reason import plain
from ps3d_core.params import InboxParams
from ps3d_core.store.lease import is_held

FLOW: Final = "process-scan"
DEPLOYMENTS: Final = {"cpu": FLOW, "gpu": f"{FLOW}-gpu"}
"""Deployment for the runs on each work pool."""
MOST_RUNS: Final = 200
"""Of one answer."""

_ENDED_BY_ITSELF: Final = ("CRASHED", "COMPLETED")
"""Types of states after which an arrival that is still there, or there again, gets another run."""


def dispatch(
    inbox: Inbox, seen: Sequence[ListedScan], params: InboxParams, options: Mapping[str, Any], api: PrefectApi
) -> list[str]:
    """Start a run for each arrival that is complete and has none; return a line for each.

    Args:
        inbox: where the arrivals lie.
        seen: all arrivals.
        params: of these `pool` and `attempts`.
        options: parameters of the runs besides those that name the scan.
        api: the server.

    Raises:
        NoAnswerError: the server does not answer, or took no run for one of the scans; the others have theirs.

    """
    complete = [one for one in seen if one.waits_for is None]
    if not complete:
        return []
    due = list(_due(inbox, complete, params, api))
    if any(number > 1 for _, _, number in due):
        there = {arrival.digest for arrival in InboxListing(inbox, params).arrivals}
        due = [found for found in due if found[0].arrival.digest in there]  # the others have just come to their end
    pools = _Pools(params, api)
    said, refused = [], []
    for one, key, number in due:
        pool = pools.of(one)
        try:
            _start(inbox, one, _key(key, number), options, pools.deployment(pool), api)
        except NoAnswerError as error:
            refused.append(error)
        else:
            again = f", run {number}" if number > 1 else ""
            said.append(f"{plain(one.label)}: goes to pool {pool}{again}")
    if refused and not said:
        raise refused[0]
    return [*said, *map(str, refused)]


def runs_of(api: PrefectApi, identities: Iterable[str], most: int) -> dict[str, list[dict[str, Any]]]:
    """Return by identity the runs that were started for arrivals, in the order of their starts.

    At most `most` of each are looked for.
    """
    found: dict[str, dict[str, Any]] = {}
    wanted = {key: [_key(key, number) for number in range(1, most + 1)] for key in identities}
    for portion in _portions([one for keys in wanted.values() for one in keys]):
        asked = {"flow_runs": {"idempotency_key": {"any_": portion}}, "limit": MOST_RUNS}
        found |= {run["idempotency_key"]: run for run in api.post("/flow_runs/filter", asked)}
    return {key: [found[one] for one in keys if one in found] for key, keys in wanted.items()}


def most_runs(params: InboxParams) -> int:
    """Return the most runs for one arrival: one more than attempts, so that one is left that moves it to failed/."""
    return params.attempts + 1


def _due(
    inbox: Inbox, complete: Sequence[ListedScan], params: InboxParams, api: PrefectApi
) -> Iterator[tuple[ListedScan, str, int]]:
    """Arrivals that want a run, with their identity and the number of that run."""
    keys = {identity(inbox, one.arrival): one for one in complete}
    for key, runs in runs_of(api, keys, most_runs(params)).items():
        if not runs and not is_held(inbox.lease(keys[key].label)):  # by a run that was retried, or by hand
            yield keys[key], key, 1
        elif runs and runs[-1]["state_type"] in _ENDED_BY_ITSELF and len(runs) < most_runs(params):
            yield keys[key], key, len(runs) + 1


class _Pools:
    """Choice of a work pool for each scan; asks the server once for what it needs."""

    def __init__(self, params: InboxParams, api: PrefectApi) -> None:
        self._params, self._api = params, api
        self._ids: dict[str, str] = {}
        self._auto: str | None = None

    def of(self, seen: ListedScan) -> str:
        """Return the pool that the scan's description names, else that of the inbox.

        For an inbox with the pool auto, that is gpu when a worker of it is online, else cpu.
        """
        own = seen.description.pool if seen.description is not None else None
        if own is not None:
            return own
        if self._params.pool != "auto":
            return self._params.pool
        if self._auto is None:
            self._auto = "gpu" if _has_worker(self._api, "gpu") else "cpu"
        return self._auto

    def deployment(self, pool: str) -> str:
        """Return the id of the deployment for the runs on a pool."""
        if pool not in self._ids:
            self._ids[pool] = self._api.get(f"/deployments/name/{FLOW}/{DEPLOYMENTS[pool]}")["id"]
        return self._ids[pool]


def _has_worker(api: PrefectApi, pool: str) -> bool:
    try:
        workers = api.post(f"/work_pools/{quote(pool)}/workers/filter", {})
    except NoAnswerError:
        return False  # there may be no such pool
    return any(worker["status"] == "ONLINE" for worker in workers)


def _start(
    inbox: Inbox, seen: ListedScan, key: str, options: Mapping[str, Any], deployment: str, api: PrefectApi
) -> None:
    parameters = {**options, "prefix": str(inbox.prefix), "scan": seen.label, "digest": seen.arrival.digest}
    body = {"name": f"scan {seen.label}", "parameters": parameters, "idempotency_key": key}
    api.post(f"/deployments/{deployment}/create_flow_run", body)


def _key(key: str, number: int) -> str:
    return key if number == 1 else f"{key}-{number}"


def _portions(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), MOST_RUNS):
        yield keys[start : start + MOST_RUNS]
