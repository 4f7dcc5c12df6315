"""A report that shows itself in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Report:
    """One page about a scan: pictures, size distribution, shape, what the run did."""

    html: str
    """The page; it needs no other file, no network and no script."""

    def save(self, path: str | PathLike[str]) -> None:
        """Write the page to a file."""
        Path(path).write_text(self.html, encoding="utf-8")

    def _repr_html_(self) -> str:
        # A frame, so that the page's style and the notebook's leave each other alone; it may run nothing.
        return f'<iframe sandbox srcdoc="{escape(self.html)}" width="100%" height="900" style="border:0"></iframe>'

    def __repr__(self) -> str:
        return f"Report of {len(self.html)} characters; save(PATH) writes it to a file"
