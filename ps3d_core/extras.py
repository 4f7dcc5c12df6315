"""What an installation may lack: optional dependencies, each part of ps3d with those that it needs.

The library and the measuring of labels need none of them. Code imports them where it uses them; whoever meets a missing
one says what to install with `of_missing`. Commands ask before they begin, with `require`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from ps3d_core.errors import InputError

EXTRAS: Final = {
    "torch": "predict",
    "safetensors": "predict",
    "dynamic_network_architectures": "predict",
    "openvino": "predict",
    "nnunetv2": "train",
    "distributed": "dask",
    "prefect": "flow",
    "httpx": "flow",
    "docket": "flow",
    "yaml": "flow",
    "cryptography": "stack",
}
"""Packages that may be missing, with the extra of ps3d that brings them."""
_WITHOUT: Final = {"flow": "add <direct>", "dask": "choose another <runner>", "openvino": "choose another <engine>"}
"""How to do without an extra, or a package."""


def of_missing(error: BaseException) -> InputError | None:
    """Return an error that says what to install, if `error` is for a missing optional package; None for any other."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    package = str(error.name).partition(".")[0]
    return lacking(package) if package in EXTRAS else None


def require(*packages: str) -> None:
    """Raise `InputError` that says what to install, when one of these optional packages is not installed."""
    for package in packages:
        if find_spec(package) is None:
            raise lacking(package)


def lacking(package: str) -> InputError:
    """Return the error that says that an optional package is not installed, and how to install it."""
    extra = EXTRAS[package]
    without = _WITHOUT.get(package, _WITHOUT.get(extra))
    remedies = (f"pip install 'ps3d[{extra}]'", without) if without else (f"pip install 'ps3d[{extra}]'",)
    return InputError(f"{package} is not installed", *remedies)
