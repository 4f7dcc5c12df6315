"""Failures of single scans, kept until all scans have had their turn."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ps3d_core.errors import OF_THE_INPUT, InputError, Ps3dError, Wording, worded
from ps3d_core.store.faults import unusable_place

NAMED = 5
logger = logging.getLogger("ps3d")


class ScansFailedError(Ps3dError):
    """Some scans failed; the message says which, and each reason once."""

    def __init__(self, failures: dict[str, Exception]) -> None:
        super().__init__("scans failed")
        self.failures = failures

    def worded(self, wording: Wording) -> str:
        """Return the message: which scans failed and why, with options called what `wording` says."""
        return _summary(self.failures, wording)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.failures,)


class UnusableScansError(ScansFailedError, InputError):
    """Some scans failed, each of them because of what the user gave."""


class Failures:
    """Errors by scan."""

    def __init__(self) -> None:
        self._errors: dict[str, Exception] = {}

    @contextmanager
    def collected(self, scan: str) -> Iterator[None]:
        """Keep an error raised inside as that of `scan`, and go on. Interrupts pass."""
        try:
            yield
        except ScansFailedError as error:
            self._errors |= error.failures
        except Exception as error:
            logger.exception("scan %s failed", scan)
            self._errors[scan] = unusable_place(error) or error

    def raise_any(self) -> None:
        """Raise `ScansFailedError` when scans failed, with the errors of all of them.

        Raise its kind `UnusableScansError` when each failed because of what the user gave.
        """
        if not self._errors:
            return
        usable = not all(isinstance(error, OF_THE_INPUT) for error in self._errors.values())
        raise (ScansFailedError if usable else UnusableScansError)(self._errors)


def _summary(failures: dict[str, Exception], wording: Wording) -> str:
    scans_by_reason: dict[str, list[str]] = {}
    for scan, error in failures.items():
        scans_by_reason.setdefault(_line(error, wording), []).append(scan)
    return "; ".join(_told(reason, scans) for reason, scans in scans_by_reason.items())


def _told(reason: str, scans: list[str]) -> str:
    known = reason.startswith(f"scan {scans[0]!r}")  # it names its scan itself
    return reason if known else f"{_names(scans)}: {reason}"


def _names(scans: list[str]) -> str:
    named, rest = scans[:NAMED], len(scans) - NAMED
    return f"scan{'s' if len(scans) > 1 else ''} {', '.join(named)}" + (f" and {rest} more" if rest > 0 else "")


def _line(error: Exception, wording: Wording) -> str:
    kind = "" if isinstance(error, Ps3dError) else f"{type(error).__name__}: "
    return f"{kind}{worded(error, wording)}"
