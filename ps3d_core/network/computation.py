"""What computes a network: device, engine and precision, settled before a run and the same for all of its workers."""

from __future__ import annotations

from typing import Final, Literal

import torch
from pydantic import BaseModel, ConfigDict

from ps3d_core.errors import InputError
from ps3d_core.network import openvino
from ps3d_core.network.device import choose_device
from ps3d_core.quantities import Device, Engine, Precision

_NAMES: Final = {"openvino": "OpenVINO", "torch": "PyTorch"}


class Computation(BaseModel):
    """What computes the outputs of a network. Two that have the same `identity` compute the same but for the device."""

    model_config = ConfigDict(frozen=True)

    device: Literal["cuda", "mps", "cpu"] = "cpu"
    engine: Literal["openvino", "torch"] = "torch"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    @property
    def identity(self) -> tuple[str, ...]:
        """What results are known by: engine and precision.

        Nothing for PyTorch in float32, which was not said when there was no other engine.
        """
        return () if (self.engine, self.precision) == ("torch", "float32") else (self.engine, self.precision)

    @property
    def text(self) -> str:
        """Engine, precision and device, in words."""
        return f"{_NAMES[self.engine]}, {self.precision}, {self.device}"

    @property
    def text_here(self) -> str:
        """The same with the version of the engine that is installed here."""
        return self.text.replace(",", f" {_version(self.engine)},", 1)


def computation_of(
    engine: Engine = "auto", precision: Precision = "auto", device: Device = "auto", *, elsewhere: bool = False
) -> Computation:
    """Return what computes on this machine, in the words of a user whose "auto" leaves the choice.

    A GPU goes before the CPU, OpenVINO before PyTorch on a CPU where it is installed, float16 on CUDA and float32
    elsewhere. With `elsewhere`, other machines compute, and what is said is not checked against this one.

    Raises:
        InputError: for words that contradict each other, an engine that is not installed, and a precision that the
            processor does not have.

    """
    if engine == "openvino" and device not in ("auto", "cpu"):
        raise InputError(
            f"engine openvino: it computes on a CPU, not on {device}", "give cpu as <device>", "auto as <engine>"
        )
    place = "cpu" if engine == "openvino" else device if device != "auto" else _device_here()
    by_openvino = engine == "openvino" or (engine == "auto" and place == "cpu" and openvino.is_installed())
    usual: Precision = "float16" if place == "cuda" else "float32"
    computation = Computation(
        device=place,
        engine="openvino" if by_openvino else "torch",
        precision=usual if precision == "auto" else precision,
    )
    if by_openvino and not elsewhere:
        openvino.require_precision(computation.precision)
    return computation


def as_good(engine: Engine = "auto", precision: Precision = "auto") -> tuple[Computation, ...]:
    """Return every computation that agrees with what was said, wherever it computes."""
    if precision == "auto":
        every: tuple[Computation, ...] = (
            Computation(engine="openvino"),
            Computation(engine="torch"),
            Computation(device="cuda", engine="torch", precision="float16"),
        )
    else:
        every = (Computation(engine="openvino", precision=precision), Computation(engine="torch", precision=precision))
    return tuple(each for each in every if engine in ("auto", each.engine))


def is_possible(computation: Computation, device: str) -> bool:
    """Return whether `computation` is one of `device`, and its engine is installed here."""
    return computation.device == device and (computation.engine == "torch" or openvino.is_installed())


def _device_here() -> Literal["cuda", "mps", "cpu"]:
    return choose_device().type  # type: ignore[return-value]  # one of DEVICES


def _version(engine: str) -> str:
    return openvino.version() if engine == "openvino" else str(torch.__version__).partition("+")[0]
