"""Text of others: nothing in it steers a terminal, and no key in it is kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ps3d_core.outcome import SegmentRun, make_record
from ps3d_core.params import SegmentParams
from ps3d_core.plan import SegmentPlan
from ps3d_core.printable import printable, without_keys
from ps3d_core.quality import REFERENCE
from ps3d_core.store.layout import Result
from ps3d_core.store.location import Location


def test_what_can_be_printed_stays() -> None:
    assert printable("Ore 2,5 µm (層)") == "Ore 2,5 µm (層)"
    assert printable("a\x1b[2J\r\n\x9b\x7f\u202e\ud800") == r"a\x1b[2J\r\n\x9b\x7f\u202e\ud800"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://user:pass@host/bundle", "https://***@host/bundle"),
        ("https://user:p@ss@host/bundle", "https://***@host/bundle"),
        ("https://host/my bundle?X-Amz-Signature=a,b;c&d=e", "https://host/my bundle?***"),
        ("model (https://host/b?sig=abc); give another", "model (https://host/b?***); give another"),
        ("https://a/b?c=d, s3://e/f?g=h: odd", "https://a/b?***, s3://e/f?***: odd"),
        ("s3://bucket/bundle", "s3://bucket/bundle"),
        ("/data/what?/me@home", "/data/what?/me@home"),
        ("bundled", "bundled"),
    ],
)
def test_urls_lose_their_keys(text: str, kept: str) -> None:
    assert without_keys(text) == kept


def test_records_hold_no_keys() -> None:
    model = "https://user:pass@host.org/model?X-Amz-Signature=0a1b2c"
    plan = SimpleNamespace(
        job=SimpleNamespace(
            scan="ore", model=model, params=SegmentParams(), result=Result(Location.parse("memory://results"), "ore")
        ),
        fingerprint="0",
        image=Location.parse("memory://data/images/ore.zarr"),
        input_identity="0",
        scale=SimpleNamespace(scan_shape=(8, 8, 8), zoom=1.0, network_shape=(8, 8, 8)),
        dtype="uint8",
        info=SimpleNamespace(spacing=0.01, particle_size_mm=0.1, particles="bright"),
        region_text="",
        sample={},
        bundle=SimpleNamespace(info=SimpleNamespace(name="model", digest="0")),
        target_particle_size=10.0,
        prediction=SimpleNamespace(patches=SimpleNamespace(patch=(8, 8, 8), stride=(4, 4, 4)), quality=REFERENCE),
    )
    record: Any = make_record(SegmentRun(cast(SegmentPlan, plan), ()), {}, {}, {}, {})
    assert record.model["source"] == "https://***@host.org/model?***"
    assert "user:pass" not in record.model_dump_json()
    assert "0a1b2c" not in record.model_dump_json()
