"""Networks computed by OpenVINO against PyTorch: every kind of layer, the bundled model, bits for any threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from ps3d_core.errors import InputError
from ps3d_core.network import openvino
from ps3d_core.network.architecture import Architecture
from ps3d_core.network.bundle import load_bundle
from ps3d_core.network.intensity import per_scan_intensity
from ps3d_core.network.openvino import OpenVinoNetwork
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.render import render

needs_openvino = pytest.mark.skipif(not openvino.is_installed(), reason="there is no OpenVINO for this system")

pytestmark = [needs_openvino, pytest.mark.usefixtures("one_torch_thread")]

LAYERS = [
    *product(
        ["PlainConvUNet", "ResidualEncoderUNet"], ["instance", "batch"], ["leaky_relu", "relu", "gelu", "silu"], [False]
    ),
    ("PlainConvUNet", "instance", "leaky_relu", True),
]


@pytest.fixture(autouse=True)
def no_memory_kept() -> Iterator[None]:
    yield
    openvino.release()


def network(kind: str, norm: str, nonlinearity: str, nonlin_first: bool, seed: int = 0) -> nn.Module:
    """A small network whose layers all differ from what does nothing."""
    torch.manual_seed(seed)
    made = Architecture.model_validate(
        {
            "network": kind,
            "n_stages": 3,
            "features_per_stage": (4, 8, 16),
            "kernel_sizes": ((1, 3, 3), (3, 3, 3), (3, 5, 3)),
            "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
            "n_conv_per_stage": (1, 2, 1),
            "n_conv_per_stage_decoder": (1, 2),
            "conv_bias": not nonlin_first,
            "norm": norm,
            "nonlinearity": nonlinearity,
            "nonlin_first": nonlin_first,
        }
    ).build()
    for layer in made.modules():
        if isinstance(layer, nn.InstanceNorm3d | nn.BatchNorm3d):
            nn.init.normal_(layer.weight, 1)
            nn.init.normal_(layer.bias)
        if isinstance(layer, nn.BatchNorm3d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return made.eval().requires_grad_(False)


def patches(count: int = 2, shape: tuple[int, ...] = (16, 16, 24)) -> torch.Tensor:
    return torch.randn((count, 1, *shape), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("layers", LAYERS, ids=str)
def test_every_architecture_is_computed_as_torch_does(layers: tuple[str, str, str, bool]) -> None:
    net = network(*layers)
    expected = net(patches())
    torch.testing.assert_close(OpenVinoNetwork(net)(patches()), expected, rtol=1e-3, atol=2e-3)
    assert expected.std() > 0.1


def test_the_bundled_model_gives_the_same_classes() -> None:
    bundle = load_bundle()
    scan, _ = render(PhantomParams(shape=(64, 64, 64), particle_size_voxels=20, seed=5, dtype="float32"))
    patch = torch.from_numpy(per_scan_intensity(scan.reshape(64, 16, 16, 16)).normalise(scan))[None, None]
    (net,) = bundle.networks(torch.device("cpu"))
    expected, answer = net(patch).argmax(1), OpenVinoNetwork(net)(patch).argmax(1)
    assert len(np.unique(expected)) == 3
    assert (expected != answer).sum() <= 2  # of 262,144 voxels: two classes may be equally likely to the last bit


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_bits_do_not_depend_on_threads_batches_and_who_asks(threads: int) -> None:
    net, batch = network(*LAYERS[0]), patches(6)
    expected = [OpenVinoNetwork(net)(patch[None]) for patch in batch]
    openvino.release()
    several = OpenVinoNetwork(net, threads=threads)
    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(several, [patch[None] for patch in batch]))
    assert all(torch.equal(a, b) for a, b in zip(answers, expected, strict=True))
    assert torch.equal(several(batch), torch.cat(expected))


def test_patches_of_several_shapes() -> None:
    net = network(*LAYERS[0])
    for shape in ((16, 16, 24), (4, 32, 32), (16, 16, 24)):
        torch.testing.assert_close(
            OpenVinoNetwork(net)(patches(1, shape)), net(patches(1, shape)), rtol=1e-3, atol=2e-3
        )


def test_answers_are_not_written_over_by_later_ones() -> None:
    fast, (one, other) = OpenVinoNetwork(network(*LAYERS[0])), patches(2).split(1)
    first = fast(one)
    before = first.clone()
    assert not torch.equal(fast(other), before)
    assert torch.equal(first, before)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_precision_is_computed_or_refused(precision: str) -> None:
    """Never replaced by another one: bits of a cluster would depend on the machine."""
    net = network(*LAYERS[0])
    try:
        openvino.require_precision(precision)
    except InputError as error:
        assert "give float32 as precision, or another engine" in str(error)  # noqa: PT017
        with pytest.raises(InputError, match=f"precision {precision}: this processor has no instructions"):
            OpenVinoNetwork(net, precision)(patches(1))
    else:
        exact, rounded = OpenVinoNetwork(net)(patches(1)), OpenVinoNetwork(net, precision)(patches(1))
        assert not torch.equal(rounded, exact)
        torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.2)


def test_nobody_is_told_that_it_is_used() -> None:
    code = (
        "import sys; from ps3d_core.network import openvino; openvino.require_precision('float32'); "
        "print('openvino' in sys.modules, [name for name in sys.modules if 'telemetry' in name or 'ovc' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


def test_without_openvino_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino._openvino.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    try:
        assert not openvino.is_installed()
        with pytest.raises(InputError) as caught:
            OpenVinoNetwork(network(*LAYERS[0]))(patches(1))
        said = "openvino is not installed; pip install 'ps3d[predict]', or choose another engine"
        assert str(caught.value) == said
    finally:
        openvino._openvino.cache_clear()
