"""What is told about a failure: one line, printable, without keys, for people who did not start the run."""

from __future__ import annotations

import os
import re
from typing import Final

from ps3d_core.errors import Ps3dError

LONGEST: Final = 1000
_SECRETS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PREFECT_API_KEY")
_ACCOUNT_IN_URL = re.compile(r"(?<=://)[^\s/@]+@")
_QUERY_OF_URL = re.compile(r"(://[^\s?]+)\?[^\s;,)]+")


def reason_of(error: BaseException) -> str:
    """The failure in one line of printable characters."""
    text = " ".join(str(error).split())
    return plain(text if isinstance(error, Ps3dError) else f"{type(error).__name__}: {text or 'no message'}")


def plain(text: str) -> str:
    """`text` without keys and control characters, cut off where it gets too long."""
    for secret in filter(None, map(os.environ.get, _SECRETS)):
        text = text.replace(secret, "***")
    text = _QUERY_OF_URL.sub(r"\1?***", _ACCOUNT_IN_URL.sub("***@", text))
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
