"""What is told about a failure: one line, printable, without keys, for people who did not start the run."""

from __future__ import annotations

import os
from typing import Final

from ps3d_core.errors import Ps3dError, worded
from ps3d_core.inbox.description import in_description
from ps3d_core.printable import printable, without_keys

LONGEST: Final = 1000
_SECRETS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_KEY",
)


def reason_of(error: BaseException) -> str:
    """Return the failure in one line of printable characters, with the remedies that whoever drops scans has."""
    text = " ".join(worded(error, in_description).split())
    return plain(text if isinstance(error, Ps3dError) else f"{type(error).__name__}: {text or 'no message'}")


def plain(text: str) -> str:
    """Return `text` without keys and control characters, cut off where it gets too long."""
    for secret in filter(None, map(os.environ.get, _SECRETS)):
        text = text.replace(secret, "***")
    text = printable(without_keys(text))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
