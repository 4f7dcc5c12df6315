"""Sample data: few, short, seen, and of no effect on anything but what is said."""

import json

import numpy as np
import pytest
import tifffile

from ps3d_app.flows.command.cli import main
from ps3d_core.errors import InputError
from ps3d_core.inbox.description import read_description
from ps3d_core.sample_data import MAX_FIELDS, MAX_NAME, MAX_VALUE, date_of, field_of, titled
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.sample_file import MAX_BYTES, sample_file, sample_from


def test_texts_and_numbers_are_kept_as_texts_in_their_order():
    fields = sample_from(b'\xef\xbb\xbf{"mass, g": 2.50, "id": 17, "license": "CC-BY-4.0", "who": " J. Doe "}', "file")
    assert list(fields.items()) == [("mass, g", "2.5"), ("id", "17"), ("licence", "CC-BY-4.0"), ("who", "J. Doe")]
    assert titled(fields) == [("Sample", "17"), ("Licence", "CC-BY-4.0"), ("Mass, g", "2.5"), ("Who", "J. Doe")]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[1]", "must be an object of named texts"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "more than|not valid JSON"),
        ('{"id": "a\\nb"}', "printable characters"),
        ('{"id": "\\u202eabc"}', "printable characters"),
        ('{"id": ""}', "printable characters"),
        ('{"id": true}', "a text or number"),
        ('{"id": {"a": 1}}', "a text or number"),
        ('{"id": NaN, "id": 2}', "given twice"),
        ('{"a=b": 1}', "without ="),
        ('{"date": "12.3.2026"}', "date '12.3.2026': must be like 2026-11-30"),
        (json.dumps({"x" * (MAX_NAME + 1): 1}), "1 to 60 printable"),
        (json.dumps({"id": "x" * (MAX_VALUE + 1)}), "1 to 500 printable"),
        (json.dumps({f"f{n}": n for n in range(MAX_FIELDS + 1)}), "at most 40"),
        ('{"license": "a", "licence": "b"}', "two fields"),
        (" " * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes"),
    ],
)
def test_anything_else_is_refused_in_one_line(content, problem):
    with pytest.raises(InputError, match=problem) as refused:
        sample_from(content.encode(), "sample.json")
    assert str(refused.value).startswith("sample.json: ")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_description_brings_them_along():
    described = read_description(b'{"name": "a", "particle_size": 0.3, "sample": {"id": 7, "date": "2026-11-30"}}', "f")
    assert described.as_ingested.sample == {"id": "7", "date": "2026-11-30"}
    assert date_of(described.sample).isoformat() == "2026-11-30T00:00:00"
    with pytest.raises(InputError, match=r"sample .*date 'soon'"):
        read_description(b'{"name": "a", "particle_size": 0.3, "sample": {"date": "soon"}}', "scan.json")


def test_a_field_on_the_command_line():
    assert field_of("customer=a=b") == ("customer", "a=b")
    for wrong in ("customer", "=x", "a=", "a=\x1b[31m"):
        with pytest.raises(InputError):
            field_of(wrong)


def test_ingest_keeps_them_beside_the_scan_and_metadata_as_others_read_it(tmp_path):
    tifffile.imwrite(tmp_path / "scan.tif", np.arange(8 * 9 * 10, dtype=np.uint16).reshape(8, 9, 10))
    (tmp_path / "sample.json").write_text('{"id": "old", "mass, g": 3}')
    line = ["ingest", str(tmp_path / "scan.tif"), str(tmp_path / "data"), "--name", "ore"]
    line += ["--spacing", "0.01", "--particle-size", "0.05"]
    said = ["--sample", str(tmp_path / "sample.json"), "--sample-id", "A-17", "--field", "operator=J. Doe"]
    assert main([*line, *said]) == 0
    dataset = Dataset(Location.parse(tmp_path / "data"))
    assert sample_file(tmp_path / "data" / "samples" / "ore.json") == {
        "id": "A-17", "mass, g": "3", "operator": "J. Doe",
    }  # fmt: skip
    assert dataset.metadata.read_json() == {"ore": {"spacing": 0.01, "particle_size": 0.05}}
    assert "A-17" not in (tmp_path / "data" / "images" / "ore.zarr" / "zarr.json").read_text()
    before = dataset.sample("ore").read_bytes()
    assert main([*line, "--overwrite"]) == 0  # says that they stay
    assert dataset.sample("ore").read_bytes() == before
    assert main([*line, "--overwrite", "--field", "nonsense"]) == 2
    dataset.remove_scan("ore")
    assert not dataset.sample("ore").exists()
