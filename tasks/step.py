"""How every step of a flow becomes a task: named after what it works on, tried again for what passes, never cached.

The core knows what it has finished and keeps that with the data; a cache of Prefect's could only disagree with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from tasks.transient import RETRIES, RETRY_DELAYS_SECONDS, retry_condition

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str, of: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A task called `name`; `of` is what it works on, made of its arguments as in "{plan.job.scan}"."""
    return task(
        name=name,
        task_run_name=f"{name}: {of}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=RETRY_DELAYS_SECONDS,
        retry_condition_fn=retry_condition,
    )
