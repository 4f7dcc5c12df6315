"""Class probabilities of a batch of patches: mean over mirrorings and over the networks of an ensemble.

A network has no reason to favour one side of a particle, so each patch may be shown in several mirror images and the
answers, mirrored back, averaged. Probabilities are averaged, not logits, as nnU-Net does.

What computes is settled before, see `ps3d_core.network.computation`. CUDA computes convolutions in float16 under
autocast and keeps the normalisation layers in float32. A CPU computes in float32 unless it is told otherwise: bfloat16
is faster where the processor has the instructions and far slower where it has not, and labels must not depend on which
machine of a cluster made them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import torch
from torch import nn

from ps3d_core.network.architecture import CLASSES
from ps3d_core.network.computation import Computation, computation_of
from ps3d_core.network.openvino import OpenVinoNetwork
from ps3d_core.quality import EVERY, Mirrorings

_DTYPES: Final = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Predictor:
    """Evaluator of an ensemble on batches of patches. Not thread safe on a GPU; cheap to make."""

    def __init__(
        self,
        networks: Sequence[nn.Module],
        mirrorings: Mirrorings = EVERY,
        *,
        computation: Computation | None = None,
        threads: int = 1,
    ) -> None:
        """Take networks in evaluation mode, all on one device.

        Args:
            networks: at least one; (B, 1, z, y, x) to (B, 3, z, y, x) logits.
            mirrorings: axes of a patch that are turned round, for each image whose answers are averaged.
            computation: what computes them; what is usual for PyTorch on their device when absent.
            threads: how many call it at once, on a CPU.

        """
        if not networks:
            raise ValueError("a predictor needs at least one network")
        self.device = next(networks[0].parameters()).device
        self.mirrorings = mirrorings
        computation = computation or computation_of("torch", device=self.device.type)  # type: ignore[arg-type]
        self._dtype = _DTYPES[computation.precision] if computation.engine == "torch" else None
        # On a CPU channels-last only pays together with bfloat16, see tests/benchmarks.
        self._layout = torch.channels_last_3d if self.device.type == "cuda" else torch.contiguous_format
        self._networks: Sequence[Callable[[torch.Tensor], torch.Tensor]] = networks
        if computation.engine == "openvino":
            self._networks = [OpenVinoNetwork(network, computation.precision, threads) for network in networks]
        elif self.device.type == "cuda":
            self._networks = [network.to(memory_format=self._layout) for network in networks]  # type: ignore[call-overload]

    @property
    def passes(self) -> int:
        """Number of forward passes per patch."""
        return len(self.mirrorings) * len(self._networks)

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        """Return the mean softmax of a batch.

        Args:
            patches: (B, 1, z, y, x) float32, normalised; moved to the networks' device if it is elsewhere.

        Returns:
            (B, 3, z, y, x) float32 on the networks' device; sums to 1 over the classes.

        """
        with torch.inference_mode(), self._autocast():
            x = patches.to(self.device)
            total = torch.zeros((x.shape[0], CLASSES, *x.shape[2:]), dtype=torch.float32, device=self.device)
            for turned in self.mirrorings:
                axes = [axis - 3 for axis in turned]  # those of space are the last
                mirrored = x.flip(axes) if axes else x
                mirrored = mirrored.contiguous(memory_format=self._layout)
                for network in self._networks:
                    probabilities = network(mirrored).float().softmax(dim=1)
                    total += probabilities.flip(axes) if axes else probabilities
            return total.div_(self.passes)

    def _autocast(self) -> AbstractContextManager[object]:
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self._dtype)
