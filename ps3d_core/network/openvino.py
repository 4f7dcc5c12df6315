"""Networks computed by OpenVINO: on a CPU faster than PyTorch, with the same classes.

A network of `Architecture` is a short list of layers without branches that depend on data. It is translated layer by
layer, so that nothing has to be exported, and compiled for the shape of the patches. Every patch is computed by one
thread, as many patches at once as there are threads: the sums inside a layer, and with them the bits, do not depend on
how many cores a machine has.
"""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np
import torch
from torch import fx, nn

from ps3d_core.errors import InputError
from ps3d_core.extras import lacking

Shape = tuple[int, ...]

_TYPES: Final = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITIES: Final = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}
_COMPILED: Final = 64
"""Networks times shapes of patches, in one process: more than any run has."""
_SENDS_USAGE: Final = "openvino.tools.ovc"
"""Converts models of other programs, and tells OpenVINO's makers whenever it is imported."""


def is_installed() -> bool:
    """Return whether there is an OpenVINO that can be imported."""
    try:
        return _openvino() is not None
    except InputError:
        return False


def require_precision(precision: str) -> None:
    """Raise `InputError` when OpenVINO is not installed, or this processor cannot compute in `precision` with it."""
    if _CAPABILITIES[precision] not in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise _lacks(precision)


def version() -> str:
    """Return the release of the OpenVINO that is installed, like 2026.4.1."""
    return str(_openvino().__version__).partition("-")[0]


def release() -> None:
    """Give back the memory of all compiled networks; the next patch compiles anew, in less than a second."""
    with _compiling:
        _compiled.cache_clear()


class OpenVinoNetwork:
    """A network of PyTorch on a CPU as OpenVINO computes it. Thread safe."""

    def __init__(self, network: nn.Module, precision: str = "float32", threads: int = 1) -> None:
        """Take a network of `Architecture` in evaluation mode; `threads` patches are computed at once at most."""
        self._network, self._precision, self._threads = network, precision, threads

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        """Return logits (B, classes, z, y, x) of `patches` (B, 1, z, y, x), both float32; one patch after the other.

        Raise `InputError` when OpenVINO is not installed, or this processor cannot compute in the precision.
        """
        with _compiling:
            compiled = _compiled(self._network, tuple(patches.shape[1:]), self._precision, self._threads)
        return torch.cat([torch.from_numpy(compiled(patch[None].numpy())) for patch in patches])


class _Compiled:
    """A network for patches of one shape, with the requests that its threads take turns in."""

    def __init__(self, network: nn.Module, shape: Shape, precision: str, threads: int) -> None:
        ov = _openvino()
        said = {
            "NUM_STREAMS": threads,  # each with one thread
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": _TYPES[precision],
            # Several processes share a machine: none has cores of its own.
            "ENABLE_CPU_PINNING": False,
            "ENABLE_HYPER_THREADING": True,
        }
        require_precision(precision)  # some processors would emulate it, slower than float32
        self._model = _core().compile_model(_translated(network, shape), "CPU", said)
        if self._model.get_property("INFERENCE_PRECISION_HINT") != getattr(ov.Type, _TYPES[precision]):
            raise _lacks(precision)
        self._tensor = ov.Tensor
        self._idle: list[Any] = []

    def __call__(self, patch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with self._request() as request:
            request.set_input_tensor(self._tensor(np.ascontiguousarray(patch), shared_memory=True))
            # Not `infer`, which computes in the calling thread, beside those of the streams.
            request.start_async()
            request.wait()
            return cast("np.ndarray[Any, Any]", request.get_output_tensor().data.copy())

    @contextmanager
    def _request(self) -> Iterator[Any]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        yield request
        self._idle.append(request)


_compiling = threading.Lock()
_compiled = lru_cache(maxsize=_COMPILED)(_Compiled)


def _lacks(precision: str) -> InputError:
    return InputError(
        f"precision {precision}: this processor has no instructions for it that OpenVINO uses",
        "give float32 as <precision>",
        "another <engine>",
    )


@lru_cache(maxsize=1)
def _openvino() -> Any:
    """Return the package openvino, imported without its part that sends usage data."""
    unwanted = _SENDS_USAGE not in sys.modules
    if unwanted:
        sys.modules[_SENDS_USAGE] = cast("Any", None)  # importing it fails, which openvino is prepared for
    try:
        import openvino
    except ImportError as error:
        raise lacking("openvino") from error
    finally:
        if unwanted:
            del sys.modules[_SENDS_USAGE]
    return openvino


@lru_cache(maxsize=1)
def _core() -> Any:
    return _openvino().Core()


def _translated(network: nn.Module, shape: Shape) -> Any:
    """Return the model of OpenVINO that computes what `network` does with one patch of `shape` (1, z, y, x)."""
    traced = fx.symbolic_trace(network)
    layers = dict(traced.named_modules())
    entry = _ops().parameter([1, *shape], np.float32)
    values: dict[fx.Node, Any] = {}
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            values[node] = entry
            continue
        inputs = fx.map_arg(node.args, values.__getitem__)
        if node.op == "output":
            return _openvino().Model([inputs[0]], [entry])
        if node.op == "call_module":
            layer = layers[cast("str", node.target)]
            values[node] = _LAYERS[type(layer)](layer, *inputs)
        else:
            values[node] = _FUNCTIONS[node.target](*inputs)
    raise ValueError("a network without output")


def _ops() -> Any:
    return _openvino().opset15


def _constant(values: Any) -> Any:
    return _ops().constant(np.ascontiguousarray(values))


def _per_channel(tensor: torch.Tensor) -> Any:
    return _constant(tensor.detach().numpy().reshape(1, -1, 1, 1, 1))


def _with_bias(value: Any, bias: torch.Tensor | None) -> Any:
    return value if bias is None else _ops().add(value, _per_channel(bias))


def _convolution(layer: nn.Conv3d, x: Any) -> Any:
    padding = cast("tuple[int, int, int]", layer.padding)
    weights = _constant(layer.weight.detach().numpy())
    return _with_bias(_ops().convolution(x, weights, layer.stride, padding, padding, layer.dilation), layer.bias)


def _transposed_convolution(layer: nn.ConvTranspose3d, x: Any) -> Any:
    padding = cast("tuple[int, int, int]", layer.padding)
    weights = _constant(layer.weight.detach().numpy())
    value = _ops().convolution_backprop_data(
        x, weights, layer.stride, pads_begin=padding, pads_end=padding, dilations=layer.dilation
    )
    return _with_bias(value, layer.bias)


def _instance_norm(layer: nn.InstanceNorm3d, x: Any) -> Any:
    value = _ops().mvn(x, _constant(np.array([2, 3, 4])), True, layer.eps, "inside_sqrt")
    return _ops().add(_ops().multiply(value, _per_channel(layer.weight)), _per_channel(layer.bias))


def _batch_norm(layer: nn.BatchNorm3d, x: Any) -> Any:
    mean, variance = cast("torch.Tensor", layer.running_mean), cast("torch.Tensor", layer.running_var)
    values = (_constant(part.detach().numpy()) for part in (layer.weight, layer.bias, mean, variance))
    return _ops().batch_norm_inference(x, *values, layer.eps)


def _mean_pooling(layer: nn.AvgPool3d, x: Any) -> Any:
    size, stride = _three(layer.kernel_size), _three(layer.stride)
    return _ops().avg_pool(x, stride, [0, 0, 0], [0, 0, 0], size, exclude_pad=True)


def _three(size: Any) -> list[int]:
    return [size] * 3 if isinstance(size, int) else list(size)


_LAYERS: Final[dict[type[nn.Module], Any]] = {
    nn.Conv3d: _convolution,
    nn.ConvTranspose3d: _transposed_convolution,
    nn.InstanceNorm3d: _instance_norm,
    nn.BatchNorm3d: _batch_norm,
    nn.AvgPool3d: _mean_pooling,
    nn.LeakyReLU: lambda layer, x: _ops().prelu(x, _constant(np.array([layer.negative_slope], np.float32))),
    nn.ReLU: lambda _, x: _ops().relu(x),
    nn.GELU: lambda _, x: _ops().gelu(x, "erf"),
    nn.SiLU: lambda _, x: _ops().swish(x),
}
_FUNCTIONS: Final[dict[Any, Callable[..., Any]]] = {
    torch.cat: lambda parts, axis: _ops().concat(list(parts), axis),
    operator.add: lambda a, b: _ops().add(a, b),
    operator.iadd: lambda a, b: _ops().add(a, b),
}
