"""What worker processes take of the machine they share."""

import socket
import ssl
import threading
import urllib.request

import numpy as np
import psutil
import pytest

from ps3d_core.engine.blocks import Runner, run_blocks, stop_workers
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Box
from ps3d_core.store.arrays import create_array, open_array, read_box, write_box
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.location import Location

SHAPE = (64, 64, 64)


def test_a_worker_process_decodes_in_one_thread(tmp_path):
    place = Location.parse(tmp_path)
    array = create_array(place / "many", SHAPE, np.uint32, chunks=(8, 8, 8), shards=SHAPE)
    write_box(array, Box.of(SHAPE), np.arange(64**3, dtype=np.uint32).reshape(SHAPE))
    runner = Runner(kind="processes", workers=1)
    blocks = list(BlockGrid((1, 1, 1), (1, 1, 1)))
    [record] = run_blocks("test", blocks, _ReadMany(place / "many"), ledger=Ledger(place, "test", "0"), runner=runner)
    stop_workers(runner)
    decoding = [name for name in record["threads"] if name.startswith(("zarr_pool", "asyncio"))]
    assert len(decoding) == 1, record


class _ReadMany:
    """Reads 512 chunks, then tells which threads there are."""

    def __init__(self, place):
        self.place = place

    def __call__(self, block):
        read_box(open_array(self.place), Box.of(SHAPE))
        return {"threads": [thread.name for thread in threading.enumerate()]}


def test_the_ports_of_a_local_dask_cluster_let_nobody_else_in():
    runner = Runner(kind="dask", workers=1)
    before = _open_ports()  # of servers that other tests use
    with runner.executor() as executor:
        assert executor.submit(sum, [1, 2]).result() == 3
        ports = _open_ports() - before
        assert ports
        for port in ports:
            with pytest.raises(OSError, match=r"reset by peer|closed connection"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30)
            with pytest.raises(OSError, match=r"alert|reset by peer|EOF"):
                _say_without_certificate(port)
    stop_workers(runner)


def _open_ports():
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return {c.laddr.port for p in family for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}


def _say_without_certificate(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(b"\0" * 64)
        connection.recv(1)
