"""Text of others (names, fields of a model, file names, URLs) made fit to be shown and kept: harmless, without keys."""

from __future__ import annotations

import re

# A password may hold an @, so the last one before the path counts; a query may hold commas, but does not end in one.
_ACCOUNT_IN_URL = re.compile(r"(?<=://)[^\s/]+@")
_QUERY_OF_URL = re.compile(r"""(://[^\s?][^?\n]*)\?\S*[^\s;,.:)\]}>'"]""")


def printable(text: str) -> str:
    r"""Return `text` with control characters, line ends among them, in escaped form: \x1b instead of Escape."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def without_keys(text: str) -> str:
    """Return `text` with *** for what is secret in a URL in it.

    That is what stands before its host (user and password) and in its query (signatures).
    """
    return _QUERY_OF_URL.sub(r"\1?***", _ACCOUNT_IN_URL.sub("***@", text))
