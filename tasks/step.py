"""How a step of the core becomes a Prefect task: named after what it works on, tried again, not cached."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from ps3d_app.tasks.transient import RETRIES, RETRY_DELAYS_SECONDS, retry_condition

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str, of: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Return a decorator that makes a task of a function; `of` is a template of its arguments.

    What is finished, the core knows by itself.
    """
    return task(
        name=name,
        task_run_name=f"{name}: {of}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=RETRY_DELAYS_SECONDS,
        retry_condition_fn=retry_condition,
    )
