"""What only a CUDA device can show: the same labels as the CPU, but for near ties."""

import numpy as np
import pytest
import torch

from ps3d_core.network.bundle import load_bundle
from ps3d_core.network.ensemble import Predictor
from ps3d_core.quality import PLAIN

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@pytest.mark.parametrize("batch", [1, 8])
def test_labels_agree_with_the_cpu_but_for_near_ties(batch):
    bundle = load_bundle()
    torch.manual_seed(0)
    patches = torch.randn(batch, 1, *bundle.info.patch_size)
    on_cpu = Predictor(bundle.networks(torch.device("cpu")), PLAIN)(patches)
    on_gpu = Predictor(bundle.networks(torch.device("cuda")), PLAIN)(patches).cpu()
    assert on_gpu.sum(dim=1).numpy() == pytest.approx(1, abs=1e-3)
    ranked = on_cpu.sort(dim=1, descending=True).values
    clear = (ranked[:, 0] - ranked[:, 1] > 0.05).numpy()
    differ = (on_cpu.argmax(dim=1) != on_gpu.argmax(dim=1)).numpy()
    assert np.count_nonzero(differ & clear) == 0
    assert differ.mean() < 0.01
