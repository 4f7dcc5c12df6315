"""What computes is chosen by what was said, and by what this machine has."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ps3d_core.errors import InputError
from ps3d_core.network import computation, openvino
from ps3d_core.network.computation import Computation, as_good, computation_of, is_possible

OPENVINO, TORCH = Computation(engine="openvino"), Computation(engine="torch")
CUDA = Computation(device="cuda", engine="torch", precision="float16")


@pytest.fixture(params=[True, False], ids=["with OpenVINO", "without"])
def has_openvino(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the machine has it; what processors can is tested with the real one."""
    monkeypatch.setattr(openvino, "is_installed", lambda: request.param)
    monkeypatch.setattr(openvino, "require_precision", lambda _: None)
    monkeypatch.setattr(computation, "choose_device", lambda: torch.device("cpu"))
    return bool(request.param)


def test_a_cpu_takes_openvino_where_it_is_installed(has_openvino: bool) -> None:
    assert computation_of() == computation_of(device="cpu") == (OPENVINO if has_openvino else TORCH)
    assert computation_of("torch") == TORCH
    assert computation_of("openvino") == OPENVINO


def test_a_gpu_goes_before(has_openvino: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computation, "choose_device", lambda: torch.device("cuda"))
    assert computation_of() == CUDA
    assert computation_of(precision="float32") == CUDA.model_copy(update={"precision": "float32"})
    assert computation_of("openvino") == OPENVINO
    assert computation_of(device="mps") == Computation(device="mps")


def test_openvino_does_not_compute_on_a_gpu() -> None:
    said = "engine openvino: it computes on a CPU, not on cuda; give cpu as device, or auto as engine"
    with pytest.raises(InputError, match=said):
        computation_of("openvino", device="cuda")


def test_results_of_earlier_releases_are_those_of_torch_in_float32() -> None:
    assert TORCH.identity == ()
    identities = [each.identity for each in (*as_good(), *as_good(precision="bfloat16"))]
    assert len(set(identities)) == len(identities) == 5


def test_what_was_said_decides_what_is_as_good() -> None:
    assert as_good() == (OPENVINO, TORCH, CUDA)
    assert as_good("torch") == (TORCH, CUDA)
    assert as_good("openvino") == (OPENVINO,)
    assert {each.precision for each in as_good(precision="bfloat16")} == {"bfloat16"}


def test_what_a_machine_can_go_on_with(has_openvino: bool) -> None:
    assert [is_possible(each, "cpu") for each in as_good()] == [has_openvino, True, False]
    assert [is_possible(each, "cuda") for each in as_good()] == [False, False, True]


@pytest.mark.parametrize(
    ("what", "text"),
    [(TORCH, "PyTorch {}, float32, cpu"), (CUDA, "PyTorch {}, float16, cuda")],
)
def test_words(what: Computation, text: str) -> None:
    version: Any = torch.__version__
    assert what.text == text.replace(" {}", "")
    assert what.text_here == text.format(version.partition("+")[0])
