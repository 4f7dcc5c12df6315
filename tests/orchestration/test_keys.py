"""Artifact keys are valid and distinct for any scan name."""

import re

from hypothesis import given
from hypothesis import strategies as st

from ps3d_app.tasks.keys import artifact_key

VALID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@given(st.text(max_size=200), st.sampled_from(["plan", "size distribution", "Grey values"]))
def test_keys_are_valid(scan: str, kind: str) -> None:
    assert VALID.fullmatch(artifact_key(scan, kind))


@given(st.text(max_size=40), st.text(max_size=40))
def test_different_scans_have_different_keys(a: str, b: str) -> None:
    assert (artifact_key(a, "plan") == artifact_key(b, "plan")) == (a == b)


def test_keys_are_readable() -> None:
    assert artifact_key("Ore 2.5um", "Grey values").startswith("ore-2-5um-")
    assert artifact_key("Ore 2.5um", "Grey values").endswith("-grey-values")
