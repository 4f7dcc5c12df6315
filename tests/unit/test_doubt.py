"""What speaks against particles, as columns of the table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ps3d_core.doubt.calibration import Calibration
from ps3d_core.network.intensity import Intensity
from ps3d_core.particles.doubt import LIKELY, UNSURE, Sureness, doubt_columns

CALIBRATION = Calibration(slope=5.7, offset=-5.9, particles=1000, right=900)


def columns_of(n, **others):
    """Columns of n compact particles of a diameter of 0.2 mm, inside the scan."""
    columns = {
        "label": np.arange(1, n + 1, dtype=np.uint32),
        "voxels": np.full(n, 4000),
        "diameter_mm": np.full(n, 0.2),
        "sphericity": np.full(n, 0.95),
        "touches_border": np.zeros(n, bool),
    }
    return columns | {name: np.array(values) for name, values in others.items()}


def known_of(n, *, certainty=0.95, contact=0.0):
    """What is known of n particles, each with a contact to the next."""
    return Sureness(
        particle_size=0.2,
        contact=np.concatenate(([0.0], np.broadcast_to(contact, n))),
        neighbour=np.roll(np.arange(n + 1, dtype=np.uint32), -1),
        certainty=np.concatenate(([np.nan], np.broadcast_to(certainty, n))),
        calibration=CALIBRATION,
    )


def test_compact_particles_of_which_the_network_is_sure_have_no_doubts():
    found = doubt_columns(columns_of(3), known_of(3))
    assert found["doubts"].tolist() == [""] * 3
    assert (found["confidence"] > 0.99).all()
    assert (found["maybe_merged"] < 0.03).all()
    assert (found["maybe_split"] < 0.01).all()


def test_confidence_rises_with_certainty():
    found = doubt_columns(columns_of(4), known_of(4, certainty=[0.6, 0.7, 0.8, 0.9]))
    assert (np.diff(found["confidence"]) > 0).all()
    assert [("unsure" in text) for text in found["doubts"]] == (found["confidence"] < UNSURE).tolist()


def test_large_crooked_particles_may_be_several():
    found = doubt_columns(columns_of(2, sphericity=[0.95, 0.4], diameter_mm=[0.2, 0.5]), known_of(2))
    assert found["maybe_merged"][1] > LIKELY > found["maybe_merged"][0]
    assert found["doubts"].tolist() == ["", "maybe merged"]


def test_a_contact_as_wide_as_the_particle_may_be_a_cut():
    disc = np.pi / 4 * 0.2**2
    found = doubt_columns(columns_of(3), known_of(3, contact=[0.1 * disc, 0.5 * disc, 1.2 * disc]))
    assert (np.diff(found["maybe_split"]) > 0).all()
    assert found["maybe_split"][2] == pytest.approx(1 / (1 + np.exp(6.96 - 6.06)))
    assert found["maybe_split_from"].tolist() == [2, 3, 0]


def test_reasons_are_joined_in_one_order():
    columns = columns_of(1, voxels=[20], touches_border=[True])
    assert doubt_columns(columns, known_of(1, certainty=0.5))["doubts"].tolist() == ["unsure; small; cut by the edge"]


@pytest.mark.parametrize("intensity", [Intensity(100, 20), Intensity(100, 20).turned()])
def test_particles_like_their_surroundings_have_low_contrast(intensity):
    away = intensity.scale * np.array([1.0, 0.2, -0.2])
    columns = columns_of(3, grey_mean=100 + away)
    found = doubt_columns(columns, replace(known_of(3), intensity=intensity))
    assert found["doubts"].tolist() == ["", "", "low contrast"]


def test_labels_of_unknown_origin_have_no_probabilities():
    found = doubt_columns(columns_of(2, voxels=[20, 4000]), None)
    for name in ("certainty", "confidence", "maybe_merged", "maybe_split"):
        assert np.isnan(found[name]).all()
    assert found["doubts"].tolist() == ["small", ""]


def test_a_model_without_calibration_has_certainties_only():
    known = known_of(2)
    found = doubt_columns(columns_of(2), Sureness(known.particle_size, known.contact, known.neighbour, known.certainty))
    assert (found["certainty"] == 0.95).all()
    assert np.isnan(found["confidence"]).all()


def test_columns_do_not_depend_on_where_a_table_is_cut():
    rng = np.random.default_rng(0)
    columns = columns_of(40, sphericity=rng.uniform(0.3, 1, 40), diameter_mm=rng.uniform(0.1, 0.6, 40))
    known = known_of(40, certainty=rng.uniform(0.5, 1, 40), contact=rng.uniform(0, 0.05, 40))
    whole = doubt_columns(columns, known)
    parts = [
        doubt_columns({name: c[part] for name, c in columns.items()}, known) for part in (slice(13), slice(13, 40))
    ]
    for name, column in whole.items():
        assert np.concatenate([part[name] for part in parts]).tolist() == column.tolist()
