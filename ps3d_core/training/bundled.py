"""Train the bundled model from phantoms: `python -m ps3d_core.training.bundled --out DIR`.

Everything follows from the seed: the phantoms, the patches drawn from them and the first weights. Training volumes are
rendered first and kept under DIR/volumes. Training goes in rounds; each ends with a bundle under DIR/round_N, from
which the next one starts, so that a command given again goes on after the last whole round. The last round's
bundle is the model.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from ps3d_core.errors import CorruptDataError, MissingDataError
from ps3d_core.network.architecture import Architecture
from ps3d_core.network.bundle import ModelFacts, bundle_is_whole, load_bundle, save_bundle
from ps3d_core.network.device import DEVICES, choose_device
from ps3d_core.network.normalisation import PerScan
from ps3d_core.store.location import Location
from ps3d_core.training.loop import LoopParams, train
from ps3d_core.training.patches import Batch, PatchParams, PatchSampler
from ps3d_core.training.volumes import Volume, VolumeParams, training_volume

NAME: Final = "ps3d bundled phantom model"

ARCHITECTURE: Final = Architecture(
    network="PlainConvUNet",
    n_stages=5,
    features_per_stage=(16, 32, 64, 128, 128),
    kernel_sizes=((3, 3, 3),) * 5,
    strides=((1, 1, 1), *((2, 2, 2),) * 4),
    n_conv_per_stage=(2,) * 5,
    n_conv_per_stage_decoder=(2,) * 4,
)

VOLUMES: Final = 220
PATCH: Final = PatchParams(edge=64, border_thickness=2.0)
SMALL_EDGE: Final = 48


class Round(BaseModel):
    """One schedule of the learning rate.

    Small patches come first: most of what there is to learn is local, and a step costs less than half on them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    small_steps: int
    """Steps on patches of 48 voxels."""
    steps: int
    """Steps on patches of 64 voxels."""
    batch_size: int
    learning_rate: float
    border_weight: float
    contact_weight: float
    on_particle: float
    """Share of patches that are centred on particles."""
    wall: float
    """Share of patches that a wall is put into."""

    def loop(self, bfloat16: bool) -> LoopParams:
        """Return the parameters of the training loop."""
        return LoopParams(
            steps=self.small_steps + self.steps,
            learning_rate=self.learning_rate,
            bfloat16=bfloat16,
        )

    def batches(self, volumes: list[Volume], seed: int) -> Iterator[Batch]:
        """Return all batches of the round: small patches first, then large ones."""
        varied = self.model_dump(include={"border_weight", "contact_weight", "on_particle", "wall"})
        patch = PATCH.model_copy(update=varied)
        small = PatchSampler(volumes, patch.model_copy(update={"edge": SMALL_EDGE}), seed)
        large = PatchSampler(volumes, patch, seed + 1)
        return chain(small.batches(self.batch_size, self.small_steps), large.batches(self.batch_size, self.steps))


ROUNDS: Final = (
    Round(
        small_steps=2800,
        steps=1600,
        batch_size=2,
        learning_rate=2e-3,
        border_weight=1.0,
        contact_weight=1.0,
        on_particle=0.64,
        wall=0.0,
    ),
    # Round 1 finds particles and fuses those that touch: now a missed border weighs more than a border too many.
    Round(
        small_steps=1000,
        steps=0,
        batch_size=4,
        learning_rate=1e-3,
        border_weight=2.5,
        contact_weight=2.5,
        on_particle=0.6,
        wall=0.1,
    ),
    # What round 2 still gets wrong lies where particles meet.
    Round(
        small_steps=1400,
        steps=0,
        batch_size=4,
        learning_rate=1e-3,
        border_weight=2.5,
        contact_weight=8.0,
        on_particle=0.6,
        wall=0.1,
    ),
)


def main(arguments: list[str] | None = None) -> None:
    """Train all rounds; the model lies in the last OUT/round_N."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)  # the training loop spreads patches over threads, not convolutions
    device = choose_device(options.device)
    volume_params = VolumeParams()
    volumes = training_volumes(options.out / "volumes", VOLUMES, options.seed, volume_params, options.threads)
    record: dict[str, Any] = {
        "command": "python -m ps3d_core.training.bundled " + " ".join(arguments or sys.argv[1:]),
        "seed": options.seed,
        "device": str(device),
        "torch": torch.__version__,
        "volumes": VOLUMES,
        "volume": volume_params.model_dump(mode="json"),
        "patch": PATCH.model_dump(mode="json"),
        "rounds": [],
    }
    torch.manual_seed(options.seed)
    network = ARCHITECTURE.build()
    for number, schedule in enumerate(ROUNDS, start=1):
        folder = options.out / f"round_{number}"
        record = record | {"rounds": [*record["rounds"], schedule.model_dump(mode="json")]}
        if _is_whole(folder, record["rounds"]):
            _say(f"round {number}: found in {folder}")
        else:
            batches = schedule.batches(volumes, options.seed + 2 * (number - 1))
            loop = schedule.loop(_has_bfloat16(device) if options.bfloat16 is None else options.bfloat16)
            _train_round(network, batches, loop, device, folder, record)
        network = _weights_of(folder)
    _say(f"the model is {folder}")


def training_volumes(folder: Path, count: int, seed: int, params: VolumeParams, threads: int) -> list[Volume]:
    """Return `count` volumes of consecutive seeds, from the files in `folder` where they were rendered before."""
    folder.mkdir(parents=True, exist_ok=True)
    first = seed * 100_000
    render = partial(_kept_volume, folder=folder, params=params)
    with ThreadPoolExecutor(threads) as pool:
        volumes = list(pool.map(render, range(first, first + count)))
    _say(f"{count} training volumes ready")
    return volumes


def _train_round(
    network: nn.Module,
    batches: Iterator[Batch],
    loop: LoopParams,
    device: torch.device,
    folder: Path,
    record: dict[str, Any],
) -> None:
    started = time.monotonic()

    def report(step: int, loss: float, seconds: float) -> None:
        _say(f"step {step} of {loop.steps}: loss {loss:.4f}, {seconds:.0f} s")

    def snapshot(step: int, mean: nn.Module) -> None:
        minutes = round((time.monotonic() - started) / 60, 1)
        _save(mean, folder, record | {"step": step, "minutes": minutes, "whole": step == loop.steps})
        _say(f"step {step}: bundle written to {folder}")

    train(network, batches, loop, device, report=report, snapshot=snapshot)


def _save(network: nn.Module, folder: Path, record: dict[str, Any]) -> None:
    save_bundle(
        str(folder),
        {0: network},
        ModelFacts(
            name=NAME,
            architecture=ARCHITECTURE,
            patch_size=(PATCH.edge,) * 3,
            target_particle_size=record["volume"]["target_particle_size"],
            normalisation=PerScan(),
            border_thickness=PATCH.border_thickness,
            training=record,
        ),
        half_precision=True,
    )


def _is_whole(folder: Path, rounds: list[dict[str, Any]]) -> bool:
    """Whether the round was trained to its end, with the same schedules up to here."""
    if not bundle_is_whole(Location.parse(folder)):
        return False
    training = load_bundle(str(folder)).info.training
    return bool(training["whole"]) and bool(training["rounds"] == rounds)


def _weights_of(folder: Path) -> nn.Module:
    """The round's network as stored, with its rounding: the next round starts the same way from file or memory."""
    [network] = load_bundle(str(folder)).networks(torch.device("cpu"))
    return copy.deepcopy(network).requires_grad_(True)


def _kept_volume(seed: int, folder: Path, params: VolumeParams) -> Volume:
    file = Location.parse(folder / f"{seed}.npz")
    try:
        arrays = file.read_arrays()
        return Volume(arrays["image"], arrays["labels"])
    except (MissingDataError, CorruptDataError):
        volume = training_volume(seed, params)
        file.write_arrays(image=volume.image, labels=volume.labels)
        return volume


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ps3d_core.training.bundled", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the volumes and the bundles")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads that render phantoms")
    parser.add_argument(
        "--bfloat16",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="mixed precision (default: where the hardware has it; elsewhere it is many times slower)",
    )
    return parser


def _has_bfloat16(device: torch.device) -> bool:
    return device.type == "cuda" or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    main()
