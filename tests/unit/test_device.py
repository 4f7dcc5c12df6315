"""Which GPU a worker takes, and how large its batches are: pure functions, so that no GPU is needed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_core.inference.plan import plan_prediction
from ps3d_core.network import device
from ps3d_core.network.device import LARGEST_BATCH, free_batch, held_device, least_held


@given(gpus=st.integers(1, 16), workers=st.integers(1, 40))
def test_threads_of_one_process_share_gpus_evenly(gpus, workers):
    held = [0] * gpus
    for _ in range(workers):
        held[least_held(held, 0)] += 1
    assert max(held) - min(held) <= 1
    assert held == sorted(held, reverse=True)


@given(gpus=st.integers(1, 16), workers=st.integers(1, 40))
def test_worker_processes_share_gpus_evenly(gpus, workers):
    taken = Counter(least_held([0] * gpus, worker) for worker in range(workers))
    assert max(taken.values()) - min(taken.get(gpu, 0) for gpu in range(gpus)) <= 1


def test_a_gpu_is_free_again_after_its_block(monkeypatch):
    monkeypatch.setattr(device.torch.cuda, "device_count", lambda: 2)
    with held_device("cuda") as first, held_device("cuda") as second:
        assert {first.index, second.index} == {0, 1}
    with held_device("cuda") as again:
        assert again.index == 0


def test_other_kinds_have_no_number():
    with held_device("cpu", 3) as place:
        assert str(place) == "cpu"


@given(free=st.integers(0, 2**40), patch=st.floats(1e6, 1e11))
def test_a_batch_fits_and_is_a_power_of_two(free, patch):
    batch = free_batch(free, patch)
    assert batch & (batch - 1) == 0
    assert 1 <= batch <= LARGEST_BATCH
    assert batch == 1 or batch * patch <= free / 2


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8])
def test_no_worker_waits_for_long(workers):
    """Blocks are cut so that all workers have about as many patches, given one after the other to who is free."""
    plan = plan_prediction((1024, 1024, 1024), (64, 64, 64), memory_bytes=2**40, workers=workers)
    busy = [0] * workers
    for block in plan.blocks:
        busy[busy.index(min(busy))] += plan.patches_of(block.core)
    assert max(busy) < 1.3 * len(plan.patches) / workers
