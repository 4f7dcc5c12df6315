"""The documentation as a site: gather all pages in one folder, then let MkDocs make the site of it.

    python -m docs.build        in the root of the repository; what make docs runs

The folder that is gathered, build/docs, is plain Markdown, and mkdocs.yml is all that is MkDocs' own: another generator
that reads both can take its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from docs import generate
from docs.sources import DOCS, IMAGES, PAGES, ROOT, as_page

GATHERED: Final = ROOT / "build" / "docs"
_OF_PROGRAMS: Final = {".py", ".pyc"}


def gather(folder: Path) -> None:
    """Write every page and image of the site into `folder`, which is emptied first.

    `LookupError` when a page takes over a section that is not there.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pages = {str(file.relative_to(ROOT / DOCS)): file for file in (ROOT / DOCS).rglob("*") if _is_of_site(file)}
    pages |= {uri: ROOT / path for path, uri in (PAGES | IMAGES).items()}
    for uri, file in pages.items():
        place = _made(folder / uri)
        if file.suffix == ".md":
            place.write_text(as_page(file.read_text(encoding="utf-8"), uri), encoding="utf-8")
        else:
            shutil.copyfile(file, place)
    for uri, make in generate.PAGES.items():
        _made(folder / uri).write_text(make(), encoding="utf-8")


def main() -> int:
    """Make the site; return the exit status of MkDocs, which is not 0 when it has warned of anything."""
    gather(GATHERED)
    # What it warns of otherwise is its successor.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]  # --quiet would hide warnings from --strict
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode  # noqa: S603


def _is_of_site(file: Path) -> bool:
    return file.is_file() and file.suffix not in _OF_PROGRAMS


def _made(place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


if __name__ == "__main__":
    sys.exit(main())
