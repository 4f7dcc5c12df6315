"""How often a model is right of which it is so certain: its calibration, found on scans whose particles are known.

The scans are segmented with all particles kept, also those that the model would drop as uncertain: a calibration has to
have seen wrong ones. It is written into the bundle, whose digest stays; `ps3d model calibrate` does it for scans of a
dataset, and `python -m ps3d_core.training.calibrate --model DIR` for the phantoms on which the bundled model was
decided.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from ps3d_core.doubt.calibration import FEWEST, Calibration, fit_calibration
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.errors import InputError
from ps3d_core.evaluation.evaluate import compare
from ps3d_core.evaluation.reliability import Reliability, reliability
from ps3d_core.network.bundle import Bundle, copy_bundle, load_bundle, record_calibration
from ps3d_core.params import Resources, SegmentParams
from ps3d_core.particles.table import read_columns
from ps3d_core.pipeline import segment
from ps3d_core.plan import SegmentJob
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.training.as_command import as_command, at_least_one
from ps3d_core.training.decide import SCANS
from ps3d_core.training.validate import PhantomScan, phantom_job

ANY = Calibration(slope=1, offset=0, particles=FEWEST, right=0)
"""Of a copy of the model, so that its certainties are kept."""

JobOf = Callable[[str, Location], SegmentJob]
"""Job that segments one scan with a model, below a folder."""


@dataclass(frozen=True)
class Observed:
    """Particles that a model found where the truth is known: how certain it was of them, and which are right."""

    certainty: npt.NDArray[np.float64]
    right: npt.NDArray[np.bool_]


def calibrate_model(bundle: Bundle, jobs: Iterable[JobOf], progress: Progress = SILENT) -> tuple[Bundle, Reliability]:
    """Find a calibration on scans with a truth, write it into the bundle, and say how well it fits these scans.

    Raise `InputError` when there are too few particles, or a scan has no truth.
    """
    with tempfile.TemporaryDirectory(prefix="ps3d-calibrate-") as folder:
        place = Location.parse(folder)
        model = record_calibration(copy_bundle(bundle, place / "model"), ANY)
        made = [make(str(model.location), place) for make in jobs]
        for job in made:
            _require_truth(job)
        observed = [observe(job, place / "work", progress) for job in made]
    certainty, right = (np.concatenate([getattr(each, name) for each in observed]) for name in ("certainty", "right"))
    if len(right) < FEWEST:
        raise InputError(
            f"{len(right)} particles found: a calibration wants {FEWEST} at least; give more scans with a truth"
        )
    calibration = fit_calibration(certainty, right)
    found = cast(Reliability, reliability(calibration.confidence(certainty), right))  # of some particles
    return record_calibration(bundle, calibration), found


def observe(job: SegmentJob, work: Location, progress: Progress = SILENT) -> Observed:
    """Segment a scan with all particles kept, and compare them with its truth. The model has a calibration."""
    instances = job.params.instances.model_copy(update={"least_certainty": 0.0})
    job = replace(job, params=job.params.model_copy(update={"instances": instances}))
    segment(job, progress)
    context = Context(Runner.of(job.resources), job.resources.memory_bytes, progress)
    _, particles = compare(job.result.labels, job.dataset.truth(job.scan), work, context)
    # The table has the same labels in the same order: those of the label image, rising.
    return Observed(read_columns(job.result.table_parquet, ["certainty"])["certainty"], particles.right)


def _require_truth(job: SegmentJob) -> None:
    truth = job.dataset.truth(job.scan)
    if not truth.exists():
        raise InputError(f"{truth}: nothing there; scans for a calibration need true labels, as for training")


def scan_of(dataset: Dataset, name: str, params: SegmentParams, resources: Resources) -> JobOf:
    """Return the job of a scan of a dataset, which has its truth there."""
    return lambda model, place: SegmentJob(dataset, name, place / "results", model, params, resources)


def phantom(scan: PhantomScan, threads: int) -> JobOf:
    """Return the job of a phantom, which is rendered where it is segmented."""
    return lambda model, place: phantom_job(scan, place, model=model, threads=threads)


def main(arguments: Sequence[str] | None = None) -> None:
    """Calibrate a bundle on phantoms."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    jobs = [phantom(scan, options.threads) for scan in SCANS[: options.scans]]
    bundle, found = calibrate_model(load_bundle(options.model), jobs)
    print(f"{bundle.info.calibration}, calibration error {found.calibration_error:.3f}, AUC {found.auc}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ps3d_core.training.calibrate", description=__doc__)
    parser.add_argument("--model", required=True, help="a bundle's folder, which gets the calibration")
    parser.add_argument("--scans", type=at_least_one, default=len(SCANS), help="how many phantoms")
    parser.add_argument("--threads", type=at_least_one, default=2)
    return parser


if __name__ == "__main__":
    sys.exit(as_command(main))
