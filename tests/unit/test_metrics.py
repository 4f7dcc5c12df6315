"""Figures of merit: known answers, identities, and the same figures from blocks on a store."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import stored, voronoi
from scipy.optimize import linear_sum_assignment

from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.errors import InputError
from ps3d_core.evaluation import evaluate as evaluating
from ps3d_core.evaluation.evaluate import Comparison, evaluate
from ps3d_core.evaluation.metrics import Evaluation, evaluate_arrays
from ps3d_core.progress import Noted, Progress
from ps3d_core.store.location import Location

seeds = st.integers(0, 2**32 - 1)


def line(*runs):
    """A (1, 1, n) volume of runs (label, length)."""
    return np.concatenate([np.full(n, label) for label, n in runs]).reshape(1, 1, -1)


def noisy(seed, shape=(6, 7, 8)):
    """A truth and a prediction that shares most of it."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 5, (3, 2, 2)), np.ones((2, 3, 4), int))
    prediction = np.where(rng.random(truth.shape) < rng.uniform(0, 0.6), rng.integers(0, 6, truth.shape), truth)
    return prediction, truth


def test_perfect():
    labels = voronoi((10, 12, 14), 9, seed=0)
    found = evaluate_arrays(labels, labels)
    n = len(np.unique(labels)) - 1
    assert (found.predicted, found.true, found.matched) == (n, n, n)
    assert (found.missed, found.spurious, found.splits, found.merges) == (0, 0, 0, 0)
    assert found.precision == found.recall == found.f1 == found.f1_mean == 1
    assert found.mean_matched_iou == found.panoptic_quality == 1
    assert found.count_error == found.d50_error == 0


def test_known_overlaps():
    truth = line((1, 10), (0, 10), (2, 10), (3, 10))
    prediction = line((7, 9), (0, 11), (8, 6), (9, 14))
    # IoU 9/10; 6/10; 3 with 9: 10 shared of 14.
    found = evaluate_arrays(prediction, truth)
    assert found.matched == 3
    assert found.mean_matched_iou == pytest.approx((9 / 10 + 6 / 10 + 10 / 14) / 3)
    assert found.f1_by_threshold["0.55"] == 1
    # At exactly the threshold there is no match.
    assert found.f1_by_threshold["0.60"] == pytest.approx(2 / 3)
    assert found.f1_by_threshold["0.70"] == pytest.approx(2 / 3)
    assert found.f1_by_threshold["0.75"] == pytest.approx(1 / 3)
    assert found.f1_by_threshold["0.90"] == 0
    assert found.f1_mean == pytest.approx((2 * 1 + 3 * 2 / 3 + 3 * 1 / 3) / 10)
    assert found.panoptic_quality == pytest.approx(found.mean_matched_iou)


def test_half_is_no_match():
    found = evaluate_arrays(line((1, 5), (0, 5)), line((1, 10)))
    assert (found.matched, found.missed, found.spurious) == (0, 1, 1)
    assert (found.f1, found.mean_matched_iou, found.panoptic_quality) == (0, 0, 0)


def test_a_split_and_a_merge():
    truth = line((1, 10), (0, 1), (2, 10), (3, 10))
    prediction = line((1, 5), (2, 5), (0, 1), (3, 20))
    found = evaluate_arrays(prediction, truth)
    assert (found.splits, found.merges, found.matched) == (1, 1, 0)
    swapped = evaluate_arrays(truth, prediction)
    assert (swapped.splits, swapped.merges) == (1, 1)


def test_a_piece_that_lies_mostly_elsewhere_is_no_split():
    found = evaluate_arrays(line((1, 8), (2, 2), (2, 3)), line((1, 10), (2, 3)))
    assert (found.splits, found.merges, found.matched) == (0, 0, 2)


def test_sizes():
    found = evaluate_arrays(line((1, 64), (0, 2), (2, 64)), line((1, 8), (0, 58), (2, 8), (0, 56)))
    assert found.d50_error == pytest.approx(1.0)
    assert found.count_error == 0


def test_nothing_found_and_nothing_to_find():
    nothing, something = line((0, 4)), line((0, 2), (1, 2))
    both = evaluate_arrays(nothing, nothing)
    assert both.f1 == both.f1_mean == both.precision == both.recall == both.panoptic_quality == 1
    assert (both.count_error, both.d50_error) == (0, None)
    missed = evaluate_arrays(nothing, something)
    assert (missed.f1, missed.precision, missed.recall, missed.missed) == (0, 0, 0, 1)
    assert (missed.count_error, missed.d50_error) == (-1, None)
    spurious = evaluate_arrays(something, nothing)
    assert (spurious.f1, spurious.spurious, spurious.count_error) == (0, 1, None)


@given(seed=seeds)
def test_matching_is_the_best_assignment(seed):
    prediction, truth = noisy(seed)
    iou = np.array(
        [
            [((prediction == p) & (truth == t)).sum() / ((prediction == p) | (truth == t)).sum() for t in range(1, 5)]
            for p in range(1, 6)
            if (prediction == p).any()
        ]
    )
    iou = np.nan_to_num(iou[:, [(truth == t).any() for t in range(1, 5)]])
    good = iou > 0.5
    rows, columns = linear_sum_assignment(-(good * (1 + iou)))
    found = evaluate_arrays(prediction, truth)
    assert found.matched == good[rows, columns].sum()
    assert found.mean_matched_iou * max(1, found.matched) == pytest.approx((good * iou)[rows, columns].sum())


@given(seed=seeds)
def test_exchange_of_prediction_and_truth(seed):
    prediction, truth = noisy(seed)
    a, b = evaluate_arrays(prediction, truth), evaluate_arrays(truth, prediction)
    assert (a.f1, a.f1_by_threshold, a.panoptic_quality) == (b.f1, b.f1_by_threshold, b.panoptic_quality)
    assert (a.precision, a.recall, a.splits, a.merges) == (b.recall, b.precision, b.merges, b.splits)
    assert (a.missed, a.spurious) == (b.spurious, b.missed)


@given(seed=seeds)
def test_labels_are_names_only(seed):
    prediction, truth = noisy(seed)
    names = np.concatenate([[0], 1 + np.random.default_rng(seed).choice(2**31, 9, replace=False)])
    assert evaluate_arrays(names[prediction], truth) == evaluate_arrays(prediction, truth)
    assert evaluate_arrays(prediction, names[truth]) == evaluate_arrays(prediction, truth)


@given(seed=seeds)
def test_identities(seed):
    found = evaluate_arrays(*noisy(seed))
    assert found.matched + found.missed == found.true
    assert found.matched + found.spurious == found.predicted
    falling = list(found.f1_by_threshold.values())
    assert falling == sorted(falling, reverse=True)
    assert found.f1 == falling[0]
    assert falling[-1] - 1e-12 <= found.f1_mean <= falling[0] + 1e-12
    if found.matched:
        assert 0.5 < found.mean_matched_iou <= 1
        assert found.f1 == pytest.approx(2 / (1 / found.precision + 1 / found.recall))


@pytest.mark.parametrize("block", [None, (4, 4, 4), (3, 12, 5)])
def test_blocks_on_a_store(tmp_path, block):
    place = Location.parse(tmp_path)
    truth = voronoi((10, 12, 14), 9, seed=1)
    prediction = voronoi((10, 12, 14), 10, seed=1)
    stored(place / "prediction.zarr", prediction)
    stored(place / "truth.zarr", truth.astype(np.uint16))
    options = {"work": place / "work"} if block else {}
    found = evaluate(
        place / "prediction.zarr",
        place / "truth.zarr",
        block_shape=block,
        context=Context(Runner(workers=2)),
        **options,
    )
    assert found == evaluate_arrays(prediction, truth)


@pytest.fixture
def compared(tmp_path):
    """A call that compares the same two images every time, and the blocks that it counts."""
    place, seen, work = Location.parse(tmp_path), [], Comparison.work
    stored(place / "prediction.zarr", voronoi((10, 12, 14), 10, seed=1))
    stored(place / "truth.zarr", voronoi((10, 12, 14), 9, seed=1))

    def counted(self, block, site):
        seen.append(block.index)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return work(self, block, site)

    def compare():
        options = {"work": place / "work", "block_shape": (5, 6, 14)}
        return evaluate(place / "prediction.zarr", place / "truth.zarr", **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Comparison, "work", counted)
        yield compare, seen


def test_a_killed_comparison_goes_on_at_its_finished_blocks_and_is_made_once(compared, monkeypatch):
    compare, seen = compared
    with pytest.raises(KeyboardInterrupt):
        compare()
    found = compare()
    assert seen == [0, 1, 2, 2, 3]
    assert compare() == found
    assert len(seen) == 5
    monkeypatch.setattr(evaluating, "VERSION", evaluating.VERSION + 1)
    assert compare() == found
    assert seen[5:] == [0, 1, 2, 3]


def test_what_may_hold_no_particles_is_noted_every_time(tmp_path):
    place, notes = Location.parse(tmp_path), []
    mask = stored(place / "mask.zarr", line((1, 3), (0, 9)).astype(np.uint8))
    progress = Progress(lambda event: notes.append(event.text) if isinstance(event, Noted) else None)
    for _ in range(2):
        evaluate(mask, mask, work=place / "work", context=Context(progress=progress))
    assert notes == ["prediction: one label only, 1: a mask?", "truth: one label only, 1: a mask?"] * 2


def test_shapes_differ(tmp_path):
    place = Location.parse(tmp_path)
    a = stored(place / "a.zarr", np.zeros((4, 4, 4), np.uint8))
    b = stored(place / "b.zarr", np.zeros((4, 4, 5), np.uint8))
    with pytest.raises(InputError, match="shapes must be the same"):
        evaluate(a, b)


@settings(max_examples=5)
@given(seed=seeds)
def test_json(seed):
    found = evaluate_arrays(*noisy(seed))
    written = json.loads(found.model_dump_json())
    assert written["f1_mean"] == found.f1_mean
    assert written["panoptic_quality"] == found.panoptic_quality
    fields = {name: value for name, value in written.items() if name in Evaluation.model_fields}
    assert Evaluation.model_validate(fields) == found
