"""Every format that can be read from an object store is."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from ps3d_core.params import SourceParams
from ps3d_core.scan.sources import open_scan
from tests.formats.file_format import SPACING, all_formats, sample


@pytest.mark.parametrize("form", [form for form in all_formats() if form.is_remote], ids=str)
def test_read_from_s3(form, tmp_path, s3):
    volume = sample(form.dtypes[-1])
    source = form.write(tmp_path, volume, SPACING)
    folder = s3.parent / uuid.uuid4().hex
    for path in tmp_path.rglob("*"):
        if path.is_file():
            (folder / str(path.relative_to(tmp_path))).write_bytes(path.read_bytes())
    place = folder if source == tmp_path else folder / str(source.relative_to(tmp_path))
    with open_scan(place, SourceParams(**form.params(volume))) as reader:
        assert np.array_equal(reader.read(0, len(volume)), volume)
        assert np.array_equal(reader.read(3, 5), volume[3:5])
