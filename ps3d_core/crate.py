"""ro-crate-metadata.json: what the files of a result are and how they came about, as repositories of data read it.

The folder of a result is an RO-Crate (profile 1.2) of one process run: the scan went in, ps3d was the instrument, the
files are the result. Everything is said in https://schema.org terms. It is written right before run.json, from what
that will say, so it has times in it; and it names no place outside of the folder, which is what is published.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, Final, cast
from urllib.parse import quote

from ps3d_core.record import RunRecord
from ps3d_core.sample_data import ID, LICENCE, OPERATOR
from ps3d_core.store.digest import Digest
from ps3d_core.store.layout import RUN
from ps3d_core.store.location import Location, as_json
from ps3d_core.store.publishing import publish_text

FILE: Final = "ro-crate-metadata.json"
PART: Final = "crate"
"""What run.json calls the file."""
PROFILE: Final = "https://w3id.org/ro/crate/1.2"
PROCESS_RUN: Final = "https://w3id.org/ro/wfrun/process/0.5"
OME_ZARR: Final = "https://ngff.openmicroscopy.org/0.5/"
METHOD: Final = "https://doi.org/10.1016/j.powtec.2023.119286"
NETWORK: Final = "https://doi.org/10.1038/s41592-020-01008-z"

_MEDIA: Final = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_MEANINGS: Final = {
    "labels": "Label image: every particle has its own number, 0 is background",
    "parquet": "Particle table, one row per particle; units and meanings in the metadata of the fields",
    "csv": "Particle table, one row per particle, as text",
    "certainty": "How sure the network was of every particle",
    "contacts": "Table of particles that touch, one row per pair",
    "contacts_csv": "Table of particles that touch, as text",
    "phases": "Phases inside particles: intervals of grey values, as they were found",
    "phases_chart": "Histogram of the grey values inside particles, and the phases found in it",
    "composition": "Composition of the scan: modal shares, liberation, composition by size class",
    "packing": "Packing fraction along z and across the sample",
    "report": "Report: verdict, size distribution, pictures, shapes, method",
}
_PLACE: Final = re.compile(r"([\w-]+=)?(?:[A-Za-z][\w+.-]*://([^?#]*).*|(.*))", re.DOTALL)
"""A place, with the name that it was given, NAME=PLACE; of a URL what follows the path may be a key."""
_SPDX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")

Entity = dict[str, Any]


def write_crate(folder: Location, record: RunRecord) -> RunRecord:
    """Describe the result in `folder`, whose run.json `record` will be; return the record with this file in it."""
    files = {name: _checksum(folder / record.results[name]) for name in record.parts if name not in (PART, "labels")}
    text = as_json(crate_of(record, files))
    publish_text(folder / FILE, text)
    parts = {**record.parts, PART: Digest.of_content(text.encode())}
    return record.model_copy(update={"parts": parts, "results": {**record.results, PART: FILE}})


def crate_of(record: RunRecord, checksums: Mapping[str, str]) -> Entity:
    """Return the metadata of a result as JSON-LD.

    Args:
        record: of the run, with the digest of every part.
        checksums: SHA-256 of those parts that are files, by the names of the parts.

    """
    sample, parts = record.sample, list(_parts(record, checksums))
    licence, people = list(_licence(sample)), list(_people(sample))
    context = [*_inputs(record), *_software(record), *_literature(), *licence, *people]
    about = [_ref("#sample")] if sample else []
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Particles of {record.scan}",
        "description": f"{record.particles} particles found in the micro-CT scan {record.scan}: labels, table, report.",
        "datePublished": record.finished,
        "conformsTo": _ref(PROCESS_RUN),
        "hasPart": [_ref(part["@id"]) for part in parts],
        "mentions": _ref("#run"),
        "citation": [_ref(METHOD), _ref(NETWORK)],
        **({"about": about} if about else {}),
        **({"license": _ref(licence[0]["@id"])} if licence else {}),
        **({"author": [_ref("#operator")]} if OPERATOR in sample else {}),
    }
    descriptor = {"@id": FILE, "@type": "CreativeWork", "conformsTo": _ref(PROFILE), "about": _ref("./")}
    graph = [descriptor, root, *parts, _action(record, parts), *context]
    return {"@context": f"{PROFILE}/context", "@graph": graph}


def _parts(record: RunRecord, checksums: Mapping[str, str]) -> Iterator[Entity]:
    for name, digest in record.parts.items():
        if name == PART:
            continue
        file = record.results[name]
        about = {"name": file, "description": _MEANINGS.get(name, name), "contentSize": str(digest.bytes)}
        if name in checksums:
            media = _MEDIA.get(PurePosixPath(file).suffix, "application/octet-stream")
            yield {"@id": quote(file), "@type": "File", **about, "encodingFormat": media, "sha256": checksums[name]}
        else:
            said = {"conformsTo": _ref(OME_ZARR), "identifier": _ref(f"#digest-{name}")}
            yield {"@id": f"{quote(file)}/", "@type": "Dataset", **about, **said}
    meaning = "Record of the run: parameters, versions, counts, and a digest of every other file"
    yield {"@id": RUN, "@type": "File", "name": RUN, "description": meaning, "encodingFormat": _MEDIA[".json"]}


def _action(record: RunRecord, parts: Iterable[Entity]) -> Entity:
    ended = datetime.fromisoformat(record.finished)
    # An interrupted run goes on later: it began at the latest when its steps would have, without a break.
    took = sum(seconds for name, seconds in record.seconds.items() if name != "forward")
    return {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"Segmentation of {record.scan}",
        "startTime": (ended - timedelta(seconds=round(took))).isoformat(),
        "endTime": record.finished,
        "actionStatus": _ref("http://schema.org/CompletedActionStatus"),
        "instrument": _ref("#ps3d"),
        "object": [_ref("#scan"), _ref("#model"), *(_ref(each["@id"]) for each in _parameters(record))],
        "result": [_ref(part["@id"]) for part in parts],
        **({"agent": _ref("#operator")} if OPERATOR in record.sample else {}),
    }


def _inputs(record: RunRecord) -> Iterator[Entity]:
    """Scan, model, sample and parameters."""
    said, model = record.input, record.model
    facts = {"shape (z, y, x), voxels": said["shape"], "dtype": said["dtype"], "spacing, mm": said["spacing_mm"]}
    properties = list(_values("#scan", facts | {"stated particle size, mm": said["particle_size_mm"]}))
    yield {
        "@id": "#scan",
        "@type": "CreativeWork",
        "name": record.scan,
        "description": "Micro-CT scan, as it was brought into a dataset of ps3d",
        "identifier": _ref("#scan-identity"),
        "additionalProperty": [_ref(each["@id"]) for each in properties],
        **({"about": _ref("#sample")} if record.sample else {}),
    }
    yield _value("#scan-identity", "fingerprint of its files", said["identity"])
    yield {"@id": "#model", "@type": "CreativeWork", "name": model["name"], "identifier": _ref("#model-digest")}
    yield _value("#model-digest", "digest of the bundle", model["digest"])
    yield from properties
    yield from _parameters(record)
    for name, digest in record.parts.items():
        if name == "labels":
            yield _value(f"#digest-{name}", "digest of all objects, as in run.json", digest.digest)
    if record.sample:
        fields = list(_values("#sample", record.sample))
        name = record.sample.get(ID, record.scan)
        yield {
            "@id": "#sample",
            "@type": "Thing",
            "name": name,
            "additionalProperty": [_ref(each["@id"]) for each in fields],
        }
        yield from fields


def _parameters(record: RunRecord) -> list[Entity]:
    return list(_values("#parameter", dict(_flat(record.parameters.model_dump(mode="json", exclude_none=True)))))


def _flat(chosen: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by their names with dots between them."""
    for name, value in chosen.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{above}{name}", [published_name(each) for each in value]
        else:
            yield f"{above}{name}", published_name(value)


def published_name(value: Any) -> Any:
    """Return a file as it is called: in which folders it lay is no matter of those who read what is published."""
    if not isinstance(value, str) or not {"/", "\\"} & set(value):
        return value
    name, remote, local = cast("re.Match[str]", _PLACE.fullmatch(value)).groups(default="")
    return name + re.split(r"[/\\]", (remote or local).rstrip("/\\"))[-1]


def _software(record: RunRecord) -> Iterator[Entity]:
    yield {
        "@id": "#ps3d",
        "@type": "SoftwareApplication",
        "name": "ps3d",
        "softwareVersion": record.software["ps3d"],
        "softwareRequirements": [f"{name} {text}" for name, text in record.software.items() if name != "ps3d"],
        "citation": _ref(METHOD),
    }
    yield {"@id": OME_ZARR, "@type": "CreativeWork", "name": "OME-Zarr", "version": "0.5"}
    yield {"@id": PROCESS_RUN, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}


def _literature() -> Iterator[Entity]:
    yield {
        "@id": METHOD,
        "@type": "ScholarlyArticle",
        "name": "ParticleSeg3D: A scalable out-of-the-box deep learning segmentation solution for individual particle "
        "characterization from micro CT images in mineral processing and recycling",
        "creditText": "Karol Gotkowski, Shuvam Gupta, Jose R. A. Godinho, Camila G. S. Tochtrop, Klaus H. Maier-Hein, "
        "Fabian Isensee. Powder Technology 434 (2024) 119286",
        "datePublished": "2024",
    }
    yield {
        "@id": NETWORK,
        "@type": "ScholarlyArticle",
        "name": "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
        "creditText": "Fabian Isensee, Paul F. Jaeger, Simon A. A. Kohl, Jens Petersen, Klaus H. Maier-Hein. "
        "Nature Methods 18 (2021) 203-211",
        "datePublished": "2021",
    }


def _licence(sample: Mapping[str, str]) -> Iterator[Entity]:
    """The licence as what it names: a page, one of SPDX's, or words."""
    if (text := sample.get(LICENCE)) is None:
        return
    is_page = text.startswith(("https://", "http://")) and not set(text) & set(' "<>\\^`{|}')
    known = f"https://spdx.org/licenses/{text}" if _SPDX.fullmatch(text) else "#licence"
    yield {"@id": text if is_page else known, "@type": "CreativeWork", "name": text}


def _people(sample: Mapping[str, str]) -> Iterator[Entity]:
    if OPERATOR in sample:
        yield {"@id": "#operator", "@type": "Person", "name": sample[OPERATOR]}


def _values(of: str, values: Mapping[str, Any]) -> Iterator[Entity]:
    for name, value in values.items():
        yield _value(f"{of}/{quote(name, safe='')}", name, value)


def _value(identifier: str, name: str, value: Any) -> Entity:
    # Lists would be several values to a reader, in no order.
    plain = " x ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return {"@id": identifier, "@type": "PropertyValue", "name": name, "value": plain}


def _ref(identifier: str) -> Entity:
    return {"@id": identifier}


def _checksum(file: Location) -> str:
    digest = sha256()
    with file.open_reading() as stream:
        while piece := stream.read(2**20):
            digest.update(piece)
    return digest.hexdigest()
