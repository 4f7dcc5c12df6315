"""A store that fails: what passes by itself is repeated, the rest is said by name, and the bytes are the same."""

import logging
import os
import traceback
from contextlib import contextmanager

import numpy as np
import pytest
from aiobotocore.client import AioBaseClient
from botocore.exceptions import ClientError

from ps3d_app.flows.machine.log_file import log_file
from ps3d_core.errors import AccessDeniedError, CorruptDataError, InputError, MissingDataError, StoreError
from ps3d_core.geometry.boxes import Box
from ps3d_core.store import s3
from ps3d_core.store.arrays import create_array, open_array, read_box, write_box
from ps3d_core.store.location import Location
from tests.integration.faulty_proxy import KINDS, Faults, assert_no_keys

SHAPE = (64, 64, 64)
WHOLE = Box.of(SHAPE)
DATA = np.random.default_rng(0).integers(0, 2**16, SHAPE).astype(np.uint16)


@pytest.fixture
def short_waits(monkeypatch):
    monkeypatch.setattr(s3, "LONGEST_WAIT_SECONDS", 0.01)


def array_at(place):
    array = create_array(place / "a.zarr", SHAPE, DATA.dtype, chunks=(32, 64, 64), shards=SHAPE)
    write_box(array, WHOLE, DATA)
    return array


def times(kind):
    """How many requests fail in a row; a stalled one costs the time-out."""
    return 1 if kind == "stalled" else 4


@pytest.mark.parametrize("kind", KINDS)
def test_an_array_is_written_whatever_fails(through_proxy, kind):
    faults = Faults([kind], most=times(kind), methods=["PUT"], path="/c/")
    with through_proxy(faults) as place:
        array_at(place)
        np.testing.assert_array_equal(read_box(open_array(place / "a.zarr"), WHOLE), DATA)
    assert faults.happened == {(kind, "PUT"): times(kind)}
    assert len([request for request in faults.requests if request.startswith("PUT") and "/c/" in request]) > times(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_an_array_is_read_whatever_fails(through_proxy, kind):
    faults = Faults([kind], most=times(kind), methods=["GET"], path="/c/")
    with through_proxy(faults) as place:
        array_at(place)
        np.testing.assert_array_equal(read_box(open_array(place / "a.zarr"), WHOLE), DATA)
    assert faults.happened == {(kind, "GET"): times(kind)}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("stalled", "corrupted")])
def test_listings_and_deletions_are_made_whatever_fails(through_proxy, kind):
    # A listing has no checksum: a bit that flips there is not seen.
    faults = Faults([kind], every=2, methods=["GET", "POST", "DELETE", "HEAD"])
    with through_proxy(faults) as place:
        for number in range(3):
            (place / "folder" / f"{number}.json").write_json({"n": number})
        assert (place / "folder").children() == ["0.json", "1.json", "2.json"]
        assert len(place.find()) == 3
        assert (place / "folder" / "0.json").exists()
        (place / "folder").remove_tree()
        assert not (place / "folder").exists()
    assert faults.happened.total() >= 3


def test_whether_something_is_there_takes_few_requests_whatever_lies_beside_it(through_proxy):
    faults = Faults([], most=0)
    with through_proxy(faults) as place:
        for number in range(3):
            (place / "folder" / f"{number}.json").write_json({"n": number})
        for look, there, most in (
            ((place / "folder" / "0.json").is_file, True, 1),
            ((place / "folder" / "3.json").is_file, False, 1),
            ((place / "folder").is_file, False, 1),
            ((place / "folder" / "0.json").exists, True, 1),
            ((place / "folder" / "3.json").exists, False, 2),
            ((place / "folder").exists, True, 2),
            ((place / "folder").is_dir, True, 1),
            ((place / "nothing").is_dir, False, 1),
            ((place / "nothing").children, [], 1),
        ):
            faults.requests.clear()
            assert look() == there
            assert len(faults.requests) <= most, faults.requests


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_store_that_fails_is_not_taken_for_an_empty_one(through_proxy, short_waits, method):
    with through_proxy(Faults(["busy"], methods=[method])) as place:
        (place / "a.json").write_json({})
        looks = [place.is_dir, place.children] if method == "GET" else [(place / "a.json").is_file]
        for look in [*looks, (place / "other").exists]:
            with pytest.raises(StoreError):
                look()


def test_a_store_without_checksums_is_read_again_when_chunks_do_not_match_theirs(through_proxy):
    # Twice at most, since a box is read three times.
    faults = Faults(["corrupted"], most=2, methods=["GET"], path="/c/", checksums=False)
    with through_proxy(faults) as place:
        array_at(place)
        np.testing.assert_array_equal(read_box(open_array(place / "a.zarr"), WHOLE), DATA)
    assert faults.happened.total() == 2


@pytest.mark.usefixtures("short_waits")
def test_a_lasting_fault_is_named_after_ten_attempts_and_spoils_nothing(through_proxy):
    faults = Faults(["busy", "broken"], path="/bad/")
    with through_proxy(faults) as place:
        for number in range(1, 31):
            with pytest.raises(
                StoreError, match=rf"{place}/bad/f: PutObject failed 10 times .*, at last with"
            ) as raised:
                (place / "bad" / "f").write_bytes(b"1")
            assert len(faults.requests) == number * s3.ATTEMPTS
        assert_no_keys("".join(traceback.format_exception(raised.value)))
        # 270 repeated requests later, requests are repeated as before.
        faults.path, faults.most = "/good/", faults.happened.total() + s3.ATTEMPTS - 1
        (place / "good" / "f").write_bytes(b"1")
        assert faults.happened.total() == faults.most


def test_repeating_has_an_end_in_time(through_proxy, monkeypatch):
    monkeypatch.setattr(s3, "GIVE_UP_SECONDS", 0)
    faults = Faults(["busy"])
    with through_proxy(faults) as place, pytest.raises(StoreError, match="failed 1 times"):
        (place / "f").read_bytes()


@pytest.mark.parametrize("code", ["SlowDown", "InternalError"])
def test_an_object_that_was_not_deleted_is_deleted_again(s3, monkeypatch, code):
    with refused_deletions(monkeypatch, code, 2) as refused:
        (s3 / "a").write_text("1")
        s3.remove_tree()
        assert refused == [code] * 2
        assert not s3.exists()


def test_an_object_that_may_not_be_deleted_is_an_error_that_names_it(s3, monkeypatch):
    (s3 / "a").write_text("1")
    with (
        refused_deletions(monkeypatch, "AccessDenied", 1),
        pytest.raises(AccessDeniedError, match=rf"{s3}.* denied"),
    ):
        s3.remove_tree()
    assert (s3 / "a").exists()


@contextmanager
def refused_deletions(monkeypatch, code, times):
    """The first `times` requests to delete are answered as S3 does when it cannot: with 200 and errors inside."""
    refused = []
    real = AioBaseClient._make_api_call

    async def answer(client, operation, params):
        if operation == "DeleteObjects" and len(refused) < times:
            refused.append(code)
            keys = [entry["Key"] for entry in params["Delete"]["Objects"]]
            return {"Errors": [{"Key": key, "Code": code, "Message": "no"} for key in keys]}
        return await real(client, operation, params)

    with monkeypatch.context() as patch:
        patch.setattr(AioBaseClient, "_make_api_call", answer)
        yield refused


def test_a_bucket_that_is_not_there_is_named(s3, monkeypatch):
    async def answer(_client, operation, _params):  # the server of the tests makes any bucket that is written to
        raise ClientError(
            {"Error": {"Code": "NoSuchBucket"}, "ResponseMetadata": {"HTTPStatusCode": 404}},
            operation,
        )

    monkeypatch.setattr(AioBaseClient, "_make_api_call", answer)
    with pytest.raises(InputError, match="s3://nowhere/a/b: there is no such bucket"):
        Location.parse("s3://nowhere/a/b").write_text("1")
    assert not Location.parse("s3://nowhere/a").exists()


def test_absence_is_an_answer(through_proxy):
    faults = Faults([], every=10**9)
    with through_proxy(faults) as place:
        with pytest.raises(MissingDataError):
            (place / "nothing").read_bytes()
        assert len(faults.requests) == 1


def test_denial_is_said_at_once_and_without_keys(through_proxy, monkeypatch):
    faults = Faults([], every=10**9)
    with through_proxy(faults) as place:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody-at-all")
        with pytest.raises(AccessDeniedError, match=rf"{place}/f: access denied .*AWS_ACCESS_KEY_ID") as read:
            (place / "f").read_bytes()
        with pytest.raises(AccessDeniedError) as written:
            (place / "f").write_bytes(b"1")
        assert [request.split()[0] for request in faults.requests] == ["GET", "PUT"]
        for raised in (read, written):
            # With what the error came from, as it enters the log.
            said = "".join(traceback.format_exception(raised.value))
            assert "access denied" in said
            assert_no_keys(said)


def test_without_credentials_it_says_which(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(AccessDeniedError, match="no credentials; set AWS_ACCESS_KEY_ID"):
        Location.parse("s3://bucket/file").read_bytes()


def test_damage_on_the_store_is_said_and_not_repeated_for_ever(through_proxy):
    faults = Faults([], every=10**9)
    with through_proxy(faults) as place:
        array_at(place)
        shard = place / "a.zarr" / "c" / "0" / "0" / "0"
        damaged = bytearray(shard.read_bytes())
        damaged[10] ^= 1
        shard.write_bytes(bytes(damaged))
        before = len(faults.requests)
        with pytest.raises(CorruptDataError, match=r"a\.zarr"):
            read_box(open_array(place / "a.zarr"), WHOLE)
        assert len(faults.requests) - before < 20


@pytest.mark.parametrize("seconds", ["0", "soon", "inf", "3601"])
def test_timeouts_are_checked(monkeypatch, seconds):
    monkeypatch.setenv(s3.TIMEOUT_VARIABLE, seconds)
    with pytest.raises(InputError, match=f"{s3.TIMEOUT_VARIABLE}={seconds}: must be seconds"):
        Location.parse("s3://bucket/file").read_bytes()


@pytest.mark.parametrize("url", ["notaurl", "s3.example.org:443", "https://", "http://host:port", "ftp://host"])
@pytest.mark.parametrize("variable", s3.ENDPOINT_VARIABLES)
def test_endpoints_are_checked(monkeypatch, variable, url):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1")
    monkeypatch.setenv(variable, url)
    with pytest.raises(InputError, match=f"{variable}={url}: must be the URL of a server"):
        s3.connect(asynchronous=False, read_seconds=1)


def test_a_store_that_does_not_answer_is_told_of(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PS3D_HOME", str(tmp_path))
    monkeypatch.setattr(s3, "ATTEMPTS", 4)
    monkeypatch.setattr(s3, "WARN_SECONDS", 0.0)
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:9", "ACCESS_KEY_ID": "me", "SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with log_file("test"), pytest.raises(StoreError, match="failed 4 times"):
        Location.parse("s3://bucket/file").read_bytes()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("s3://bucket/file: the store does not answer as it should (")


def test_library_logs_keep_quiet_about_keys(through_proxy, caplog):
    caplog.set_level(logging.INFO)
    with through_proxy(Faults(["busy", "closed"], every=2)) as place:
        (place / "f").write_bytes(b"1")
        assert (place / "f").read_bytes() == b"1"
    assert "again in" in caplog.text
    assert_no_keys(caplog.text)
