"""Every format keeps what every format must: voxels, type, axes and spacing; in slabs; and refuses what is damaged."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from ps3d_core.errors import InputError, Ps3dError
from ps3d_core.params import SourceParams
from ps3d_core.scan.sources import open_scan
from tests.formats.file_format import SPACING, FileFormat, all_formats, largest_file, sample
from tests.formats.table import PAGE, page_with_table

FORMATS = {form.name: form for form in all_formats()}
CELLS = [(form, dtype) for form in FORMATS.values() for dtype in form.dtypes]


@pytest.fixture(params=CELLS, ids=lambda cell: f"{cell[0]}-{cell[1]}")
def written(request, tmp_path):
    form, dtype = request.param
    volume = sample(dtype)
    return form, volume, form.write(tmp_path, volume, SPACING)


def opened(form: FileFormat, source: object, volume):
    return open_scan(str(source), SourceParams(**form.params(volume)))


def test_voxels_axes_and_spacing(written):
    form, volume, source = written
    assert np.array_equal(form.read(source), volume)  # or the sample itself is wrong
    with opened(form, source, volume) as reader:
        assert (reader.shape, reader.dtype) == (volume.shape, volume.dtype)
        assert np.array_equal(reader.read(0, len(volume)), volume)
        for start, stop in [(4, 7), (0, 1), (2, 5), (6, 7)]:
            assert np.array_equal(reader.read(start, stop), volume[start:stop])
        if form.spacing is None:
            assert reader.spacing is None
        else:
            assert reader.spacing == pytest.approx(form.spacing, rel=1e-5)


def test_truncated_is_refused(written):
    form, volume, source = written
    file = (form.truncated or largest_file)(source)
    content = file.read_bytes()
    for kept in (len(content) - 1, len(content) * 2 // 3, 100, 0):
        file.write_bytes(content[:kept])
        try:
            with opened(form, source, volume) as reader:
                values = reader.read(0, len(volume))
        except Ps3dError:
            continue
        assert np.array_equal(values, volume), kept  # where what is cut off were no voxels


@pytest.mark.parametrize("form", FORMATS.values(), ids=str)
def test_memory_is_that_of_a_slab(form, tmp_path):
    volume = sample(form.dtypes[-1], (96, 256, 256))
    source = form.write(tmp_path, volume, SPACING)
    with opened(form, source, volume) as reader:  # what is imported on first use is not counted
        reader.read(0, 1)
    tracemalloc.start()
    try:
        with opened(form, source, volume) as reader:
            assert np.array_equal(reader.read(40, 44), volume[40:44])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if form.is_slabwise:
        assert peak < volume.nbytes / 3


@pytest.mark.parametrize("form", [form for form in FORMATS.values() if not form.is_remote], ids=str)
def test_from_folders_only(form, tmp_path):
    import fsspec

    volume = sample(form.dtypes[0])
    source = form.write(tmp_path, volume, SPACING)
    store = fsspec.filesystem("memory")
    for path in [source] if source.is_file() else source.rglob("*"):
        store.pipe_file(f"/{form.name}/{path.relative_to(tmp_path)}", path.read_bytes())
    try:
        with pytest.raises(InputError, match="copy it to"):
            opened(form, f"memory://{form.name}/{source.relative_to(tmp_path)}", volume)
    finally:
        store.rm(f"/{form.name}", recursive=True)


def test_the_table_of_the_documentation():
    page = PAGE.read_text("utf-8")
    assert page_with_table(page) == page, "python -m tests.formats.table brings it up to date"
