"""`ps3d model calibrate`: how often a model is right of which it is so certain."""

from __future__ import annotations

import argparse

from ps3d_app.flows.command.fields import add_fields, given

PURPOSE = "find how often a model is right of which it is so certain"
NEEDS = ("torch",)
EXAMPLES = """\
  ps3d model calibrate my-bundle data --name ore slag      on two scans whose true labels are in data/instance_seg
  ps3d model info my-bundle

A calibrated model gives every particle a confidence, the probability that it is right, and every scan a verdict. The
scans should be none that the model was trained on: of those it is more certain than of others. They are segmented with
all particles kept, compared with their true labels, and two numbers are written into the bundle. Its digest stays."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import PredictParams, Resources

    parser.add_argument("bundle", metavar="BUNDLE", help="folder or URL of the model")
    parser.add_argument("dataset", metavar="DATASET", help="dataset with true labels, as for training")
    parser.add_argument("--name", nargs="+", metavar="NAME", help="scans to use (default: all that have true labels)")
    add_fields(parser.add_argument_group("network"), PredictParams, "quality", "device", "engine")
    add_fields(parser.add_argument_group("resources"), Resources, "workers", "memory_gib")


def run(args: argparse.Namespace) -> None:
    """Calibrate one model."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.errors import InputError
    from ps3d_core.network import BUNDLED
    from ps3d_core.network.bundle import load_bundle
    from ps3d_core.params import PredictParams, Resources, SegmentParams
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location
    from ps3d_core.training.calibrate import calibrate_model, scan_of

    if args.bundle == BUNDLED:
        raise InputError("bundled: has a calibration, and is not written to; import or train a model of your own")
    dataset, bundle = Dataset(Location.parse(args.dataset)), load_bundle(args.bundle)
    names = args.name or [name for name in dataset.require_names() if dataset.truth(name).exists()]
    if not names:
        raise InputError(f"{dataset.root}: no scan has true labels; put them at {dataset.truth('NAME')}")
    params, resources = SegmentParams(predict=given(PredictParams, args)), given(Resources, args)
    with shown() as progress:
        jobs = [scan_of(dataset, name, params, resources) for name in names]
        calibrated, found = calibrate_model(bundle, jobs, progress)
    print(f"{calibrated.info.name}: calibrated on {found.particles} particles of {len(names)} scan(s)")
    auc = "all alike" if found.auc is None else f"{found.auc:.3f}"
    print(f"  right particles    {100 * found.right:.1f} %, expected {100 * found.expected:.1f} %")
    print(f"  right from wrong   AUC {auc}")
    print(f"  calibration error  {found.calibration_error:.3f}, on the same scans")
