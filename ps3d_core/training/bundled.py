"""Train the bundled model from phantoms: `python -m ps3d_core.training.bundled --out DIR`.

The seed fixes the phantoms, the patches drawn from them and the first weights. Training volumes are rendered first and
kept under DIR/volumes. Training goes at a steady rate up to `--steps`, and then cools down to the model, DIR/bundle.
It can be stopped at any time: the same command goes on from a checkpoint that is at most a minute and a half old, and
one with more steps goes on from the end of the steady part. DIR/steady is the model so far, renewed now and then.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from ps3d_core.errors import CorruptDataError, InputError, MissingDataError
from ps3d_core.invalid import made
from ps3d_core.network.architecture import Architecture
from ps3d_core.network.bundle import ModelFacts, load_bundle, save_bundle
from ps3d_core.network.device import DEVICES, choose_device
from ps3d_core.network.normalisation import PerScan
from ps3d_core.phantom.params import Family
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location
from ps3d_core.training.as_command import as_command, at_least_one
from ps3d_core.training.loop import LoopParams, Training, train
from ps3d_core.training.patches import Batch, PatchParams, PatchSampler
from ps3d_core.training.volumes import Volume, VolumeParams, training_volume

NAME: Final = "ps3d bundled phantom model, second edition"

ARCHITECTURE: Final = Architecture(
    network="PlainConvUNet",
    n_stages=5,
    features_per_stage=(16, 32, 64, 128, 128),
    kernel_sizes=((3, 3, 3),) * 5,
    strides=((1, 1, 1), *((2, 2, 2),) * 4),
    n_conv_per_stage=(2,) * 5,
    n_conv_per_stage_decoder=(2,) * 4,
)

TARGET_PARTICLE_SIZE: Final = 20.0
SMALLEST_CORE: Final = 8
VOLUMES: Final[dict[Family, VolumeParams]] = {
    "training": VolumeParams(target_particle_size=TARGET_PARTICLE_SIZE, family="training"),
    "wide": VolumeParams(target_particle_size=TARGET_PARTICLE_SIZE, family="wide"),
}
PATCH: Final = PatchParams(
    border_thickness=1.5, border_weight=2.5, contact_weight=6.0, on_particle=0.6, wall=0.1, slab=0.12
)
CHECKPOINT_SECONDS: Final = 90.0
SNAPSHOT_STEPS: Final = 250


class Phase(BaseModel):
    """What the network is shown from one step on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_step: int
    volumes: dict[Family, int]
    """How many volumes of each family of phantoms."""
    edge: int
    """Of a patch, voxels. Small patches come first: most of what there is to learn is local, and they cost less."""
    batch_size: int = 4


PHASES: Final = (
    Phase(from_step=1, volumes={"training": 100, "wide": 60}, edge=48),
    Phase(from_step=301, volumes={"training": 160, "wide": 160}, edge=48),
    Phase(from_step=2501, volumes={"training": 160, "wide": 320}, edge=64),
)


def main(arguments: list[str] | None = None) -> None:
    """Train to the model DIR/bundle."""
    options = _parser().parse_args(arguments)
    if options.volumes_only:
        for phase in PHASES:
            training_volumes(options.out / "volumes", phase, options.seed, options.threads)
        return
    torch.set_num_threads(1)  # the training loop spreads patches over threads, not convolutions
    device = choose_device(options.device)
    loop = made(
        LoopParams,
        called=lambda field: f"--{field.replace('_', '-')}",
        steps=options.steps,
        cool_down=options.cool_down,
        bfloat16=_has_bfloat16(device) if options.bfloat16 is None else options.bfloat16,
    )
    torch.manual_seed(options.seed)
    network = ARCHITECTURE.build()
    begun = _begin_with(network, options.start_from) if options.start_from else "random weights"
    record: dict[str, Any] = {
        "command": "python -m ps3d_core.training.bundled " + " ".join(arguments or sys.argv[1:]),
        "begun_with": begun,
        "device": str(device),
        "torch": torch.__version__,
        "volumes": {family: params.model_dump(mode="json") for family, params in VOLUMES.items()},
        "patch": PATCH.model_dump(mode="json"),
        "phases": [phase.model_dump(mode="json") for phase in PHASES],
        "loop": loop.model_dump(mode="json"),
    }
    files = _Files(options.out, record)
    training = Training.of(network, loop, device)
    files.resume(training, loop)
    patches = _Patches(files.out / "volumes", options.seed, options.threads)
    train(training, patches.batch, loop, report=partial(_report, loop), after_step=partial(files.keep, loop))
    files.save(training, "bundle")
    _say(f"the model is {files.out / 'bundle'}")


class _Files:
    """Checkpoints and bundles below DIR."""

    def __init__(self, out: Path, record: dict[str, Any]) -> None:
        self.out = out
        self._record = record
        self._kept = time.monotonic()

    def resume(self, training: Training, loop: LoopParams) -> None:
        """Go on from the newest checkpoint that lies on the way of `loop`."""
        cooling = self._checkpoint(loop, cooling=True)
        if training.load(cooling) or training.load(self._checkpoint(loop, cooling=False)):
            _say(f"going on after step {training.step}")
        if training.step > loop.steps and not cooling.exists():
            raise InputError(f"{loop.steps} steps: already at step {training.step}; give at least as many")

    def keep(self, loop: LoopParams, training: Training) -> None:
        """Write what is due after a step."""
        turning = training.step in (loop.steps, loop.last_step)
        if turning or time.monotonic() - self._kept > CHECKPOINT_SECONDS:
            training.save(self._checkpoint(loop, cooling=training.step > loop.steps))
            self._kept = time.monotonic()
        if training.step <= loop.steps and training.step % SNAPSHOT_STEPS == 0:
            self.save(training, "steady")

    def save(self, training: Training, name: str) -> None:
        """Write the running mean as the bundle DIR/`name`."""
        record = self._record | {"step": training.step, "minutes": round(training.seconds / 60, 1)}
        save_bundle(str(self.out / name), {0: training.mean}, _facts(record), half_precision=True)
        _say(f"step {training.step}: bundle written to {self.out / name}")

    def _checkpoint(self, loop: LoopParams, cooling: bool) -> Location:
        name = f"cooling_{loop.steps}_{loop.cool_down}.pt" if cooling else "steady.pt"
        return Location.parse(self.out / name)


def _facts(record: dict[str, Any]) -> ModelFacts:
    return ModelFacts(
        name=NAME,
        architecture=ARCHITECTURE,
        patch_size=(PATCH.edge,) * 3,
        target_particle_size=TARGET_PARTICLE_SIZE,
        normalisation=PerScan(),
        border_thickness=PATCH.border_thickness,
        smallest_core=SMALLEST_CORE,
        training=record,
    )


class _Patches:
    """Batches of all phases; the volumes of a phase are read when its first batch is asked for."""

    def __init__(self, folder: Path, seed: int, threads: int) -> None:
        self._folder, self._seed, self._threads = folder, seed, threads
        self._phase: Phase | None = None
        self._sampler: PatchSampler | None = None

    def batch(self, step: int) -> Batch:
        """Return the batch of `step`."""
        phase = [phase for phase in PHASES if phase.from_step <= step][-1]
        if self._sampler is None or phase != self._phase:
            volumes = training_volumes(self._folder, phase, self._seed, self._threads)
            self._sampler = PatchSampler(volumes, PATCH.model_copy(update={"edge": phase.edge}), self._seed)
            self._phase = phase
        return self._sampler.batch(step, phase.batch_size)


def training_volumes(folder: Path, phase: Phase, seed: int, threads: int) -> list[Volume]:
    """Return the volumes of a phase, of consecutive seeds; `folder` keeps those that were rendered."""
    folder.mkdir(parents=True, exist_ok=True)
    first = seed * 100_000
    wanted = [(family, first + n) for family, count in phase.volumes.items() for n in range(count)]
    with ThreadPoolExecutor(threads) as pool:
        volumes = list(pool.map(partial(_kept_volume, folder), *zip(*wanted, strict=True)))
    _say(f"{len(volumes)} training volumes ready")
    return volumes


def _kept_volume(folder: Path, family: Family, seed: int) -> Volume:
    params = VOLUMES[family]
    file = Location.parse(folder / f"{family}-{seed}-{fingerprint(params.model_dump(mode='json'))[:8]}.npz")
    try:
        arrays = file.read_arrays()
        return Volume(arrays["image"], arrays["labels"])
    except (MissingDataError, CorruptDataError):
        volume = training_volume(seed, params)
        file.write_arrays(image=volume.image, labels=volume.labels)
        return volume


def _begin_with(network: nn.Module, start: str) -> str:
    """Give `network` those weights of another bundle that fit by name and shape; say which."""
    bundle = load_bundle(start)
    if len(bundle.folds) > 1:
        raise InputError(f"model {start}: {len(bundle.folds)} networks, training begins with one; give another model")
    [other] = bundle.networks(torch.device("cpu"))
    own, weights = network.state_dict(), other.state_dict()
    fitting = {
        name: weights[name] for name, tensor in own.items() if tensor.shape == getattr(weights.get(name), "shape", None)
    }
    network.load_state_dict(fitting, strict=False)
    return f"{len(fitting)} of {len(own)} tensors of {bundle.info.name}, digest {bundle.info.digest}"


def _report(loop: LoopParams, step: int, loss: float, seconds: float) -> None:
    _say(f"step {step} of {loop.last_step}: loss {loss:.4f}, {seconds:.0f} s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ps3d_core.training.bundled", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for volumes, checkpoints and bundles")
    parser.add_argument("--steps", type=int, default=4000, help="steps at the steady learning rate")
    parser.add_argument("--cool-down", type=int, default=400, help="steps after them with a falling rate")
    parser.add_argument("--start-from", metavar="BUNDLE", help="begin with the weights of a bundle that fit")
    parser.add_argument("--volumes-only", action="store_true", help="render the phantoms of all phases, then stop")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--threads", type=at_least_one, default=2, help="CPU threads that render phantoms")
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
    sys.exit(as_command(main))
