"""The child process that runs nnU-Net: `python -m ps3d_core.training.nnunet.worker ORDER REPORTS`.

ORDER is JSON: {"step": "prepare" or "fold", ...}. REPORTS is the number of a file descriptor that takes lines of
JSON. Folders and helpers are in nnU-Net's environment variables. Only functions of nnU-Net that its own commands call
are used, and trainers are adjusted by the attributes that are meant for it.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, Final

from ps3d_core.errors import InputError

Order = dict[str, Any]
Say = Callable[..., None]

_SAVE_EVERY: Final = 1  # epochs; nnU-Net's 50 are hours
_VALIDATION_SHARE: Final = 5  # one validation step for as many training steps, as nnU-Net has it
_FOLDS: Final = 5
_SPLIT_SEED: Final = 12345  # nnU-Net's own, so that folds are those of its command


def main(arguments: list[str]) -> int:
    """Run one step; return the exit status."""
    order: Order = json.loads(arguments[0])
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with os.fdopen(int(arguments[1]), "w", encoding="utf-8") as pipe:

        def say(kind: str, **values: Any) -> None:
            pipe.write(json.dumps({"kind": kind, **values}) + "\n")
            pipe.flush()

        try:
            {"prepare": prepare, "fold": train_fold}[order["step"]](order, say)
        except InputError as error:
            say("refused", text=[str(part) for part in error.args])
            return 2
    return 0


def prepare(order: Order, say: Say) -> None:
    """Take the fingerprint of the data, plan, preprocess and split; report what was planned.

    `order`: "dataset" (DatasetNNN_NAME), "planner", "configuration", "choices" (see `planner.tailored`), "workers".
    """
    import nnunetv2
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    from ps3d_core.training.nnunet.planner import tailored

    if order["workers"] == 1:
        _threads_for_single_helpers()
    planning = Path(nnunetv2.__path__[0]) / "experiment_planning"
    planner = recursive_find_python_class(str(planning), order["planner"], "nnunetv2.experiment_planning")
    if planner is None:
        raise InputError(f"planner {order['planner']}: nnU-Net has no such class; ExperimentPlanner is its default")
    name, workers = order["dataset"], order["workers"]
    number = int(name.removeprefix("Dataset")[:3])
    api.extract_fingerprint_dataset(number, num_processes=workers, clean=True, verbose=False, show_progress_bar=False)
    say("done", part="fingerprint")
    plans, plans_name = api.plan_experiment_dataset(number, tailored(planner, order["choices"]))
    configuration = plans["configurations"].get(order["configuration"])
    if configuration is None:
        known = ", ".join(each for each in plans["configurations"] if each.startswith("3d"))
        raise InputError(
            f"configuration {order['configuration']}: not in nnU-Net's plan, which has {known}",
            "choose another <configuration>",
        )
    say("done", part="plan")
    api.preprocess_dataset(number, plans_name, (order["configuration"],), (workers,), show_progress_bar=False)
    _split(name)
    say("done", part="preprocess")
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    settled = PlansManager(plans).get_configuration(order["configuration"])
    say(
        "planned",
        plans_name=plans_name,
        patch=[int(side) for side in settled.patch_size],
        batch_size=int(settled.batch_size),
        spacing=[float(side) for side in settled.spacing],
        features=[int(n) for n in settled.network_arch_init_kwargs["features_per_stage"]],
        network=str(settled.network_arch_class_name).rpartition(".")[2],
    )


def train_fold(order: Order, say: Say) -> None:
    """Train one fold from its last checkpoint, or from the start.

    `order`: "dataset", "configuration", "fold" (number or "all"), "trainer", "plans_name", "epochs", "iterations",
    "learning_rate" and "border_weight" (None: the trainer's own), "start" (bundle of the first weights, or None),
    "seed", "device", "threads".
    """
    import numpy as np
    import torch
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.run.run_training import maybe_load_checkpoint

    seed = order["seed"] + (order["fold"] if order["fold"] != "all" else _FOLDS)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (nnU-Net draws from it)
    torch.manual_seed(seed)
    torch.set_num_threads(order["threads"])
    torch.backends.cudnn.benchmark = True
    planned = Path(nnUNet_preprocessed) / order["dataset"]
    trainer = trainer_class(order["trainer"])(
        plans=json.loads((planned / f"{order['plans_name']}.json").read_text()) | {"continue_training": True},
        configuration=order["configuration"],
        fold=order["fold"],
        dataset_json=json.loads((planned / "dataset.json").read_text()),
        device=torch.device(order["device"]),
    )
    if order["epochs"]:
        trainer.num_epochs = order["epochs"]
    if order["iterations"]:
        trainer.num_iterations_per_epoch = order["iterations"]
        trainer.num_val_iterations_per_epoch = max(1, order["iterations"] // _VALIDATION_SHARE)
    if order["learning_rate"]:
        trainer.initial_lr = order["learning_rate"]
    trainer.save_every = _SAVE_EVERY
    trainer.save_checkpoint = _whole_or_not_at_all(trainer.save_checkpoint)
    maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)
    if not trainer.was_initialized:  # by a checkpoint
        trainer.initialize()
        if order["start"]:
            _take_weights(order["start"], trainer, order["fold"])
    if order["border_weight"]:
        weigh_border(trainer, order["border_weight"])
    say("begins", epoch=trainer.current_epoch, epochs=trainer.num_epochs, iterations=trainer.num_iterations_per_epoch)
    trainer.train_step = _reported(trainer.train_step, say)
    trainer.logger.loggers.append(_EpochReporter(say))
    trainer.run_training()


def _take_weights(model: str, trainer: Any, fold: int | str) -> None:
    """Fold N starts with the model's fold N, if there is one, so that folds stay as different as they were.

    nnU-Net's own loading of pretrained weights leaves out the layers that tell classes apart; here these are the same.
    """
    import torch

    from ps3d_core.network.bundle import load_bundle

    bundle = load_bundle(model)
    [weights] = bundle.networks(torch.device("cpu"), [fold if fold in bundle.folds else bundle.folds[0]])
    network = getattr(trainer.network, "_orig_mod", trainer.network)  # compiled on a GPU
    network.load_state_dict(weights.state_dict())


def weigh_border(trainer: Any, weight: float) -> None:
    """Weigh the classes in the trainer's cross-entropy, wherever in its loss that is."""
    import torch

    parts = [part for part in trainer.loss.modules() if isinstance(part, torch.nn.CrossEntropyLoss)]
    if not parts:
        raise InputError(f"border weight: the loss of {type(trainer).__name__} has no cross-entropy; leave it out")
    for part in parts:
        part.weight = torch.tensor([1.0, 1.0, weight], device=trainer.device)  # background, core, border


def trainer_class(name: str) -> Any:
    """Return the trainer of that name: nnU-Net's own, or in a folder of nnUNet_extTrainer.

    nnU-Net imports all its trainers to find one, and some of them need libraries that nobody else does. Here it is
    only the module that has the class. Raise `InputError` when there is none.
    """
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    package = Path(nnunetv2.__path__[0])
    defines = re.compile(rf"^class {name}\b", re.MULTILINE)
    for file in sorted((package / "training" / "nnUNetTrainer").rglob("*.py")):
        if defines.search(file.read_text(encoding="utf-8")):
            module = ".".join(["nnunetv2", *file.relative_to(package).with_suffix("").parts])
            return getattr(importlib.import_module(module), name)
    for folder in filter(None, os.environ.get("nnUNet_extTrainer", "").split(os.pathsep)):  # noqa: SIM112
        if (found := recursive_find_python_class(folder, name, None)) is not None:
            return found
    raise InputError(
        f"trainer {name}: nnU-Net has no such class; nnUNetTrainer is its default, nnUNet_extTrainer names a folder "
        "of your own"
    )


class _EpochReporter:
    """One of nnU-Net's loggers: hears every figure of an epoch, and tells them when the last one has come."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._figures: dict[str, float] = {}

    def update_config(self, config: dict[str, Any]) -> None:
        """Ignore nnU-Net's configuration, which is known here."""

    def log(self, key: str, value: Any, step: int) -> None:
        """Take one figure of epoch `step`."""
        if key in ("train_losses", "val_losses", "mean_fg_dice"):
            self._figures[key] = float(value)
        elif key == "epoch_end_timestamps":
            self._say("epoch", epoch=int(step), **self._figures)

    def log_summary(self, key: str, value: Any) -> None:
        """Ignore a figure of the whole training, which is not used here."""


def _reported(step: Callable[[Any], Any], say: Say) -> Callable[[Any], Any]:
    def with_report(batch: Any) -> Any:
        outcome = step(batch)
        say("step")
        return outcome

    return with_report


def _whole_or_not_at_all(save: Callable[[str], None]) -> Callable[[str], None]:
    """nnU-Net overwrites its only checkpoint in place: a kill at that moment would cost all epochs."""

    def save_aside(filename: str) -> None:
        partial = Path(f"{filename}.partial")
        save(str(partial))
        if partial.exists():  # nnU-Net can be told to write none
            partial.replace(filename)

    return save_aside


def _threads_for_single_helpers() -> None:
    """Spare a process of one helper that nnU-Net starts for each step: it takes longer to start than to be of use."""
    context: Any = multiprocessing.get_context("spawn")
    type(context).Pool = lambda _self, processes=None: ThreadPool(processes)


def _split(dataset: str) -> None:
    """nnU-Net's own split into five; with fewer cases, each is left out once."""
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    folder = Path(nnUNet_preprocessed) / dataset
    cases = sorted(path.name.removesuffix(".nii.gz") for path in (folder / "gt_segmentations").iterdir())
    if len(cases) > 1:
        splits = generate_crossval_split(cases, seed=_SPLIT_SEED, n_splits=min(_FOLDS, len(cases)))
        plain = [{part: [str(case) for case in cases] for part, cases in split.items()} for split in splits]
        (folder / "splits_final.json").write_text(json.dumps(plain, indent=2) + "\n")


def _die_with_parent() -> None:
    """End this process and its helpers when the parent has gone, which closes our standard input."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
