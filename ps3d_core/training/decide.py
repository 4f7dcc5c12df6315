"""What a trained network takes for a particle: `python -m ps3d_core.training.decide --model DIR --out DIR`.

A network gives probabilities; which of them make particles is decided here, on phantoms of the families it was trained
on, and never on held-out ones:

    weight of cores     cores count less than the other classes, since a fused pair costs two particles and a small core
                        none; it goes into the bias of the network's last layer
    least certainty     particles are dropped of whose voxels the network is less sure: noise taken for particles
    greatest neck       cores are split where they are narrow: particles that meet without a gap that could be seen

Two more numbers go with them, which no phantom has to find: cores are particles from 8 voxels on, and what is longer
than 4.5 equivalent diameters is none. True particles of the phantoms reach 3.7, and pieces that a network takes out of
the wall of a real tube begin at 5.7.

Every combination of the first two segments every phantom; then necks are tried with the best. The best mean of F1 at
both levels of IoU is written as another bundle, with the weights of the first.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple, cast

import torch
from torch import nn

from ps3d_core.evaluation.metrics import evaluate_arrays
from ps3d_core.geometry.boxes import Box
from ps3d_core.network.architecture import CLASSES
from ps3d_core.network.bundle import Bundle, ModelFacts, load_bundle, save_bundle
from ps3d_core.network.measured import IOU_LEVELS
from ps3d_core.params import InstancesParams
from ps3d_core.pipeline import segment
from ps3d_core.store.arrays import read_box
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.training.as_command import as_command, at_least_one
from ps3d_core.training.validate import PhantomScan, phantom_job

CORE: Final = 1
CORE_WEIGHTS: Final = (1.0, 0.7, 0.5, 0.35)
CERTAINTIES: Final = (0.0, 0.65, 0.7, 0.73, 0.76, 0.8)
NECKS: Final = (0.0, 0.4, 0.45, 0.5, 0.55, 0.6)
FIRST_NECK: Final = 0.5
SMALLEST_CORE: Final = 8
GREATEST_LENGTH: Final = 4.5

SCANS: Final = tuple(
    PhantomScan(7001 + n, (side,) * 3, size, "training" if n < 5 else "wide")
    for n, (side, size) in enumerate(
        [(112, 16), (128, 20), (144, 26), (112, 14), (128, 18), (112, 16), (128, 20), (112, 14), (144, 26), (128, 18)]
    )
)


class Decision(NamedTuple):
    """What makes particles of probabilities."""

    core_weight: float
    least_certainty: float
    greatest_neck: float


Scores = dict[Decision, list[float]]
"""Mean F1 over the phantoms at both levels of IoU."""


def main(arguments: list[str] | None = None) -> None:
    """Try all decisions, print the mean of each, and write the bundle with the best."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    bundle = load_bundle(options.model)
    with tempfile.TemporaryDirectory() as folder:
        phantoms = _Phantoms(bundle, Location.parse(folder), SCANS[: options.scans], options.threads)
        scores: Scores = {}
        for weight in CORE_WEIGHTS:
            scores |= phantoms.scores([Decision(weight, certainty, FIRST_NECK) for certainty in CERTAINTIES])
        scores |= phantoms.scores([_best(scores)._replace(greatest_neck=neck) for neck in NECKS])
    best = _best(scores)
    write_decided(bundle, Location.parse(options.out), best, {"scores": [[*d, *s] for d, s in scores.items()]})
    print(f"{_said(best)}: {options.out}")


def write_decided(bundle: Bundle, out: Location, decision: Decision, record: dict[str, Any] | None = None) -> Bundle:
    """Write a bundle with the networks of `bundle`, and this decision, to `out`; return it.

    `record` joins what is told of the training.
    """
    info = bundle.info
    networks = zip(bundle.folds, bundle.networks(torch.device("cpu")), strict=True)
    facts = ModelFacts(
        name=info.name,
        architecture=info.architecture,
        patch_size=info.patch_size,
        target_particle_size=info.target_particle_size,
        normalisation=info.normalisation,
        border_thickness=info.border_thickness,
        smallest_core=info.smallest_core or SMALLEST_CORE,
        least_certainty=decision.least_certainty,
        greatest_length=info.greatest_length or GREATEST_LENGTH,
        greatest_neck=decision.greatest_neck,
        training=info.training
        | {"decided": {"core_weight": decision.core_weight, **(record or {}), "began_with": info.digest}},
    )
    weighing = {fold: weighing_cores(network, decision.core_weight) for fold, network in networks}
    return save_bundle(str(out), weighing, facts, half_precision=True)


def weighing_cores(network: nn.Module, weight: float) -> nn.Module:
    """Return a copy of a network in whose odds the class core counts `weight` times as much as before."""
    weighing = copy.deepcopy(network)
    last = [layer for layer in weighing.modules() if isinstance(layer, nn.Conv3d) and layer.out_channels == CLASSES][-1]
    with torch.no_grad():
        cast(torch.Tensor, last.bias)[CORE] += log(weight)
    return weighing


@dataclass(frozen=True)
class _Phantoms:
    """Phantoms on which decisions about the networks of a bundle are tried."""

    bundle: Bundle
    place: Location
    scans: Sequence[PhantomScan]
    threads: int

    def scores(self, decisions: Sequence[Decision]) -> Scores:
        """Try decisions of one weight of cores: the network is evaluated once per phantom."""
        (weight,) = {each.core_weight for each in decisions}
        place = self.place / f"model-{weight:g}"
        variant = write_decided(self.bundle, place, Decision(weight, 0.0, 0.0))
        rows = [self._of_scan(scan, str(variant.location), decisions) for scan in self.scans]
        scores: Scores = {}
        for decision, of_scans in zip(decisions, zip(*rows, strict=True), strict=True):
            scores[decision] = [round(fmean(levels), 4) for levels in zip(*of_scans, strict=True)]
            print(f"{_said(decision)}: F1 {scores[decision]}", flush=True)
        return scores

    def _of_scan(self, scan: PhantomScan, model: str, decisions: Sequence[Decision]) -> list[list[float]]:
        """F1 at both levels of IoU for every decision."""
        job = phantom_job(scan, self.place, model=model, threads=self.threads)
        whole, found = Box.of(scan.shape), []
        truth = read_box(open_image(job.dataset.truth(scan.name)), whole)
        for decision in decisions:
            instances = InstancesParams(least_certainty=decision.least_certainty, greatest_neck=decision.greatest_neck)
            params = job.params.model_copy(update={"instances": instances})
            segment(replace(job, params=params, keep_work=True))
            evaluation = evaluate_arrays(read_box(open_image(job.result.labels), whole), truth)
            found.append([evaluation.f1_by_threshold[f"{iou:.2f}"] for iou in IOU_LEVELS])
        return found


def _best(scores: Scores) -> Decision:
    return max(scores, key=lambda decision: fmean(scores[decision]))


def _said(decision: Decision) -> str:
    weight, certainty, neck = decision
    return f"weight of cores {weight:g}, least certainty {certainty:g}, greatest neck {neck:g}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ps3d_core.training.decide", description=__doc__)
    parser.add_argument("--model", required=True, help="a bundle's folder, or `bundled`")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle to write")
    parser.add_argument("--scans", type=at_least_one, default=len(SCANS), help="how many phantoms")
    parser.add_argument("--threads", type=at_least_one, default=2)
    return parser


if __name__ == "__main__":
    sys.exit(as_command(main))
