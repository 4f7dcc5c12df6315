"""Does every part of the stack do its work? Each is asked for its service, all at once, and none is waited for.

A process that exists may be frozen, and a port that is open may belong to one. So a part is well when it has answered:
the Prefect server a question about its database, the S3 server a listing that takes its keys, a worker by the age of
its heartbeat at the Prefect server, others by that of a file. A process stopped by a signal is known at once.
"""

from __future__ import annotations

import shlex
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from ps3d_app.flows.service.prefect_api import NoAnswerError, PrefectApi
from ps3d_app.flows.service.stack.state import PartState, Service, StackState, heartbeat_file
from ps3d_core.errors import Ps3dError

ANSWER_SECONDS: Final = 3.5
"""How long a part may take for its answer; with the start of Python it stays below 5."""
SILENT_SECONDS: Final = 40.0
"""How old a heartbeat may be: that of a worker comes every 10 s, unless the machine is very busy."""


@dataclass(frozen=True, slots=True)
class Check:
    """A part to be asked: its processes, and a question that raises when its answer is not what it should be."""

    part: str
    log: str
    pids: Sequence[int | None]
    question: Callable[[], str]
    """Returns what else there is to say of a part that is well."""
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Answer of one part of the stack."""

    part: str
    log: str
    problem: str | None
    """What is wrong with it; None for nothing."""
    detail: str = ""
    restarts: int = 0


def examine(checks: Sequence[Check], seconds: float = ANSWER_SECONDS) -> list[Finding]:
    """Ask all parts at once and return what they answered.

    Those that have not answered after `seconds` are found silent.
    """
    give_up = time.monotonic() + seconds
    found: dict[int, Finding] = {}

    def ask(number: int, check: Check) -> None:
        found[number] = _asked(check)

    # Threads of a pool would be waited for at the end of Python, however long they hang.
    threads = [threading.Thread(target=ask, args=each, daemon=True) for each in enumerate(checks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, give_up - time.monotonic()))
    return [found.get(number) or _silent(check, seconds) for number, check in enumerate(checks)]


def checks_of(stack: StackState, api: PrefectApi) -> list[Check]:
    """Return the checks of all parts of a stack but its Prefect server."""
    beats = Service("heartbeat", str(heartbeat_file()))
    supervisor = PartState("supervisor", stack.pid, 0, stack.log, beats)
    return [
        Check("supervisor", stack.log, [stack.pid], _question(supervisor, stack, api)),
        *(Check(p.name, p.log, _family(p.pid), _question(p, stack, api), p.restarts) for p in stack.parts),
    ]


def check_of_server(part: str, api: PrefectApi, log: str = "", pids: Sequence[int | None] = ()) -> Check:
    """Return the check of a Prefect server; its log and processes are known of one on this machine."""

    def question() -> str:
        running = api.post("/flow_runs/count", {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}})
        return f"{running} runs at work"

    return Check(part, log, pids, question)


def _asked(check: Check) -> Finding:
    try:
        for pid in check.pids:
            _require_going(pid)
        detail = check.question()
    except (Ps3dError, OSError, ValueError, psutil.Error) as error:
        return Finding(check.part, check.log, " ".join(str(error).split()), restarts=check.restarts)
    return Finding(check.part, check.log, None, detail, check.restarts)


def _silent(check: Check, seconds: float) -> Finding:
    return Finding(check.part, check.log, f"no answer within {seconds:g} s", restarts=check.restarts)


def _family(pid: int | None) -> list[int | None]:
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))] if pid else [None]
    except psutil.NoSuchProcess:
        return [None]


def _require_going(pid: int | None) -> None:
    if pid is None:
        raise Ps3dError("its process has ended; the supervisor starts it again")
    try:
        status = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return  # one of its own that has ended meanwhile
    if status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
        raise Ps3dError(f"process {pid} was stopped by a signal; kill -CONT {pid} lets it go on")


def _question(part: PartState, stack: StackState, api: PrefectApi) -> Callable[[], str]:
    service = part.service
    if service is None:
        return lambda: ""
    if service.kind == "s3":
        return lambda: _ask_s3(service.where, stack)
    if service.kind == "worker":
        return lambda: _ask_for_worker(service.where, api)
    return lambda: _look_at_heartbeat(Path(service.where))


def _ask_s3(endpoint: str, stack: StackState) -> str:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    keys = _exported(Path(stack.s3_environment or ""))
    bucket = stack.store.removeprefix("s3://").partition("/")[0]
    request = AWSRequest("GET", f"{endpoint}/{bucket}?list-type=2&max-keys=1")
    credentials = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
    S3SigV4Auth(credentials, "s3", keys["AWS_REGION"]).add_auth(request)
    plain = urllib.request.Request(request.url, headers=dict(request.headers))  # noqa: S310
    with urllib.request.urlopen(plain, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
        answer.read()
    return endpoint


def _exported(path: Path) -> dict[str, str]:
    lines = (word.partition("=") for word in shlex.split(path.read_text(), comments=True) if "=" in word)
    return {name: value for name, _, value in lines}


def _ask_for_worker(where: str, api: PrefectApi) -> str:
    pool, _, name = where.partition("/")
    try:
        workers = api.post(f"/work_pools/{pool}/workers/filter", {})
    except NoAnswerError:
        return "runs; the Prefect server does not say when it heard of it"
    beats = [datetime.fromisoformat(w["last_heartbeat_time"]) for w in workers if w["name"] == name]
    if not beats:
        raise Ps3dError("the Prefect server has not heard of it")
    return _age((datetime.now(UTC) - max(beats)).total_seconds())


def _look_at_heartbeat(path: Path) -> str:
    return _age(time.time() - path.stat().st_mtime)


def _age(seconds: float) -> str:
    if seconds > SILENT_SECONDS:
        raise Ps3dError(f"its last heartbeat is {seconds:.0f} s old")
    return f"heartbeat {max(0.0, seconds):.0f} s ago"
