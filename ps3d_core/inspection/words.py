"""What a look found, in words: for a terminal, and for the page of a run."""

from __future__ import annotations

from collections.abc import Iterator

from ps3d_core.duration import duration_text
from ps3d_core.inspection.record import Inspection
from ps3d_core.quality import LEVELS


def lines_of(seen: Inspection) -> list[tuple[str, str]]:
    """Return what a look found as lines for a person, each a word and what it says."""
    return [
        ("model", f"{seen.model}, looked for {seen.seconds:.0f} s"),
        *_size(seen),
        *_surroundings(seen),
        *_expected(seen),
        ("cost", ", ".join(f"{duration_text(seen.seconds_at(level))} {level}" for level in LEVELS) + " for prediction"),
        ("scan", "; ".join(_figures(seen))),
    ]


def _size(seen: Inspection) -> Iterator[tuple[str, str]]:
    if seen.size is not None and seen.size_mm is not None:
        low, high = seen.size.low * seen.mean_spacing, seen.size.high * seen.mean_spacing
        stated = f"; stated {seen.stated_mm:g} mm" if seen.stated_mm else ""
        sure = "" if seen.size.sure else ", not sure"
        yield (
            "size",
            f"{seen.size_mm:.3g} mm ({low:.3g} to {high:.3g}{sure}), a {'wide' if seen.size.wide else 'narrow'} "
            f"distribution{stated}; particles are {seen.particles}er than what is around them",
        )


def _surroundings(seen: Inspection) -> Iterator[tuple[str, str]]:
    if seen.surroundings is not None:
        yield "region", f"{seen.surroundings}: --roi auto segments the inside"


def _expected(seen: Inspection) -> Iterator[tuple[str, str]]:
    if seen.forecast.f1 is not None and seen.forecast.f1_interval is not None:
        low, high = seen.forecast.f1_interval
        yield "expect", f"F1 {seen.forecast.f1:.2f} ({low:.2f} to {high:.2f}) at IoU 0.5, quality standard"


def _figures(seen: Inspection) -> Iterator[str]:
    quality = seen.quality
    if quality.contrast is not None:
        yield f"contrast {quality.contrast:.1f} standard deviations"
    if quality.blur is not None:
        yield f"edges blurred over {quality.blur:.1f} voxels"
    yield f"smallest particles to be trusted {quality.smallest:.1f} voxels, {quality.below:.0%} are smaller"
