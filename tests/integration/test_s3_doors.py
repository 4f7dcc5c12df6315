"""Nobody without keys gets anything from the S3 server of the stack, through whichever of its doors."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ps3d_app.flows.service.stack import s3_process, s3_server
from ps3d_app.flows.service.stack.children import Child, stop_all
from ps3d_core.store.location import Location

SECRET = b"what nobody else may read"
PATIENCE_SECONDS = 5.0
PATHS = (
    "/",
    f"/{s3_server.BUCKET}",
    f"/{s3_server.BUCKET}/private/object",
    f"/buckets/{s3_server.BUCKET}/",
    f"/buckets/{s3_server.BUCKET}/private/object",
    f"/{s3_server.BUCKET}?list-type=2",
    f"/col/delete?collection={s3_server.BUCKET}",
    "/dir/assign",
    "/dir/lookup?volumeId=1",
    "/dir/status",
    "/vol/grow?count=1",
    "/vol/status",
    "/vol/vacuum",
    "/cluster/status",
    "/status",
    "/stats/counter",
    "/metrics",
    "/debug/pprof/",
    "/debug/pprof/heap",
    "/ui/index.html",
    "/api/plugin/status",
    "/v1/config",
)
GRPC_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
SETTINGS_FRAME = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[s3_server.S3Server, Child]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PS3D_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("WEED_GRPC_CA", "")  # what a user set for a server of their own
        port = next(port for port in range(9000 + os.getpid() % 50 * 20, 11000) if is_free(port))
        server = s3_server.prepare(port)
        child = server.child()
        child.start()
        try:
            server.await_ready(lambda: child.alive)
            for name, value in server.environment.items():
                patch.setenv(name, value)
            secret(server).write_bytes(SECRET)
            yield server, child
        finally:
            stop_all([child])


def secret(server: s3_server.S3Server) -> Location:
    return Location.parse(f"s3://{s3_server.BUCKET}") / "private" / "object"


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def family(server: tuple[s3_server.S3Server, Child]) -> list[psutil.Process]:
    """All processes of the server; others of the tests may run beside it."""
    return psutil.Process(server[1].state.pid).children(recursive=True)


def listening(server: tuple[s3_server.S3Server, Child], kind: str) -> list[psutil._common.sconn]:
    """What its processes listen on."""
    found = [connection for process in family(server) for connection in process.net_connections(kind)]
    return [c for c in found if (c.laddr and not c.raddr if kind == "unix" else c.status == psutil.CONN_LISTEN)]


def ports(server: tuple[s3_server.S3Server, Child]) -> list[int]:
    return sorted(connection.laddr.port for connection in listening(server, "tcp"))


def answer(port: int, method: str, path: str, context: ssl.SSLContext | None) -> tuple[int, bytes]:
    """Status and body; (0, b"") where nobody answers a stranger."""
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS, context=context)
        if context
        else http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    )
    try:
        headers = {"Origin": "http://example.org"}
        connection.request(method, path, body=b"x" if method in ("PUT", "POST") else None, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_every_port_is_on_loopback_and_none_serves_strangers(server: tuple[s3_server.S3Server, Child]) -> None:
    assert {connection.laddr.ip for connection in listening(server, "tcp")} == {"127.0.0.1"}
    found = ports(server)
    assert server[0].port in found
    assert len(found) == 10  # web and gRPC of S3, master, volume, filer and admin
    for port in found:
        for context in (None, trusting()):
            for method in ("GET", "POST", "PUT", "DELETE"):
                for path in PATHS:
                    status, body = answer(port, method, path, context)
                    assert status >= 400 or not body, (port, method, path, status, body)
                    assert status == 0 or status >= 400 or (port, method) == (server[0].port, "GET"), (
                        port,
                        method,
                        path,
                    )
    assert secret(server[0]).read_bytes() == SECRET


def test_grpc_is_spoken_with_those_who_have_the_certificate(server: tuple[s3_server.S3Server, Child]) -> None:
    stranger, friend = trusting(), trusting()
    friend.load_cert_chain(server[0].folder / "certificate.pem", server[0].folder / "certificate.key")
    for context in (stranger, friend):
        context.set_alpn_protocols(["h2"])
    found = ports(server)
    assert not [port for port in found if greets(port, lambda plain: plain)]
    assert not [port for port in found if greets(port, stranger.wrap_socket)]
    assert len([port for port in found if greets(port, friend.wrap_socket)]) >= 5


def greets(port: int, wrap: Callable[[socket.socket], socket.socket]) -> bool:
    """Whether who listens there answers as a gRPC server does: with its settings."""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as plain, wrap(plain) as connection:
            connection.sendall(GRPC_GREETING)
            frame = connection.recv(9)
            return len(frame) == 9 and frame[3] == SETTINGS_FRAME
    except OSError:
        return False


def test_sockets_are_for_their_owner(server: tuple[s3_server.S3Server, Child]) -> None:
    paths = {Path(connection.laddr) for connection in listening(server, "unix")}
    outside = [path for path in paths if path.is_absolute()]  # others lie in the server's folder, which is shut
    assert len(outside) == 5
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in outside)


def test_files_are_for_their_owner(server: tuple[s3_server.S3Server, Child]) -> None:
    folder = server[0].folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    kept = {path.name for path in folder.iterdir() if path.is_file() and not path.is_symlink()}
    assert kept >= {"keys.json", "env", "security.toml", "certificate.key", "server.log"}
    assert any(name.startswith("weed.") for name in kept)  # a log of its own
    assert all(stat.S_IMODE((folder / name).stat().st_mode) == 0o600 for name in kept)


def test_no_secret_is_an_argument_or_in_the_log(server: tuple[s3_server.S3Server, Child]) -> None:
    commands = " ".join(word for process in family(server) for word in process.cmdline())
    logs = [path.read_text() for path in server[0].folder.iterdir() if ".log" in path.name]
    assert not [text for text in (commands, *logs) if server[0].secret_key in text]


@pytest.mark.parametrize("certified", [True, False])
def test_the_shell_of_seaweedfs_needs_the_certificate(
    server: tuple[s3_server.S3Server, Child], certified: bool, tmp_path: Path
) -> None:
    """With the certificate it works, so that without it is the certificate that is missing."""
    arguments = next(p.cmdline() for p in family(server) if "mini" in p.cmdline())
    given = dict(argument.lstrip("-").split("=", 1) for argument in arguments if "=" in argument)
    command = [s3_process.program(), "shell", f"-master=127.0.0.1:{given['master.port']}"]
    process = subprocess.Popen(
        [*command, f"-filer=127.0.0.1:{given['filer.port']}"],
        cwd=server[0].folder if certified else tmp_path,
        env={"HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    asked = f"fs.ls /buckets/{s3_server.BUCKET}/private\n"
    asked += "" if certified else f"fs.rm -rf /buckets/{s3_server.BUCKET}\n"
    try:
        said, _ = process.communicate(asked, timeout=60 if certified else PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:  # it goes on trying
        process.kill()
        said, _ = process.communicate()
    assert ("object" in said.split()) == certified
    assert secret(server[0]).read_bytes() == SECRET


def test_without_keys_nothing_is_started(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "ps3d_app.flows.service.stack.s3_process", str(tmp_path / "s3")]
    command += ["--data", str(tmp_path / "data"), "--port", "9"]
    ended = subprocess.run(command, env=os.environ | {"AWS_ACCESS_KEY_ID": ""}, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("S3 server: error: AWS_ACCESS_KEY_ID: not set")
    assert not list(tmp_path.iterdir())
