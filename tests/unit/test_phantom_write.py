import numpy as np
import pytest
import zarr

from ps3d_core.engine.blocks import Runner
from ps3d_core.errors import InputError
from ps3d_core.phantom import write
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.render import Phantom
from ps3d_core.phantom.write import NumberTruth, RenderPhantom, write_phantom
from ps3d_core.progress import Noted, Progress
from ps3d_core.store.content import is_as_written
from ps3d_core.store.layout import Dataset
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, image_spacing, open_image
from tests.integration.writing_commands import contents

PARAMS = PhantomParams(shape=(20, 140, 150), particle_size_voxels=14.0, seed=6, dtype="uint16", fov_radius_voxels=80.0)


@pytest.fixture(scope="module")
def rendered():
    return Phantom(PARAMS).render()


def dense(labels):
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


@pytest.mark.parametrize("workers", [1, 2])
def test_writes_image_truth_and_metadata(tmp_path, rendered, workers):
    root = Location.parse(tmp_path / "data")
    count = write_phantom(PARAMS, root, "sand 2.5um", spacing=0.02, runner=Runner(workers=workers))
    dataset = Dataset(root)
    truth = open_image(dataset.truth("sand 2.5um"))[...]
    np.testing.assert_array_equal(open_image(dataset.image("sand 2.5um"))[...], rendered[0])
    np.testing.assert_array_equal(truth, dense(rendered[1]))
    assert truth.dtype == np.uint32
    assert count == truth.max() == len(np.unique(truth)) - 1
    assert image_spacing(dataset.image("sand 2.5um")) == (0.02, 0.02, 0.02)
    info = dataset.scan_info("sand 2.5um")
    assert info.spacing == 0.02
    assert info.particle_size == pytest.approx(0.28)
    assert not (root / ".phantom-sand 2.5um").exists()


def test_a_killed_run_goes_on_and_a_finished_one_does_nothing(tmp_path, rendered, monkeypatch):
    root = Location.parse(tmp_path / "data")
    real = Phantom.render
    calls = []

    def dies_at_third(self, box=None):
        calls.append(box)
        if len(calls) == 3:
            raise RuntimeError("killed")
        return real(self, box)

    monkeypatch.setattr(Phantom, "render", dies_at_third)
    with pytest.raises(RuntimeError, match="killed"):
        write_phantom(PARAMS, root, "a")
    assert "a" not in Dataset(root).read_metadata()
    count = write_phantom(PARAMS, root, "a")
    assert len(calls) == 4 + 1  # four blocks, one of them twice
    np.testing.assert_array_equal(open_image(Dataset(root).image("a"))[...], rendered[0])
    np.testing.assert_array_equal(open_image(Dataset(root).truth("a"))[...], dense(rendered[1]))
    assert write_phantom(PARAMS, root, "a") == count
    assert len(calls) == 5
    with pytest.raises(InputError, match="already there"):
        write_phantom(PARAMS.model_copy(update={"seed": 7}), root, "a")


def noted_work(step, monkeypatch, deadly=0):
    """Blocks that a step works on from now on; the one of number `deadly` kills the run."""
    noted, work = [], step.work

    def killed(self, block, site):
        noted.append(block.index)
        if len(noted) == deadly:
            raise RuntimeError("killed")
        return work(self, block, site)

    monkeypatch.setattr(step, "work", killed)
    return noted


def assert_whole(root, rendered):
    np.testing.assert_array_equal(open_image(Dataset(root).image("a"))[...], rendered[0])
    np.testing.assert_array_equal(open_image(Dataset(root).truth("a"))[...], dense(rendered[1]))
    assert is_as_written(Dataset(root).image("a"))
    assert is_as_written(Dataset(root).truth("a"))
    assert not (root / ".phantom-a").exists()


def test_a_run_killed_over_the_truth_goes_on_there(tmp_path, rendered, monkeypatch):
    root = Location.parse(tmp_path / "data")
    with monkeypatch.context() as patch:
        numbered = noted_work(NumberTruth, patch, deadly=3)
        with pytest.raises(RuntimeError, match="killed"):
            write_phantom(PARAMS, root, "a")
        assert len(numbered) == 3
    drawn, numbered = noted_work(RenderPhantom, monkeypatch), noted_work(NumberTruth, monkeypatch)
    write_phantom(PARAMS, root, "a")
    assert (len(drawn), len(numbered)) == (0, 2)
    assert_whole(root, rendered)


@pytest.mark.parametrize(
    ("at", "number"), [("add_scan", 1), ("note_content", 1), ("note_content", 2), ("remove_own", 1)]
)
def test_a_run_killed_at_its_very_end_is_ended(tmp_path, rendered, monkeypatch, at, number):
    root, calls = Location.parse(tmp_path / "data"), []

    def deadly(function):
        def killed(*args, **options):
            calls.append(args)
            if len(calls) == number:
                raise RuntimeError("killed")
            return function(*args, **options)

        return killed

    with monkeypatch.context() as patch:
        of = Dataset if at == "add_scan" else write
        patch.setattr(of, at, deadly(getattr(of, at)))
        with pytest.raises(RuntimeError, match="killed"):
            write_phantom(PARAMS, root, "a")
    drawn = noted_work(RenderPhantom, monkeypatch)
    write_phantom(PARAMS, root, "a")
    assert not drawn
    assert_whole(root, rendered)


def test_what_code_of_another_version_has_begun_is_not_gone_on_with(tmp_path, rendered, monkeypatch):
    root = Location.parse(tmp_path / "data")
    with monkeypatch.context() as patch:
        noted_work(NumberTruth, patch, deadly=3)
        with pytest.raises(RuntimeError, match="killed"):
            write_phantom(PARAMS, root, "a")
    monkeypatch.setattr(write, "VERSION", write.VERSION + 1)
    with pytest.raises(InputError, match="already there"):
        write_phantom(PARAMS, root, "a")
    for place in (Dataset(root).image("a"), Dataset(root).truth("a")):
        place.remove_tree()
    drawn, numbered = noted_work(RenderPhantom, monkeypatch), noted_work(NumberTruth, monkeypatch)
    write_phantom(PARAMS, root, "a")
    assert (len(drawn), len(numbered)) == (4, 4)
    assert_whole(root, rendered)


@pytest.mark.parametrize("which", ["image", "truth"])
def test_what_somebody_corrected_is_kept_and_made_again(tmp_path, rendered, which):
    root, said = Location.parse(tmp_path / "data"), []
    count = write_phantom(PARAMS, root, "a")
    place = getattr(Dataset(root), which)("a")
    zarr.open_array(str(place / "0"), mode="r+")[:4] = 7
    progress = Progress(lambda event: said.append(event.text) if isinstance(event, Noted) else None)
    assert write_phantom(PARAMS, root, "a", progress=progress) == count
    assert_whole(root, rendered)
    assert (open_image(place.parent / "a.zarr.kept-1")[:4] == 7).all()
    assert said == [f"{place}: not as it was written; kept as {place}.kept-1, and made again"]


def test_finished_phantoms_keep_their_fingerprint(tmp_path):
    root = Location.parse(tmp_path / "data")
    write_phantom(PARAMS, root, "a", spacing=0.02)
    mark = fingerprint("phantom", 1, PARAMS.model_dump(mode="json"), 0.02)
    note = (Dataset(root).image("a") / "phantom.json").read_json()
    assert list(note) == ["fingerprint", "particles", "parameters", "version"]
    assert note["fingerprint"] == mark
    for place in (Dataset(root).image("a"), Dataset(root).truth("a")):
        assert (place / "zarr.json").read_json()["attributes"]["ps3d"]["phantom"] == mark


@pytest.mark.parametrize("which", ["image", "truth"])
@pytest.mark.parametrize("of_ps3d", [True, False])
def test_a_scan_or_labels_of_others_are_refused_and_stay(tmp_path, which, of_ps3d):
    dataset = Dataset(Location.parse(tmp_path / "data"))
    place = getattr(dataset, which)("a")
    if of_ps3d:
        array = create_image(place, (4, 5, 6), "uint16", spacing=0.01, name="a", attributes={"ps3d": {"source": "x"}})
    else:
        array = zarr.create_array(place.local_path, shape=(4, 5, 6), dtype="uint16")
    array[:] = 7
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"already there|is there already"):
        write_phantom(PARAMS, dataset.root, "a")
    assert contents(tmp_path) == before
