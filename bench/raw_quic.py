"""The raw rate of QUIC: two processes on loopback, the transport of BackupPeer, bytes and nothing else.

Knows: the transport. Must not know: packs, sessions, files. The sender writes one buffer again and again over STREAMS
streams at once, the receiver reads and counts. It is what `backup-peer-quic` would reach if all else were free.

Run as `raw_quic.py receive` or `raw_quic.py send ID ADDRESS`: each line on standard input is a number of bytes.
"""

import asyncio
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

from meter import Meter
from peer import Report

from backuppeer.ids import TransportId
from backuppeer.limits import PACKS_IN_FLIGHT, READ_PIECE_BYTES, WRITE_PIECE_BYTES
from backuppeer.transport.base import Connection, Stream
from backuppeer.transport.iroh import open_iroh

STREAMS = PACKS_IN_FLIGHT
"""As many as a backup has under way."""
_BIND = ("127.0.0.1:0",)


class RawQuic:
    """Two processes that move as many bytes as the files have; nothing is kept."""

    name = "raw-quic"
    synced = "nothing is stored"
    can_restore = False

    def __init__(self, root: Path, meter: Meter) -> None:
        root.mkdir(parents=True)
        self._receiver = _start("receive")
        where = _read_line(self._receiver).split()
        self._sender = _start("send", *where)
        meter.watch("host", [self._receiver.pid])
        meter.watch("owner", [self._sender.pid])

    def backup(self, paths: list[Path]) -> Report:
        """Move as many bytes as the files below `paths` have."""
        size = sum(path.stat().st_size for top in paths for path in top.rglob("*") if path.is_file())
        if self._sender.stdin is None:
            raise SystemExit("the sender has no standard input")
        self._sender.stdin.write(b"%d\n" % size)
        self._sender.stdin.flush()
        return Report(sent_bytes=size, seconds=float(_read_line(self._sender)))

    def restore(self, target: Path) -> None:
        """Nothing was kept: there is nothing to restore."""

    def stored_bytes(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """End both processes."""
        for process in (self._sender, self._receiver):
            process.communicate()  # closes standard input, which ends it


def _start(*words: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(Path(__file__).resolve()), *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def _read_line(process: "subprocess.Popen[bytes]") -> str:
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        raise SystemExit(f"{process.args!r} ended")
    return line.decode()


async def _receive() -> None:
    transport = await open_iroh(secrets.token_bytes(32), bind=_BIND)
    try:
        print(transport.transport_id.hex(), transport.addresses()[0], flush=True)
        connection = await transport.accept()
        serving = asyncio.ensure_future(_serve(connection))
        await asyncio.to_thread(sys.stdin.read)
        serving.cancel()
    finally:
        await transport.close()


async def _serve(connection: Connection) -> None:
    async with asyncio.TaskGroup() as tasks:
        while True:
            tasks.create_task(_drain(await connection.accept_stream()))


async def _drain(stream: Stream) -> None:
    while await stream.read(READ_PIECE_BYTES):
        pass
    # Only the receiver's word says that all has arrived.
    await stream.write(b"1")
    await stream.finish()


async def _send(to: str, address: str) -> None:
    transport = await open_iroh(secrets.token_bytes(32), bind=_BIND)
    try:
        connection = await transport.dial(TransportId(bytes.fromhex(to)), [address])
        while line := await asyncio.to_thread(sys.stdin.readline):
            began = time.monotonic()
            share = int(line) // STREAMS
            await asyncio.gather(*(_push(connection, share) for _ in range(STREAMS)))
            print(time.monotonic() - began, flush=True)
    finally:
        await transport.close()


async def _push(connection: Connection, size_bytes: int) -> None:
    piece = memoryview(os.urandom(WRITE_PIECE_BYTES))
    stream = await connection.open_stream()
    while size_bytes > 0:
        await stream.write(piece[:size_bytes])
        size_bytes -= len(piece)
    await stream.finish()
    await stream.read(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["receive"]:
        asyncio.run(_receive())
    else:
        asyncio.run(_send(*sys.argv[2:4]))
