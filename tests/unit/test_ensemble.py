"""The predictor: mirroring and folds are means of probabilities, computed the right way round."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ps3d_core.errors import InputError
from ps3d_core.network.computation import Computation
from ps3d_core.network.device import choose_device
from ps3d_core.network.ensemble import Predictor
from ps3d_core.quality import EVERY, PAIRS, PLAIN
from tests.tiny_network import TINY

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return TINY.build().eval()


def patches(count: int = 2) -> torch.Tensor:
    return torch.randn((count, 1, 8, 12, 16), generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def mirrored_by_hand(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    answers = []
    for flip_z in (False, True):
        for flip_y in (False, True):
            for flip_x in (False, True):
                axes = [axis for axis, flip in ((2, flip_z), (3, flip_y), (4, flip_x)) if flip]
                answers.append(net(x.flip(axes)).softmax(1).flip(axes))
    return torch.stack(answers).mean(0)


def test_without_mirroring_it_is_the_networks_softmax() -> None:
    net = network(0)
    with torch.no_grad():
        expected = net(patches()).softmax(1)
    torch.testing.assert_close(Predictor([net], PLAIN)(patches()), expected)


def test_mirroring_is_the_mean_over_eight_mirror_images() -> None:
    net = network(0)
    predictor = Predictor([net], EVERY)
    assert predictor.passes == 8
    torch.testing.assert_close(predictor(patches()), mirrored_by_hand(net, patches()))


def test_pairs_of_axes_are_the_half_turns() -> None:
    net, x = network(0), patches()
    with torch.no_grad():
        turned = [net(x.rot90(2, axes)).softmax(1).rot90(2, axes) for axes in ((2, 3), (2, 4), (3, 4))]
        expected = torch.stack([net(x).softmax(1), *turned]).mean(0)
    torch.testing.assert_close(Predictor([net], PAIRS)(x), expected)


@pytest.mark.parametrize("axes", [(2,), (3,), (4,), (2, 4), (2, 3, 4)])
def test_mirrored_prediction_does_not_know_left_from_right(axes: tuple[int, ...]) -> None:
    predictor = Predictor([network(1)], EVERY)
    torch.testing.assert_close(predictor(patches().flip(axes)), predictor(patches()).flip(axes))
    plain = Predictor([network(1)], PLAIN)
    assert not torch.allclose(plain(patches().flip(axes)), plain(patches()).flip(axes), atol=1e-4)


def test_ensemble_is_the_mean_of_its_folds() -> None:
    folds = [network(0), network(1), network(2)]
    alone = [Predictor([fold], PLAIN)(patches()) for fold in folds]
    torch.testing.assert_close(Predictor(folds, PLAIN)(patches()), torch.stack(alone).mean(0))


def test_gives_float32_probabilities_without_gradient() -> None:
    result = Predictor([network(0)])(patches(3))
    assert result.shape == (3, 3, 8, 12, 16)
    assert result.dtype == torch.float32
    assert not result.requires_grad
    torch.testing.assert_close(result.sum(1), torch.ones(3, 8, 12, 16))


def test_a_patch_has_the_same_answer_alone_and_in_a_batch() -> None:
    predictor = Predictor([network(0)])
    torch.testing.assert_close(predictor(patches(4))[2:3], predictor(patches(4)[2:3]))


def test_repeated_evaluation_gives_identical_bytes() -> None:
    predictor = Predictor([network(0)])
    assert torch.equal(predictor(patches()), predictor(patches()))


def test_bfloat16_stays_close_to_float32() -> None:
    full, half = Predictor([network(0)]), Predictor([network(0)], computation=Computation(precision="bfloat16"))
    assert (full(patches()) - half(patches())).abs().max() < 0.05


def test_needs_a_network() -> None:
    with pytest.raises(ValueError, match="at least one network"):
        Predictor([])


def test_device_is_chosen_by_name_or_automatically() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in {"cpu", "cuda", "mps"}
    with pytest.raises(InputError, match="device tpu"):
        choose_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_an_absent_device_is_refused_with_a_remedy() -> None:
    with pytest.raises(InputError, match=r"device cuda: .*give auto as device"):
        choose_device("cuda")
