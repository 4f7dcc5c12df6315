"""The child process that runs nnU-Net: `python -m ps3d_core.training.nnunet.worker ORDER REPORTS`.

ORDER is JSON: {"step": "prepare" or "fold", ...}. REPORTS is the number of a file descriptor that takes lines of
JSON. Folders and helpers are in nnU-Net's environment variables. Only functions of nnU-Net that its own commands call
are used, and trainers are adjusted by the attributes that are meant for it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
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
            say("refused", text=str(error))
            return 2
    return 0


def prepare(order: Order, say: Say) -> None:
    """Fingerprint, plan, preprocess and split; report what was planned.

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
        raise InputError(f"--planner {order['planner']}: nnU-Net has no such class; ExperimentPlanner is its default")
    name, workers = order["dataset"], order["workers"]
    number = int(name.removeprefix("Dataset")[:3])
    api.extract_fingerprint_dataset(number, num_processes=workers, clean=True, verbose=False, show_progress_bar=False)
    say("done", part="fingerprint")
    plans, plans_name = api.plan_experiment_dataset(number, tailored(planner, order["choices"]))
    configuration = plans["configurations"].get(order["configuration"])
    if configuration is None:
        known = ", ".join(each for each in plans["configurations"] if each.startswith("3d"))
        raise InputError(f"--configuration {order['configuration']}: not in nnU-Net's plan; it has {known}")
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

    `order`: "dataset", "configuration", "fold" (number or "all"), "trainer", "plans_name", "epochs" and "iterations"
    (None: the trainer's own), "seed", "device", "threads".
    """
    import numpy as np
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

    seed = order["seed"] + (order["fold"] if order["fold"] != "all" else _FOLDS)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (nnU-Net draws from it)
    torch.manual_seed(seed)
    torch.set_num_threads(order["threads"])
    torch.backends.cudnn.benchmark = True
    trainer = get_trainer_from_args(
        order["dataset"],
        order["configuration"],
        order["fold"],
        _known_trainer(order["trainer"]),
        order["plans_name"],
        continue_training=True,
        device=torch.device(order["device"]),
    )
    if order["epochs"]:
        trainer.num_epochs = order["epochs"]
    if order["iterations"]:
        trainer.num_iterations_per_epoch = order["iterations"]
        trainer.num_val_iterations_per_epoch = max(1, order["iterations"] // _VALIDATION_SHARE)
    trainer.save_every = _SAVE_EVERY
    trainer.save_checkpoint = _whole_or_not_at_all(trainer.save_checkpoint)
    maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)
    say("begins", epoch=trainer.current_epoch, epochs=trainer.num_epochs, iterations=trainer.num_iterations_per_epoch)
    trainer.train_step = _reported(trainer.train_step, say)
    trainer.logger.loggers.append(_EpochReporter(say))
    trainer.run_training()


def _known_trainer(name: str) -> str:
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        recursive_find_trainer_class_by_name(name)
    except RuntimeError as error:
        raise InputError(
            f"--trainer {name}: nnU-Net has no such class; nnUNetTrainer is its default, nnUNet_extTrainer names "
            "a folder of your own"
        ) from error
    return name


class _EpochReporter:
    """One of nnU-Net's loggers: hears every figure of an epoch, and tells them when the last one has come."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._figures: dict[str, float] = {}

    def update_config(self, config: dict[str, Any]) -> None:
        """Nothing that is not known."""

    def log(self, key: str, value: Any, step: int) -> None:
        """Take one figure of epoch `step`."""
        if key in ("train_losses", "val_losses", "mean_fg_dice"):
            self._figures[key] = float(value)
        elif key == "epoch_end_timestamps":
            self._say("epoch", epoch=int(step), **self._figures)

    def log_summary(self, key: str, value: Any) -> None:
        """Nothing that is used."""


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
