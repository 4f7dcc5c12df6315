"""Which files of the repository are pages of the site, and where their links lead there.

A fact stands in one place: what a README beside the code says is brought into the site, whole as a page or section by
section, and never written again. A page takes over a section with a link on a line of its own:

    [Your own model](../../README.md#your-own-model){ .include }

Links in pages and READMEs are those of the repository, so they work there too; those to code, which the site does not
have, become plain text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = "docs/"

PAGES: Final = {
    "ps3d_core/scan/README.md": "rooms/scan.md",
    "ps3d_core/store/README.md": "rooms/store.md",
    "ps3d_core/engine/README.md": "rooms/engine.md",
    "ps3d_core/inference/README.md": "rooms/inference.md",
    "ps3d_core/border_core/README.md": "rooms/border_core.md",
    "ps3d_core/particles/README.md": "rooms/particles.md",
    "ps3d_core/composition/README.md": "rooms/composition.md",
    "ps3d_core/granulometry/README.md": "rooms/granulometry.md",
    "ps3d_core/morphology/README.md": "rooms/morphology.md",
    "ps3d_core/contacts/README.md": "rooms/contacts.md",
    "ps3d_core/comparison/README.md": "rooms/comparison.md",
    "ps3d_core/doubt/README.md": "rooms/doubt.md",
    "ps3d_core/inspection/README.md": "rooms/inspection.md",
    "ps3d_core/region/README.md": "rooms/region.md",
    "ps3d_core/network/README.md": "rooms/network.md",
    "ps3d_core/network/bundled/MODEL_CARD.md": "rooms/bundled.md",
    "ps3d_core/training/README.md": "rooms/training.md",
    "ps3d_core/training/nnunet/README.md": "rooms/nnunet.md",
    "ps3d_core/evaluation/README.md": "rooms/evaluation.md",
    "ps3d_core/phantom/README.md": "rooms/phantom.md",
    "ps3d_core/inbox/README.md": "rooms/inbox.md",
    "flows/README.md": "rooms/flows.md",
    "deployments/README.md": "rooms/deployments.md",
    "infra/README.md": "rooms/infra.md",
    "CONTRIBUTING.md": "develop/contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files outside docs/ that are pages, each with its place in the site."""
ELSEWHERE: Final = {"README.md": "index.md"}
"""Files whose sections are spread over several pages, with the page that links to the whole lead to."""
IMAGES: Final = {"ps3d_core/particles/example.jpg": "figures/example.jpg"}
"""Images outside docs/ that these files show."""

_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_INCLUDE: Final = re.compile(r"^\[[^\]]*\]\(([^)#\s]+)(?:#([^)\s]+))?\)\{ \.include \}$")
_HEADING: Final = re.compile(r"^(#+) +(.*?) *$")


def source_of(page: str) -> str:
    """The file of the repository that a page of the site is written in."""
    return {uri: path for path, uri in PAGES.items()}.get(page, DOCS + page)


def place_of(path: str) -> str | None:
    """Where a file of the repository is in the site; None when it is not."""
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    return (PAGES | ELSEWHERE | IMAGES).get(path)


def as_page(text: str, page: str) -> str:
    """The text of a page as the site needs it: sections of others taken over, links to places in the site."""
    source = source_of(page)
    return "\n".join(_lines(text, source, page)) + "\n"


def targets(text: str, source: str) -> Iterator[str]:
    """Files of the repository that the links in a text lead to, with #anchor where they have one."""
    for _, _, target in _LINK.findall(text):
        if not _is_elsewhere(target):
            yield _resolved(source, target)


def section(text: str, anchor: str) -> str:
    """What stands below the heading with this anchor, up to the next one of its rank; without the heading itself.

    `LookupError` when there is no such heading.
    """
    lines = text.splitlines()
    ranks = _ranks(lines)
    start = next((number for number in ranks if slug(lines[number]) == anchor), None)
    if start is None:
        raise LookupError(f"no heading #{anchor}")
    stop = next((number for number in ranks if number > start and ranks[number] <= ranks[start]), len(lines))
    return "\n".join(lines[start + 1 : stop]).strip("\n")


def anchors(text: str) -> set[str]:
    """The anchors of all headings in a text."""
    lines = text.splitlines()
    return {slug(lines[number]) for number in _ranks(lines)}


def slug(heading: str) -> str:
    """The anchor of a heading, as sites and code hosts make it."""
    text = re.sub(r"[^\w\s-]", "", heading.lstrip("#")).strip().lower()
    return re.sub(r"\s+", "-", text)


def _lines(text: str, source: str, page: str) -> Iterator[str]:
    for line in text.splitlines():
        if (include := _INCLUDE.match(line)) is None:
            yield _relinked(line, source, page)
            continue
        other, anchor = _resolved(source, include[1]), include[2]
        taken = (ROOT / other).read_text(encoding="utf-8")
        for inner in (section(taken, anchor) if anchor else taken).splitlines():
            yield _relinked(inner, other, page)


def _relinked(line: str, source: str, page: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        image, text, target = match.groups()
        if _is_elsewhere(target) or (target.startswith("#") and source == source_of(page)):
            return match[0]
        path, _, anchor = _resolved(source, target).partition("#")
        place = place_of(path)
        if place is None:
            return str(text)
        relative = posixpath.relpath(place, posixpath.dirname(page) or ".")
        return f"{image}[{text}]({relative}{'#' if anchor else ''}{anchor})"

    return _LINK.sub(replaced, line)


def _resolved(source: str, target: str) -> str:
    """The file that a link in `source` leads to, by its path in the repository."""
    path, mark, anchor = target.partition("#")
    whole = posixpath.normpath(posixpath.join(posixpath.dirname(source), path)) if path else source
    return whole + mark + anchor


def _is_elsewhere(target: str) -> bool:
    return re.match(r"[a-z]+:", target) is not None


def _ranks(lines: list[str]) -> dict[int, int]:
    """Numbers of the lines that are headings, with their rank; what stands in a fence is none."""
    found, fenced = {}, False
    for number, line in enumerate(lines):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and (match := _HEADING.match(line)):
            found[number] = len(match[1])
    return found
