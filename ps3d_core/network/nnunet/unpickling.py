"""Pickles and checkpoints from strangers, read without running anything that they name.

A pickle is a program: it names functions and calls them. Here every name is looked up in one short table, and what is
not in it is refused by name before anything is called. Not even numpy's own functions are in the table: numpy believes
the state that a pickle gives its dtypes, and a dtype that lies makes it follow bytes as if they were pointers. So the
names of numpy stand for functions of this module, which take nothing but bytes and a checked type code.

nnU-Net writes two kinds of file: pickles of settings, which come out as plain dictionaries, lists and numbers, as if
they had been JSON; and checkpoints, read by torch with `weights_only`, which knows tensors and asks the same table.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from ps3d_core.errors import InputError

_MAX_PICKLE_BYTES: Final = 64 * 2**20
_MAX_DEPTH: Final = 64
_TYPE_CODE: Final = re.compile(r"b1|[iu][1248]|f[248]|[SU]\d{1,4}|O8?")
_REFUSED_BY_TORCH: Final = re.compile(r"GLOBAL ([\w.<>-]+)")


def read_pickle(file: Path) -> Any:
    """Return the content of a pickle as plain data: dictionaries, lists, text, numbers; arrays become nested lists.

    Raises:
        InputError: for a pickle that names anything beyond plain data and numpy arrays, or that is damaged.

    """
    data = _bounded_bytes(file)
    try:
        _check_memo(data)
        content = _PlainUnpickler(data, str(file)).load()
        return _plain(content, {}, 0)
    except InputError:
        raise
    except Exception as error:  # bytes of a stranger: there is no end to how they can be wrong
        raise InputError(f"{file}: not a readable pickle ({_one_line(error)}); get a valid copy of the file") from error


def read_checkpoint(file: Path) -> Mapping[str, Any]:
    """Return the content of a file that `torch.save` wrote: a dictionary with tensors, numbers and text.

    Tensors of files in torch's present format stay on the disk until they are used: keep the file until then.

    Raises:
        InputError: for a file that names anything beyond these, or that is damaged.

    """
    mapped = zipfile.is_zipfile(file)
    try:
        with torch.serialization.safe_globals(list(_torch_names())):
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except InputError:
        raise
    except Exception as error:  # as above
        if refused := _REFUSED_BY_TORCH.search(str(error)):
            name = refused[1] if "." in refused[1] else f"builtins.{refused[1]}"
            raise _refusal(str(file), _present_name(name)) from error
        raise InputError(
            f"{file}: not a readable checkpoint ({_one_line(error)[:200]}); get a valid copy of the file"
        ) from error
    if not isinstance(content, Mapping):
        raise InputError(f"{file}: holds a {type(content).__name__}, no dictionary; give a checkpoint of nnU-Net")
    return content


def state_dict(content: Mapping[str, Any], key: str, file: Path) -> dict[str, torch.Tensor]:
    """Return the weights under `key` of a checkpoint, checked, without the prefixes of wrapped networks.

    Raises:
        InputError: when they are not there, are not numbers, or are not all finite.

    """
    weights = content.get(key)
    if not isinstance(weights, Mapping) or not weights:
        raise InputError(f"{file}: no {key} in it; give a checkpoint of nnU-Net")
    for name, tensor in weights.items():
        if not isinstance(name, str) or not _is_whole(tensor):
            raise InputError(f"{file}: {key}[{str(name)[:100]!r}] is no usable tensor; get a valid copy of the file")
    return {_unwrapped(name): tensor for name, tensor in weights.items()}


def _bounded_bytes(file: Path) -> bytes:
    if (size := file.stat().st_size) > _MAX_PICKLE_BYTES:
        raise InputError(f"{file}: {size} bytes, at most {_MAX_PICKLE_BYTES} are read; this is no plan of nnU-Net")
    return file.read_bytes()


def _unwrapped(name: str) -> str:
    for prefix in ("module.", "_orig_mod."):  # of DataParallel and of torch.compile
        if name.startswith(prefix):
            return _unwrapped(name.removeprefix(prefix))
    return name


def _is_whole(tensor: object) -> bool:
    """A dense tensor that is as large as the memory behind it, and finite."""
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        return False
    stored = tensor.untyped_storage().nbytes()
    return tensor.numel() * tensor.element_size() <= stored and bool(torch.isfinite(tensor).all())


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, what: str) -> None:
        super().__init__(io.BytesIO(data))
        self._what = what

    def find_class(self, module: str, name: str) -> Any:
        full_name = _present_name(f"{module}.{name}")
        if full_name not in _ADMITTED:
            raise _refusal(self._what, full_name)
        return _ADMITTED[full_name]


def _present_name(name: str) -> str:
    """Pickles of the older protocols call things as Python 2 did."""
    return re.sub(r"^__builtin__\.", "builtins.", name)


def _refusal(what: str, name: str) -> InputError:
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)[:200]
    return InputError(f"{what}: asks for {printable}, which no model needs, so nothing was run; do not trust this file")


def _check_memo(data: bytes) -> None:
    """Refuse memo numbers beyond the file's length: memory for all numbers below would be taken."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data):
            raise ValueError(f"memo number {argument} in {len(data)} bytes")


def _plain(value: Any, known: dict[int, Any], depth: int) -> Any:
    """Nested data as dictionaries, lists and numbers; what is referred to twice is converted once."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_DEPTH}")
    if id(value) in known:
        return known[id(value)]
    result: Any
    if isinstance(value, Mapping):
        result = {key: _plain(item, known, depth + 1) for key, item in value.items()}
    elif isinstance(value, list | tuple | set | frozenset):
        result = [_plain(item, known, depth + 1) for item in value]
    elif isinstance(value, _Array):
        result = _plain(value.content, known, depth + 1)
    elif value is None or isinstance(value, str | bytes | bool | int | float):
        return value
    else:
        raise ValueError(f"a {type(value).__name__} is no plain data")
    known[id(value)] = result
    return result


class _Dtype:
    """Stands for numpy.dtype: numbers, text, and objects only as lists of plain data."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: str | bytes, align: bool = False, copy: bool = False) -> None:
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if not isinstance(text, str) or not _TYPE_CODE.fullmatch(text):
            raise ValueError(f"array type {text!r:.100}")
        self._code = text
        self._order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # (version, byte order, ...): the rest describes types that the code of this class excludes.
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "=", "|"):
            raise ValueError(f"byte order {order!r:.100}")
        self._order = order

    def decode(self, data: bytes, count: int) -> npt.NDArray[Any]:
        """Return `count` values from exactly as many bytes as they need."""
        if self._code.startswith("O"):
            raise ValueError("objects in bytes")
        dtype = np.dtype(self._order + self._code)
        if not isinstance(data, bytes | bytearray) or len(data) != count * dtype.itemsize:
            raise ValueError(f"{count} values of {dtype} in bytes of another length")
        return np.frombuffer(data, dtype)


class _Array:
    """Stands for numpy.ndarray; its content is nested lists."""

    __slots__ = ("content",)

    def __init__(self) -> None:
        self.content: Any = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran_order, data = state
        self.content = data if isinstance(data, list) else _nested(data, dtype, shape, "F" if fortran_order else "C")


def _nested(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> Any:
    sizes = [int(size) for size in shape]
    if len(sizes) > 8 or any(size < 0 for size in sizes) or order not in ("C", "F"):
        raise ValueError(f"array of shape {sizes}")
    count = 1
    for size in sizes:
        count *= size
    return np.reshape(dtype.decode(data, count), sizes, order="F" if order == "F" else "C").tolist()


def _reconstruct(kind: type[_Array], shape: object, code: object) -> _Array:
    """Stands for numpy's function of this name: an empty array, which gets its state later."""
    if kind is not _Array:
        raise ValueError("array of an unknown class")
    return _Array()


def _frombuffer(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    """Stands for numpy's function of this name, in pickles of protocol 5."""
    array = _Array()
    array.content = _nested(data, dtype, shape, order)
    return array


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    """Stands for numpy's function of this name: one number, as Python's own."""
    return dtype.decode(data, 1)[0].item()


def _encode(text: str, encoding: str) -> bytes:
    """Stands for _codecs.encode, with which old pickles spell bytes."""
    if encoding != "latin1":
        raise ValueError(f"encoding {encoding!r:.100}")
    return text.encode("latin1")


_ADMITTED: Final[dict[str, Callable[..., Any]]] = {
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _encode,
    "numpy.dtype": _Dtype,
    "numpy.ndarray": _Array,
    # numpy's core moved in version 2
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _frombuffer for core in ("core", "_core")},
}


def _torch_names() -> list[tuple[Callable[..., Any], str]]:
    return [(stand_in, name) for name, stand_in in _ADMITTED.items() if name.startswith("numpy.")]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
