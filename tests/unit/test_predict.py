"""Prediction in blocks against one loop over all patches of a small volume in memory, with a real small network."""

import re
import threading
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ps3d_core.engine.blocks import Runner
from ps3d_core.errors import InputError, Ps3dError
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Box, turned
from ps3d_core.geometry.resample import resample_image
from ps3d_core.inference import predict as predict_module
from ps3d_core.inference.aggregate import RollingAccumulator
from ps3d_core.inference.forward import PatchEvaluator
from ps3d_core.inference.plan import plan_prediction, walk_axis
from ps3d_core.inference.predict import Prediction, predict
from ps3d_core.inference.sample import NetworkView, sample_blocks
from ps3d_core.inference.weights import gaussian_weights
from ps3d_core.network.bundle import ModelFacts, load_bundle, save_bundle
from ps3d_core.network.computation import Computation
from ps3d_core.network.ensemble import Predictor
from ps3d_core.network.intensity import Intensity
from ps3d_core.network.normalisation import PerScan
from ps3d_core.quality import PAIRS, PLAIN, REFERENCE, Quality
from ps3d_core.store import lease
from ps3d_core.store.arrays import create_array, open_array, read_box, write_box
from ps3d_core.store.lease import LeaseLostError, sole_run
from ps3d_core.store.location import Location
from tests.tiny_network import TINY
from tests.unit.test_lease import held_by, until
from tests.unit.test_openvino import needs_openvino

PATCH = (16, 16, 16)
# Networks this small lose more to hand-overs between threads than they win.
torch.set_num_threads(1)

INTENSITY = Intensity(100.0, 50.0)
ONCE = replace(REFERENCE, mirrorings=PLAIN)
WIDE = Quality(stride=0.7, sigma=0.3, mirrorings=PLAIN)
TORCH, OPENVINO = Computation(engine="torch"), Computation(engine="openvino")

by_every_engine = pytest.mark.parametrize(
    "computation", [TORCH, pytest.param(OPENVINO, marks=needs_openvino)], ids=lambda computation: computation.engine
)


def row_records(prediction):
    return [record for block in prediction.plan.blocks for record in prediction.row_ledger(block).records().values()]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    return save_bundle(
        Location.parse(tmp_path_factory.mktemp("model")),
        {0: TINY.build(), 1: TINY.build()},
        ModelFacts(
            name="tiny",
            architecture=TINY,
            patch_size=PATCH,
            target_particle_size=10,
            normalisation=PerScan(),
            border_thickness=1,
        ),
    )


@pytest.fixture
def make(bundle, tmp_path):
    """A prediction of a random scan, in blocks of `block` voxels."""

    def build(scan_shape, network_shape, block=None, constant=0, patch=PATCH, quality=REFERENCE, **options):
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, scan_shape).astype(np.uint8)
        image[:, :, :constant] = 7
        place = Location.parse(tmp_path)
        if not (place / "image.zarr").exists():
            array = create_array(place / "image.zarr", scan_shape, "uint8")
            write_box(array, Box.of(scan_shape), image)
        plan = plan_prediction(network_shape, patch, quality=quality, memory_bytes=2**32)
        if block:
            plan = replace(plan, blocks=BlockGrid(network_shape, block))
        name = "x".join(map(str, plan.blocks.block_shape))
        prediction = Prediction(
            image=place / "image.zarr",
            output=place / f"bc-{name}.zarr",
            certainty=place / f"certainty-{name}.zarr",
            work=place / f"work-{name}",
            model=str(bundle.location),
            model_digest=bundle.info.digest,
            plan=plan,
            intensity=INTENSITY,
            fingerprint="f",
            **options,
        )
        return image, prediction

    return build


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Rows of shards of 16 slices, so that small volumes have several."""
    shards = lambda shape: tuple(min(16, n) for n in shape)  # noqa: E731
    monkeypatch.setattr(predict_module, "border_core_shards", shards)
    monkeypatch.setattr(predict_module, "border_core_chunks", shards)


def direct(image, prediction, computation=TORCH):
    """The definition: every patch once, weighted sum over the whole volume, arg-max, and its share of the sum.

    Sums of single-precision numbers depend on their order, so resampling and adding follow the walk.
    """
    bundle = load_bundle(prediction.model)
    mirrorings = prediction.plan.quality.mirrorings
    predictor = Predictor(bundle.networks(torch.device("cpu")), mirrorings, computation=computation)
    shape = prediction.plan.patches.shape
    axis = walk_axis(shape)
    resampled = resample_image(image.swapaxes(0, axis), turned(shape, axis)).swapaxes(0, axis)
    values = INTENSITY.normalise(resampled)
    grid = prediction.plan.patches
    patch = grid.patch
    before = [grid.padding_before(a) for a in range(3)]
    pads = [(b, p - n - b) for b, p, n in zip(before, grid.padded_shape, shape, strict=True)]
    values = np.pad(values, pads, mode="reflect")
    sums = np.zeros((3, *grid.padded_shape), np.float32)
    weights = gaussian_weights(patch, prediction.plan.quality.sigma)
    for z, y, x in sorted(product(*grid.origins), key=lambda origin: turned(origin, axis)):
        where = np.s_[z : z + patch[0], y : y + patch[1], x : x + patch[2]]
        answer = predictor(torch.from_numpy(values[where].copy())[None, None])[0].numpy()
        sums[(slice(None), *where)] += answer * weights
    certainty = (sums.max(axis=0) * np.float32(255) / sums.sum(axis=0)).round()
    known = np.stack([sums.argmax(axis=0), certainty]).astype(np.uint8)
    return known[(slice(None), *(slice(b, b + n) for b, n in zip(before, shape, strict=True)))]


def result(prediction):
    """Labels and their certainty, (2, z, y, x)."""
    arrays = map(open_array, (prediction.output, prediction.certainty))
    return np.stack([read_box(array, Box.of(array.shape)) for array in arrays])


@pytest.mark.parametrize(
    ("scan_shape", "network_shape"),
    [
        ((30, 20, 25), (30, 20, 25)),
        ((20, 16, 21), (33, 25, 28)),
        ((5, 40, 9), (7, 50, 16)),
        ((30, 1, 20), (33, 1, 21)),
        ((20, 31, 50), (18, 25, 41)),
    ],
)
@pytest.mark.parametrize("quality", [ONCE, WIDE])
def test_equals_the_definition(make, scan_shape, network_shape, quality):
    image, prediction = make(scan_shape, network_shape, quality=quality)
    record = predict(prediction)
    labels, certainty = result(prediction)
    assert len(np.unique(labels)) > 1
    assert certainty.min() >= 255 // 3
    assert len(np.unique(certainty)) > 10
    assert (result(prediction) == direct(image, prediction)).all()
    assert record.patches_evaluated == record.patches_unique == len(prediction.plan.patches)


@pytest.mark.parametrize("longest", [0, 1, 2])
def test_patches_may_be_of_any_shape(make, longest):
    shapes = turned((40, 20, 30), longest), turned((50, 20, 30), longest)
    image, prediction = make(*shapes, patch=(8, 24, 16), quality=ONCE)
    predict(prediction)
    assert (result(prediction) == direct(image, prediction)).all()


@by_every_engine
def test_mirroring_and_folds(make, computation):
    image, prediction = make((20, 20, 20), (24, 20, 20), computation=computation)
    predict(prediction)
    assert (result(prediction) == direct(image, prediction, computation)).all()
    _, one_fold = make((20, 20, 20), (24, 20, 20), block=(32, 20, 20), computation=computation, folds=(1,))
    predict(one_fold)
    assert (result(one_fold) != result(prediction)).any()


@pytest.mark.parametrize("longest", [0, 1, 2])
@by_every_engine
def test_any_block_size_gives_the_same_bytes(make, longest, computation):
    options = {"quality": WIDE if longest == 1 else ONCE, "computation": computation}
    shapes = turned((35, 30, 20), longest), turned((50, 33, 20), longest)
    _, whole = make(*shapes, **options)
    assert whole.plan.walk_axis == longest
    predict(whole)
    expected = result(whole).tobytes()
    for block in [(16, 16, 16), (32, 48, 16), (48, 16, 32), (16, 48, 32), (48, 48, 32)]:
        _, cut = make(*shapes, block=turned(block, longest), threads=2, **options)
        record = predict(cut)
        assert result(cut).tobytes() == expected, block
        assert record.patches_evaluated == cut.plan.evaluated


def test_patches_are_mirrored_as_the_quality_says(make):
    image, prediction = make((20, 20, 20), (24, 20, 20), quality=replace(WIDE, mirrorings=PAIRS))
    predict(prediction)
    assert (result(prediction) == direct(image, prediction)).all()


def test_processes_give_the_same_bytes(make):
    """With OpenVINO, whole runs show it."""
    options = {"quality": ONCE, "computation": TORCH}
    _, whole = make((20, 20, 40), (20, 20, 40), **options)
    alone = predict(whole)
    _, cut = make((20, 20, 40), (20, 20, 40), (32, 32, 16), runner=Runner(kind="processes", workers=2), **options)
    assert predict(cut).computed_by == alone.computed_by == TORCH.text_here
    assert result(cut).tobytes() == result(whole).tobytes()


def test_constant_patches_are_evaluated_once(make):
    image, prediction = make((32, 32, 64), (32, 32, 64), constant=48, quality=ONCE)
    record = predict(prediction)
    # Origins 0, 8, 16, 24, 32 along x see only the constant part; 3 x 3 of them per x.
    assert record.patches_constant == 5 * 9 - 1
    assert (result(prediction) == direct(image, prediction)).all()


def test_surely_empty_patches_are_background_in_any_block(make):
    _, whole = make((32, 32, 64), (32, 32, 64), constant=48, quality=ONCE, skip_empty=True)
    record = predict(whole)
    assert record.patches_empty == 5 * 9
    labels, certainty = result(whole)
    assert not labels[:, :, :40].any()
    assert (certainty[:, :, :40] == 255).all()
    assert labels[:, :, 48:].any()
    _, cut = make((32, 32, 64), (32, 32, 64), (16, 32, 32), constant=48, quality=ONCE, skip_empty=True)
    predict(cut)
    assert result(cut).tobytes() == result(whole).tobytes()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 4])
@by_every_engine
def test_patches_come_back_in_order_with_any_threads(bundle, threads, batch, computation):
    networks = bundle.networks(torch.device("cpu"))
    predictor = Predictor(networks, PLAIN, computation=computation)
    patches = list(torch.randn(11, *PATCH)) + [torch.zeros(PATCH)] * 3
    rows = [patches[:6], patches[6:]]
    with PatchEvaluator(predictor, threads=1, batch_size=batch) as alone:
        expected = [answer for row in rows for answer in alone([row])]
    predictor = Predictor(networks, PLAIN, computation=computation, threads=threads)
    with PatchEvaluator(predictor, threads=threads, batch_size=batch) as evaluate:
        answers = list(evaluate(map(iter, rows)))
    assert len(answers) == 14
    assert all(torch.equal(a, b) for a, b in zip(answers, expected, strict=True))
    assert (evaluate.patches, evaluate.constant) == (14, 2)
    assert evaluate.forward_seconds > 0


def test_a_row_is_begun_before_the_one_before_has_ended(bundle):
    begun = []

    def rows():
        for row in range(3):
            begun.append(row)
            yield iter(torch.randn(2, *PATCH))

    with PatchEvaluator(Predictor(bundle.networks(torch.device("cpu")), PLAIN), threads=1) as evaluate:
        answers = evaluate(rows())
        assert [(next(answers).shape, len(begun))[1] for _ in range(6)] == [1, 2, 2, 3, 3, 3]


def test_a_second_call_evaluates_nothing(make):
    _, prediction = make((20, 20, 20), (20, 20, 20), quality=ONCE)
    predict(prediction)
    before = result(prediction)
    assert predict(prediction).patches_evaluated == 0
    assert (result(prediction) == before).all()


def test_a_lost_output_is_made_again(make):
    _, prediction = make((20, 20, 20), (20, 20, 20), quality=ONCE)
    predict(prediction)
    before = result(prediction)
    prediction.output.remove_tree()
    assert predict(prediction).patches_evaluated == len(prediction.plan.patches)
    assert (result(prediction) == before).all()


@pytest.mark.parametrize("crash_after", [1, 9, 20])
@pytest.mark.parametrize("longest", [0, 1, 2])
def test_resumes_inside_a_block_with_the_same_bytes(make, monkeypatch, crash_after, longest):
    shape = turned((64, 20, 20), longest)
    _, undisturbed = make(shape, shape, quality=ONCE)
    predict(undisturbed)
    expected = result(undisturbed)
    total = len(undisturbed.plan.patches)

    _, prediction = make(shape, shape, block=turned((80, 20, 20), longest), quality=ONCE)
    real = PatchEvaluator._forward
    calls = 0

    def failing(self, patches):
        nonlocal calls
        calls += 1
        if calls > crash_after:
            raise OSError("pulled the plug")
        return real(self, patches)

    with monkeypatch.context() as patched:
        patched.setattr(PatchEvaluator, "_forward", failing)
        with pytest.raises(OSError, match="pulled the plug"):
            predict(prediction)
    rows_before = len(row_records(prediction))
    record = predict(prediction)
    assert result(prediction).tobytes() == expected.tobytes()
    # Origins 0, 8, ..., 48 along the walk; a row of 16 slices is reached by the patches from one stride below it.
    rows_of_patches = 7 - max(0, 2 * rows_before - 1)
    assert record.patches_evaluated == rows_of_patches * total // 7
    assert rows_before == {1: 0, 9: 1, 20: 2}[crash_after]


def test_a_run_that_lost_its_place_stops_inside_a_block(make, monkeypatch, tmp_path):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    _, prediction = make((64, 20, 20), (64, 20, 20), block=(80, 20, 20), quality=ONCE)
    place = Location.parse(tmp_path) / ".lease"
    real = PatchEvaluator._forward

    def overtaken(self, patches):
        if not (place / "2.json").exists():
            held_by(place, number=2)
            until(lambda: not any(thread.name == "lease" for thread in threading.enumerate()))
        return real(self, patches)

    monkeypatch.setattr(PatchEvaluator, "_forward", overtaken)
    with pytest.raises(LeaseLostError, match="another one took over"), sole_run(place, "scan ore"):
        predict(prediction)
    assert not row_records(prediction)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("shape", [(20, 20, 20), (20, 20, 90)])
def test_grey_values_that_no_network_can_use_are_bad_input(make, value, shape):
    _, prediction = make(shape, shape)
    image = np.zeros(shape, np.float32)
    image[17, 3, 4] = value
    write_box(create_array(prediction.image, image.shape, "float32", overwrite=True), Box.of(image.shape), image)
    with pytest.raises(InputError, match=r"image\.zarr, slices \d+ to \d+: grey values that are infinite") as caught:
        predict(prediction)
    first, last = map(int, re.findall(r"slices (\d+) to (\d+)", str(caught.value))[0])
    assert 0 <= first <= 17 <= last < 20


@pytest.mark.parametrize(("mean", "std"), [(1e30, 1.0), (0.0, 1e-30), (0.0, 1e-300)])
def test_a_z_score_of_another_scan_is_bad_input(make, mean, std):
    _, prediction = make((20, 20, 20), (20, 20, 20))
    with pytest.raises(InputError, match=r"standard deviations of .* from a mean of .* give mean and .* as zscore"):
        predict(replace(prediction, intensity=Intensity(mean, std)))


def test_a_model_that_overflows_is_an_error_not_background():
    accumulator = RollingAccumulator(Box.of((4, 4, 4)), torch.ones(4, 4, 4), z=0)
    accumulator.add((0, 0, 0), torch.full((3, 4, 4, 4), torch.nan))
    with pytest.raises(Ps3dError, match="no finite probability"):
        accumulator.advance(4)


def test_an_uncovered_voxel_is_an_error():
    accumulator = RollingAccumulator(Box.of((4, 8, 4)), torch.ones(4, 4, 4), z=0)
    accumulator.add((0, 0, 0), torch.ones((3, 4, 4, 4)))
    with pytest.raises(Ps3dError, match="no finite probability"):
        accumulator.advance(4)


def test_a_model_replaced_after_planning_is_refused(make):
    _, prediction = make((20, 20, 20), (20, 20, 20))
    with pytest.raises(InputError, match="changed since the run was planned"):
        predict(replace(prediction, model_digest="0" * 64))


def test_weights():
    weights = gaussian_weights((8, 48, 16), 1 / 8)
    assert weights.dtype == np.float32
    assert weights.max() == 1
    assert weights.min() > 0
    assert (weights == weights[::-1, ::-1, ::-1]).all()
    ratio = weights[3, 23, 7] / weights[3, 23 + 6, 7]
    assert ratio == pytest.approx(np.exp((5.5**2 - 0.5**2) / (2 * 6**2)), rel=1e-5)


@given(
    shape=st.tuples(*[st.integers(1, 400)] * 3),
    workers=st.integers(1, 4),
    memory=st.integers(2**22, 2**30),
)
def test_plans_fit_their_budget_and_cover_the_volume(shape, workers, memory):
    try:
        plan = plan_prediction(shape, (48, 48, 48), memory_bytes=memory, workers=workers)
    except InputError as error:
        assert "raise memory" in str(error)  # noqa: PT017
        return
    assert plan.memory_bytes * workers <= memory
    assert plan.redundancy >= 1
    assert (plan.redundancy == 1) or len(plan.blocks) > 1
    assert sum(block.core.size for block in plan.blocks) == np.prod(shape)
    assert sum(plan.patches_of(block.core) for block in plan.blocks) == plan.evaluated


def test_one_worker_with_enough_memory_evaluates_every_patch_once():
    plan = plan_prediction((2000, 2000, 2000), (128, 128, 128), memory_bytes=2**36)
    assert len(plan.blocks) == 1
    assert plan.redundancy == 1.0


@pytest.mark.parametrize(
    ("shape", "axis"), [((9, 9, 9), 0), ((10, 14, 14), 0), ((10, 15, 14), 1), ((10, 15, 16), 2), ((1, 2, 2), 1)]
)
def test_walks_go_along_z_unless_another_axis_is_much_longer(shape, axis):
    assert walk_axis(shape) == axis


def test_the_longest_axis_costs_no_memory_whichever_it_is():
    cube = plan_prediction((300, 300, 300), (48, 48, 48), memory_bytes=2**36)
    for axis in range(3):
        beam = plan_prediction(turned((3000, 300, 300), axis), (48, 48, 48), memory_bytes=2**36)
        assert len(beam.blocks) == 1
        assert beam.memory_bytes == cube.memory_bytes


def test_less_memory_means_more_blocks_and_says_what_it_costs():
    roomy = plan_prediction((600, 600, 600), (48, 48, 48), memory_bytes=2**33)
    tight = plan_prediction((600, 600, 600), (48, 48, 48), memory_bytes=2**28)
    assert len(tight.blocks) > len(roomy.blocks) == 1
    assert tight.redundancy > 1
    assert tight.memory_bytes <= 2**28


def test_sampled_blocks_are_the_same_every_time_and_pad_thin_axes(tmp_path):
    array = create_array(Location.parse(tmp_path / "a.zarr"), (5, 40, 40), "uint16")
    write_box(array, Box.of((5, 40, 40)), np.arange(8000, dtype=np.uint16).reshape(5, 40, 40))
    view = NetworkView(array, (5, 40, 40))
    first, second = sample_blocks(view, 50), sample_blocks(view, 50)
    assert first.shape == (50, 16, 16, 16)
    assert np.array_equal(first, second, equal_nan=True)
    assert np.isnan(first[:, 5:]).all()
    assert not np.isnan(first[:, :5]).any()
    assert len({float(block[0, 0, 0]) for block in first}) > 40
