"""Failures of single scans: all others have their turn, and the message says each reason once."""

from __future__ import annotations

import pytest

from ps3d_app.flows.failures import Failures, ScansFailedError
from ps3d_core.errors import InputError, StoreError


def collect(errors: dict[str, Exception]) -> Failures:
    failures = Failures()
    for scan, error in errors.items():
        with failures.collected(scan):
            raise error
    return failures


def message(errors: dict[str, Exception]) -> str:
    with pytest.raises(ScansFailedError) as failed:
        collect(errors).raise_any()
    return str(failed.value)


def test_nothing_failed() -> None:
    Failures().raise_any()


def test_each_reason_is_said_once() -> None:
    assert message({"a": InputError("no model"), "b": InputError("no model"), "c": StoreError("gone")}) == (
        "scans a, b: no model; scan c: gone"
    )
    assert message({f"s{i}": ValueError("x") for i in range(8)}) == "scans s0, s1, s2, s3, s4 and 3 more: ValueError: x"


def test_bad_input_only_when_nothing_else_failed() -> None:
    with pytest.raises(InputError):
        collect({"a": InputError("x"), "b": InputError("y")}).raise_any()
    with pytest.raises(ScansFailedError) as failed:
        collect({"a": InputError("x"), "b": StoreError("y")}).raise_any()
    assert not isinstance(failed.value, InputError)


def test_a_place_that_cannot_be_used_is_bad_input() -> None:
    error = NotADirectoryError(20, "Not a directory", "/data/file/ore")
    with pytest.raises(InputError, match=r"^scan a: /data/file/ore: not a directory; give another place") as failed:
        collect({"a": error}).raise_any()
    assert "\n" not in str(failed.value)


def test_failures_of_a_group_stay_those_of_its_scans() -> None:
    inner = ScansFailedError({"a": InputError("x")})
    with pytest.raises(ScansFailedError) as failed:
        collect({"a, b": inner}).raise_any()
    assert list(failed.value.failures) == ["a"]


def test_interrupts_pass() -> None:
    with pytest.raises(KeyboardInterrupt), Failures().collected("a"):
        raise KeyboardInterrupt
