"""Strangers' archives: what is wanted comes out, and nothing lands outside of the folder."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from ps3d_core.errors import InputError
from ps3d_core.network.nnunet import archive
from ps3d_core.network.nnunet.archive import is_archive, unpack
from ps3d_core.network.nnunet.source import local_folder

Members = Iterable[tuple[str, bytes]]

HONEST = [("m/plans.pkl", b"plan"), ("m/fold_0/model_best.model", b"w" * 3000), ("m/notes.txt", b"not wanted")]


def zipped(file: Path, members: Members, **changes: Any) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            for field, value in changes.items():
                setattr(info, field, value)
            target.writestr(info, data)
    return file


def tarred(file: Path, members: Members, mode: Any = "w", **changes: Any) -> Path:
    with tarfile.open(file, mode) as target:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for field, value in changes.items():
                setattr(info, field, value)
            target.addfile(info, io.BytesIO(data))
    return file


def wanted(path: PurePosixPath) -> bool:
    return path.suffix != ".txt"


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_compressed_archive_that_is_cut_off(tmp_path: Path) -> None:
    file = tarred(tmp_path / "m.tar.gz", HONEST, "w:gz")
    file.write_bytes(file.read_bytes()[:15])
    with pytest.raises(InputError, match=r"neither|not a readable archive"), local_folder(str(file)):
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "inside" / "folder"
    place.mkdir(parents=True)
    return place


MAKERS: dict[str, Callable[[Path, Members], Path]] = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda file, members: tarred(file, members, "w:gz"),
    "tar.xz": lambda file, members: tarred(file, members, "w:xz"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_wanted_comes_out_whatever_the_file_is_called(tmp_path: Path, folder: Path, kind: str) -> None:
    file = MAKERS[kind](tmp_path / "download", HONEST)
    assert is_archive(file)
    unpack(file, folder, wanted)
    assert files_in(folder) == dict(HONEST[:2])


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    "name", ["../evil.pkl", "m/../../evil.pkl", "/tmp/ps3d-evil.pkl", "C:evil.pkl", "..\\evil.pkl"]
)
def test_names_that_lead_outside(tmp_path: Path, folder: Path, kind: str, name: str) -> None:
    file = MAKERS[kind](tmp_path / "evil", [(name, b"x"), *HONEST])
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="outside of the folder"):
        unpack(file, folder, wanted)
    assert set(tmp_path.rglob("*")) == before
    assert not Path("/tmp/ps3d-evil.pkl").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar(tmp_path: Path, folder: Path, kind: bytes) -> None:
    file = tarred(tmp_path / "evil.tar", [("m/link", b"")], type=kind, linkname="/etc/passwd")
    with pytest.raises(InputError, match="only files and folders are unpacked"):
        unpack(file, folder, wanted)
    assert not list(folder.iterdir())


def test_a_link_in_a_zip(tmp_path: Path, folder: Path) -> None:
    mode = (stat.S_IFLNK | 0o777) << 16
    file = zipped(tmp_path / "evil.zip", [("m/link", b"/etc/passwd")], external_attr=mode, create_system=3)
    with pytest.raises(InputError, match="is a link"):
        unpack(file, folder, wanted)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(("limit", "value"), [("MAX_MEMBERS", 1), ("MAX_MEMBER_BYTES", 2999), ("MAX_BYTES", 3003)])
def test_absurd_sizes(
    tmp_path: Path, folder: Path, kind: str, limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = MAKERS[kind](tmp_path / "large", HONEST)
    monkeypatch.setattr(archive, limit, value)
    with pytest.raises(InputError, match="are unpacked"):
        unpack(file, folder, wanted)


def test_a_size_that_no_disk_has(tmp_path: Path, folder: Path) -> None:
    info = tarfile.TarInfo("plans.pkl")
    info.size = 2**50
    file = tmp_path / "bomb.tar"
    file.write_bytes(info.tobuf() + bytes(10240))
    with pytest.raises(InputError, match=str(2**50)):
        unpack(file, folder, wanted)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
@pytest.mark.parametrize("before", [[], HONEST[:1]], ids=["first", "later"])
def test_a_header_larger_than_memory(tmp_path: Path, folder: Path, kind: bytes, before: Members) -> None:
    header = tarfile.TarInfo("header")
    header.type, header.size = kind, 2**32
    with tarfile.open(tmp_path / "bomb.tar", "w", format=tarfile.USTAR_FORMAT) as target:
        for name, data in before:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            target.addfile(info, io.BytesIO(data))
        target.addfile(header)
    with pytest.raises(InputError, match=rf"bomb\.tar: a header of {2**32} bytes"):
        unpack(tmp_path / "bomb.tar", folder, wanted)


def test_a_zip_that_lies_about_a_size(tmp_path: Path, folder: Path) -> None:
    file = zipped(tmp_path / "lie.zip", [("plans.pkl", bytes(5000))])
    data = file.read_bytes()
    file.write_bytes(data.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
    with pytest.raises(InputError, match=r"lie\.zip"):
        unpack(file, folder, wanted)
    assert all(len(content) <= 50 for content in files_in(folder).values())


@pytest.mark.parametrize("kind", MAKERS)
def test_a_member_twice(tmp_path: Path, folder: Path, kind: str) -> None:
    file = MAKERS[kind](tmp_path / "twice", [("m/a", b"1"), ("m/./a", b"2")])
    with pytest.raises(InputError, match="twice"):
        unpack(file, folder, wanted)


@pytest.mark.parametrize("kind", MAKERS)
def test_cut_short(tmp_path: Path, folder: Path, kind: str) -> None:
    data = bytes(range(256)) * 300
    file = MAKERS[kind](tmp_path / "whole", [("plans.pkl", data)])
    file.write_bytes(file.read_bytes()[:-11000] if kind == "tar" else file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match="whole: "):
        unpack(file, folder, wanted)


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    assert not is_archive(tmp_path / "file")
