"""Program: the table of formats in the documentation, out of what the tests of every format hold.

    python -m tests.formats.table        writes it

Each cell is tested: `tests/unit/test_formats.py` for every type, `tests/integration/test_formats_on_s3.py` for S3.
"""

from __future__ import annotations

from pathlib import Path

from tests.formats.file_format import DTYPES, FileFormat, all_formats

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "formats.md"
BEGIN, END = "<!-- made by python -m tests.formats.table -->", "<!-- until here -->"
HEAD = ("format", "types", "voxels and axes", "spacing", "slab by slab", "truncated", "damaged headers", "S3")


def row(form: FileFormat) -> tuple[str, ...]:
    """One line of the table."""
    types = "all four" if set(form.dtypes) == set(DTYPES) else ", ".join(form.dtypes)
    spacing = "kept" if form.spacing else "has none"
    slabs = "yes" if form.is_slabwise else "whole, and says so"
    stores = "yes" if form.is_remote else "no, and says so"
    return (form.name, types, "equal", spacing, slabs, "refused", "refused or equal", stores)


def table_text() -> str:
    """The table in Markdown."""
    rows = [HEAD, ("---",) * len(HEAD), *map(row, all_formats())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def page_with_table(page: str) -> str:
    """The page with the table of today in it."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table_text()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with_table(PAGE.read_text("utf-8")), "utf-8")
