"""Pictures: what is drawn where, in which colour, and how little is read for it."""

import imagecodecs
import numpy as np
import pytest
from labelled import stored, voronoi

from ps3d_core.particles.overlay import label_colours, overlay_pictures
from ps3d_core.store.location import Location


@pytest.fixture
def place(tmp_path):
    return Location.parse(tmp_path)


def pixels(png):
    return imagecodecs.png_decode(png)


def box_in(shape):
    labels = np.zeros(shape, np.uint32)
    labels[2:-2, 3:-3, 4:-4] = 77
    return labels


def test_three_slices_of_a_box(place):
    labels = box_in((10, 14, 18))
    image = (labels > 0) * np.uint16(500) + np.uint16(100)
    found = overlay_pictures(stored(place / "l", labels), stored(place / "i", image), max_side=18)
    assert [(p.axis, p.index, p.step, p.is_window) for p in found] == [
        ("z", 5, 1, False),
        ("y", 7, 1, False),
        ("x", 9, 1, False),
    ]
    assert [(p.down, p.right, p.extent) for p in found] == [
        ("y", "x", (14, 18)),
        ("z", "x", (10, 18)),
        ("z", "y", (10, 14)),
    ]
    z = found[0]
    outlines = pixels(z.outlines)
    inside = labels[5] > 0
    edge = inside.copy()
    edge[4:-4, 5:-5] = False
    assert np.array_equal(outlines[..., 3] > 0, edge)
    assert (outlines[edge][:, :3] == label_colours(np.array([77]))).all()
    # Two grey values fill the whole range.
    assert np.array_equal(pixels(z.grey), np.where(inside, 255, 0))


def test_small_slices_are_magnified_for_thin_lines(place):
    found = overlay_pictures(stored(place / "l", box_in((10, 12, 14))), None, max_side=60)
    assert found[0].grey is None
    filled = pixels(found[0].outlines)
    assert filled.shape == (48, 56, 4)
    assert np.array_equal(filled[::4, ::4, 3] > 0, box_in((10, 12, 14))[5] > 0)


def test_neighbours_are_both_outlined(place):
    labels = np.ones((4, 40, 40), np.uint32)
    labels[:, :, 20:] = 2
    image = stored(place / "i", np.zeros(labels.shape, np.uint8))
    shown = pixels(overlay_pictures(stored(place / "l", labels), image, max_side=40)[0].outlines)
    assert np.unique(np.flatnonzero(shown[..., 3].any(axis=0))).tolist() == [19, 20]


def test_large_slices_are_reduced_and_their_middle_shown_in_full(place):
    shape = (5, 50, 70)
    labels = voronoi(shape, 20, seed=0)
    image = np.random.default_rng(0).integers(0, 1000, shape).astype(np.uint16)
    found = overlay_pictures(stored(place / "l", labels), stored(place / "i", image), max_side=32)
    assert [(p.axis, p.step, p.is_window) for p in found] == [
        ("z", 3, False),
        ("z", 1, True),
        ("y", 3, False),
        ("x", 2, False),
    ]
    assert pixels(found[0].grey).shape == (17, 24)
    window = found[1]
    assert window.box.start == (2, 9, 19)
    assert window.box.shape == (1, 32, 32)
    assert pixels(window.grey).shape == (32, 32)


def test_reduction_averages_grey_values(place):
    image = np.zeros((1, 4, 8), np.float32)
    image[0, :, ::2] = 1000
    image[0, 0, :2] = -np.inf, np.nan
    grey = pixels(
        overlay_pictures(stored(place / "l", np.zeros(image.shape, np.uint8)), stored(place / "i", image), max_side=4)[
            0
        ].grey
    )
    assert grey.shape == (2, 4)
    assert len(np.unique(grey.ravel()[1:])) == 1


def test_colours_follow_from_the_label_alone():
    labels = np.arange(1, 5000)
    colours = label_colours(labels)
    assert np.array_equal(label_colours(labels[::-1])[::-1], colours)
    assert np.array_equal(label_colours(np.array([4_000_000_000], np.uint32)), label_colours(np.array([4_000_000_000])))
    assert (colours.max(axis=1) >= 250).all()
    apart = np.abs(np.diff(colours.astype(int), axis=0)).max(axis=1)
    assert apart.min() > 60


def test_only_the_slices_are_read(place, monkeypatch):
    from ps3d_core.particles import overlay

    read = []

    def counted(array, box):
        read.append(box.size)
        return array[box.slices]

    labels = stored(place / "l", voronoi((20, 30, 40), 9, seed=1))
    monkeypatch.setattr(overlay, "read_box", counted)
    monkeypatch.setattr(overlay, "_BAND", 8)
    overlay_pictures(labels, None)
    assert sum(read) == 30 * 40 + 20 * 40 + 20 * 30
    assert max(read) <= 8 * 40
