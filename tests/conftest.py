"""Settings of all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test may fail because the machine is busy, or because a kernel is compiled the first time. Examples are the same in
# every run, so that a failure belongs to the change it came with; `--hypothesis-profile=explore` draws others.
NOT_OF_TIME = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture)
drawn = settings(settings.get_profile("default"), deadline=None, suppress_health_check=NOT_OF_TIME)
settings.register_profile("explore", drawn)
settings.register_profile("ps3d", drawn, derandomize=True, print_blob=True)
settings.load_profile("ps3d")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several test processes share the cores; threads that wait for one another would take most of the time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What the user configured for Prefect is not for tests, and nothing is sent anywhere.
for name in [name for name in os.environ if name.startswith("PREFECT_")]:
    del os.environ[name]
os.environ["DO_NOT_TRACK"] = "1"

# Programs of the tests (`python -m tests.integration.small_run`) are found from any folder: processes of ps3d do not
# look for modules where they are started.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Logs and Prefect's history go to a temporary folder instead of the user's."""
    home = tmp_path_factory.mktemp("home")
    before = {name: os.environ.get(name) for name in ("PS3D_HOME", "PREFECT_HOME")}
    os.environ |= {"PS3D_HOME": str(home), "PREFECT_HOME": str(home / "prefect-client")}
    yield home
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="module", autouse=True)
def leaks_show_where_they_are() -> Iterator[None]:
    """What a file's tests left open is complained of at their end, not in whatever test Python finds it in."""
    yield
    gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip GPU tests where there is no GPU; `-ra` shows the reason."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="no CUDA device on this machine")
        for item in on_gpu:
            item.add_marker(skip)
