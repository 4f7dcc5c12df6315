"""Patches are empty only when nothing of a particle can be in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from ps3d_core.geometry.patches import PatchGrid
from ps3d_core.inference.empty import background, surely_empty
from ps3d_core.inference.estimate import empty_share
from ps3d_core.inference.forward import PatchEvaluator
from ps3d_core.inference.sample import NetworkView, PaddedView
from ps3d_core.network.architecture import CLASSES
from ps3d_core.network.ensemble import Predictor
from ps3d_core.network.intensity import Intensity
from ps3d_core.quality import PLAIN
from tests.tiny_network import TINY

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SIDE = 32


def noise(level: float, sigma: float, seed: int = 0) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(level, sigma, (SIDE,) * 3)
    return torch.from_numpy(values.astype(np.float32))


def with_particle(patch: torch.Tensor, radius: float, grey: float, centre: float = SIDE / 2) -> torch.Tensor:
    z, y, x = np.indices((SIDE,) * 3) + 0.5
    ball = torch.from_numpy(((z - centre) ** 2 + (y - centre) ** 2 + (x - centre) ** 2) < radius**2)
    return torch.where(ball, patch - patch.mean() + grey, patch)


def is_empty(patch: torch.Tensor) -> bool:
    return bool(surely_empty(patch[None])[0])


@pytest.mark.parametrize("level", [-3.0, -1.86, -1.0])
@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.2])
def test_noise_around_the_surroundings_is_empty(level: float, sigma: float) -> None:
    assert is_empty(noise(level, sigma))


@pytest.mark.parametrize("level", [-0.4, 0.0, 1.0])
def test_what_is_as_bright_as_particles_is_not(level: float) -> None:
    assert not is_empty(noise(level, 0.05))


def test_strong_noise_leaves_it_to_the_network() -> None:
    assert not is_empty(noise(-1, 0.8))


@pytest.mark.parametrize("radius", [2.0, 4.0, 10.0])
@pytest.mark.parametrize("grey", [1.0, 0.0, -0.5])
@pytest.mark.parametrize("centre", [SIDE / 2, SIDE - 1.0, SIDE])
def test_a_patch_with_a_particle_is_not(radius: float, grey: float, centre: float) -> None:
    assert not is_empty(with_particle(noise(-1.0, 0.05), radius, grey, centre))


def test_a_particle_fainter_than_the_limit_shows_above_the_noise() -> None:
    assert not is_empty(with_particle(noise(-1.5, 0.05), 3, -0.9))


def test_it_follows_from_each_patch_alone() -> None:
    patches = torch.stack([noise(-1, 0.1), with_particle(noise(-1, 0.1), 5, 1), noise(-2, 0.1)])
    assert surely_empty(patches).tolist() == [True, False, True]
    assert [is_empty(patch) for patch in patches] == [True, False, True]
    turned = patches.transpose(1, 3).contiguous()
    assert surely_empty(turned).tolist() == [True, False, True]


def test_an_empty_patch_is_background_and_costs_no_look() -> None:
    torch.manual_seed(0)
    network = TINY.build()
    predictor = Predictor([network.eval()], PLAIN)
    patches = [noise(-1, 0.1), noise(1, 0.1), torch.full((SIDE,) * 3, -1.0), torch.full((SIDE,) * 3, 1.0)]
    with PatchEvaluator(predictor, threads=1) as every:
        expected = list(every([patches]))
    with PatchEvaluator(predictor, threads=1, batch_size=3, skip_empty=True) as evaluate:
        first, second, third, fourth = evaluate([patches])
    assert torch.equal(first, background(patches[0], CLASSES))
    assert torch.equal(third, background(patches[2], CLASSES))
    torch.testing.assert_close(second, expected[1])
    assert torch.equal(fourth, expected[3])
    assert (evaluate.patches, evaluate.empty, every.empty) == (4, 2, 0)
    assert torch.equal(first.sum(0), torch.ones(SIDE, SIDE, SIDE))


def test_the_share_of_empty_patches_is_known_before(tmp_path: Path) -> None:
    slices = [noise(-1, 0.1, seed) if seed else with_particle(noise(-1, 0.1), 8, 1) for seed in range(4)]
    array = zarr.create_array(str(tmp_path / "scan"), data=torch.cat(slices).numpy())
    grid = PatchGrid((4 * SIDE, SIDE, SIDE), (SIDE, SIDE, SIDE), (SIDE, SIDE, SIDE))
    view = PaddedView(NetworkView(array, grid.shape), grid, Intensity(0.0, 1.0, None, None))
    assert empty_share(view) == 3 / 4
    assert empty_share(view, patches=2) == 1 / 2  # the first and the third
