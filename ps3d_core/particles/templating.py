"""HTML and SVG out of the files in templates/: modules work out what is shown, templates say how it looks.

Text from outside is escaped by the templates, whatever it is; what a template made, like a chart, is not escaped again.
Jinja is imported with the first template, so that who makes no page does not wait for it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from ps3d_core.particles.rounding import significant

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def rendered(template: str, **values: Any) -> Markup:
    """Return a file of templates/ filled with `values`; all text among them is escaped, unless it is Markup.

    Raises:
        jinja2.UndefinedError: the template names a value that is not there.

    """
    from markupsafe import Markup

    return Markup(_environment().get_template(template).render(values))  # noqa: S704  (what autoescape made)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(str(__package__)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "css_text": _css_text,
        "px": "{:.1f}".format,
        "significant": significant,
        "thousands": "{:,}".format,
    }
    return environment


def _css_text(text: str) -> Markup:
    """`text` as a string of a style sheet: all but letters and digits as escapes, so that nothing of it is markup."""
    from markupsafe import Markup

    plain = (c if c.isascii() and c.isalnum() else f"\\{ord(c):06x}" for c in text)
    return Markup('"' + "".join(plain) + '"')  # noqa: S704  (letters, digits and escapes)
