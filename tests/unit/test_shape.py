"""Shapes with known answers, and scikit-image as a second opinion."""

import numpy as np
import pytest
from labelled import ellipsoid, rotation, sums_of, voronoi
from skimage.measure import regionprops

from ps3d_core.particles.shape import covariances, particle_columns, principal_axes
from ps3d_core.particles.sums import LabelSums
from ps3d_core.particles.surface import intercept_weights, surface_area

SPACING = 0.5


def columns_of(labels, image=None, spacing=SPACING):
    return particle_columns(sums_of(labels, image), labels.shape, spacing, grey=image is not None)


def axes_of(columns):
    return [float(columns[f"axis_{name}_mm"][0]) for name in ("long", "intermediate", "short")]


def test_box():
    labels = np.zeros((9, 12, 20), np.uint32)
    labels[2:6, 3:9, 4:16] = 5
    image = np.full(labels.shape, 300, np.uint16)
    columns = columns_of(labels, image)
    assert columns["label"].tolist() == [5]
    assert columns["voxels"].tolist() == [4 * 6 * 12]
    assert columns["volume_mm3"][0] == 4 * 6 * 12 / 8
    assert [columns[f"centroid_{a}_mm"][0] for a in "zyx"] == [3.5 * SPACING, 5.5 * SPACING, 9.5 * SPACING]
    assert [columns[f"bbox_{a}_start"][0] for a in "zyx"] == [2, 3, 4]
    assert [columns[f"bbox_{a}_stop"][0] for a in "zyx"] == [6, 9, 16]
    # A solid box of side s has variance s^2 / 12 along it.
    assert axes_of(columns) == pytest.approx([2 * SPACING * s * np.sqrt(5 / 12) for s in (12, 6, 4)])
    assert columns["elongation"][0] == pytest.approx(0.5)
    assert columns["flatness"][0] == pytest.approx(4 / 6)
    assert columns["touches_border"].tolist() == [False]
    grey = [columns[f"grey_{name}"][0] for name in ("mean", "std", "min", "max")]
    assert grey == [300, 0, 300, 300]


def test_one_voxel_is_a_cube():
    labels = np.zeros((3, 3, 3), np.uint32)
    labels[1, 1, 1] = 1
    columns = columns_of(labels, spacing=1.0)
    assert axes_of(columns) == pytest.approx([2 * np.sqrt(5 / 12)] * 3)
    assert columns["elongation"][0] == columns["flatness"][0] == pytest.approx(1)
    assert columns["sphericity"][0] == 1


@pytest.mark.parametrize(("face", "index"), [(face, i) for face in (0, -1) for i in range(3)])
def test_border(face, index):
    labels = np.zeros((5, 6, 7), np.uint32)
    labels[2, 2, 2] = 1
    where = [3, 3, 3]
    where[index] = face
    labels[tuple(where)] = 2
    assert columns_of(labels)["touches_border"].tolist() == [False, True]


def test_ball():
    radius = 12
    columns = columns_of(ellipsoid((radius,) * 3), spacing=1.0)
    assert columns["diameter_mm"][0] == pytest.approx(2 * radius, rel=0.01)
    assert axes_of(columns) == pytest.approx([2 * radius] * 3, rel=0.01)
    assert columns["sphericity"][0] == pytest.approx(1, abs=0.02)
    assert columns["surface_area_mm2"][0] == pytest.approx(4 * np.pi * radius**2, rel=0.02)


@pytest.mark.parametrize(("radius", "mean", "low", "high"), [(3, -0.019, -0.06, 0.02), (10, -0.002, -0.02, 0.01)])
def test_surface_of_balls_anywhere_between_voxels(radius, mean, low, high):
    """What the README says of the error."""
    rng, n, errors = np.random.default_rng(0), 2 * radius + 6, []
    points = np.indices((n, n, n))
    for _ in range(60):
        centre = radius + 2 + rng.random(3)
        ball = ((points - centre[:, None, None, None]) ** 2).sum(axis=0) <= radius**2
        errors.append(surface_area(sums_of(ball).intercepts)[0] / (4 * np.pi * radius**2) - 1)
    assert np.mean(errors) == pytest.approx(mean, abs=0.005)
    assert low < min(errors) < max(errors) < high


@pytest.mark.parametrize("seed", range(4))
def test_rotated_ellipsoid(seed):
    semi = (6.0, 9.0, 15.0)
    columns = columns_of(ellipsoid(semi, rotation(seed)), spacing=1.0)
    assert axes_of(columns) == pytest.approx([30, 18, 12], rel=0.01)
    assert columns["elongation"][0] == pytest.approx(9 / 15, rel=0.01)
    assert columns["flatness"][0] == pytest.approx(6 / 9, rel=0.01)
    # Thomsen's formula for the surface of an ellipsoid (error below 1.1 %).
    a, b, c = (s**1.6075 for s in semi)
    exact = 4 * np.pi * ((a * b + a * c + b * c) / 3) ** (1 / 1.6075)
    assert columns["surface_area_mm2"][0] == pytest.approx(exact, rel=0.03)


def test_scikit_image_agrees():
    labels = voronoi((20, 24, 28), 12, seed=3)
    image = np.random.default_rng(0).normal(1000, 200, labels.shape).astype(np.float32)
    columns = columns_of(labels, image, spacing=1.0)
    regions = regionprops(labels.astype(np.int64), image.astype(np.float64))
    assert columns["label"].tolist() == [region.label for region in regions]
    for i, region in enumerate(regions):
        inside = region.image_intensity[region.image]
        assert columns["voxels"][i] == region.area
        assert [columns[f"centroid_{a}_mm"][i] for a in "zyx"] == pytest.approx(region.centroid)
        assert tuple(columns[f"bbox_{a}_{end}"][i] for end in ("start", "stop") for a in "zyx") == region.bbox
        points = np.cov(region.coords.T, bias=True) + np.eye(3) / 12
        ours = [columns[f"axis_{name}_mm"][i] for name in ("long", "intermediate", "short")]
        assert ours == pytest.approx(2 * np.sqrt(5 * np.linalg.eigvalsh(points)[::-1]))
        # regionprops leaves out the voxel's own extent; it adds 5/12 to every squared semi-axis.
        assert ours[0] == pytest.approx(2 * np.sqrt((region.axis_major_length / 2) ** 2 + 5 / 12), rel=1e-6)
        assert columns["grey_mean"][i] == pytest.approx(inside.mean(), rel=1e-12)
        assert columns["grey_std"][i] == pytest.approx(inside.std(), rel=1e-9)
        assert (columns["grey_min"][i], columns["grey_max"][i]) == (inside.min(), inside.max())


def test_direction_shares_cover_the_sphere():
    # A ball of 1 voxel edge squared per line: sum over directions of share * (intercepts per area) = 1 / 4 of S.
    steps = {1: 3, 2: 6, 3: 4}
    shares = [w * np.sqrt(k) / 4 * steps[k] for k, w in zip((1, 2, 3), intercept_weights(), strict=True)]
    assert sum(shares) == pytest.approx(1)


def test_flat_faces_are_known_to_be_underestimated():
    intercepts = sums_of(np.pad(np.ones((40, 40, 40), np.uint32), 1)).intercepts
    assert surface_area(intercepts)[0] / (6 * 40**2) == pytest.approx(0.93, abs=0.02)


def test_surface_of_touching_particles_is_that_of_each_alone():
    labels = voronoi((16, 18, 20), 6, seed=1)
    together = sums_of(labels)
    for i, label in enumerate(together.labels):
        alone = sums_of((labels == label).astype(np.uint32))
        assert np.array_equal(together.intercepts[i], alone.intercepts[0])


def far_box(origin, shape):
    """Exact sums of a solid box far from the origin, wrapped to 64 bits as the kernels' sums are."""
    sums = {}
    n = shape[0] * shape[1] * shape[2]
    mean = [o + (s - 1) / 2 for o, s in zip(origin, shape, strict=True)]
    first = [int(n * 2 * m) // 2 for m in mean]
    second = []
    for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        value = n * int(2 * mean[i]) * int(2 * mean[j])
        if i == j:
            value += n * (shape[i] ** 2 - 1) // 3
        assert value % 4 == 0
        second.append((value // 4 + 2**63) % 2**64 - 2**63)
    empty = LabelSums.empty(np.array([1], np.uint32))
    sums = empty._asdict()
    sums["voxels"] = np.array([n])
    sums["low"] = np.array([origin], np.int32)
    sums["high"] = np.array([[o + s - 1 for o, s in zip(origin, shape, strict=True)]], np.int32)
    sums["first"] = np.array([first])
    sums["second"] = np.array([second])
    return LabelSums(**sums)


def test_moments_survive_wrapping_round():
    # 10^9 voxels at coordinates of 10^5: the sums of squares exceed 2^63 by far.
    sums = far_box((100_001, 200_001, 300_001), (1001, 1001, 1001))
    assert int(sums.voxels[0]) * 300_501**2 > 2**63
    expected = np.eye(3) * 1001**2 / 12
    assert covariances(sums)[0] == pytest.approx(expected, rel=1e-12)


def test_a_label_too_vast_for_exact_moments_has_no_axes():
    sums = far_box((0, 0, 0), (100_001, 100_001, 100_001))
    assert np.isnan(principal_axes(sums)).all()
