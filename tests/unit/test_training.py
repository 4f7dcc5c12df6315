"""Training data and loss: what the network is shown, and what it is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from ps3d_core.network.architecture import Architecture
from ps3d_core.network.bundle import load_bundle
from ps3d_core.training import bundled
from ps3d_core.training.loop import LoopParams, dice_and_cross_entropy, train
from ps3d_core.training.patches import PatchParams, PatchSampler, vary_grey, voxel_weights
from ps3d_core.training.targets import BACKGROUND, BORDER, CORE, border_core
from ps3d_core.training.validate import HELD_OUT, mean_row, table
from ps3d_core.training.volumes import Volume, VolumeParams, nearest_labels, training_volume
from ps3d_core.training.walls import with_wall
from ps3d_core.training.watershed import watershed_particles

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SMALL = VolumeParams(edge=32, largest_scan_edge=40, particle_size=(11.0, 16.0))
TINY = Architecture(
    n_stages=2,
    features_per_stage=(4, 8),
    kernel_sizes=((3, 3, 3),) * 2,
    strides=((1, 1, 1), (2, 2, 2)),
    n_conv_per_stage=(1, 1),
    n_conv_per_stage_decoder=(1,),
)


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


def test_nearest_labels_take_the_label_at_the_voxel_centre() -> None:
    labels = np.arange(6, dtype=np.uint32).reshape(1, 1, 6)
    assert nearest_labels(labels, (1, 1, 3)).ravel().tolist() == [1, 3, 5]
    assert nearest_labels(labels, (2, 1, 12))[1, 0].tolist() == np.arange(6).repeat(2).tolist()


def test_patches_follow_from_the_seed() -> None:
    params = PatchParams(edge=16)
    batches = [next(PatchSampler([balls()], params, seed=5).batches(3, 1)) for _ in range(2)]
    assert batches[0][0].shape == (3, 1, 16, 16, 16)
    assert batches[0][1].dtype == np.int64
    for first, again in zip(*batches, strict=True):
        assert np.array_equal(first, again)


@pytest.mark.parametrize("slab", [0.0, 1.0])
def test_classes_belong_to_the_grey_values_they_come_with(slab: float) -> None:
    sampler = PatchSampler(
        [balls()], PatchParams(edge=16, on_particle=1.0, on_bright_background=0.0, slab=slab), seed=1
    )
    for _ in range(20):
        image, classes, _ = sampler.patch()
        assert image.shape == classes.shape == (16, 16, 16)
        assert {BACKGROUND, CORE, BORDER} >= set(np.unique(classes).tolist())
        assert image[classes == CORE].mean() > image[classes == BACKGROUND].mean()


def test_a_volume_smaller_than_a_patch_is_continued() -> None:
    image, classes, _ = PatchSampler([balls(40)], PatchParams(edge=48), seed=0).patch()
    assert image.shape == classes.shape == (48, 48, 48)


def test_a_bright_wall_is_shown_as_background() -> None:
    params = PatchParams(edge=8, on_particle=0.0, on_bright_background=1.0, slab=0.0)
    sampler = PatchSampler([balls()], params, seed=2)
    assert all((sampler.patch()[1] == BACKGROUND).all() for _ in range(10))


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


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    losses: list[float] = []
    steps: list[int] = []
    sampler = PatchSampler([balls()], PatchParams(edge=16, slab=0.0, on_particle=1.0, on_bright_background=0.0), seed=0)
    train(
        TINY.build(),
        sampler.batches(1, 1000),
        LoopParams(steps=40, report_every=10, snapshot_every=15, warm_up_steps=5, learning_rate=1e-2, bfloat16=False),
        torch.device("cpu"),
        report=lambda step, loss, seconds: losses.append(loss),
        snapshot=lambda step, mean: steps.append(step),
    )
    assert losses[-1] < losses[0] - 0.1
    assert steps == [15, 30, 40]


def test_the_documented_command_trains_in_rounds_and_goes_on_after_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (
        bundled.Round(
            small_steps=1,
            steps=steps,
            batch_size=steps + 1,
            learning_rate=1e-3,
            border_weight=2.0,
            contact_weight=3.0,
            on_particle=0.5,
            wall=0.5,
        )
        for steps in (1, 2)
    )
    changes = {"VolumeParams": lambda: SMALL, "ARCHITECTURE": TINY, "VOLUMES": 2, "SMALL_EDGE": 8}
    changes |= {"PATCH": PatchParams(edge=16), "ROUNDS": (first, second)}
    for name, value in changes.items():
        monkeypatch.setattr(bundled, name, value)
    command = ["--out", str(tmp_path), "--threads", "1", "--no-bfloat16", "--device", "cpu"]
    bundled.main(command)
    info = load_bundle(str(tmp_path / "round_2")).info
    assert info.training["step"] == 3
    assert len(info.training["rounds"]) == 2
    assert str(tmp_path) in info.training["command"]
    (tmp_path / "round_2" / "bundle.json").unlink()
    bundled.main(command)
    assert "round 1: found" in capsys.readouterr().out
    assert load_bundle(str(tmp_path / "round_2")).info.digest == info.digest


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
    assert len({scan.seed for scan in HELD_OUT}) == len(HELD_OUT)
    assert all(min(scan.shape) >= 128 for scan in HELD_OUT)


def test_the_table_ends_with_the_mean() -> None:
    rows = [{"scan": name, "shape": "1x1x1", "particle_size_voxels": 9.0, "particles": n, "f1": f1}
            for name, n, f1 in (("a", 10, 0.8), ("b", 21, 0.9))]  # fmt: skip
    mean = mean_row(rows)
    assert mean["f1"] == pytest.approx(0.85)
    assert table([*rows, mean]).splitlines()[-1].startswith("| mean |")
