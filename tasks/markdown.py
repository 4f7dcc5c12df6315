"""Text from outside as markdown that shows it and nothing else.

Names of scans and paths are anybody's. Prefect renders descriptions and markdown artifacts, cells of tables too, and
sanitises HTML; what could still become a link, a picture or a broken table is taken away here.
"""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+!|~$&:@-])")


def escaped(text: str) -> str:
    """`text` in running markdown: every character stands for itself, on one line."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", _one_line(text))


def code(text: str) -> str:
    """`text` as a code span, for paths that are to be copied. Not for tables."""
    plain = _one_line(text) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    return f"{fence} {plain} {fence}" if "`" in plain else f"{fence}{plain}{fence}"


def cell(text: str) -> str:
    """`text` as a value that is shown as it is, shortened to a line."""
    plain = _one_line(text)
    return plain if len(plain) <= 200 else plain[:199] + "…"


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
