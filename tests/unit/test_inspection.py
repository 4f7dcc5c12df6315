"""Looks at scans: where blocks lie, what is counted in them, which size the network agrees with, faults of scans."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import ps3d_core as ps3d
from ps3d_app.flows.command.command_line import parser_of
from ps3d_app.flows.command.commands import COMMANDS
from ps3d_core.before import look_before, must_look
from ps3d_core.errors import InputError
from ps3d_core.geometry.patches import PatchGrid
from ps3d_core.inspection.blocks import _spread_corners, read_blocks
from ps3d_core.inspection.forecast import Forecast, forecast
from ps3d_core.inspection.inspect import InspectJob, inspect
from ps3d_core.inspection.quality import ScanQuality, scan_quality
from ps3d_core.inspection.record import Inspection
from ps3d_core.inspection.settled import settled_info
from ps3d_core.inspection.sighting import Sighting, _of_sections, _weights, looking
from ps3d_core.inspection.size import SizeFound, Tried, agreed, enough, sizes_to_try, tried
from ps3d_core.inspection.stated import state_found
from ps3d_core.network.bundle import ModelFacts, load_bundle, save_bundle
from ps3d_core.network.computation import Computation
from ps3d_core.network.intensity import Intensity
from ps3d_core.network.normalisation import PerScan
from ps3d_core.params import IngestParams, PredictParams
from ps3d_core.plan import SegmentJob, plan_segmentation
from ps3d_core.scan.ingest import ingest
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from tests.balls import balls
from tests.tiny_network import TINY

BUNDLED = load_bundle().info


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch.manual_seed(0)
    facts = ModelFacts(
        name="tiny",
        architecture=TINY,
        patch_size=(16, 16, 16),
        target_particle_size=8,
        normalisation=PerScan(),
        border_thickness=1,
    )
    return save_bundle(Location.parse(tmp_path_factory.mktemp("model")), {0: TINY.build()}, facts)


def ingested(folder, grey, *, particle_size="auto", particles="bright"):
    dataset = Dataset(Location.parse(folder / "data"))
    params = IngestParams(spacing=0.01, particle_size=particle_size, particles=particles)
    ingest(grey, dataset, "ore", params)
    return dataset


def sighting(voxels, certainty, weight, zoom=1.0, **changed):
    n = len(voxels)
    block = np.zeros((1, 4, 4, 4))
    facts = {
        "zoom": zoom,
        "voxels": np.asarray(voxels, np.int64),
        "diameter": np.cbrt(6 * np.asarray(voxels) / np.pi),
        "certainty": np.broadcast_to(np.asarray(certainty, float), n),
        "weight": np.broadcast_to(np.asarray(weight, float), n),
        "contact": np.zeros(n),
        "blocks": block.astype(np.float32),
        "classes": block.astype(np.uint8),
        "labels": block.astype(np.uint32),
        "places": np.zeros((1, 3), np.int64),
        "intensity": Intensity(0, 1),
    }
    return Sighting(**(facts | changed))


def ball(diameter):
    return round(np.pi / 6 * diameter**3)


# blocks


@pytest.mark.parametrize("shape", [(16, 16, 16), (100, 40, 16), (7, 90, 50)])
def test_every_place_comes_once_and_all_of_them(shape):
    grid = PatchGrid(shape, (16, 16, 16), (16, 16, 16), even=True)
    corners = list(_spread_corners(grid))
    assert len(corners) == len(set(corners)) == len(grid)


def test_few_places_are_spread_over_the_scan():
    corners = _spread_corners(PatchGrid((512, 512, 512), (16, 16, 16), (16, 16, 16), even=True))
    first = np.array([next(corners) for _ in range(16)])
    assert (first.std(axis=0) > 100).all()
    halves = first >= 256
    assert (halves.sum(axis=0) >= 5).all()
    assert (halves.sum(axis=0) <= 11).all()


def test_blocks_are_what_the_network_would_see_there(tmp_path, tiny):
    grey = np.random.default_rng(0).integers(0, 1000, (40, 50, 60)).astype(np.uint16)
    dataset = ingested(tmp_path, grey)
    blocks = read_blocks(dataset.image("ore"), 1.0, tiny, 10)
    assert blocks.grey.shape == (10, 16, 16, 16)
    for place, block in zip(blocks.places, blocks.grey, strict=True):
        z, y, x = place
        assert (block == grey[z : z + 16, y : y + 16, x : x + 16]).all()


def test_a_coarse_look_reads_a_coarse_level(tmp_path, tiny):
    grey = gaussian_filter(np.random.default_rng(0).normal(size=(128, 128, 128)).astype(np.float32), 6)
    dataset = ingested(tmp_path, grey)
    image = dataset.image("ore")
    coarse = read_blocks(image, 0.25, tiny, 4).grey
    (image / "1").remove_tree()  # only level 0 is left
    fine = read_blocks(image, 0.25, tiny, 4).grey
    assert np.corrcoef(coarse.ravel(), fine.ravel())[0, 1] > 0.99


def test_thin_scans_are_filled_up_and_what_is_outside_does_not_count(tmp_path, tiny):
    grey = np.random.default_rng(0).integers(0, 1000, (3, 50, 60)).astype(np.uint16)
    blocks = read_blocks(ingested(tmp_path, grey).image("ore"), 1.0, tiny, 4)
    assert blocks.grey.shape[1] == 4  # twice the downsampling
    assert blocks.inside.shape == (3, 16, 16)


def test_particles_cut_by_a_face_of_their_block_do_not_count_others_for_what_is_cut():
    whole, cut, next_block = (slice(2, 6), slice(2, 6), slice(2, 6)), (slice(0, 5),) * 3, (slice(13, 16),) * 3
    weights = _weights([whole, cut, next_block], (10, 10, 10))
    assert weights[0] == pytest.approx((10 / 5) ** 3)
    assert weights[1] == 0
    assert weights[2] == 0  # along y and x it leaves the block
    # Balls at all places: those that are seen whole stand for all.
    places = np.arange(-4, 10)
    seen = [(slice(max(0, p), min(10, p + 5)),) * 3 for p in places if p + 5 > 0]
    assert _weights(seen, (10, 10, 10)).sum() == pytest.approx(4 * (10 / 4) ** 3)


def test_sections_of_a_thin_scan_say_how_large_particles_are():
    rng, size = np.random.default_rng(0), 20
    z, y, x = np.indices((3, 40, 40))
    labels = np.zeros((200, 3, 40, 40), np.uint32)
    for number, height in enumerate(rng.uniform(-10, 13, 200)):  # of the centre of a ball; each has a block of its own
        labels[number][(z - height) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 < 100] = number + 1
    seen = np.unique(labels[labels > 0])
    assert _of_sections(labels, 200, 0, 20.0)[seen - 1].mean() == pytest.approx(size, rel=0.07)
    turned = np.moveaxis(labels, 1, 3)
    assert (_of_sections(turned, 200, 2, 20.0) == _of_sections(labels, 200, 0, 20.0)).all()
    cut = (slice(0, 3), slice(2, 6), slice(2, 6))
    assert _weights([cut], (3, 10, 10), [0])[0] > 1 > _weights([cut], (3, 10, 10))[0] == 0


# sizes


def test_found_size_is_the_mean_of_whole_particles():
    balls = [ball(20)] * 20 + [ball(30)] * 20
    found = tried(sighting(balls, 0.95, [1.0] * 20 + [2.0] * 20, zoom=0.5), 40, BUNDLED)
    assert found.found == pytest.approx((20 + 2 * 30) / 3 / 0.5, rel=0.01)
    assert (found.whole, found.spread > 0.15) == (40, True)
    assert found.trust > 0.97


def test_uncertain_particles_have_no_say_in_the_size_but_in_the_trust():
    balls = [ball(20)] * 20 + [ball(5)] * 400
    found = tried(sighting(balls, [0.95] * 20 + [0.5] * 400, 1.0), 20, BUNDLED)
    assert found.found == pytest.approx(20, rel=0.01)
    assert found.trust < 0.9


def test_no_size_of_a_few_particles():
    found = tried(sighting([ball(20)] * 5, 0.95, 1.0), 20, BUNDLED)
    assert (found.found, found.agreement) == (None, 0)


def test_the_size_that_agrees_with_itself_wins():
    def at(size, found, trust):
        return Tried(size=size, found=found, bulk=found, whole=50, trust=trust, spread=0.2)

    # Seen too large, texture becomes particles; seen too small, particles run together, and trust goes.
    known = [at(60, 33, 0.75), at(40, 26, 0.96), at(27, 22, 0.99), at(20, 19, 0.99), at(13, 9, 0.9), at(9, 3, 0.8)]
    size = agreed(known)
    assert size.sure
    assert 16 < size.low < 20 < size.size < 23 < size.high < 28
    assert agreed([]) is None
    assert agreed([at(20, 19, 0.9).model_copy(update={"found": None})]) is None
    faint = agreed([at(20, 19, 0.7)])
    assert not faint.sure


def test_sizes_go_from_coarse_to_fine_and_stop_when_they_are_too_fine():
    sizes = sizes_to_try(1000, 1000, 20)
    assert sizes[0] > 300 > 5 > sizes[-1] >= 4
    assert sizes == sorted(sizes, reverse=True)
    assert sizes_to_try(16, 16, 20)
    assert max(sizes_to_try(1000, 10, 20)) <= 100
    good = Tried(size=20, found=19, bulk=19, whole=50, trust=0.99, spread=0.2)
    finer = [good.model_copy(update={"size": size}) for size in (9, 7)]
    assert not enough([good])
    assert not enough([good, finer[0]])
    assert enough([good, *finer])
    assert not enough(finer)


# faults of scans


def packed(rng, side=96, radius=6):
    """A volume of balls, 1 in 0."""
    z, y, x = np.indices((side,) * 3)
    volume = np.zeros((side,) * 3, np.float32)
    for centre in rng.uniform(radius, side - radius, (120, 3)):
        volume[(z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius**2] = 1
    return volume


@pytest.fixture(scope="module")
def volume():
    return packed(np.random.default_rng(3))


def quality_of(folder, grey, volume, **changed):
    image = ingested(folder, grey.astype(np.float32)).image("ore")
    blocks = grey[None].astype(np.float32)
    facts = {"blocks": (blocks - 0.5) * 2, "classes": volume[None].astype(np.uint8), "intensity": Intensity(0.5, 0.5)}
    return scan_quality(image, sighting([ball(12)] * 20, 0.95, 1.0, **(facts | changed)), BUNDLED)


@pytest.mark.parametrize("noise", [0.1, 0.4])
def test_contrast_is_the_step_over_the_noise(tmp_path, volume, noise):
    grey = volume + np.random.default_rng(0).normal(0, noise, volume.shape)
    quality = quality_of(tmp_path, grey, volume)
    assert quality.contrast == pytest.approx(1 / noise, rel=0.05)
    assert (quality.repeated, quality.jumps) == ((), ())
    assert abs(quality.drift or 0) < 0.1
    assert quality.rings < 0.06


@pytest.mark.parametrize("blur", [0.8, 1.5])
def test_blur_of_edges(tmp_path, volume, blur):
    assert quality_of(tmp_path, gaussian_filter(volume, blur), volume).blur == pytest.approx(blur, rel=0.25)


def test_slices_that_repeat_or_are_missing_are_told(tmp_path, volume):
    smooth = gaussian_filter(volume, 2) + np.random.default_rng(0).normal(0, 0.001, volume.shape)
    repeated = smooth.copy()
    repeated[40] = repeated[39]
    missing = np.concatenate([smooth[:50], smooth[56:]])
    assert quality_of(tmp_path / "a", repeated, volume).repeated == (40,)
    assert quality_of(tmp_path / "b", missing, volume[:-6]).jumps == (50,)


def test_saturated_voxels_rings_and_drift(tmp_path, volume):
    noisy = volume + np.random.default_rng(0).normal(0, 0.1, volume.shape)
    assert quality_of(tmp_path / "a", np.clip(noisy, 0, 1), volume).saturated > 0.4
    assert quality_of(tmp_path / "b", noisy, volume).saturated == 0
    y, x = np.indices(volume.shape[1:])
    radius = np.hypot(y - 48, x - 48).astype(int)
    rings = np.random.default_rng(1).normal(0, 0.3, 100)[radius]
    assert quality_of(tmp_path / "c", noisy + rings, volume).rings == pytest.approx(0.3, rel=0.4)
    # Three blocks at three heights, whose surroundings grow brighter by half of the contrast.
    ramp = np.stack([noisy[:32] + 0.5 * t for t in (0, 0.5, 1)])
    places = np.array([[0, 0, 0], [32, 0, 0], [64, 0, 0]])
    classes = np.broadcast_to(volume[:32].astype(np.uint8), ramp.shape)
    found = quality_of(tmp_path / "d", noisy, volume, blocks=(ramp - 0.5) * 2, classes=classes, places=places)
    assert found.drift == pytest.approx(0.5 * 96 / 64, rel=0.1)


# what is said


def looked(**changed):
    one = Tried(size=20, found=20, bulk=20, whole=50, trust=0.98, spread=0.2)
    facts = {
        "scan": "ore",
        "spacing": 0.01,
        "patches": 100,
        "seconds_per_patch": 0.1,
        "stated_mm": 0.2,
        "stated_particles": "bright",
        "model": "m",
        "model_digest": "0" * 64,
        "seen_by": "x",
        "particles": "bright",
        "size": SizeFound(size=20, low=17, high=23, sure=True, wide=False, tried=(one,)),
        "surroundings": None,
        "forecast": Forecast(
            trust=0.98,
            right=0.97,
            f1=0.94,
            f1_interval=(0.89, 0.99),
            fill=0.4,
            contact=0.1,
            particles=50,
            strange=(),
        ),
        "quality": ScanQuality(
            contrast=4.0,
            blur=1.0,
            saturated=0.0,
            drift=0.0,
            rings=0.01,
            repeated=(),
            jumps=(),
            smallest=6.0,
            below=0.01,
        ),
        "seconds": 1.0,
    }
    return Inspection(**(facts | changed))


@pytest.mark.parametrize(
    ("changed", "advice", "problem"),
    [
        ({}, "go on", None),
        ({"stated_mm": 0.25}, "go on", None),
        ({"stated_mm": None}, "go on", None),
        ({"stated_mm": 0.1}, "change this", "the particles measure 0.2 mm on average (0.17 to 0.23), not the 0.1 mm"),
        ({"particles": "dark"}, "change this", "the particles are darker than what is around them"),
        ({"particles": "dark", "stated_particles": "auto"}, "go on", None),
        ({"size": None}, "does not understand", "nothing like particles was found at any size"),
    ],
)
def test_what_to_do_in_a_word(changed, advice, problem):
    seen = looked(**changed)
    assert seen.advice == advice
    assert [problem] == [None] if problem is None else any(each.startswith(problem) for each in seen.problems)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"contrast": 0.5}, "particles differ from what is around them by 0.5 standard deviations"),
        ({"repeated": (3, 4)}, "slices repeat the one before: 3, 4"),
        ({"jumps": tuple(range(9))}, "slices may be missing before 0, 1, 2, 3, 4 and 4 more"),
        ({"saturated": 0.5}, "50% of the voxels are at the least or the greatest grey value"),
        ({"drift": -0.8}, "grey values drift by 80% of the contrast"),
        ({"rings": 0.4}, "rings with a standard deviation of 40% of the contrast"),
        ({"below": 0.5}, "50% of the particles are smaller than 6.0 voxels"),
    ],
)
def test_faults_of_a_scan_are_said(changed, problem):
    seen = looked(quality=looked().quality.model_copy(update=changed))
    assert any(each.startswith(problem) for each in seen.problems)
    assert seen.advice == ("does not understand" if "contrast" in changed else "change this")


def test_what_prediction_costs_at_each_quality():
    assert looked().seconds_at("reference") == pytest.approx(100 * 64 * 0.1)
    assert looked().seconds_at("fast") == pytest.approx(100 / 0.75**3 * 0.1)


def test_pieces_of_strands_and_cells_of_foams_are_no_particles():
    def seen(contact, fill, *, dark=False):
        classes = (np.arange(1000).reshape(1, 10, 10, 10) < 1000 * fill).astype(np.uint8)
        strange = sighting([ball(12)] * 40, 0.95, 1.0, contact=np.full(40, contact), classes=classes)
        return bool(forecast(strange, BUNDLED, dark=dark).strange)

    assert not seen(0.26, 0.6)
    assert not seen(0.1, 0.1)
    assert not seen(0.26, 0.6, dark=True)
    assert seen(0.4, 0.08)
    assert seen(0.0, 0.6, dark=True)
    assert not seen(0.0, 0.3, dark=True)


# what is to be found


def test_a_scan_without_a_size_asks_for_a_look(tmp_path, tiny):
    dataset = ingested(tmp_path, np.random.default_rng(0).integers(0, 1000, (32, 32, 32)).astype(np.uint16))
    assert dataset.scan_info("ore").particle_size == "auto"
    job = SegmentJob(dataset, "ore", Location.parse(tmp_path / "out"), str(tiny.location))
    with pytest.raises(InputError, match="look first, with ps3d inspect"):
        plan_segmentation(job)
    with pytest.raises(InputError, match="it has not been found yet"):
        _ = dataset.scan_info("ore").particle_size_mm
    assert must_look(job)
    seen = look_before(job)  # an untrained network agrees with nothing
    assert not (seen.size and seen.size.sure)
    with pytest.raises(InputError, match="particle size auto"):
        plan_segmentation(job)
    with pytest.raises(InputError, match="not sure of the particle size"):
        state_found(dataset, seen)


def test_what_is_stated_needs_no_look(tmp_path, tiny):
    grey = np.random.default_rng(0).integers(0, 1000, (32, 32, 32)).astype(np.uint16)
    dataset = ingested(tmp_path, grey, particle_size=0.1, particles="dark")
    job = SegmentJob(dataset, "ore", Location.parse(tmp_path / "out"), str(tiny.location))
    assert not must_look(job)
    assert plan_segmentation(job).info.is_dark
    bright = settled_info(dataset, "ore", PredictParams(particles="bright", particle_size=0.2), tiny)
    assert (bright.is_dark, bright.particle_size_mm) == (False, 0.2)


def test_what_was_seen_is_kept_until_the_scan_changes(tmp_path, tiny):
    rng = np.random.default_rng(0)
    dataset = ingested(tmp_path, rng.integers(0, 1000, (32, 32, 32)).astype(np.uint16), particle_size=0.1)
    job = InspectJob(dataset, "ore", str(tiny.location), PredictParams(engine="torch"))
    first = inspect(job)
    assert inspect(job) == first  # with its seconds
    assert (dataset.inspections("ore") / f"{first.model_key}.html").read_text().startswith("<!doctype html>")
    dataset.add_scan("ore", 0.01, 0.2)
    assert inspect(job).stated_mm == 0.2
    params = IngestParams(spacing=0.01, particle_size=0.1, overwrite=True)
    ingest(rng.integers(0, 1000, (32, 32, 32)).astype(np.uint16), dataset, "ore", params)
    assert inspect(job).seen_by != first.seen_by


def test_a_look_in_one_call(tiny):
    grey = np.random.default_rng(0).integers(0, 1000, (32, 32, 32)).astype(np.uint16)
    look = ps3d.inspect(grey, spacing=0.01, particle_size=0.1, model=str(tiny.location))
    assert (look.found.stated_mm, look.found.spacing) == (0.1, 0.01)
    assert look.page.html.startswith("<!doctype html>")
    assert look.found.sentence in repr(look)


def test_blocks_that_are_surely_empty_show_nothing(tmp_path, tiny, monkeypatch):
    every = lambda patches: torch.ones(len(patches), dtype=torch.bool)  # noqa: E731
    monkeypatch.setattr("ps3d_core.inspection.sighting.surely_empty", every)
    grey = np.random.default_rng(0).integers(0, 1000, (32, 32, 32)).astype(np.uint16)
    seen = inspect(InspectJob(ingested(tmp_path, grey), "ore", str(tiny.location), PredictParams(engine="torch")))
    assert (seen.size, seen.forecast.particles, seen.advice) == (None, 0, "does not understand")


@pytest.mark.parametrize("polarity", ["bright", "dark", "auto"])
@pytest.mark.parametrize("size", ["auto", "0.1", "100um"])
def test_commands_take_what_is_to_be_found(polarity, size):
    for name in ("ingest", "segment"):
        given = ["x", "y", "--name", "z", "--particle-size", size, "--particles", polarity]
        args = parser_of(f"ps3d {name}", COMMANDS[name]).parse_args(given)
        assert args.particles == polarity
        assert args.particle_size == ("auto" if size == "auto" else pytest.approx(0.1))


def test_only_what_is_usual_is_left_out_of_metadata(tmp_path):
    dataset = Dataset(Location.parse(tmp_path))
    dataset.add_scan("a", 0.01, 0.2)
    dataset.add_scan("b", 0.01, "auto", particles="dark")
    assert dataset.metadata.read_json() == {
        "a": {"spacing": 0.01, "particle_size": 0.2},
        "b": {"spacing": 0.01, "particle_size": "auto", "particles": "dark"},
    }


# the bundled model


def test_size_and_polarity_of_dark_balls_are_found(tmp_path):
    grey = balls(40, 5)
    dataset = ingested(tmp_path, grey.max() - grey + grey.min(), particle_size=0.3)  # they measure 0.1
    seen = inspect(InspectJob(dataset, "ore"))
    assert seen.particles == "dark"
    assert seen.size_mm == pytest.approx(0.1, rel=0.15)
    assert seen.size.sure
    assert seen.advice == "change this"
    assert "the particles are darker than what is around them" in seen.problems[0]
    assert "not the 0.3 mm that were stated" in seen.problems[1]
    state_found(dataset, seen)
    assert dataset.scan_info("ore").is_dark
    assert inspect(InspectJob(dataset, "ore")).advice == "go on"
    auto = settled_info(dataset, "ore", PredictParams(particle_size="auto", particles="auto"), load_bundle())
    assert auto.particle_size_mm == pytest.approx(seen.size_mm, rel=1e-3)


def test_what_is_seen_does_not_depend_on_threads(tmp_path):
    image, bundle = ingested(tmp_path, balls(40, 5)).image("ore"), load_bundle()
    blocks, seen = read_blocks(image, 2, bundle, 4), []
    for threads in (1, 3):
        with looking(bundle, Computation(engine="torch"), threads) as looker:
            seen.append(looker.sight(blocks, 2, dark=False, count=4))
    for name in ("voxels", "certainty", "weight", "contact", "classes", "labels"):
        assert (getattr(seen[0], name) == getattr(seen[1], name)).all()
    assert len(seen[0].voxels) > 10
    # Labels are those of the classes, and every block has its own.
    owners = [set(np.unique(block)) - {0} for block in seen[0].labels]
    assert not set.intersection(*owners)
    assert ((seen[0].labels > 0) <= (seen[0].classes > 0)).all()
