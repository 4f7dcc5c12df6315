"""Text from outside cannot become markdown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.markdown import LONGEST, code, escaped

ACTIVE = re.compile(r"(?<!\\)(?:\\\\)*[`*\[\]<>!|~&]")


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
