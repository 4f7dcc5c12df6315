"""The page of a finished result made anew, without a network: after sample data have changed, or for a copy elsewhere.

What the page tells comes from the tables, the label image and run.json; the scan itself gives the pictures their grey
values where it still lies where it was. run.json and the RO-Crate then say what was made. Nothing else is touched, but
for sample data, which a result shares with its dataset. A copy, or a result that was moved, has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ps3d_core.crate import write_crate
from ps3d_core.errors import InputError
from ps3d_core.geometry.spacing import per_axis_text
from ps3d_core.particles.report import About, write_report
from ps3d_core.progress import SILENT, Progress
from ps3d_core.record import RunRecord, read_record, write_record
from ps3d_core.run_facts import RunFacts, page_fingerprint
from ps3d_core.sections import sections_of
from ps3d_core.store.identity import content_identity
from ps3d_core.store.kinds import not_usable
from ps3d_core.store.layout import Dataset, Result
from ps3d_core.store.lease import sole_run
from ps3d_core.store.location import Location
from ps3d_core.store.publishing import read_receipt, telling
from ps3d_core.store.sample_file import read_sample
from ps3d_core.store.whole import digest_of

NEEDED: Final = ("parquet", "labels", "contacts", "packing")
"""Parts of a result that its page is made from; those that there are have to be as they were written."""


def finished_result(place: Location) -> tuple[Result, RunRecord]:
    """Return the result in the folder `place`, OUTPUT/NAME, and its record.

    Raise `InputError` where there is no finished result.
    """
    file = place / "run.json"
    if (record := read_record(file)) is None:
        said = InputError(f"{place}: no result of a segmentation, there is no run.json; give OUTPUT/NAME of one")
        raise not_usable(place, "result") or said
    return Result(place.parent, place.name), record


def remake_report(
    place: Location, sample: Mapping[str, str] | None = None, progress: Progress = SILENT
) -> tuple[Result, RunRecord]:
    """Make the page of the finished result in `place` anew; return the result and its new record.

    Args:
        place: OUTPUT/NAME.
        sample: sample data from now on, which are entered in the dataset, too, where the result lies where it was made
            and the dataset is still there; when absent, what that dataset says, or else what was known before.
        progress: is told what differs from the first time.

    Raises:
        InputError: there is no whole result.
        LeaseTakenError: another run works on it.

    """
    result, _ = finished_result(place)
    read_receipt(place)
    with sole_run(result.lease, f"scan {result.scan}", progress.note), telling(progress.note):
        result, record = finished_result(place)  # as the last run has left it
        _require_whole(place, record)
        image = _scan_of(record, progress)
        record = record.model_copy(update={"sample": _sample(place, record, sample, progress)})
        files = {name: place / file for name, file in record.results.items()}
        facts, spacing = run_facts(record), _spacing(record.input["spacing_mm"])
        sections = sections_of(files, spacing, record.parameters.measure.sizes)
        about = About(record.scan, record.sample, record.verdict, facts, facts.lines, sections)
        write_report(
            files["report"],
            table=files["parquet"],
            labels=files["labels"],
            image=image,
            spacing=spacing,
            about=about,
        )
        made = {"parts": {**record.parts, "report": digest_of(files["report"])}, "stages": _as_remade(record)}
        record = write_crate(place, record.model_copy(update=made))
        write_record(result.run, record)
    return result, record


def run_facts(record: RunRecord) -> RunFacts:
    """Return what the page tells of a finished run: the same as while it went on, see `ps3d_core.steps.report`."""
    said, grids, counts = record.input, record.grids, record.counts
    return RunFacts(
        version=record.software["ps3d"],
        model=record.model["name"],
        digest=record.model["digest"],
        scan_shape=tuple(said["shape"]),
        network_shape=tuple(grids["network_shape"]),
        zoom=per_axis_text(grids["zoom"], ".3f"),
        target=grids["target_particle_size_voxels"],
        particle_size=said["particle_size_mm"],
        region=said.get("region", {}).get("text"),
        split=counts["cores_split"],
        left_out={
            "too small": counts["dropped_as_too_small"],
            "uncertain": counts["dropped_as_unsure"],
            "too long": counts["dropped_as_too_long"],
        },
        parameters=record.parameters.model_dump(mode="json", exclude_none=True),
    )


def _require_whole(place: Location, record: RunRecord) -> None:
    """Raise `InputError` unless run.json tells of parts, and the needed ones are as it says."""
    if not record.parts:
        raise InputError(f"{place}: the result of an earlier release; segment the scan again, which keeps its labels")
    for name in NEEDED:
        if name in record.parts and digest_of(place / record.results[name]) != record.parts[name]:
            raise InputError(
                f"{place / record.results.get(name, name)}: not as it was written; segment the scan again to mend it"
            )


def _scan_of(record: RunRecord, progress: Progress) -> Location | None:
    """The scan, where it still is what was segmented; None where it is not."""
    image = Location.parse(record.input["image"])
    if image.exists() and content_identity(image) == record.input["identity"]:
        return image
    progress.note(f"{image}: the scan is no longer there as it was; pictures are without grey values")
    return None


def _sample(place: Location, record: RunRecord, given: Mapping[str, str] | None, progress: Progress) -> dict[str, str]:
    if not is_same(place, record.place):
        progress.note(f"{place}: a copy, or moved; sample data are its own, and those of the dataset stay as they are")
        return dict(record.sample if given is None else given)
    dataset = Dataset(Location.parse(record.input["image"]).parent.parent)
    is_there = dataset.metadata.exists() and record.scan in dataset.read_metadata()
    if given is None:
        return read_sample(dataset.sample(record.scan)) if is_there else dict(record.sample)
    if is_there:
        dataset.sample(record.scan).write_json(dict(given))
        progress.note(f"{dataset.sample(record.scan)}: sample data entered in the dataset")
    return dict(given)


def is_same(place: Location, made: str) -> bool:
    """Return whether a result in `place` lies where it was `made`, whatever links lead there."""
    if not made:
        return False
    here, there = place.local_path, Location.parse(made).local_path
    if here is None or there is None:
        return str(place) == made
    return here.exists() and there.exists() and here.samefile(there)


def _as_remade(record: RunRecord) -> dict[str, Any]:
    """What the steps found, with a page of these sample data: a later run finds it made."""
    page = record.stages.get("report", {})
    if not page.get("drawn"):
        return record.stages
    return {**record.stages, "report": {**page, "fingerprint": page_fingerprint(page["drawn"], record.sample)}}


def _spacing(said: Any) -> Any:
    return tuple(said) if isinstance(said, list) else said
