"""`ps3d inspect`: a look at scans before they are segmented."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from ps3d_app.flows.command.fields import add_fields, given

if TYPE_CHECKING:
    from ps3d_core.inspection.record import Inspection

PURPOSE = "look at a scan first: size of particles, faults, accuracy"
NEEDS = ("torch",)
EXAMPLES = """\
  ps3d inspect data                                    every scan of the dataset
  ps3d inspect data --name ore                         one scan; half a minute on two cores
  ps3d inspect data --name ore --model bundled mine    which of two models suits it better
  ps3d inspect data --name ore --apply                 state the size that was found in metadata.json

The network is applied to a few dozen blocks, at many sizes: at the right one it is sure of what it sees, and finds the
size that it was told. What it saw is kept in DATASET/inspections/NAME, with a page of pictures that shows the same
blocks at three sizes. Of scans that were ingested with --particle-size auto, ps3d segment takes what was found."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import PredictParams, Resources

    parser.add_argument("dataset", metavar="DATASET", help="dataset that ps3d ingest made")
    parser.add_argument("--name", nargs="+", metavar="NAME", help="scans to look at (default: all)")
    parser.add_argument(
        "--model",
        nargs="+",
        default=["bundled"],
        metavar="BUNDLE",
        help="bundled, or folder or URL of a model; of several it is said which suits best (default: bundled)",
    )
    parser.add_argument(
        "--apply", action="store_true", help="write the size and polarity that were found into the dataset"
    )
    machine = parser.add_argument_group("machine")
    add_fields(machine, PredictParams, "device", "engine", "precision")
    add_fields(machine, Resources, "workers")


def run(args: argparse.Namespace) -> None:
    """Look at scans and print what was seen; one that fails does not stop the others."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_app.flows.failures import Failures
    from ps3d_core.inspection.inspect import InspectJob, inspect
    from ps3d_core.inspection.stated import state_found
    from ps3d_core.params import PredictParams, Resources
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    dataset = Dataset(Location.parse(args.dataset))
    predict, workers = given(PredictParams, args), given(Resources, args).workers
    failures = Failures()
    for name in dict.fromkeys(args.name or dataset.require_names()):
        with failures.collected(name):
            with shown() as progress:
                jobs = [InspectJob(dataset, name, model, predict, workers) for model in args.model]
                seen = [inspect(job, progress) for job in jobs]
            for each in seen:
                print("\n".join(text_of(each)))
            if len(seen) > 1:
                print(f"  best    {better(seen).model}")
            print(f"  page    {dataset.inspections(name) / f'{better(seen).model_key}.html'}")
            if args.apply:
                state_found(dataset, better(seen))
            elif better(seen).advice != "does not understand":
                print(f"  next    {next_command(args.dataset, better(seen))}")
    failures.raise_any()


def text_of(seen: Inspection) -> list[str]:
    """Return what a look found as lines of text."""
    from ps3d_core.inspection.words import lines_of

    problems = (f"    {problem}" for problem in seen.problems)
    return [f"{seen.scan}: {seen.sentence}", *problems, *(f"  {word:<7} {said}" for word, said in lines_of(seen))]


def better(seen: list[Inspection]) -> Inspection:
    """Return the look of the model that suits a scan best: the one that it trusts most of what it sees."""
    return max(seen, key=lambda each: (each.advice != "does not understand", each.forecast.trust))


def next_command(dataset: str, seen: Inspection) -> str:
    """Return the command that segments the scan, with what was found where it differs from what is stated."""
    said = ["ps3d", "segment", dataset, "RESULTS", "--name", seen.scan]
    if seen.size_differs and seen.size_mm is not None:
        said += ["--particle-size", f"{seen.size_mm:.3g}"]
    if seen.polarity_differs:
        said += ["--particles", seen.particles]
    return shlex.join(said)
