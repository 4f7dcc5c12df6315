"""Strangers' pickles and checkpoints: plain data comes out, everything else is refused by name and never run."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ps3d_core.errors import InputError
from ps3d_core.network.nnunet.unpickling import read_checkpoint, read_pickle, state_dict

Reader = Callable[[Path], Any]


class Calls:
    """Pickles as a call of `function`; unpickled by pickle, it would happen."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def pickled(tmp_path: Path, content: object, protocol: int = 4) -> Path:
    return written(tmp_path, pickle.dumps(content, protocol))


def written(tmp_path: Path, data: bytes) -> Path:
    file = tmp_path / "plans.pkl"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_and_arrays(tmp_path: Path, protocol: int) -> None:
    content = {
        "patch": np.array([96, 112, 128]),
        "matrix": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        "big endian": np.array([1.5, -2.0], ">f4"),
        "flags": np.array([True, False]),
        "names": np.array(["ore", "sand"]),
        "objects": np.array([None, "a", 2], dtype=object),
        "scalar": np.float64(2.5),
        "whole": np.int64(-3),
        "ordered": OrderedDict([(0, "noNorm"), (np.int64(1), np.float32(0.5))]),
        "pair": (1, [None, True, b"x"]),
        "set": {5},
        (1, 2): "tuple key",
    }
    read = read_pickle(pickled(tmp_path, content, protocol))
    assert read == {
        "patch": [96, 112, 128],
        "matrix": [[0, 1, 2], [3, 4, 5]],
        "fortran": [[0, 1, 2], [3, 4, 5]],
        "big endian": [1.5, -2.0],
        "flags": [True, False],
        "names": ["ore", "sand"],
        "objects": [None, "a", 2],
        "scalar": 2.5,
        "whole": -3,
        "ordered": {0: "noNorm", 1: 0.5},
        "pair": [1, [None, True, b"x"]],
        "set": [5],
        (1, 2): "tuple key",
    }
    assert type(read["whole"]) is int


def test_numpy_1_called_its_core_otherwise(tmp_path: Path) -> None:
    data = pickle.dumps({"patch": np.array([1, 2, 3]), "x": np.float64(2)}, 0).replace(b"numpy._core", b"numpy.core")
    assert read_pickle(written(tmp_path, data)) == {"patch": [1, 2, 3], "x": 2.0}


numbers = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(st.recursive(numbers, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))
def test_what_json_could_say_comes_out_as_it_went_in(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    assert read_pickle(pickled(tmp_path_factory.mktemp("pickle"), content)) == content


def nested_reduce(marker: Path) -> Calls:
    """A call that makes the argument of an innocent one."""
    return Calls(OrderedDict, Calls(os.system, f"touch {marker}"))


MALICIOUS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a command": (lambda marker: Calls(os.system, f"touch {marker}"), f"{os.name}.system"),
    "eval": (lambda marker: Calls(eval, f"open({str(marker)!r}, 'w')"), "builtins.eval"),
    "exec": (lambda marker: Calls(exec, f"open({str(marker)!r}, 'w')"), "builtins.exec"),
    "getattr": (lambda marker: Calls(getattr, "", "upper"), "builtins.getattr"),
    "import": (lambda marker: Calls(__import__, "os"), "builtins.__import__"),
    "open": (lambda marker: Calls(open, str(marker), "w"), "io.open"),
    "a partial call": (lambda marker: partial(os.system, f"touch {marker}"), "functools.partial"),
    "numpy's loader": (lambda marker: Calls(np.load, str(marker)), "numpy.load"),
    "a writer of numpy's": (lambda marker: Calls(np.save, str(marker), 0), "numpy.save"),
    "torch's loader": (lambda marker: Calls(torch.load, str(marker)), "torch.serialization.load"),
    "one inside the other": (nested_reduce, f"{os.name}.system"),
    "deep in a plan": (
        lambda marker: {"plans_per_stage": {0: {"patch_size": [Calls(os.system, f"touch {marker}")]}}},
        f"{os.name}.system",
    ),
    "in the list of an object array": (
        lambda marker: np.array([Calls(os.system, f"touch {marker}"), None], dtype=object),
        f"{os.name}.system",
    ),
    "a class of our own": (lambda marker: Path("/tmp"), "pathlib"),
}


@pytest.mark.parametrize("case", MALICIOUS)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_malicious_pickle_is_refused_by_name(tmp_path: Path, case: str, protocol: int) -> None:
    make, name = MALICIOUS[case]
    marker = tmp_path / "marker"
    file = pickled(tmp_path, make(marker), protocol)
    with pytest.raises(InputError) as error:
        read_pickle(file)
    assert f"asks for {name}" in one_line(error)
    assert not marker.exists()


@pytest.mark.parametrize("case", MALICIOUS)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_checkpoint_is_refused_by_name(tmp_path: Path, case: str, zipped: bool) -> None:
    make, name = MALICIOUS[case]
    marker, file = tmp_path / "marker", tmp_path / "model_best.model"
    content = {"state_dict": {"w": torch.zeros(1)}, "best": np.float64(1), "x": make(marker)}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError) as error:
        read_checkpoint(file)
    assert f"asks for {name}" in one_line(error)
    assert not marker.exists()


def test_the_malicious_ones_would_do_harm(tmp_path: Path) -> None:
    """What the tests above refuse is live: pickle itself runs it."""
    marker = tmp_path / "marker"
    pickle.loads(pickled(tmp_path, MALICIOUS["deep in a plan"][0](marker)).read_bytes())
    assert marker.exists()


def global_of(module: str, name: str) -> bytes:
    """As protocol 4 asks for it."""
    texts = [text.encode() for text in (module, name)]
    return b"\x80\x04" + b"".join(b"\x8c" + bytes([len(text)]) + text for text in texts) + b"\x93."


HANDWRITTEN = {
    "INST": b"(S'true'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'true'\no.",
    "dotted attribute": global_of("collections", "OrderedDict.__init__.__globals__"),
    "dotted module": global_of("numpy", "core.multiarray"),
    "another module of numpy": b"cnumpy.testing._private.utils\nrunstring\n.",
    "another function of the module": b"cnumpy._core.multiarray\nfromfile\n.",
    "object": b"cbuiltins\nobject\n.",
    "new lines in a name": global_of("os", "\nsystem\x1b[2J"),
}


@pytest.mark.parametrize("case", HANDWRITTEN)
def test_names_are_compared_whole(tmp_path: Path, case: str) -> None:
    with pytest.raises(InputError) as error:
        read_pickle(written(tmp_path, HANDWRITTEN[case]))
    assert "asks for" in one_line(error)
    assert one_line(error).isprintable()


def array_with_lying_dtype() -> bytes:
    """An object array whose dtype claims that objects are plain bytes: numpy would follow them as pointers."""
    return (
        b"\x80\x02cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
        b"(K\x01K\x01\x85cnumpy\ndtype\nX\x02\x00\x00\x00O8\x89\x88\x87R"
        b"(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89C\x08AAAAAAAAtb."
    )


DISHONEST = {
    "dtype that lies": array_with_lying_dtype(),
    "scalar of objects": b"cnumpy._core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\ntRC\x08AAAAAAAAtR.",
    "array of another size": b"cnumpy._core.numeric\n_frombuffer\n(C\x01acnumpy\ndtype\n(S'i8'\ntR(I%d\ntS'C'\ntR."
    % 10**12,
    "strange type": b"cnumpy\ndtype\n(S'i8,O8'\ntR.",
    "array of another class": b"cnumpy._core.multiarray\n_reconstruct\n(ccollections\nOrderedDict\n(I0\ntC\x01btR.",
    "number that is called": b"I1\n(tR.",
    "memo number": b"Nr\xff\xff\xff\xff.",
    "persistent object": b"Psomething\n.",
    "extension": b"\x82\x01.",
    "cut short": pickle.dumps({"a": list(range(100))})[:50],
    "empty": b"",
    "text": b"This is no pickle.",
    "a list in itself": b"(lp0\ng0\na.",
    "too deep": b"(" * 200 + b"l" + b"(l" * 0 + b"t" * 199 + b".",
    "bytes in another encoding": b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
}


@pytest.mark.parametrize("case", DISHONEST)
def test_what_is_no_honest_pickle_is_one_line(tmp_path: Path, case: str) -> None:
    with pytest.raises(InputError) as error:
        read_pickle(written(tmp_path, DISHONEST[case]))
    assert "not a readable pickle" in one_line(error)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = written(tmp_path_factory.mktemp("pickle"), data)
    try:
        read_pickle(file)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ends are right


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_of_numpy_in_checkpoints(tmp_path: Path, zipped: bool) -> None:
    file = tmp_path / "c.pth"
    content = {"a": np.float64(1.5), "b": [np.int64(2), np.float32(0.25)], "c": torch.arange(3), "d": np.arange(2)}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(file)
    assert (read["a"], read["b"], read["c"].tolist()) == (1.5, [2, 0.25], [0, 1, 2])


def test_a_lying_dtype_in_a_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "c.pth"
    torch.save({"a": 1}, file)
    import zipfile

    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            lying = b"\x80\x02}X\x01\x00\x00\x00a" + scalar_with_lying_dtype() + b"s."
            archive.writestr(name, lying if name.endswith("data.pkl") else data)
    with pytest.raises(InputError) as error:
        read_checkpoint(file)
    assert "objects in bytes" in one_line(error)


def scalar_with_lying_dtype() -> bytes:
    """As torch spells it: bytes through _codecs.encode."""
    return (
        b"cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\x00\x00\x00O8\x89\x88\x87R"
        b"(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"c_codecs\nencode\nX\x08\x00\x00\x00AAAAAAAAX\x06\x00\x00\x00latin1\x86R\x86R"
    )


@pytest.mark.parametrize("data", [b"", b"no checkpoint", b"PK\x03\x04 nor this", pickle.dumps({"a": 1})])
def test_damaged_checkpoints_are_one_line(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "c.pth"
    file.write_bytes(data)
    with pytest.raises(InputError) as error:
        read_checkpoint(file)
    assert "not a readable checkpoint" in one_line(error)


def test_a_checkpoint_is_a_dictionary(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "c.pth")
    with pytest.raises(InputError, match="holds a list"):
        read_checkpoint(tmp_path / "c.pth")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([1.0, float("nan")]),
        torch.tensor([float("inf")]),
        torch.zeros(1).expand(10**6),
        torch.zeros(3).to_sparse(),
        torch.zeros(3, device="meta"),
        3.0,
    ],
    ids=["nan", "inf", "larger than its memory", "sparse", "without memory", "no tensor"],
)
def test_weights_that_are_none(tensor: Any) -> None:
    with pytest.raises(InputError, match="no usable tensor"):
        state_dict({"state_dict": {"w": tensor}}, "state_dict", Path("c"))


def test_prefixes_of_wrapped_networks_go() -> None:
    weights = {"module.a": torch.ones(1), "_orig_mod.module.b": torch.ones(1), "c.module.d": torch.ones(1)}
    assert list(state_dict({"w": weights}, "w", Path("c"))) == ["a", "b", "c.module.d"]


@pytest.mark.parametrize("content", [{}, {"w": None}, {"w": {}}])
def test_no_weights(content: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="no w in it"):
        state_dict(content, "w", Path("c"))
