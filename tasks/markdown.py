"""Text from outside as markdown that shows it and nothing else.

Names of scans and paths are anybody's, and Prefect's pages render markdown in artifacts, in their descriptions and, in
one of its two UIs, in the cells of tables: a name could otherwise be a picture that is fetched from elsewhere. Only
what means something is escaped, because the other UI shows cells as they are; numeric entities are not understood.

Pages come from the files in templates/, which escape every value by themselves. A browser opens neither file:// nor
s3:// links on a page of a server; places are shown to be copied, and only http(s) ones are links.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from shlex import quote
from typing import TYPE_CHECKING, Any
from urllib.parse import quote as percent

from ps3d_core.store.location import Location

if TYPE_CHECKING:
    from jinja2 import Environment

LONGEST = 300
_SPECIAL = re.compile(
    r"[\\`*\[\]<>!|~&]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # between letters it is no emphasis
    r"|^[#+=-]|(?:(?<=http)|(?<=https)|(?<=ftp)):|(?<=www)\.",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")


def rendered(template: str, **values: Any) -> str:
    """Return a file of templates/ filled with `values`.

    Each value is escaped, unless a filter of the template made markdown of it.

    Raises:
        jinja2.UndefinedError: the template names a value that is not there.

    """
    return _environment().get_template(template).render(values)


def escaped(text: str) -> str:
    """Return `text` on one line in running markdown or a cell: every character stands for itself."""
    return _NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", _one_line(text)))


def code(text: str) -> str:
    """Return `text` as a code span, for paths that are to be copied. Not for tables."""
    plain = _one_line(text) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    return f"{fence} {plain} {fence}" if "`" in plain else f"{fence}{plain}{fence}"


def place(location: Location) -> str:
    """Return a location as markdown: a link where a browser can follow one, else a code span."""
    text = str(location)
    if location.scheme in ("http", "https"):
        target = "".join(c if c.isprintable() and c not in "<>\\" else percent(c) for c in text)
        return f"[{escaped(location.name)}](<{target}>)"
    return code(text)


@cache
def _environment() -> Environment:
    # Whoever shows nothing does not wait for Jinja.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def made(markdown: str) -> Markup:
        return Markup(markdown)  # noqa: S704  (marks what is not to be escaped again)

    def finalize(value: Any) -> Markup:
        return value if isinstance(value, Markup) else made(escaped(str(value)))

    environment = Environment(
        loader=PackageLoader(str(__package__)),
        autoescape=True,  # that of HTML finds Markup only, and leaves it alone
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "base64": lambda data: made(b64encode(data).decode()),
        "code": lambda text: made(code(text)),
        "place": lambda location: made(place(location)),
        "quoted": lambda value: quote(str(value)),
        "verbatim": lambda text: made(_printable(text)),
    }
    return environment


def _one_line(text: str) -> str:
    line = " ".join(_printable(text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
