"""What a run leaves on its page in Prefect: plan, pictures, sizes, largest particles, where the results lie.

Pictures are part of the markdown (data: URLs), so the page needs no access to the store. A browser opens neither
file:// nor s3:// links on a page of a server; places are shown to be copied, and only http(s) ones are links.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from shlex import quote

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from ps3d_core.particles import preview
from ps3d_core.plan import SegmentPlan
from ps3d_core.record import RunRecord
from ps3d_core.store.location import Location
from tasks.keys import artifact_key
from tasks.markdown import code, escaped


def show_plan(scan: str, lines: Iterable[str]) -> None:
    """The plan as it is printed on the terminal: a word and what it says, two spaces or more apart."""
    rows = (line.partition("  ") for line in lines)
    create_markdown_artifact(
        # A list, since neither code nor the cells of a table are wrapped.
        "\n".join(f"- **{escaped(word)}**: {escaped(said)}" for word, _, said in rows),
        key=artifact_key(scan, "plan"),
        description=f"{escaped(scan)}: what will be done and what it costs",
    )


def show_results(plan: SegmentPlan, record: RunRecord) -> None:
    """Pictures, size distribution, largest particles, and where labels, table and report lie."""
    scan, result, name = plan.job.scan, plan.job.result, escaped(plan.job.scan)
    found = f"{name}: {record.particles} particles"
    if record.particles:
        sample = preview.sample_of(result.labels, result.table_parquet, plan.info.spacing)
        create_table_artifact(
            preview.size_rows(sample),
            key=artifact_key(scan, "size-distribution"),
            description=f"{found}; equivalent sphere diameters",
        )
        create_table_artifact(
            preview.largest_rows(sample),
            key=artifact_key(scan, "largest"),
            description=f"{name}: the largest particles; one far larger than the others is often several in one",
        )
        curve = _picture("Size distribution", "svg+xml", preview.size_curve(sample).encode())
        curve = f"## Size distribution\n\nBlue by volume, orange by number.\n\n{curve}\n\n"
    else:
        curve = ""
    shown = "\n\n".join(
        f"Slice perpendicular to {axis}\n\n{_picture(f'Slice perpendicular to {axis}', 'jpeg', data)}"
        for axis, data in preview.pictures(result.labels, plan.image)
    )
    create_markdown_artifact(
        f"# {found}\n\n{_places(plan)}\n\n{curve}## What was found\n\n{shown}",
        key=artifact_key(scan, "result"),
        description=f"{found}: pictures, sizes, and where the results lie",
    )


def place(location: Location) -> str:
    """Where something lies, as markdown: a link where a browser can follow one."""
    text = str(location)
    if location.scheme in ("http", "https"):
        return f"[{escaped(location.name)}](<{text.replace('<', '%3C').replace('>', '%3E')}>)"
    return code(text)


def _places(plan: SegmentPlan) -> str:
    result = plan.job.result
    kinds = {"report": result.report, "table": result.table_csv, "labels": result.labels}
    lines = [f"- {kind}: {place(location)}" for kind, location in kinds.items()]
    return "\n".join([*lines, "", _how_to_open(result.root)])


def _how_to_open(folder: Location) -> str:
    if folder.local_path is not None:
        return "These are files of the machine that ran this: open the report in a browser there."
    if folder.scheme == "s3":
        fetch = code(f"ps3d fetch {quote(str(folder))} .")
        return f"These are objects in S3: copy them with {fetch}, or any S3 client, and open the report."
    return ""


def _picture(alt: str, kind: str, data: bytes) -> str:
    return f"![{alt}](data:image/{kind};base64,{b64encode(data).decode()})"
