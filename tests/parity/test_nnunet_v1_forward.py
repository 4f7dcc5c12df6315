"""A model of nnU-Net 1, imported: the logits and probabilities that ParticleSeg3D computes with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ps3d_core.network.ensemble import Predictor
from ps3d_core.network.nnunet.importing import import_model
from ps3d_core.store.location import Location

DATA = Path(__file__).parent / "data"
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    bundle = import_model(str(DATA / "v1_model"), Location.parse(tmp_path_factory.mktemp("imported") / "bundle")).bundle
    [network] = bundle.networks(torch.device("cpu"))
    return network


@pytest.fixture(scope="module")
def forward():
    with np.load(DATA / "v1_forward.npz") as stored:
        return dict(stored)


def test_logits(network, forward):
    with torch.inference_mode():
        logits = network(torch.from_numpy(forward["x"])).numpy()
    assert np.abs(logits - forward["logits"]).max() < TOLERANCE


def test_probabilities_over_all_mirrorings(network, forward):
    probabilities = Predictor([network])(torch.from_numpy(forward["x"])).numpy()
    assert np.abs(probabilities - forward["tta_softmax"]).max() < TOLERANCE
