"""Text from outside as markdown that shows it and nothing else.

Names of scans and paths are anybody's, and Prefect's pages render markdown in artifacts, in their descriptions and, in
one of its two UIs, in the cells of tables: a name could otherwise be a picture that is fetched from elsewhere. Only
what means something is escaped, because the other UI shows cells as they are; numeric entities are not understood.
"""

from __future__ import annotations

import re

LONGEST = 300
_SPECIAL = re.compile(r"([\\`*\[\]<>!|~&])|^([#+=-])|((?<=http)|(?<=https)|(?<=ftp)):", re.IGNORECASE)


def escaped(text: str) -> str:
    """`text` on one line in running markdown or a cell: every character stands for itself."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", _one_line(text))


def code(text: str) -> str:
    """`text` as a code span, for paths that are to be copied. Not for tables."""
    plain = _one_line(text) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    return f"{fence} {plain} {fence}" if "`" in plain else f"{fence}{plain}{fence}"


def _one_line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
