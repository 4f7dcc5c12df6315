"""Training data and loss: what the network is shown, and what it is told."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from ps3d_core.errors import InputError
from ps3d_core.network.bundle import BundleInfo, load_bundle
from ps3d_core.store.location import Location
from ps3d_core.training import bundled
from ps3d_core.training.as_command import as_command
from ps3d_core.training.loop import LoopParams, Training, dice_and_cross_entropy, train
from ps3d_core.training.patches import PatchParams, PatchSampler, vary_grey, voxel_weights
from ps3d_core.training.targets import BACKGROUND, BORDER, CORE, border_core
from ps3d_core.training.validate import DEM, HELD_OUT, mean_row, table
from ps3d_core.training.volumes import Volume, VolumeParams, nearest_labels, training_volume
from ps3d_core.training.walls import with_wall
from ps3d_core.training.watershed import watershed_particles
from tests.tiny_network import TINY

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SMALL = VolumeParams(edge=32, largest_scan_edge=40, particle_size=(11.0, 16.0))


def balls(edge: int = 40) -> Volume:
    """Two balls that touch and a bright wall; bright is +1, the rest -1."""
    z, y, x = np.ogrid[:edge, :edge, :edge]
    labels = np.zeros((edge, edge, edge), np.uint16)
    for label, centre in ((1, 12), (2, 26)):
        labels[(z - edge // 2) ** 2 + (y - edge // 2) ** 2 + (x - centre) ** 2 < 50] = label
    image = np.where((labels > 0) | (y > 33), 1.0, -1.0).astype(np.float16)
    return Volume(image, labels)


def test_a_training_volume_follows_from_its_seed() -> None:
    first, again, other = (training_volume(seed, SMALL) for seed in (3, 3, 4))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert first.image.shape == first.labels.shape
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)
    assert np.isfinite(first.image).all()


def test_wide_volumes_are_drawn_down_to_particles_of_six_voxels() -> None:
    assert VolumeParams(family="wide").particle_size == (6.0, 44.0)
    assert VolumeParams().particle_size == (11.0, 44.0)
    wide = training_volume(3, SMALL.model_copy(update={"family": "wide", "particle_size": (6.0, 7.0)}))
    narrow = training_volume(3, SMALL)
    assert np.isfinite(wide.image).all()
    assert wide.labels.any()
    assert wide.image.shape != narrow.image.shape or not np.array_equal(wide.image, narrow.image)


def test_nearest_labels_take_the_label_at_the_voxel_centre() -> None:
    labels = np.arange(6, dtype=np.uint32).reshape(1, 1, 6)
    assert nearest_labels(labels, (1, 1, 3)).ravel().tolist() == [1, 3, 5]
    assert nearest_labels(labels, (2, 1, 12))[1, 0].tolist() == np.arange(6).repeat(2).tolist()


def test_patches_follow_from_the_seed() -> None:
    params = PatchParams(edge=16)
    straight, later = (PatchSampler([balls()], params, seed=5) for _ in range(2))
    first = [straight.batch(number, 3) for number in (1, 2)]
    again = later.batch(2, 3)  # goes on in the middle
    assert again.images.shape == (3, 1, 16, 16, 16)
    assert again.classes.dtype == np.int64
    for array, same in zip(again, first[1], strict=True):
        assert np.array_equal(array, same)
    assert not np.array_equal(again.images, first[0].images)


@pytest.mark.parametrize("slab", [0.0, 1.0])
def test_classes_belong_to_the_grey_values_they_come_with(slab: float) -> None:
    sampler = PatchSampler(
        [balls()], PatchParams(edge=16, on_particle=1.0, on_bright_background=0.0, slab=slab), seed=1
    )
    rng = np.random.default_rng(0)
    for _ in range(20):
        image, classes, _ = sampler.patch(rng)
        assert image.shape == classes.shape == (16, 16, 16)
        assert {BACKGROUND, CORE, BORDER} >= set(np.unique(classes).tolist())
        assert image[classes == CORE].mean() > image[classes == BACKGROUND].mean()


def test_a_volume_smaller_than_a_patch_is_continued() -> None:
    image, classes, _ = PatchSampler([balls(40)], PatchParams(edge=48), seed=0).patch(np.random.default_rng(0))
    assert image.shape == classes.shape == (48, 48, 48)


def test_a_bright_wall_is_shown_as_background() -> None:
    params = PatchParams(edge=8, on_particle=0.0, on_bright_background=1.0, slab=0.0)
    sampler = PatchSampler([balls()], params, seed=2)
    rng = np.random.default_rng(0)
    assert all((sampler.patch(rng)[1] == BACKGROUND).all() for _ in range(10))


def test_a_wall_is_background_and_leaves_what_is_inside_alone() -> None:
    volume = balls()
    changed = 0
    for seed in range(8):
        image, labels = with_wall(volume.image, volume.labels, np.random.default_rng(seed))
        assert set(np.unique(labels)) <= {0, 1, 2}
        assert np.isfinite(image).all()
        cut = (labels == 0) & (volume.labels > 0)
        changed += bool(cut.any())
        np.testing.assert_array_equal(labels[~cut], volume.labels[~cut])
    assert changed > 0


def test_varied_grey_keeps_shape_and_stays_finite() -> None:
    rng = np.random.default_rng(0)
    for level in (0.0, 3.0):
        for _ in range(30):
            varied = vary_grey(np.full((8, 9, 10), level, np.float32), rng)
            assert varied.shape == (8, 9, 10)
            assert varied.dtype == np.float32
            assert np.isfinite(varied).all()


def test_loss_of_a_perfect_answer_is_minus_one_and_of_a_wrong_one_is_large() -> None:
    classes = torch.from_numpy(border_core(balls().labels, 1).astype(np.int64))[None]
    perfect = 40.0 * functional.one_hot(classes, 3).movedim(-1, 1).float()
    even = torch.ones_like(classes, dtype=torch.float32)
    assert float(dice_and_cross_entropy(perfect, classes, even)) == pytest.approx(-1.0, abs=1e-4)
    assert float(dice_and_cross_entropy(-perfect, classes, even)) > 5.0


def test_an_error_counts_in_the_loss_by_its_weight() -> None:
    classes = torch.zeros((1, 1, 1, 4), dtype=torch.int64)
    logits = torch.zeros((1, 3, 1, 1, 4))
    logits[0, 0] = 40.0
    logits[0, :, 0, 0, 3] = torch.tensor([0.0, 0.0, 10.0])  # the last voxel is wrong, by 10
    weights = torch.tensor([1.0, 1.0, 1.0, 5.0]).reshape(1, 1, 1, 4)
    differ = dice_and_cross_entropy(logits, classes, weights) - dice_and_cross_entropy(
        logits, classes, torch.ones_like(weights)
    )
    assert float(differ) == pytest.approx(10 * (5 / 8 - 1 / 4), rel=1e-3)


def test_voxels_weigh_by_border_and_by_contact() -> None:
    labels = np.zeros((9, 9, 24), np.uint16)
    labels[..., 2:11], labels[..., 12:20] = 7, 3  # a gap of one voxel at x = 11
    params = PatchParams(border_thickness=2.0, border_weight=2.0, contact_weight=5.0)
    row = voxel_weights(labels, border_core(labels, 2.0), params)[4, 4]
    expected = [1.0] * 24
    expected[2:4] = expected[18:20] = [2.0, 2.0]  # borders to the background
    expected[10:13] = [5.0, 5.0, 5.0]  # two voxels away from the other particle at most
    expected[9] = expected[13] = 2.0  # borders, and three voxels away from the other particle
    assert row.tolist() == expected


LOOP = LoopParams(steps=40, cool_down=10, report_every=10, warm_up_steps=5, learning_rate=1e-2, bfloat16=False)
CPU = torch.device("cpu")


def tiny_training() -> tuple[Training, PatchSampler]:
    torch.manual_seed(0)
    params = PatchParams(edge=16, slab=0.0, on_particle=1.0, on_bright_background=0.0)
    return Training.of(TINY.build(), LOOP, CPU), PatchSampler([balls()], params, seed=0)


def test_training_lowers_the_loss() -> None:
    losses: list[float] = []
    steps: list[int] = []
    training, sampler = tiny_training()
    train(
        training,
        lambda step: sampler.batch(step, 1),
        LOOP,
        report=lambda step, loss, seconds: losses.append(loss),
        after_step=lambda training: steps.append(training.step),
    )
    assert losses[-1] < losses[0] - 0.1
    assert steps == list(range(1, 51))


def test_the_rate_warms_up_stays_and_cools_down() -> None:
    rates = [LOOP.rate(step) for step in range(1, 51)]
    assert rates[:5] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01])
    assert rates[5:40] == [0.01] * 35
    assert rates[40:] == pytest.approx([0.01 * n / 11 for n in range(10, 0, -1)])


def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    file = Location.parse(tmp_path / "checkpoint.pt")

    def keep(training: Training) -> None:
        if training.step == 7:
            training.save(file)

    ends = []
    for resumed in (False, True):
        training, sampler = tiny_training()
        if resumed:
            torch.manual_seed(1)
            training = Training.of(TINY.build(), LOOP, CPU)
            assert training.load(file)
            assert training.step == 7
            assert training.seconds > 0
        train(
            training, partial(sampler.batch, size=3), LOOP.model_copy(update={"steps": 10, "cool_down": 2}),
            report=lambda *_: None, after_step=keep,
        )  # fmt: skip
        ends.append(training)
    assert ends[0].step == ends[1].step == 12
    for module in ("network", "mean"):
        first, second = (getattr(end, module).state_dict() for end in ends)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_of_something_else_is_refused_in_words(tmp_path: Path) -> None:
    file = Location.parse(tmp_path / "checkpoint.pt")
    training, _ = tiny_training()
    assert not training.load(file)
    for content in (b"", b"not a checkpoint", b"PK\x03\x04"):
        file.write_bytes(content)
        with pytest.raises(InputError, match="remove it to begin anew"):
            training.load(file)


def test_the_documented_command_stops_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    phases = (
        bundled.Phase(from_step=1, volumes={"training": 1}, edge=8, batch_size=1),
        bundled.Phase(from_step=3, volumes={"training": 1, "wide": 1}, edge=16, batch_size=3),
    )
    volumes = {"training": SMALL, "wide": SMALL}
    changes = {"VOLUMES": volumes, "ARCHITECTURE": TINY, "PHASES": phases, "PATCH": PatchParams(edge=16)}
    for name, value in changes.items():
        monkeypatch.setattr(bundled, name, value)

    def command(out: str, steps: int, *more: str) -> BundleInfo:
        options = ["--out", str(tmp_path / out), "--steps", str(steps), "--cool-down", "2", *more]
        bundled.main([*options, "--threads", "1", "--no-bfloat16", "--device", "cpu"])
        return load_bundle(str(tmp_path / out / "bundle")).info

    straight = command("straight", 4)
    assert straight.training["step"] == 6
    command("in-two", 2)
    assert command("in-two", 4).digest == straight.digest
    assert "going on after step 2" in capsys.readouterr().out
    assert command("in-two", 4).digest == straight.digest  # nothing left to do
    with pytest.raises(InputError, match="already at step 4; give at least as many"):
        command("in-two", 3)
    begun = command("from-another", 2, "--start-from", str(tmp_path / "straight" / "bundle"))
    assert begun.training["begun_with"].startswith("44 of 44 tensors of")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--steps", "0"], "error: --steps 0: must be at least 1; give more"),
        (["--cool-down", "-1"], "error: --cool-down -1: must be at least 0; give more"),
        (["--start-from", "nowhere"], "nothing there; give a bundle's folder"),
    ],
)
def test_what_cannot_be_trained_is_told_in_a_line(
    tmp_path: Path, options: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert as_command(lambda: bundled.main(["--out", str(tmp_path / "out"), "--device", "cpu", *options])) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_watershed_separates_two_touching_balls() -> None:
    volume = balls()
    clean = np.where(volume.labels > 0, 100, 10).astype(np.uint8)
    labels = watershed_particles(clean, 14.0)
    assert labels.max() == 2
    assert len({labels[20, 20, 12], labels[20, 20, 26]} - {0}) == 2


def test_a_scan_without_contrast_has_no_watershed_particles_to_crash_on() -> None:
    assert watershed_particles(np.zeros((8, 8, 8), np.uint8), 4.0).max() == 0


def test_held_out_scans_are_many_large_and_not_training_seeds() -> None:
    assert len(HELD_OUT) >= 10
    scans = (*HELD_OUT, *DEM)
    assert len({scan.seed for scan in scans}) == len({scan.name for scan in scans}) == len(scans)
    assert all(min(scan.shape) >= 128 for scan in scans)
    assert {scan.family for scan in DEM} == {"dem"}


def test_the_table_ends_with_the_mean() -> None:
    rows = [{"scan": name, "shape": "1x1x1", "particle_size_voxels": 9.0, "particles": n, "f1": f1}
            for name, n, f1 in (("a", 10, 0.8), ("b", 21, 0.9))]  # fmt: skip
    mean = mean_row(rows)
    assert mean["f1"] == pytest.approx(0.85)
    assert table([*rows, mean]).splitlines()[-1].startswith("| mean |")
