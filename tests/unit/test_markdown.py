"""Text from outside cannot become markdown."""

from __future__ import annotations

import re
from typing import Any

import jinja2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ps3d_app.tasks.markdown import LONGEST, code, escaped, place, rendered
from ps3d_core.store.layout import Result
from ps3d_core.store.location import Location

ACTIVE = re.compile(r"(?<!\\)(?:\\\\)*[`*\[\]<>!|~&]")
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
PIECES = [
    "<script>alert(1)</script>", "![x](http://evil/y.png)", "[a](http://evil)", "<http://evil>", "# a", "\n\n# b\n\n",
    "\n- c", "1. d", "===", "---", "`e`", "``", "*f*", "_g_", "__h__", "~~i~~", "|", "&lt;", "&#33;", "\\", "\n    j",
    "[k]: http://evil", "{{ 7 * 7 }}", "{% raw %}", "{#", "www.evil.org", "\n```\n", "\u202e", " ", "0", "_", "*",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(min_size=1, max_size=4), min_size=1, max_size=6).map("".join)
SHOWN = TEXTS.filter(lambda text: shown(text) != "")
PATHS = SHOWN.map(lambda text: text.replace("//", "/"))  # a Location has no others
STORES = ["/data", "s3://bucket", "memory://m", "https://host"]


def shown(text: str) -> str:
    """`text` as a reader sees it: on one line, cut when it is long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def structure(markdown: str) -> list[str]:
    """Kinds of elements in order, without the text in them."""
    tokens = READER.parse(markdown)
    inline = [child for token in tokens for child in token.children or ()]
    return [token.type for token in [*tokens, *inline] if token.type != "text"]


def said(markdown: str) -> list[str]:
    """The text of each block as a reader sees it."""
    tokens = READER.parse(markdown)
    blocks = ["".join(child.content for child in token.children or ()) for token in tokens if token.type == "inline"]
    return blocks + [token.content for token in tokens if token.type in ("code_block", "fence", "html_block")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ore_7 (wet), 2,5µm", "ore_7 (wet), 2,5µm"),
        ("s3://scans/results", "s3://scans/results"),
        ("![x](http://evil/y.png)", r"\!\[x\](http\://evil/y.png)"),
        ("<script>a|b</script>", r"\<script\>a\|b\</script\>"),
        ("# head", r"\# head"),
        ("a\n\n# b", "a # b"),
        ("\\`", "\\\\\\`"),
        ("_a_b_", r"\_a_b\_"),
        ("2. Ore 2.5um", r"2\. Ore 2.5um"),
        ("www.evil.org", r"www\.evil.org"),
    ],
)
def test_what_is_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text(max_size=400))
def test_nothing_active_is_left(text: str) -> None:
    shown = escaped(text)
    assert not ACTIVE.search(shown)
    assert "\n" not in shown
    assert len(shown) <= 2 * LONGEST + 1


@given(st.text(alphabet="`a |\n", max_size=40))
def test_code_ends_where_it_should(text: str) -> None:
    span = code(text)
    fence = re.match("`+", span)
    assert fence is not None
    inner = span[fence.end() : -fence.end()]
    assert span.endswith(fence[0])
    assert fence[0] not in set(re.findall("`+", inner))
    assert "\n" not in span


@given(SHOWN)
@example("_a_")
@example("1. a")
def test_escaped_text_is_text(text: str) -> None:
    assert structure(escaped(text)) == structure("plain")
    assert said(escaped(text)) == [shown(text)]


@given(SHOWN, SHOWN)
def test_plan(word: str, text: str) -> None:
    page = rendered("plan.md.jinja", lines=[(word, text), (text, word)])
    assert structure(page) == structure(rendered("plan.md.jinja", lines=[("a", "b"), ("c", "d")]))
    assert said(page) == [f"{shown(word)}: {shown(text)}", f"{shown(text)}: {shown(word)}"]


@given(SHOWN, SHOWN)
def test_ingested_scan(key: str, value: str) -> None:
    page = rendered("ingested.md.jinja", rows=[(key, value), ("voxels", 7), ("spacing", None)])
    plain = rendered("ingested.md.jinja", rows=[("a", "b"), ("voxels", 7), ("spacing", None)])
    assert structure(page) == structure(plain)
    assert said(page) == ["", "", shown(key), shown(value), "voxels", "7", "spacing", "None"]


@given(st.sampled_from(STORES), PATHS)
def test_model(store: str, text: str) -> None:
    bundle = Location(f"{store}/{text}/{text}")
    page = rendered("model.md.jinja", bundle=bundle, published=str(bundle))
    plain = Location(f"{store}/a/b")
    assert structure(page) == structure(rendered("model.md.jinja", bundle=plain, published=str(plain)))
    command = said(page)[-1].removesuffix("\n")
    assert command == f"ps3d segment DATA RESULTS --model {''.join(c if c.isprintable() else ' ' for c in str(bundle))}"


@given(st.sampled_from(STORES), PATHS, SHOWN, st.booleans())
def test_result(store: str, folder: str, text: str, found: bool) -> None:
    def page(scan: str, root: str, axis: str) -> str:
        values: dict[str, Any] = {"result": Result(Location(f"{store}/{root}"), "ore"), "curve": b"<svg>" * found}
        values["verdict"] = {"grade": "doubtful", "sentence": f"Look at {axis}.", "reasons": [axis]}
        return rendered("result.md.jinja", scan=scan, particles=3, pictures=[(axis, b"jpeg")], **values)

    hostile = page(text, folder, text)
    assert structure(hostile) == structure(page("a", "b", "c"))
    assert said(hostile)[0] == f"{shown(text)}: 3 particles"
    assert f"Slice perpendicular to {shown(text)}" in said(hostile)


def test_places_to_follow_and_to_copy() -> None:
    assert place(Location("https://host/a b/<c>\n_d_")) == "[\\<c\\> \\_d\\_](<https://host/a b/%3Cc%3E%0A_d_>)"
    assert place(Location("s3://bucket/a`b")) == "`` s3://bucket/a`b ``"


def test_a_value_that_is_missing_is_no_blank() -> None:
    with pytest.raises(jinja2.UndefinedError, match="published"):
        rendered("model.md.jinja", bundle=Location("/data"))
